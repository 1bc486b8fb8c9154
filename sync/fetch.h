/* SPDX-License-Identifier: MIT */
/* fetch.h - one HTTP exchange at a time, many at once.
 *
 * The only user of libcurl. It knows requests and answers, not blobs, retries or tokens' meaning:
 * those are transfer.h's. file:// works like a server that has ranges and no headers.
 *
 *     fetch_new
 *     fetch_start(request) ...       head -> body... -> done, in this order, done exactly once
 *     fetch_run(timeout)             drives everything; all callbacks come from inside it
 *     fetch_wake                     ends a fetch_run early; the one function for other threads
 *
 * What it insists on, whoever asks (contract 4; reliability 4):
 *   - no redirect is followed; the answer names where it pointed;
 *   - a bearer goes out only if the request carries it, and never lands in a message;
 *   - no netrc, no cookies; only http, https and file; TLS verified, at least 1.2;
 *   - an encoded body is refused unless the request allows gzip;
 *   - headers over 64 KiB end the exchange;
 *   - for a foreign host (one that a server named and the user did not) only public addresses are
 *     connected to (address.h), and that is asked when the socket is opened: what a name resolves to
 *     can not change between check and connection. Where a proxy was given, it connects, and whoever
 *     asks has to look at the URL. A proxy of the environment does not get such a request: it is
 *     refused, since where it leads could not be seen;
 *   - less than one byte in stall_s seconds ends it, connecting takes at most 10 s.
 *
 * Threads: all but fetch_wake from one thread. Errors of a request come in fetch_result. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fetch;

struct fetch_conf {
    const char *user_agent;
    const char *ca_file; /* NULL: the system's */
    const char *proxy;   /* NULL: as the environment says; "" for none */
    unsigned connections_per_host;
};

/* The answer's head, before its body. Valid during the call. */
struct fetch_head {
    int status;              /* HTTP; 200 or 206 for file:// */
    int64_t length;          /* of this body, -1 if not said */
    bool endless;            /* only the end of the connection ends it, whatever that comes from */
    int64_t range_start;     /* of a 206, -1 if not said or none */
    int64_t range_total;     /* of a 206, -1 if not said */
    const char *etag;        /* strong ETag with its quotes, "" if weak or none */
    const char *type;        /* Content-Type without parameters, lower case; "" if none */
    const char *location;    /* of a 3xx, "" if none */
    const char *min_version; /* X-Agnes-Min-Version, "" if none */
    const char *content_md5; /* X-Agnes-Content-MD5, "" if none */
    int64_t retry_after_s;   /* -1 if not said; HTTP dates are converted */
    int64_t date_unix;       /* the server's clock, -1 if not said */
};

enum fetch_end {
    FETCH_COMPLETE,  /* the whole body came; status says what it means */
    FETCH_RESOLVE,   /* no address */
    FETCH_CONNECT,   /* no connection */
    FETCH_TLS,       /* certificate or handshake */
    FETCH_LOST,      /* the connection broke, or the body was cut short */
    FETCH_STALLED,   /* no progress in time */
    FETCH_ABORTED,   /* a callback said no, or fetch_cancel */
    FETCH_REFUSED,   /* encoding or headers we do not take, unsupported URL */
    FETCH_NOT_FOUND, /* file:// only: no such file */
    FETCH_LOCAL,     /* no memory, no descriptor */
};

/* When what was through, in microseconds from the start; 0: it did not come to that, or file://. */
struct fetch_times {
    int64_t name;
    int64_t connection; /* to the proxy, if there is one */
    int64_t tls;
    int64_t answer; /* its first byte */
};

struct fetch_result {
    enum fetch_end end;
    int status;     /* HTTP, 0 if no answer came */
    uint64_t bytes; /* of body */
    struct fetch_times times;
    int64_t certificate_ends_unix; /* the server's own; 0: not asked for, none, or not accepted */
    char message[160]; /* one phrase without URL query or secrets: "connection refused" */
};

struct fetch_request {
    const char *url;
    const char *method;   /* NULL: GET; only http and https know others */
    const char *json;     /* a document that goes with it, NULL for none */
    const char *bearer;   /* token, NULL for none */
    const char *if_range; /* ETag that a range must be of, NULL or "" for any */
    uint64_t offset;      /* first byte wanted; > 0 asks for a range */
    uint64_t length;      /* > 0: this many bytes, as a range even from 0; 0: to the end */
    bool gzip;            /* accept a compressed body (manifest, bundles) */
    bool no_cache;        /* past any cache on the way */
    bool foreign;         /* see above */
    bool certificate;     /* tell when it ends */
    unsigned stall_s;     /* 0: for ever */
    /* A negative errno ends the exchange as FETCH_ABORTED. Either may be NULL. */
    int (*head)(void *arg, const struct fetch_head *head);
    int (*body)(void *arg, const void *data, size_t size);
    void (*done)(void *arg, const struct fetch_result *result);
    void *arg;
};

struct fetch_exchange;

int fetch_new(const struct fetch_conf *conf, struct fetch **ret_fetch);

/* Cancels what runs (done is called for each). */
void fetch_free(struct fetch *fetch);

/* Copies the request. -EINVAL: no usable URL, token or ETag; -EACCES: foreign, by a proxy of the
 * environment; -ENOMEM. */
int fetch_start(struct fetch *fetch, const struct fetch_request *request,
                struct fetch_exchange **ret_exchange);

/* Does text, whichever way it is written, contain that token? NULL never; nor does one that is too
 * short to be a secret. What a fetch_head has of such texts is left out. */
bool fetch_quotes(const char *text, const char *token);

/* Holds back or lets flow the body of one exchange: backpressure. From inside its body() too; a few
 * pieces that libcurl has already read may still come. */
int fetch_pause(struct fetch_exchange *exchange, bool pause);

/* done is called before it returns. Not from inside head() or body(); nor is fetch_start. */
void fetch_cancel(struct fetch_exchange *exchange);

/* Waits for traffic at most timeout_ms, handles it, returns the number of exchanges running. */
int fetch_run(struct fetch *fetch, int timeout_ms);
void fetch_wake(struct fetch *fetch);

/* "7.88.1", and what it does TLS with: "OpenSSL/3.0.17"; as they are at run time. */
void fetch_versions(const char **ret_curl, const char **ret_tls);

/* --- URLs, by the same parser that will connect to them --- */

/* reference against base, both possibly absolute (base may be NULL when reference is); normalised,
 * without fragment. Strict: -EINVAL for what is no URL, control characters, blanks, backslashes,
 * userinfo, schemes other than http, https, file. */
int fetch_url_resolve(const char *base, const char *reference, char **ret_url);

/* "https://host:443"; "file://" for every file URL. */
int fetch_url_origin(const char *url, char **ret_origin);

/* Where in such an origin its host begins, "[::1]" with its brackets; size 0 of a file. */
const char *fetch_origin_host(const char *origin, size_t *ret_size);

/* Percent-encodes everything but unreserved characters; keep_slash leaves '/' alone. */
int fetch_url_escape(const char *text, bool keep_slash, char **ret_text);
