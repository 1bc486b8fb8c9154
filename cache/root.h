/* SPDX-License-Identifier: MIT */
/* root.h (private to cache/) - the folder a store lives in: whose it is, who holds it, and how the
 * last one left it.
 *
 * Everything in it is reached through these descriptors. The path is resolved once, here: whatever
 * happens to it later, a store stays in the folder it was opened on. */
#pragma once

#include <stdatomic.h>

#include "cache/store.h"

struct root {
    int dir;
    atomic_int shared;  /* -1: a reader found none; one that is promoted sets it once */
    atomic_int partial; /* the same */
    int lock;           /* -1: a reader */
    uid_t owner;
    bool orderly; /* the last writer ended in order, or there never was one */
};

/* A root that root_release takes, before root_open has filled it. */
#define ROOT_NONE ((struct root){.dir = -1, .shared = -1, .partial = -1, .lock = -1})

/* A writer makes what is missing, takes the lock and takes the clean marker away. -EBUSY, -EPERM;
 * -ENOENT for a reader that finds no store. */
int root_open(const char *path, enum store_mode mode, struct root *ret_root);

/* A reader that becomes the writer: lock, look at what the last one left, then prepare as root_open
 * does. An error of either leaves a reader, once root_unlock was called. */
int root_lock(struct root *root);
int root_prepare(struct root *root);
void root_unlock(struct root *root);

/* Sets the clean marker: all that was to be saved is saved. */
int root_mark_clean(const struct root *root);

/* Closes, and with it unlocks. */
void root_release(const struct root *root);
