/* SPDX-License-Identifier: MIT */
/* holders.h - who keeps a mount from being unmounted.
 *
 * | how  | found in                                                                               |
 * |------|----------------------------------------------------------------------------------------|
 * | file | /proc/PID/fd, told from files of the same name below the mount by mnt_id in fdinfo     |
 * | cwd  | /proc/PID/cwd, likewise by a descriptor that is a path only (O_PATH)                   |
 * | root | /proc/PID/root, likewise                                                               |
 * | mmap | /proc/PID/maps, by the device: its descriptor may be closed                            |
 * | mount| /proc/self/mountinfo: another file system is mounted in it                             |
 *
 * The mount is asked nothing: readlink(2) and O_PATH are answered by the kernel alone. What may hang
 * nevertheless (a program's memory map while it waits for the mount, the user database) is asked by
 * an errand (errand.h). In other mount namespaces, where the mount may be known by another path,
 * holders of any copy of it are found, by its device.
 *
 * Limits: without the right to look into a process (ptrace(2), "ptrace access mode") it is counted as
 * unseen. Threads with folders or descriptors of their own are not looked at one by one.
 *
 * Errors: -ENOENT nothing is mounted there, -ENOMEM. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum holder_how {
    HOLDER_FILE,
    HOLDER_CWD,
    HOLDER_ROOT,
    HOLDER_MMAP,
    HOLDER_MOUNT,
};

struct holder {
    pid_t pid; /* 0: the kernel, for a mount */
    uid_t user;
    char *user_name; /* NULL: not known */
    char *command;
    enum holder_how how;
    bool elsewhere; /* in another mount namespace */
    char *path;     /* below the mount; "" for the mount itself */
};

struct holders {
    struct holder *list; /* by pid */
    size_t count;
    size_t unseen; /* processes that we may not look into */
    bool partial;  /* there may be more: the time was up, or these are HOLDERS_MAX */
};

#define HOLDERS_MAX 1000

/* "file", "cwd", ... */
const char *holder_how_name(enum holder_how how);

/* mountpoint: absolute, as the kernel has it. */
int holders_find(const char *mountpoint, int timeout_ms, struct holders *ret_holders);
void holders_release(struct holders *holders);
