/* SPDX-License-Identifier: MIT */
/* Bytes that a refresh waits for: what must be here before it publishes, and, if asked, all the
 * rest after it. Why it always ends: every want ends (transfer.h), and this thread waits for
 * nothing but wants. Errands live on this thread's heap until all of them have come back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"

#define OUTSTANDING_MAX 64

/* One want, and what came of it. */
struct errand {
    struct errands *all;
    struct want_result result;
};

struct errands {
    struct engine *engine;
    struct errand *errands;
    size_t running; /* engine's lock */
};

static int errands_make(struct engine *engine, size_t count, struct errands *ret_errands)
{
    *ret_errands = (struct errands){.engine = engine};
    ret_errands->errands = calloc(count + 1, sizeof(struct errand));
    return ret_errands->errands ? 0 : -ENOMEM;
}

static void errands_release(struct errands *errands)
{
    free(errands->errands);
}

static void on_errand(void *arg, const struct want_result *result)
{
    struct errand *errand = arg;
    struct engine *engine = errand->all->engine;

    scoped_lock(&engine->lock);
    errand->result = *result;
    errand->all->running--;
    engine->status.files_done++;
    pthread_cond_broadcast(&engine->changed);
}

static void errands_wait(struct errands *errands, size_t most)
{
    scoped_lock(&errands->engine->lock);
    while (errands->running > most)
        pthread_cond_wait(&errands->engine->changed, &errands->engine->lock);
}

/* Waits until there is room; a want that is refused has ended. */
static void errand_send(struct errands *errands, size_t index, const struct want *want)
{
    struct errand *errand = &errands->errands[index];
    struct want_result refused = {.error = 0};

    errand->all = errands;
    errands_wait(errands, OUTSTANDING_MAX - 1);
    {
        scoped_lock(&errands->engine->lock);
        errands->running++;
    }
    refused.error = transfers_want(errands->engine->transfers, want, on_errand, errand);
    if (refused.error == 0)
        return;
    snprintf(refused.message, sizeof(refused.message), "%s",
             refused.error == -ECANCELED ? "stopped" : "no memory");
    on_errand(errand, &refused);
}

/* It has ended before it began. */
static void errand_settle(struct errands *errands, size_t index, const struct want_result *result)
{
    errands->errands[index].all = errands;
    {
        scoped_lock(&errands->engine->lock);
        errands->running++;
    }
    on_errand(&errands->errands[index], result);
}

static void errand_fail(struct errands *errands, size_t index, int error)
{
    struct want_result result = {.error = error};

    snprintf(result.message, sizeof(result.message), "%s",
             error == -EACCES ? "its URL points to another origin" : "it has no usable URL");
    errand_settle(errands, index, &result);
}

/* Bytes that were seen to be wrong a moment ago are not fetched to see it again. */
static bool errand_is_known(const struct refresh *refresh, struct errands *errands, size_t index,
                            const struct blob_key *key)
{
    const struct refutation *known = refresh_refutation(refresh, key);

    if (!known || !known->now)
        return false;
    errand_settle(errands, index, &known->result);
    return true;
}

static void note_cost(struct refresh *refresh, const struct want_result *result)
{
    bool came = result->error == 0 && result->requests > 0;

    refresh->report->requests += result->requests;
    refresh->report->fetched += came;
    refresh->report->signed_fetched += came && result->by_signed;
}

/* --- before publishing --- */

static void stage_item(struct refresh *refresh, struct errands *errands, size_t index,
                       const struct plan_item *item, const struct blob_key *key)
{
    const struct manifest_row *row = item->row;
    scoped_free char **urls = NULL;
    int r = source_urls(refresh->engine->conf.source, &row->row, row->form, item->file->part,
                        &urls);

    if (r < 0) {
        errand_fail(errands, index, r);
        return;
    }
    errand_send(errands, index,
                &(struct want){
                    .key = *key,
                    .md5 = tree_form_is_text(row->form) ? "" : row->row.md5,
                    .limit = item->file->size_limit,
                    .exact = item->file->sized,
                    .form = row->form,
                    .urls = (const char *const *)urls,
                    .priority = WANT_STAGE,
                });
}

/* What the server vouches for in the place of what its manifest promised. */
static void stage_others(struct refresh *refresh, struct errands *errands,
                         const struct plan_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct want_result *result = &errands->errands[i].result;
        const struct blob_key other = result->other;

        refresh_note_bytes(refresh, &items[i].file->key, result);
        if (result->error != -EBADMSG || other.kind == BLOB_NONE)
            continue;
        note_cost(refresh, result);
        {
            scoped_lock(&errands->engine->lock);
            errands->engine->status.files_total++;
        }
        stage_item(refresh, errands, i, &items[i], &other);
    }
    errands_wait(errands, 0);
}

