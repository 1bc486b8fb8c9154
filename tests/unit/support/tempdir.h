/* SPDX-License-Identifier: MIT */
/* tempdir.h - a folder of the test's own, and plain files in it.
 *
 *     tempdir_new -> file_write, file_read, path_join... -> tempdir_free
 *
 * The folder is 0700, below $TMPDIR or /tmp. A test has no use for an error code from its own
 * scaffolding, so whatever goes wrong here says so on stderr and aborts. */
#pragma once

#include <stddef.h>

char *tempdir_new(void);

/* Removes the tree, whatever its modes, and frees the path. NULL is allowed. */
void tempdir_free(char *path);

/* Writes the whole file, making its parents. data may be NULL when len is 0. */
void file_write(const char *dir, const char *rel, const void *data, size_t len);

/* The whole file, one NUL added; NULL when there is none. The caller frees it. ret_len may be
 * NULL. */
char *file_read(const char *dir, const char *rel, size_t *ret_len);

/* "dir/rel"; the caller frees it. */
char *path_join(const char *dir, const char *rel);

/* The folder, open, as a cmocka test's state. */
struct place {
    char *dir;
    int fd;
};

int place_enter(void **state);
int place_leave(void **state);
