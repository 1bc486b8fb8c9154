/* SPDX-License-Identifier: MIT */
/* archive.h - a .tar.gz of a few texts (ustar, POSIX.1-1988; RFC 1952).
 *
 *     archive_create -> archive_add ... -> archive_finish
 *
 * The file is new and ours alone (0600). Without archive_finish nothing of it stays.
 * Errors: -EEXIST there is one already, -ENAMETOOLONG (99 bytes), else the system's. */
#pragma once

#include <stddef.h>

struct archive;

int archive_create(const char *path, struct archive **ret_archive);
int archive_add(struct archive *archive, const char *name, const char *text, size_t size);
int archive_finish(struct archive *archive);

void archive_free(struct archive *archive); /* NULL is allowed */
void archive_freep(struct archive *const *archive);
