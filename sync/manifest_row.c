/* SPDX-License-Identifier: MIT */
/* One line of the manifest. Why a bad one fails alone: everything a row says is read here, checked
 * here and copied here, and the only ways out are a row of which every field is sound, a reason to
 * drop it, or no memory.
 *
 * The order of questions is the order of the answers' weight: a table that is not for local use is
 * withheld whatever else is wrong with it (a remote table without a usable name is no error). */
#include "sync/manifest_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "cache/scoped.h"
#include "sync/names.h"

__attribute__((format(printf, 2, 0))) static const char *vformat(struct arena *arena,
                                                                 const char *format, va_list args)
{
    scoped_free char *text = NULL;
    int length = vasprintf(&text, format, args);

    if (length < 0) {
        text = NULL; /* vasprintf leaves it undefined */
        return NULL;
    }
    return arena_copy(arena, text, (size_t)length);
}

const char *row_format(struct arena *arena, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    const char *text = vformat(arena, format, args);
    va_end(args);
    return text;
}

int row_drop(struct row_reader *reader, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    reader->reason = vformat(reader->arena, format, args);
    va_end(args);
    return reader->reason ? -EBADMSG : -ENOMEM;
}

/* --- texts --- */

static int copy_text(struct row_reader *reader, const char *text, size_t size,
                     const char **ret_text)
{
    const char *copy = size ? arena_copy(reader->arena, text, size) : "";

    if (!copy)
        return -ENOMEM;
    *ret_text = copy;
    return 0;
}

int row_read_text(struct row_reader *reader, const struct json *entry, const char *key,
                  const char **ret_text)
{
    const struct json *value = json_get(entry, key);
    const char *text = json_string(value);

    if (json_type(value) == JSON_ABSENT || json_type(value) == JSON_NULL)
        return copy_text(reader, "", 0, ret_text);
    if (!text)
        return row_drop(reader, "%s is not a string", key);
    if (strlen(text) > MANIFEST_STRING_MAX)
        return row_drop(reader, "%s is longer than 64 KiB", key);
    return copy_text(reader, text, strlen(text), ret_text);
}

int row_read_prose(struct row_reader *reader, const struct json *entry, const char *key,
                   const char **ret_text)
{
    const char *text = json_string(json_get(entry, key));
    size_t size = text ? strlen(text) : 0;

    if (size > MANIFEST_STRING_MAX)
        for (size = MANIFEST_STRING_MAX; size && (text[size] & 0xc0) == 0x80;)
            size--; /* not through a character */
    return copy_text(reader, text, size, ret_text);
}

/* The label that a row goes by: it must be there, and say something. */
int row_read_label(struct row_reader *reader, const struct json *entry, const char *key,
                   const char **ret_label)
{
    const char *label = "";
    int r;

    if (json_type(entry) != JSON_OBJECT)
        return row_drop(reader, "not an object");
    if (json_type(json_get(entry, key)) == JSON_ABSENT)
        return row_drop(reader, "it has no %s", key);
    if (json_type(json_get(entry, key)) == JSON_NULL)
        return row_drop(reader, "%s is not a string", key);
    r = row_read_text(reader, entry, key, &label);
    if (r < 0)
        return r;
    if (!*label)
        return row_drop(reader, "%s is empty", key);
    *ret_label = label;
    return 0;
}

/* The source is asked where it would fetch the row: that is the check that matters. */
int row_check_url(struct row_reader *reader, struct manifest_row *row, const char *key)
{
    scoped_free char **urls = NULL;
    int r;

    if (source_kind(reader->source) == SOURCE_STATIC && !*row->row.url)
        return row_drop(reader, "no %s", key);
    if (source_is_plain_path(row->row.url) &&
        (source_kind(reader->source) == SOURCE_STATIC || row->row.url[0] == '/'))
        return 0; /* a million rows need not all be parsed as URLs */
    r = source_urls(reader->source, &row->row, row->form, row->files[0].part, &urls);
    if (r == -EACCES)
        return row_drop(reader, "%s points to another origin", key);
    if (r < 0 && r != -ENOMEM)
        return *row->row.url ? row_drop(reader, "%s is no usable URL", key)
                             : row_drop(reader, "no usable URL follows from its id and name");
    return r;
}

/* --- tables --- */

