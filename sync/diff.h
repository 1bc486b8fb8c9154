/* SPDX-License-Identifier: MIT */
/* diff.h - what changes between two generations, as the kernel and the inode table must hear it.
 *
 * Pure: two trees in, lists out. An unchanged name (same type, same content, same time) appears
 * nowhere, which is what keeps kernel caches warm over a refresh. Either tree may be NULL, meaning
 * empty. Strings and nodes point into the trees; keep those alive as long as the diff.
 *
 * Cost: one merge walk, O(names). Errors: -ENOMEM. */
#pragma once

#include "sync/tree.h"

enum change_kind {
    CHANGE_ADDED,
    CHANGE_REMOVED, /* a removed directory is one change; its contents are not listed */
    CHANGE_CHANGED, /* a file's content, or file to directory and back */
};

struct name_change {
    enum change_kind kind;
    const struct tree_node *before; /* node of the old tree; NULL when added */
    const struct tree_node *after;  /* node of the new tree; NULL when removed */
};

struct reference_change {
    struct blob_key key;
    uint32_t before; /* references in the old tree, 0 if it had none */
    uint32_t after;
};

struct tree_diff {
    struct name_change *names; /* parents before children */
    size_t name_count;
    struct reference_change *references; /* only those that differ, sorted by key */
    size_t reference_count;
};

int tree_diff_make(const struct tree *before, const struct tree *after, struct tree_diff *ret_diff);
void tree_diff_release(struct tree_diff *diff);
