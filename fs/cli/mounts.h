/* SPDX-License-Identifier: MIT */
/* mounts.h - what the kernel says is mounted, without touching it.
 *
 * Reads /proc/self/mountinfo, which answers also when the mount itself would hang. Paths are as
 * paths_absolute makes them. */
#pragma once

#include <sys/types.h>

enum mounts_kind {
    MOUNTS_NOTHING, /* not a mount point */
    MOUNTS_AGNESFS,
    MOUNTS_OTHER,
};

struct mounts_entry {
    char type[64]; /* of the file system, cut to size */
    uid_t user;    /* who mounted it; (uid_t)-1 if that is not said */
};

/* Tells of every agnesfs mount, dead ones too, with who mounted it as above. */
void mounts_each(void (*take)(void *arg, const char *path, uid_t user), void *arg);

/* What lies on top at that path. ret_entry is written unless it is MOUNTS_NOTHING. */
enum mounts_kind mounts_at(const char *path, struct mounts_entry *ret_entry);
