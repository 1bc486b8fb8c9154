/* SPDX-License-Identifier: MIT */
/* disk.h - an ext4 that can lose power.
 *
 *     disk_make -> disk_cut, from any process -> disk_restart -> ... -> disk_end
 *
 * The image is memory, behind a loop device that vanishes with its last user, mounted where only this
 * process and its children see it. A cut is ext4's own shutdown without a flush of its log, which
 * ends all writing. What the disk held at that moment is what it holds after the restart: unmounting
 * an ext4 in that state writes once more, which a machine without power does not.
 *
 * Limits: the loop device has no cache that could lose writes, so what went past the page cache is
 * taken for durable before it is synced; and ext4 writes its whole journal with any sync, so a sync
 * too few may be made good by another one. Needs root. Whatever fails here ends the program. */
#pragma once

#include <stddef.h>

struct disk {
    char mountpoint[256];
    char device[32];
    size_t size;
    char *bytes; /* what is on it */
    char *kept;  /* room for a copy */
    int loop;
    int root; /* of the file system */
};

void disk_make(struct disk *disk, const char *mountpoint, size_t size);

/* Safe in any thread of any process; returns when nothing is written any more. */
void disk_cut(const struct disk *disk);

/* What was done so far can not be lost. */
void disk_settle(const struct disk *disk);

/* Unmounts and mounts again, as after a cut. Nothing may be open on it. */
void disk_restart(struct disk *disk);

void disk_end(struct disk *disk);
