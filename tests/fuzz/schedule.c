/* SPDX-License-Identifier: MIT */
/* Each thread is a fiber with a stack of its own; the scheduler runs on the process's stack, and
 * whoever is not to go on goes back to it. AddressSanitizer is told of each change of stacks. */
#include "tests/fuzz/schedule.h"

#include <errno.h>
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define FIBERS_MAX 32
#define LOCKS_MAX 64
#define POINTS_MAX 8
#define STACK_SIZE (256 << 10)
#define STEPS_MAX 5000000
#define NEVER INT64_MAX
#define ORDERS (1 << 17)

enum state {
    FREE,
    RUNNABLE,
    BLOCKED,
    DONE,
};

struct fiber {
    ucontext_t context;
    char *stack;
    void *fake_stack;
    enum state state;
    const void *waits_for;
    int64_t wake_at; /* NEVER unless it waits for a moment */
    bool settles;
    bool hushed;
    uint64_t priority;
    void (*run)(void *arg);
    void *(*start)(void *arg); /* of pthread_create, instead of run */
    void *arg;
};

struct held {
    const void *lock;
    const struct fiber *owner;
};

static struct schedule how;
static struct fiber fibers[FIBERS_MAX];
static unsigned fiber_count;
static struct fiber *current; /* NULL: nothing runs in a schedule */
static struct held held[LOCKS_MAX];
static ucontext_t home;
static void *home_fake;
static const void *home_stack;
static size_t home_size;
static uint64_t dice;
static uint64_t steps, points[POINTS_MAX], chance, order;
static bool news; /* somebody became runnable since it was last decided who goes on */
static int64_t now_ns;
static struct schedule_facts facts;
static uint64_t orders[ORDERS];

/* --- chance --- */

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

uint64_t schedule_random(uint64_t limit)
{
    dice = mix(dice);
    return dice % limit;
}

static void note_order(void)
{
    for (size_t i = order % ORDERS;; i = (i + 1) % ORDERS) {
        if (orders[i] == order || facts.orders >= ORDERS / 2)
            return;
        if (orders[i] == 0) {
            orders[i] = order;
            facts.orders++;
            return;
        }
    }
}

/* --- what goes wrong --- */

static void say_how(void)
{
    fprintf(stderr, "seed %llu, depth %u: again with %s\n", (unsigned long long)how.seed, how.depth,
            how.replay);
}

void schedule_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    say_how();
    _exit(1);
}

/* AddressSanitizer calls it before it ends the process. */
void __asan_on_error(void)
{
    if (how.replay)
        say_how();
}

/* --- fibers --- */

static void go_home(bool for_ever)
{
    struct fiber *self = current;

    __sanitizer_start_switch_fiber(for_ever ? NULL : &self->fake_stack, home_stack, home_size);
    swapcontext(&self->context, &home);
    __sanitizer_finish_switch_fiber(self->fake_stack, &home_stack, &home_size);
}

static void wake(struct fiber *fiber)
{
    fiber->state = RUNNABLE;
    fiber->waits_for = NULL;
    fiber->settles = false;
    news = true;
}

static void fiber_main(void)
{
    struct fiber *self = current;

    __sanitizer_finish_switch_fiber(NULL, &home_stack, &home_size);
    if (self->start)
        self->start(self->arg);
    else
        self->run(self->arg);
    self->state = DONE;
    schedule_wake(self);
    go_home(true);
    abort();
}

static struct fiber *fiber_new(void)
{
    struct fiber *fiber = &fibers[fiber_count];

    if (fiber_count++ == FIBERS_MAX)
        schedule_fail("more than %d threads", FIBERS_MAX);
    if (!fiber->stack) {
        fiber->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                            -1, 0);
        if (fiber->stack == MAP_FAILED)
            abort();
    }
    __asan_unpoison_memory_region(fiber->stack, STACK_SIZE);
    *fiber = (struct fiber){.stack = fiber->stack,
                            .wake_at = NEVER,
                            .priority = POINTS_MAX + schedule_random(1 << 30)};
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK_SIZE;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, fiber_main, 0);
    wake(fiber);
    return fiber;
}

void schedule_spawn(void (*run)(void *arg), void *arg)
{
    struct fiber *fiber = fiber_new();

    fiber->run = run;
    fiber->arg = arg;
}

/* --- who goes on --- */

static unsigned count_runnable(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < fiber_count; i++)
        count += fibers[i].state == RUNNABLE;
    return count;
}

static struct fiber *any_runnable(void)
{
    uint64_t skip = schedule_random(count_runnable());

    for (unsigned i = 0;; i++)
        if (fibers[i].state == RUNNABLE && skip-- == 0)
            return &fibers[i];
}

static struct fiber *highest_runnable(void)
{
    struct fiber *found = NULL;

    for (unsigned i = 0; i < fiber_count; i++)
        if (fibers[i].state == RUNNABLE && (!found || fibers[i].priority > found->priority))
            found = &fibers[i];
    return found;
}

/* Nobody can run: somebody who waits for a moment, or until nobody can. */
static bool wake_in_time(void)
{
    struct fiber *found = NULL;

    for (unsigned i = 0; i < fiber_count; i++)
        if (fibers[i].state == BLOCKED && fibers[i].settles) {
            wake(&fibers[i]);
            return true;
        }
    for (unsigned i = 0; i < fiber_count; i++)
        if (fibers[i].state == BLOCKED && fibers[i].wake_at != NEVER &&
            (!found || fibers[i].wake_at < found->wake_at))
            found = &fibers[i];
    if (!found)
        return false;
    if (found->wake_at > now_ns)
        now_ns = found->wake_at;
    wake(found);
    return true;
}

