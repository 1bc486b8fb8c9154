/* SPDX-License-Identifier: MIT */
/* log.h - what a mount tells those who come later: one line an event.
 *
 *     2026-07-01T12:00:00Z info mounted /home/eva/agnes
 *
 * To stderr (foreground) or to a file that is turned over to <file>.1 at 10 MiB. Control characters
 * are escaped, so one event is one line. Tokens are never given to it.
 * Threads: log_write from any. */
#pragma once

struct log;

enum log_level {
    LOG_ERROR,
    LOG_WARNING,
    LOG_INFO,
    LOG_DEBUG,
};

/* path NULL: stderr. The file's folder must exist. */
int log_open(const char *path, enum log_level level, struct log **ret_log);
void log_close(struct log *log); /* NULL is allowed */

/* "error", "warning", "info", "debug"; anything else is LOG_INFO. */
enum log_level log_level_parse(const char *word);

/* NULL log: nothing happens. */
void log_write(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* For signal handlers: takes no lock and no memory. Tokens and untrusted text are not for it. */
void log_last_words(const struct log *log, const char *text);

/* Where the lines go, for the same; it changes when the file is turned over. */
int log_fd(const struct log *log);
