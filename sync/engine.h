/* SPDX-License-Identifier: MIT */
/* engine.h - keeps one stack in step with its source.
 *
 *     server -> manifest -> plan -> staged bytes -> tree -> state on disk -> publish -> sweep
 *
 * That line is engine_refresh_once() in engine.c, read top to bottom. Any failure returns before
 * publish, so whoever reads keeps the last generation. Whoever waits for a refresh waits for the
 * publish; what it has withdrawn is removed after that, unless the refresh is to fetch bytes as
 * well: then room is made for them first.
 *
 *     engine_new      reads the last generation from the cache; no network, no threads
 *     engine_tree     what the filter takes of that generation, or NULL
 *     engine_start    the sync thread; it refreshes when told, and every refresh_s by itself
 *     engine_refresh  asks for a refresh
 *     engine_wait     waits until the one asked for has ended
 *     engine_free     ends transfers and threads
 *
 * Requests to a server are expensive there (contract 1.8): a refresh without news is one request,
 * and the text of the manifest is not even read again if it is that of the last refresh.
 *
 * A blob that is no longer listed is removed at once, unless somebody is about to open it (then after
 * two seconds at most) or has it open without having its bytes (then after that).
 *
 * Several engines may share a cache: one has it, the others follow, in as many processes. A follower
 * shows what the other one publishes, reads what it fetched, asks it for what is missing, and takes
 * over when it is gone. A refresh of a follower only looks at what has been published.
 *
 * The cache is bounded (cache/budget.h): what is not listed goes first, then what was opened longest
 * ago; what is pinned or open stays. Prefetch only fills free room, it never makes any.
 *
 * Threads: every function from any thread, but not from inside publish or a want's done.
 * The engine's lock guards the wake-up and what status shows; it is held over no I/O.
 * Errors: transfer.h's, -EPROTO for a manifest that is none. */
#pragma once

#include "cache/budget.h"
#include "cache/store.h"
#include "sync/filter.h"
#include "sync/report.h"
#include "sync/source.h"
#include "sync/transfer.h"
#include "sync/tree.h"

struct engine;

enum engine_prefetch {
    PREFETCH_ALL,    /* after publishing, fetch what is cold in the background */
    PREFETCH_PINNED, /* the same of what is pinned */
    PREFETCH_NONE,   /* only what is asked for */
};

enum blob_use {
    BLOB_IDLE,
    BLOB_FOUND,   /* its name was looked up: it may be opened any moment */
    BLOB_OPEN,    /* it is open, with its bytes */
    BLOB_WAITING, /* it was opened before it was here: it will be read from the store */
};

enum engine_verify {
    VERIFY_AUTO,   /* big blobs can be read by block as they come, verified when they are whole */
    VERIFY_STRICT, /* never a byte before the whole is verified */
};

/* Bytes that another process is asked for. */
struct borrow {
    struct blob_key key;
    uint64_t offset;
    uint64_t size; /* 0: the blob, verified */
    bool ahead;    /* nobody waits yet */
    bool rest;
};

struct engine_conf {
    struct store *store;         /* outlives the engine. A writer; or a reader, which follows */
    const struct source *source; /* outlives the engine */
    const char *state_dir;       /* for what must outlive the cache; NULL: kept in the cache */
    unsigned jobs;
    unsigned timeout_s;
    unsigned refresh_s; /* 0: only when asked */
    enum engine_prefetch prefetch;
    enum engine_verify verify;
    uint64_t cache_size; /* bytes, 0: no bound */
    uint64_t min_free;   /* bytes of the disk, 0: none */
    const char *user_agent;
    const char *ca_file;
    const char *proxy;
    char *(*token)(void *arg); /* from any of the engine's threads, several at once */
    void *token_arg;
    bool confirm;                /* tell a server what a refresh changed (confirm.h) */
    const struct filter *filter; /* what is shown and fetched; NULL: all. Outlives the engine */

    /* Adds what is generated (README.md, .agnes/...) to each tree. May be NULL. */
    int (*decorate)(void *arg, struct tree_builder *builder);
    /* What that depends on besides the rows: where this is the same, a start need not do it again
     * (state_image.h). NULL: it is done at each start. */
    const char *decoration;
    /* A new generation is durable: serve it. Called on the sync thread; when it returns, blobs that
     * only older generations used may be removed. tree_ref what is kept. May be NULL. */
    void (*publish)(void *arg, struct tree *tree);
    /* Is somebody reading that blob, or about to? Asked of blobs that are to be removed, from any
     * thread, without locks. NULL: nobody ever is. */
    enum blob_use (*use)(void *arg, const struct blob_key *key);
    /* A listed blob is resident that was not. Called on a transfer thread. May be NULL. */
    void (*arrived)(void *arg, const struct blob_key *key);
    /* Bytes of it that readers may have seen were wrong. Called on a transfer thread. May be NULL. */
    void (*spoiled)(void *arg, const struct blob_key *key);
    /* While following: asks the process that has the cache for bytes, as transfers_want asks the
     * source; result->resident says that the blob is in the store. -ECANCELED: ending. */
    int (*borrow)(void *arg, const struct borrow *borrow, want_done done, void *done_arg);
    /* We have the cache now. Called on the sync thread. May be NULL. */
    void (*took_over)(void *arg);
    /* A refresh ended. May be NULL. */
    void (*refreshed)(void *arg, const struct report *report);
    void *arg;
};