static struct fiber *choose(void)
{
    if (count_runnable() == 0 && !wake_in_time()) {
        for (unsigned i = 0; i < fiber_count; i++)
            if (fibers[i].state == BLOCKED)
                schedule_fail("deadlock: thread %u waits for ever", i);
        return NULL;
    }
    news = false;
    return how.depth > 0 ? highest_runnable() : any_runnable();
}

static bool is_change_point(void)
{
    for (unsigned i = 0; i + 1 < how.depth; i++)
        if (points[i] == steps) {
            current->priority = i;
            return true;
        }
    return false;
}

void schedule_step(void)
{
    if (!current || current->hushed)
        return;
    if (++steps > STEPS_MAX)
        schedule_fail("no end after %d steps", STEPS_MAX);
    if (how.depth > 0 ? is_change_point() || news : schedule_random(chance) == 0) {
        facts.switches += count_runnable() > 1;
        go_home(false);
    }
}

static void block(const void *address, int64_t wake_at)
{
    current->state = BLOCKED;
    current->waits_for = address;
    current->wake_at = wake_at;
    go_home(false);
    current->wake_at = NEVER;
}

void schedule_settle(void)
{
    current->settles = true;
    block(NULL, NEVER);
}

void schedule_wait(const void *address)
{
    block(address, NEVER);
}

void schedule_wait_until(const void *address, int64_t until_ns)
{
    block(address, until_ns);
}

int64_t schedule_now_ns(void)
{
    return now_ns;
}

void schedule_hush(bool hush)
{
    current->hushed = hush;
}

void schedule_wake(const void *address)
{
    for (unsigned i = 0; i < fiber_count; i++)
        if (fibers[i].state == BLOCKED && fibers[i].waits_for == address)
            wake(&fibers[i]);
}

void schedule_run(const struct schedule *schedule, void (*first)(void *arg), void *arg)
{
    how = *schedule;
    dice = mix(how.seed);
    fiber_count = 0;
    steps = 0;
    order = 1;
    now_ns = 1000000000;
    chance = (uint64_t)8 << schedule_random(6);
    memset(held, 0, sizeof(held));
    if (how.depth > POINTS_MAX)
        abort();
    for (unsigned i = 0; i + 1 < how.depth; i++)
        points[i] = 1 + schedule_random(how.steps);
    schedule_spawn(first, arg);
    while ((current = choose())) {
        order = mix(order ^ (uint64_t)(current - fibers) ^ (steps << 8));
        __sanitizer_start_switch_fiber(&home_fake, current->stack, STACK_SIZE);
        swapcontext(&home, &current->context);
        __sanitizer_finish_switch_fiber(home_fake, NULL, NULL);
    }
    facts.schedules++;
    facts.steps += steps;
    note_order();
}

struct schedule_facts schedule_facts(void)
{
    return facts;
}

/* --- locks --- */

static struct held *find_held(const void *lock)
{
    for (unsigned i = 0; i < LOCKS_MAX; i++)
        if (held[i].lock == lock)
            return &held[i];
    return NULL;
}

void schedule_lock(const void *lock)
{
    struct held *place;

    schedule_step();
    while ((place = find_held(lock))) {
        if (place->owner == current)
            schedule_fail("a thread takes a lock that it has");
        block(lock, NEVER);
    }
    place = find_held(NULL);
    if (!place)
        schedule_fail("more than %d locks", LOCKS_MAX);
    *place = (struct held){lock, current};
}

static void release(const void *lock)
{
    struct held *place = find_held(lock);

    if (!place || place->owner != current)
        schedule_fail("a thread gives back a lock that it has not");
    place->lock = NULL;
    schedule_wake(lock);
}

void schedule_unlock(const void *lock)
{
    release(lock);
    schedule_step();
}

/* --- what the program calls --- */

void __sanitizer_cov_trace_pc(void);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                          void *arg);
int __wrap_pthread_join(pthread_t thread, void **ret_value);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __real_clock_gettime(clockid_t clock, struct timespec *ret_time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

void __sanitizer_cov_trace_pc(void)
{
    schedule_step();
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (!current)
        return __real_pthread_mutex_lock(mutex);
    if (!how.unlocked)
        schedule_lock(mutex);
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    if (!current)
        return __real_pthread_mutex_unlock(mutex);
    if (!how.unlocked)
        schedule_unlock(mutex);
    return 0;
}

static int64_t ns_of(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static int wait_on(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until)
{
    bool late;

    if (!how.unlocked)
        release(mutex);
    block(cond, until);
    late = until != NEVER && now_ns >= until;
    __wrap_pthread_mutex_lock(mutex);
    return late ? ETIMEDOUT : 0;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    return wait_on(cond, mutex, NEVER);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    return wait_on(cond, mutex, ns_of(until));
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    struct fiber *waiting[FIBERS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < fiber_count; i++)
        if (fibers[i].state == BLOCKED && fibers[i].waits_for == cond)
            waiting[count++] = &fibers[i];
    if (count > 0)
        wake(waiting[schedule_random(count)]);
    schedule_step();
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
    schedule_wake(cond);
    schedule_step();
    return 0;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                          void *arg)
{
    struct fiber *fiber = fiber_new();

    fiber->start = start;
    fiber->arg = arg;
    *thread = (pthread_t)(uintptr_t)fiber;
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret_value)
{
    const struct fiber *fiber = (const struct fiber *)(uintptr_t)thread;

    while (fiber->state != DONE)
        block(fiber, NEVER);
    return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    if (current)
        block(NULL, now_ns + ns_of(time));
    return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    if (!current || clock != CLOCK_MONOTONIC)
        return __real_clock_gettime(clock, ret_time);
    *ret_time = (struct timespec){now_ns / 1000000000, now_ns % 1000000000};
    return 0;
}
