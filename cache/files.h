/* SPDX-License-Identifier: MIT */
/* files.h - small whole files, and names that must go.
 *
 * Everything is relative to a directory descriptor and follows no symbolic link in the last
 * component. Errors are what the system calls say. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Retries until all is written or an error says why not. */
int write_fully(int fd, const void *data, size_t size, uint64_t offset);

/* All of it, or -ENODATA where the file ends before; what there was is in data then. */
int read_fully(int fd, void *data, size_t size, uint64_t offset);

/* A directory in dir; with make, made (0700) where absent. -ENOTDIR for anything else there. */
int dir_open(int dir, const char *name, bool make, int *ret_fd);

/* Opens a file that must be plain (stat_is_plain). To write, it is made 0600 first: it may be a blob
 * that was sealed and never published. -ENOENT, -EBADMSG when anything else has the name. */
int file_open_plain(int dir, const char *name, uid_t owner, bool writable, int *ret_fd,
                    struct stat *ret_st);

/* The whole file, one NUL added. -EFBIG when larger than the limit, -EBADMSG when it is not a
 * regular file. The caller frees the text. */
int file_load(int dir, const char *name, size_t limit, char **ret_text, size_t *ret_size);

/* Replaces the file durably: writes to temporary, fsync, rename, fsync of dir. */
int file_save(int dir, const char *name, const char *temporary, const void *data, size_t size);

/* Makes the name free, whatever has it: unlinks, or removes an empty directory. -ENOTEMPTY for one
 * that is not empty. 0 when there was nothing. */
int name_clear(int dir, const char *name);

/* What we may take for bytes of ours: a regular file, our own, with this one name. */
bool stat_is_plain(const struct stat *st, uid_t owner);
