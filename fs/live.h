/* SPDX-License-Identifier: MIT */
/* live.h - documents that are rendered when somebody looks (tree.h, TREE_LIVE).
 *
 * A rendering serves for LIVE_MS, or until a new generation: whoever stats a document and then opens
 * it gets what the stat told of, as cp and tar demand, and nobody reads yesterday's status.
 *
 * Its lock guards the renderings it keeps; nothing is rendered while it is held. */
#pragma once

#include <pthread.h>

#include "fs/provider.h"

#define LIVE_MS 1000
#define LIVE_DOCUMENTS 8

struct rendering {
    char *text; /* NULL: none yet */
    size_t size;
    int64_t rendered_ms;
    int64_t published_ns; /* of the generation it was made in */
};

struct live {
    pthread_mutex_t lock;
    struct rendering renderings[LIVE_DOCUMENTS]; /* lock */
};

void live_init(struct live *live);
void live_release(struct live *live);

/* The document of that number in the generation published then, malloc'd. -EINVAL: no such number;
 * what render says. */
int live_get(struct live *live, const struct provider *provider, unsigned number,
             int64_t published_ns, char **ret_text, size_t *ret_size);
