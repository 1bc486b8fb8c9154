/* SPDX-License-Identifier: MIT */
/* mount_private.h - what the files of fs/ share of one mount, and how a request flows through them.
 *
 *     lookup, getattr, statfs...  ops.c    resolve the inode, ask the tree, reply
 *     opendir, readdirplus        dir.c    pins one generation from open to release
 *     open, read, release         file.c   the blob for the kernel to read (passthrough.h), or a
 *                                          descriptor on it, or a parked request
 *     getxattr, listxattr         xattr.c  what the manifest and the cache say of a file
 *     a new generation            invalidate.c tells the kernel
 *     a blob that came            notifier.c tells it too, and is the thread that tells
 *     the process was killed      keeper.c answers what it has left unanswered
 *
 * No handler ever waits for the network. Handlers run on libfuse's threads, several at once. */
#pragma once

#define FUSE_USE_VERSION 317

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdatomic.h>

#include "fs/inode.h"
#include "fs/live.h"
#include "fs/mount.h"
#include "fs/notifier.h"
#include "fs/passthrough.h"
#include "fs/view.h"

/* Does this libfuse know of io_uring? */
#define URING (FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18))

struct mount {
    /* const after mount_new */
    struct mount_conf conf;
    char *source;
    struct fuse_session *session;
    struct inode_table *table;
    struct notifier *notifier;
    struct passthrough *passthrough;
    bool mounted;

    struct tree *counted; /* whose references the table counts; the publishing thread's */

    struct view view; /* has its own lock */
    struct live live; /* the same */

    void (*ready)(void *arg);
    void *ready_arg;

    _Atomic(const char *) uring_why_not;
    _Atomic uint64_t open_files;
    _Atomic uint64_t parked_reads;
    _Atomic uint64_t reads;
    _Atomic uint64_t bytes_read;
};

/* How long the kernel may believe us: until we tell it otherwise. The bound is for a notification
 * that gets lost. */
#define KERNEL_TIMEOUT_S 3600.0

static inline struct mount *mount_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* What the reader is told. What we are short of is no business of his: "too many open files" would
 * be a word about his own. */
static inline int errno_for_reader(int error)
{
    switch (-error) {
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ENOSPC:
    case EDQUOT:
    case EROFS: return EIO;
    default: return -error;
    }
}

/* --- attr.c: what `stat` shows --- */

/* How long the kernel may believe that a name leads where it does in this generation. */
double attr_name_timeout(const struct view_now *now);

/* What is known of an inode, with the references that it has in this generation. */
int attr_facts(struct mount *mount, const struct view_now *now, uint64_t nodeid,
               struct inode_facts *ret_facts);

/* Of an inode. tree tells a folder's subfolders; a folder that it does not have has no links. */
void attr_of_inode(const struct mount *mount, const struct tree *tree,
                   const struct inode_facts *facts, struct stat *ret_attr);

/* What a listing tells of a name without its inode: the type, and the number that stat would show. */
void attr_of_name(const struct tree *tree, const struct tree_node *node, struct stat *ret_attr);

/* The kernel gets to know the inode behind a node: one lookup, to be undone with inode_forget when
 * the reply fails. */
int attr_entry(struct mount *mount, const struct view_now *now, const struct tree_node *node,
               struct fuse_entry_param *ret_entry);

/* The folder of an inode in this generation. -ENOENT: withdrawn, -ENOTDIR. */
int attr_folder(const struct view_now *now, const struct inode_facts *facts,
                const struct tree_node **ret_dir);

/* What live documents are made of. */
struct live_view attr_live_view(const struct mount *mount, const struct view_now *now);

/* --- handlers --- */

void serve_opendir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *info);
void serve_readdir(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
                   struct fuse_file_info *info);
void serve_readdirplus(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
                       struct fuse_file_info *info);
void serve_releasedir(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *info);

void serve_open(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *info);
void serve_read(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
                struct fuse_file_info *info);
void serve_release(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *info);

void serve_getxattr(fuse_req_t req, fuse_ino_t nodeid, const char *name, size_t size);
void serve_listxattr(fuse_req_t req, fuse_ino_t nodeid, size_t size);

/* --- invalidate.c --- */

/* Tells the kernel what changes: of names before the view is swapped, of the rest after that. Hold no
 * lock. */
void invalidate_names(struct mount *mount, const struct tree_diff *diff, const struct tree *before,
                      const struct tree *after);
void invalidate_rest(struct mount *mount, const struct tree_diff *diff, const struct tree *before,
                     const struct tree *after, int64_t published_ns);

/* The same where there was no memory for a diff: no less is told, but it takes a look at every name. */
void invalidate_names_without_memory(struct mount *mount, const struct tree *before,
                                     const struct tree *after);
void invalidate_rest_without_memory(struct mount *mount, const struct tree *before,
                                    const struct tree *after, int64_t published_ns);

extern const struct fuse_lowlevel_ops mount_ops; /* ops.c */
