/* SPDX-License-Identifier: MIT */
/* Why a stall is noticed and a pause is not one: `progress_ms` is set by every header line, every
 * piece of body and every resume, and only an exchange that flows is compared with the clock.
 *
 * Why callbacks come from fetch_run alone: fetch_pause notes a wish, which is granted by the next
 * run (libcurl hands over held-back bytes from inside curl_easy_pause); a failure to open a file is
 * told by the first step. Callbacks of done may start and cancel exchanges, so every walk over the
 * list that calls one begins again at its front. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"
#include "sync/fetch_private.h"

int64_t fetch_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool is_token(const char *text)
{
    for (; *text; text++) {
        if (*text <= ' ' || *text > '~')
            return false;
    }
    return true;
}

int fetch_start(struct fetch *fetch, const struct fetch_request *request,
                struct fetch_exchange **ret_exchange)
{
    scoped_free char *url = NULL;
    scoped_free char *path = NULL;
    struct fetch_exchange *exchange;
    int r = fetch_url_resolve(NULL, request->url, &url);

    if (r < 0)
        return r;
    if ((request->bearer && !is_token(request->bearer)) ||
        (request->if_range && !is_token(request->if_range)) ||
        ((request->method || request->json || request->foreign) && strncmp(url, "file:", 5) == 0))
        return -EINVAL;
    if (request->foreign && fetch_has_proxy_of_environment(fetch))
        return -EACCES;
    exchange = calloc(1, sizeof(*exchange));
    if (!exchange)
        return -ENOMEM;
    exchange->fetch = fetch;
    exchange->request = *request;
    exchange->progress_ms = fetch_now_ms();
    head_parser_reset(&exchange->parser);
    if (strncmp(url, "file:", 5) == 0) {
        r = fetch_url_to_path(url, &path);
        if (r == 0)
            exchange->file_error = fetch_file_open(path, request->offset, request->length,
                                                   request->if_range, &exchange->file);
    } else {
        r = exchange_start_http(exchange, request, url);
    }
    if (r < 0) {
        exchange_free(exchange);
        return r;
    }
    exchange->next = fetch->first;
    fetch->first = exchange;
    fetch->running++;
    *ret_exchange = exchange;
    return 0;
}

#define SECRET_MIN 16

bool fetch_quotes(const char *text, const char *token)
{
    return token && strlen(token) >= SECRET_MIN && strcasestr(text, token);
}

void fetch_cancel(struct fetch_exchange *exchange)
{
    exchange_end(exchange, FETCH_ABORTED, "cancelled");
}

int fetch_pause(struct fetch_exchange *exchange, bool pause)
{
    exchange->pause = pause;
    return 0;
}

/* --- running --- */

static void grant_pauses(struct fetch *fetch)
{
    for (struct fetch_exchange *exchange = fetch->first; exchange; exchange = exchange->next) {
        if (exchange->pause == exchange->paused)
            continue;
        exchange->paused = exchange->pause;
        exchange->progress_ms = fetch_now_ms();
        if (exchange->easy)
            curl_easy_pause(exchange->easy, exchange->pause ? CURLPAUSE_RECV : CURLPAUSE_CONT);
    }
}

static int64_t exchange_stalls_at(const struct fetch_exchange *exchange)
{
    if (exchange->paused || exchange->request.stall_s == 0)
        return INT64_MAX;
    return exchange->progress_ms + (int64_t)exchange->request.stall_s * 1000;
}

static int shortest_wait(const struct fetch *fetch, int timeout_ms)
{
    int64_t now = fetch_now_ms();
    int64_t wait = timeout_ms;

    for (struct fetch_exchange *exchange = fetch->first; exchange; exchange = exchange->next) {
        int64_t until = exchange_stalls_at(exchange);

        if (!exchange->easy && !exchange->pause)
            return 0;
        if (until < now + wait)
            wait = until > now ? until - now : 0;
    }
    return (int)wait;
}

static void end_what_curl_ended(struct fetch *fetch)
{
    struct CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(fetch->multi, &left))) {
        struct fetch_exchange *exchange = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&exchange);
        exchange_finish(exchange, message->data.result);
    }
}

static void step_files(struct fetch *fetch)
{
    struct fetch_exchange *next = NULL;

    for (struct fetch_exchange *exchange = fetch->first; exchange; exchange = next) {
        int running = fetch->running;

        next = exchange->next;
        if (exchange->easy || exchange->paused)
            continue;
        exchange_step_file(exchange);
        if (fetch->running != running)
            return; /* one has ended, and who knows what its done did: the rest is for next time */
    }
}

static struct fetch_exchange *find_stalled(const struct fetch *fetch)
{
    int64_t now = fetch_now_ms();

    for (struct fetch_exchange *exchange = fetch->first; exchange; exchange = exchange->next) {
        if (exchange_stalls_at(exchange) <= now)
            return exchange;
    }
    return NULL;
}

int fetch_run(struct fetch *fetch, int timeout_ms)
{
    struct fetch_exchange *stalled;
    int still = 0;

    grant_pauses(fetch);
    curl_multi_poll(fetch->multi, NULL, 0, shortest_wait(fetch, timeout_ms), NULL);
    curl_multi_perform(fetch->multi, &still);
    end_what_curl_ended(fetch);
    step_files(fetch);
    while ((stalled = find_stalled(fetch)))
        exchange_end(stalled, FETCH_STALLED, "no data came in time");
    return fetch->running;
}

void fetch_wake(struct fetch *fetch)
{
    curl_multi_wakeup(fetch->multi);
}

/* --- the whole --- */

static void global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int copy_text(const char *text, char **ret_copy)
{
    *ret_copy = text ? strdup(text) : NULL;
    return text && !*ret_copy ? -ENOMEM : 0;
}

int fetch_new(const struct fetch_conf *conf, struct fetch **ret_fetch)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct fetch *fetch = calloc(1, sizeof(*fetch));

    pthread_once(&once, global_init);
    if (!fetch)
        return -ENOMEM;
    fetch->multi = curl_multi_init();
    if (!fetch->multi || copy_text(conf->user_agent, &fetch->user_agent) < 0 ||
        copy_text(conf->ca_file, &fetch->ca_file) < 0 ||
        copy_text(conf->proxy, &fetch->proxy) < 0) {
        fetch_free(fetch);
        return -ENOMEM;
    }
    /* Without a descriptor left it makes one that can not be woken, and does not say so. */
    if (curl_multi_wakeup(fetch->multi) != CURLM_OK) {
        fetch_free(fetch);
        return -EMFILE;
    }
    curl_multi_setopt(fetch->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                      (long)conf->connections_per_host);
    *ret_fetch = fetch;
    return 0;
}

void fetch_free(struct fetch *fetch)
{
    if (!fetch)
        return;
    while (fetch->first)
        fetch_cancel(fetch->first);
    if (fetch->multi)
        curl_multi_cleanup(fetch->multi);
    free(fetch->user_agent);
    free(fetch->ca_file);
    free(fetch->proxy);
    free(fetch);
}

void fetch_versions(const char **ret_curl, const char **ret_tls)
{
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);

    *ret_curl = info->version;
    *ret_tls = info->ssl_version ? info->ssl_version : "none";
}
