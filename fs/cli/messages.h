/* SPDX-License-Identifier: MIT */
/* messages.h - what went wrong, in words and in an exit code.
 *
 *     agnesfs: WHAT: WHY
 *     hint: WHAT TO DO
 *
 * Whatever fails in fs/cli fills a complaint and returns the negative number that complain()
 * returns; only a verb prints it and turns it into an exit code. Words that came from outside
 * (servers, file names) may hold anything: control characters are escaped when printing.
 *
 * Threads: a complaint is a value, it belongs to whoever made it. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "sync/report.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_AUTHENTICATION = 3, /* the server said 401 or 403, or there is no usable token */
    EXIT_UNREACHABLE = 4,
    EXIT_MOUNT = 5,
    EXIT_BUSY = 6,
    EXIT_STALE = 7, /* stale or degraded */
    EXIT_DISK = 8,  /* cache or disk */
    EXIT_INTEGRITY = 9,
    EXIT_INTERRUPTED = 130,
};

/* What each of them means, in few words; for help and the manual. Ends with a NULL meaning. */
struct exit_meaning {
    enum exit_code code;
    const char *meaning;
};

const struct exit_meaning *exit_meanings(void);

/* The code that mount(8) wants from its helpers: 0 mounted, 1 wrong call, 2 system error, 32 failed. */
int exit_code_of_mount(enum exit_code code);

/* The errors that a reader can get, for the manual; README.md has them too. Ends with a NULL name. */
struct error_meaning {
    const char *name;
    const char *meaning;
};

const struct error_meaning *reader_errors(void);

struct complaint {
    enum exit_code code;
    char what[512];
    char why[512];
    char hint[512]; /* "" for none */
    bool told;      /* a document on stdout says it already */
};

/* Fills the complaint (without hint) and returns a negative number: `return complain(...)`. */
int complain(struct complaint *ret_complaint, enum exit_code code, const char *what,
             const char *why, ...) __attribute__((format(printf, 4, 5)));
void complaint_hint(struct complaint *complaint, const char *hint, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints to stderr and returns the exit code. json: also on stdout, as a document (document.h), unless
 * one was printed that tells it. */
int complaint_print(const struct complaint *complaint, bool json);

/* "hint: WHAT TO DO" on stderr; nothing for "". For a hint that comes after more than one line. */
void hint_print(const char *hint);

/* "agnesfs: warning: WHAT: WHY" on stderr. */
void warn(const char *what, const char *why, ...) __attribute__((format(printf, 2, 3)));

/* What a negative errno of the libraries means as an exit code. */
enum exit_code exit_code_of(int error);

/* How a refresh went, its rows included: 9 before 8 before 1. */
enum exit_code exit_code_of_report(const struct report *report);

/* The refresh of a source failed: error and message as in struct report. origin: where the source
 * was found, for people. has_token: some token was sent. */
int complain_refresh(struct complaint *ret_complaint, const char *source, const char *origin,
                     bool has_token, int error, const char *message);

/* mount_new (fs/mount.h) failed. */
int complain_mount(struct complaint *ret_complaint, const char *mountpoint, int error);

/* store_open (cache/store.h) failed. owner: process that holds the cache's lock, 0 if unknown;
 * mountpoint: what it has mounted, NULL if unknown or nothing. */
int complain_store(struct complaint *ret_complaint, const char *cache_dir, int error, pid_t owner,
                   const char *mountpoint);
