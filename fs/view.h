/* SPDX-License-Identifier: MIT */
/* view.h - the slot that holds the current generation.
 *
 *     view_get      what a request answers from
 *     view_leave    another generation is about to come: what is answered from now on is not to be
 *                   kept by the kernel
 *     view_swap     it is here
 *
 * Loading a pointer and then taking a reference is a race, so these few lines have a lock, and
 * nothing else happens under it. A request takes the view once and never sees two generations. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "sync/tree.h"

struct view {
    pthread_mutex_t lock;
    struct tree *tree;    /* under lock */
    int64_t published_ns; /* under lock; wall clock: the time of folders and generated texts */
    bool leaving;         /* under lock */
};

/* A consistent pair; drop it with view_put or scoped_view. */
struct view_now {
    struct tree *tree;
    int64_t published_ns;
    bool leaving; /* when it was taken */
};

void view_init(struct view *view, struct tree *tree);
void view_release(struct view *view);

struct view_now view_get(struct view *view);
void view_put(struct view_now *now);

/* Is it the current one, and not leaving? Only a hint: it may change at once. */
bool view_stays(struct view *view, const struct view_now *now);

void view_leave(struct view *view);
#define scoped_view __attribute__((cleanup(view_put)))

/* Takes over the caller's reference on tree and hands out the old one. The new time is later than
 * the old one, whatever the clock did. ret_published: the new time. */
struct tree *view_swap(struct view *view, struct tree *tree, int64_t *ret_published_ns);
