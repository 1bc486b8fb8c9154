/* SPDX-License-Identifier: MIT */
/* Two that look at once may both render; the later one's rendering is kept, and each has its own. */
#include "fs/live.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "cache/scoped.h"

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void live_init(struct live *live)
{
    pthread_mutex_init(&live->lock, NULL);
}

static void text_free(struct live_text *text)
{
    free(text->bytes);
    free(text);
}

/* Lock held. True: nobody has it any more, and it is the caller's to free, without the lock. */
static bool text_drop(struct live *live, struct live_text *text)
{
    if (--text->references > 0)
        return false;
    for (size_t i = 0; i < LIVE_DOCUMENTS; i++)
        if (live->renderings[i].text == text)
            live->renderings[i].text = NULL;
    return true;
}

void live_put(struct live *live, struct live_text *text)
{
    bool gone = false;

    if (text) {
        scoped_lock(&live->lock);
        gone = text_drop(live, text);
    }
    if (gone)
        text_free(text);
}

void live_release(struct live *live)
{
    for (size_t i = 0; i < LIVE_DOCUMENTS; i++)
        live_put(live, live->renderings[i].text);
    pthread_mutex_destroy(&live->lock);
}

/* What is kept of that document and serves for this generation. Of a large one there may be no text. */
static bool recall(struct live *live, unsigned number, int64_t published_ns,
                   struct blob_key *ret_key, struct live_text **ret_text)
{
    const struct rendering *rendering = &live->renderings[number];

    scoped_lock(&live->lock);
    if (rendering->key.kind == BLOB_NONE || rendering->published_ns != published_ns)
        return false;
    if (live_is_small(&rendering->key) &&
        (!rendering->text || now_ms() - rendering->rendered_ms >= LIVE_MS))
        return false;
    *ret_key = rendering->key;
    *ret_text = rendering->text;
    if (*ret_text)
        (*ret_text)->references++;
    return true;
}

/* Lock held. Returns what nobody has any more. */
static struct live_text *replace(struct live *live, unsigned number, int64_t published_ns,
                                 struct live_text *text)
{
    struct rendering *rendering = &live->renderings[number];
    struct live_text *old = rendering->text;
    const bool held = old && live_is_small(&old->key);

    *rendering = (struct rendering){.key = text->key,
                                    .text = text,
                                    .rendered_ms = now_ms(),
                                    .published_ns = published_ns};
    text->references += live_is_small(&text->key);
    return held && text_drop(live, old) ? old : NULL;
}

static int render(struct live *live, const struct live_view *view, unsigned number,
                  struct live_text **ret_text)
{
    struct live_text *text = calloc(1, sizeof(*text));
    struct live_text *gone;
    size_t size;
    int r = text ? view->provider->render(view->provider->arg, view->tree, number, &text->bytes,
                                          &size)
                 : -ENOMEM;

    if (r < 0) {
        free(text);
        return r;
    }
    text->references = 1;
    blob_key_of_bytes(text->bytes, size, &text->key);
    {
        scoped_lock(&live->lock);
        gone = replace(live, number, view->published_ns, text);
    }
    if (gone)
        text_free(gone);
    *ret_text = text;
    return 0;
}

int live_look(struct live *live, const struct live_view *view, unsigned number,
              struct blob_key *ret_key, struct live_text **ret_text)
{
    struct live_text *text = NULL;
    int r;

    if (number >= LIVE_DOCUMENTS)
        return -EINVAL;
    if (!recall(live, number, view->published_ns, ret_key, &text)) {
        r = render(live, view, number, &text);
        if (r < 0)
            return r;
        *ret_key = text->key;
    }
    if (!live_is_small(ret_key)) {
        live_put(live, text);
        text = NULL;
    }
    *ret_text = text;
    return 0;
}

/* Which document it is; LIVE_DOCUMENTS: none. */
static unsigned number_of(struct live *live, const struct blob_key *key)
{
    unsigned number = 0;

    scoped_lock(&live->lock);
    while (number < LIVE_DOCUMENTS && !blob_key_equal(&live->renderings[number].key, key))
        number++;
    return number;
}

int live_open(struct live *live, const struct live_view *view, const struct blob_key *key,
              struct live_text **ret_text)
{
    const unsigned number = number_of(live, key);
    struct live_text *text = NULL;
    struct blob_key now;
    int r;

    if (number == LIVE_DOCUMENTS)
        return -ESTALE;
    if (!recall(live, number, view->published_ns, &now, &text) || !text) {
        r = render(live, view, number, &text);
        if (r < 0)
            return r;
    }
    if (!blob_key_equal(&text->key, key)) {
        live_put(live, text);
        return -ESTALE;
    }
    *ret_text = text;
    return 0;
}
