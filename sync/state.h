/* SPDX-License-Identifier: MIT */
/* state.h - the current generation on disk: <cache>/sync_state.json.
 *
 * Written after every blob that it names is durable, by temp + fsync + rename + fsync(dir); the one
 * before it stays as sync_state.prev.json. So a reader finds the old or the new one, never half.
 *
 * For people: indented JSON with the old engine's keys (direct_tables, data_packages,
 * memory_domains, last_sync_unix), rows by name, paths relative to the mount and the cache. What is
 * empty or unknown is left out:
 *
 *     "version", "generation", "last_sync_unix", "doubt_since": {section: unix time},
 *     "groups": [{"section", "slug", "folder", "name", "description", "requirement"}],
 *     "empty_folders": [path],
 *     "direct_tables": {name: row}, "data_packages": {slug: {name: row}},
 *     "memory_domains": {slug: row},     row with "name" where that is not the slug
 *     "knowledge_artifacts": {kind: {name: row}},    older files have none
 *     "checksum": "xxh3-<32 hex>"        XXH3-128 of the text with zeros in this place
 *
 *     row: {"title", "table_id", "md5", "token", "url", "updated", "query_mode", "rows", "size",
 *           "withheld", "partitioned", "unverified", "kept", "access_policy", "stale", "path",
 *           "files": [{"part", "key", "shared_path", "mtime_ns": "<decimal>"}]}
 *
 * The checksum comes last, so that a torn, truncated or hand-edited file is noticed. What can not
 * be read is -EBADMSG, never "empty": nothing is deleted on its word.
 *
 * It is a cache of derivable facts: reference counts are not in it, they are counted from the rows.
 *
 * Errors: -ENOENT no state, -EBADMSG not believable (message says why), else the system's. */
#pragma once

#include "sync/tree.h"

struct state {
    struct tree *tree; /* owned. Only rows and their files are saved; the rest is decoration */
    uint64_t last_sync_unix; /* when this generation was published, or a refresh confirmed it */
    uint64_t doubt_since[TREE_SECTIONS]; /* unix time of the first sudden [], 0 if none */
};

void state_release(struct state *state);

/* Tries sync_state.json, then sync_state.prev.json. decorate as in plan_tree, may be NULL; what it
 * fails with is returned as it is. ret_previous: whether the older one had to do. ret_message: at
 * least 160 bytes, filled on -EBADMSG. */
int state_load(int dirfd, int (*decorate)(void *arg, struct tree_builder *builder), void *arg,
               struct state *ret_state, bool *ret_previous, char *ret_message);

/* Which file it is that stands there: unequal after each state_save that wrote. */
struct state_stamp {
    uint64_t ino;
    int64_t mtime_ns;
};

int state_look(int dirfd, struct state_stamp *ret_stamp);

static inline bool state_same(const struct state_stamp *a, const struct state_stamp *b)
{
    return a->ino == b->ino && a->mtime_ns == b->mtime_ns;
}

/* Writes nothing if the file says this already. -ERANGE: a number of 2^53 and more. */
int state_save(int dirfd, const struct state *state);
