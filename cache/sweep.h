/* SPDX-License-Identifier: MIT */
/* sweep.h - what must not stay, and what is not as it should be.
 *
 * Both functions are told which keys are referenced (sorted by blob_key_compare, no duplicates)
 * and know nothing of why. They walk the directories: O(blobs), on the sync thread or in a verb.
 *
 * store_sweep removes blobs and partials that nobody refers to, but for partials that somebody in
 * this process holds, and drafts that nobody is writing. Call it only
 * after the generation that no longer refers to them is durable, and never on the word of a state
 * file that could not be read.
 *
 * store_audit looks at everything under the root's _shared and partial and reports each object that
 * is not what it should be. With repair it also mends: orphans and foreign files are removed, wrong
 * blobs dropped (so that they are fetched again); missing ones stay the caller's business.
 *
 * Errors: -EROFS when a reader is asked to change something, else what the system says. */
#pragma once

#include "cache/store.h"

struct store_keep {
    const struct blob_key *keys;
    size_t count;
};

struct sweep_result {
    uint64_t blobs;    /* removed */
    uint64_t bytes;    /* of those */
    uint64_t partials; /* removed */
};

int store_sweep(struct store *store, const struct store_keep *keep,
                struct sweep_result *ret_result);

enum audit_kind {
    AUDIT_ORPHAN,      /* a blob without a reference */
    AUDIT_MISSING,     /* referenced, expected to be resident, not there */
    AUDIT_WRONG_SIZE,  /* the file's size is not its key's */
    AUDIT_WRONG_BYTES, /* the digest is not its key's */
    AUDIT_FOREIGN,     /* anything else under _shared: other names, types, owners */
};

/* "orphan blob", "missing blob"...: what people and tests read. */
const char *audit_kind_name(enum audit_kind kind);

struct audit_finding {
    enum audit_kind kind;
    const char *path; /* relative to the root, as found; valid during the call */
    bool mended;
};

struct audit_options {
    bool deep;   /* read and hash every blob, else names, types and sizes only */
    bool repair; /* needs a writer */
    void (*progress)(void *arg, uint64_t bytes_done); /* may be NULL */
    void *progress_arg;
};

/* expected: referenced keys that must be resident (MISSING is reported for those alone, a subset of
 * keep; NULL: none). One finding an object. A foreign directory that is not empty is reported,
 * never mended. found is called for each finding, in no special order. */
int store_audit(struct store *store, const struct store_keep *keep,
                const struct store_keep *expected, const struct audit_options *options,
                void (*found)(void *arg, const struct audit_finding *finding), void *arg);
