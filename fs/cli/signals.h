/* SPDX-License-Identifier: MIT */
/* signals.h - signals as ordinary calls.
 *
 * signals_start blocks them for the calling thread and all threads made afterwards, so call it
 * before any is made; a thread of its own then calls caught for each. caught may take locks, write
 * logs, do what it likes, except call signals_stop. */
#pragma once

#include <stdbool.h>

struct signals;

/* SIGINT and SIGTERM; with hangup also SIGHUP. SIGPIPE is ignored from now on. */
int signals_start(bool hangup, void (*caught)(void *arg, int signal), void *arg,
                  struct signals **ret_signals);

/* Afterwards the signals have their usual effect again. NULL is allowed. */
void signals_stop(struct signals *signals);
void signals_stopp(struct signals *const *signals);
