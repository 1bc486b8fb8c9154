/* SPDX-License-Identifier: MIT */
/* metrics_file.c - the folder may be anybody's: what lies there under the new file's name is removed,
 * never written to. */
#include "fs/cli/metrics_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cache/scoped.h"

struct metrics_file {
    struct metrics_file_conf conf;
    char *draft; /* its name */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ending; /* lock */
};

static int write_draft(const char *draft, const char *text, size_t size)
{
    scoped_fd int fd = -1;

    if (unlink(draft) < 0 && errno != ENOENT)
        return negative_errno();
    fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0 || fchmod(fd, 0644) < 0)
        return negative_errno();
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, text + done, size - done);

        if (n < 0)
            return negative_errno();
        done += (size_t)n;
    }
    return 0;
}

static int write_once(const struct metrics_file *file)
{
    scoped_free char *text = NULL;
    size_t size;
    int r = file->conf.render(file->conf.arg, &text, &size);

    if (r == 0)
        r = write_draft(file->draft, text, size);
    if (r == 0 && rename(file->draft, file->conf.path) < 0)
        r = negative_errno();
    if (r < 0)
        unlink(file->draft);
    return r;
}

/* Until the next time. False: the end. */
static bool wait_for_turn(struct metrics_file *file)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += file->conf.every_ms / 1000;
    until.tv_nsec += file->conf.every_ms % 1000 * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    scoped_lock(&file->lock);
    while (!file->ending &&
           pthread_cond_timedwait(&file->changed, &file->lock, &until) != ETIMEDOUT)
        continue;
    return !file->ending;
}

static void *run(void *arg)
{
    struct metrics_file *file = arg;
    int before = 0;

    do {
        int r = write_once(file);

        if (r < 0 && r != before)
            file->conf.failed(file->conf.arg, r);
        before = r;
    } while (wait_for_turn(file));
    unlink(file->conf.path);
    return NULL;
}

static void release(struct metrics_file *file)
{
    pthread_cond_destroy(&file->changed);
    pthread_mutex_destroy(&file->lock);
    free(file->draft);
    free(file);
}

int metrics_file_start(const struct metrics_file_conf *conf, struct metrics_file **ret_file)
{
    struct metrics_file *file = calloc(1, sizeof(*file));
    pthread_condattr_t monotonic;
    int r;

    if (!file)
        return -ENOMEM;
    file->conf = *conf;
    pthread_mutex_init(&file->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&file->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    r = asprintf(&file->draft, "%s.new", conf->path) < 0 ? -ENOMEM : 0;
    if (r < 0)
        file->draft = NULL;
    else
        r = -pthread_create(&file->thread, NULL, run, file);
    if (r < 0) {
        release(file);
        return r;
    }
    *ret_file = file;
    return 0;
}

void metrics_file_end(struct metrics_file *file)
{
    if (!file)
        return;
    {
        scoped_lock(&file->lock);
        file->ending = true;
        pthread_cond_signal(&file->changed);
    }
    pthread_join(file->thread, NULL);
    release(file);
}
