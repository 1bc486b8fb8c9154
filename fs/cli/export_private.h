/* SPDX-License-Identifier: MIT */
/* export_private.h - one export_run. For export*.c only. */
#pragma once

#include "fs/cli/export.h"

#define NO_INDEX SIZE_MAX

enum export_deed {
    DEED_NONE, /* it is there, or it can not be done */
    DEED_ADD,
    DEED_REPLACE,
};

/* A file of the tree. */
struct export_wanted {
    char *path;
    const struct tree_node *node;
    enum export_deed deed;
    struct export_identity old; /* of DEED_REPLACE: what goes, and its line in the record */
    size_t old_line;
    size_t line; /* in the record, of a donor */
};

/* Where a blob's bytes are in TARGET already. */
struct export_donor {
    size_t wanted;      /* index; NO_INDEX: nowhere */
    unsigned staged_as; /* 0: in place, else its name in export.tmp */
};

struct exporting {
    const struct export_conf *conf;
    struct export_result *result;
    struct export_wanted *files; /* by path */
    size_t file_count;
    char **folders; /* by path, so parents come first */
    size_t folder_count;
    struct export_donor *donors; /* by blob */
    struct export_progress progress;
    bool no_reflink; /* tried, and not possible here */
};

/* Adds a problem. */
int export_complain(struct exporting *exporting, const char *path, bool skipped,
                    const char *reason);

/* The word for an error with which the next file can go on; NULL if there is no going on. */
const char *export_reason(int error);

/* Is the error not the end? Then it has become a problem of that path. 0, or the error. */
int export_excuse(struct exporting *exporting, const char *path, int error);

const struct export_wanted *export_find_wanted(const struct exporting *exporting, const char *path);
bool export_wants_folder(const struct exporting *exporting, const char *path);

/* Writes all files whose deed says so, in batches (export_write.c). */
int export_write(struct exporting *exporting);
