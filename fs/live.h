/* SPDX-License-Identifier: MIT */
/* live.h - documents that are rendered when somebody looks (tree.h, TREE_LIVE).
 *
 *     live_look    what it is now: the key of its bytes, which is its size too
 *     live_open    those very bytes, for whoever opens what was looked at
 *     live_put
 *
 * A small rendering serves for LIVE_MS, or until a new generation: whoever stats a document and then
 * opens it gets what the stat told of, as cp and tar demand, and nobody reads yesterday's status.
 *
 * A large one (above LIVE_SMALL) must say the same all through its generation. Of that one only the
 * key is kept; its bytes are there while somebody has it open, once for all of them, and are rendered
 * again for the next one. So it costs nothing while nobody reads it.
 *
 * Its lock guards what it keeps; nothing is rendered while it is held. */
#pragma once

#include <pthread.h>

#include "fs/provider.h"

#define LIVE_MS 1000
#define LIVE_SMALL ((size_t)256 << 10)
#define LIVE_DOCUMENTS 8

/* Immutable but for the count, which is the lock's. */
struct live_text {
    unsigned references;
    char *bytes;
    struct blob_key key; /* of them; key.size is how many */
};

struct rendering {
    struct blob_key key;    /* of the last one; kind BLOB_NONE: none yet */
    struct live_text *text; /* held if it is small, else there as long as a reader holds it */
    int64_t rendered_ms;
    int64_t published_ns; /* of the generation it was made in */
};

struct live {
    pthread_mutex_t lock;
    struct rendering renderings[LIVE_DOCUMENTS]; /* lock */
};

/* The generation that is looked at. */
struct live_view {
    const struct provider *provider;
    const struct tree *tree;
    int64_t published_ns;
};

void live_init(struct live *live);
void live_release(struct live *live);

static inline bool live_is_small(const struct blob_key *key)
{
    return key->size <= LIVE_SMALL;
}

/* The document of that number. ret_text: of a small one its bytes, to be put; NULL of a large one.
 * -EINVAL: no such number; what render says. */
int live_look(struct live *live, const struct live_view *view, unsigned number,
              struct blob_key *ret_key, struct live_text **ret_text);

/* The large document that live_look has given this key. -ESTALE: it is another one by now. */
int live_open(struct live *live, const struct live_view *view, const struct blob_key *key,
              struct live_text **ret_text);

void live_put(struct live *live, struct live_text *text); /* NULL is allowed */
