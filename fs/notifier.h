/* SPDX-License-Identifier: MIT */
/* notifier.h - the one thread that tells the kernel anything.
 *
 * The kernel may make a notification wait for a request that we have yet to answer, so it must come
 * neither from a thread that serves nor from one that brings bytes. Nor can who waits so be killed: the
 * process would not end, its requests would never be answered, and whoever uses the mount would hang
 * for ever. So this thread has a table of descriptors to itself: when the process is killed, those of
 * the others are closed though it still waits, and the keeper (keeper.h) ends what it waits for.
 *
 *     notifier_run    a switch of generations, told while somebody waits for it
 *     notifier_tell   single blobs, when there is time
 *         arrived     the blob is resident: its names lead to the full face from now on (inode.h)
 *         spoiled     bytes that the kernel may have cached were wrong: it must ask for them again
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

/* The session is mounted. */
int notifier_new(struct mount *mount, struct notifier **ret_notifier);

/* Runs work on the thread, before all that is to be told of blobs, and returns when it is done. Work
 * opens and closes no files. Not after notifier_stop. */
void notifier_run(struct notifier *notifier, void (*work)(void *arg), void *arg);

/* Without memory, or too late, it is not told: names then lead to the lazy face a while longer. */
void notifier_tell(struct notifier *notifier, enum tiding tiding, const struct blob_key *key);

/* No more is told; does not wait. NULL is allowed. */
void notifier_stop(struct notifier *notifier);

/* The same, and waits for what is being told, which must be able to end: the mount is served, or is
 * gone. NULL is allowed. */
void notifier_free(struct notifier *notifier);
