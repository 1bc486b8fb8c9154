/* SPDX-License-Identifier: MIT */
/* A sorted array: it is made once a refresh, and asked once a request. */
#include "sync/signed.h"

#include <errno.h>
#include <time.h>

#include "sync/arena.h"

struct signed_url {
    struct blob_key key;
    const char *url;
    int64_t until_ms; /* the margin is taken off */
};

struct signed_urls {
    struct arena arena;
    size_t count;
    struct signed_url urls[];
};

int64_t signed_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int by_key(const void *a, const void *b)
{
    const struct signed_url *one = a, *other = b;

    return blob_key_compare(&one->key, &other->key);
}

int signed_urls_new(const struct manifest *manifest, int64_t asked_ms,
                    struct signed_urls **ret_urls)
{
    size_t rows, count = 0;
    const struct manifest_row *row = manifest_rows(manifest, &rows);

    for (size_t i = 0; i < rows; i++)
        count += row[i].signed_url != NULL;

    struct signed_urls *urls = calloc(1, sizeof(*urls) + count * sizeof(*urls->urls));

    if (!urls)
        return -ENOMEM;
    for (size_t i = 0; i < rows; i++) {
        struct signed_url *url = &urls->urls[urls->count];

        if (!row[i].signed_url)
            continue;
        url->key = row[i].files[0].key;
        url->until_ms = asked_ms + row[i].signed_for_ms - SIGNED_MARGIN_MS;
        url->url = arena_copy(&urls->arena, row[i].signed_url, strlen(row[i].signed_url));
        if (!url->url) {
            signed_urls_free(urls);
            return -ENOMEM;
        }
        urls->count++;
    }
    qsort(urls->urls, count, sizeof(*urls->urls), by_key);
    *ret_urls = urls;
    return 0;
}

void signed_urls_free(struct signed_urls *urls)
{
    if (!urls)
        return;
    arena_release(&urls->arena);
    free(urls);
}

const char *signed_urls_find(const struct signed_urls *urls, const struct blob_key *key,
                             int64_t now_ms, bool *ret_over)
{
    const struct signed_url wanted = {.key = *key};
    const struct signed_url *found = NULL;

    if (urls && urls->count > 0)
        found = bsearch(&wanted, urls->urls, urls->count, sizeof(wanted), by_key);
    *ret_over = found && now_ms >= found->until_ms;
    return found && !*ret_over ? found->url : NULL;
}
