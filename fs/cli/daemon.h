/* SPDX-License-Identifier: MIT */
/* daemon.h - from a command in a shell to a process of its own.
 *
 *     daemon_fork      before any thread exists; the parent stays until the child has reported
 *     daemon_report    the child: how it went. On success it detaches: own session, no terminal
 *
 * Until it reports, the child keeps stdout and stderr and prints its own messages there, and it
 * stays in the shell's foreground group: Ctrl-C reaches it as it would reach any command. The
 * parent waits without limit, but never longer than the child lives. */
#pragma once

#include <stdbool.h>

struct daemon;

/* In the parent: true, with the exit code to end with. In the child: false, with *ret_daemon. */
bool daemon_fork(struct daemon **ret_daemon, int *ret_exit_code);

/* Once. NULL (no fork was made: --foreground): tells systemd, if it asked to be told. */
void daemon_report(struct daemon *daemon, int exit_code);

/* What every long-lived process wants: files private, SIGPIPE and SIGXFSZ ignored, as many descriptors as
 * allowed. */
void daemon_prepare(void);
