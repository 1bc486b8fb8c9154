/* SPDX-License-Identifier: MIT */
/* For agnesfs_silent, which must fail in test_histories.py: a mount that changes names and bytes, and
 * never tells the kernel. */
#include <fuse_lowlevel.h>

int __wrap_fuse_lowlevel_notify_inval_entry(struct fuse_session *session, fuse_ino_t parent,
                                            const char *name, size_t size);
int __wrap_fuse_lowlevel_notify_inval_inode(struct fuse_session *session, fuse_ino_t nodeid,
                                            off_t offset, off_t length);

int __wrap_fuse_lowlevel_notify_inval_entry(struct fuse_session *session, fuse_ino_t parent,
                                            const char *name, size_t size)
{
    return 0;
}

int __wrap_fuse_lowlevel_notify_inval_inode(struct fuse_session *session, fuse_ino_t nodeid,
                                            off_t offset, off_t length)
{
    return 0;
}
