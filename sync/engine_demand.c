/* SPDX-License-Identifier: MIT */
/* Bytes that no refresh waits for. Why a reader can be told what is wrong: each end of a want for a
 * listed blob is written down here, whoever asked, and forgotten when the blob comes or is no
 * longer listed. Why prefetch is modest: it never has more than a few wants in line, and those only
 * run when nobody else wants something. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/partial.h"
#include "cache/scoped.h"
#include "sync/engine_private.h"

#define PREFETCH_MAX 32
#define LOOK_UP_EVERY 256
#define WHOLE_MAX ((uint64_t)8 << 20) /* blobs up to this size are verified before they are read */

/* --- where a blob comes from --- */

/* A row that shows older content than the server has is no good place to ask for it. */
static const struct tree_node *best_reference(const struct tree *tree, const struct tree_blob *blob)
{
    for (uint32_t i = 0; i < blob->references; i++) {
        const struct tree_node *node = tree_reference(tree, blob->first + i);

        if (!(tree_row(tree, node->row)->flags & TREE_ROW_KEPT))
            return node;
    }
    return tree_reference(tree, blob->first);
}

int engine_blob_urls(const struct engine *engine, const struct tree *tree,
                     const struct tree_blob *blob, const struct tree_row **ret_row,
                     char ***ret_urls)
{
    const struct tree_node *node = best_reference(tree, blob);
    const struct tree_row *row = tree_row(tree, node->row);
    enum tree_form form = tree_group_form(tree_group(tree, row->group));
    char path[TREE_PATH_MAX];
    const char *part = NULL;
    int r;

    if (row->flags & TREE_ROW_PARTS) {
        r = tree_path(tree, node, path, sizeof(path));
        if (r < 0)
            return r;
        part = path + strlen(row->path) + 1;
    }
    *ret_row = row;
    return source_urls(engine->conf.source, row, form, part, ret_urls);
}

/* --- what went wrong --- */

/* The caller holds the lock. */
static struct engine_problem *find_problem(const struct engine *engine, const struct blob_key *key)
{
    for (size_t i = 0; i < engine->problem_count; i++) {
        if (blob_key_equal(&engine->problems[i].key, key))
            return &engine->problems[i];
    }
    return NULL;
}

/* True if it was none before. The caller holds the lock. */
static bool add_problem(struct engine *engine, const struct blob_key *key,
                        const struct want_result *result)
{
    struct engine_problem *problem = find_problem(engine, key);
    bool news = !problem;

    if (!problem) {
        struct engine_problem *longer = reallocarray(engine->problems, engine->problem_count + 1,
                                                     sizeof(*engine->problems));

        if (!longer)
            return false;
        engine->problems = longer;
        problem = &longer[engine->problem_count++];
        *problem = (struct engine_problem){.key = *key, .since_unix = engine_unix_now()};
    }
    problem->other = result->other;
    snprintf(problem->message, sizeof(problem->message), "%s", result->message);
    return news;
}

void engine_note_blob(struct engine *engine, const struct blob_key *key,
                      const struct want_result *result)
{
    struct engine_problem *problem;

    scoped_lock(&engine->lock);
    if (result->error == -ECANCELED)
        return;
    if (result->error < 0) {
        bool news = add_problem(engine, key, result);

        engine->outdated |= news && result->error == -EBADMSG;
        return;
    }
    problem = find_problem(engine, key);
    if (problem)
        *problem = engine->problems[--engine->problem_count];
}

void engine_forget_problems(struct engine *engine, const struct tree *keep)
{
    size_t kept = 0;

    scoped_lock(&engine->lock);
    for (size_t i = 0; i < engine->problem_count; i++) {
        if (tree_blob_find(keep, &engine->problems[i].key))
            engine->problems[kept++] = engine->problems[i];
    }
    engine->problem_count = kept;
}

