/* SPDX-License-Identifier: MIT */
/* partials.c - a list, because there are as many entries as there are partials in use.
 *
 * A waiter looks again from the start after every wake-up: the entry it waited for may have left,
 * and another one come. An entry is only freed by whoever put its last reference, after it has
 * left, so a pointer found in the list under the lock is good for as long as the lock is held. */
#include "cache/partials.h"

#include <errno.h>

#include "cache/scoped.h"

struct partials {
    pthread_mutex_t lock; /* guards entries, and in each all but the key */
    pthread_cond_t settled;
    struct listed *entries;
};

int partials_new(struct partials **ret_partials)
{
    struct partials *partials = calloc(1, sizeof(*partials));

    if (!partials)
        return -ENOMEM;
    pthread_mutex_init(&partials->lock, NULL);
    pthread_cond_init(&partials->settled, NULL);
    *ret_partials = partials;
    return 0;
}

void partials_free(struct partials *partials)
{
    if (!partials)
        return;
    pthread_cond_destroy(&partials->settled);
    pthread_mutex_destroy(&partials->lock);
    free(partials);
}

/* Lock held. */
static struct listed *find(const struct partials *partials, const struct blob_key *key)
{
    struct listed *entry = partials->entries;

    while (entry && !blob_key_equal(&entry->key, key))
        entry = entry->next;
    return entry;
}

/* Lock held. */
static void add(struct partials *partials, struct listed *entry)
{
    entry->presence = PRESENCE_BUSY;
    entry->references = 1;
    entry->next = partials->entries;
    partials->entries = entry;
}

struct listed *partials_enter(struct partials *partials, const struct blob_key *key,
                              struct listed *mine)
{
    scoped_lock(&partials->lock);

    for (;;) {
        struct listed *entry = find(partials, key);

        if (!entry && mine)
            add(partials, mine);
        if (!entry)
            return NULL;
        if (entry->presence == PRESENCE_OPEN) {
            entry->references++;
            return entry;
        }
        pthread_cond_wait(&partials->settled, &partials->lock);
    }
}

bool partials_enter_alone(struct partials *partials, struct listed *mine)
{
    scoped_lock(&partials->lock);

    if (find(partials, &mine->key))
        return false;
    add(partials, mine);
    return true;
}

size_t partials_list(struct partials *partials, struct listed **ret_entries, size_t max)
{
    size_t count = 0;

    scoped_lock(&partials->lock);
    for (struct listed *entry = partials->entries; entry && count < max; entry = entry->next) {
        if (entry->presence != PRESENCE_OPEN)
            continue;
        entry->references++;
        ret_entries[count++] = entry;
    }
    return count;
}

enum presence partials_look(struct partials *partials, const struct blob_key *key)
{
    scoped_lock(&partials->lock);
    const struct listed *entry = find(partials, key);

    return entry ? entry->presence : PRESENCE_NONE;
}

void partials_make_busy(struct partials *partials, struct listed *entry)
{
    scoped_lock(&partials->lock);

    if (entry->presence == PRESENCE_OPEN)
        entry->presence = PRESENCE_BUSY;
}

void partials_open(struct partials *partials, struct listed *entry)
{
    scoped_lock(&partials->lock);

    if (entry->presence == PRESENCE_BUSY)
        entry->presence = PRESENCE_OPEN;
    pthread_cond_broadcast(&partials->settled);
}

void partials_leave(struct partials *partials, struct listed *entry)
{
    scoped_lock(&partials->lock);

    for (struct listed **link = &partials->entries; *link; link = &(*link)->next) {
        if (*link == entry) {
            *link = entry->next;
            break;
        }
    }
    entry->presence = PRESENCE_NONE;
    pthread_cond_broadcast(&partials->settled);
}

void partials_leave_all(struct partials *partials)
{
    scoped_lock(&partials->lock);

    for (struct listed **link = &partials->entries; *link;) {
        struct listed *entry = *link;

        if (entry->presence == PRESENCE_OPEN) {
            *link = entry->next;
            entry->presence = PRESENCE_NONE;
        } else {
            link = &entry->next;
        }
    }
}

void partials_ref(struct partials *partials, struct listed *entry)
{
    scoped_lock(&partials->lock);
    entry->references++;
}

bool partials_put(struct partials *partials, struct listed *entry)
{
    scoped_lock(&partials->lock);

    if (--entry->references > 0)
        return false;
    if (entry->presence == PRESENCE_OPEN)
        entry->presence = PRESENCE_BUSY;
    return true;
}
