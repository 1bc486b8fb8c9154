/* SPDX-License-Identifier: MIT */
#include "fs/pattern.h"

/* The kernel reads ahead itself, and threads of one reader overtake each other: going on means to
 * begin near the end of what was read. */
#define NEAR_BYTES ((uint64_t)1 << 20)

/* Less is not worth a request of its own; and from that much in one go on it is worth one, though
 * it is more than a quarter. */
#define WINDOW_LEAST ((uint64_t)1 << 20)
#define RUN_LEAST ((uint64_t)3 << 20)

/* That much in one go, and that part of the file. */
#define REST_RUN ((uint64_t)32 << 20)
#define REST_PART 8

static bool goes_on(const struct pattern *pattern, uint64_t offset)
{
    return offset <= pattern->next + NEAR_BYTES && offset + NEAR_BYTES >= pattern->next;
}

void pattern_note(struct pattern *pattern, uint64_t offset, uint64_t size, uint64_t file_size,
                  struct pattern_advice *ret_advice)
{
    uint64_t end = offset + size;
    uint64_t window;
    uint64_t to;

    *ret_advice = (struct pattern_advice){.size = 0};
    if (!goes_on(pattern, offset) || pattern->run == 0)
        *pattern = (struct pattern){.next = offset, .ahead = offset};
    if (end > pattern->next) {
        pattern->run += end - (offset > pattern->next ? offset : pattern->next);
        pattern->next = end;
    }
    window = pattern->run / 4;
    window = window > WINDOW_LEAST ? window : WINDOW_LEAST;
    window = window < PATTERN_WINDOW ? window : PATTERN_WINDOW;
    to = pattern->next + window < file_size ? pattern->next + window : file_size;
    if (pattern->run < RUN_LEAST || pattern->next >= file_size)
        return;
    ret_advice->rest = pattern->run >= REST_RUN && pattern->run >= file_size / REST_PART;
    /* Half a window at a time: few requests, and always some way ahead. */
    if (pattern->ahead >= to || pattern->ahead >= pattern->next + window / 2)
        return;
    ret_advice->offset = pattern->ahead > pattern->next ? pattern->ahead : pattern->next;
    ret_advice->size = to - ret_advice->offset;
    pattern->ahead = to;
}
