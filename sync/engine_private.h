/* SPDX-License-Identifier: MIT */
/* engine_private.h - what the files of the engine share.
 *
 *     engine.c         the sync thread and engine_refresh_once, the whole story on one screen
 *     engine_life.c    from engine_new to engine_free
 *     engine_judge.c   its chapters: manifest, doubts, plan
 *     engine_known.c   the manifest that says what the last one said
 *     engine_stage.c   bytes that a refresh waits for
 *     engine_refute.c  when these are of another version than the manifest
 *     engine_publish.c tree, disk, publish
 *     engine_sweep.c   what goes, and when
 *     engine_keep.c    what a full cache may let go, and what is pinned
 *     engine_follow.c  while another process has the cache
 *     engine_demand.c  bytes that it does not wait for: wants of readers, prefetch; what went wrong
 *     engine_signed.c  the addresses that the server has signed
 *     engine_tickets.c who asked for which refresh, and what it came to; status; telling the server
 *
 * The sync thread owns what is marked so; everything else that changes is guarded by the lock,
 * which is held over no I/O and no callback. A want's done comes on a transfer thread: it writes
 * down the result under the lock, and that is all. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "sync/confirm.h"
#include "sync/engine.h"
#include "sync/first_seen.h"
#include "sync/manifest.h"
#include "sync/pins.h"
#include "sync/plan.h"
#include "sync/signed.h"
#include "sync/state.h"
#include "sync/state_image.h"

#define TICKETS_KEPT 16

struct ask {
    uint64_t ticket; /* 0: nobody asked */
    unsigned flags;
};

struct ended {
    uint64_t ticket;
    struct report *report; /* NULL if there was no memory for one */
};

/* A manifest that came to nothing when it was read. */
struct known_words {
    struct blob_key words; /* the digest of its text */
    struct tree *tree;     /* shown then; NULL: none is known */
    struct report *report; /* on it */
};

/* A blob that was listed until a moment ago: somebody who found its name may be about to open it. */
struct leaving {
    struct blob_key key;
    int64_t until_ms;
};

struct engine {
    struct engine_conf conf;     /* const after engine_new; its strings are owned */
    struct transfers *transfers; /* const after engine_start */
    struct confirm *confirm;     /* likewise; NULL: the server is told nothing */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* anything below */
    bool stopping;
    struct tree *tree;               /* the generation */
    struct tree *view;               /* what is shown of it (filter.h); without a filter the same */
    struct signed_urls *signed_urls; /* of the last manifest; NULL: none */
    struct ask asks[2];              /* real, dry: what has not begun */
    uint64_t last_ticket;
    struct ended ended[TICKETS_KEPT];
    struct engine_status status; /* but for transfers and problem_count */
    uint64_t bytes_before;       /* of transfers_stats, when the phase that status tells of began */
    struct engine_problem *problems;
    size_t problem_count;
    unsigned prefetching;
    uint64_t prefetching_bytes; /* of those, when they are whole */
    bool *pinned;               /* one flag a blob of tree; NULL: none is */
    bool pinned_unknown;        /* for want of memory: then any may be */
    bool staging;               /* blobs come that tree does not list yet */
    bool unflushed;             /* a blob came that no refresh waited for */
    bool stray;    /* a want ended of what is no longer listed: some of it may be here */
    bool outdated; /* bytes or an address were not as the manifest says: read a newer */

    pthread_mutex_t pins_lock; /* never with the other one; held over the file's I/O */
    struct pins *pins;

