/* SPDX-License-Identifier: MIT */
/* harden.h - a process gives up what it has no use for, before anybody could make use of it.
 *
 *     harden_enter    once, while there is one thread; for good
 *
 * | gives up        | by            | keeps                                                          |
 * |-----------------|---------------|----------------------------------------------------------------|
 * | new privileges  | no_new_privs  | nothing                                                        |
 * | capabilities    | capset        | CAP_SYS_ADMIN if `passthrough`, which the kernel asks for it   |
 * | files           | Landlock      | `own` to write, `read` and what the C library reads to read    |
 * | TCP servers     | Landlock      | connections that it makes itself                               |
 * | writable code   | MDWE          | libraries that are loaded later                                |
 * | system calls    | seccomp       | all but those in harden_calls.c: programs, processes, mounts,  |
 * |                 |               | debugging, modules, other users, other kinds of sockets        |
 *
 * Each of them is taken where the kernel has it, and missed without harm where it has not: facts say
 * which, and why not. What was open before stays open.
 *
 * Limits: /etc is readable as a whole, because resolv.conf and its like are replaced by renaming, so
 * that a rule on one of them would hold until the next change of networks. Sockets with a name in the
 * file system can be connected to wherever they are. A root without capabilities still owns what
 * root owns.
 *
 * Errors: -EBUSY there are threads already, which would keep everything. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct harden_conf {
    const char *const *own;  /* folders, to NULL */
    const char *const *read; /* folders and files, to NULL; one that is missing is left out */
    bool passthrough;
    bool io_uring; /* rings may be made */
};

#define HARDEN_WHY_SIZE 128

struct harden_facts {
    bool no_new_privs;
    int landlock; /* version of the kernel's; 0: none */
    bool seccomp;
    uint64_t capabilities;         /* that are left */
    char why_not[HARDEN_WHY_SIZE]; /* what could not be had; "" if nothing */
};

/* conf NULL: gives up nothing, and says so. */
int harden_enter(const struct harden_conf *conf, struct harden_facts *ret_facts);

/* harden_calls.c: the seccomp filter alone, for the whole process. -ENOTSUP: not on this machine. */
int harden_calls(bool io_uring);
