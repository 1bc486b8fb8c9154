/* SPDX-License-Identifier: MIT */
/* plan_private.h - what a plan is made of. For sync/plan*.c only. */
#pragma once

#include "sync/plan.h"

/* What the plan knows of one row of the manifest. */
struct plan_row {
    const struct tree_node *before; /* what this very row shows in the last tree; NULL if nothing */
    bool same_token;                /* as it had before */
    size_t first_key;               /* of its files, in plan->keys */
    size_t first_item;              /* of its items, in plan->items */
    size_t item_count;
};

struct plan {
    struct plan_inputs inputs;
    struct plan_row *rows; /* as many as the manifest has, in its order */
    struct blob_key *keys; /* per file; kind BLOB_NONE where no item brought it */
    struct plan_item *items;
    size_t key_count;
    size_t item_count;
    bool held[TREE_SECTIONS];
    bool suddenly_empty[TREE_SECTIONS];
};

/* The last tree's blob at path or, if part is not NULL, at path/part. NULL if there is none. */
const struct tree_blob *plan_blob_before(const struct plan *plan, const char *path,
                                         const char *part);
