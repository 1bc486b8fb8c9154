/* SPDX-License-Identifier: MIT */
/* Two that look at once may both render; the later one's rendering is kept, and each has its own. */
#include "fs/live.h"

#include <errno.h>
#include <string.h>
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

void live_release(struct live *live)
{
    for (size_t i = 0; i < LIVE_DOCUMENTS; i++)
        free(live->renderings[i].text);
    pthread_mutex_destroy(&live->lock);
}

static char *copy_of(const char *text, size_t size)
{
    char *copy = malloc(size + 1);

    if (copy) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

/* NULL if there is none that serves. */
static char *recall(struct live *live, unsigned number, int64_t published_ns, size_t *ret_size)
{
    const struct rendering *rendering = &live->renderings[number];

    scoped_lock(&live->lock);
    if (!rendering->text || rendering->published_ns != published_ns ||
        now_ms() - rendering->rendered_ms >= LIVE_MS)
        return NULL;
    *ret_size = rendering->size;
    return copy_of(rendering->text, rendering->size);
}

/* Without memory the next one to look renders again. */
static void keep(struct live *live, unsigned number, int64_t published_ns, const char *text,
                 size_t size)
{
    struct rendering fresh = {.text = copy_of(text, size),
                              .size = size,
                              .rendered_ms = now_ms(),
                              .published_ns = published_ns};
    struct rendering old;

    {
        scoped_lock(&live->lock);
        old = live->renderings[number];
        live->renderings[number] = fresh;
    }
    free(old.text);
}

int live_get(struct live *live, const struct provider *provider, unsigned number,
             int64_t published_ns, char **ret_text, size_t *ret_size)
{
    int r;

    if (number >= LIVE_DOCUMENTS)
        return -EINVAL;

    char *text = recall(live, number, published_ns, ret_size);

    if (text) {
        *ret_text = text;
        return 0;
    }
    r = provider->render(provider->arg, number, ret_text, ret_size);
    if (r == 0)
        keep(live, number, published_ns, *ret_text, *ret_size);
    return r;
}
