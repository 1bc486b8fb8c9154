/* SPDX-License-Identifier: MIT */
/* Every handler is the same few lines: resolve the inode, take the view, ask, reply. What a request
 * needs of a generation it takes from the one view it holds, so it can not see two.
 *
 * Lookup counts go up before the reply and are taken back when the reply fails: the kernel may send
 * the forget before fuse_reply_entry has returned. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/mount_private.h"

/* A stacked file system below needs the depth of which there is only one; else it is left to those
 * who want to stack one over the mount. */
static void ask_for_passthrough(struct mount *mount, struct fuse_conn_info *conn)
{
    const char *why_not = NULL;

    if (!fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH))
        why_not = "the kernel does not offer it (Linux 6.9)";
    else if (passthrough_capable() < 0) {
        fuse_unset_feature_flag(conn, FUSE_CAP_PASSTHROUGH);
        why_not = "needs CAP_SYS_ADMIN";
    }
    conn->max_backing_stack_depth = mount->conf.stacked ? FUSE_BACKING_STACKED_OVER
                                                        : FUSE_BACKING_STACKED_UNDER;
    passthrough_allow(mount->passthrough, why_not);
}

/* Whether they really come that way, the first of them will tell. */
static void ask_for_uring(struct mount *mount, const struct fuse_conn_info *conn)
{
    const char *why_not = "not asked for (-o io-uring)";

    (void)conn;
    if (mount->conf.io_uring)
        why_not = "needs libfuse 3.18 with liburing";
#if URING
    if (mount->conf.io_uring && !(conn->capable_ext & FUSE_CAP_OVER_IO_URING))
        why_not = "the kernel does not offer it (Linux 6.14, fuse.enable_uring=1)";
#endif
    atomic_store(&mount->uring_why_not, why_not);
}

static void note_uring(fuse_req_t req)
{
#if URING
    if (mount_of(req)->conf.io_uring && fuse_req_is_uring(req))
        atomic_store(&mount_of(req)->uring_why_not, NULL);
#endif
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    struct mount *mount = userdata;

    fuse_set_feature_flag(conn, FUSE_CAP_NO_EXPORT_SUPPORT);
    fuse_set_feature_flag(conn, FUSE_CAP_READDIRPLUS); /* at the kernel's discretion: dir.c */
    fuse_set_feature_flag(conn, FUSE_CAP_READDIRPLUS_AUTO);
    /* With asynchronous reads a signal handler of the reader runs only when the bytes are there. */
    fuse_unset_feature_flag(conn, FUSE_CAP_ASYNC_READ);
    fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_READ);
    conn->max_background = 4096; /* parked reads must not starve those of other files */
    conn->congestion_threshold = 3072;
    conn->no_interrupt = 0;

    ask_for_passthrough(mount, conn);
    ask_for_uring(mount, conn);
    if (mount->ready)
        mount->ready(mount->ready_arg);
}

/* A name that is not there is an entry without inode, which the kernel may remember too. */
static int lookup(struct mount *mount, fuse_ino_t parent, const char *name,
                  struct fuse_entry_param *ret_entry)
{
    scoped_view struct view_now now = view_get(&mount->view);
    const struct tree_node *dir, *node;
    struct inode_facts facts;
    int r;

    if (strlen(name) > NAME_MAX)
        return -ENAMETOOLONG;
    r = inode_facts(mount->table, parent, &facts);
    if (r < 0)
        return r;
    r = attr_folder(&now, &facts, &dir);
    if (r < 0)
        return r;
    node = tree_child(now.tree, dir, name);
    if (node)
        return attr_entry(mount, &now, node, ret_entry);
    *ret_entry = (struct fuse_entry_param){.entry_timeout = attr_name_timeout(&now)};
    return 0;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mount *mount = mount_of(req);
    struct fuse_entry_param entry;
    int r;

    r = lookup(mount, parent, name, &entry);
    if (r < 0) {
        fuse_reply_err(req, errno_for_reader(r));
        return;
    }
    if (fuse_reply_entry(req, &entry) < 0 && entry.ino)
        inode_forget(mount->table, entry.ino, 1);
}

static void op_forget(fuse_req_t req, fuse_ino_t nodeid, uint64_t lookups)
{
    inode_forget(mount_of(req)->table, nodeid, lookups);
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        inode_forget(mount_of(req)->table, forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *info)
{
    struct mount *mount = mount_of(req);
    scoped_view struct view_now now = view_get(&mount->view);
    struct inode_facts facts;
    struct stat attr;
    int r;

    (void)info;
    note_uring(req);
    r = attr_facts(mount, &now, nodeid, &facts);
    if (r < 0) {
        fuse_reply_err(req, errno_for_reader(r));
        return;
    }
    attr_of_inode(mount, now.tree, &facts, &attr);
    fuse_reply_attr(req, &attr, KERNEL_TIMEOUT_S);
}

/* Full, as read-only media are: the size of the stack, nothing free. O(1), never the network. */
static void op_statfs(fuse_req_t req, fuse_ino_t nodeid)
{
    scoped_view struct view_now now = view_get(&mount_of(req)->view);
    const struct statvfs facts = {
        .f_bsize = 4096,
        .f_frsize = 4096,
        .f_blocks = (tree_bytes(now.tree) + 4095) / 4096,
        .f_files = tree_node_count(now.tree),
        .f_namemax = NAME_MAX,
        .f_flag = ST_RDONLY,
    };

    (void)nodeid;
    fuse_reply_statfs(req, &facts);
}

const struct fuse_lowlevel_ops mount_ops = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .statfs = op_statfs,
    .opendir = serve_opendir,
    .readdir = serve_readdir,
    .readdirplus = serve_readdirplus,
    .releasedir = serve_releasedir,
    .open = serve_open,
    .read = serve_read,
    .release = serve_release,
    .getxattr = serve_getxattr,
    .listxattr = serve_listxattr,
};