/* What another client has written down of a row that it does not show. */
int row_read_withheld(struct row_reader *reader, const struct json *entry, struct manifest_row *row)
{
    const char *said = json_string(json_get(entry, "withheld"));
    char printable[NAME_PRINTABLE_SIZE];

    if (!said || !*said)
        return 0;
    name_printable(said, printable);
    row->row.withheld = arena_copy(reader->arena, printable, strlen(printable));
    return row->row.withheld ? 0 : -ENOMEM;
}

/* Why a table is not for local use; NULL if it is. -ENOMEM. */
static int read_withheld(struct row_reader *reader, const struct json *entry,
                         struct manifest_row *row)
{
    const struct json *mode = json_get(entry, "query_mode");
    const struct json *only = json_get(entry, "server_only");
    enum json_type said = json_type(only);
    int r = row_read_prose(reader, entry, "query_mode", &row->row.query_mode);

    if (r < 0)
        return r;
    if (json_type(mode) == JSON_ABSENT || json_type(mode) == JSON_NULL)
        row->row.query_mode = "local";
    r = row_read_withheld(reader, entry, row);
    if (r < 0 || row->row.withheld)
        return r;
    const char *text = row->row.query_mode;

    if (!strcmp(text, "remote") || !strcmp(text, "internal")) {
        row->row.withheld = row_format(reader->arena, "query mode %s", text);
        return row->row.withheld ? 0 : -ENOMEM;
    }
    if (strcmp(text, "local") != 0 && strcmp(text, "materialized") != 0) {
        char printable[NAME_PRINTABLE_SIZE];

        name_printable(text, printable);
        row->row.withheld = row_format(reader->arena, "unknown query mode \"%s\"", printable);
        return row->row.withheld ? 0 : -ENOMEM;
    }
    /* Whatever is not plainly "no" keeps the table where it is. */
    if (said != JSON_ABSENT && said != JSON_NULL && (said != JSON_BOOL || json_is_true(only)))
        row->row.withheld = MANIFEST_SERVER_ONLY;
    return 0;
}

/* What people want to know of a row, and nothing depends on. */
static int read_facts(struct row_reader *reader, const struct json *entry, struct manifest_row *row)
{
    uint64_t rows, size;
    int r = row_read_prose(reader, entry, "updated", &row->row.updated);

    if (r < 0)
        return r;
    row->updated_ns = manifest_time(row->row.updated);
    if (json_u64(json_get(entry, "rows"), &rows) == 0)
        row->row.rows = (int64_t)rows;
    if (json_u64(json_get(entry, "size_bytes"), &size) == 0)
        row->row.size = size; /* of a withheld table too */
    if (json_is_true(json_get(entry, "access_policy")))
        row->row.flags |= TREE_ROW_POLICY;
    return 0;
}

int row_find_path(struct row_reader *reader, const char *folder, const char *suffix,
                  struct manifest_row *row)
{
    char name[NAME_SIZE];
    int r = name_from_label(row->row.name, suffix, name);

    if (r == -ENAMETOOLONG)
        return row_drop(reader, "name is too long for a file");
    if (r < 0)
        return row_drop(reader, "name has no letter or digit that a file name may have");
    row->row.path = row_format(reader->arena, "%s/%s", folder, name);
    return row->row.path ? 0 : -ENOMEM;
}

/* NULL in row.path and an error when the label can not be a name. */
static int find_table_path(struct row_reader *reader, const struct tree_group *group, bool parts,
                           struct manifest_row *row)
{
    const char *folder = row_format(reader->arena, "%s/%s", tree_section(group->section)->folder,
                                    group->folder);
    int r = folder ? row_find_path(reader, folder, parts ? "" : ".parquet", row) : -ENOMEM;

    if (r < 0 || !parts || strcmp(strrchr(row->row.path, '/') + 1, NAME_README) != 0)
        return r;
    row->row.path = NULL;
    return row_drop(reader, "name is reserved");
}

static int read_name(struct row_reader *reader, const struct json *entry, const char **ret_name)
{
    if (!reader->label)
        return row_read_label(reader, entry, "name", ret_name);
    if (json_type(entry) != JSON_OBJECT)
        return row_drop(reader, "not an object");
    if (!*reader->label)
        return row_drop(reader, "name is empty");
    return copy_text(reader, reader->label, strlen(reader->label), ret_name);
}

