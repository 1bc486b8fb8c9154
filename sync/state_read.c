/* SPDX-License-Identifier: MIT */
/* state_read.c - text as a generation again.
 *
 * The checksum says that the text is what was once written, not that it is true: it keeps nobody
 * out who can compute it. So nothing is taken on its word. Paths are checked by the tree builder
 * and collisions by its freeze, keys by the key parser; reference counts are not in the file, and
 * where a blob lies is derived from its key, never read. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/json_text.h"
#include "sync/state_text.h"

struct reading {
    struct tree_builder *builder;
    const struct json *next_group; /* where find_group begins to look: the file is in one order */
    uint32_t next_index;
    const struct json *groups;
    char *message;
};

__attribute__((format(printf, 2, 3))) static int bad(struct reading *reading, const char *format,
                                                     ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reading->message, STATE_MESSAGE_SIZE, format, args);
    va_end(args);
    json_text_make_printable(reading->message);
    return -EBADMSG;
}

/* What the builder refuses makes the file unbelievable; no memory is only no memory. */
static int believe(struct reading *reading, int r, const char *what)
{
    if (r == 0 || r == -ENOMEM)
        return r;
    return bad(reading, "%.100s: %s", what, strerror(-r));
}

/* A string that may be absent. */
static int get_text(struct reading *reading, const struct json *object, const char *key,
                    const char *fallback, const char **ret_text)
{
    const struct json *value = json_get(object, key);

    *ret_text = value ? json_string(value) : fallback;
    return value && !*ret_text ? bad(reading, "%s is no string", key) : 0;
}

/* A whole number that may be absent. */
static int get_number(struct reading *reading, const struct json *object, const char *key,
                      uint64_t *ret_number)
{
    const struct json *value = json_get(object, key);

    *ret_number = 0;
    return value && json_u64(value, ret_number) < 0 ? bad(reading, "%s is no number", key) : 0;
}

static int get_container(struct reading *reading, const struct json *root, const char *key,
                         enum json_type type, const struct json **ret_container)
{
    *ret_container = json_get(root, key);
    return json_type(*ret_container) == type ? 0 : bad(reading, "%s is not there", key);
}

/* --- groups --- */

static int find_section(const char *name)
{
    for (int i = 0; name && i < TREE_SECTIONS; i++) {
        if (strcmp(name, tree_section_name((enum tree_section)i)) == 0)
            return i;
    }
    return -ENOENT;
}

static int read_group(struct reading *reading, const struct json *object)
{
    int section = find_section(json_string(json_get(object, "section")));
    struct tree_group group;
    uint32_t index;
    int r;

    if (section < 0)
        return bad(reading, "a group without section");
    group.section = (enum tree_section)section;
    group.requirement = tree_requirement_from_name(json_string(json_get(object, "requirement")));
    if ((r = get_text(reading, object, "slug", "", &group.slug)) < 0 ||
        (r = get_text(reading, object, "folder", "", &group.folder)) < 0 ||
        (r = get_text(reading, object, "name", "", &group.name)) < 0 ||
        (r = get_text(reading, object, "description", "", &group.description)) < 0)
        return r;
    return believe(reading, tree_builder_add_group(reading->builder, &group, &index), group.slug);
}

static int read_groups(struct reading *reading, const struct json *root)
{
    int r = get_container(reading, root, "groups", JSON_ARRAY, &reading->groups);

    if (r < 0)
        return r;
    reading->next_group = json_first(reading->groups);
    for (const struct json *item = reading->next_group; r == 0 && item; item = json_next(item))
        r = read_group(reading, item);
    return r;
}

/* slug NULL: the first of the section will do. Sections and slugs come in the order of groups, so
 * the search goes on where the last one ended, and is short. */
static int find_group(struct reading *reading, enum tree_section section, const char *slug,
                      uint32_t *ret_index)
{
    const struct json *start = reading->next_group;
    const struct json *item = start;

    while (item) {
        const char *own = json_string(json_get(item, "slug"));

        if (find_section(json_string(json_get(item, "section"))) == (int)section &&
            (!slug || strcmp(own ? own : "", slug) == 0)) {
            reading->next_group = item;
            *ret_index = reading->next_index;
            return 0;
        }
        item = json_next(item);
        reading->next_index++;
        if (!item) {
            item = json_first(reading->groups);
            reading->next_index = 0;
        }
        if (item == start)
            break;
    }
    return bad(reading, "%s of no known group", tree_section_name(section));
}

