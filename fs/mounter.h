/* SPDX-License-Identifier: MIT */
/* mounter.h - the process that mounts and unmounts, so that the one that serves may do neither.
 *
 *     mounter_new       forks it: before there is any thread, any lock and any secret
 *     mounter_mount     it checks the folder and mounts there; the connection comes back
 *     mounter_look      it stats the folder, as anybody else would
 *     mounter_unmount   it takes the mount away again, lazily
 *     mounter_free      ends it
 *
 * Why a process of its own: an ordinary user's mounts are made and ended by fusermount3, which is
 * setuid root and of no use to a process without new privileges, and under Landlock nobody may
 * mount or unmount at all. And a folder below somebody else's home can be reached with the
 * capabilities of root only, which the serving process gives up.
 *
 * It learns at its birth which folder it is about, and holds neither the connection, nor a file,
 * nor the token: whoever has taken over the serving process can have this one folder unmounted by
 * it, and no more. It ends when the serving process does, however that ends; it then leaves a dead
 * mount alone, for a folder that is suddenly empty would be a lie.
 *
 * Threads: one at a time, mounter_new before there is a second one in the process.
 * Errors: -ENOENT no such folder, -ENOTDIR, -ENOTEMPTY, -EBUSY something is mounted there,
 * -ENOTCONN a dead mount lies there, -ENODEV no /dev/fuse, -EACCES no access to it, -EPERM the kernel
 * or fusermount3 refused (libfuse has printed their words on stderr), -EPIPE the process is gone,
 * -ENOMEM. */
#pragma once

#include <stdbool.h>

struct keeper;
struct mounter;

/* mountpoint: absolute. allow_other: others may read; the kernel then checks modes. */
int mounter_new(const char *mountpoint, bool allow_other, struct mounter **ret_mounter);
void mounter_free(struct mounter *mounter); /* NULL is allowed */

/* Once. source: what `mount` shows. *ret_fd: the connection to the kernel, of which it keeps none. */
int mounter_mount(struct mounter *mounter, const char *source, int *ret_fd);

/* 0 if somebody else finds the folder answering. */
int mounter_look(struct mounter *mounter);

/* The process that is to end the mount if this one is killed: made here, before there is any thread,
 * lock or secret, and told of the connection. NULL: there is none, or no mounter. */
struct keeper *mounter_keeper(const struct mounter *mounter);

/* Only what it has mounted, and only once. severed: the connection was ended by somebody else, who may
 * have unmounted it too, or may have left it dead at its folder. */
int mounter_unmount(struct mounter *mounter, bool severed);
