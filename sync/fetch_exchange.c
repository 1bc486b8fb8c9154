/* SPDX-License-Identifier: MIT */
/* Why done comes exactly once: an exchange is in the list from fetch_start until exchange_end,
 * which takes it out first and calls done last; nothing else does either. libcurl must not be
 * entered from its own callbacks (but for curl_easy_pause), so those only note what to do. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"
#include "sync/address.h"
#include "sync/fetch_private.h"

#define CONNECT_TIMEOUT_MS 10000L
#define BUFFER_SIZE 262144L
#define HEAD_TOO_LONG "the headers are too long"

/* --- an exchange's end --- */

static void exchange_unlink(struct fetch_exchange *exchange)
{
    struct fetch *fetch = exchange->fetch;
    struct fetch_exchange **at = &fetch->first;

    while (*at != exchange)
        at = &(*at)->next;
    *at = exchange->next;
    fetch->running--;
}

void exchange_free(struct fetch_exchange *exchange)
{
    if (exchange->easy)
        curl_easy_cleanup(exchange->easy);
    curl_slist_free_all(exchange->headers);
    fetch_file_close(exchange->file);
    free(exchange);
}

/* "Expire date:Nov 25 20:08:04 2026 GMT" of the first certificate, which is the server's. */
static int64_t certificate_end(CURL *easy)
{
    static const char name[] = "Expire date:";
    struct curl_certinfo *info = NULL;

    if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &info) != CURLE_OK || !info ||
        info->num_of_certs < 1)
        return 0;
    for (const struct curl_slist *line = info->certinfo[0]; line; line = line->next) {
        if (strncmp(line->data, name, sizeof(name) - 1) == 0) {
            time_t end = curl_getdate(line->data + sizeof(name) - 1, NULL);

            return end > 0 ? end : 0;
        }
    }
    return 0;
}

static void note_facts(const struct fetch_exchange *exchange, struct fetch_result *result)
{
    const struct {
        CURLINFO info;
        int64_t *at;
    } times[] = {
        {CURLINFO_NAMELOOKUP_TIME_T, &result->times.name},
        {CURLINFO_CONNECT_TIME_T, &result->times.connection},
        {CURLINFO_APPCONNECT_TIME_T, &result->times.tls},
        {CURLINFO_STARTTRANSFER_TIME_T, &result->times.answer},
    };
    curl_off_t time;

    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++)
        if (curl_easy_getinfo(exchange->easy, times[i].info, &time) == CURLE_OK)
            *times[i].at = time;
    if (exchange->request.certificate)
        result->certificate_ends_unix = certificate_end(exchange->easy);
}

void exchange_end(struct fetch_exchange *exchange, enum fetch_end end, const char *message)
{
    struct fetch_result result = {
        .end = end,
        .status = exchange->status,
        .bytes = exchange->bytes,
    };

    exchange_unlink(exchange);
    if (exchange->easy) {
        note_facts(exchange, &result);
        curl_multi_remove_handle(exchange->fetch->multi, exchange->easy);
    }
    snprintf(result.message, sizeof(result.message), "%s", message);
    if (result.message[0] >= 'A' && result.message[0] <= 'Z' && result.message[1] >= 'a')
        result.message[0] = (char)(result.message[0] - 'A' + 'a');
    if (exchange->request.done)
        exchange->request.done(exchange->request.arg, &result);
    exchange_free(exchange);
}

static enum fetch_end end_of_code(CURLcode code)
{
    switch (code) {
    case CURLE_OK: return FETCH_COMPLETE;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return FETCH_RESOLVE;
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT: /* the only clock that curl keeps for us is the connect one */
    case CURLE_PROXY: return FETCH_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_PEER_FAILED_VERIFICATION: return FETCH_TLS;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_WRITE_ERROR: /* bytes before a head, or behind the end of what was compressed */
    case CURLE_BAD_CONTENT_ENCODING: return FETCH_REFUSED;
    case CURLE_OUT_OF_MEMORY: return FETCH_LOCAL;
    default: return FETCH_LOST;
    }
}

/* libcurl says it has no memory when a line, without an end yet, is longer than it cares to keep. */
static bool head_is_endless(const struct fetch_exchange *exchange, CURLcode code)
{
    long asked = 0;

    curl_easy_getinfo(exchange->easy, CURLINFO_REQUEST_SIZE, &asked);
    return code == CURLE_OUT_OF_MEMORY && asked > 0 && !exchange->head_done;
}

