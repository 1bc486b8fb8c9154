/* SPDX-License-Identifier: MIT */
/* log.c - a line is put together first and written by one write(2) to an O_APPEND file, so lines
 * never mix, not even with those of a process that is just ending.
 *
 * The journal's protocol is a datagram of fields (systemd.io, "Native Journal Protocol"), so nothing is
 * linked for it; an entry of ours, a kilobyte of message and two names at most, fits one. */
#include "fs/cli/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/format.h"

enum { ROTATE_AT = 10 << 20 };

struct log {
    pthread_mutex_t lock; /* over changing fd, when the file is turned over */
    atomic_int fd;
    char *path; /* NULL: stderr */
    _Atomic enum log_level level;
    enum log_format format;
    const char *mountpoint;
    int journal; /* a socket, -1 if the format is another */
    struct sockaddr_un address;
};

bool log_level_parse(const char *word, enum log_level *ret_level)
{
    for (unsigned level = LOG_ERROR; level <= LOG_DEBUG; level++) {
        if (word && strcmp(word, log_level_name((enum log_level)level)) == 0) {
            *ret_level = (enum log_level)level;
            return true;
        }
    }
    return false;
}

/* As systemd tells it: "DEVICE:INODE" of what stderr was when the service was started. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device;
    unsigned long long inode;
    struct stat st;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

enum log_format log_format_pick(const char *word, bool to_stderr)
{
    if (!word)
        return to_stderr && stderr_is_journal() ? LOG_JOURNAL : LOG_TEXT;
    return strcmp(word, "json") == 0      ? LOG_JSON
           : strcmp(word, "journal") == 0 ? LOG_JOURNAL
                                          : LOG_TEXT;
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

/* Unconnected, so that a journal that begins anew is found again. */
static int open_journal(struct log *log, const char *path)
{
    scoped_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    scoped_fd int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    log->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(log->address.sun_path))
        return -ENAMETOOLONG;
    memcpy(log->address.sun_path, path, strlen(path));
    if (fd < 0 || probe < 0 ||
        connect(probe, (const struct sockaddr *)&log->address, sizeof(log->address)) < 0)
        return negative_errno();
    log->journal = take_fd(fd);
    return 0;
}

int log_open(const struct log_conf *conf, struct log **ret_log)
{
    scoped_free struct log *log = calloc(1, sizeof(*log));
    scoped_free char *copy = conf->path ? strdup(conf->path) : NULL;

    if (!log || (conf->path && !copy))
        return -ENOMEM;
    log->journal = -1;

    int r = conf->format == LOG_JOURNAL ? open_journal(log, conf->journal) : 0;

    if (r < 0)
        return r;
    log->fd = conf->path ? open_file(conf->path) : STDERR_FILENO;
    if (log->fd < 0) {
        r = negative_errno();
        if (log->journal >= 0)
            close(log->journal);
        return r;
    }
    pthread_mutex_init(&log->lock, NULL);
    log->path = take_ptr(copy);
    log->level = conf->level;
    log->format = conf->format;
    log->mountpoint = conf->mountpoint;
    *ret_log = take_ptr(log);
    return 0;
}

void log_close(struct log *log)
{
    if (!log)
        return;
    if (log->path)
        close(log->fd);
    if (log->journal >= 0)
        close(log->journal);
    pthread_mutex_destroy(&log->lock);
    free(log->path);
    free(log);
}

void log_set_level(struct log *log, enum log_level level)
{
    atomic_store(&log->level, level);
}

enum log_level log_level_of(const struct log *log)
{
    return atomic_load(&log->level);
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

static bool send_to_journal(const struct log *log, const char *text, size_t size)
{
    return sendto(log->journal, text, size, MSG_NOSIGNAL | MSG_DONTWAIT,
                  (const struct sockaddr *)&log->address, sizeof(log->address)) == (ssize_t)size;
}

static void write_line(struct log *log, const char *line, size_t size)
{
    scoped_lock(&log->lock);
    turn_over(log);
    if (write(log->fd, line, size) < 0)
        return; /* a full disk must not end a mount, and there is nobody left to tell */
}

static void write_entry(struct log *log, const struct log_entry *entry, enum log_format format)
{
    scoped_free char *text = NULL;
    size_t size;

    if (log_entry_format(entry, format, &text, &size) < 0)
        return;
    if (format != LOG_JOURNAL)
        write_line(log, text, size);
    else if (!send_to_journal(log, text, size))
        write_entry(log, entry, LOG_TEXT);
}

void log_event(struct log *log, enum log_level level, const struct log_fields *fields,
               const char *format, ...)
{
    char text[1024];
    va_list args;

    if (!log || level > atomic_load(&log->level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    const struct log_entry entry = {
        .unix_time = (uint64_t)time(NULL),
        .level = level,
        .message = text,
        .mountpoint = log->mountpoint,
        .fields = fields ? *fields : (struct log_fields){0},
    };

    write_entry(log, &entry, log->format);
}

static char *append(char *at, const char *end, const char *text)
{
    while (*text && at < end)
        *at++ = *text++;
    return at;
}

void log_last_words(const struct log *log, const char *text)
{
    const bool json = log->format == LOG_JSON;
    char when[FORMAT_SIZE];
    char line[256];
    const char *end = line + sizeof(line) - 3;
    char *at = line;

    format_time((uint64_t)time(NULL), when);
    at = append(at, end, json ? "{\"time\":\"" : "");
    at = append(at, end, when);
    at = append(at, end, json ? "\",\"level\":\"error\",\"message\":\"" : " error ");
    at = append(at, end, text);
    at = append(at, line + sizeof(line), json ? "\"}\n" : "\n");
    if (write(log->fd, line, (size_t)(at - line)) < 0)
        return; /* there is nobody left to tell */
    if (log->journal < 0)
        return;
    at = append(line, end, "PRIORITY=3\nSYSLOG_IDENTIFIER=agnesfs\nMESSAGE=");
    at = append(at, end, text);
    at = append(at, line + sizeof(line), "\n");
    send_to_journal(log, line, (size_t)(at - line));
}

int log_fd(const struct log *log)
{
    return log->fd;
}
