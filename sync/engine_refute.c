/* SPDX-License-Identifier: MIT */
/* The manifest and the bytes disagree: a table was published after the manifest was made (contract
 * B28). Why that harms nothing: other bytes are never anybody's content, what was there before stays.
 * Why they are taken up soon: whoever refreshes reads the manifest once more, and a mount does so
 * within a minute when a reader meets them. Where the server itself vouches for what it has instead
 * (the digest that comes with a part), its word on the bytes counts more than its list.
 *
 * Why it ends: a second manifest is read once a refresh, and what has been seen to be wrong is not
 * asked for again in it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"

static int by_key(const void *a, const void *b)
{
    const struct refutation *one = a, *other = b;

    return blob_key_compare(&one->key, &other->key);
}

static int by_key_news_first(const void *a, const void *b)
{
    const struct refutation *one = a, *other = b;
    int r = by_key(a, b);

    return r ? r : (int)other->now - (int)one->now;
}

/* Of one key the newest word counts. */
static void sort(struct refutations *refutations)
{
    struct refutation *list = refutations->list;
    size_t kept = 0;

    if (refutations->count > 0)
        qsort(list, refutations->count, sizeof(*list), by_key_news_first);
    for (size_t i = 0; i < refutations->count; i++) {
        if (i == 0 || by_key(&list[kept - 1], &list[i]) != 0)
            list[kept++] = list[i];
    }
    refutations->count = refutations->sorted = kept;
}

int refresh_recall_refutations(struct refresh *refresh)
{
    struct engine *engine = refresh->engine;
    struct refutations *refutations = &refresh->refutations;

    {
        scoped_lock(&engine->lock);
        refutations->list = calloc(engine->problem_count + 1, sizeof(*refutations->list));
        for (size_t i = 0; refutations->list && i < engine->problem_count; i++) {
            const struct engine_problem *problem = &engine->problems[i];

            if (problem->other.kind != BLOB_NONE)
                refutations->list[refutations->count++] =
                    (struct refutation){.key = problem->key, .result = {.other = problem->other}};
        }
        engine->outdated = false;
    }
    sort(refutations);
    return refutations->list ? 0 : -ENOMEM;
}

/* Without memory it is forgotten: then it is asked for again. */
void refresh_note_bytes(struct refresh *refresh, const struct blob_key *key,
                        const struct want_result *result)
{
    struct refutations *refutations = &refresh->refutations;
    struct refutation *longer;

    if (result->error != -EBADMSG || key->kind == BLOB_NONE)
        return;
    longer = reallocarray(refutations->list, refutations->count + 1, sizeof(*longer));
    if (!longer)
        return;
    refutations->list = longer;
    longer[refutations->count++] = (struct refutation){.key = *key, .now = true, .result = *result};
}

const struct refutation *refresh_refutation(const struct refresh *refresh,
                                            const struct blob_key *key)
{
    const struct refutations *refutations = &refresh->refutations;
    const struct refutation wanted = {.key = *key};

    return bsearch(&wanted, refutations->list, refutations->sorted, sizeof(wanted), by_key);
}

bool refresh_was_refuted(const struct refresh *refresh)
{
    return refresh->refutations.count > refresh->refutations.sorted;
}

void refresh_hand_on(struct refresh *refresh, struct refresh *next)
{
    refutations_release(&next->refutations);
    next->refutations = refresh->refutations;
    refresh->refutations = (struct refutations){.count = 0};
    sort(&next->refutations);
    tree_unref(next->before);
    next->before = refresh->before ? tree_ref(refresh->before) : NULL;
}

void refutations_release(struct refutations *refutations)
{
    free(refutations->list);
    *refutations = (struct refutations){.count = 0};
}
