/* SPDX-License-Identifier: MIT */
/* What the kernel is told around a switch. Order and limits were measured on Linux 6.18:
 *
 *   1. Each changed name, one by one (5 to 20 us each), so that what did not change stays in the
 *      kernel's caches, pages included. Invalidated, not expired: that takes the parent's lock, so a
 *      look-up that was answered before can not settle after it, and a name that is being
 *      revalidated meanwhile is gone all the same.
 *      Not by an epoch, which tells of all names in one message of 4 us: whoever walks a path next
 *      then waits until the kernel has dropped all that it knew below, half a second for 50,000.
 *      A folder that stays is never invalidated by its own name: getcwd inside it would fail.
 *      Of a folder that goes, also each name below it: those of files that are open stay in it, for
 *      whoever is still in there, and come back with it when there is one of that path again.
 *   2. Each folder whose entries changed: attributes only. Its new mtime drops the cached listing.
 *   3. Each blob whose reference count changed: attributes only, else the names that it keeps, and
 *      open files, show the old st_nlink. Never with an offset: that would wait for pages that a
 *      reader holds.
 *
 * The kernel answers -ENOENT for what it does not remember; that is no error. This runs on
 * the notifier's thread, which serves no request, and holds no lock: the kernel may make it wait. */
#include <string.h>

#include "cache/scoped.h"
#include "fs/mount_private.h"

static void forget_name(struct mount *mount, const struct name_change *change, const char *parent)
{
    const char *name = change->after ? change->after->name : change->before->name;
    const uint64_t nodeid = inode_dir_nodeid(mount->table, parent);

    if (nodeid)
        fuse_lowlevel_notify_inval_entry(mount->session, nodeid, name, strlen(name));
}

/* The path of the folder in which a name changed. */
static bool parent_path(const struct name_change *change, const struct tree *before,
                        const struct tree *after, char path[static TREE_PATH_MAX])
{
    const struct tree *tree = change->after ? after : before;
    const struct tree_node *node = change->after ? change->after : change->before;

    return tree_path(tree, tree_node(tree, node->parent), path, TREE_PATH_MAX) == 0;
}

/* Whose nodeid the kernel does not know, nothing below it does it know either. */
static void forget_below(struct mount *mount, const struct tree *tree, const struct tree_node *dir)
{
    char path[TREE_PATH_MAX];
    const uint64_t nodeid = tree_path(tree, dir, path, sizeof(path)) == 0
                                ? inode_dir_nodeid(mount->table, path)
                                : 0;

    for (uint32_t i = 0; nodeid && i < dir->dir.count; i++) {
        const struct tree_node *node = tree_node(tree, dir->dir.first + i);

        fuse_lowlevel_notify_inval_entry(mount->session, nodeid, node->name, strlen(node->name));
        if (node->type == TREE_DIR)
            forget_below(mount, tree, node);
    }
}

void invalidate_names(struct mount *mount, const struct tree_diff *diff, const struct tree *before,
                      const struct tree *after)
{
    char parent[TREE_PATH_MAX];

    for (size_t i = 0; i < diff->name_count; i++) {
        const struct name_change *change = &diff->names[i];

        if (parent_path(change, before, after, parent))
            forget_name(mount, change, parent);
        if (change->before && change->before->type == TREE_DIR)
            forget_below(mount, before, change->before);
    }
}

static bool same_folder(const struct name_change *a, const struct name_change *b)
{
    if (a->after && b->after)
        return a->after->parent == b->after->parent;
    return !a->after && !b->after && a->before->parent == b->before->parent;
}

/* Changes of one folder mostly follow each other: told once is enough. */
static void forget_folders(struct mount *mount, const struct tree_diff *diff,
                           const struct tree *before, const struct tree *after,
                           int64_t published_ns)
{
    char parent[TREE_PATH_MAX], last[TREE_PATH_MAX] = "/";

    for (size_t i = 0; i < diff->name_count; i++) {
        uint64_t nodeid;

        if ((i > 0 && same_folder(&diff->names[i - 1], &diff->names[i])) ||
            !parent_path(&diff->names[i], before, after, parent) || !strcmp(parent, last))
            continue;
        memcpy(last, parent, sizeof(last));
        nodeid = inode_touch_dir(mount->table, parent, published_ns);
        if (nodeid)
            fuse_lowlevel_notify_inval_inode(mount->session, nodeid, -1, 0);
    }
}

