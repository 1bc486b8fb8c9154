/* SPDX-License-Identifier: MIT */
/* unmount.h - taking what is mounted off a folder, be its process alive, hung or dead.
 *
 * Asks nothing of the folder. Whose mount it is, the kernel and fusermount3 judge.
 * Errors: -EBUSY something in it is in use (never when lazy), -EPERM not allowed, else the system's. */
#pragma once

#include <stdbool.h>

#define UNMOUNT_WORDS 400

/* lazy: detached at once, gone with the last open file. On an error ret_words says why, if there is
 * more to say than the errno does. */
int unmount(const char *path, bool lazy, char ret_words[static UNMOUNT_WORDS]);

/* Detaches what lies there if its process or its connection has ended and our user had mounted it.
 * 0, and how many mounts went; -ENOTCONN: a dead one stays, since it is somebody else's. Nobody may
 * be alive behind the path: a process that hangs would be waited for. */
int unmount_dead(const char *path, unsigned *ret_count);
