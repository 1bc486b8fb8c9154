/* SPDX-License-Identifier: MIT */
/* A listing pins the generation in which it began, so a plain index is a legal readdir offset (the
 * set can not change under it) and it is never mixed from two generations. It begins with the read
 * at offset 0, not with opendir: between the two the kernel has asked for the folder's mtime, and
 * would keep an old listing under a new mtime.
 *
 * A listing that outlives its generation goes on as names only. With inodes it would bring back to
 * the kernel, after it was told to forget them, the files of the generation before.
 *
 * The kernel keeps listings (cache_readdir, keep_cache). It drops one when the folder's mtime has
 * changed, and learns that from the attributes which invalidate.c makes it ask for anew. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/mount_private.h"

struct open_dir {
    struct inode_open open; /* first: the table hands it back as such */
    struct mount *mount;
    struct view_now now;         /* of the listing; the kernel serialises the reads of one handle */
    const struct tree_node *dir; /* in now.tree */
    size_t path_length;
    char path[]; /* of the folder, with a trailing slash unless it is the root */
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
    struct open_dir *handle;
    size_t length;
    int r;

    r = inode_facts(mount->table, nodeid, &facts);
    if (r < 0)
        return r;
    length = facts.type == INODE_DIR ? strlen(facts.path) : 0;
    handle = calloc(1, sizeof(*handle) + length + 2);
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
    memcpy(handle->path, facts.path, length);
    if (length)
        handle->path[length++] = '/';
    handle->path_length = length;
    *ret_handle = handle;
    return 0;
}

void serve_opendir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *info)
{
    struct open_dir *handle;
    int r;

    r = dir_new(mount_of(req), nodeid, &handle);
    if (r < 0) {
        fuse_reply_err(req, -r);
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

static mode_t mode_of_node(const struct tree_node *node)
{
    return node->type == TREE_DIR ? S_IFDIR : S_IFREG;
}

/* What a plain readdir tells: a name, its type, and an inode number that need only be set. */
static size_t add_name(fuse_req_t req, char *buffer, size_t room, const char *name, mode_t mode,
                       off_t next)
{
    const struct stat attr = {.st_ino = (ino_t)next + INODE_ROOT, .st_mode = mode};

    return fuse_add_direntry(req, buffer, room, name, &attr, next);
}

/* Also tells the inode, so that the stat that follows costs nothing. An entry without nodeid (dots,
 * live documents, an old listing, lack of memory) is only a name to the kernel. */
static size_t add_entry(fuse_req_t req, char *buffer, size_t room, const char *name,
                        struct open_dir *handle, const struct tree_node *node, off_t next)
{
    struct mount *mount = mount_of(req);
    struct fuse_entry_param entry = {.attr = {.st_ino = (ino_t)next + INODE_ROOT,
                                              .st_mode = node ? mode_of_node(node) : S_IFDIR}};
    char path[TREE_PATH_MAX];
    size_t size;

    if (node && node->type != TREE_LIVE && view_is_current(&mount->view, &handle->now)) {
        snprintf(path, sizeof(path), "%.*s%s", (int)handle->path_length, handle->path, name);
        attr_entry(mount, &handle->now, node, path, &entry);
    }
    size = fuse_add_direntry_plus(req, buffer, room, name, &entry, next);
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
        fuse_reply_err(req, ENOMEM);
        return;
    }
    for (off_t at = offset; at < end; at++) {
        const struct tree_node *node = at < DOTS
                                           ? NULL
                                           : tree_node(handle->now.tree, handle->dir->dir.first +
                                                                             (uint32_t)(at - DOTS));
        const char *name = node ? node->name : at == 0 ? "." : "..";
        const size_t entry = plus ? add_entry(req, buffer + used, size - used, name, handle, node,
                                              at + 1)
                                  : add_name(req, buffer + used, size - used, name,
                                             node ? mode_of_node(node) : S_IFDIR, at + 1);

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
