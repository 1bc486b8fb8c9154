/* SPDX-License-Identifier: MIT */
/* death.h - lives that end at a point, one after the other on the same cache, and what is printed.
 *
 *     death_options -> { world_make -> death_run... -> world_free }... -> death_report
 *
 * A program of these prints one JSON object: what it was asked, how many points it hit and which, and
 * the first failure with the command that repeats it. Exit: 0 nothing was found, 1 something was, 2
 * usage. */
#pragma once

#include <stdio.h>

#include "tests/crash/life.h"
#include "tests/crash/points.h"

enum { LIVES = 60 }; /* on one cache; then another world begins */

struct death {
    const char *program;
    const char *dir; /* work goes on below it; ours alone */
    enum life_kind kind;
    unsigned wanted; /* points */
    uint64_t seed;
    uint64_t first; /* history to begin with */
    struct points *points;
    unsigned estimate; /* how many calls a life makes */
    unsigned hit;
    unsigned armed; /* those of them that could break a promise */
    unsigned lives;
};

/* PROGRAM DIR store|sync POINTS SEED [--lie no-sync|in-place|torn] [--history N] */
void death_options(struct death *death, int argc, char **argv);

enum how { HOW_DIED, HOW_ENDED, HOW_FAILED };

/* Forks one life, to end at a random point. cut as in points.h. */
enum how death_run(struct death *death, struct world *world, uint64_t *random, enum level level,
                   void (*cut)(void *arg), void *arg);

/* Removes what is in the folder. */
void death_clear(const char *path);

/* Returns the exit code. history: where the failure was found. */
int death_report(const struct death *death, const char *failure, uint64_t history);
