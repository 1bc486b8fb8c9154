/* SPDX-License-Identifier: MIT */
/* schedule_kernel.h - as much of a kernel as a mount's races need: names, inodes, attributes, counts.
 *
 * It keeps what the mount lets it keep and forgets what it is told to, in the order in which Linux
 * does (fs/fuse/dir.c, inode.c): a look-up of a name that it does not have holds the folder's lock
 * from the question to the entry; one that asks whether an entry is still right holds none; an
 * invalidation of a name waits for that lock; attributes that were asked for before they were
 * invalidated are not kept; an inode that nobody uses is forgotten with all its look-ups.
 *
 * One folder, "data/p", which it knows from the start; the names in it are t0, t1...
 *
 * Requests go straight into mount_ops; the replies come back through --wrap. A request that is
 * answered twice, or not at all, fails the schedule. */
#pragma once

#include <sys/stat.h>

#include "fs/mount_private.h"

#define KERNEL_NAMES 4

struct kernel_inode {
    uint64_t nodeid;
    uint64_t lookups;
    unsigned uses; /* entries, open files, whoever is walking */
    bool attr_kept;
    uint64_t attr_version;
    struct stat attr;
};

/* Of mount, which has no session: it must be the only one. */
void kernel_start(struct mount *mount);

/* An entry was expired while the mount was being asked about it. Linux takes no lock for either, so the
 * answer, given before, makes it good again: it may go on leading to the lazy face, which serves the
 * same bytes, until its time is over. */
extern bool kernel_overheard;

/* Forgets everything. */
void kernel_stop(void);

/* NULL: there is no such name. Else kernel_drop it. */
struct kernel_inode *kernel_walk(unsigned name);
void kernel_drop(struct kernel_inode *inode);

void kernel_stat(struct kernel_inode *inode, struct stat *ret_attr);

/* A file of its own each time. 0 or an errno. On 0 kernel_close it. */
int kernel_open(const struct kernel_inode *inode, struct fuse_file_info *ret_file);
void kernel_close(const struct kernel_inode *inode, struct fuse_file_info *file);

/* The bytes that came, or a negative errno. */
int kernel_read(const struct kernel_inode *inode, struct fuse_file_info *file, char *buffer,
                size_t size);

/* A signal for one of the readers that wait, if there is one. */
void kernel_interrupt(void);