static void settle_item(struct plan_item *item, const struct want_result *result)
{
    item->outcome = result->error == 0 ? PLAN_DONE : PLAN_FAILED;
    item->fetched = result->requests > 0;
    item->error = result->error;
    if (result->error == 0)
        item->key = result->key;
    memcpy(item->message, result->message, sizeof(item->message));
}

int refresh_stage(struct refresh *refresh)
{
    scoped(errands_release) struct errands errands;
    size_t count;
    struct plan_item *items = plan_items(refresh->plan, &count);
    uint64_t bytes = 0;

    if (errands_make(refresh->engine, count, &errands) < 0)
        return refresh_fail(refresh, -ENOMEM, "no memory");
    for (size_t i = 0; i < count; i++)
        bytes += items[i].file->key.size;
    engine_progress_begin(refresh->engine, count, bytes);
    for (size_t i = 0; i < count; i++) {
        if (!errand_is_known(refresh, &errands, i, &items[i].file->key))
            stage_item(refresh, &errands, i, &items[i], &items[i].file->key);
    }
    errands_wait(&errands, 0);
    stage_others(refresh, &errands, items, count);
    for (size_t i = 0; i < count; i++) {
        settle_item(&items[i], &errands.errands[i].result);
        note_cost(refresh, &errands.errands[i].result);
        if (items[i].error == -ECANCELED)
            return refresh_fail(refresh, -ECANCELED, "stopped");
    }
    return 0;
}

/* --- after it --- */

static void fill_blob(struct refresh *refresh, struct errands *errands, size_t index,
                      const struct tree *tree, const struct tree_blob *blob)
{
    const struct tree_row *row;
    scoped_free char **urls = NULL;
    int r = engine_blob_urls(refresh->engine, tree, blob, &row, &urls);

    if (r < 0) {
        errand_fail(errands, index, r);
        return;
    }
    errand_send(errands, index,
                &(struct want){
                    .key = blob->key,
                    .limit = blob->key.size,
                    .form = tree_group_form(tree_group(tree, row->group)),
                    .urls = (const char *const *)urls,
                    .priority = WANT_STAGE,
                });
}

/* A blob's failure is told under the first name that refers to it. */
static void settle_blob(struct refresh *refresh, const struct tree *tree,
                        const struct tree_blob *blob, const struct want_result *result)
{
    const struct tree_row *row = tree_row(tree, tree_reference(tree, blob->first)->row);
    const struct tree_group *group = tree_group(tree, row->group);

    note_cost(refresh, result);
    refresh->report->sections[group->section].bytes += result->bytes;
    engine_note_blob(refresh->engine, &blob->key, result);
    refresh_note_bytes(refresh, &blob->key, result);
    if (result->error < 0)
        report_add_error(refresh->report, group->section,
                         tree_section(group->section)->group_key ? group->slug : "", row->name,
                         result->error, result->message);
}

int refresh_fill(struct refresh *refresh)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(refresh->engine); /* what is shown now */
    size_t blobs = tree_blob_count(tree);
    scoped_free uint32_t *cold = calloc(blobs + 1, sizeof(*cold));
    scoped(errands_release) struct errands errands;
    uint64_t bytes = 0;
    size_t count = 0;

    if (errands_make(refresh->engine, blobs, &errands) < 0 || !cold)
        return refresh_fail(refresh, -ENOMEM, "no memory");
    for (uint32_t i = 0; i < blobs; i++) {
        const struct blob_key *key = &tree_blob(tree, i)->key;

        if (store_has(refresh->engine->conf.store, key) ||
            (!(refresh->flags & REFRESH_FILL) && !engine_is_pinned(refresh->engine, key)))
            continue;
        bytes += tree_blob(tree, i)->key.size;
        cold[count++] = i;
    }
    engine_progress_begin(refresh->engine, count, bytes);
    for (size_t i = 0; i < count; i++) {
        const struct tree_blob *blob = tree_blob(tree, cold[i]);

        if (!errand_is_known(refresh, &errands, i, &blob->key))
            fill_blob(refresh, &errands, i, tree, blob);
    }
    errands_wait(&errands, 0);
    for (size_t i = 0; i < count; i++)
        settle_blob(refresh, tree, tree_blob(tree, cold[i]), &errands.errands[i].result);
    if (count == 0)
        return 0;
    store_flush(refresh->engine->conf.store);
    store_save_trust(refresh->engine->conf.store);
    return 0;
}
