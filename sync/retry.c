/* SPDX-License-Identifier: MIT */
/* retry.c - the table of retry.h, line by line.
 *
 * It ends because every answer but "give up" needs a number below a bound, and the caller counts; or
 * because those whose patience is endless have deadlines.
 * Whoever can not tell what happened gives up: a wrong file is worse than none. */
#include "sync/retry.h"

#include <limits.h>
#include <stddef.h>

#define ATTEMPTS 4
#define RETRY_AFTER_MAX_S 300

/* Full jitter: anything from nothing to the whole wait, so that a thousand clients that failed at
 * the same instant do not come back at the same instant. */
static uint32_t jitter_ms(unsigned number, uint32_t random)
{
    static const uint32_t waits_ms[] = {300, 1000, 3000};
    size_t last = sizeof(waits_ms) / sizeof(*waits_ms) - 1;
    size_t index = number < 1 ? 0 : number - 1;

    index = index < last ? index : last;
    return (uint32_t)(((uint64_t)random * (waits_ms[index] + 1)) >> 32);
}

static struct retry give_up(void)
{
    return (struct retry){.action = RETRY_GIVE_UP};
}

static struct retry next_url(void)
{
    return (struct retry){.action = RETRY_NEXT_URL};
}

/* A 500 is a bug there, not an outage that ends. */
static unsigned attempts_in_all(const struct attempt *attempt, enum retry_action action)
{
    bool outage = attempt->end != ATTEMPT_STATUS || attempt->status != 500;

    if (action != RETRY_SAME)
        return ATTEMPTS;
    if (attempt->patience == PATIENCE_NONE && outage)
        return 1;
    return attempt->patience == PATIENCE_ENDLESS && outage ? UINT_MAX : ATTEMPTS;
}

static struct retry again(const struct attempt *attempt, enum retry_action action, uint32_t random)
{
    if (attempt->number >= attempts_in_all(attempt, action))
        return give_up();
    return (struct retry){.action = action, .wait_ms = jitter_ms(attempt->number, random)};
}

static struct retry once_more_from_zero(const struct attempt *attempt, uint32_t random)
{
    return attempt->number > 1 ? give_up() : again(attempt, RETRY_RESTART, random);
}

/* The server is busy or broken, and may have said for how long. */
static struct retry again_when_told(const struct attempt *attempt, uint32_t random)
{
    struct retry retry = again(attempt, RETRY_SAME, random);
    int64_t told_s = attempt->retry_after_s;

    if (retry.action == RETRY_GIVE_UP || told_s <= 0)
        return retry;
    told_s = told_s < RETRY_AFTER_MAX_S ? told_s : RETRY_AFTER_MAX_S;
    if ((uint32_t)told_s * 1000 > retry.wait_ms)
        retry.wait_ms = (uint32_t)told_s * 1000;
    return retry;
}

static struct retry after_status(const struct attempt *attempt, uint32_t random)
{
    switch (attempt->status) {
    case 408:
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504: return again_when_told(attempt, random);
    case 416: return once_more_from_zero(attempt, random);
    case 404: return attempt->another_url ? next_url() : give_up();
    default: return give_up();
    }
}

struct retry retry_decide(const struct attempt *attempt, uint32_t random)
{
    switch (attempt->end) {
    case ATTEMPT_NETWORK: return again(attempt, RETRY_SAME, random);
    case ATTEMPT_STATUS: return after_status(attempt, random);
    case ATTEMPT_MISFIT:
    case ATTEMPT_CORRUPT: return once_more_from_zero(attempt, random);
    case ATTEMPT_OK:
    case ATTEMPT_REFUSED:
    case ATTEMPT_LOCAL:
    case ATTEMPT_STOPPED: return give_up();
    }
    return give_up();
}
