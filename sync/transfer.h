/* SPDX-License-Identifier: MIT */
/* transfer.h - from "these bytes are wanted" to bytes in the store.
 *
 *     transfers_new -> transfers_want / transfers_get (any thread) -> done -> transfers_free
 *
 * Per blob: single flight (a thousand wants of one key are one transfer), the candidate URLs in
 * order, retries by retry.h, the byte cap, the body's type, the digest, the commit. A blob that is in
 * the store but not trusted (store.h) is verified from disk before the network is asked.
 *
 * A blob with a key is filled by block (partial.h), so a want may be of a part of it: it ends when
 * those bytes can be read from the partial, unverified, or when the blob is there. Ranges are pinned
 * to one strong ETag (If-Range, and the total must be the key's size); neighbouring blocks go in one
 * request, up to STRANDS_MAX requests of a blob at once. A source that has no ranges or no ETag sends
 * it whole, and then every want of it waits for the verified whole. The rest is fetched too, at the
 * priority of a prefetch, once a third is here or somebody asks for it.
 *
 * No byte is asked for that is coming. One exception: where somebody wants the whole, without haste,
 * it comes in one long request, and demand does not wait for its end: what it wants there it asks for,
 * and the long request ends before that. Bytes that were under way then come twice.
 *
 * Where there is an address for these bytes that the server has signed (signed.h), it is asked before
 * all others, for the whole and for ranges; never with a token or an ETag of the server's. Whatever
 * goes wrong there costs none of the attempts: the server is asked at once, in the same transfer.
 * Bytes of the one are never mixed with bytes of the other: a partial goes on where it began, and where
 * it can not, begins anew. So when the connection is lost in the middle, or the store is busy then, it
 * is asked once more after a moment. After three failures in a row, of whatever blobs, no signed
 * address is asked before transfers_renew_signed.
 *
 * Threads of its own: one drives fetch.h and decides; a few others write, hash and commit, so that
 * neither md5 nor fdatasync holds up the network. One blob is hashed beside being written, several are
 * worked on at once. Between them a bounded queue; when it is full the exchanges pause.
 *
 * Order: demand overtakes read-ahead, that staging, that prefetch; at most `jobs` requests run at
 * once, plus two that only demand may make. While demand waits for bytes, running prefetches pause.
 * For a while after a failure, 32 ms that double to 2 s and are forgotten after 10 s, that key is not
 * asked for: demand fails with the same error at once, others wait. So a failing file is no request
 * storm, and a thousand readers of it do not stand in line for the same answer.
 *
 * Every want ends: done is called exactly once, without any lock held, from the network thread (or
 * from transfers_free with -ECANCELED). It must not block. After `timeout_s` without progress a
 * want ends with -ETIMEDOUT, waiting in the queue included, and what brings nothing gives its place
 * to others, waited for or not. Demand uses that time: it outlasts a server that is restarting. But while the source is known to be away (transfers_set_away) it fails
 * with the first attempt, until one succeeds.
 *
 * Errors in want_result: -EACCES 401 or 403; -ESTALE 404 or 410 at every URL; -EBADMSG other bytes
 * than promised, twice, or as the server said before it sent them; -EPROTO an answer that makes no
 * sense (type, encoding, redirect, length); -EHOSTUNREACH could not reach the server; -EAGAIN it
 * answered 5xx or 429; -ETIMEDOUT; -ENOSPC and other local ones; -ECANCELED. */
#pragma once

#include "cache/store.h"
#include "sync/source.h"

struct transfers;

struct transfers_conf {
    struct store *store;
    const struct source *source;
    unsigned jobs;      /* requests at once; 0 means 8 */
    unsigned timeout_s; /* without progress; 0 means 60 */
    const char *user_agent;
    const char *ca_file;
    const char *proxy;
    /* The bearer token now, malloc'd; NULL for none. Asked once, and once more after a 401. Called
     * on the transfer thread. May be NULL. */
    char *(*token)(void *arg);
    void *token_arg;
    /* The address that is signed for these bytes and good now, malloc'd; NULL: there is none. Asked
     * before each request for a known key, on the transfer thread. May be NULL. */
    char *(*signed_url)(void *arg, const struct blob_key *key);
    void *signed_arg;
    /* Bytes that readers may have seen turned out to be wrong. Called on a disk thread. May be
     * NULL. */
    void (*spoiled)(void *arg, const struct blob_key *key);
    void *spoiled_arg;
};

