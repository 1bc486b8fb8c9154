/* SPDX-License-Identifier: MIT */
/* death.h - how the process behind a mount ended, when it could not say so itself.
 *
 *     death_find      what the process before us left behind; it is still there after that
 *     death_watch     from now on a fatal signal leaves its name there, and a line in the log
 *     death_alive     a sign of life, now and then
 *     death_end       the orderly end: nothing is left behind
 *
 * Beside the lock of control.h lies <hex>.life: who it is of, in which boot of the machine, how many
 * processes the kernel had killed for want of memory by the last sign of life (which is the file's
 * mtime), the fatal signal once there is one, and the mount point. Nobody can catch SIGKILL: that is
 * what it was when there is no signal in the file, and probably for want of memory when the kernel
 * has killed somebody for that since.
 *
 * Limit: a stack that ran over leaves no signal either, since the handler would need another one.
 *
 * Threads: death_watch and death_end from one, and one watch a process; death_alive from any one.
 * Errors: -ENOENT nobody died there, else the system's. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "fs/cli/log.h"

#define DEATH_REASON 120

struct death {
    pid_t pid;
    uint64_t alive_unix; /* last known to be alive */
    char reason[DEATH_REASON];
};

/* -ENOENT also while the process lives: so ask before taking its lock. */
int death_find(const char *runtime, const char *mountpoint, struct death *ret_death);

/* The mount points of dead processes at which a mount of theirs still lies; as control_list. */
int death_list(const char *runtime, char ***ret_mountpoints);

struct death_watch;

/* log: where the handler writes, and it outlives the watch. */
int death_watch(const char *runtime, const char *mountpoint, struct log *log,
                struct death_watch **ret_watch);
void death_alive(struct death_watch *watch); /* NULL is allowed */
void death_end(struct death_watch *watch);   /* likewise */
