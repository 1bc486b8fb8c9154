/* SPDX-License-Identifier: MIT */
/* The stat contract: (ino, size, mtime) of a file are functions of its content alone, so they are
 * the same in every mount and after every restart, and all differ when the content does. Links are
 * counted in the generation that the request sees, not in the table, which may be ahead. Sizes are
 * exact before anything is fetched, blocks never say 0 (tar -S would archive zeros), times never
 * say "now". */
#include <errno.h>
#include <stdlib.h>

#include "cache/scoped.h"
#include "fs/mount_private.h"

#define BLOCK_SIZE 131072 /* st_blksize: what cat and cp read at a time */

static struct timespec timespec_of_ns(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static nlink_t folder_links(const struct tree *tree, const char *path)
{
    const struct tree_node *dir = tree_find(tree, path);
    nlink_t links = 2;

    if (!dir || dir->type != TREE_DIR)
        return 0;
    for (uint32_t i = 0; i < dir->dir.count; i++)
        links += tree_node(tree, dir->dir.first + i)->type == TREE_DIR;
    return links;
}

void attr_of_inode(const struct mount *mount, const struct tree *tree,
                   const struct inode_facts *facts, struct stat *ret_attr)
{
    const bool folder = facts->type == INODE_DIR;
    const mode_t mode = folder ? S_IFDIR | 0555 : S_IFREG | 0444;
    const uint64_t size = folder ? 0 : facts->key.size;

    *ret_attr = (struct stat){
        .st_ino = facts->ino,
        .st_mode = mode & ~mount->conf.umask,
        .st_uid = mount->conf.uid,
        .st_gid = mount->conf.gid,
        .st_size = (off_t)size,
        .st_blocks = (blkcnt_t)((size + 511) / 512),
        .st_blksize = BLOCK_SIZE,
        .st_mtim = timespec_of_ns(facts->mtime_ns),
        .st_ctim = timespec_of_ns(facts->mtime_ns),
        .st_atim = timespec_of_ns(facts->mtime_ns),
    };
    switch (facts->type) {
    case INODE_DIR: ret_attr->st_nlink = folder_links(tree, facts->path); break;
    case INODE_BLOB: ret_attr->st_nlink = facts->references; break;
    case INODE_TEXT: ret_attr->st_nlink = 1; break;
    }
}

double attr_name_timeout(const struct view_now *now)
{
    return now->leaving ? 0 : KERNEL_TIMEOUT_S;
}

int attr_facts(struct mount *mount, const struct view_now *now, uint64_t nodeid,
               struct inode_facts *ret_facts)
{
    const struct tree_blob *blob;
    int r;

    r = inode_facts(mount->table, nodeid, ret_facts);
    if (r < 0 || ret_facts->type != INODE_BLOB)
        return r;
    blob = tree_blob_find(now->tree, &ret_facts->key);
    ret_facts->references = blob ? blob->references : 0;
    return 0;
}

void attr_of_name(const struct tree *tree, const struct tree_node *node, struct stat *ret_attr)
{
    char path[TREE_PATH_MAX];

    *ret_attr = (struct stat){.st_mode = node->type == TREE_DIR ? S_IFDIR : S_IFREG};
    switch (node->type) {
    case TREE_DIR:
        if (tree_path(tree, node, path, sizeof(path)) == 0)
            ret_attr->st_ino = inode_number_of_dir(path);
        break;
    case TREE_BLOB: ret_attr->st_ino = inode_number(&tree_blob(tree, node->blob)->key); break;
    case TREE_TEXT: ret_attr->st_ino = inode_number(node->text.key); break;
    case TREE_LIVE: ret_attr->st_ino = INODE_ROOT + 1; break; /* not known before it is made */
    }
}

int attr_folder(const struct view_now *now, const struct inode_facts *facts,
                const struct tree_node **ret_dir)
{
    if (facts->type != INODE_DIR)
        return -ENOTDIR;
    *ret_dir = tree_find(now->tree, facts->path);
    return *ret_dir && (*ret_dir)->type == TREE_DIR ? 0 : -ENOENT;
}

struct live_view attr_live_view(const struct mount *mount, const struct view_now *now)
{
    return (struct live_view){&mount->conf.provider, now->tree, now->published_ns};
}

/* A live document becomes a text the moment somebody looks: whoever opened it keeps those bytes,
 * the next look-up may find another inode. So it is finite, and its size is true. Of a large one the
 * inode is its key alone. */
static int lookup_live(struct mount *mount, const struct view_now *now,
                       const struct tree_node *node, struct inode_facts *facts)
{
    const struct live_view view = attr_live_view(mount, now);
    struct live_text *text;
    struct blob_key key;
    int r;

    r = live_look(&mount->live, &view, node->live, &key, &text);
    if (r < 0)
        return r;
    r = inode_lookup_text(mount->table, text ? text->bytes : NULL, key.size, &key,
                          now->published_ns, facts);
    live_put(&mount->live, text);
    return r;
}

/* Of bytes that arrive the kernel is told only where it knows the lazy face. So whoever is about to
 * give that one away looks once more: those that came a moment ago were told to nobody. */
static int lookup_blob(struct mount *mount, const struct view_now *now,
                       const struct tree_node *node, struct inode_facts *facts)
{
    const struct provider *provider = &mount->conf.provider;
    const struct tree_blob *blob = tree_blob(now->tree, node->blob);
    const bool resident = provider->resident(provider->arg, &blob->key);
    int r = inode_lookup_blob(mount->table, blob, resident ? FACE_FULL : FACE_LAZY, facts);

    if (r == 0 && !resident && provider->resident(provider->arg, &blob->key)) {
        const uint64_t lazy = facts->nodeid;

        r = inode_lookup_blob(mount->table, blob, FACE_FULL, facts);
        inode_forget(mount->table, lazy, 1);
    }
    facts->references = blob->references;
    return r;
}

static int lookup_dir(struct mount *mount, const struct view_now *now, const struct tree_node *node,
                      struct inode_facts *facts)
{
    char path[TREE_PATH_MAX];
    const int r = tree_path(now->tree, node, path, sizeof(path));

    return r < 0 ? r : inode_lookup_dir(mount->table, path, now->published_ns, facts);
}

int attr_entry(struct mount *mount, const struct view_now *now, const struct tree_node *node,
               struct fuse_entry_param *ret_entry)
{
    struct inode_facts facts;
    int r = -EIO;

    switch (node->type) {
    case TREE_DIR: r = lookup_dir(mount, now, node, &facts); break;
    case TREE_BLOB: r = lookup_blob(mount, now, node, &facts); break;
    case TREE_TEXT:
        r = inode_lookup_text(mount->table, node->text.bytes, node->text.size, node->text.key,
                              now->published_ns, &facts);
        break;
    case TREE_LIVE: r = lookup_live(mount, now, node, &facts); break;
    }
    if (r < 0)
        return r;
    *ret_entry = (struct fuse_entry_param){
        .ino = facts.nodeid,
        .attr_timeout = KERNEL_TIMEOUT_S,
        .entry_timeout = node->type == TREE_LIVE ? 0 : attr_name_timeout(now),
    };
    attr_of_inode(mount, now->tree, &facts, &ret_entry->attr);
    return 0;
}
