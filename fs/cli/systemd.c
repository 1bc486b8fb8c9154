/* SPDX-License-Identifier: MIT */
#include "fs/cli/systemd.h"

#include <errno.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <time.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "cache/scoped.h"
#include "sync/names.h"

static void tell(const char *what)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, what);
#else
    (void)what;
#endif
}

/* How often the manager wants a sign of life; 0: it does not. */
static uint64_t interval_us(void)
{
    uint64_t interval = 0;

#ifdef HAVE_SYSTEMD
    if (sd_watchdog_enabled(0, &interval) <= 0)
        return 0;
#endif
    return interval;
}

void systemd_ready(void)
{
    tell("READY=1");
}

void systemd_stopping(void)
{
    tell("STOPPING=1");
}

void systemd_status(const char *format, ...)
{
    char text[512];
    char shown[NAME_PRINTABLE_SIZE];
    char line[NAME_PRINTABLE_SIZE + 16];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    name_printable(text, shown);
    snprintf(line, sizeof(line), "STATUS=%s", shown);
    tell(line);
}

/* --- the watchdog --- */

struct systemd_watch {
    const char *mountpoint;
    uint64_t every_us;
    pthread_t thread;

    pthread_mutex_t lock; /* over the lines below; not held while looking */
    pthread_cond_t changed;
    bool ending;
};

/* True when it is time to look, false at the end. */
static bool wait_for_turn(struct systemd_watch *watch)
{
    struct timespec until;
    int r = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(watch->every_us / 1000000);
    until.tv_nsec += (long)(watch->every_us % 1000000) * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    scoped_lock(&watch->lock);
    while (!watch->ending && r == 0)
        r = pthread_cond_timedwait(&watch->changed, &watch->lock, &until);
    return !watch->ending;
}

/* Waits as long as nobody answers. */
static bool is_served(const char *mountpoint)
{
    struct statfs fs;

    return statfs(mountpoint, &fs) < 0 ? errno == EACCES : fs.f_type == FUSE_SUPER_MAGIC;
}

static void *run(void *arg)
{
    struct systemd_watch *watch = arg;

    do
        if (is_served(watch->mountpoint))
            tell("WATCHDOG=1");
    while (wait_for_turn(watch));
    return NULL;
}

int systemd_watch_new(const char *mountpoint, struct systemd_watch **ret_watch)
{
    const uint64_t interval = interval_us();
    pthread_condattr_t monotonic;
    struct systemd_watch *watch;
    int r;

    *ret_watch = NULL;
    if (!interval)
        return 0;
    watch = calloc(1, sizeof(*watch));
    if (!watch)
        return -ENOMEM;
    watch->mountpoint = mountpoint;
    watch->every_us = interval / 2;
    pthread_mutex_init(&watch->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    r = -pthread_create(&watch->thread, NULL, run, watch);
    if (r < 0)
        free(watch);
    else
        *ret_watch = watch;
    return r;
}

void systemd_watch_free(struct systemd_watch *watch)
{
    if (!watch)
        return;
    {
        scoped_lock(&watch->lock);
        watch->ending = true;
        pthread_cond_signal(&watch->changed);
    }
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}