void exchange_finish(struct fetch_exchange *exchange, CURLcode code)
{
    const char *message = exchange->error[0] ? exchange->error : curl_easy_strerror(code);
    char buffer[160];
    long system_error = 0;

    if (!exchange->refused && head_is_endless(exchange, code))
        exchange->refused = HEAD_TOO_LONG;

    if (exchange->refused) {
        exchange_end(exchange, FETCH_REFUSED, exchange->refused);
        return;
    }
    if (exchange->aborted) {
        exchange_end(exchange, FETCH_ABORTED, "stopped");
        return;
    }
    if (code == CURLE_COULDNT_CONNECT && exchange->not_public) {
        exchange_end(exchange, FETCH_REFUSED, "its address is not a public one");
        return;
    }
    if (code == CURLE_COULDNT_CONNECT && exchange->socket_error) {
        exchange_end(exchange, FETCH_LOCAL,
                     strerror_r(exchange->socket_error, buffer, sizeof(buffer)));
        return;
    }
    curl_easy_getinfo(exchange->easy, CURLINFO_OS_ERRNO, &system_error);
    if (code == CURLE_COULDNT_CONNECT && system_error > 0)
        message = strerror_r((int)system_error, buffer, sizeof(buffer));
    else if (code == CURLE_OPERATION_TIMEDOUT)
        message = "connecting took too long";
    else if (code == CURLE_WRITE_ERROR)
        message = "the server sent bytes that belong to no answer";
    exchange_end(exchange, end_of_code(code), code == CURLE_OK ? "" : message);
}

/* --- what arrives --- */

/* False ends the exchange. */
static bool exchange_head(struct fetch_exchange *exchange, struct fetch_head *head)
{
    const struct head_parser *parser = &exchange->parser;

    exchange->head_done = true;
    exchange->status = head->status;
    if (parser->unreadable || (parser->encoded && !exchange->request.gzip)) {
        exchange->refused = "the body is encoded in a way that was not asked for";
        return false;
    }
    if (exchange->request.head && exchange->request.head(exchange->request.arg, head) < 0)
        exchange->aborted = true;
    return !exchange->aborted;
}

static bool exchange_body(struct fetch_exchange *exchange, const void *data, size_t size)
{
    exchange->progress_ms = fetch_now_ms();
    exchange->bytes += size;
    if (exchange->request.body && exchange->request.body(exchange->request.arg, data, size) < 0)
        exchange->aborted = true;
    return !exchange->aborted;
}

/* Servers quote what they do not like. From here on it would get into messages, logs, the cache. */
static void hide_secrets(const struct fetch_exchange *exchange, struct fetch_head *head)
{
    const char **const texts[] = {&head->etag, &head->type, &head->location, &head->min_version,
                                  &head->content_md5};

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        if (fetch_quotes(*texts[i], exchange->bearer))
            *texts[i] = "";
}

static size_t on_header(char *line, size_t one, size_t size, void *arg)
{
    struct fetch_exchange *exchange = arg;
    struct fetch_head head;

    exchange->progress_ms = fetch_now_ms();
    switch (head_parser_line(&exchange->parser, line, size)) {
    case HEAD_TOO_BIG: exchange->refused = HEAD_TOO_LONG; return 0;
    case HEAD_COMPLETE:
        if (exchange->head_done) /* a trailer's end */
            return size;
        head_parser_head(&exchange->parser, &head);
        hide_secrets(exchange, &head);
        head.date_unix = exchange->parser.date[0] ? curl_getdate(exchange->parser.date, NULL) : -1;
        if (head.retry_after_s < 0 && exchange->parser.retry_after[0]) {
            time_t date = curl_getdate(exchange->parser.retry_after, NULL);
            time_t now = time(NULL);

            head.retry_after_s = date < 0 ? -1 : date > now ? date - now : 0;
        }
        return exchange_head(exchange, &head) ? size : 0;
    case HEAD_MORE:
    default: return size;
    }
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
    struct fetch_exchange *exchange = arg;

    if (size == 0)
        return 0;
    if (!exchange->head_done || !exchange_body(exchange, data, size))
        return 0;
    if (exchange->pause && !exchange->paused) {
        exchange->paused = true;
        curl_easy_pause(exchange->easy, CURLPAUSE_RECV);
    }
    return size;
}

void exchange_step_file(struct fetch_exchange *exchange)
{
    const void *data = NULL;
    char message[160];
    ssize_t size = 0;

    if (exchange->file_error) {
        bool absent = exchange->file_error == -ENOENT;

        snprintf(message, sizeof(message), "the file can not be read: %s",
                 strerror(-exchange->file_error));
        exchange_end(exchange, absent ? FETCH_NOT_FOUND : FETCH_LOST,
                     absent ? "no such file" : message);
        return;
    }
    if (!exchange->head_done) {
        struct fetch_head head;

        fetch_file_head(exchange->file, &head);
        exchange_head(exchange, &head);
    }
    if (!exchange->aborted && !exchange->pause)
        size = fetch_file_read(exchange->file, &data);
    if (size > 0)
        exchange_body(exchange, data, (size_t)size);
    if (exchange->aborted)
        exchange_end(exchange, FETCH_ABORTED, "stopped");
    else if (size < 0)
        exchange_end(exchange, FETCH_LOST,
                     size == -ENODATA ? "the file became shorter while it was read"
                                      : "the file can not be read");
    else if (size == 0 && !exchange->pause)
        exchange_end(exchange, FETCH_COMPLETE, "");
}

