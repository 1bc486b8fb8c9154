/* SPDX-License-Identifier: MIT */
/* notifier.h - tells the kernel of single blobs, from a thread of its own.
 *
 * The kernel may make a notification wait for a request that we have yet to answer, so it must come
 * neither from a thread that serves nor from one that brings bytes.
 *
 *     arrived   the blob is resident: its names lead to the full face from now on (inode.h)
 *     spoiled   bytes that the kernel may have cached were wrong: it must ask for them again
 *
 * Threads: notifier_tell from any, it never waits. One that the kernel does not know costs nothing. */
#pragma once

#include "cache/key.h"

struct mount;
struct notifier;

enum tiding {
    TIDING_ARRIVED,
    TIDING_SPOILED,
};

int notifier_new(struct mount *mount, struct notifier **ret_notifier);

/* Without memory, or too late, it is not told: names then lead to the lazy face a while longer. */
void notifier_tell(struct notifier *notifier, enum tiding tiding, const struct blob_key *key);

/* No more is told. Waits for the one that is being told, which must be able to end: the mount is
 * served, or is gone. NULL is allowed. */
void notifier_free(struct notifier *notifier);