int engine_new(const struct engine_conf *conf, struct engine **ret_engine);
int engine_start(struct engine *engine);
void engine_free(struct engine *engine); /* NULL is allowed */

/* Has another process the cache? */
bool engine_follows(const struct engine *engine);

/* The current generation as the filter shows it, a new reference; NULL if there is none yet. */
struct tree *engine_tree(struct engine *engine);

enum refresh_flags {
    REFRESH_FILL = 1,    /* ends only when everything listed is resident or has failed */
    REFRESH_DRY_RUN = 2, /* fetches the manifest only, changes nothing */
    REFRESH_PINNED = 4,  /* as REFRESH_FILL, for what is pinned */
};

/* Asks for a refresh; several askers share one that has not begun. ret_ticket, which may be NULL,
 * is for engine_wait. */
int engine_refresh(struct engine *engine, unsigned flags, uint64_t *ret_ticket);

/* Waits at most timeout_ms (-1: no limit) for that refresh. -ETIMEDOUT: not yet. On 0 ret_report is
 * a report of the caller's own; report->error says how it went. */
int engine_wait(struct engine *engine, uint64_t ticket, int timeout_ms, struct report **ret_report);

/* Bytes on demand: done is called when they can be read, from the blob or, where engine_may_read
 * says so, from the partial; or when they can not be had. -ENOENT: the current generation does not
 * list that key; -ECANCELED: not started, or ending. See transfer.h for the rest.
 * The first read at the end of a file, where parquet readers begin, brings its beginning too. */
int engine_want(struct engine *engine, const struct blob_key *key, uint64_t offset, uint64_t size,
                want_done done, void *arg);

/* The same before anybody waits for them; rest: all of the blob, at leisure. Nobody is told. */
void engine_want_ahead(struct engine *engine, const struct blob_key *key, uint64_t offset,
                       uint64_t size, bool rest);

/* May bytes of this blob be read before the whole of it is verified? Constant. */
bool engine_may_read(const struct engine *engine, const struct blob_key *key);

/* Why a blob could not be had when it was last tried: one phrase, "" if that went well. */
void engine_blob_error(struct engine *engine, const struct blob_key *key,
                       char ret_text[static 160]);

/* From now on, and over restarts (pins.h), what the glob matches stays in the cache. Fetching it is
 * another matter: REFRESH_PINNED. -ENXIO: nothing listed matches; -EEXIST: pinned already. */
int engine_pin(struct engine *engine, const char *glob);
int engine_unpin(struct engine *engine, const char *glob);
bool engine_is_pinned(struct engine *engine, const struct blob_key *key);

struct prune_result {
    uint64_t blobs; /* that went */
    uint64_t bytes;
    uint64_t used; /* that are left */
};

/* Brings the cache down to what it may hold, for this once to cache_size bytes (0: its own bound).
 * 0 also when what is pinned and open is more than that. */
int engine_prune(struct engine *engine, uint64_t cache_size, struct prune_result *ret_result);

struct engine_problem {
    struct blob_key key;
    char message[160];
    uint64_t since_unix;
    struct blob_key other; /* what the source says it has instead (transfer.h); or BLOB_NONE */
};

struct engine_status {
    uint64_t generation;        /* 0: none */
    uint64_t last_attempt_unix; /* 0: none since start */
    uint64_t last_success_unix; /* of any run: when the source last confirmed the generation */
    uint64_t next_refresh_unix; /* 0: not planned */
    bool refreshing;            /* also while what is gone is cleared up, which nobody waits for */
    int error;                  /* of the last refresh, 0 if it went well */
    char message[200];
    /* The refresh or fill that runs, for progress. */
    uint64_t files_total;
    uint64_t files_done;
    uint64_t bytes_total;
    uint64_t bytes_done;
    struct transfers_stats transfers;
    size_t problem_count; /* blobs that can not be had at the moment */
};

void engine_status(struct engine *engine, struct engine_status *ret_status);

/* Copies at most max problems; returns how many. */
size_t engine_problems(struct engine *engine, struct engine_problem *ret_problems, size_t max);
