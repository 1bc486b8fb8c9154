/* SPDX-License-Identifier: MIT */
/* life_store.c - the store as sync uses it, and in every other order that its headers allow. */
#include <errno.h>
#include <string.h>

#include "cache/budget.h"
#include "cache/partial.h"
#include "cache/scoped.h"
#include "cache/sweep.h"
#include "cache/writer.h"
#include "tests/crash/life.h"

struct life {
    struct world *world;
    struct store *store;
    uint64_t random;
};

static unsigned pick(struct life *life, unsigned below)
{
    return world_pick(&life->random, below);
}

/* Small ones mostly; a large one has two blocks, and takes its time. */
static int pick_content(struct life *life)
{
    if (pick(life, 20) == 0)
        return (int)pick(life, LARGE_CONTENTS);
    return LARGE_CONTENTS + (int)pick(life, CONTENTS - LARGE_CONTENTS);
}

static enum level *level_of(struct life *life, int index)
{
    return &life->world->promises->levels[index];
}

static void expect(struct life *life, int r, const char *what)
{
    if (r < 0)
        world_fail(life->world, "%s: %s", what, strerror(-r));
}

static void note_committed(struct life *life, int index)
{
    if (*level_of(life, index) == LEVEL_NONE)
        *level_of(life, index) = LEVEL_COMMITTED;
}

/* --- bytes in --- */

static void write_draft(struct life *life)
{
    const int index = pick_content(life);
    const struct content *content = &life->world->contents[index];
    struct writer *writer = NULL;
    int r = writer_begin(life->store, "draft", content->key.size, &writer);

    expect(life, r, "writer_begin");
    if (r < 0)
        return;
    if (pick(life, 6) == 0) {
        writer_write(writer, content->bytes, content->key.size / 2);
        r = writer_restart(writer);
    }
    for (uint64_t at = 0; r == 0 && at < content->key.size;) {
        uint64_t step = 1 + pick(life, (unsigned)content->key.size);

        step = step < content->key.size - at ? step : content->key.size - at;
        r = writer_write(writer, content->bytes + at, step);
        at += step;
    }
    if (r < 0 || pick(life, 8) == 0) {
        writer_abort(writer);
    } else {
        r = writer_commit(writer, &content->key, NULL);
        if (r == 0)
            note_committed(life, index);
    }
    expect(life, r, "a draft");
}

/* The bytes of a block that are missing, or some of them. */
static int write_block(struct life *life, struct partial *partial, const struct content *content,
                       uint32_t block)
{
    uint64_t start = block * PARTIAL_BLOCK;
    uint64_t left = content->key.size - start;
    uint64_t end = start + (left < PARTIAL_BLOCK ? left : PARTIAL_BLOCK);
    uint64_t at = start + partial_filled(partial, block);
    int r = 0;

    while (r == 0 && at < end) {
        uint64_t step = pick(life, 2) ? end - at : 1 + (end - at) / 2;

        r = pick(life, 2) ? partial_write(partial, at, content->bytes + at, step)
                          : partial_write_direct(partial, at, content->bytes + at, step);
        if (r == 0 && pick(life, 2))
            partial_hash(partial, at, content->bytes + at, step);
        at += step;
        if (pick(life, 8) == 0)
            return r;
    }
    return r;
}

static int end_partial(struct life *life, struct partial *partial, int index)
{
    int r;

    switch (pick(life, 10)) {
    case 0: partial_fail(partial); return 0;
    case 1: return partial_flush(partial);
    case 2: return 0; /* it is put aside */
    default: break;
    }
    do
        r = partial_commit(partial);
    while (r == -EINPROGRESS);
    if (r == 0)
        note_committed(life, index);
    return r == -EAGAIN ? 0 : r;
}

static void fill_partial(struct life *life)
{
    const int index = pick_content(life);
    const struct content *content = &life->world->contents[index];
    scoped(partial_putp) struct partial *partial = NULL;

    if (!content->has_md5)
        return;
    int r = partial_begin(life->store, &content->key, &partial);

    if (r == 0 && pick(life, 3) == 0)
        r = partial_set_tag(partial, "\"one\"");
    for (uint32_t n = r < 0 ? 0 : partial_blocks(partial); r == 0 && n > 0; n--) {
        uint32_t block = pick(life, 3) ? partial_blocks(partial) - n : n - 1;

        r = write_block(life, partial, content, block);
        if (r == -EINVAL) /* what was there was rotten: see partial.h */
            r = 0;
    }
    if (r == 0)
        r = end_partial(life, partial, index);
    expect(life, r, "a partial");
}

/* --- bytes out --- */

static void flush(struct life *life)
{
    int r = store_flush(life->store);

    expect(life, r, "store_flush");
    for (int i = 0; r == 0 && i < CONTENTS; i++)
        if (*level_of(life, i) == LEVEL_COMMITTED)
            *level_of(life, i) = LEVEL_DURABLE;
}

static void drop(struct life *life)
{
    const int index = pick_content(life);

    *level_of(life, index) = LEVEL_NONE;
    expect(life, store_drop(life->store, &life->world->contents[index].key), "store_drop");
}

static int compare_keys(const void *a, const void *b)
{
    return blob_key_compare(a, b);
}

static void sweep(struct life *life)
{
    struct blob_key keys[CONTENTS];
    size_t count = 0;

    for (int i = 0; i < CONTENTS; i++) {
        if (pick(life, 5) > 0)
            keys[count++] = life->world->contents[i].key;
        else
            *level_of(life, i) = LEVEL_NONE;
    }
    qsort(keys, count, sizeof(*keys), compare_keys);
    expect(life, store_sweep(life->store, &(struct store_keep){keys, count}, NULL), "store_sweep");
}

/* Those that are flushed are pinned, so that there is something to promise. */
static enum keep_class judge(void *arg, const struct blob_key *key)
{
    const struct life *life = arg;
    int index = world_find(life->world, key);

    return index >= 0 && life->world->promises->levels[index] == LEVEL_DURABLE ? KEEP_PINNED
                                                                               : KEEP_LISTED;
}

static void shrink(struct life *life)
{
    const struct budget budget = {.cache_size = 40000, .judge = judge, .arg = life};
    int r;

    for (int i = 0; i < CONTENTS; i++)
        if (*level_of(life, i) == LEVEL_COMMITTED)
            *level_of(life, i) = LEVEL_NONE;
    store_set_budget(life->store, &budget);
    r = store_recount(life->store);
    if (r == 0)
        r = store_shrink(life->store);
    store_set_budget(life->store, &(struct budget){.judge = NULL});
    expect(life, r == -ENOSPC ? 0 : r, "store_shrink");
}

static void reopen(struct life *life)
{
    store_close(life->store);
    life->store = NULL;
    expect(life, store_open(life->world->root, STORE_WRITER, &life->store), "store_open again");
}

void life_of_store(struct world *world, struct store *store, uint64_t seed)
{
    struct life life = {.world = world, .store = store, .random = seed};
    unsigned rounds = 6 + pick(&life, 10);

    for (unsigned i = 0; i < rounds && life.store && !*world_failure(world); i++) {
        switch (pick(&life, 16)) {
        case 0:
        case 1:
        case 2:
        case 3: write_draft(&life); break;
        case 4:
        case 5:
        case 6:
        case 7: fill_partial(&life); break;
        case 8:
        case 9:
        case 10: flush(&life); break;
        case 11: drop(&life); break;
        case 12: sweep(&life); break;
        case 13: shrink(&life); break;
        case 14: reopen(&life); break;
        default: expect(&life, store_save_trust(life.store), "store_save_trust"); break;
        }
    }
    store_close(life.store);
}
