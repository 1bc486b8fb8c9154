/* SPDX-License-Identifier: MIT */
/* export_target.h - the folder that an export fills, and how files get into it.
 *
 *     TARGET/.agnes/export.lock     flock(2): one export at a time; the file stays
 *     TARGET/.agnes/export.json     what is ours (export_record.h)
 *     TARGET/.agnes/export.tmp/     files on their way; whatever is in it is ours
 *
 *     open -> begin -> (stage_... -> put)... -> end -> close
 *
 * A file is made whole in export.tmp and renamed to its place, so that no name ever shows half of
 * one, and whoever has the old one open keeps it. Everything is reached from one descriptor, one
 * component at a time, and no symbolic link below TARGET is ever followed.
 *
 * Strategies, and whose bytes a file then has:
 *     reflink    its own, though the disk shares them until somebody writes: safe, no room
 *     hardlink   those of another name of the same content in TARGET, as in a mount: no room, but
 *                who writes into one writes into all. Never those of the cache: a blob that could be
 *                changed through another name is not believed any more (cache/store.h)
 *     copy       its own: safe, takes room
 *
 * Threads: belongs to one. Errors: what the system says, and those of each function. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/cli/export_record.h"

struct export_target {
    int dir;
    int own; /* TARGET/.agnes */
    int stage;
    int lock;
};

#define EXPORT_TARGET_NONE ((struct export_target){-1, -1, -1, -1})

/* path: made if only its last component is missing. -EBUSY another export is at work there. */
int export_target_open(const char *path, struct export_target *ret_target);
void export_target_close(const struct export_target *target);

/* Makes export.tmp, or empties the one that is there. -EEXIST if something else has its name. */
int export_target_begin(struct export_target *target);

/* Takes export.tmp away, be it of an export that died. */
void export_target_end(struct export_target *target);

/* What stands at a path. -ENOENT nothing, -EEXIST something that is no plain file, be it in place
 * of a folder above it. */
int export_target_look(const struct export_target *target, const char *path,
                       struct export_identity *ret_identity);

/* The folder of a path, and the last component. -ENOENT, -ENOTDIR. */
int export_target_parent(const struct export_target *target, const char *path, int *ret_fd,
                         const char **ret_name);

/* 1 made, 0 was there; -ENOTDIR something else has the name. */
int export_target_make_folder(const struct export_target *target, const char *path);

/* The same question without the deed: 1 there is something at that path, 0 nothing. */
int export_target_has(const struct export_target *target, const char *path);

/* Both leave alone what is not as it should be: a file without that identity (-ESTALE), a folder
 * that is not empty (-ENOTEMPTY). 0 also when there is nothing. */
int export_target_remove(const struct export_target *target, const char *path,
                         const struct export_identity *identity);
int export_target_remove_folder(const struct export_target *target, const char *path);

/* --- staging: name is one in export.tmp; on failure there is none --- */

struct export_bytes {
    int fd;           /* a blob of the cache, or -1 */
    const char *text; /* then these */
    uint64_t size;
    int64_t mtime_ns; /* INT64_MIN: now */
};

/* tick is called every now and then with the bytes done since the last time; what it returns, if
 * not 0, ends the copy. -ENODATA: the blob could not be read. */
int export_target_copy(const struct export_target *target, const char *name,
                       const struct export_bytes *bytes, int (*tick)(void *arg, uint64_t bytes),
                       void *arg, struct export_identity *ret_identity);

/* -EOPNOTSUPP: not between these two. */
int export_target_reflink(const struct export_target *target, const char *name,
                          const struct export_bytes *bytes, struct export_identity *ret_identity);

/* donor: a path of ours with this identity; or, with staged, another name in export.tmp.
 * -EOPNOTSUPP: not there, not possible. */
int export_target_link(const struct export_target *target, const char *name, const char *donor,
                       bool staged, const struct export_identity *identity);

/* Moves it to its path: in place of the file with the old identity, or, where that is NULL, where
 * nothing is. -EEXIST, -ESTALE: something else is there now. Not durable before fsync of the
 * folder, ret_dir, which the caller closes. */
int export_target_put(const struct export_target *target, const char *name, const char *path,
                      const struct export_identity *old, int *ret_dir);
