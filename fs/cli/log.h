/* SPDX-License-Identifier: MIT */
/* log.h - what a mount tells those who come later: one line an event, in one of the forms of
 * log_entry.h.
 *
 * To stderr (foreground) or to a file that is turned over to <file>.1 at 10 MiB; or to systemd's
 * journal by its own protocol, with fields. What the journal does not take (it is being replaced, say)
 * goes as text where lines went otherwise, and so does where a fatal signal struck. Tokens are never
 * given to it.
 *
 * Threads: log_write, log_event and log_set_level from any. */
#pragma once

#include <stdbool.h>

#include "fs/cli/log_entry.h"

struct log;

#define LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"

struct log_conf {
    const char *path; /* NULL: stderr. The file's folder must exist */
    enum log_level level;
    enum log_format format;
    const char *mountpoint; /* outlives the log */
    const char *journal;    /* LOG_JOURNAL_SOCKET, but for tests */
};

/* -ENOENT or -ECONNREFUSED also where the format is that of the journal and there is none. */
int log_open(const struct log_conf *conf, struct log **ret_log);
void log_close(struct log *log); /* NULL is allowed */

/* "error", "warning", "info", "debug"; false: none of them. */
bool log_level_parse(const char *word, enum log_level *ret_level);

/* "text", "json", "journal"; NULL: the journal where stderr is it (JOURNAL_STREAM) and the log is to
 * go there, else text. */
enum log_format log_format_pick(const char *word, bool to_stderr);

/* From now on. */
void log_set_level(struct log *log, enum log_level level);
enum log_level log_level_of(const struct log *log);

/* NULL log: nothing happens. fields may be NULL. */
void log_event(struct log *log, enum log_level level, const struct log_fields *fields,
               const char *format, ...) __attribute__((format(printf, 4, 5)));
#define log_write(log, level, ...) log_event(log, level, NULL, __VA_ARGS__)

/* For signal handlers: takes no lock and no memory. Tokens and untrusted text are not for it, nor what
 * JSON would have to escape. */
void log_last_words(const struct log *log, const char *text);

/* Where the lines go, for the same; it changes when the file is turned over. */
int log_fd(const struct log *log);
