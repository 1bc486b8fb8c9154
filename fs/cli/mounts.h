/* SPDX-License-Identifier: MIT */
/* mounts.h - what the kernel says is mounted, without touching it.
 *
 * Reads /proc/self/mountinfo, which answers also when the mount itself would hang. Paths are as
 * paths_absolute makes them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum mounts_kind {
    MOUNTS_NOTHING, /* not a mount point */
    MOUNTS_AGNESFS,
    MOUNTS_OTHER,
};

/* What lies on top at that path. type receives the file system's type, cut to size. */
enum mounts_kind mounts_at(const char *path, char *ret_type, size_t size);
