/* SPDX-License-Identifier: MIT */
/* export.h - makes a folder show what a tree shows, as ordinary files.
 *
 *     export_run(&conf, &result) -> export_result_release
 *
 * What is there as it was written is left alone, what changed is replaced, what is new is added,
 * and last what is no longer listed goes, with folders of ours that are empty then. A file that is
 * not ours (export_record.h) is never touched: it is a problem of the result, and so is a file of
 * ours that somebody changed; the rest goes on. Live documents are no files and are left out.
 *
 * Whenever this dies, what it had put in place is in the record: files go to their places in
 * batches, each written down before, so at most one batch is made again. A folder or file that is
 * in the way of its successor (a table that became a folder) goes before; nothing else does.
 *
 * Limits: identity needs inode numbers that last, which FAT has not: there, an export knows its
 * files again only until it is unmounted.
 * Threads: runs on the caller's; stop may be set from any. */
#pragma once

#include <stdatomic.h>

#include "cache/store.h"
#include "fs/cli/export_record.h"
#include "fs/cli/export_target.h"
#include "sync/tree.h"

struct export_progress {
    uint64_t files_total; /* to be written */
    uint64_t files_done;
    uint64_t bytes_total;
    uint64_t bytes_done;
};

struct export_conf {
    struct export_target *target;
    struct export_record *record; /* of that target; saved when this returns */
    const struct tree *tree;
    struct store *store;
    enum export_strategy strategy;
    const atomic_bool *stop;
    void (*progress)(void *arg, const struct export_progress *progress);
    void *arg;
};

struct export_problem {
    char *path;
    const char *reason; /* one phrase, static */
    bool skipped;       /* not ours; else it could not be written or removed */
};

struct export_result {
    uint64_t written;
    uint64_t unchanged;
    uint64_t removed;
    uint64_t bytes;                       /* of what was written */
    uint64_t strategies[EXPORT_COPY + 1]; /* of what was written */
    struct export_problem *problems;
    size_t problem_count;
};

/* 0 also with problems. -ECANCELED: stopped; what the system says when going on is pointless
 * (-ENOSPC, -EROFS, -EIO, -ENOMEM...). The result is filled whatever this returns. */
int export_run(const struct export_conf *conf, struct export_result *ret_result);
void export_result_release(struct export_result *result);
