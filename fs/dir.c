/* SPDX-License-Identifier: MIT */
/* A listing pins the generation in which it began, so a plain index is a legal readdir offset (the
 * set can not change under it) and it is never mixed from two generations. It begins with the read
 * at offset 0, not with opendir: between the two the kernel has asked for the folder's mtime, and
 * would keep an old listing under a new mtime.
 *
 * A listing of a generation that leaves goes on as names only. With inodes it would bring back to the
 * kernel, after it was told to forget them, the files of the generation before.
 *
 * The kernel asks for names with their inodes (readdirplus) first, and goes on that way as long as
 * the reader looks at them, as `ls -l` does: who only lists is spared an inode for each name.
 *
 * The kernel keeps listings (cache_readdir, keep_cache). It drops one when the folder's mtime has
 * changed, and learns that from the attributes which invalidate.c makes it ask for anew. */
#include <errno.h>
#include <stdlib.h>

#include "cache/scoped.h"
#include "fs/mount_private.h"

struct open_dir {
    struct inode_open open; /* first: the table hands it back as such */
    struct mount *mount;
    struct view_now now;         /* of the listing; the kernel serialises the reads of one handle */
    const struct tree_node *dir; /* in now.tree */
};

#define DOTS 2 /* "." and ".." come first, at offsets 0 and 1 */

static struct open_dir *handle_of(const struct fuse_file_info *info)
{
    return (struct open_dir *)(uintptr_t)info->fh;
}

static void dir_free(struct open_dir *handle)
{
    inode_close(handle->mount->table, &handle->open);
    view_put(&handle->now);
    free(handle);
}

static void dir_release(struct inode_open *open)
{
    dir_free((struct open_dir *)open);
}

static int dir_new(struct mount *mount, fuse_ino_t nodeid, struct open_dir **ret_handle)
{
    struct inode_facts facts;
    struct open_dir *handle = calloc(1, sizeof(*handle));
    int r;

    if (!handle)
        return -ENOMEM;
    r = inode_open(mount->table, nodeid, &handle->open, &facts);
    if (r < 0) {
        free(handle);
        return r;
    }
    handle->open.release = dir_release;
    handle->mount = mount;
    handle->now = view_get(&mount->view);
    r = attr_folder(&handle->now, &facts, &handle->dir);
    if (r < 0) {
        dir_free(handle);
        return r;
    }
    *ret_handle = handle;
    return 0;
}

void serve_opendir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *info)
{
    struct open_dir *handle;
    int r;

    r = dir_new(mount_of(req), nodeid, &handle);
    if (r < 0) {
        fuse_reply_err(req, errno_for_reader(r));
        return;
    }
    info->fh = (uintptr_t)handle;
    info->cache_readdir = 1;
    info->keep_cache = 1;
    if (fuse_reply_open(req, info) < 0)
        dir_free(handle);
}

void serve_releasedir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *info)
{
    (void)nodeid;
    dir_free(handle_of(info));
    fuse_reply_err(req, 0);
}

/* What is at an offset: the two dots, and then the children. */
static const struct tree_node *entry_at(const struct open_dir *handle, off_t at,
                                        const char **ret_name)
{
    const struct tree *tree = handle->now.tree;
    const struct tree_node *node;

    if (at < DOTS) {
        *ret_name = at == 0 ? "." : "..";
        return at == 0 ? handle->dir : tree_node(tree, handle->dir->parent);
    }
    node = tree_node(tree, handle->dir->dir.first + (uint32_t)(at - DOTS));
    *ret_name = node->name;
    return node;
}

/* What a plain readdir tells. */
static size_t add_name(fuse_req_t req, char *buffer, size_t room, const struct open_dir *handle,
                       off_t at)
{
    const char *name;
    const struct tree_node *node = entry_at(handle, at, &name);
    struct stat attr;

    attr_of_name(handle->now.tree, node, &attr);
    return fuse_add_direntry(req, buffer, room, name, &attr, at + 1);
}

/* Also tells the inode, so that the stat that follows costs nothing. An entry without nodeid (dots,
 * live documents, an old listing, lack of memory) is only a name to the kernel. */
static size_t add_entry(fuse_req_t req, char *buffer, size_t room, const struct open_dir *handle,
                        off_t at)
{
    struct mount *mount = handle->mount;
    const char *name;
    const struct tree_node *node = entry_at(handle, at, &name);
    struct fuse_entry_param entry = {0};
    size_t size;

    if (at < DOTS || node->type == TREE_LIVE || !view_stays(&mount->view, &handle->now) ||
        attr_entry(mount, &handle->now, node, &entry) < 0)
        attr_of_name(handle->now.tree, node, &entry.attr);
    size = fuse_add_direntry_plus(req, buffer, room, name, &entry, at + 1);
    if (size > room && entry.ino)
        inode_forget(mount->table, entry.ino, 1);
    return size;
}

/* A listing begins, or begins anew. A folder that was withdrawn since is listed as it was. */
static void begin_listing(struct open_dir *handle)
{
    scoped_view struct view_now now = view_get(&handle->mount->view);
    const struct tree_node *dir;
    struct view_now old;
    struct inode_facts facts;

    if (inode_facts(handle->mount->table, handle->open.nodeid, &facts) < 0 ||
        attr_folder(&now, &facts, &dir) < 0)
        return;
    old = handle->now;
    handle->now = now;
    handle->dir = dir;
    now = old;
}

static void read_dir(fuse_req_t req, size_t size, off_t offset, struct open_dir *handle, bool plus)
{
    scoped_free char *buffer = malloc(size);
    size_t used = 0;

    if (offset == 0)
        begin_listing(handle);

    const off_t end = (off_t)handle->dir->dir.count + DOTS;

    if (!buffer) {
        fuse_reply_err(req, EIO);
        return;
    }
    for (off_t at = offset; at < end; at++) {
        const size_t entry = plus ? add_entry(req, buffer + used, size - used, handle, at)
                                  : add_name(req, buffer + used, size - used, handle, at);

        if (entry > size - used)
            break;
        used += entry;
    }
    fuse_reply_buf(req, buffer, used);
}

void serve_readdir(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
                   struct fuse_file_info *info)
{
    (void)nodeid;
    read_dir(req, size, offset, handle_of(info), false);
}

void serve_readdirplus(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
                       struct fuse_file_info *info)
{
    (void)nodeid;
    read_dir(req, size, offset, handle_of(info), true);
}
