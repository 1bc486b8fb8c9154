/* SPDX-License-Identifier: MIT */
/* tree_freeze.c - from names in any order to a tree.
 *
 * Names are sorted by path order: a directory, all that is below it, its next sibling. Everything
 * else follows from that one sort:
 *
 *   - A repeated name, and a file with something below it, are neighbours: one look back finds them.
 *   - The segments that a path does not share with its predecessor are exactly the nodes that are
 *     new with it; the directories nobody mentioned appear by themselves.
 *   - The parent of a new node is the last node that was placed one level further up.
 *   - Nodes are numbered level by level. Within a level path order keeps siblings together and
 *     sorted by name, so the children of a directory are a slice, and names need no second sort.
 *   - References are written down in the order of this walk, so they are in path order too. */
#include <errno.h>

#include "cache/scoped.h"
#include "sync/tree_array.h"
#include "sync/tree_private.h"

/* A path of 4095 bytes has at most 2048 segments; level 0 is the root. */
#define TREE_LEVELS (TREE_PATH_MAX / 2 + 1)

static int name_compare(const void *a, const void *b)
{
    const struct tree_node *left = a;
    const struct tree_node *right = b;

    return tree_path_compare(left->name, right->name);
}

/* Sorts, folds repeated directories into one, refuses what cannot be. */
static int settle_names(struct tree_builder *builder)
{
    struct tree_node *names = builder->names;
    size_t kept = 0;

    if (builder->name_count)
        qsort(names, builder->name_count, sizeof(*names), name_compare);
    for (size_t i = 0; i < builder->name_count; i++) {
        struct tree_node *last = kept ? &names[kept - 1] : NULL;
        size_t length = last ? strlen(last->name) : 0;

        if (!last || strncmp(last->name, names[i].name, length) != 0 ||
            (names[i].name[length] != '/' && names[i].name[length] != '\0')) {
            names[kept++] = names[i];
        } else if (names[i].name[length] == '/') {
            if (last->type != TREE_DIR)
                return -ENOTDIR;
            names[kept++] = names[i];
        } else {
            if (last->type != TREE_DIR || names[i].type != TREE_DIR)
                return -EEXIST;
            if (last->row != TREE_NO_ROW && names[i].row != TREE_NO_ROW &&
                last->row != names[i].row)
                return -EEXIST;
            last->row = last->row != TREE_NO_ROW ? last->row : names[i].row;
        }
    }
    builder->name_count = kept;
    return 0;
}

static int blob_compare(const void *a, const void *b)
{
    const struct tree_blob *left = a;
    const struct tree_blob *right = b;

    return blob_key_compare(&left->key, &right->key);
}

/* One blob per key. ret_final: where each blob that was added has gone. */
static int settle_blobs(struct tree *tree, uint32_t **ret_final)
{
    struct tree_blob *blobs = tree->blobs;
    uint32_t *final = calloc(tree->blob_count + 1, sizeof(*final));
    size_t kept = 0;
    uint32_t first = 0;

    if (!final)
        return -ENOMEM;
    if (tree->blob_count)
        qsort(blobs, tree->blob_count, sizeof(*blobs), blob_compare);
    for (size_t i = 0; i < tree->blob_count; i++) {
        struct tree_blob blob = blobs[i];

        if (!kept || !blob_key_equal(&blobs[kept - 1].key, &blob.key)) {
            blobs[kept] = blob;
            blobs[kept++].references = 0;
            tree->bytes = tree_bytes_sum(tree->bytes, blob.key.size);
        }
        if (blob.mtime_ns < blobs[kept - 1].mtime_ns)
            blobs[kept - 1].mtime_ns = blob.mtime_ns;
        blobs[kept - 1].references++;
        final[blob.first] = (uint32_t)(kept - 1);
    }
    tree->reference_count = tree->blob_count;
    tree->blob_count = kept;
    for (size_t i = 0; i < kept; first += blobs[i++].references)
        blobs[i].first = first;
    *ret_final = final;
    return 0;
}

/* How many leading segments two paths share, and where b goes on after them. */
static size_t shared_segments(const char *a, const char *b, size_t *ret_offset)
{
    size_t segments = 0;

    *ret_offset = 0;
    for (size_t i = 0;; i++) {
        bool a_ends = a[i] == '/' || !a[i];
        bool b_ends = b[i] == '/' || !b[i];

        if (a_ends && b_ends) {
            segments++;
            *ret_offset = i + 1;
        }
        if (a[i] != b[i] || !a[i])
            return segments;
    }
}