    /* the sync thread's, and before it starts engine_new's */
    int state_dirfd; /* -1: the store's */
    struct first_seen *first_seen;
    uint64_t doubt_since[TREE_SECTIONS];
    atomic_bool blind; /* what was listed before is not known: the store's orphans prove nothing */
    atomic_bool following;
    int followers_fd;    /* -1: we do not follow */
    bool followed;       /* as of the last sweep */
    bool torn;           /* the state file on disk is not the last generation */
    uint64_t state_unix; /* when that says that it was published */
    bool image_due;      /* there is no image of it */
    bool sweep_due;      /* blobs may be there that nobody refers to */
    struct known_words known;
    struct leaving *leaving;
    size_t leaving_count;
    int64_t sweep_at_ms;   /* 0: nothing is leaving */
    int64_t recount_at_ms; /* at the latest: not while a mount begins; 0: has been done */
    struct tree *prefetch_tree;
    uint32_t prefetch_next;
    int64_t refresh_at_ms; /* 0: not by itself */
    int64_t soonest_ms;    /* not before, whatever happens */
    int64_t flush_at_ms;
    bool unsaved;       /* trust has changed */
    int64_t save_at_ms; /* not before */
};

/* Bytes that were not those that the manifest promised. */
struct refutation {
    struct blob_key key;
    bool now; /* in this refresh: there is no need to see it again */
    struct want_result result;
};

struct refutations {
    struct refutation *list; /* sorted by key, but for those of now that came since */
    size_t count;
    size_t sorted;
};

/* One refresh. */
struct refresh {
    struct engine *engine;
    unsigned flags;
    struct report *report;     /* owned until engine_ended */
    struct blob_key words;     /* the digest of the manifest's text */
    struct manifest *manifest; /* NULL, like the plan: it says what is known, so next is last */
    struct plan *plan;
    struct tree *last; /* NULL: none */
    struct tree *next;
    struct tree *view; /* of next; NULL: next is last */
    int64_t now_ns;
    bool published; /* next is shown, and was not before */
    bool holds;     /* some of it rests on the last generation's word */
    bool unswept;   /* all is well, but what is not listed any more is still there */
    uint64_t doubt_since[TREE_SECTIONS]; /* as they will be when this has ended well */
    struct refutations refutations;      /* of this one, and of what is known from before */
    struct tree *before;                 /* what the report compares with; NULL: none */
};

/* --- chapters of a refresh: 0 or a negative errno, with report->message --- */

int refresh_fetch_manifest(struct refresh *refresh);

/* Does this text say what is known, and is there nothing to do about it? Then the report is written
 * and next is last. The text is changed meanwhile, but is in the end what it was. */
bool refresh_recall(struct refresh *refresh, char *text, size_t size);

/* At the end of a refresh that went well: its manifest is known if it came to nothing. */
void refresh_remember(struct refresh *refresh);
void engine_forget_words(struct engine *engine);

int refresh_explain(struct refresh *refresh);
int refresh_plan(struct refresh *refresh);
int refresh_stage(struct refresh *refresh);
int refresh_make_tree(struct refresh *refresh);
int refresh_make_durable(struct refresh *refresh);
int refresh_save_state(struct refresh *refresh);
bool refresh_doubts_changed(const struct refresh *refresh);
void refresh_publish(struct refresh *refresh);
void refresh_sweep(struct refresh *refresh);
int refresh_fill(struct refresh *refresh);

/* --- the manifest and the bytes disagree --- */

/* Begins with what readers and earlier refreshes met. -ENOMEM. */
int refresh_recall_refutations(struct refresh *refresh);

/* What came of a want; remembered if it was other bytes. */
void refresh_note_bytes(struct refresh *refresh, const struct blob_key *key,
                        const struct want_result *result);

/* What is known against that key since the manifest was read; NULL: nothing. */
const struct refutation *refresh_refutation(const struct refresh *refresh,
                                            const struct blob_key *key);

/* Was the source's manifest refuted by its bytes in this refresh? Then it may have a newer one. */
bool refresh_was_refuted(const struct refresh *refresh);

/* Another refresh of the same ask begins where this one ended. */
void refresh_hand_on(struct refresh *refresh, struct refresh *next);
void refutations_release(struct refutations *refutations);

/* --- a document, waited for --- */

struct document {
    struct engine *engine;
    bool arrived; /* engine's lock, like the rest until then */
    struct want_result result;
    char *text;
    size_t size;
};

/* The error of the result. Counted as a request of the refresh. */
int document_get(struct refresh *refresh, const char *url, uint64_t limit,
                 struct document *ret_document);
