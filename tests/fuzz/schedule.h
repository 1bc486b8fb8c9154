/* SPDX-License-Identifier: MIT */
/* schedule.h - threads that run one at a time, in an order that a seed decides.
 *
 *     schedule_run(&(struct schedule){.seed = 7, .depth = 3, .steps = 1000}, first, arg)
 *         runs first(arg) and all the threads that come of it, to their end
 *     schedule_spawn(run, arg)        one more thread
 *     schedule_step()                 somebody else may go on here
 *
 * The program under test is linked with --wrap for its pthread functions, so that its threads, locks
 * and conditions are of this scheduler, and compiled with -fsanitize-coverage=trace-pc, so that each
 * of its basic blocks is a step. Code that is not, the test's own, runs undisturbed between steps.
 *
 * Two kinds of order. depth 0: at each step, with a chance that the seed decides, any thread goes on.
 * depth d > 0: as PCT has it (Burckhardt and others, ASPLOS 2010): threads have random priorities, the
 * highest goes on, and at d - 1 random steps the one that runs becomes the lowest. That finds a defect
 * which takes d events in one order with a chance of at least 1 / (threads * steps ^ (d - 1)).
 *
 * Time stands still while a thread can run; when none can, it is as late as the first of those that
 * wait for a moment wants it to be. That none can and none waits for a moment is a deadlock, and
 * fails.
 *
 * Whatever fails prints the seed, and ends the process with 1. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct schedule {
    uint64_t seed;
    unsigned depth;
    uint64_t steps;     /* how many it will be, about: among them are the d - 1 */
    bool unlocked;      /* the program's mutexes keep nobody out: for the test of the tests */
    const char *replay; /* what to run to see this schedule again */
};

void schedule_run(const struct schedule *schedule, void (*first)(void *arg), void *arg);

/* All below: only inside of it. */

void schedule_spawn(void (*run)(void *arg), void *arg);
void schedule_step(void);

/* Below limit. */
uint64_t schedule_random(uint64_t limit);

/* No steps of the calling thread from now on, or steps again: what is the test's own business, and
 * what the first schedule alone does, which would make it another one than when it is repeated. */
void schedule_hush(bool hush);

/* Goes on when all the others are done or wait. */
void schedule_settle(void);

/* Sleeps until somebody wakes those who wait for this address. */
void schedule_wait(const void *address);
void schedule_wake(const void *address);

/* The same, but no longer than until then, by the schedule's own clock. */
void schedule_wait_until(const void *address, int64_t until_ns);
int64_t schedule_now_ns(void);

/* The test's own locks; they hold in unlocked schedules too. */
void schedule_lock(const void *lock);
void schedule_unlock(const void *lock);

_Noreturn void schedule_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define schedule_check(condition)                                                                  \
    ((condition) ? (void)0 : schedule_fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition))

struct schedule_facts {
    uint64_t schedules;
    uint64_t steps;
    uint64_t switches; /* of a thread that could have gone on */
    uint64_t orders;   /* different ones, as far as 64 bits tell */
};

struct schedule_facts schedule_facts(void);
