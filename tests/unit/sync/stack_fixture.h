/* SPDX-License-Identifier: MIT */
/* stack_fixture.h - manifests and plans for tests, in few words.
 *
 * JSON is written with single quotes, so that it can be read inside C strings. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sync/manifest.h"
#include "sync/plan.h"

#define SERVER "https://agnes.example.com"
#define STATIC_STACK "https://stacks.example.com/team/manifest.json"

/* Digests that are easy to tell apart. */
#define MD5_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define MD5_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define MD5_C "cccccccccccccccccccccccccccccccc"

static inline int parse_at(const char *where, const char *text, size_t size,
                           struct manifest **ret_manifest, struct manifest_error *ret_error)
{
    struct source *source = NULL;
    int r;

    assert_int_equal(source_parse(where, &source), 0);
    r = manifest_parse(text, size, source, ret_manifest, ret_error);
    source_free(source);
    return r;
}

static inline struct manifest *parse(const char *quoted)
{
    struct manifest *manifest = NULL;
    struct manifest_error error = {""};
    char *text = strdup(quoted);

    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    if (parse_at(SERVER, text, strlen(text), &manifest, &error) < 0)
        fail_msg("%s\n%s", error.message, text);
    free(text);
    return manifest;
}

static inline struct blob_key md5_key(const char *hex, uint64_t size)
{
    struct blob_key key;

    assert_int_equal(blob_key_from_md5(hex, size, &key), 0);
    return key;
}

static inline struct blob_key bytes_key(const char *bytes)
{
    struct blob_key key;

    blob_key_of_bytes(bytes, strlen(bytes), &key);
    return key;
}

/* --- a world in which refreshes happen --- */

#define WORLD_NOW INT64_C(1800000000000000000)
#define WORLD_KEYS 4096

struct world {
    struct tree *last;
    struct manifest *manifest;
    struct plan *plan;
    struct blob_key resident[WORLD_KEYS];
    size_t resident_count;
    bool empty_confirmed[TREE_SECTIONS];
    int64_t now_ns;
    int64_t first_seen_ns; /* what first_seen answers */
    unsigned first_seen_asked;
    unsigned resident_asked;
    uint64_t generation;
};

static inline void world_open(struct world *world)
{
    *world = (struct world){.now_ns = WORLD_NOW, .first_seen_ns = WORLD_NOW - 1000000000};
}

static inline void world_close(struct world *world)
{
    plan_free(world->plan);
    manifest_free(world->manifest);
    tree_unref(world->last);
}

static inline bool world_has(void *arg, const struct blob_key *key)
{
    struct world *world = arg;

    world->resident_asked++;
    for (size_t i = 0; i < world->resident_count; i++)
        if (blob_key_equal(&world->resident[i], key))
            return true;
    return false;
}

static inline void world_add(struct world *world, struct blob_key key)
{
    assert_true(world->resident_count < WORLD_KEYS);
    world->resident[world->resident_count++] = key;
}

static inline void world_evict_all(struct world *world)
{
    world->resident_count = 0;
}

static inline int64_t world_first_seen(void *arg, const struct blob_key *key)
{
    struct world *world = arg;

    (void)key;
    world->first_seen_asked++;
    return world->first_seen_ns;
}

/* Parses and plans; returns the number of items. */
static inline size_t world_plan(struct world *world, const char *quoted)
{
    size_t count;

    plan_free(world->plan);
    manifest_free(world->manifest);
    world->plan = NULL;
    world->manifest = parse(quoted);

    struct plan_inputs inputs = {
        .manifest = world->manifest,
        .last = world->last,
        .resident = world_has,
        .first_seen = world_first_seen,
        .arg = world,
        .now_ns = world->now_ns,
    };

    memcpy(inputs.empty_confirmed, world->empty_confirmed, sizeof(inputs.empty_confirmed));
    world->resident_asked = 0;
    assert_int_equal(plan_make(&inputs, &world->plan), 0);
    plan_items(world->plan, &count);
    return count;
}

static inline void world_done(struct world *world, size_t item, struct blob_key key)
{
    size_t count;
    struct plan_item *items = plan_items(world->plan, &count);

    assert_true(item < count);
    items[item].outcome = PLAN_DONE;
    items[item].fetched = true;
    items[item].key = key;
    world_add(world, key);
}

static inline void world_failed(struct world *world, size_t item)
{
    size_t count;
    struct plan_item *items = plan_items(world->plan, &count);

    assert_true(item < count);
    items[item].outcome = PLAN_FAILED;
    items[item].error = -ETIMEDOUT;
    snprintf(items[item].message, sizeof(items[item].message), "no answer");
}

/* True if there is a new generation. *ret_before keeps the last one, if the caller wants it. */
static inline bool world_publish(struct world *world, struct tree **ret_before)
{
    struct tree *before = world->last;
    struct tree *tree = NULL;
    bool changed;

    assert_int_equal(plan_tree(world->plan, ++world->generation, NULL, NULL, &tree), 0);
    changed = tree != before;
    world->last = tree;
    if (ret_before)
        *ret_before = before;
    else
        tree_unref(before);
    return changed;
}
