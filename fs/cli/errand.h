/* SPDX-License-Identifier: MIT */
/* errand.h - work that may never come back, each in a process of its own, all beside one another.
 *
 *     errands_run    forks one child per errand, collects what each writes, until all have ended or
 *                    the time is up; who has not ended by then is killed
 *
 * A dead file server, a name service without answers, a process under whose lock /proc has to be
 * read: each of them keeps whoever asks for as long as it likes, and a thread could not be ended.
 * So whoever must answer in time asks from a child. What it had written before it was killed counts.
 *
 * An errand's memory is a copy: nothing comes back but its text. It must not print elsewhere: its
 * stdin, stdout and stderr are /dev/null. It ends with us, however we end.
 *
 * Threads: to be called while there is only one, as after any fork.
 * Errors: that of an errand which could not be started is in `error`, and the others run all the same. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct errand {
    void (*run)(const void *arg,
                FILE *out); /* in the child; what is to come in time is to be flushed */
    const void *arg;

    /* Afterwards: */
    char *text;  /* NUL-terminated, to be freed; NULL: nothing came */
    size_t size; /* of it, at most ERRAND_TEXT */
    bool late;   /* killed, when the time was up */
    int error;
};

#define ERRAND_TEXT ((size_t)4 << 20)

void errands_run(struct errand *errands, size_t count, int timeout_ms);
