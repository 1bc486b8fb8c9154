/* SPDX-License-Identifier: MIT */
/* log_entry.h - one event in the three forms that a log can have (log.h).
 *
 *     text      2026-07-01T12:00:00Z info mounted https://agnes.example.com at /home/eva/agnes
 *     json      {"time":"2026-07-01T12:00:00Z","level":"info","message":"...","mountpoint":"...",
 *               "path":"...","key":"...","url":"...","errno":"EACCES"..., "reader_pid":7,
 *               "generation":3}
 *     journal   PRIORITY, SYSLOG_IDENTIFIER=agnesfs, MESSAGE, AGNESFS_MOUNTPOINT, AGNESFS_PATH,
 *               AGNESFS_KEY, AGNESFS_URL, ERRNO, AGNESFS_READER_PID, AGNESFS_GENERATION, a line each:
 *               the native protocol of systemd-journald
 *
 * What is not known is left out. Control characters are escaped in text and journal, so that one event
 * stays one line and one field one field; in JSON as JSON does. Of a URL neither the query, which may be
 * a signature, nor a user name is told. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum log_level {
    LOG_ERROR,
    LOG_WARNING,
    LOG_INFO,
    LOG_DEBUG,
};

enum log_format {
    LOG_TEXT,
    LOG_JSON,
    LOG_JOURNAL,
};

/* NULL and 0: not known. */
struct log_fields {
    const char *path; /* of the file in the mount, or of what else it is about */
    const char *key;  /* of the blob */
    const char *url;
    int error; /* negative errno */
    pid_t reader_pid;
    uint64_t generation;
};

struct log_entry {
    uint64_t unix_time;
    enum log_level level;
    const char *message;
    const char *mountpoint;
    struct log_fields fields;
};

/* malloc'd. -ENOMEM. */
int log_entry_format(const struct log_entry *entry, enum log_format format, char **ret_text,
                     size_t *ret_size);

const char *log_level_name(enum log_level level);
