/* SPDX-License-Identifier: MIT */
/* Bytes that no refresh waits for. Why a reader can be told what is wrong: each end of a want for a
 * listed blob is written down here, whoever asked, and forgotten when the blob comes or is no
 * longer listed. Why prefetch is modest: it never has more than a few wants in line, and those only
 * run when nobody else wants something. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"

#define PREFETCH_MAX 32

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
    bool bundle = tree_group(tree, row->group)->section == TREE_MEMORY;
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
    return source_urls(engine->conf.source, row, bundle, part, ret_urls);
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

static void add_problem(struct engine *engine, const struct blob_key *key, const char *message)
{
    struct engine_problem *problem = find_problem(engine, key);

    if (!problem) {
        struct engine_problem *longer = reallocarray(engine->problems, engine->problem_count + 1,
                                                     sizeof(*engine->problems));

        if (!longer)
            return;
        engine->problems = longer;
        problem = &longer[engine->problem_count++];
        *problem = (struct engine_problem){.key = *key, .since_unix = engine_unix_now()};
    }
    snprintf(problem->message, sizeof(problem->message), "%s", message);
}

void engine_note_blob(struct engine *engine, const struct blob_key *key,
                      const struct want_result *result)
{
    struct engine_problem *problem;

    scoped_lock(&engine->lock);
    if (result->error == -ECANCELED)
        return;
    if (result->error < 0) {
        add_problem(engine, key, result->message);
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
    want_done done; /* NULL: a prefetch */
    void *arg;
};

static void on_blob(void *arg, const struct want_result *result)
{
    struct note *note = arg;
    struct engine *engine = note->engine;

    engine_note_blob(engine, &note->key, result);
    {
        scoped_lock(&engine->lock);
        if (result->error == 0 && result->requests > 0) {
            engine->unflushed = true;
            engine->stray |= !engine->tree || !tree_blob_find(engine->tree, &note->key);
        }
        if (!note->done)
            engine->prefetching--;
        pthread_cond_broadcast(&engine->changed);
    }
    if (note->done)
        note->done(note->arg, result);
    free(note);
}

static int want_blob(struct engine *engine, const struct tree *tree, const struct tree_blob *blob,
                     want_done done, void *arg)
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
    *note = (struct note){.engine = engine, .key = blob->key, .done = done, .arg = arg};
    r = transfers_want(engine->transfers,
                       &(struct want){
                           .key = blob->key,
                           .limit = blob->key.size,
                           .bundle = tree_group(tree, row->group)->section == TREE_MEMORY,
                           .urls = (const char *const *)urls,
                           .priority = done ? WANT_DEMAND : WANT_PREFETCH,
                       },
                       on_blob, note);
    if (r < 0)
        free(note);
    return r;
}

int engine_want(struct engine *engine, const struct blob_key *key, want_done done, void *arg)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(engine);
    const struct tree_blob *blob = tree ? tree_blob_find(tree, key) : NULL;

    if (!blob)
        return -ENOENT;
    return engine->transfers ? want_blob(engine, tree, blob, done, arg) : -ECANCELED;
}

/* --- prefetch --- */

void engine_prefetch_from(struct engine *engine, struct tree *tree)
{
    tree_unref(engine->prefetch_tree);
    engine->prefetch_tree = tree ? tree_ref(tree) : NULL;
    engine->prefetch_next = 0;
}

static bool prefetch_has_room(struct engine *engine)
{
    scoped_lock(&engine->lock);
    if (engine->prefetching >= PREFETCH_MAX)
        return false;
    engine->prefetching++;
    return true;
}

void engine_prefetch_more(struct engine *engine)
{
    struct tree *tree = engine->prefetch_tree;

    while (tree && engine->prefetch_next < tree_blob_count(tree)) {
        const struct tree_blob *blob = tree_blob(tree, engine->prefetch_next);

        if (!store_has(engine->conf.store, &blob->key)) {
            if (!prefetch_has_room(engine))
                return;
            if (want_blob(engine, tree, blob, NULL, NULL) < 0) {
                scoped_lock(&engine->lock);
                engine->prefetching--;
            }
        }
        engine->prefetch_next++;
    }
    engine_prefetch_from(engine, NULL);
}