/* --- rows --- */

static int read_time(struct reading *reading, const struct json *value, int64_t *ret_ns)
{
    const char *text = json_string(value);
    char again[24] = "";
    char *end;

    if (text) {
        *ret_ns = strtoll(text, &end, 10);
        snprintf(again, sizeof(again), "%" PRId64, *ret_ns);
    }
    return text && strcmp(text, again) == 0 ? 0 : bad(reading, "mtime_ns is no time");
}

static int read_file(struct reading *reading, const struct json *object, const char *row_path,
                     uint32_t row)
{
    const char *key_text = json_string(json_get(object, "key"));
    char path[TREE_PATH_MAX];
    struct blob_key key;
    const char *part;
    int64_t mtime_ns = 0;
    int r;

    if (!key_text || blob_key_parse(key_text, &key) < 0)
        return bad(reading, "%.100s: a file without key", row_path);
    if ((r = read_time(reading, json_get(object, "mtime_ns"), &mtime_ns)) < 0 ||
        (r = get_text(reading, object, "part", NULL, &part)) < 0)
        return r;
    if (snprintf(path, sizeof(path), "%s%s%s", row_path, part ? "/" : "", part ? part : "") >=
        (int)sizeof(path))
        return bad(reading, "%.100s: too long", row_path);
    return believe(reading, tree_builder_add_blob(reading->builder, path, row, &key, mtime_ns),
                   path);
}

/* All of a row but its files. Its strings stay the document's. */
static int read_row_fields(struct reading *reading, const struct json *object, const char *key,
                           struct tree_row *row)
{
    uint64_t rows;
    int r = get_text(reading, object, "name", key, &row->name);

    for (size_t i = 0; r == 0 && i < STATE_FIELDS; i++)
        r = get_text(reading, object, state_fields[i].key, "",
                     (const char **)((char *)row + state_fields[i].offset));
    for (size_t i = 0; r == 0 && i < STATE_FLAGS; i++) {
        if (json_is_true(json_get(object, state_flags[i].key)))
            row->flags |= state_flags[i].flag;
    }
    if (r < 0 || (r = get_text(reading, object, "withheld", NULL, &row->withheld)) < 0 ||
        (r = get_text(reading, object, "path", NULL, &row->path)) < 0 ||
        (r = get_number(reading, object, "size", &row->size)) < 0 ||
        (r = get_number(reading, object, "rows", &rows)) < 0)
        return r;
    row->rows = json_get(object, "rows") ? (int64_t)rows : -1;
    return 0;
}

static int read_row(struct reading *reading, const struct json *object, uint32_t group)
{
    const char *key = json_key(object);
    const struct json *files = json_get(object, "files");
    struct tree_row row = {.group = group};
    uint32_t index = TREE_NO_ROW;
    int r;

    if (json_type(object) != JSON_OBJECT)
        return bad(reading, "%.100s is no row", key);
    r = read_row_fields(reading, object, key, &row);
    if (r == 0)
        r = believe(reading, tree_builder_add_row(reading->builder, &row, &index), key);
    if (r < 0)
        return r;
    if (files && (json_type(files) != JSON_ARRAY || !row.path))
        return bad(reading, "%.100s: files of nothing", key);
    if (row.path && (row.flags & TREE_ROW_PARTS))
        r = believe(reading, tree_builder_add_dir(reading->builder, row.path, index), key);
    for (const struct json *file = json_first(files); r == 0 && file; file = json_next(file))
        r = read_file(reading, file, row.path, index);
    return r;
}

static int read_rows(struct reading *reading, const struct json *container,
                     enum tree_section section, const char *slug)
{
    uint32_t group = 0;
    int r = 0;

    if (json_type(container) != JSON_OBJECT)
        return bad(reading, "%.100s is no object", slug);
    for (const struct json *item = json_first(container); r == 0 && item; item = json_next(item)) {
        r = find_group(reading, section, tree_section(section)->is_alone ? json_key(item) : slug,
                       &group);
        if (r == 0)
            r = read_row(reading, item, group);
    }
    return r;
}

