/* SPDX-License-Identifier: MIT */
#include "sync/filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/glob.h"
#include "sync/pins.h"

struct globs {
    char *texts[FILTER_GLOBS_MAX];
    size_t count;
};

struct filter {
    struct globs only;
    struct globs except;
};

static void globs_release(struct globs *globs)
{
    for (size_t i = 0; i < globs->count; i++)
        free(globs->texts[i]);
}

void filter_free(struct filter *filter)
{
    if (!filter)
        return;
    globs_release(&filter->only);
    globs_release(&filter->except);
    free(filter);
}

void filter_freep(struct filter *const *filter)
{
    filter_free(*filter);
}

/* How long the first glob is: up to a colon without a backslash. */
static size_t glob_length(const char *list)
{
    size_t length = 0;

    while (list[length] && list[length] != ':')
        length += list[length] == '\\' && list[length + 1] ? 2 : 1;
    return length;
}

static int globs_read(struct globs *globs, const char *list)
{
    for (const char *at = list; at && *list; at = *at ? at + 1 : NULL) {
        size_t length = glob_length(at);

        if (length == 0 || length > FILTER_GLOB_MAX || globs->count == FILTER_GLOBS_MAX)
            return -EINVAL;
        globs->texts[globs->count] = strndup(at, length);
        if (!globs->texts[globs->count])
            return -ENOMEM;
        globs->count++;
        at += length;
    }
    return 0;
}

int filter_new(const char *only, const char *except, struct filter **ret_filter)
{
    scoped(filter_freep) struct filter *filter = NULL;
    int r;

    *ret_filter = NULL;
    only = only ? only : "";
    except = except ? except : "";
    if (!*only && !*except)
        return 0;
    filter = calloc(1, sizeof(*filter));
    if (!filter)
        return -ENOMEM;
    if ((r = globs_read(&filter->only, only)) < 0 || (r = globs_read(&filter->except, except)) < 0)
        return r;
    *ret_filter = take_ptr(filter);
    return 0;
}

static bool globs_match(const struct globs *globs, const struct tree_group *group,
                        const struct tree_row *row)
{
    for (size_t i = 0; i < globs->count; i++)
        if (pin_matches(globs->texts[i], group, row))
            return true;
    return false;
}

const char *filter_reason(const struct filter *filter, const struct tree_group *group,
                          const struct tree_row *row)
{
    if (!filter)
        return NULL;
    if (filter->only.count > 0 && !globs_match(&filter->only, group, row))
        return FILTER_ONLY;
    return globs_match(&filter->except, group, row) ? FILTER_EXCEPT : NULL;
}

/* --- the view --- */

static int add_groups(struct tree_builder *builder, const struct tree *tree)
{
    char folder[TREE_PATH_MAX];
    uint32_t index;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < tree_group_count(tree); i++) {
        const struct tree_group *group = tree_group(tree, i);
        const struct tree_section_facts *section = tree_section(group->section);

        r = tree_builder_add_group(builder, group, &index);
        if (r < 0 || !section->is_lasting)
            continue;
        snprintf(folder, sizeof(folder), "%s/%s", section->folder, group->folder);
        r = tree_builder_add_dir(builder, folder, TREE_NO_ROW);
    }
    return r;
}

/* All groups and rows keep their numbers. */
static int add_rows(const struct filter *filter, struct tree_builder *builder,
                    const struct tree *tree)
{
    uint32_t index;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < tree_row_count(tree); i++) {
        struct tree_row row = *tree_row(tree, i);
        const char *reason = row.path ? filter_reason(filter, tree_group(tree, row.group), &row)
                                      : NULL;

        if (reason) {
            row.path = NULL;
            row.withheld = reason;
        }
        r = tree_builder_add_row(builder, &row, &index);
    }
    return r;
}

/* Folders that hold anything appear by themselves; the others are tables' own, or these two. */
static int add_node(struct tree_builder *builder, const struct tree *tree,
                    const struct tree_node *node)
{
    char path[TREE_PATH_MAX];
    int r = tree_path(tree, node, path, sizeof(path));

    if (r < 0)
        return r;
    if (node->type == TREE_DIR)
        return tree_builder_add_dir(builder, path, node->row);

    const struct tree_blob *blob = tree_blob(tree, node->blob);

    return tree_builder_add_blob(builder, path, node->row, &blob->key, blob->mtime_ns);
}

static int add_nodes(struct tree_builder *builder, const struct tree *tree)
{
    size_t count;
    int r = tree_builder_add_dir(builder, "data", TREE_NO_ROW);

    if (r == 0)
        r = tree_builder_add_dir(builder, "memory", TREE_NO_ROW);
    for (uint32_t i = 0; r == 0 && i < tree_node_count(tree); i++) {
        const struct tree_node *node = tree_node(tree, i);

        if ((node->type == TREE_BLOB || node->type == TREE_DIR) && node->row != TREE_NO_ROW &&
            tree_builder_rows(builder, &count)[node->row].path)
            r = add_node(builder, tree, node);
    }
    return r;
}

int filter_tree(const struct filter *filter, const struct tree *tree,
                int (*decorate)(void *arg, struct tree_builder *builder), void *arg,
                struct tree **ret_view)
{
    struct tree_builder *builder;
    int r = tree_builder_new(tree_generation(tree), &builder);

    if (r < 0)
        return r;
    if ((r = add_groups(builder, tree)) < 0 || (r = add_rows(filter, builder, tree)) < 0 ||
        (r = add_nodes(builder, tree)) < 0 || (r = decorate ? decorate(arg, builder) : 0) < 0 ||
        (r = tree_builder_freeze(builder, ret_view)) < 0) {
        tree_builder_free(builder);
        return r;
    }
    return 0;
}