void engine_blob_error(struct engine *engine, const struct blob_key *key, char ret_text[static 160])
{
    const struct engine_problem *problem;

    scoped_lock(&engine->lock);
    problem = find_problem(engine, key);
    snprintf(ret_text, 160, "%s", problem ? problem->message : "");
}

size_t engine_problems(struct engine *engine, struct engine_problem *ret_problems, size_t max)
{
    scoped_lock(&engine->lock);
    if (max > engine->problem_count)
        max = engine->problem_count;
    if (max > 0)
        memcpy(ret_problems, engine->problems, max * sizeof(*ret_problems));
    return max;
}

/* --- wants for listed blobs --- */

/* What must be known when such a want has ended. */
struct note {
    struct engine *engine;
    struct blob_key key;
    bool prefetch;
    want_done done; /* NULL: nobody waits */
    void *arg;
};

/* The caller holds the lock. */
static void prefetch_ended(struct engine *engine, uint64_t bytes)
{
    engine->prefetching--;
    engine->prefetching_bytes -= bytes;
}

static void on_blob(void *arg, const struct want_result *result)
{
    struct note *note = arg;
    struct engine *engine = note->engine;

    engine_note_blob(engine, &note->key, result);
    {
        scoped_lock(&engine->lock);
        engine->unflushed |= result->resident && result->requests > 0;
        engine->stray |= !engine->tree || !tree_blob_find(engine->tree, &note->key);
        if (note->prefetch)
            prefetch_ended(engine, note->key.size);
        pthread_cond_broadcast(&engine->changed);
    }
    if (result->resident && engine->conf.arrived)
        engine->conf.arrived(engine->conf.arg, &note->key);
    if (note->done)
        note->done(note->arg, result);
    free(note);
}

/* What of a blob, and how urgently. */
struct wish {
    enum want_priority priority;
    uint64_t offset;
    uint64_t size; /* 0: all of it, verified */
    bool rest;
    want_done done;
    void *arg;
};

static int want_blob(struct engine *engine, const struct tree *tree, const struct tree_blob *blob,
                     const struct wish *wish)
{
    const struct tree_row *row;
    scoped_free char **urls = NULL;
    struct note *note;
    int r = engine_blob_urls(engine, tree, blob, &row, &urls);

    if (r < 0)
        return r;
    note = malloc(sizeof(*note));
    if (!note)
        return -ENOMEM;
    *note = (struct note){.engine = engine,
                          .key = blob->key,
                          .prefetch = wish->priority == WANT_PREFETCH,
                          .done = wish->done,
                          .arg = wish->arg};
    r = transfers_want(engine->transfers,
                       &(struct want){
                           .key = blob->key,
                           .limit = blob->key.size,
                           .form = tree_group_form(tree_group(tree, row->group)),
                           .offset = wish->offset,
                           .size = wish->size,
                           .rest = wish->rest,
                           .urls = (const char *const *)urls,
                           .priority = wish->priority,
                       },
                       on_blob, note);
    if (r < 0)
        free(note);
    return r;
}

/* The other process has verified what it says is resident. */
static void on_borrowed(void *arg, const struct want_result *result)
{
    const struct note *note = arg;

    if (result->resident)
        store_vouch(note->engine->conf.store, &note->key);
    on_blob(arg, result);
}

static int borrow_blob(struct engine *engine, const struct blob_key *key, const struct wish *wish)
{
    const struct borrow borrow = {
        .key = *key,
        .offset = wish->offset,
        .size = wish->size,
        .ahead = wish->priority != WANT_DEMAND,
        .rest = wish->rest,
    };
    struct note *note = malloc(sizeof(*note));
    int r;

    if (!note)
        return -ENOMEM;
    *note = (struct note){.engine = engine, .key = *key, .done = wish->done, .arg = wish->arg};
    r = engine->conf.borrow ? engine->conf.borrow(engine->conf.arg, &borrow, on_borrowed, note)
                            : -ECANCELED;
    if (r < 0)
        free(note);
    return r;
}

