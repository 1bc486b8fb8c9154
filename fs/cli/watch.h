/* SPDX-License-Identifier: MIT */
/* watch.h - `agnesfs status --watch`: the status of one mount, again and again, until it is told to end.
 *
 * On a terminal: the alternate screen, once a second; q or Ctrl-C ends it with 0, SIGTERM and SIGHUP
 * with 130; whichever it is, the screen is given back as it was. Ctrl-Z works. Elsewhere: a line each
 * five seconds. With --json: a document a line, each second, whatever stdout is.
 *
 * A process that does not answer for a while is said to, and asked again. One that has ended, with its
 * mount or without, ends this: exit code 1 and the words of `agnesfs status DIR`. */
#pragma once

#include "fs/cli/options.h"
#include "fs/cli/target.h"

/* Returns the exit code; has said what there is to say. */
int watch_mount(const struct options *options, const struct target *target);
