/* SPDX-License-Identifier: MIT */
/* state_write.c - a generation as text.
 *
 * Rows stand under two names (section and package, label), so they are sorted by just these: the
 * same generation is the same text whatever order the server listed it in, and a repeated name,
 * which no manifest brings and JSON may not have, is next to the first and left out.
 *
 * Names without a row are decoration, which is made anew when the file is read; only folders that
 * would otherwise be missing are listed by themselves. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/state_text.h"

/* Where a row stands: {section: {outer: {inner: row}}}, outer "" meaning that level is not there. */
struct line {
    enum tree_section section;
    const char *outer;
    const char *inner;
    uint32_t row;
};

static int compare_places(const struct line *a, const struct line *b)
{
    int order = (a->section > b->section) - (a->section < b->section);

    order = order ? order : strcmp(a->outer, b->outer);
    return order ? order : strcmp(a->inner, b->inner);
}

static int compare_lines(const void *left, const void *right)
{
    const struct line *a = left;
    const struct line *b = right;
    int order = compare_places(a, b);

    return order ? order : (a->row > b->row) - (a->row < b->row);
}

static struct line *sorted_lines(const struct tree *tree, size_t count)
{
    struct line *lines = calloc(count + 1, sizeof(*lines));

    for (uint32_t i = 0; lines && i < count; i++) {
        const struct tree_row *row = tree_row(tree, i);
        const struct tree_group *group = tree_group(tree, row->group);

        const struct tree_section_facts *section = tree_section(group->section);

        lines[i] = (struct line){
            .section = group->section,
            .outer = section->group_key ? group->slug : "",
            .inner = section->is_alone ? group->slug : row->name,
            .row = i,
        };
    }
    if (lines)
        qsort(lines, count, sizeof(*lines), compare_lines);
    return lines;
}

/* --- a row --- */

static int add_file(struct json *files, const struct tree *tree, const struct tree_node *node,
                    const char *part)
{
    const struct tree_blob *blob = tree_blob(tree, node->blob);
    struct json *file = json_add_object(files, NULL);
    char key[BLOB_KEY_TEXT_SIZE], shared_path[BLOB_KEY_TEXT_SIZE + 16], mtime[24];
    int r = file ? 0 : -ENOMEM;

    blob_key_format(&blob->key, key);
    snprintf(shared_path, sizeof(shared_path), "_shared/%02x/%s", blob->key.digest[0], key);
    snprintf(mtime, sizeof(mtime), "%" PRId64, blob->mtime_ns);
    if (r == 0 && part)
        r = json_add_string(file, "part", part);
    if (r == 0)
        r = json_add_string(file, "key", key);
    if (r == 0)
        r = json_add_string(file, "shared_path", shared_path);
    return r < 0 ? r : json_add_string(file, "mtime_ns", mtime);
}

/* The file that node is, or all files below it, as far as they are the row's: what was read may have
 * put those of another row there. base: how much of their paths is the row's. */
static int add_files(struct json *files, const struct tree *tree, uint32_t row,
                     const struct tree_node *node, size_t base)
{
    char path[TREE_PATH_MAX];
    int r = 0;

    if (node->type == TREE_DIR) {
        for (uint32_t i = 0; r == 0 && i < node->dir.count; i++)
            r = add_files(files, tree, row, tree_node(tree, node->dir.first + i), base);
        return r;
    }
    if (node->type != TREE_BLOB || node->row != row)
        return 0;
    r = tree_path(tree, node, path, sizeof(path));
    if (r < 0)
        return r;
    return add_file(files, tree, node, path[base] ? path + base + 1 : NULL);
}