enum want_priority {
    WANT_PREFETCH,
    WANT_STAGE,
    WANT_AHEAD,
    WANT_DEMAND,
};

struct want {
    struct blob_key key; /* kind BLOB_NONE: only the bytes tell */
    const char *md5;     /* with BLOB_NONE: 32 hex that the bytes must have, "" if unknown */
    uint64_t limit;      /* bytes at most; for a known key its size counts */
    bool exact;          /* with BLOB_NONE: it must be exactly limit bytes */
    enum tree_form form; /* what the bytes must look like. Without any md5 a parquet file must have
                            its PAR1 marks at both ends, a database its mark. Of a digest the key is
                            that of its page, limit and md5 do not count */
    uint64_t offset;     /* with size > 0: these bytes are enough, unverified, of a known key */
    uint64_t size;       /* 0: the blob, verified */
    bool rest;           /* afterwards, without haste: all of it */
    const char *const *urls; /* NULL-terminated, best first */
    enum want_priority priority;
};

struct want_result {
    int error;             /* 0 or negative errno */
    int status;            /* last HTTP status, 0 if none */
    struct blob_key key;   /* of the blob, when error is 0 */
    bool resident;         /* the whole blob is there; else the bytes that were wanted */
    struct blob_key other; /* of -EBADMSG: what the server says it has instead (contract 2,
                              X-Agnes-Content-MD5); kind BLOB_NONE if it does not say */
    bool by_signed;        /* it, or what of it was wanted, came by the signed address */
    uint64_t bytes;        /* that came over the wire for the blob so far */
    uint64_t fresh;        /* of demand: those of them that no want of demand was told of before */
    unsigned requests;
    char message[160]; /* one phrase when error is not 0 */
};

typedef void (*want_done)(void *arg, const struct want_result *result);

int transfers_new(const struct transfers_conf *conf, struct transfers **ret_transfers);

/* Ends every want with -ECANCELED and both threads, keeping partials for a resume; later wants are
 * refused. At most two seconds, unless the disk is hashing or flushing something big. */
void transfers_stop(struct transfers *transfers);

/* Stops, and frees. NULL is allowed. */
void transfers_free(struct transfers *transfers);

/* Copies the want. -ENOMEM, -ECANCELED when ending; then done is not called. */
int transfers_want(struct transfers *transfers, const struct want *want, want_done done, void *arg);

/* A small document into memory (manifest, stack listing), priority demand. bytes is valid during
 * the call and NUL-terminated. json: refuse anything that is not application/json (file:// and
 * static sources are not asked for their type). */
typedef void (*get_done)(void *arg, const struct want_result *result, const char *bytes,
                         size_t size);
int transfers_get(struct transfers *transfers, const char *url, bool json, uint64_t limit,
                  get_done done, void *arg);

/* The source did not answer when it was last asked, or did: see above. */
void transfers_set_away(struct transfers *transfers, bool away);

/* A new manifest came, and with it other signed addresses: they are trusted again. */
void transfers_renew_signed(struct transfers *transfers);

struct transfers_stats {
    uint64_t wants_done;
    uint64_t wants_failed;
    uint64_t wants_waiting; /* running and queued */
    uint64_t running;       /* requests, and blobs being opened or committed */
    uint64_t bytes;         /* of bodies, ever */
    uint64_t requests;      /* ever */
    uint64_t by_signed;     /* those of them that went to signed addresses */
    uint64_t signed_failed; /* how often the server was asked in the place of one */
};

void transfers_stats(struct transfers *transfers, struct transfers_stats *ret_stats);
