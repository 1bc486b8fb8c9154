/* SPDX-License-Identifier: MIT */
#include "tests/crash/life.h"

#include <string.h>

void life_live(struct world *world, enum life_kind kind, uint64_t seed, enum level level)
{
    struct store *store = NULL;
    int r = store_open(world->root, STORE_WRITER, &store);

    if (r < 0) {
        world_fail(world, "the cache does not open: %s", strerror(-r));
        return;
    }
    world_check(world, store, level, kind == LIFE_SYNC);
    if (kind == LIFE_SYNC)
        life_of_sync(world, store, seed);
    else
        life_of_store(world, store, seed);
}
