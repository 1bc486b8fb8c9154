/* SPDX-License-Identifier: MIT */
/* transfer_private.h - what the files of the transfer engine share.
 *
 *     transfer_want.c    wants in
 *     transfer.c         results out; the network thread's round: queue, places, deadlines
 *     transfer_job.c     one blob from want to result: attempts, URLs, what to do next
 *     transfer_request.c one attempt: request, head, body, end
 *     transfer_answer.c  what an answer's head must look like (pure)
 *     transfer_memory.c  the token, and what failed lately
 *     transfer_disk.c    the disk thread: writing, hashing, committing
 *
 * Who owns what. A job belongs to the network thread, a sink to the disk thread. They meet in
 * disk_op: the network thread posts one, the disk thread performs them in order and hands those
 * that carry a job back as the answer. A job waits for at most one answer at a time, which is why
 * its op can live inside it, and why asking never fails for want of memory. After the op that ends
 * a sink has been posted, the network thread no longer knows that sink.
 *
 *     QUEUED -> OPENING -> RUNNING -> COMMITTING -> gone
 *        ^                    |           |
 *        |                 SETTLING       |  other bytes than promised
 *        +--------------------+-----------+ */
#pragma once

#include <pthread.h>

#include "cache/writer.h"
#include "sync/fetch.h"
#include "sync/retry.h"
#include "sync/transfer.h"

#define JOB_NAME_SIZE 80
#define BLOCK_SIZE ((size_t)256 << 10)
#define QUEUE_HIGH ((size_t)8 << 20) /* bytes on the way to the disk that pause an exchange */
#define QUEUE_LOW ((size_t)4 << 20)

/* --- disk --- */

enum disk_kind {
    DISK_OPEN,   /* is it there already? else begin or resume. Answered */
    DISK_BEGIN,  /* an answer's head came: its tag, and whether it starts from byte 0 */
    DISK_BLOCK,  /* bytes */
    DISK_SETTLE, /* how much is there now? Answered */
    DISK_COMMIT, /* ends the sink. Answered */
    DISK_END,    /* ends the sink: keep for a resume, or remove */
};

struct sink;

struct disk_op {
    struct disk_op *next;
    enum disk_kind kind;
    struct sink *sink;
    struct job *job; /* who is told; NULL: nobody, the op is freed */
    void *bytes;     /* of DISK_BLOCK; malloc'd */
    size_t bytes_size;
    bool restart; /* of DISK_BEGIN */
    bool keep;    /* of DISK_END */
    /* the answer; tag also for DISK_BEGIN */
    int error;
    bool resident;
    uint64_t size;
    char tag[WRITER_TAG_SIZE];
    struct blob_key key;
};

struct sink {
    char name[JOB_NAME_SIZE];
    struct blob_key key; /* BLOB_NONE: named by its bytes */
    char md5[33];
    uint64_t cap;
    bool exact; /* cap is the size */
    bool bundle;
    struct writer *writer;
    unsigned utf8_left; /* continuation bytes that must follow */
    unsigned utf8_low;  /* least value of the next one */
    unsigned utf8_high;
    bool begun;          /* something other than white space came */
    int error;           /* the first one; guarded by the transfers' lock */
    struct disk_op last; /* its DISK_END */
};

void *disk_main(void *transfers);

/* --- jobs: the network thread's alone --- */

struct waiter {
    struct waiter *next;
    want_done done;
    get_done got; /* one of the two */
    void *arg;
    int64_t submitted_ms;
};

enum job_phase {
    JOB_QUEUED,
    JOB_OPENING,
    JOB_RUNNING,
    JOB_SETTLING,
    JOB_COMMITTING,
};

struct job {
    struct job *next;
    struct transfers *transfers;
    char name[JOB_NAME_SIZE]; /* of the partial, and of the flight; "" for a document */
    struct blob_key key;
    char md5[33];
    uint64_t limit;
    bool exact;
    bool bundle;
    bool document; /* into memory */
    bool json;
    char **urls; /* one allocation */
    struct waiter *waiters;
    enum want_priority priority;

