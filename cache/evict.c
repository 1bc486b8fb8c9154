/* SPDX-License-Identifier: MIT */
/* evict.c - what goes, and in which order.
 *
 * The list is made first and added up, so that a need which can not be met costs nobody anything.
 * Each item is judged twice: to find its place, and again just before it goes, since opening a file
 * takes less time than emptying a cache. Between the second look and the unlink it may still be
 * opened: then the descriptor keeps the bytes. */
#include <errno.h>
#include <string.h>

#include "cache/blob.h"
#include "cache/partial_object.h"
#include "cache/room.h"
#include "cache/walk.h"

struct candidate {
    struct blob_key key;
    enum keep_class class;
    bool partial;
    int64_t opened; /* seconds */
    uint64_t bytes;
};

struct list {
    struct store *store;
    const struct budget *budget;
    const struct room_need *need;
    struct candidate *items;
    size_t count;
    size_t room;
    uint64_t bytes;
};

static enum keep_class judge(const struct budget *budget, const struct blob_key *key)
{
    return budget->judge ? budget->judge(budget->arg, key) : KEEP_LISTED;
}

static bool may_go(const struct list *list, enum keep_class class)
{
    return class == KEEP_UNWANTED || (class == KEEP_LISTED && !list->need->orphans);
}

static int add(struct list *list, const struct candidate *candidate)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        struct candidate *items = reallocarray(list->items, room, sizeof(*items));

        if (!items)
            return -ENOMEM;
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = *candidate;
    list->bytes += candidate->bytes;
    return 0;
}

static int add_blobs(struct list *list)
{
    scoped_free struct trust_record *records = NULL;
    size_t count = 0;
    int r = trust_snapshot(list->store->trust, &records, &count);

    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct candidate candidate = {
            .key = records[i].key,
            .class = judge(list->budget, &records[i].key),
            .opened = records[i].opened,
            .bytes = records[i].key.size,
        };

        if (may_go(list, candidate.class))
            r = add(list, &candidate);
    }
    return r;
}

/* A partial that somebody holds is being filled or read. */
static int add_partial(void *arg, const struct found_object *object)
{
    struct list *list = arg;

    if (object->kind != FOUND_PARTIAL ||
        partials_look(list->store->partials, &object->key) != PRESENCE_NONE)
        return 0;

    const struct candidate candidate = {
        .key = object->key,
        .class = judge(list->budget, &object->key),
        .partial = true,
        .opened = object->st.st_mtim.tv_sec,
        .bytes = partial_measure(list->store, &object->key),
    };

    return may_go(list, candidate.class) ? add(list, &candidate) : 0;
}

static int who_goes_first(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;

    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    if (x->opened != y->opened)
        return x->opened < y->opened ? -1 : 1;
    return blob_key_compare(&x->key, &y->key);
}

static int remove_one(struct list *list, const struct candidate *candidate, uint64_t *ret_freed)
{
    *ret_freed = 0;
    if (!may_go(list, judge(list->budget, &candidate->key)))
        return 0;
    return candidate->partial ? partial_discard(list->store, &candidate->key, ret_freed)
                              : blob_remove(list->store, &candidate->key, NULL, ret_freed);
}

static int remove_all(struct list *list, uint64_t *ret_freed)
{
    const struct room_need *need = list->need;
    uint64_t freed = 0;
    int failed = 0;

    for (size_t i = 0; i < list->count && freed < need->goal; i++) {
        uint64_t bytes = 0;
        int r = remove_one(list, &list->items[i], &bytes);

        if (r < 0 && r != -EBUSY)
            failed = r;
        if (bytes > 0)
            room_note_eviction(list->store, bytes, !list->items[i].partial);
        freed += bytes;
    }
    *ret_freed = freed;
    if (freed >= need->least)
        return 0;
    return failed < 0 ? failed : -ENOSPC;
}

int evict(struct store *store, const struct budget *budget, const struct room_need *need,
          uint64_t *ret_freed)
{
    struct list list = {.store = store, .budget = budget, .need = need};
    int r = add_blobs(&list);

    if (r == 0)
        r = walk_partial(store, add_partial, &list);
    if (r == 0 && list.bytes < need->least)
        r = -ENOSPC;
    if (r == 0 && list.count > 1)
        qsort(list.items, list.count, sizeof(*list.items), who_goes_first);
    if (r == 0)
        r = remove_all(&list, ret_freed);
    free(list.items);
    return r;
}
