/* SPDX-License-Identifier: MIT */
/* transfer_private.h - what the files of the transfer engine share.
 *
 *     transfer_want.c    wants in
 *     transfer.c         the network thread's round: who comes next, places, deadlines
 *     transfer_waiter.c  those who wait, and how they are told
 *     transfer_job.c     one blob from want to result: opening, what next, committing
 *     transfer_plan.c    which bytes of a job to ask for, and how urgently
 *     transfer_span.c    the same as arithmetic (pure)
 *     transfer_strand.c  one request: its beginning and its end
 *     transfer_body.c    what its answer brings
 *     transfer_answer.c  what an answer's head must look like (pure)
 *     transfer_signed.c  the address that is tried before the server's own
 *     transfer_memory.c  the token, and what failed lately
 *     transfer_disk.c    what the disk threads do: writing, hashing, committing
 *     transfer_lane.c    in which order they do it
 *     transfer_piece.c   the memory that bytes are in on their way
 *     transfer_sink.c    what the bytes have to look like, and what is made of them
 *     transfer_text.c    is a bundle text?
 *
 * Who owns what. Jobs and strands belong to the network thread, a sink to the disk threads. They meet
 * in disk_op: the network thread posts one, a disk thread performs those of a sink in order and hands
 * those that want an answer back. A job, and each strand, waits for at most one answer at a time, which
 * is why its op can live inside it, and why asking never fails for want of memory. While the op that
 * ends a sink, or its partial, is with the disk threads, the network thread does not look at that.
 * Otherwise the partial is asked from all threads: its questions are for any (partial.h).
 *
 *     QUEUED -> OPENING -> OPEN <-> COMMITTING
 *                           | ^         |
 *                           v |         |
 *                       RESTARTING <----+        other bytes than promised
 *
 * and from each of them to CLOSING, in which a job only waits to be let go. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "sync/fetch.h"
#include "sync/retry.h"
#include "sync/transfer.h"
#include "sync/transfer_answer.h"
#include "sync/transfer_disk.h"
#include "sync/transfer_span.h"

#define STRANDS_MAX 6U
#define SPAN_MAX ((uint64_t)8 << 20) /* of one request, but where somebody wants the whole */

/* So near before what is demanded, a running strand is as quick as a new request. */
#define NEAR_BYTES ((uint64_t)2 << 20)

/* So many that come are progress, and not a trickle. */
#define PROGRESS_BYTES ((uint64_t)64 << 10)

/* --- jobs: the network thread's alone --- */

struct waiter {
    struct waiter *next;
    want_done done;
    get_done got; /* one of the two */
    void *arg;
    int64_t submitted_ms;
    enum want_priority priority;
    uint64_t offset;
    uint64_t size; /* 0: the whole blob */
};

/* One request. Its blocks are coming while it is in the job's list. */
#define EXCUSE_SIZE 1024

struct strand {
    struct strand *next;
    struct job *job;
    struct fetch_exchange *exchange; /* NULL: ended, and settling */
    enum want_priority priority;
    size_t url; /* which of the job's it was sent to */
    bool ranged;
    uint64_t from;
    uint64_t at;    /* the next byte that is to come; behind it, not all need be written yet */
    uint64_t to;    /* where it may stop; of bytes without a size UINT64_MAX */
    bool full;      /* paused since the disk is behind */
    bool held;      /* paused since demand is waiting */
    bool counts;    /* the body is one we want */
    bool by_signed; /* sent to the signed address */
    bool ours;      /* sent to the origin of an Agnes server, with the token */
    bool drop;      /* to be cancelled: not from inside a callback */
    bool done;      /* it has brought what it was for */
    uint64_t brought;
    uint64_t counted;         /* of it, as progress */
    uint64_t skipped;         /* bytes of a body that we do not want */
    char excuse[EXCUSE_SIZE]; /* their beginning */
    size_t excuse_size;
    char *piece;
    size_t piece_size;
    unsigned token_version;
    struct attempt attempt; /* what came of it */
    int error;
    int status;
    char message[160];
    struct disk_op op;
};

