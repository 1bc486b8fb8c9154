/* SPDX-License-Identifier: MIT */
/* claims.h (private to cache/) - who is busy with which name, within this process.
 *
 *     claims_take -> work, as slow as it likes -> claims_release
 *
 * A claim is a lock on a word. It exists so that mutexes are never held over I/O: the set's mutex
 * guards the list of words and nothing else. Two kinds:
 *
 *     CLAIM_BRIEF   a rename, an unlink: whoever comes second waits the few microseconds
 *     CLAIM_LONG    a download: whoever comes second is told -EBUSY
 *
 * Nobody holds two brief claims at once, so waiting can not become a deadlock. */
#pragma once

#include <stdbool.h>

#include "cache/scoped.h"

struct claims;

enum claim_kind {
    CLAIM_BRIEF,
    CLAIM_LONG,
};

int claims_new(struct claims **ret_claims);
void claims_free(struct claims *claims);

/* Waits for brief holders of the word. -EBUSY a long one has it, -ENOMEM. The word is copied. */
int claims_take(struct claims *claims, const char *word, enum claim_kind kind);

/* Has anybody the word at this moment? */
bool claims_has(struct claims *claims, const char *word);

void claims_release(struct claims *claims, const char *word);

/* A claim that ends with its scope: set `claims` once claims_take has succeeded. */
struct claim {
    struct claims *claims;
    const char *word;
};

static inline void scoped_unclaim_at(const struct claim *claim)
{
    if (claim->claims)
        claims_release(claim->claims, claim->word);
}

#define scoped_claim scoped(scoped_unclaim_at)

static inline int claim_take(struct claim *claim, struct claims *claims, const char *word)
{
    int r = claims_take(claims, word, CLAIM_BRIEF);

    if (r == 0)
        *claim = (struct claim){.claims = claims, .word = word};
    return r;
}
