/* SPDX-License-Identifier: MIT */
/* passthrough.h - which files the kernel reads by itself, from the blob, without asking us.
 *
 *     passthrough_allow    once the kernel has shaken hands: whether, or why not
 *     passthrough_open     one open more of a nodeid: the id to answer it with, 0 for none
 *     passthrough_close    one less
 *
 * The kernel wants all opens of one nodeid to be in one mode and with one id, and answers EIO to any
 * other (Linux 6.9 to 6.18, fs/fuse/iomode.c). So the first open of a nodeid registers the blob, the
 * later ones share its id, and the last one to close gives it back. The first time that the kernel
 * refuses, there is no passthrough any more for what is not open yet: a nodeid that is read through
 * us once is read through us for good, and no two opens of it differ.
 *
 * The kernel keeps the registered file open, so its bytes stay whatever happens to the name, and the
 * descriptor may be closed. It reads that file whatever happened to it: so each open is to come with
 * a descriptor that was judged just now, and is turned away if that is another file. It reads what is
 * there, not what was promised: so only files of exactly the size that `stat` shows are registered.
 *
 * Threads: any. Its lock is held over the call that registers, which waits for nothing, and not over
 * the other, which takes a while: by the time we hear of a close the kernel has left the file, so that
 * the next open may already register it again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct passthrough;

/* The two calls; a test has its own. */
struct passthrough_kernel {
    void *arg;
    int (*register_file)(void *arg, int fd); /* an id above 0, or a negative errno */
    void (*unregister)(void *arg, int id);
};

/* Not allowed until somebody says so. */
int passthrough_new(const struct passthrough_kernel *kernel, struct passthrough **ret_passthrough);
void passthrough_free(struct passthrough *passthrough);

/* why_not: NULL, or a phrase that lives as long. */
void passthrough_allow(struct passthrough *passthrough, const char *why_not);

/* fd: on the complete, verified bytes of this nodeid. *ret_id > 0: to be closed once; 0: to be read
 * through us. -ESTALE: not the file that earlier opens are reading. -EIO: not of this size. */
int passthrough_open(struct passthrough *passthrough, uint64_t nodeid, int fd, uint64_t size,
                     int *ret_id);
void passthrough_close(struct passthrough *passthrough, uint64_t nodeid);

#define PASSTHROUGH_WHY_SIZE 128

struct passthrough_facts {
    bool allowed;
    uint64_t files;                     /* registered now */
    char why_not[PASSTHROUGH_WHY_SIZE]; /* "" if allowed */
};

void passthrough_facts(struct passthrough *passthrough, struct passthrough_facts *ret_facts);

/* Whether this process could ask for it: 0, or -EPERM without CAP_SYS_ADMIN. */
int passthrough_capable(void);
