/* SPDX-License-Identifier: MIT */
/* schedules WHAT RUNS SEED [unlocked]: run WHAT in that many orders, those of SEED, SEED + 1... Half
 * of the orders are random, half are of PCT with depth 3. The first that fails ends it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/schedules.h"

#define DEPTH 3

static const struct {
    const char *name;
    void (*first)(void *arg);
} tries[] = {
    {"inodes", try_inodes},
    {"switch", try_switch},
};

int main(int argc, char **argv)
{
    void (*first)(void *arg) = NULL;

    if (argc < 4)
        return 2;
    for (size_t i = 0; i < COUNT(tries); i++)
        if (!strcmp(argv[1], tries[i].name))
            first = tries[i].first;
    if (!first)
        return 2;

    const unsigned long long runs = strtoull(argv[2], NULL, 10);
    const unsigned long long seed = strtoull(argv[3], NULL, 10);
    const bool unlocked = argc > 4;

    for (unsigned long long run = 0; run < runs; run++) {
        char replay[128];

        snprintf(replay, sizeof(replay), "%s %s 1 %llu%s", argv[0], argv[1], seed + run,
                 unlocked ? " unlocked" : "");
        schedule_run(&(struct schedule){.seed = seed + run,
                                        .depth = (seed + run) % 2 ? DEPTH : 0,
                                        .unlocked = unlocked,
                                        .replay = replay},
                     first, NULL);
    }

    const struct schedule_facts facts = schedule_facts();

    printf("{\"schedules\": %llu, \"orders\": %llu, \"switches\": %llu, \"steps\": %llu}\n",
           (unsigned long long)facts.schedules, (unsigned long long)facts.orders,
           (unsigned long long)facts.switches, (unsigned long long)facts.steps);
    return 0;
}
