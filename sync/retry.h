/* SPDX-License-Identifier: MIT */
/* retry.h - again, or not, and when. A pure function of what happened.
 *
 * | what happened                                     | then                                       |
 * |---------------------------------------------------|--------------------------------------------|
 * | could not resolve, connect, or lost the connection | again, 4 attempts in all; one or no end,  |
 * |                                                   |   where patience says so                   |
 * | what came is lost with the connection, since the  | again from byte 0, 4 attempts in all       |
 * |   source has no ranges                            |                                            |
 * | 408, 425, 429, 502, 503, 504                      | the same; Retry-After obeyed up to 5 min   |
 * | 500                                               | again, 4 attempts in all                   |
 * | 416, or 206 that does not fit                     | once more from byte 0                      |
 * | bytes do not fit their key                        | once more from byte 0, past any cache      |
 * | no such file (404) with another URL to try        | that one, at once                          |
 * | 401, 403, 404, 410, 3xx, other 4xx, refused body  | give up                                    |
 * | no space, stopping, no memory                     | give up                                    |
 *
 * Waiting: full jitter over 300 ms, 1 s, 3 s; randomness is an argument, so tests are exact. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum patience {
    PATIENCE_SOME,
    PATIENCE_NONE, /* the source is known to be away */
    PATIENCE_ENDLESS, /* whoever waits has a deadline of his own, and the source may come back in time */
};

enum attempt_end {
    ATTEMPT_OK,
    ATTEMPT_NETWORK, /* no complete answer */
    ATTEMPT_STATUS,  /* an answer, with this status */
    ATTEMPT_MISFIT,  /* a range that is not what we asked for */
    ATTEMPT_CORRUPT, /* complete, but not the bytes of the key */
    ATTEMPT_REFUSED, /* we do not take this body (type, encoding, too long) */
    ATTEMPT_LOCAL,   /* our own disk or memory */
    ATTEMPT_STOPPED,
};

struct attempt {
    enum attempt_end end;
    int status;            /* HTTP, for ATTEMPT_STATUS */
    int64_t retry_after_s; /* -1 if not said */
    unsigned number;       /* 1 for the first on this URL; where the table says "once more", the
                            * number of those that ended this way */
    bool another_url;
    enum patience patience;
};

enum retry_action {
    RETRY_GIVE_UP,
    RETRY_SAME,    /* resume where it ended */
    RETRY_RESTART, /* from byte 0 */
    RETRY_NEXT_URL,
};

struct retry {
    enum retry_action action;
    uint32_t wait_ms;
};

struct retry retry_decide(const struct attempt *attempt, uint32_t random);
