/* SPDX-License-Identifier: MIT */
/* Which bytes a row promises. Why what leaves here can be trusted as a promise: a key exists only
 * where both digest and size were said and are sound; everything else carries a limit on how much
 * a transfer may bring. Parts are sorted, so their token does not depend on the server's order. */
#include "sync/manifest_private.h"

#include <errno.h>
#include <stdio.h>

#include "cache/scoped.h"
#include "sync/names.h"

/* md5 || hash || "", in lower case: the old engine's rule. */
int row_read_md5(struct row_reader *reader, const struct json *entry, const char **ret_md5)
{
    static const char *const keys[] = {"md5", "hash"};
    const char *text = "";
    struct blob_key key;
    int r;

    for (size_t i = 0; i < 2 && !*text; i++) {
        r = row_read_text(reader, entry, keys[i], &text);
        if (r < 0)
            return r;
        if (*text && blob_key_from_md5(text, 0, &key) < 0)
            return row_drop(reader, "%s is not 32 hex digits", keys[i]);
    }
    if (*text) {
        char *lower = arena_copy(reader->arena, text, strlen(text));

        if (!lower)
            return -ENOMEM;
        for (char *c = lower; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'F' ? *c - 'A' + 'a' : *c);
        text = lower;
    }
    *ret_md5 = text;
    return 0;
}

/* ret_said: absent and null say nothing. */
static int read_size(struct row_reader *reader, const struct json *entry, bool *ret_said,
                     uint64_t *ret_size)
{
    const struct json *value = json_get(entry, "size_bytes");
    int r = 0;

    *ret_said = json_type(value) != JSON_ABSENT && json_type(value) != JSON_NULL;
    *ret_size = 0;
    if (*ret_said)
        r = json_u64(value, ret_size);
    if (r == -ERANGE)
        return row_drop(reader, "size_bytes is negative or not below 2^53");
    if (r < 0)
        return row_drop(reader, "size_bytes is not a whole number");
    return 0;
}

static int by_part(const void *a, const void *b)
{
    const struct manifest_file *one = a, *other = b;

    return strcmp(one->part, other->part);
}

/* Two parts may not have one name, nor one stand where another needs a folder. */
static int check_parts_disjoint(struct row_reader *reader, const struct manifest_row *row)
{
    for (size_t i = 1; i < row->file_count; i++)
        if (!strcmp(row->files[i - 1].part, row->files[i].part))
            return row_drop(reader, "two parts have one path");

    for (size_t i = 0; i < row->file_count; i++) {
        char folder[1024 + 1];

        snprintf(folder, sizeof(folder), "%s", row->files[i].part);
        for (char *slash; (slash = strrchr(folder, '/'));) {
            struct manifest_file wanted = {.part = folder};

            *slash = '\0';
            if (bsearch(&wanted, row->files, row->file_count, sizeof(wanted), by_part))
                return row_drop(reader, "a part is a file and a folder");
        }
    }
    return 0;
}

static int read_part(struct row_reader *reader, const struct json *entry,
                     struct manifest_file *ret_file)
{
    const char *path = "", *md5 = "";
    uint64_t size = 0;
    bool said;
    int r;

    if (json_type(entry) != JSON_OBJECT)
        return row_drop(reader, "a part is not an object");
    r = row_read_text(reader, entry, "path", &path);
    if (r < 0)
        return r;
    if (!name_is_part_path(path))
        return row_drop(reader, "a part has an unsafe path");
    r = row_read_md5(reader, entry, &md5);
    if (r < 0)
        return r;
    if (!*md5)
        return row_drop(reader, "a part has no md5");
    r = read_size(reader, entry, &said, &size);
    if (r < 0)
        return r;
    if (!said)
        return row_drop(reader, "a part has no size");
    *ret_file = (struct manifest_file){.part = path, .size_limit = size, .sized = true};
    return blob_key_from_md5(md5, size, &ret_file->key);
}