enum job_phase {
    JOB_QUEUED,
    JOB_OPENING,
    JOB_OPEN,
    JOB_RESTARTING, /* when its strands are gone: the sink begins anew */
    JOB_COMMITTING,
    JOB_CLOSING, /* when its strands and its sink are gone: the end. Nobody waits any more, but for it */
};

struct job {
    struct job *next;
    struct transfers *transfers;
    char name[JOB_NAME_SIZE]; /* of the flight; "" for a document */
    struct blob_key key;      /* of the bytes that come */
    struct blob_key promised; /* of what is made of them, where that is something else */
    char md5[33];
    uint64_t limit;
    bool exact;
    enum tree_form form;
    bool document; /* into memory */
    bool json;
    char **urls; /* one allocation */
    struct waiter *waiters;

    enum job_phase phase;
    int end_error;  /* once it is JOB_CLOSING */
    bool rest;      /* the whole of it shall come, whoever waits */
    bool no_ranges; /* the source sends it whole or not at all */
    int64_t not_before_ms;
    int64_t progress_ms;
    struct disk_op op;
    bool asked;        /* op is with the disk thread */
    bool planned;      /* nothing to ask for, until something changes */
    unsigned served;   /* sink->written when waiters were last looked at */
    bool looked;       /* at those that are there now */
    struct sink *sink; /* NULL: not open, and of documents */
    char tag[PARTIAL_TAG_SIZE];
    struct strand *strands;
    unsigned strand_count;

    /* all attempts */
    struct attempt attempt; /* the last one that failed */
    int error;              /* negative errno, if we give up now */
    size_t url;
    bool url_recalled; /* the first ones were passed over, by transfers_first_url */
    unsigned tries;    /* on this URL, since something last came */
    unsigned misfits;
    unsigned corruptions;
    unsigned losses;   /* of bytes that had to come again: see is_stream() in transfer_job.c */
    bool by_signed;    /* what is here is of a signed address, and so is what comes next */
    bool signed_again; /* that is asked a second time, since something last came */
    bool signed_over;  /* it is given up */
    bool no_cache;
    bool token_renewed;
    struct blob_key other; /* what the server says it has instead */
    int status;
    uint64_t bytes;
    uint64_t told; /* of these, in `fresh` */
    unsigned requests;
    char message[160];
    char *text; /* of a document */
    size_t text_size;
};

/* What failed lately: whoever wants it at once is told so at once. */
struct setback {
    struct setback *next;
    char name[JOB_NAME_SIZE];
    unsigned count;
    int error;
    int status;
    char message[160];
    int64_t until_ms;
    int64_t forget_ms;
};

/* A URL that was answered 404 where another of the same blob had it. */
struct barren {
    struct barren *next;
    char url[];
};

struct transfers {
    struct transfers_conf conf; /* its strings are not kept */
    struct fetch *fetch;
    pthread_t net_thread;
    pthread_t disk_threads[DISK_THREADS];
    size_t disk_thread_count;
    atomic_bool away;
    atomic_uint signed_failures; /* in a row */
    atomic_bool woken;           /* and the network thread has not looked yet */

    pthread_mutex_t lock;
    pthread_cond_t disk_work;     /* ready, or the end */
    bool stopping;                /* lock */
    bool net_ended;               /* lock */
    struct job *incoming;         /* lock; one waiter each, newest first */
    struct lane *ready;           /* lock; whose turn it is */
    struct lane *ready_last;      /* lock */
    struct disk_op *answers;      /* lock; oldest first */
    struct disk_op *answers_last; /* lock */
    size_t queued_bytes;          /* lock */
    struct piece *pieces;         /* lock; spare ones */
    struct transfers_stats stats; /* lock */

    /* the network thread's */
    struct job *jobs; /* oldest first */
    unsigned busy;    /* places taken: strands, and jobs that open or commit */
    struct setback *setbacks;
    struct barren *barren; /* newest first */
    size_t barren_count;
    int64_t progress_ms; /* of any transfer */
    uint32_t random;
    char *token;
    bool token_asked;
    unsigned token_version;
};

int64_t transfers_now_ms(void);

/* Lets the network thread look at what there is. Any thread. */
void transfers_wake(struct transfers *transfers);
void transfers_progress(struct transfers *transfers, struct job *job);

