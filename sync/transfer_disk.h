/* SPDX-License-Identifier: MIT */
/* transfer_disk.h (private to the transfer engine) - what the disk threads are given to do.
 *
 *     disk_threads_start -> transfers_post... -> answers (transfer_private.h) -> disk_threads_end
 *
 * A sink has two lanes, and one thread at most is in each: `files`, which takes what is posted, and
 * `sums`, to which written bytes are passed on to be hashed. So one blob is hashed beside being written,
 * and many blobs are worked on by all threads. What changes the sink as a whole (RESTART, COMMIT, CLOSE)
 * waits in `files` until `sums` is empty, and then has the sink to itself.
 *
 * The numbers were measured on two cores (tests/bench/NOTES.md, P11): fewer than three threads are
 * slower with many files, more than four no faster; with half the queue the hashing runs dry where
 * others use the disk too. */
#pragma once

#include <stdatomic.h>

#include "cache/partial.h"
#include "cache/writer.h"
#include "sync/tree.h"

#define JOB_NAME_SIZE 80
#define DISK_THREADS 4
#define PIECE_SIZE ((size_t)1 << 20)
#define PIECE_AWAITED ((size_t)256 << 10) /* while somebody waits for a part of the blob */
#define QUEUE_HIGH ((size_t)32 << 20)     /* bytes on the way to the disk that pause an exchange */
#define QUEUE_LOW ((size_t)24 << 20)

struct transfers;
struct job;
struct strand;

enum disk_kind {
    DISK_OPEN,    /* is it there already? else begin or resume. Answered */
    DISK_WRITE,   /* bytes; then, in the other lane, they are hashed */
    DISK_TAG,     /* what they are of: the ETag */
    DISK_SETTLE,  /* all before it is done. Answered */
    DISK_RESTART, /* what came so far is given up. Answered */
    DISK_COMMIT,  /* Answered; -EINPROGRESS: ask again; otherwise ends the sink, but for -EAGAIN */
    DISK_CLOSE,   /* ends the sink: the bytes so far are kept, or given up. Answered */
};

struct lane {
    struct lane *next;     /* in the list of those that are ready */
    struct disk_op *first; /* oldest */
    struct disk_op *last;
    bool busy; /* in that list, or a thread performs what was first */
};

/* What bytes go to: a partial, or, where only they tell their key, a writer. */
struct sink {
    struct lane files; /* the transfers' lock, like sums */
    struct lane sums;
    char name[JOB_NAME_SIZE];
    struct blob_key key;      /* BLOB_NONE: named by its bytes */
    struct blob_key promised; /* what is made of the bytes must be this; BLOB_NONE: it may be new */
    char md5[33];
    uint64_t cap;
    bool exact; /* cap is the size */
    enum tree_form form;
    struct partial *_Atomic partial; /* of a known key; changed by a disk thread alone */
    struct writer *writer;
    unsigned utf8_left; /* continuation bytes that must follow */
    unsigned utf8_low;  /* least value of the next one */
    unsigned utf8_high;
    bool begun;         /* something other than white space came */
    unsigned mark_seen; /* bytes of a database's mark */
    char *gathered;     /* of a digest */
    size_t gathered_size;
    _Atomic int error;        /* the first one */
    _Atomic unsigned written; /* how many pieces, ever */
    atomic_bool awaited;      /* somebody waits for a part of it. The network thread's */
};

struct disk_op {
    struct disk_op *next;
    enum disk_kind kind;
    struct sink *sink;
    struct job *job;       /* who is told; NULL: nobody, the op is freed */
    struct strand *strand; /* of DISK_SETTLE */
    void *bytes;           /* of DISK_WRITE; a piece */
    size_t bytes_size;
    uint64_t offset;
    bool keep; /* of DISK_CLOSE */
    int error; /* the answer, like the rest */
    bool resident;
    char tag[PARTIAL_TAG_SIZE]; /* also of DISK_TAG */
    struct blob_key key;
};

/* Does what the op says, and notes the answer in it. False: it was the sink's last. */
bool disk_perform(struct transfers *transfers, struct disk_op *op);

/* For what a sink has written, from its sums lane. */
void disk_hash(const struct disk_op *op);

/* transfer_lane.c: the network thread gives an op away. */
void transfers_post(struct transfers *transfers, struct disk_op *op);

/* The disk threads. Ending waits until nothing is left to do. */
int disk_threads_start(struct transfers *transfers);
void disk_threads_end(struct transfers *transfers);

/* PIECE_SIZE bytes, NULL for want of memory. They are kept for the next one until pieces_drop: memory
 * that the kernel has to clear anew for every piece costs as much as copying into it. Any thread. */
void *piece_take(struct transfers *transfers);
void piece_give(struct transfers *transfers, void *piece); /* NULL is allowed */
void pieces_drop(struct transfers *transfers);

/* transfer_text.c: is it text? False: it is not. */
bool sink_takes_text(struct sink *sink, const unsigned char *bytes, size_t size);

/* transfer_sink.c, for a sink with a writer: bytes in; then, when all came, what is made of them; is
 * it what it should be, as far as one can see? -EPROTO, -EBADMSG, or the writer's. */
int sink_take(struct sink *sink, const void *bytes, size_t size);
int sink_finish(struct sink *sink);
int sink_looks_right(const struct sink *sink);

/* Forgets the bytes. */
void sink_reset(struct sink *sink);
void sink_free(struct sink *sink);
