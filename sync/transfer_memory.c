/* SPDX-License-Identifier: MIT */
/* What the network thread remembers between jobs: the token, what failed lately, and which URLs of
 * a blob lead nowhere. Nobody else touches these. The list of setbacks stays short: a look-up drops
 * what is to be forgotten. */
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

#define SETBACK_FIRST_MS 32
#define SETBACK_LONGEST_MS 2000
#define SETBACK_FORGET_MS 10000

/* --- the token --- */

const char *transfers_token(struct transfers *transfers)
{
    if (!transfers->token_asked && transfers->conf.token)
        transfers->token = transfers->conf.token(transfers->conf.token_arg);
    transfers->token_asked = true;
    return transfers->token;
}

bool transfers_renew_token(struct transfers *transfers, unsigned version)
{
    char *token;

    if (transfers->token_version != version)
        return true; /* another transfer was faster */
    token = transfers->conf.token ? transfers->conf.token(transfers->conf.token_arg) : NULL;
    if (!token || (transfers->token && strcmp(token, transfers->token) == 0)) {
        free(token);
        return false;
    }
    free(transfers->token);
    transfers->token = token;
    transfers->token_version++;
    return true;
}

/* --- setbacks --- */

static struct setback **find_setback(struct transfers *transfers, const char *name)
{
    struct setback **at = &transfers->setbacks;
    int64_t now = transfers_now_ms();

    while (*at) {
        struct setback *setback = *at;

        if (setback->forget_ms <= now) {
            *at = setback->next;
            free(setback);
        } else if (strcmp(setback->name, name) == 0) {
            break;
        } else {
            at = &setback->next;
        }
    }
    return at;
}

/* Without memory there is no back-off; the retries of the next want are bounded anyway. */
void transfers_note_end(struct transfers *transfers, const struct job *job, int error)
{
    struct setback **at = find_setback(transfers, job->name);
    struct setback *setback = *at;
    int64_t wait;

    if (error == 0 && setback) {
        *at = setback->next;
        free(setback);
    }
    if (error == 0)
        return;
    if (!setback) {
        setback = calloc(1, sizeof(*setback));
        if (!setback)
            return;
        snprintf(setback->name, sizeof(setback->name), "%s", job->name);
        setback->next = transfers->setbacks;
        transfers->setbacks = setback;
    }
    wait = (int64_t)SETBACK_FIRST_MS << (setback->count < 6 ? setback->count : 6);
    setback->count++;
    setback->error = error;
    setback->status = job->status;
    memcpy(setback->message, job->message, sizeof(setback->message));
    setback->until_ms = transfers_now_ms() +
                        (wait < SETBACK_LONGEST_MS ? wait : SETBACK_LONGEST_MS);
    setback->forget_ms = setback->until_ms + SETBACK_FORGET_MS;
}

const struct setback *transfers_setback(struct transfers *transfers, const char *name)
{
    const struct setback *setback = *find_setback(transfers, name);

    return setback && transfers_now_ms() < setback->until_ms ? setback : NULL;
}

/* --- URLs --- */

#define BARREN_MAX 1024

static struct barren **find_barren(struct barren **at, const char *url)
{
    while (*at && strcmp((*at)->url, url) != 0)
        at = &(*at)->next;
    return at;
}

static void drop_barren(struct transfers *transfers, struct barren **at)
{
    struct barren *barren = *at;

    *at = barren->next;
    free(barren);
    transfers->barren_count--;
}

size_t transfers_first_url(const struct transfers *transfers, char *const *urls)
{
    struct barren *barren = transfers->barren;

    for (size_t i = 0; barren && urls[i]; i++) {
        if (!*find_barren(&barren, urls[i]))
            return i;
    }
    return 0;
}

/* Without memory it is asked in vain once more. */
static void add_barren(struct transfers *transfers, const char *url)
{
    struct barren **last = &transfers->barren;
    size_t size = strlen(url) + 1;
    struct barren *barren = malloc(sizeof(*barren) + size);

    if (!barren)
        return;
    memcpy(barren->url, url, size);
    barren->next = transfers->barren;
    transfers->barren = barren;
    if (++transfers->barren_count <= BARREN_MAX)
        return;
    while ((*last)->next)
        last = &(*last)->next;
    drop_barren(transfers, last);
}

void transfers_note_url(struct transfers *transfers, char *const *urls, size_t good)
{
    for (size_t i = 0; i < good; i++) {
        if (!*find_barren(&transfers->barren, urls[i]))
            add_barren(transfers, urls[i]);
    }
}

void transfers_doubt_urls(struct transfers *transfers, char *const *urls)
{
    for (size_t i = 0; urls[i]; i++) {
        struct barren **at = find_barren(&transfers->barren, urls[i]);

        if (*at)
            drop_barren(transfers, at);
    }
}

void transfers_forget(struct transfers *transfers)
{
    while (transfers->barren)
        drop_barren(transfers, &transfers->barren);
    while (transfers->setbacks) {
        struct setback *next = transfers->setbacks->next;

        free(transfers->setbacks);
        transfers->setbacks = next;
    }
    free(take_ptr(transfers->token));
}