/* --- waiters --- */

/* The most urgent of those who wait; WANT_PREFETCH if nobody does. */
enum want_priority job_priority(const struct job *job);

/* Tells those whose bytes are here. */
void waiters_serve(struct job *job);

/* Ends all of them, or those that have waited too long. error 0: the blob is there. */
void waiters_end(struct job *job, int error, const char *message);
void waiters_expire(struct job *job, int64_t now);

/* --- jobs --- */

/* Takes a place and opens the sink. */
void job_start(struct job *job);

/* Whatever can be done without a place: serve, commit, close. The job may be gone afterwards. */
void job_step(struct job *job);

/* The disk thread answered. */
void job_answered(struct job *job);

/* A strand has ended and settled; it is gone. */
void job_judge(struct job *job, const struct strand *strand);

/* Gives up what it does; told to nobody who is not told yet. It is gone, or will be when the disk
 * thread has answered. */
void job_end(struct job *job, int error);
void job_free(struct job *job);

/* Where its bytes go; NULL if it has none now. While the disk thread has been asked something, it may
 * end the sink and the partial with it: then they are not ours to look at. */
struct partial *job_partial(const struct job *job);

void job_say(struct job *job, enum attempt_end end, int error, const char *message);
void job_ask_disk(struct job *job, enum disk_kind kind);

/* What came so far is given up: other strands end, the sink begins anew. */
void job_restart(struct job *job);

/* --- what to ask for --- */

struct errand {
    struct span span;
    enum want_priority priority;
};

/* The job's next request, if it has one to make now. */
bool job_next_errand(const struct job *job, int64_t now, struct errand *ret_errand);

/* How urgent it is by now, by what somebody has come to wait for since it was made. */
enum want_priority strand_priority(const struct strand *strand);

/* Long leisurely strands of the job stop before what demand asks for now. */
void job_cut_short(struct job *job, const struct errand *errand);

/* --- strands --- */

/* Makes the request; takes a place, which it gives back when it is gone. */
void strand_start(struct job *job, const struct errand *errand);
void strand_cancel(struct strand *strand);

/* Its bytes are written: out of the list, judged, freed. */
void strand_settled(struct strand *strand);
void strand_free(struct strand *strand);
void strand_say(struct strand *strand, enum attempt_end end, int error, const char *message);

/* transfer_body.c: the exchange's callbacks, and what is left over at its end. */
int strand_head(void *arg, const struct fetch_head *head);
int strand_body(void *arg, const void *data, size_t size);
int strand_flush(struct strand *strand);

/* --- memory --- */

/* A token other than the one of that version? NULL for none. */
const char *transfers_token(struct transfers *transfers);
bool transfers_renew_token(struct transfers *transfers, unsigned version);

/* How that name failed a moment ago; NULL if it may be asked for. */
const struct setback *transfers_setback(struct transfers *transfers, const char *name);

/* The job has ended so: error 0 forgets its setback. */
void transfers_note_end(struct transfers *transfers, const struct job *job, int error);

/* Whether a table is stored by its id or by its name only the server knows (contract 2): what has
 * worked is tried first from then on. The index of the first URL that is not known to be barren. */
size_t transfers_first_url(const struct transfers *transfers, char *const *urls);
void transfers_note_url(struct transfers *transfers, char *const *urls, size_t good);
void transfers_doubt_urls(struct transfers *transfers, char *const *urls);

void transfers_forget(struct transfers *transfers);

/* --- signed addresses --- */

/* What lies there already says by its tag where it came from, and it goes on there. Nothing is of
 * nobody yet. */
void job_take_tag(struct job *job, const char *tag);

/* The tag as it is kept with the bytes. -EMSGSIZE. */
int job_keep_tag(const struct job *job, const char *etag, char ret_tag[static PARTIAL_TAG_SIZE]);

/* Where the next request goes, malloc'd. NULL: to the server. */
char *job_signed_url(const struct job *job);

/* From now on the server's own addresses. */
void job_leave_signed(struct job *job);

/* Something came by it, or did not, or was wrong. */
void job_signed_came(struct job *job);
void job_signed_failed(struct job *job, const struct strand *strand);
void job_signed_lied(struct job *job);