static int want_listed(struct engine *engine, const struct blob_key *key, const struct wish *wish)
{
    scoped(tree_unrefp) struct tree *tree = engine_generation(engine);
    const struct tree_blob *blob = tree ? tree_blob_find(tree, key) : NULL;

    if (!blob)
        return -ENOENT;
    if (engine_follows(engine))
        return borrow_blob(engine, key, wish);
    return engine->transfers ? want_blob(engine, tree, blob, wish) : -ECANCELED;
}

bool engine_may_read(const struct engine *engine, const struct blob_key *key)
{
    return engine->conf.verify == VERIFY_AUTO && key->kind == BLOB_MD5 && key->size > WHOLE_MAX;
}

int engine_want(struct engine *engine, const struct blob_key *key, uint64_t offset, uint64_t size,
                want_done done, void *arg)
{
    struct wish wish = {.priority = WANT_DEMAND, .done = done, .arg = arg};
    bool by_block = engine_may_read(engine, key);
    bool at_end = by_block && offset + size > key->size - PARTIAL_BLOCK;

    if (by_block) {
        wish.offset = offset;
        wish.size = size;
    }

    int r = want_listed(engine, key, &wish);

    if (r == 0 && at_end)
        engine_want_ahead(engine, key, 0, PARTIAL_BLOCK, false);
    return r;
}

void engine_want_ahead(struct engine *engine, const struct blob_key *key, uint64_t offset,
                       uint64_t size, bool rest)
{
    const struct wish wish = {.priority = WANT_AHEAD, .offset = offset, .size = size, .rest = rest};

    if (engine_may_read(engine, key))
        want_listed(engine, key, &wish);
}

/* --- prefetch --- */

/* One that has begun on the same tree goes on where it is. */
void engine_prefetch_from(struct engine *engine, struct tree *tree)
{
    if (tree && engine->prefetch_tree == tree)
        return;
    tree_unref(engine->prefetch_tree);
    engine->prefetch_tree = tree ? tree_ref(tree) : NULL;
    engine->prefetch_next = 0;
}

static bool prefetch_has_place(struct engine *engine, uint64_t bytes)
{
    scoped_lock(&engine->lock);
    if (engine->prefetching >= PREFETCH_MAX)
        return false;
    engine->prefetching++;
    engine->prefetching_bytes += bytes;
    return true;
}

/* Prefetch fills free room. It does not push out what somebody has read for what nobody has. */
static bool fits(struct engine *engine, uint64_t bytes)
{
    struct budget_facts facts;

    store_budget(engine->conf.store, &facts);
    {
        scoped_lock(&engine->lock);
        bytes += engine->prefetching_bytes;
    }
    return (facts.cache_size == 0 || facts.used + bytes <= facts.cache_size) &&
           facts.disk_free >= facts.min_free + bytes;
}

static bool is_worth_it(struct engine *engine, const struct tree_blob *blob)
{
    if (store_has(engine->conf.store, &blob->key))
        return false;
    return engine_is_pinned(engine, &blob->key) ||
           (engine->conf.prefetch == PREFETCH_ALL && fits(engine, blob->key.size));
}

/* A look at each of a million blobs takes a second or two; a refresh does not wait for that. */
void engine_prefetch_more(struct engine *engine)
{
    struct tree *tree = engine->prefetch_tree;

    while (tree && engine->prefetch_next < tree_blob_count(tree)) {
        const struct tree_blob *blob = tree_blob(tree, engine->prefetch_next);

        if (engine->prefetch_next % LOOK_UP_EVERY == 0 && engine_is_asked(engine))
            return;
        if (is_worth_it(engine, blob)) {
            if (!prefetch_has_place(engine, blob->key.size))
                return;
            if (want_blob(engine, tree, blob, &(struct wish){.priority = WANT_PREFETCH}) < 0) {
                scoped_lock(&engine->lock);
                prefetch_ended(engine, blob->key.size);
            }
        }
        engine->prefetch_next++;
    }
    engine_prefetch_from(engine, NULL);
}
