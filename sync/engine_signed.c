/* SPDX-License-Identifier: MIT */
/* The signed addresses of the last manifest, in memory only. They are no news: a refresh that brings
 * nothing else publishes and writes nothing. Who asks for one gets a copy, so a refresh need not
 * wait for anybody. One that is over is asked of nobody, but makes the next refresh come sooner:
 * there may be tables that can be had in no other way (contract 2, the id/name trap). */
#include <string.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"

void engine_renew_signed(struct engine *engine, const struct manifest *manifest, int64_t asked_ms)
{
    struct signed_urls *urls = NULL;
    struct signed_urls *old;

    signed_urls_new(manifest, asked_ms, &urls); /* without memory there are none */
    {
        scoped_lock(&engine->lock);
        old = engine->signed_urls;
        engine->signed_urls = urls;
    }
    signed_urls_free(old);
    transfers_renew_signed(engine->transfers);
}

char *engine_signed_url(void *arg, const struct blob_key *key)
{
    struct engine *engine = arg;
    const char *url;
    bool over;

    scoped_lock(&engine->lock);
    url = signed_urls_find(engine->signed_urls, key, signed_now_ms(), &over);
    if (over) {
        engine->outdated = true;
        pthread_cond_broadcast(&engine->changed);
    }
    return url ? strdup(url) : NULL;
}
