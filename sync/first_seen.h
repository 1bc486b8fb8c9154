/* SPDX-License-Identifier: MIT */
/* first_seen.h - when we first saw bytes of which the manifest does not say when they were made.
 *
 * The mtime of a file may not be "now": it must be the same after a restart, and after the cache
 * was deleted. So these times are state, not cache: <state dir>/first_seen, one line per key,
 *
 *     md5-9e107d9d372bb6826bd81d3542a419d6-43 1785760000000000000
 *
 *     first_seen_open -> first_seen_ask, any number of times -> first_seen_save -> first_seen_close
 *
 * The file is replaced as a whole, and only when something changed. It is no treasure: what can not
 * be read is forgotten, and the time is then that of the next first sight.
 * One thread. Errors: -ENOMEM, and from saving the system's. */
#pragma once

#include <stdint.h>

#include "sync/tree.h"

struct first_seen;

/* dirfd is the state directory; it must stay open as long as the result, and is not owned. */
int first_seen_open(int dirfd, struct first_seen **ret_seen);
void first_seen_close(struct first_seen *seen); /* saves nothing; NULL is allowed */
void first_seen_closep(struct first_seen *const *seen);

/* When key was first seen, in ns since 1970: now_ns if that is now. Never fails; without memory
 * the answer is not remembered. */
int64_t first_seen_ask(struct first_seen *seen, const struct blob_key *key, int64_t now_ns);

/* Forgets keys that keep does not list, and writes what is left. */
int first_seen_save(struct first_seen *seen, const struct tree *keep);
