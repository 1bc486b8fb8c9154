/* SPDX-License-Identifier: MIT */
/* borrower.h - bytes from the process that has the cache.
 *
 * Of several mounts of one source, one has the cache (store.h's writer). The others ask its process,
 * by its control socket, to bring what is missing, and read it from the cache as if they had.
 *
 *     borrower_new -> borrower_want... -> borrower_free
 *
 * A few threads, each with one question at a time, so that a file that does not come holds up few
 * others. A process that does not answer is asked again, or its successor is, until the time is up:
 * -ETIMEDOUT. Should we have become the successor ourselves, it is for us to fetch: the want is
 * handed to engine_want.
 *
 * Threads: any; done comes from one of its own, exactly once, -ECANCELED at the end. */
#pragma once

#include "fs/cli/control.h"
#include "sync/engine.h"

struct borrower;

struct borrower_conf {
    const char *cache_dir; /* whose lock names the process; outlives the borrower, like the rest */
    const char *own;       /* our own mount point: not to be asked */
    unsigned timeout_s;
    struct engine *engine;
};

int borrower_new(const struct borrower_conf *conf, struct borrower **ret_borrower);
void borrower_free(struct borrower *borrower); /* NULL is allowed */

int borrower_want(struct borrower *borrower, const struct borrow *borrow, want_done done,
                  void *arg);

/* The question as text, and back: the argument of the control verb "want". -EINVAL. */
#define BORROW_TEXT_SIZE 160
void borrow_format(const struct borrow *borrow, char ret_text[static BORROW_TEXT_SIZE]);
int borrow_parse(const char *text, struct borrow *ret_borrow);

/* Sends a request to the process that has the cache. -ENOENT: there is none that we could ask. */
int borrower_ask(const struct borrower *borrower, const struct control_request *request,
                 int timeout_ms, char **ret_text, size_t *ret_size);
