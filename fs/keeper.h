/* SPDX-License-Identifier: MIT */
/* keeper.h - a process beside the mount's own, for the time after that was killed.
 *
 *     keeper_new     before any thread exists: forks
 *     keeper_hold    the mount's device, once there is one
 *     keeper_end     nobody serves it any more
 *
 * The kernel ends a mount when the last descriptor of its device is closed. A process that is killed
 * while the kernel makes a notification of its wait (notifier.h) does not get that far: the
 * notification waits for a look-up, the look-up for an answer, and nobody is left to give it. The mount
 * and whoever uses it would hang for ever. So the keeper has a descriptor of the device too. It does
 * nothing until the channel to it closes, which is the death of everything that could answer; then it
 * answers each request that the mount is not connected, until the process is gone, and ends.
 *
 * It ignores signals: those of a terminal or a service manager are meant for the mount. Killed together
 * with it, it helps nobody.
 *
 * Threads: one. Errors: what the system calls say; a mount does without. */
#pragma once

struct keeper;

int keeper_new(struct keeper **ret_keeper);
int keeper_hold(struct keeper *keeper, int device);

/* Another descriptor of the same connection, with a list of its own of what was read from it and not
 * answered yet: the keeper's, opened before its process was confined. Once. Negative errno. */
int keeper_clone(const struct keeper *keeper, int device);

/* Nobody serves any more: the keeper may answer. */
void keeper_end(struct keeper *keeper);
void keeper_free(struct keeper *keeper); /* NULL is allowed */