static int read_sections(struct reading *reading, const struct json *root)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < TREE_SECTIONS; i++) {
        enum tree_section section = (enum tree_section)i;
        const struct tree_section_facts *facts = tree_section(section);
        const struct json *container;

        if (facts->is_optional && !json_get(root, facts->name))
            continue; /* written before there was such a section */
        r = get_container(reading, root, facts->name, JSON_OBJECT, &container);
        if (r == 0 && !facts->group_key)
            r = read_rows(reading, container, section, NULL);
        else if (r == 0)
            for (const struct json *item = json_first(container); r == 0 && item;
                 item = json_next(item))
                r = read_rows(reading, item, section, json_key(item));
    }
    return r;
}

static int read_empty_folders(struct reading *reading, const struct json *root)
{
    const struct json *array;
    int r = get_container(reading, root, "empty_folders", JSON_ARRAY, &array);

    for (const struct json *item = json_first(array); r == 0 && item; item = json_next(item)) {
        const char *path = json_string(item);

        r = path ? tree_builder_add_dir(reading->builder, path, TREE_NO_ROW) : -EINVAL;
        r = believe(reading, r, "empty_folders");
    }
    return r;
}

/* --- the whole --- */

static int read_times(struct reading *reading, const struct json *root, struct state *state)
{
    const struct json *doubts;
    int r = get_number(reading, root, "last_sync_unix", &state->last_sync_unix);

    if (r == 0)
        r = get_container(reading, root, "doubt_since", JSON_OBJECT, &doubts);
    for (unsigned i = 0; r == 0 && i < TREE_SECTIONS; i++)
        r = get_number(reading, doubts, tree_section_name((enum tree_section)i),
                       &state->doubt_since[i]);
    return r;
}

static int read_document(struct reading *reading, const struct json *root, struct state *state)
{
    uint64_t version, generation;
    int r = get_number(reading, root, "version", &version);

    if (r == 0 && version != STATE_VERSION)
        r = bad(reading, "of version %" PRIu64 ", which this program does not know", version);
    if (r == 0)
        r = get_number(reading, root, "generation", &generation);
    if (r == 0)
        r = tree_builder_new(generation, &reading->builder);
    if (r == 0)
        r = read_times(reading, root, state);
    if (r == 0)
        r = read_groups(reading, root);
    if (r == 0)
        r = read_empty_folders(reading, root);
    return r < 0 ? r : read_sections(reading, root);
}

int state_text_check(const char *text, size_t size, char ret_message[static STATE_MESSAGE_SIZE])
{
    const char *place = state_checksum_place(text, size);
    char digits[STATE_CHECKSUM_DIGITS + 1];
    scoped_free char *zeroed = NULL;

    if (!place) {
        snprintf(ret_message, STATE_MESSAGE_SIZE, "does not end in a checksum");
        return -EBADMSG;
    }
    zeroed = malloc(size);
    if (!zeroed)
        return -ENOMEM;
    memcpy(zeroed, text, size);
    memcpy(zeroed + (place - text), STATE_TAIL_ZEROS, STATE_CHECKSUM_DIGITS);
    state_checksum(zeroed, size, digits);
    if (memcmp(digits, place, STATE_CHECKSUM_DIGITS) != 0) {
        snprintf(ret_message, STATE_MESSAGE_SIZE, "does not fit its checksum");
        return -EBADMSG;
    }
    return 0;
}

int state_text_read(const char *text, size_t size,
                    int (*decorate)(void *arg, struct tree_builder *builder), void *arg,
                    struct state *ret_state, char ret_message[static STATE_MESSAGE_SIZE])
{
    static const struct json_limits limits = {.bytes = SIZE_MAX, .depth = 8};
    struct reading reading = {.message = ret_message};
    scoped(json_freep) struct json *root = NULL;
    scoped(tree_builder_freep) struct tree_builder *builder = NULL;
    struct state state = {0};
    struct json_error error;
    int r = state_text_check(text, size, ret_message);

    if (r < 0)
        return r;
    r = json_parse(text, size, &limits, &root, &error);
    if (r == -EPROTO)
        return bad(&reading, "%s", error.message);
    if (r < 0)
        return r;
    r = read_document(&reading, root, &state);
    builder = reading.builder;
    if (r == 0 && decorate)
        r = decorate(arg, builder);
    if (r < 0)
        return r;
    r = tree_builder_freeze(builder, &state.tree);
    if (r < 0)
        return believe(&reading, r, "two names collide");
    builder = NULL;
    *ret_state = state;
    return 0;
}