/* --- starting --- */

static int add_header(struct fetch_exchange *exchange, const char *name, const char *value)
{
    scoped_free char *line = NULL;
    struct curl_slist *longer;

    if (asprintf(&line, "%s: %s", name, value) < 0) {
        line = NULL;
        return -ENOMEM;
    }
    longer = curl_slist_append(exchange->headers, line);
    if (!longer)
        return -ENOMEM;
    exchange->headers = longer;
    return 0;
}

/* It is kept nowhere but in the header, which is the first. */
static int add_bearer(struct fetch_exchange *exchange, const char *token)
{
    scoped_free char *bearer = NULL;
    int r;

    if (asprintf(&bearer, "Bearer %s", token) < 0) {
        bearer = NULL;
        return -ENOMEM;
    }
    r = add_header(exchange, "Authorization", bearer);
    if (r == 0)
        exchange->bearer = exchange->headers->data + strlen("Authorization: Bearer ");
    return r;
}

static int add_headers(struct fetch_exchange *exchange, const struct fetch_request *request)
{
    char range[64];
    int r = request->bearer ? add_bearer(exchange, request->bearer) : 0;

    if (r == 0 && (request->offset > 0 || request->length > 0)) {
        int size = snprintf(range, sizeof(range), "bytes=%" PRIu64 "-", request->offset);

        if (request->length > 0)
            snprintf(range + size, sizeof(range) - (size_t)size, "%" PRIu64,
                     request->offset + request->length - 1);
        r = add_header(exchange, "Range", range);
        if (r == 0 && request->if_range && request->if_range[0])
            r = add_header(exchange, "If-Range", request->if_range);
    }
    if (r == 0 && request->no_cache)
        r = add_header(exchange, "Cache-Control", "no-cache");
    if (r == 0 && request->json)
        r = add_header(exchange, "Content-Type", "application/json");
    return r;
}

/* Called for each address that the name has, until one of them connects. */
static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct fetch_exchange *exchange = arg;
    int fd;

    if (exchange->only_public && !address_is_public(&address->addr)) {
        exchange->not_public = true;
        return CURL_SOCKET_BAD;
    }
    fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
        exchange->socket_error = errno;
    return fd;
}

bool fetch_has_proxy_of_environment(const struct fetch *fetch)
{
    static const char *const names[] = {"all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY",
                                        "http_proxy"};

    for (size_t i = 0; !fetch->proxy && i < sizeof(names) / sizeof(*names); i++) {
        const char *value = getenv(names[i]);

        if (value && value[0])
            return true;
    }
    return false;
}

/* libcurl keeps copies of texts. One that it has no memory for must not be left out: it may be the
 * certificates that are trusted. */
static void set_text(struct fetch_exchange *exchange, CURLoption option, const char *text)
{
    if (text && curl_easy_setopt(exchange->easy, option, text) != CURLE_OK)
        exchange->unset = true;
}

/* Where a proxy was given, it is what we connect to. */
static void set_foreign(struct fetch_exchange *exchange)
{
    const char *proxy = exchange->fetch->proxy;

    if (proxy && proxy[0])
        return;
    exchange->only_public = true;
    set_text(exchange, CURLOPT_PROXY, "");
}

static void set_options(struct fetch_exchange *exchange, const char *url)
{
    const struct fetch *fetch = exchange->fetch;
    CURL *easy = exchange->easy;

    set_text(exchange, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers);
    curl_easy_setopt(easy, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* Whoever ends it would wait for the resolver, with everybody else. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, exchange);
    set_text(exchange, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    /* A server that speaks HTTP/2 gets one connection; over plain HTTP waiting would serialise. */
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, strncmp(url, "https:", 6) == 0 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_CERTINFO, exchange->request.certificate ? 1L : 0L);
    if (exchange->request.gzip)
        set_text(exchange, CURLOPT_ACCEPT_ENCODING, "gzip");
    set_text(exchange, CURLOPT_COPYPOSTFIELDS, exchange->request.json);
    set_text(exchange, CURLOPT_CUSTOMREQUEST, exchange->request.method);
    set_text(exchange, CURLOPT_USERAGENT, fetch->user_agent);
    set_text(exchange, CURLOPT_CAINFO, fetch->ca_file);
    set_text(exchange, CURLOPT_PROXY, fetch->proxy);
    if (exchange->request.foreign)
        set_foreign(exchange);
}

int exchange_start_http(struct fetch_exchange *exchange, const struct fetch_request *request,
                        const char *url)
{
    int r = add_headers(exchange, request);

    if (r < 0)
        return r;
    exchange->easy = curl_easy_init();
    if (!exchange->easy)
        return -ENOMEM;
    set_options(exchange, url);
    if (exchange->unset)
        return -ENOMEM;
    return curl_multi_add_handle(exchange->fetch->multi, exchange->easy) == CURLM_OK ? 0 : -ENOMEM;
}
