/* SPDX-License-Identifier: MIT */
/* provider.h - what fs asks of whoever has the bytes.
 *
 * fs knows names and inodes; it has never heard of HTTP, nor of where a cache lies. The program
 * that composes both gives it these functions. All may be called from several threads at once; only
 * want may take its time, and it does so by calling back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "cache/key.h"
#include "cache/partial.h"
#include "sync/tree.h"

/* error: 0, or the negative errno that the reader shall see (design 9). */
typedef void (*provider_done)(void *arg, int error);

struct provider {
    void *arg;

    /* A descriptor on the complete, verified blob, for the caller to close.
     * -ENOENT: not resident, want it first. Never waits for the network. */
    int (*open)(void *arg, const struct blob_key *key, int *ret_fd);

    /* What is here of a blob that is not complete, for the caller to put. -ENOENT: nothing, or it may
     * not be read before it is verified. Never waits for the network. */
    int (*find)(void *arg, const struct blob_key *key, struct partial **ret_partial);

    /* Makes these bytes readable by open or find. On 0, done is called exactly once, from any thread,
     * without locks, possibly before want returns; done must not block. On an error it is not
     * called. reader: the thread that waits, as our pid namespace knows it; 0 if it does not. */
    int (*want)(void *arg, const struct blob_key *key, uint64_t offset, uint64_t size, pid_t reader,
                provider_done done, void *done_arg);

    /* These bytes will be wanted soon; rest: all of them some time. Only a hint. */
    void (*ahead)(void *arg, const struct blob_key *key, uint64_t offset, uint64_t size, bool rest);

    /* Is the blob resident, by all that is known? Asked for each name of a listing, so it looks at
     * nothing: a file that is gone all the same is found out by open and present, and not resident after
     * that. */
    bool (*resident)(void *arg, const struct blob_key *key);

    /* The same, by a look at the file: for who asks about one. */
    bool (*present)(void *arg, const struct blob_key *key);

    /* Why the blob could not be had when it was last tried: one phrase, "" if that went well. */
    void (*problem)(void *arg, const struct blob_key *key, char ret_text[static 160]);

    /* The live document of that number (tree.h, TREE_LIVE) as it is now, malloc'd. tree: the
     * generation that shows it. */
    int (*render)(void *arg, const struct tree *tree, unsigned live, char **ret_text,
                  size_t *ret_size);
};
