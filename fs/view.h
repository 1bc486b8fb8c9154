/* SPDX-License-Identifier: MIT */
/* view.h - the slot that holds the current generation.
 *
 * Loading a pointer and then taking a reference is a race, so these two lines have a lock, and
 * nothing else happens under it. A request takes the view once and never sees two generations. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "sync/tree.h"

struct view {
    pthread_mutex_t lock;
    struct tree *tree;    /* under lock */
    int64_t published_ns; /* under lock; wall clock: the time of folders and generated texts */
};

/* A consistent pair; drop it with view_put or scoped_view. */
struct view_now {
    struct tree *tree;
    int64_t published_ns;
};

void view_init(struct view *view, struct tree *tree);
void view_release(struct view *view);

struct view_now view_get(struct view *view);
void view_put(struct view_now *now);

/* Is it still what view_get would answer? Only a hint: it may change at once. */
bool view_is_current(struct view *view, const struct view_now *now);
#define scoped_view __attribute__((cleanup(view_put)))

/* Takes over the caller's reference on tree and hands out the old one. The new time is later than
 * the old one, whatever the clock did. ret_published: the new time. */
struct tree *view_swap(struct view *view, struct tree *tree, int64_t *ret_published_ns);
