/* SPDX-License-Identifier: MIT */
/* transfer_span.h - which bytes of a blob to ask for next. Pure.
 *
 * The caller shows what is here and what is on its way, block by block; the answer is the first run
 * of bytes that are neither, so that neighbours go in one request and nothing is asked for twice. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct span {
    uint64_t from;
    uint64_t to; /* exclusive */
};

struct span_map {
    uint64_t size;  /* of the blob */
    uint64_t block; /* bytes */
    uint64_t (*filled)(void *arg,
                       uint32_t block);        /* bytes of it that are here, from its beginning */
    bool (*coming)(void *arg, uint32_t block); /* somebody has asked for the rest of it */
    void *arg;
};

/* Of the blocks that [from, to) touches: the first run to ask for, at most `most` bytes rounded up to
 * whole blocks. Runs begin where their first block ends so far, and end with a block or the blob.
 * False: all of it is here or coming. */
bool span_next(const struct span_map *map, uint64_t from, uint64_t to, uint64_t most,
               struct span *ret_span);
