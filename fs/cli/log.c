/* SPDX-License-Identifier: MIT */
/* log.c - a line is put together first and written by one write(2) to an O_APPEND file, so lines
 * never mix, not even with those of a process that is just ending. */
#include "fs/cli/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/format.h"

enum { ROTATE_AT = 10 << 20 };

struct log {
    pthread_mutex_t lock; /* over changing fd, when the file is turned over */
    atomic_int fd;
    char *path; /* NULL: stderr */
    enum log_level level;
};

static const char *const names[] = {"error", "warning", "info", "debug"};

enum log_level log_level_parse(const char *word)
{
    for (unsigned level = LOG_ERROR; level <= LOG_DEBUG; level++)
        if (word && strcmp(word, names[level]) == 0)
            return (enum log_level)level;
    return LOG_INFO;
}

static bool is_ours_alone(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1;
}

/* A link, a fifo, another name of some file: what is no log makes way for one. */
static int open_file(const char *path)
{
    const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    scoped_fd int fd = open(path, flags, 0600);

    if (fd >= 0 ? is_ours_alone(fd) : errno != ELOOP && errno != ENXIO && errno != EACCES)
        return take_fd(fd);
    if (unlink(path) < 0)
        return -1;
    return open(path, flags | O_EXCL, 0600);
}

int log_open(const char *path, enum log_level level, struct log **ret_log)
{
    scoped_free struct log *log = calloc(1, sizeof(*log));
    scoped_free char *copy = path ? strdup(path) : NULL;

    if (!log || (path && !copy))
        return -ENOMEM;
    log->fd = path ? open_file(path) : STDERR_FILENO;
    if (log->fd < 0)
        return negative_errno();
    pthread_mutex_init(&log->lock, NULL);
    log->path = take_ptr(copy);
    log->level = level;
    *ret_log = take_ptr(log);
    return 0;
}

void log_close(struct log *log)
{
    if (!log)
        return;
    if (log->path)
        close(log->fd);
    pthread_mutex_destroy(&log->lock);
    free(log->path);
    free(log);
}

/* Under the lock. Whatever fails, the old file goes on. */
static void turn_over(struct log *log)
{
    scoped_free char *old = NULL;
    struct stat st;

    if (!log->path || fstat(log->fd, &st) < 0 || st.st_size < ROTATE_AT ||
        asprintf(&old, "%s.1", log->path) < 0 || rename(log->path, old) < 0)
        return;

    int fd = open_file(log->path);

    if (fd < 0)
        return;
    close(log->fd);
    log->fd = fd;
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
    char text[1024];
    char when[FORMAT_SIZE];
    scoped_free char *line = NULL;
    va_list args;

    if (!log || level > log->level)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    format_time((uint64_t)time(NULL), when);

    scoped_free char *escaped = format_escaped(text);
    int length = escaped ? asprintf(&line, "%s %s %s\n", when, names[level], escaped) : -1;

    if (length < 0)
        return;

    scoped_lock(&log->lock);
    turn_over(log);
    if (write(log->fd, line, (size_t)length) < 0)
        return; /* a full disk must not end a mount, and there is nobody left to tell */
}

int log_fd(const struct log *log)
{
    return log->fd;
}

void log_last_words(const struct log *log, const char *text)
{
    char line[256];
    char *at;

    format_time((uint64_t)time(NULL), line);
    at = stpcpy(line + strlen(line), " error ");
    at = stpncpy(at, text, sizeof(line) - 2 - (size_t)(at - line));
    *at++ = '\n';
    if (write(log->fd, line, (size_t)(at - line)) < 0)
        return; /* there is nobody left to tell */
}