static int fill_row(struct json *object, const struct tree *tree, uint32_t index)
{
    const struct tree_row *row = tree_row(tree, index);
    const struct tree_node *node = row->path ? tree_find(tree, row->path) : NULL;
    struct json *files;
    int r = 0;

    for (size_t i = 0; r == 0 && i < STATE_FIELDS; i++) {
        const char *text = *(const char *const *)((const char *)row + state_fields[i].offset);

        if (*text)
            r = json_add_string(object, state_fields[i].key, text);
    }
    if (r == 0 && row->rows >= 0)
        r = json_add_i64(object, "rows", row->rows);
    if (r == 0)
        r = json_add_u64(object, "size", row->size);
    if (r == 0 && row->withheld)
        r = json_add_string(object, "withheld", row->withheld);
    for (size_t i = 0; r == 0 && i < STATE_FLAGS; i++) {
        if (row->flags & state_flags[i].flag)
            r = json_add_bool(object, state_flags[i].key, true);
    }
    if (r < 0 || !row->path)
        return r;
    r = json_add_string(object, "path", row->path);
    if (r < 0 || !node)
        return r;
    files = json_add_array(object, "files");
    return files ? add_files(files, tree, index, node, strlen(row->path)) : -ENOMEM;
}

static int add_row(struct json *container, const struct tree *tree, const struct line *line)
{
    const struct tree_row *row = tree_row(tree, line->row);
    struct json *object = json_add_object(container, line->inner);
    int r = object ? 0 : -ENOMEM;

    if (r == 0 && strcmp(row->name, line->inner) != 0)
        r = json_add_string(object, "name", row->name);
    return r < 0 ? r : fill_row(object, tree, line->row);
}

/* --- sections --- */

static int add_sections(struct json *root, const struct tree *tree)
{
    size_t count = tree_row_count(tree);
    scoped_free struct line *lines = sorted_lines(tree, count);
    const struct line *last = NULL;
    const struct line *line = lines;
    struct json *container = NULL;
    int r = 0;

    if (!lines)
        return -ENOMEM;
    for (unsigned i = 0; i < TREE_SECTIONS; i++) {
        const struct tree_section_facts *facts = tree_section((enum tree_section)i);
        struct json *section = json_add_object(root, facts->name);

        if (!section)
            return -ENOMEM;
        for (; r == 0 && line < lines + count && line->section == i; last = line++) {
            bool same_section = last && last->section == i;

            if (same_section && compare_places(last, line) == 0)
                continue;
            if (!facts->group_key)
                container = section;
            else if (!same_section || strcmp(last->outer, line->outer) != 0)
                container = json_add_object(section, line->outer);
            r = container ? add_row(container, tree, line) : -ENOMEM;
        }
    }
    return r;
}

static int compare_groups(const void *left, const void *right)
{
    const struct tree_group *a = *(const struct tree_group *const *)left;
    const struct tree_group *b = *(const struct tree_group *const *)right;
    int order = (a->section > b->section) - (a->section < b->section);

    return order ? order : strcmp(a->slug, b->slug);
}

static int add_group(struct json *array, const struct tree_group *group)
{
    struct json *object = json_add_object(array, NULL);
    int r = object ? 0 : -ENOMEM;

    if (r == 0)
        r = json_add_string(object, "section", tree_section_name(group->section));
    if (r == 0)
        r = json_add_string(object, "slug", group->slug);
    if (r == 0)
        r = json_add_string(object, "folder", group->folder);
    if (r == 0)
        r = json_add_string(object, "name", group->name);
    if (r == 0)
        r = json_add_string(object, "description", group->description);
    if (r == 0 && group->requirement != REQUIREMENT_UNKNOWN)
        r = json_add_string(object, "requirement", tree_requirement_name(group->requirement));
    return r;
}

static int add_groups(struct json *root, const struct tree *tree)
{
    size_t count = tree_group_count(tree);
    scoped_free const struct tree_group **groups = calloc(count + 1, sizeof(*groups));
    struct json *array = json_add_array(root, "groups");
    int r = 0;

    if (!groups || !array)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        groups[i] = tree_group(tree, i);
    qsort(groups, count, sizeof(*groups), compare_groups);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = add_group(array, groups[i]);
    return r;
}

