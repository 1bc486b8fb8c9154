/* SPDX-License-Identifier: MIT */
/* export_record.c - read with suspicion: the file lies where others may write, and files are
 * removed on its word. What does not look exactly like a record is no record. */
#include "fs/cli/export_record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/files.h"
#include "cache/scoped.h"
#include "sync/json.h"
#include "sync/tree.h"

enum { VERSION = 1, RECORD_MAX = 256 << 20, RECORD_DEPTH = 8 };

#define RECORD_TEMPORARY "export.json.tmp"

static const char *const strategies[] = {
    [EXPORT_AUTO] = "auto",
    [EXPORT_REFLINK] = "reflink",
    [EXPORT_HARDLINK] = "hardlink",
    [EXPORT_COPY] = "copy",
};

const char *export_strategy_name(enum export_strategy strategy)
{
    return strategies[strategy];
}

int export_strategy_parse(const char *name, enum export_strategy *ret_strategy)
{
    for (unsigned i = 0; i < sizeof(strategies) / sizeof(*strategies); i++) {
        if (strcmp(name, strategies[i]) == 0) {
            *ret_strategy = (enum export_strategy)i;
            return 0;
        }
    }
    return -EINVAL;
}

struct export_identity export_identity_of(const struct stat *st)
{
    return (struct export_identity){
        .size = (uint64_t)st->st_size,
        .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .ino = st->st_ino,
    };
}

bool export_identity_equal(const struct export_identity *a, const struct export_identity *b)
{
    return a->size == b->size && a->mtime_ns == b->mtime_ns && a->ino == b->ino;
}

/* --- in memory --- */

int export_record_new(const char *source, struct export_record *ret_record)
{
    char *copy = strdup(source);

    if (!copy)
        return -ENOMEM;
    *ret_record = (struct export_record){.source = copy, .changed = true};
    return 0;
}

void export_record_release(struct export_record *record)
{
    for (size_t i = 0; i < record->file_count; i++)
        free(record->files[i].path);
    for (size_t i = 0; i < record->folder_count; i++)
        free(record->folders[i]);
    free(record->files);
    free(record->folders);
    free(record->source);
    *record = (struct export_record){0};
}

/* Room for one more item of an array. */
static void *grow(void *array, size_t count, size_t *room, size_t size)
{
    size_t more = *room ? 2 * *room : 64;
    void *grown;

    if (count < *room)
        return array;
    grown = reallocarray(array, more, size);
    if (grown)
        *room = more;
    return grown;
}

int export_record_add(struct export_record *record, const char *path, const struct blob_key *key,
                      enum export_strategy strategy, const struct export_identity *identity)
{
    struct export_file *files = grow(record->files, record->file_count, &record->file_room,
                                     sizeof(*files));
    char *copy = strdup(path);

    if (files)
        record->files = files;
    if (!files || !copy) {
        free(copy);
        return -ENOMEM;
    }
    files[record->file_count++] = (struct export_file){copy, *key, strategy, *identity, false};
    record->changed = true;
    return 0;
}

void export_record_drop(struct export_record *record, size_t index)
{
    record->changed = record->changed || !record->files[index].gone;
    record->files[index].gone = true;
}

int export_record_add_folder(struct export_record *record, const char *path)
{
    char **folders = grow(record->folders, record->folder_count, &record->folder_room,
                          sizeof(*folders));
    char *copy = strdup(path);

    if (folders)
        record->folders = folders;
    if (!folders || !copy) {
        free(copy);
        return -ENOMEM;
    }
    folders[record->folder_count++] = copy;
    record->changed = true;
    return 0;
}

void export_record_drop_folder(struct export_record *record, size_t index)
{
    free(record->folders[index]);
    record->folders[index] = NULL;
    record->changed = true;
}

size_t export_record_find(const struct export_record *record, const char *path, size_t *ret_count)
{
    size_t low = 0, high = record->file_sorted;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(record->files[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (high < record->file_sorted && strcmp(record->files[high].path, path) == 0)
        high++;
    *ret_count = high - low;
    return low;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct export_file *)a)->path, ((const struct export_file *)b)->path);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_files(struct export_record *record)
{
    size_t count = 0;

    for (size_t i = 0; i < record->file_count; i++) {
        if (record->files[i].gone)
            free(record->files[i].path);
        else
            record->files[count++] = record->files[i];
    }
    record->file_count = record->file_sorted = count;
    if (count > 0)
        qsort(record->files, count, sizeof(*record->files), by_path);
}

static void sort_folders(struct export_record *record)
{
    size_t named = 0, count = 0;

    for (size_t i = 0; i < record->folder_count; i++)
        if (record->folders[i])
            record->folders[named++] = record->folders[i];
    if (named > 0)
        qsort(record->folders, named, sizeof(*record->folders), by_text);
    for (size_t i = 0; i < named; i++) {
        if (count > 0 && strcmp(record->folders[count - 1], record->folders[i]) == 0)
            free(record->folders[i]);
        else
            record->folders[count++] = record->folders[i];
    }
    record->folder_count = count;
}

void export_record_sort(struct export_record *record)
{
    sort_files(record);
    sort_folders(record);
}

/* --- reading --- */

