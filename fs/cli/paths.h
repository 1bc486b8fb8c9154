/* SPDX-License-Identifier: MIT */
/* paths.h - where things lie, decided once for all verbs.
 *
 *     cache     --cache-dir, else $XDG_CACHE_HOME/agnesfs        + /<id>/
 *     state     $XDG_STATE_HOME/agnesfs                          + /<id>/   log, first-seen times
 *     runtime   $XDG_RUNTIME_DIR/agnesfs, else /run/agnesfs for root, else <state>/run
 *
 * <id> is <host>-<8 hex of XXH3(source, account)>: two stacks on one host never share a cache.
 * Strings are malloc'd. Errors: -ENOMEM, -EPERM a folder that must be ours alone is not, -ENOENT no
 * home folder, else the system's. */
#pragma once

#include <stddef.h>

#include "sync/source.h"

/* dir as an absolute path, without asking the folder itself anything: it may be a mount whose
 * process hangs or is dead. Its parents are resolved, and so is dir if it is a symbolic link. */
int paths_absolute(const char *dir, char **ret_path);

/* Makes the folder and its parents (0700). -EPERM if it is somebody else's or open to others. */
int paths_make_private(const char *path);

/* cache_dir: the value of --cache-dir, NULL if there is none. Nothing is created. */
int paths_cache(const char *cache_dir, const struct source *source, char **ret_path);
int paths_state(const struct source *source, char **ret_path);

/* The runtime folder; made if need be. */
int paths_runtime(char **ret_path);

/* digits (at most 32) hex digits of the text's XXH3, NUL-terminated. */
void paths_hash(const char *text, size_t digits, char *ret_hex);