void document_release(const struct document *document);

#define STACK_MAX ((uint64_t)8 << 20) /* the server's list of my stack */

__attribute__((format(printf, 3, 4))) int refresh_fail(struct refresh *refresh, int error,
                                                       const char *format, ...);

/* --- another process has the cache --- */

/* Shows what it publishes, until we have the cache ourselves; false: stopping. */
bool engine_follow(struct engine *engine);

/* Is there another process that shows what we publish? */
bool engine_has_followers(const struct engine *engine);

/* Writes the image of the state on disk, if it has none. */
void engine_save_image(struct engine *engine);

/* A generation becomes the one that is shown, as its view. */
void engine_show(struct engine *engine, struct tree *tree, struct tree *view);

/* What is shown of a generation: a new reference. */
int engine_view(const struct engine *engine, struct tree *tree, struct tree **ret_view);

/* What generations are decorated with: with a filter only their views are. */
typedef int decorate_fn(void *arg, struct tree_builder *builder);
decorate_fn *engine_decorator(const struct engine *engine);

/* The whole of the current generation; likewise. */
struct tree *engine_generation(struct engine *engine);

/* The sync thread. */
void *engine_main(void *engine);

/* Is there something to do that can not wait? */
bool engine_is_asked(struct engine *engine);

enum duty { DUTY_STOP, DUTY_REFRESH, DUTY_TIMER, DUTY_ROUND };

/* Sleeps until then (0: without end) or until there is something to do. */
enum duty engine_sleep(struct engine *engine, int64_t until_ms, struct ask *ret_ask);

/* --- what goes --- */

/* The blobs that only the last generation refers to. */
void engine_note_leaving(struct engine *engine, const struct tree *last, const struct tree *next);

/* Removes what the current generation does not refer to. */
enum sweep_when {
    SWEEP_AFTER_SWITCH,
    SWEEP_AGAIN,  /* what could not go then */
    SWEEP_AT_END, /* nobody reads any more */
};

void engine_sweep(struct engine *engine, enum sweep_when when);

/* --- what stays --- */

/* For each blob of the tree: is it pinned? malloc'd; NULL: none is. -ENOMEM */
int engine_pinned_in(struct engine *engine, const struct tree *tree, bool **ret_pinned);

/* The engine's tree has these flags now; r: what the above returned. Gives back the old ones. The
 * caller holds the lock. */
bool *engine_set_pinned(struct engine *engine, int r, bool *pinned);

/* From now on the store asks us what it may let go. */
void engine_set_budget(struct engine *engine);

/* --- bytes --- */

/* Where a listed blob can be had, and the row that says so. */
int engine_blob_urls(const struct engine *engine, const struct tree *tree,
                     const struct tree_blob *blob, const struct tree_row **ret_row,
                     char ***ret_urls);

/* transfers_conf's: the address that is signed for these bytes now. */
char *engine_signed_url(void *engine, const struct blob_key *key);

/* Those of the manifest from now on, in the place of all others. */
void engine_renew_signed(struct engine *engine, const struct manifest *manifest, int64_t asked_ms);

/* Remembers why a blob could not be had, or that it could. */
void engine_note_blob(struct engine *engine, const struct blob_key *key,
                      const struct want_result *result);
void engine_forget_problems(struct engine *engine, const struct tree *keep);

/* Looks at all of that tree; NULL stops it. Then, now and again: asks for some more. */
void engine_prefetch_from(struct engine *engine, struct tree *tree);
void engine_prefetch_more(struct engine *engine);

/* --- tickets and status --- */

int64_t engine_now_ms(void);
uint64_t engine_unix_now(void);
void engine_ended(struct engine *engine, const struct ask *ask, struct report *report);
int engine_copy_report(const struct report *report, struct report **ret_copy);

/* From now on the server is told what refreshes change, if it is one and we are to. */
void engine_begin_to_confirm(struct engine *engine);
void engine_progress_begin(struct engine *engine, uint64_t files, uint64_t bytes);
