/* SPDX-License-Identifier: MIT */
/* session.h - what every verb that works on a cache needs, found and opened in one step.
 *
 *     session_open -> (session_engine_conf -> engine_new...) -> session_close
 *
 * A writer makes the folders it needs; a reader finds -ENOENT if nothing was ever fetched, which
 * session_open answers with an exit code of 1 and a hint. */
#pragma once

#include "cache/store.h"
#include "fs/cli/discovery.h"
#include "fs/cli/options.h"
#include "sync/engine.h"

#define SESSION_USER_AGENT "agnesfs/" AGNESFS_VERSION " (linux)"

struct session {
    const struct options *options;
    struct discovery discovery;
    struct token *token;
    char *cache_dir;
    char *state_dir;
    struct store *store;
    struct filter *filter; /* NULL: none */
};

/* argument: SOURCE as given on the command line, NULL if it was not. */
int session_open(const struct options *options, const char *argument, enum store_mode mode,
                 struct session *ret_session, struct complaint *ret_complaint);
void session_close(struct session *session);

/* Fills in all but the callbacks, their arg and refresh_s. Valid as long as the session. */
void session_engine_conf(const struct session *session, struct engine_conf *ret_conf);

/* Cache-size or min-free as given, else what suits the disk: the smaller of 20 GiB and a quarter of
 * it for the cache, of 1 GiB and a twentieth for what stays free. */
uint64_t session_bound(const struct options *options, enum option_key key, const char *cache_dir);

/* A generation in tree becomes what the session's filter shows of it, decorated if decorate is not
 * NULL. Without a filter it stays as it is. */
int session_view(const struct session *session,
                 int (*decorate)(void *arg, struct tree_builder *builder), void *arg,
                 struct tree **tree);

/* The source as canonical text. */
const char *session_source(const struct session *session);

/* Does one refresh with these flags (engine.h), showing progress unless --quiet or --json. Ctrl-C
 * ends it with an exit code of 130; partial files are kept. The caller frees the report, which may
 * hold errors of its own: see exit_code_of_report. */
int session_refresh(struct session *session, unsigned flags, struct report **ret_report,
                    struct complaint *ret_complaint);

/* Pins the glob, then refreshes and fetches what is pinned; likewise. */
int session_pin(struct session *session, const char *glob, struct report **ret_report,
                struct complaint *ret_complaint);

/* An engine that is not started: what is in the cache, and what may go. */
int session_engine(struct session *session, struct engine **ret_engine,
                   struct complaint *ret_complaint);

/* The mount whose process has this cache, malloc'd; NULL if none of ours does. */
char *session_cache_mount(const char *cache_dir);

/* The mount whose process holds the cache of this source; NULL if none of ours does. */
int session_find_mount(const struct options *options, const char *argument, char **ret_mountpoint,
                       struct complaint *ret_complaint);

/* A glob that was given could not be pinned or unpinned. */
int complain_pin(struct complaint *ret_complaint, const char *glob, int error);
