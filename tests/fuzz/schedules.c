/* SPDX-License-Identifier: MIT */
/* schedules WHAT RUNS SEED [unlocked|apart]: run WHAT in that many orders, those of SEED, SEED + 1...
 * Half of the orders are random, half are of PCT with depth 3. The first that fails ends it. The last
 * word breaks something: locks, or the look-up of flights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/schedules.h"

#define DEPTH 3

static const struct {
    const char *name;
    void (*first)(void *arg);
    uint64_t steps;
} tries[] = {
    {"inodes", try_inodes, 100000},
    {"switch", try_switch, 86000},
    {"flight", try_flight, 20000},
};

int main(int argc, char **argv)
{
    size_t which = 0;

    if (argc < 4)
        return 2;
    while (which < COUNT(tries) && strcmp(argv[1], tries[which].name))
        which++;
    if (which == COUNT(tries))
        return 2;

    const unsigned long long runs = strtoull(argv[2], NULL, 10);
    const unsigned long long seed = strtoull(argv[3], NULL, 10);
    const char *broken = argc > 4 ? argv[4] : "";

    flight_apart = !strcmp(broken, "apart");
    for (unsigned long long run = 0; run < runs; run++) {
        char replay[128];

        snprintf(replay, sizeof(replay), "%s %s 1 %llu %s", argv[0], argv[1], seed + run, broken);
        schedule_run(&(struct schedule){.seed = seed + run,
                                        .depth = (seed + run) % 2 ? DEPTH : 0,
                                        .steps = tries[which].steps,
                                        .unlocked = !strcmp(broken, "unlocked"),
                                        .replay = replay},
                     tries[which].first, NULL);
    }

    const struct schedule_facts facts = schedule_facts();

    printf("{\"schedules\": %llu, \"orders\": %llu, \"switches\": %llu, \"steps\": %llu}\n",
           (unsigned long long)facts.schedules, (unsigned long long)facts.orders,
           (unsigned long long)facts.switches, (unsigned long long)facts.steps);
    return 0;
}
