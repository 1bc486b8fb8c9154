/* SPDX-License-Identifier: MIT */
/* diff.c - two generations side by side.
 *
 * Both trees keep their children sorted by name and their blobs by key, so one merge walk sees
 * every name of either side exactly once. Folders wait in a queue until their turn: what is in
 * them is said after they themselves were, and no depth of folders can exhaust the stack. Sameness
 * is tree_node_equal, the same that tells the inode table what it may keep. */
#include <errno.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/diff.h"
#include "sync/tree_array.h"

/* The same folder on both sides; before is NULL for one that is new. */
struct folder_pair {
    const struct tree_node *before;
    const struct tree_node *after;
};

struct walk {
    const struct tree *before;
    const struct tree *after;
    struct tree_diff *diff;
    struct folder_pair *queue;
    size_t queued;
};

static int note_name(struct walk *walk, enum change_kind kind, const struct tree_node *before,
                     const struct tree_node *after)
{
    struct tree_diff *diff = walk->diff;
    struct name_change *names = array_grow(diff->names, diff->name_count, sizeof(*names));

    if (!names)
        return -ENOMEM;
    diff->names = names;
    names[diff->name_count++] = (struct name_change){kind, before, after};
    return 0;
}

static int note_references(struct walk *walk, const struct blob_key *key, uint32_t before,
                           uint32_t after)
{
    struct tree_diff *diff = walk->diff;
    struct reference_change *references = array_grow(diff->references, diff->reference_count,
                                                     sizeof(*references));

    if (!references)
        return -ENOMEM;
    diff->references = references;
    references[diff->reference_count++] = (struct reference_change){*key, before, after};
    return 0;
}

static int enqueue(struct walk *walk, const struct tree_node *before, const struct tree_node *after)
{
    struct folder_pair *queue = array_grow(walk->queue, walk->queued, sizeof(*queue));

    if (!queue)
        return -ENOMEM;
    walk->queue = queue;
    queue[walk->queued++] = (struct folder_pair){before, after};
    return 0;
}

/* One name that at least one side has. */
static int compare_names(struct walk *walk, const struct tree_node *before,
                         const struct tree_node *after)
{
    int r = 0;

    if (!after)
        return note_name(walk, CHANGE_REMOVED, before, NULL);
    if (!before)
        r = note_name(walk, CHANGE_ADDED, NULL, after);
    else if (!tree_node_equal(walk->before, before, walk->after, after))
        r = note_name(walk, CHANGE_CHANGED, before, after);
    if (r < 0 || after->type != TREE_DIR)
        return r;
    return enqueue(walk, before && before->type == TREE_DIR ? before : NULL, after);
}

static int compare_folders(struct walk *walk, struct folder_pair pair)
{
    uint32_t i = 0;
    uint32_t j = 0;
    uint32_t before_count = pair.before ? pair.before->dir.count : 0;
    uint32_t after_count = pair.after ? pair.after->dir.count : 0;

    while (i < before_count || j < after_count) {
        const struct tree_node *before = NULL;
        const struct tree_node *after = NULL;
        int order, r;

        if (i < before_count)
            before = tree_node(walk->before, pair.before->dir.first + i);
        if (j < after_count)
            after = tree_node(walk->after, pair.after->dir.first + j);
        order = !before ? 1 : !after ? -1 : strcmp(before->name, after->name);
        r = compare_names(walk, order <= 0 ? before : NULL, order >= 0 ? after : NULL);
        if (r < 0)
            return r;
        i += order <= 0;
        j += order >= 0;
    }
    return 0;
}

static int compare_references(struct walk *walk)
{
    size_t before_count = walk->before ? tree_blob_count(walk->before) : 0;
    size_t after_count = walk->after ? tree_blob_count(walk->after) : 0;
    uint32_t i = 0;
    uint32_t j = 0;

    while (i < before_count || j < after_count) {
        const struct tree_blob *before = i < before_count ? tree_blob(walk->before, i) : NULL;
        const struct tree_blob *after = j < after_count ? tree_blob(walk->after, j) : NULL;
        int order = !before ? 1 : !after ? -1 : blob_key_compare(&before->key, &after->key);
        uint32_t had = order <= 0 ? before->references : 0;
        uint32_t has = order >= 0 ? after->references : 0;

        if (had != has) {
            int r = note_references(walk, order <= 0 ? &before->key : &after->key, had, has);

            if (r < 0)
                return r;
        }
        i += order <= 0;
        j += order >= 0;
    }
    return 0;
}

int tree_diff_make(const struct tree *before, const struct tree *after, struct tree_diff *ret_diff)
{
    scoped(tree_diff_release) struct tree_diff diff = {0};
    struct walk walk = {.before = before, .after = after, .diff = &diff};
    scoped_free struct folder_pair *queue = NULL;
    int r = compare_folders(&walk, (struct folder_pair){before ? tree_root(before) : NULL,
                                                        after ? tree_root(after) : NULL});

    for (size_t i = 0; r == 0 && i < walk.queued; i++)
        r = compare_folders(&walk, walk.queue[i]);
    queue = walk.queue;
    if (r == 0)
        r = compare_references(&walk);
    if (r < 0)
        return r;
    *ret_diff = diff;
    diff = (struct tree_diff){0};
    return 0;
}

void tree_diff_release(struct tree_diff *diff)
{
    free(diff->names);
    free(diff->references);
    *diff = (struct tree_diff){0};
}
