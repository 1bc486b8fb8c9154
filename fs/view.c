/* SPDX-License-Identifier: MIT */
/* Publishing a generation is the one store in view_swap. Everything else that a switch needs (counts,
 * kernel caches) comes before or after it. */
#include "fs/view.h"

#include <time.h>

#include "cache/scoped.h"

static int64_t wall_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void view_init(struct view *view, struct tree *tree)
{
    pthread_mutex_init(&view->lock, NULL);
    view->tree = tree_ref(tree);
    view->published_ns = wall_clock_ns();
    view->leaving = false;
}

void view_release(struct view *view)
{
    tree_unref(view->tree);
    pthread_mutex_destroy(&view->lock);
}

struct view_now view_get(struct view *view)
{
    scoped_lock(&view->lock);

    return (struct view_now){tree_ref(view->tree), view->published_ns, view->leaving};
}

void view_put(struct view_now *now)
{
    tree_unref(now->tree);
}

bool view_stays(struct view *view, const struct view_now *now)
{
    scoped_lock(&view->lock);
    return view->tree == now->tree && !view->leaving;
}

void view_leave(struct view *view)
{
    scoped_lock(&view->lock);
    view->leaving = true;
}

struct tree *view_swap(struct view *view, struct tree *tree, int64_t *ret_published_ns)
{
    const int64_t now = wall_clock_ns();
    struct tree *old;

    scoped_lock(&view->lock);
    old = view->tree;
    view->tree = tree;
    view->leaving = false;
    view->published_ns = now > view->published_ns ? now : view->published_ns + 1;
    *ret_published_ns = view->published_ns;
    return old;
}