int row_read_table(struct row_reader *reader, const struct json *entry,
                   const struct tree_group *group, struct manifest_row *ret_row)
{
    enum json_type parts = json_type(json_get(entry, "parts"));
    bool has_parts = parts == JSON_ARRAY && json_count(json_get(entry, "parts")) > 0;
    int named, r;

    *ret_row = (struct manifest_row){.section = group->section,
                                     .form = tree_group_form(group),
                                     .updated_ns = -1};
    ret_row->row = (struct tree_row){
        .flags = has_parts ? TREE_ROW_PARTS : 0, .rows = -1, .token = "", .md5 = "", .url = ""};
    if ((r = read_name(reader, entry, &ret_row->row.name)) < 0 ||
        (r = row_read_text(reader, entry, "id", &ret_row->row.table_id)) < 0 ||
        (r = read_facts(reader, entry, ret_row)) < 0 ||
        (r = read_withheld(reader, entry, ret_row)) < 0)
        return r;
    named = find_table_path(reader, group, has_parts, ret_row);
    if (named == -ENOMEM || (named < 0 && !ret_row->row.withheld))
        return named;
    if (ret_row->row.withheld) {
        r = row_read_md5(reader, entry, &ret_row->row.md5);
        return r == -ENOMEM ? r : 0;
    }
    if (parts != JSON_ABSENT && parts != JSON_NULL && parts != JSON_ARRAY)
        return row_drop(reader, "parts is not an array");
    if ((r = row_read_text(reader, entry, "parquet_url", &ret_row->row.url)) < 0 ||
        (r = row_read_content(reader, entry, ret_row)) < 0 || ret_row->row.withheld)
        return r;
    return row_check_url(reader, ret_row, "parquet_url");
}

/* --- bundles --- */

int row_set_token(struct row_reader *reader, struct tree_row *row, const char *format, ...)
{
    char digest[BLOB_KEY_TEXT_SIZE];
    struct blob_key key;
    va_list arguments;
    const char *text;

    va_start(arguments, format);
    text = vformat(reader->arena, format, arguments);
    va_end(arguments);
    if (!text)
        return -ENOMEM;
    blob_key_of_bytes(text, strlen(text), &key);
    blob_key_format(&key, digest);
    row->token = arena_copy(reader->arena, digest, strlen(digest));
    return row->token ? 0 : -ENOMEM;
}

/* The server's md5 is a token of change, not of the bytes, and it leaves out the name and the
 * description that stand in the bundle: so they belong to our token. Where there is no md5, when
 * it was updated is the next best. */
static int bundle_token(struct row_reader *reader, const struct tree_group *group,
                        struct tree_row *row)
{
    bool hashed = *row->md5;

    return row_set_token(reader, row, "%s\n%zu %s\n%s\n%s", row->md5, strlen(group->name),
                         group->name, group->description, hashed ? "" : row->updated);
}

int row_read_bundle(struct row_reader *reader, const struct json *entry,
                    const struct tree_group *group, struct manifest_row *ret_row)
{
    struct manifest_file *file = arena_take(reader->arena, sizeof(*file),
                                            alignof(struct manifest_file));
    const char *path = row_format(reader->arena, "memory/%s/bundle.md", group->folder);
    int r;

    if (!file || !path)
        return -ENOMEM;
    *file = (struct manifest_file){.size_limit = MANIFEST_BUNDLE_MAX};
    *ret_row = (struct manifest_row){.section = group->section,
                                     .form = tree_group_form(group),
                                     .files = file,
                                     .file_count = 1,
                                     .updated_ns = -1};
    ret_row->row = (struct tree_row){.name = group->slug,
                                     .path = path,
                                     .table_id = "",
                                     .token = "",
                                     .md5 = "",
                                     .url = "",
                                     .updated = "",
                                     .query_mode = "",
                                     .rows = -1};
    if ((r = row_read_text(reader, entry, "id", &ret_row->row.table_id)) < 0 ||
        (r = read_facts(reader, entry, ret_row)) < 0 ||
        (r = row_read_md5(reader, entry, &ret_row->row.md5)) < 0 ||
        (r = row_read_text(reader, entry, "bundle_url", &ret_row->row.url)) < 0 ||
        (r = row_read_withheld(reader, entry, ret_row)) < 0 ||
        (r = bundle_token(reader, group, &ret_row->row)) < 0)
        return r;
    ret_row->row.size = 0; /* only the bytes tell */
    return ret_row->row.withheld ? 0 : row_check_url(reader, ret_row, "bundle_url");
}
