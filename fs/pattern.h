/* SPDX-License-Identifier: MIT */
/* pattern.h - how an open file is being read, and what to fetch before it is asked for. Pure.
 *
 * A reader that goes on where it stopped is given a window that grows with what it has read in one
 * go, a quarter of it, up to PATTERN_WINDOW; so little more is fetched than is read. One that jumps
 * gets exactly what it asks for. Who has read much in one go will want the rest. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PATTERN_WINDOW ((uint64_t)64 << 20)

struct pattern {
    uint64_t run;   /* bytes read in one go, up to... */
    uint64_t next;  /* ...here */
    uint64_t ahead; /* up to here it was asked for already */
};

struct pattern_advice {
    uint64_t offset; /* ask for these now... */
    uint64_t size;   /* ...0: for nothing */
    bool rest;       /* and for all of the file */
};

/* Of a file of file_size bytes, these are being read. */
void pattern_note(struct pattern *pattern, uint64_t offset, uint64_t size, uint64_t file_size,
                  struct pattern_advice *ret_advice);
