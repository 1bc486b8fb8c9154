/* SPDX-License-Identifier: MIT */
/* power_cut.c - the machine loses power at system calls of store, state and sync.
 *
 * Between two cuts the program that starts next looks at what is left; every second time that is the
 * next life itself, so that recoveries are cut too. */
#include <string.h>
#include <sys/stat.h>

#include "tests/crash/death.h"
#include "tests/crash/disk.h"

#define IMAGE_SIZE ((size_t)24 << 20)

static void on_cut(void *arg)
{
    disk_cut(arg);
}

static void look(struct death *death, struct world *world)
{
    struct store *store = NULL;
    int r = store_open(world->root, STORE_WRITER, &store);

    if (r == 0)
        world_check(world, store, LEVEL_DURABLE, death->kind == LIFE_SYNC);
    else
        world_fail(world, "the cache does not open: %s", strerror(-r));
    store_close(store);
}

static void run_history(struct death *death, struct disk *disk, struct world *world, uint64_t seed)
{
    for (int i = 0; i < LIVES && death->hit < death->wanted; i++) {
        if (world->promises->shown == VERSIONS - 1)
            break;
        enum how how = death_run(death, world, &seed, LEVEL_DURABLE, on_cut, disk);

        if (how == HOW_DIED) {
            disk_restart(disk);
            world_look_at_files(world);
            if (world_pick(&seed, 2))
                look(death, world);
        }
        if (*world_failure(world))
            break;
    }
}

int main(int argc, char **argv)
{
    struct disk disk;
    struct death death;
    char mountpoint[256];
    char failure[512] = "";
    uint64_t history;

    death_options(&death, argc, argv);
    snprintf(mountpoint, sizeof(mountpoint), "%s/disk", death.dir);
    disk_make(&disk, mountpoint, IMAGE_SIZE);
    for (history = death.first; !*failure && death.hit < death.wanted; history++) {
        uint64_t seed = death.seed * 1000003 + history;
        struct world *world;

        death_clear(mountpoint);
        disk_settle(&disk);
        world = world_make(mountpoint, death.dir, seed);
        run_history(&death, &disk, world, seed);
        snprintf(failure, sizeof(failure), "%s", world_failure(world));
        world_free(world);
    }
    disk_end(&disk);
    return death_report(&death, *failure ? failure : NULL, history - 1);
}
