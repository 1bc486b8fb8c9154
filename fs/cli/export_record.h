/* SPDX-License-Identifier: MIT */
/* export_record.h - what an export wrote into its TARGET: the only proof that a file there is ours.
 *
 *     load or new -> find, add, add_folder, drop... -> save... -> release
 *
 * TARGET/.agnes/export.json:
 *
 *     {"version": 1, "source",
 *      "files": [{"path", "key", "strategy", "size", "mtime_ns": "<decimal>", "ino": "<decimal>"}],
 *      "folders": [path]}
 *
 * A file is ours if a line of its path has its identity (size, time, inode); not because something
 * is written about its path. A path may have two lines: while a file is being replaced, the old one
 * and the new one are both known, so that whenever we die the next run knows what it finds. For the
 * same reason a folder is written down before it is made.
 *
 * Order: after load, files are sorted by path, folders too; what is added comes after them, out of
 * order, until export_record_sort. find sees only the sorted part.
 * Threads: belongs to one.
 * Errors: -ENOENT no record, -EBADMSG it is none of ours, -ENOMEM, else the system's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "cache/key.h"

#define EXPORT_RECORD_NAME "export.json"

enum export_strategy {
    EXPORT_AUTO, /* the first of the others that works; never in a record */
    EXPORT_REFLINK,
    EXPORT_HARDLINK,
    EXPORT_COPY,
};

/* "auto", "reflink", "hardlink", "copy". */
const char *export_strategy_name(enum export_strategy strategy);
int export_strategy_parse(const char *name, enum export_strategy *ret_strategy);

struct export_identity {
    uint64_t size;
    int64_t mtime_ns;
    uint64_t ino;
};

struct export_identity export_identity_of(const struct stat *st);
bool export_identity_equal(const struct export_identity *a, const struct export_identity *b);

struct export_file {
    char *path;
    struct blob_key key; /* of what was written */
    enum export_strategy strategy;
    struct export_identity identity;
    bool gone; /* not to be saved any more */
};

struct export_record {
    char *source; /* canonical text */
    struct export_file *files;
    size_t file_count;
    size_t file_room;
    size_t file_sorted; /* so many of them are what find sees */
    char **folders;     /* that we made */
    size_t folder_count;
    size_t folder_room;
    bool changed; /* since it was loaded or saved */
};

/* An empty one. */
int export_record_new(const char *source, struct export_record *ret_record);

/* dir: TARGET/.agnes, locked. */
int export_record_load(int dir, struct export_record *ret_record);
void export_record_release(struct export_record *record);

/* Atomic and durable; writes nothing when nothing changed. */
int export_record_save(int dir, struct export_record *record);

/* The lines of that path: [return value, return value + *ret_count) in files. */
size_t export_record_find(const struct export_record *record, const char *path, size_t *ret_count);

/* Copies the path. */
int export_record_add(struct export_record *record, const char *path, const struct blob_key *key,
                      enum export_strategy strategy, const struct export_identity *identity);
void export_record_drop(struct export_record *record, size_t index);

/* Copies the path; twice does no harm. */
int export_record_add_folder(struct export_record *record, const char *path);
void export_record_drop_folder(struct export_record *record,
                               size_t index); /* its path is NULL then */

/* Throws away what is gone, and folders named twice; everything is sorted then, indices are others. */
void export_record_sort(struct export_record *record);