static int get_decimal(const struct json *value, bool negative, uint64_t *ret_number)
{
    const char *text = json_string(value);
    char *end = NULL;

    if (!text || strspn(text + (negative && *text == '-'), "0123456789") !=
                     strlen(text + (negative && *text == '-')))
        return -EBADMSG;
    errno = 0;
    *ret_number = negative ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
    return errno || end == text ? -EBADMSG : 0;
}

static int read_file(struct export_record *record, const struct json *object)
{
    const char *path = json_string(json_get(object, "path"));
    const char *text = json_string(json_get(object, "key"));
    const char *name = json_string(json_get(object, "strategy"));
    struct export_identity identity;
    enum export_strategy strategy;
    struct blob_key key;
    uint64_t mtime;

    if (!path || !text || !name || !tree_path_is_valid(path) || blob_key_parse(text, &key) < 0 ||
        export_strategy_parse(name, &strategy) < 0 || strategy == EXPORT_AUTO ||
        json_u64(json_get(object, "size"), &identity.size) < 0 ||
        get_decimal(json_get(object, "mtime_ns"), true, &mtime) < 0 ||
        get_decimal(json_get(object, "ino"), false, &identity.ino) < 0)
        return -EBADMSG;
    identity.mtime_ns = (int64_t)mtime;
    return export_record_add(record, path, &key, strategy, &identity);
}

static int read_folder(struct export_record *record, const struct json *value)
{
    const char *path = json_string(value);

    return path && tree_path_is_valid(path) ? export_record_add_folder(record, path) : -EBADMSG;
}

static int read_record(const struct json *root, struct export_record *record)
{
    const struct json *files = json_get(root, "files");
    const struct json *folders = json_get(root, "folders");
    const char *source = json_string(json_get(root, "source"));
    uint64_t version;
    int r;

    if (json_u64(json_get(root, "version"), &version) < 0 || version != VERSION || !source ||
        json_type(files) != JSON_ARRAY || json_type(folders) != JSON_ARRAY)
        return -EBADMSG;
    r = export_record_new(source, record);
    for (const struct json *file = json_first(files); r == 0 && file; file = json_next(file))
        r = read_file(record, file);
    for (const struct json *at = json_first(folders); r == 0 && at; at = json_next(at))
        r = read_folder(record, at);
    return r;
}

int export_record_load(int dir, struct export_record *ret_record)
{
    const struct json_limits limits = {.bytes = RECORD_MAX, .depth = RECORD_DEPTH};
    scoped(json_freep) struct json *root = NULL;
    scoped_free char *text = NULL;
    struct export_record record = {0};
    struct json_error error;
    size_t size;
    int r = file_load(dir, EXPORT_RECORD_NAME, RECORD_MAX, &text, &size);

    if (r == 0)
        r = json_parse(text, size, &limits, &root, &error);
    if (r == 0)
        r = read_record(root, &record);
    if (r < 0) {
        export_record_release(&record);
        return r == -EPROTO || r == -ELOOP || r == -EFBIG ? -EBADMSG : r;
    }
    unlinkat(dir, RECORD_TEMPORARY, 0); /* of one that died while it saved */
    export_record_sort(&record);
    record.changed = false;
    *ret_record = record;
    return 0;
}

/* --- writing --- */

static int write_file(struct json *list, const struct export_file *file)
{
    struct json *object = json_add_object(list, NULL);
    char key[BLOB_KEY_TEXT_SIZE];
    char mtime[32];
    char ino[32];
    int r = object ? 0 : -ENOMEM;

    blob_key_format(&file->key, key);
    snprintf(mtime, sizeof(mtime), "%" PRId64, file->identity.mtime_ns);
    snprintf(ino, sizeof(ino), "%" PRIu64, file->identity.ino);
    if (r == 0 && (r = json_add_string(object, "path", file->path)) == 0 &&
        (r = json_add_string(object, "key", key)) == 0 &&
        (r = json_add_string(object, "strategy", export_strategy_name(file->strategy))) == 0 &&
        (r = json_add_u64(object, "size", file->identity.size)) == 0 &&
        (r = json_add_string(object, "mtime_ns", mtime)) == 0)
        r = json_add_string(object, "ino", ino);
    return r;
}

static int write_record(struct json *root, const struct export_record *record)
{
    struct json *files, *folders;
    int r = json_add_u64(root, "version", VERSION);

    if (r == 0)
        r = json_add_string(root, "source", record->source);
    files = r == 0 ? json_add_array(root, "files") : NULL;
    folders = files ? json_add_array(root, "folders") : NULL;
    if (r == 0 && !folders)
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < record->file_count; i++)
        if (!record->files[i].gone)
            r = write_file(files, &record->files[i]);
    for (size_t i = 0; r == 0 && i < record->folder_count; i++)
        if (record->folders[i])
            r = json_add_string(folders, NULL, record->folders[i]);
    return r;
}

int export_record_save(int dir, struct export_record *record)
{
    scoped(json_freep) struct json *root = NULL;
    scoped_free char *text = NULL;
    size_t size;
    int r;

    if (!record->changed)
        return 0;
    root = json_new_object();
    r = root ? write_record(root, record) : -ENOMEM;
    if (r == 0)
        r = json_print(root, true, &text, &size);
    if (r == 0)
        r = file_save(dir, EXPORT_RECORD_NAME, RECORD_TEMPORARY, text, size);
    if (r == 0)
        record->changed = false;
    return r;
}