/* Names, digests and sizes of all parts in one digest. */
static int parts_token(struct row_reader *reader, struct manifest_row *row)
{
    scoped_free char *text = NULL;
    char digest[BLOB_KEY_TEXT_SIZE];
    struct blob_key key;
    size_t size = 0, at = 0;

    for (size_t i = 0; i < row->file_count; i++)
        size += strlen(row->files[i].part) + BLOB_KEY_TEXT_SIZE + 2;
    text = malloc(size + 1);
    if (!text)
        return -ENOMEM;
    for (size_t i = 0; i < row->file_count; i++) {
        blob_key_format(&row->files[i].key, digest);
        at += (size_t)sprintf(text + at, "%s %s\n", digest, row->files[i].part);
    }
    blob_key_of_bytes(text, at, &key);
    blob_key_format(&key, digest);
    row->row.token = row_format(reader->arena, "parts:%s", digest);
    return row->row.token ? 0 : -ENOMEM;
}

static int read_parts(struct row_reader *reader, const struct json *parts, struct manifest_row *row)
{
    size_t count = json_count(parts);
    struct manifest_file *files = arena_take(reader->arena, count * sizeof(*files),
                                             alignof(struct manifest_file));
    uint64_t sum = 0;
    size_t i = 0;
    int r;

    if (!files)
        return -ENOMEM;
    for (const struct json *part = json_first(parts); part; part = json_next(part), i++) {
        r = read_part(reader, part, &files[i]);
        if (r < 0)
            return r;
        sum += files[i].size_limit;
        if (sum >= (uint64_t)1 << 53)
            return row_drop(reader, "its parts are not below 2^53 bytes");
    }
    qsort(files, count, sizeof(*files), by_part);
    row->files = files;
    row->file_count = count;
    row->row.size = sum;
    r = check_parts_disjoint(reader, row);
    return r < 0 ? r : parts_token(reader, row);
}

/* A table that is one file. Without md5 only its bytes can tell what it is. */
static int read_single(struct row_reader *reader, bool sized, uint64_t size,
                       struct manifest_row *row)
{
    bool hashed = *row->row.md5;
    struct manifest_file *file = arena_take(reader->arena, sizeof(*file),
                                            alignof(struct manifest_file));

    if (!file)
        return -ENOMEM;
    *file = (struct manifest_file){.size_limit = sized ? size : MANIFEST_UNSIZED_MAX,
                                   .sized = sized};
    if (hashed && sized)
        blob_key_from_md5(row->row.md5, size, &file->key); /* checked by row_read_md5 */
    if (!hashed)
        row->row.flags |= TREE_ROW_UNVERIFIED;
    row->files = file;
    row->file_count = 1;
    row->row.size = size;
    if (!hashed)
        row->row.token = row_format(reader->arena, "size:%llu:%s", (unsigned long long)size,
                                    row->row.updated);
    else if (sized)
        row->row.token = row_format(reader->arena, "md5:%s:%llu", row->row.md5,
                                    (unsigned long long)size);
    else
        row->row.token = row_format(reader->arena, "md5:%s:?", row->row.md5);
    return row->row.token ? 0 : -ENOMEM;
}

int row_read_content(struct row_reader *reader, const struct json *entry, struct manifest_row *row)
{
    const struct json *size_value = json_get(entry, "size_bytes");
    uint64_t size = 0;
    bool sized = false;
    int r;

    r = row_read_md5(reader, entry, &row->row.md5);
    if (r == 0)
        r = read_size(reader, entry, &sized, &size);
    if (r < 0)
        return r;
    if (row->row.flags & TREE_ROW_PARTS)
        return read_parts(reader, json_get(entry, "parts"), row);
    if (!*row->row.md5 && size_value && size == 0) {
        row->row.withheld = "never synced on the server";
        return 0;
    }
    return read_single(reader, sized, size, row);
}