static void forget_attributes(struct mount *mount, const struct blob_key *key)
{
    uint64_t nodeids[FACES];

    inode_faces(mount->table, key, nodeids);
    for (size_t face = 0; face < FACES; face++)
        if (nodeids[face])
            fuse_lowlevel_notify_inval_inode(mount->session, nodeids[face], -1, 0);
}

/* Of what has a name before and after. What has none any more was invalidated with its names, and
 * what had none has been looked up in this generation, unless it is open. */
static void forget_counts(struct mount *mount, const struct tree_diff *diff)
{
    for (size_t i = 0; i < diff->reference_count; i++)
        if (diff->references[i].before && diff->references[i].after)
            forget_attributes(mount, &diff->references[i].key);
}

static void forget_all_attributes(struct mount *mount, const struct tree *tree)
{
    for (uint32_t i = 0; i < tree_blob_count(tree); i++)
        forget_attributes(mount, &tree_blob(tree, i)->key);
}

/* Of what has names only before or only after. */
static void forget_counts_of_open_files(struct mount *mount, const struct tree *before,
                                        const struct tree *after)
{
    scoped_free struct inode_opened *opened = NULL;
    size_t count = 0;

    if (inode_opened(mount->table, &opened, &count) < 0) {
        forget_all_attributes(mount, before);
        forget_all_attributes(mount, after);
    }
    for (size_t i = 0; i < count; i++)
        if (!tree_blob_find(before, &opened[i].key) != !tree_blob_find(after, &opened[i].key))
            fuse_lowlevel_notify_inval_inode(mount->session, opened[i].nodeid, -1, 0);
}

void invalidate_rest(struct mount *mount, const struct tree_diff *diff, const struct tree *before,
                     const struct tree *after, int64_t published_ns)
{
    forget_folders(mount, diff, before, after, published_ns);
    forget_counts(mount, diff);
    forget_counts_of_open_files(mount, before, after);
}

/* --- without memory --- */

/* Those of tree that the other does not have, or has otherwise. */
static void forget_what_differs(struct mount *mount, const struct tree *tree,
                                const struct tree *other)
{
    char path[TREE_PATH_MAX];

    for (uint32_t i = 1; i < tree_node_count(tree); i++) {
        const struct tree_node *node = tree_node(tree, i);
        const struct tree_node *there;

        if (tree_path(tree, node, path, sizeof(path)) < 0)
            continue;
        there = tree_find(other, path);
        if (!there || !tree_node_equal(tree, node, other, there)) {
            const struct name_change change = {.before = node};

            if (parent_path(&change, tree, NULL, path))
                forget_name(mount, &change, path);
        }
    }
}

void invalidate_names_without_memory(struct mount *mount, const struct tree *before,
                                     const struct tree *after)
{
    forget_what_differs(mount, before, after);
    forget_what_differs(mount, after, before); /* names that were looked up in vain */
}

/* Every folder and every file, changed or not. */
void invalidate_rest_without_memory(struct mount *mount, const struct tree *before,
                                    const struct tree *after, int64_t published_ns)
{
    char path[TREE_PATH_MAX];

    for (uint32_t i = 0; i < tree_node_count(after); i++) {
        const struct tree_node *node = tree_node(after, i);
        uint64_t nodeid;

        if (node->type != TREE_DIR || tree_path(after, node, path, sizeof(path)) < 0)
            continue;
        nodeid = inode_touch_dir(mount->table, path, published_ns);
        if (nodeid)
            fuse_lowlevel_notify_inval_inode(mount->session, nodeid, -1, 0);
    }
    forget_all_attributes(mount, before);
    forget_all_attributes(mount, after);
}
