/* SPDX-License-Identifier: MIT */
/* claims.c - a list, because there are as many entries as there are transfers at this moment.
 *
 * A waiter looks again from the start after every wake-up: the entry it waited for may have been
 * replaced by another one for the same word, of either kind. */
#include "cache/claims.h"

#include <errno.h>
#include <string.h>

struct entry {
    struct entry *next;
    enum claim_kind kind;
    char word[];
};

struct claims {
    pthread_mutex_t lock; /* guards entries */
    pthread_cond_t released;
    struct entry *entries;
};

int claims_new(struct claims **ret_claims)
{
    struct claims *claims = calloc(1, sizeof(*claims));

    if (!claims)
        return -ENOMEM;
    pthread_mutex_init(&claims->lock, NULL);
    pthread_cond_init(&claims->released, NULL);
    *ret_claims = claims;
    return 0;
}

void claims_free(struct claims *claims)
{
    if (!claims)
        return;
    while (claims->entries) {
        struct entry *entry = claims->entries;

        claims->entries = entry->next;
        free(entry);
    }
    pthread_cond_destroy(&claims->released);
    pthread_mutex_destroy(&claims->lock);
    free(claims);
}

/* The link that points to the word's entry, or to NULL at the end. Lock held. */
static struct entry **find(struct claims *claims, const char *word)
{
    struct entry **link = &claims->entries;

    while (*link && strcmp((*link)->word, word) != 0)
        link = &(*link)->next;
    return link;
}

int claims_take(struct claims *claims, const char *word, enum claim_kind kind)
{
    size_t size = strlen(word) + 1;
    struct entry *mine = malloc(sizeof(*mine) + size);

    if (!mine)
        return -ENOMEM;
    mine->next = NULL;
    mine->kind = kind;
    memcpy(mine->word, word, size);

    scoped_lock(&claims->lock);
    for (;;) {
        struct entry **link = find(claims, word);

        if (!*link) {
            *link = mine;
            return 0;
        }
        if ((*link)->kind == CLAIM_LONG) {
            free(mine);
            return -EBUSY;
        }
        pthread_cond_wait(&claims->released, &claims->lock);
    }
}

bool claims_has(struct claims *claims, const char *word)
{
    scoped_lock(&claims->lock);
    return *find(claims, word) != NULL;
}

void claims_release(struct claims *claims, const char *word)
{
    scoped_lock(&claims->lock);

    struct entry **link = find(claims, word);
    struct entry *entry = *link;

    if (!entry)
        return;
    *link = entry->next;
    free(entry);
    pthread_cond_broadcast(&claims->released);
}
