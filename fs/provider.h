/* SPDX-License-Identifier: MIT */
/* provider.h - what fs asks of whoever has the bytes.
 *
 * fs knows names and inodes; it has never heard of HTTP, nor of where a cache lies. The program
 * that composes both gives it these four functions. All may be called from several threads at
 * once; only want may take its time, and it does so by calling back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cache/key.h"

/* error: 0, or the negative errno that the reader shall see (design 9). */
typedef void (*provider_done)(void *arg, int error);

struct provider {
    void *arg;

    /* A descriptor on the complete, verified blob, for the caller to close.
     * -ENOENT: not resident, want it first. Never waits for the network. */
    int (*open)(void *arg, const struct blob_key *key, int *ret_fd);

    /* Makes the blob resident. On 0, done is called exactly once, from any thread, without locks,
     * possibly before want returns; done must not block. On an error it is not called. */
    int (*want)(void *arg, const struct blob_key *key, provider_done done, void *done_arg);

    /* Is the blob resident? One stat(2). */
    bool (*resident)(void *arg, const struct blob_key *key);

    /* Why the blob could not be had when it was last tried: one phrase, "" if that went well. */
    void (*problem)(void *arg, const struct blob_key *key, char ret_text[static 160]);

    /* The live document of that number (tree.h, TREE_LIVE) as it is now, malloc'd. */
    int (*render)(void *arg, unsigned live, char **ret_text, size_t *ret_size);
};
