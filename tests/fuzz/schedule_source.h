/* SPDX-License-Identifier: MIT */
/* schedule_source.h - who answers in a schedule: fetch.h without a network.
 *
 *     source_open(&weather) -> what is tried calls fetch.h -> source_facts... -> source_close
 *
 * A few blobs, each at SOURCE_URL with its number behind it; whatever else is asked for is not there
 * (404). It answers whole or by range, in pieces of any size. In foul weather it also fails, in each
 * way that fetch.h knows, until it has failed `faults` times. It watches how it is called:
 *
 *   - callbacks and their order are those of fetch.h, and what is freed or cancelled stays silent;
 *   - no byte is asked for that a running request is to bring. The one exception: behind what a long
 *     request (longer than SPAN_MAX) has brought so far, and then that one has to end there;
 *   - no request is held back for long that somebody demands the bytes of. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_URL "http://source/"
#define SOURCE_BLOBS 3
#define SOURCE_SIZE_MAX (96 << 10)

struct source_weather {
    unsigned faults;
    bool slow; /* bytes take time */
    /* Does somebody demand bytes from there to there, since longer than this moment? */
    bool (*demanded)(unsigned blob, uint64_t from, uint64_t to, int64_t since_ns);
};

extern const size_t source_sizes[SOURCE_BLOBS];

/* Good after the first source_open. */
const uint8_t *source_bytes(unsigned blob);

void source_open(const struct source_weather *weather);

/* From now on nothing fails. */
void source_clear_up(void);
void source_close(void);

/* Bytes that were asked for, those that were never brought included. */
uint64_t source_asked(unsigned blob);