/* Texts are decoration: a folder that holds nothing else would be missing without them. */
static bool is_empty(const struct tree *tree, const struct tree_node *folder)
{
    for (uint32_t i = 0; i < folder->dir.count; i++)
        if (tree_node(tree, folder->dir.first + i)->type != TREE_TEXT)
            return false;
    return true;
}

static int add_empty_folders(struct json *root, const struct tree *tree)
{
    struct json *array = json_add_array(root, "empty_folders");
    int r = array ? 0 : -ENOMEM;

    for (uint32_t i = 1; r == 0 && i < tree_node_count(tree); i++) {
        const struct tree_node *node = tree_node(tree, i);
        char path[TREE_PATH_MAX];

        if (node->type != TREE_DIR || node->row != TREE_NO_ROW || !is_empty(tree, node))
            continue;
        r = tree_path(tree, node, path, sizeof(path));
        if (r == 0)
            r = json_add_string(array, NULL, path);
    }
    return r;
}

static int add_doubts(struct json *root, const struct state *state)
{
    struct json *object = json_add_object(root, "doubt_since");
    int r = object ? 0 : -ENOMEM;

    for (unsigned i = 0; r == 0 && i < TREE_SECTIONS; i++) {
        const char *section = tree_section_name((enum tree_section)i);

        if (state->doubt_since[i])
            r = json_add_u64(object, section, state->doubt_since[i]);
    }
    return r;
}

/* --- the whole --- */

static int add_all(struct json *root, const struct state *state)
{
    int r = json_add_u64(root, "version", STATE_VERSION);

    if (r == 0)
        r = json_add_u64(root, "generation", tree_generation(state->tree));
    if (r == 0)
        r = json_add_u64(root, "last_sync_unix", state->last_sync_unix);
    if (r == 0)
        r = add_doubts(root, state);
    if (r == 0)
        r = add_groups(root, state->tree);
    if (r == 0)
        r = add_empty_folders(root, state->tree);
    if (r == 0)
        r = add_sections(root, state->tree);
    return r < 0 ? r : json_add_string(root, "checksum", "xxh3-" STATE_TAIL_ZEROS);
}

const char *state_checksum_place(const char *text, size_t size)
{
    size_t before = sizeof(STATE_TAIL_BEFORE) - 1;
    size_t after = sizeof(STATE_TAIL_AFTER) - 1;
    const char *end = text + size;

    if (size < before + STATE_CHECKSUM_DIGITS + after ||
        memcmp(end - after, STATE_TAIL_AFTER, after) != 0)
        return NULL;
    end -= after + STATE_CHECKSUM_DIGITS;
    return memcmp(end - before, STATE_TAIL_BEFORE, before) == 0 ? end : NULL;
}

void state_checksum(const char *text, size_t size,
                    char ret_digits[static STATE_CHECKSUM_DIGITS + 1])
{
    struct blob_key key;
    char name[BLOB_KEY_TEXT_SIZE];

    blob_key_of_bytes(text, size, &key);
    blob_key_format(&key, name);
    memcpy(ret_digits, name + strlen("xxh-"), STATE_CHECKSUM_DIGITS);
    ret_digits[STATE_CHECKSUM_DIGITS] = '\0';
}

int state_text_make(const struct state *state, char **ret_text, size_t *ret_size)
{
    scoped(json_freep) struct json *root = json_new_object();
    char digits[STATE_CHECKSUM_DIGITS + 1];
    const char *place;
    int r;

    if (!root)
        return -ENOMEM;
    r = add_all(root, state);
    if (r < 0)
        return r;
    r = json_print(root, true, ret_text, ret_size);
    if (r < 0)
        return r;
    place = state_checksum_place(*ret_text, *ret_size);
    state_checksum(*ret_text, *ret_size, digits);
    memcpy(*ret_text + (place - *ret_text), digits, STATE_CHECKSUM_DIGITS);
    return 0;
}
