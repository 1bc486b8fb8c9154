/* SPDX-License-Identifier: MIT */
/* kill_points.c - kill -9 at system calls of store, state and sync, over and over on one cache.
 *
 * After each death a reader looks at what is left, and changes nothing by it; so the next life has to
 * recover from that very state, and may be killed while it does. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/crash/death.h"

static void look(struct death *death, struct world *world)
{
    struct store *store = NULL;

    world_look_at_files(world);
    int r = store_open(world->root, STORE_READER, &store);

    if (r == 0)
        world_check(world, store, LEVEL_COMMITTED, death->kind == LIFE_SYNC);
    else if (r != -ENOENT || world->promises->shown >= 0)
        world_fail(world, "a reader can not open the cache: %s", strerror(-r));
    store_close(store);
}

static void run_history(struct death *death, struct world *world, uint64_t seed)
{
    for (int i = 0; i < LIVES && death->hit < death->wanted; i++) {
        if (world->promises->shown == VERSIONS - 1)
            break;
        if (death_run(death, world, &seed, LEVEL_COMMITTED, NULL, NULL) == HOW_DIED)
            look(death, world);
        if (*world_failure(world))
            break;
    }
}

int main(int argc, char **argv)
{
    struct death death;
    char failure[512] = "";
    uint64_t history;

    death_options(&death, argc, argv);
    for (history = death.first; !*failure && death.hit < death.wanted; history++) {
        uint64_t seed = death.seed * 1000003 + history;
        struct world *world;

        death_clear(death.dir);
        world = world_make(death.dir, death.dir, seed);
        run_history(&death, world, seed);
        snprintf(failure, sizeof(failure), "%s", world_failure(world));
        world_free(world);
    }
    return death_report(&death, *failure ? failure : NULL, history - 1);
}