/* Where each level begins: nodes are numbered level by level. */
static int count_levels(const struct tree_builder *builder, uint32_t next[static TREE_LEVELS],
                        size_t *ret_count)
{
    size_t counts[TREE_LEVELS] = {[0] = 1};
    size_t start = 0;

    for (size_t i = 0; i < builder->name_count; i++) {
        const char *path = builder->names[i].name;
        size_t offset;
        size_t level = shared_segments(i ? builder->names[i - 1].name : "", path, &offset);

        for (const char *slash = path + offset; slash; slash = strchr(slash + 1, '/'))
            counts[++level]++;
    }
    for (size_t level = 0; level < TREE_LEVELS; level++) {
        if (start > UINT32_MAX - 1)
            return -ENOMEM;
        next[level] = (uint32_t)start;
        start += counts[level];
    }
    *ret_count = start;
    return start > UINT32_MAX - 1 ? -ENOMEM : 0;
}

/* Numbers the node, makes it known to its directory, and if it is a name for a blob, to that. */
static void place_node(struct tree *tree, uint32_t next[static TREE_LEVELS], size_t level,
                       struct tree_node node, const uint32_t *final)
{
    uint32_t index = next[level]++;
    struct tree_node *parent;

    node.parent = next[level - 1] - 1;
    parent = &tree->nodes[node.parent];
    if (parent->dir.count++ == 0)
        parent->dir.first = index;
    if (node.type == TREE_BLOB) {
        node.blob = final[node.blob];
        tree->references[tree->blobs[node.blob].first++] = index;
    }
    tree->nodes[index] = node;
}

static int place_names(struct tree_builder *builder, uint32_t next[static TREE_LEVELS],
                       const uint32_t *final)
{
    struct tree *tree = builder->tree;

    tree->nodes[next[0]++] = (struct tree_node){.name = "", .row = TREE_NO_ROW};
    for (size_t i = 0; i < builder->name_count; i++) {
        struct tree_node node = builder->names[i];
        size_t offset;
        size_t level = shared_segments(i ? builder->names[i - 1].name : "", node.name, &offset);
        const char *segment = node.name + offset;
        const char *slash;

        for (; (slash = strchr(segment, '/')); segment = slash + 1) {
            struct tree_node dir = {.type = TREE_DIR, .row = TREE_NO_ROW};

            dir.name = arena_copy(&tree->strings, segment, (size_t)(slash - segment));
            if (!dir.name)
                return -ENOMEM;
            place_node(tree, next, ++level, dir, final);
        }
        node.name = segment;
        place_node(tree, next, ++level, node, final);
    }
    /* Each blob's first has moved to the end of its slice; back to the beginning. */
    for (size_t i = 0; i < tree->blob_count; i++)
        tree->blobs[i].first -= tree->blobs[i].references;
    return 0;
}

int tree_builder_freeze(struct tree_builder *builder, struct tree **ret_tree)
{
    struct tree *tree = builder->tree;
    scoped_free uint32_t *final = NULL;
    uint32_t next[TREE_LEVELS];
    int r;

    r = settle_names(builder);
    if (r < 0)
        return r;
    r = settle_blobs(tree, &final);
    if (r < 0)
        return r;
    r = count_levels(builder, next, &tree->node_count);
    if (r < 0)
        return r;
    tree->nodes = calloc(tree->node_count, sizeof(*tree->nodes));
    tree->references = calloc(tree->reference_count + 1, sizeof(*tree->references));
    if (!tree->nodes || !tree->references)
        return -ENOMEM;
    r = place_names(builder, next, final);
    if (r < 0)
        return r;
    tree->groups = array_shrink(tree->groups, tree->group_count, sizeof(*tree->groups));
    tree->rows = array_shrink(tree->rows, tree->row_count, sizeof(*tree->rows));
    tree->blobs = array_shrink(tree->blobs, tree->blob_count, sizeof(*tree->blobs));
    *ret_tree = take_ptr(builder->tree);
    tree_builder_free(builder);
    return 0;
}
