/* SPDX-License-Identifier: MIT */
/* mounts.h - what the kernel says is mounted, without touching it.
 *
 * Reads mountinfo (proc_pid_mountinfo(5)), which answers also when a mount itself would hang. Paths
 * are as paths_absolute makes them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
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

/* What lies on top at that path. ret_entry is written unless it is MOUNTS_NOTHING. */
enum mounts_kind mounts_at(const char *path, struct mounts_entry *ret_entry);

/* --- all of them --- */

struct mounts_line {
    int id;
    int parent;
    dev_t device;
    char *point;
    char *type;
    uid_t user;
};

struct mounts {
    struct mounts_line *lines; /* in the order of mounting, about: of two at one point, the later */
    size_t count;
};

/* path: "/proc/self/mountinfo", or that of another process. -ENOMEM, else the system's. */
int mounts_read(const char *path, struct mounts *ret_mounts);
void mounts_release(struct mounts *mounts);

bool mounts_is_agnesfs(const struct mounts_line *line);

/* The one on top at that point; NULL if there is none. */
const struct mounts_line *mounts_find(const struct mounts *mounts, const char *point);
