/* SPDX-License-Identifier: MIT */
/* guide_private.h - for sync/guide*.c only.
 *
 *     guide.c          which texts there are; rows by group
 *     guide_readme.c   README.md, of the folder and of a package
 *     guide_sql.c      duckdb.sql */
#pragma once

#include <stdio.h>

#include "sync/guide.h"

enum { GUIDE_LIST_MAX = 1000, GUIDE_VIEWS_MAX = 10000, GUIDE_CELL_MAX = 200 };

struct guide {
    const struct tree_group *groups; /* as they were added */
    const struct tree_row **rows;    /* group by group, in each as they were added */
    size_t *first;                   /* rows of group i: from first[i] up to first[i + 1] */
    size_t group_count;
    const char *root; /* may be NULL */
};

void guide_write_root(FILE *out, const struct guide *guide);
void guide_write_group(FILE *out, const struct guide *guide, size_t group);

/* -ENOMEM. */
int guide_write_sql(FILE *out, const struct guide *guide);

/* How many rows of the group are listed. */
size_t guide_listed(const struct guide *guide, size_t group);

/* Does DuckDB itself have a schema or a database of that name? */
bool guide_is_taken(const char *name);

/* What a database is called when it is attached: the name of its file, without the end. Quoted. */
void guide_put_alias(FILE *out, const char *path);

/* The last segment of a path. */
const char *guide_basename(const char *path);
