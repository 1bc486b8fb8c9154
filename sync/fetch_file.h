/* SPDX-License-Identifier: MIT */
/* fetch_file.h - a local file that answers like a server with ranges. Private to fetch.c.
 *
 * libcurl reads a whole file:// body inside one call and can not pause it, so the bytes of a static
 * stack on disk come from here: one block a step, and only while the exchange is not paused. Its
 * ETag is made of inode, size and time, so a file that was replaced in between is noticed. */
#pragma once

#include <sys/types.h>

#include "sync/fetch.h"

struct fetch_file;

/* offset, length and if_range as in struct fetch_request. -ENOENT if there is no such regular file,
 * else what the system says. */
int fetch_file_open(const char *path, uint64_t offset, uint64_t length, const char *if_range,
                    struct fetch_file **ret_file);
void fetch_file_close(struct fetch_file *file); /* NULL is allowed */

/* Strings point into the file. */
void fetch_file_head(const struct fetch_file *file, struct fetch_head *ret_head);

/* The next block: its size, 0 at the end; -ENODATA when the file became shorter, else
 * what the system says. */
ssize_t fetch_file_read(struct fetch_file *file, const void **ret_data);
