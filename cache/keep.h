/* SPDX-License-Identifier: MIT */
/* keep.h (private to cache/) - looking up a key in a sorted list of keys. */
#pragma once

#include <stdlib.h>

#include "cache/sweep.h"

static inline int keep_compare(const void *a, const void *b)
{
    return blob_key_compare(a, b);
}

/* The key's place in the list, or NULL. */
static inline const struct blob_key *keep_find(const struct store_keep *keep,
                                               const struct blob_key *key)
{
    if (keep->count == 0)
        return NULL;
    return bsearch(key, keep->keys, keep->count, sizeof(*key), keep_compare);
}

static inline bool keep_has(const struct store_keep *keep, const struct blob_key *key)
{
    return keep_find(keep, key) != NULL;
}
