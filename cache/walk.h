/* SPDX-License-Identifier: MIT */
/* walk.h (private to cache/) - every object below _shared and partial, told apart.
 *
 * The visitor may remove the object it is shown. What vanishes or appears meanwhile is shown or
 * not. A visitor's non-zero answer ends the walk and is its result. */
#pragma once

#include "cache/store.h"

enum found_kind {
    FOUND_BLOB,    /* a plain file of ours, in its shard, named by a key; of any size */
    FOUND_PARTIAL, /* a plain file of ours below partial, named by a key */
    FOUND_MAP,     /* the same, of its map */
    FOUND_DRAFT,   /* the same, named as a writer would */
    FOUND_FOREIGN, /* anything else */
};

struct found_object {
    enum found_kind kind;
    int dir;             /* where it is... */
    const char *name;    /* ...and its name there */
    const char *path;    /* relative to the root */
    struct blob_key key; /* of a blob, a partial, a map */
    struct stat st;
};

typedef int found_visitor(void *arg, const struct found_object *object);

int walk_shared(struct store *store, found_visitor *visit, void *arg);
int walk_partial(struct store *store, found_visitor *visit, void *arg);