    enum job_phase phase;
    int64_t not_before_ms;
    int64_t progress_ms;
    struct disk_op op;

    /* the sink, as far as we were told */
    struct sink *sink;
    uint64_t offset;
    char tag[WRITER_TAG_SIZE];

    /* this attempt */
    struct fetch_exchange *exchange;
    bool paused;
    bool counts; /* the body is one we want */
    uint64_t received;
    char *block;
    size_t block_size;
    unsigned token_version;
    struct attempt attempt; /* what came of it */
    int error;              /* negative errno, if we give up now */

    /* all attempts */
    size_t url;
    unsigned tries; /* on this URL */
    unsigned misfits;
    unsigned corruptions;
    bool no_cache;
    bool token_renewed;
    int status;
    uint64_t bytes;
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

struct transfers {
    struct transfers_conf conf; /* its strings are not kept */
    struct fetch *fetch;
    pthread_t net_thread;
    pthread_t disk_thread;

    pthread_mutex_t lock;
    pthread_cond_t disk_work;     /* disk_first, or the end */
    bool stopping;                /* lock */
    bool net_ended;               /* lock */
    struct job *incoming;         /* lock; one waiter each, newest first */
    struct disk_op *disk_first;   /* lock */
    struct disk_op *disk_last;    /* lock */
    struct disk_op *answers;      /* lock; oldest first */
    struct disk_op *answers_last; /* lock */
    size_t queued_bytes;          /* lock */
    struct transfers_stats stats; /* lock */

    /* the network thread's */
    struct job *jobs; /* oldest first */
    unsigned busy;    /* jobs that hold a place */
    struct setback *setbacks;
    int64_t progress_ms; /* of any transfer */
    uint32_t random;
    char *token;
    bool token_asked;
    unsigned token_version;
};

int64_t transfers_now_ms(void);
void transfers_post(struct transfers *transfers, struct disk_op *op);
void transfers_progress(struct transfers *transfers, struct job *job, size_t bytes);

/* A job that may run now does; it takes a place. */
void job_start(struct job *job);

/* The disk thread answered. */
void job_answered(struct job *job);

/* The place is given back, everybody is told, the job is freed. */
void job_end(struct job *job, int error);

/* Nobody waits any more: ends it now, or as soon as the disk thread answers. */
void job_drop(struct job *job);

void job_free(struct job *job);

/* Notes what came of the attempt. */
void job_say(struct job *job, enum attempt_end end, int error, const char *message);

/* Makes the attempt. */
void job_request(struct job *job);

/* The attempt is over: done, again, or given up. */
void job_judge(struct job *job);

void job_ask_disk(struct job *job, enum disk_kind kind);

/* A token other than the one of that version? NULL for none. */
const char *transfers_token(struct transfers *transfers);
bool transfers_renew_token(struct transfers *transfers, unsigned version);

/* How that name failed a moment ago; NULL if it may be asked for. */
const struct setback *transfers_setback(struct transfers *transfers, const char *name);

/* The job has ended so: error 0 forgets its setback. */
void transfers_note_end(struct transfers *transfers, const struct job *job, int error);
void transfers_forget(struct transfers *transfers);

/* --- answers (pure) --- */

struct answer_rules {
    struct blob_key key;
    uint64_t limit;
    bool exact;
    uint64_t offset;
    bool bundle;
    bool document;
    bool json;
    bool server; /* else static: no word on types */
};

struct answer_verdict {
    enum attempt_end end; /* ATTEMPT_OK: take the body; ATTEMPT_STATUS: read past it */
    int error;
    char message[160];
};

void answer_judge(const struct answer_rules *rules, const struct fetch_head *head,
                  struct answer_verdict *ret_verdict);

/* What a status that is no success means when we give up: an errno and a phrase. */
int answer_status_error(int status, bool with_token, char *ret_message, size_t size);
