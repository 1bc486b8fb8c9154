/* SPDX-License-Identifier: MIT */
/* tree_equal.c - is that the same generation again?
 *
 * Two trees are equal if a reader of the mount could not tell them apart, except by the number of
 * the generation. In which order the server listed its rows can not be seen there, so rows and
 * groups are compared sorted; nodes are sorted already. */
#include "cache/scoped.h"
#include "sync/tree_private.h"

bool tree_node_equal(const struct tree *a_tree, const struct tree_node *a,
                     const struct tree *b_tree, const struct tree_node *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case TREE_DIR: return true;
    case TREE_BLOB: {
        const struct tree_blob *left = &a_tree->blobs[a->blob];
        const struct tree_blob *right = &b_tree->blobs[b->blob];

        return left->mtime_ns == right->mtime_ns && blob_key_equal(&left->key, &right->key);
    }
    case TREE_TEXT: return blob_key_equal(a->text.key, b->text.key);
    case TREE_LIVE: return a->live == b->live;
    }
    return false;
}

static int compare_groups(const struct tree_group *a, const struct tree_group *b)
{
    int order = (a->section > b->section) - (a->section < b->section);

    order = order ? order : strcmp(a->slug, b->slug);
    order = order ? order : strcmp(a->folder, b->folder);
    order = order ? order : strcmp(a->name, b->name);
    order = order ? order : strcmp(a->description, b->description);
    return order ? order : (a->requirement > b->requirement) - (a->requirement < b->requirement);
}

static int compare_strings(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) : (a != NULL) - (b != NULL);
}

/* A row with its group, so that the index of the group does not count. */
struct whole_row {
    const struct tree_row *row;
    const struct tree_group *group;
};

static int compare_rows(const void *left, const void *right)
{
    const struct whole_row *x = left;
    const struct whole_row *y = right;
    const struct tree_row *a = x->row;
    const struct tree_row *b = y->row;
    int order = compare_groups(x->group, y->group);

    order = order ? order : strcmp(a->name, b->name);
    order = order ? order : strcmp(a->title, b->title);
    order = order ? order : compare_strings(a->path, b->path);
    order = order ? order : strcmp(a->table_id, b->table_id);
    order = order ? order : strcmp(a->token, b->token);
    order = order ? order : strcmp(a->md5, b->md5);
    order = order ? order : strcmp(a->url, b->url);
    order = order ? order : strcmp(a->updated, b->updated);
    order = order ? order : strcmp(a->query_mode, b->query_mode);
    order = order ? order : compare_strings(a->withheld, b->withheld);
    order = order ? order : (a->flags > b->flags) - (a->flags < b->flags);
    order = order ? order : (a->rows > b->rows) - (a->rows < b->rows);
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

static int compare_group_pointers(const void *left, const void *right)
{
    return compare_groups(*(const struct tree_group *const *)left,
                          *(const struct tree_group *const *)right);
}

static struct whole_row whole_row(const struct tree *tree, size_t index)
{
    const struct tree_row *row = &tree->rows[index];

    return (struct whole_row){row, &tree->groups[row->group]};
}

/* The order in which the server listed things does not count, hence sorted. */
static const struct tree_group **sorted_groups(const struct tree *tree)
{
    const struct tree_group **groups = calloc(tree->group_count + 1, sizeof(*groups));

    for (size_t i = 0; groups && i < tree->group_count; i++)
        groups[i] = &tree->groups[i];
    if (groups)
        qsort(groups, tree->group_count, sizeof(*groups), compare_group_pointers);
    return groups;
}

static struct whole_row *sorted_rows(const struct tree *tree)
{
    struct whole_row *rows = calloc(tree->row_count + 1, sizeof(*rows));

    for (size_t i = 0; rows && i < tree->row_count; i++)
        rows[i] = whole_row(tree, i);
    if (rows)
        qsort(rows, tree->row_count, sizeof(*rows), compare_rows);
    return rows;
}

static bool equal_groups(const struct tree *a, const struct tree *b)
{
    scoped_free const struct tree_group **left = NULL;
    scoped_free const struct tree_group **right = NULL;

    if (a->group_count != b->group_count)
        return false;
    left = sorted_groups(a);
    right = sorted_groups(b);
    for (size_t i = 0; left && right && i < a->group_count; i++) {
        if (compare_groups(left[i], right[i]) != 0)
            return false;
    }
    return left && right;
}

static bool equal_rows(const struct tree *a, const struct tree *b)
{
    scoped_free struct whole_row *left = NULL;
    scoped_free struct whole_row *right = NULL;

    if (a->row_count != b->row_count)
        return false;
    left = sorted_rows(a);
    right = sorted_rows(b);
    for (size_t i = 0; left && right && i < a->row_count; i++) {
        if (compare_rows(&left[i], &right[i]) != 0)
            return false;
    }
    return left && right;
}

/* Level order is the same for the same paths, whatever order they were added in. */
static bool equal_nodes(const struct tree *a, const struct tree *b)
{
    if (a->node_count != b->node_count)
        return false;
    for (size_t i = 0; i < a->node_count; i++) {
        const struct tree_node *left = &a->nodes[i];
        const struct tree_node *right = &b->nodes[i];

        if (left->parent != right->parent || strcmp(left->name, right->name) != 0 ||
            !tree_node_equal(a, left, b, right))
            return false;
        if ((left->row == TREE_NO_ROW) != (right->row == TREE_NO_ROW))
            return false;
        if (left->row != TREE_NO_ROW) {
            struct whole_row x = whole_row(a, left->row);
            struct whole_row y = whole_row(b, right->row);

            if (compare_rows(&x, &y) != 0)
                return false;
        }
    }
    return true;
}

/* No memory to compare with counts as different: that costs a refresh its shortcut, no more. */
bool tree_equal(const struct tree *a, const struct tree *b)
{
    return a == b || (equal_nodes(a, b) && equal_groups(a, b) && equal_rows(a, b));
}
