/* SPDX-License-Identifier: MIT */
/* fetch_private.h - what fetch.c, fetch_exchange.c and fetch_url.c share, and nobody else sees.
 *
 * The only place that includes libcurl. fetch.c keeps the list and drives it, fetch_exchange.c is
 * one request and its answer, fetch_url.c asks libcurl's URL parser. */
#pragma once

#include <curl/curl.h>

#include "sync/fetch.h"
#include "sync/fetch_file.h"
#include "sync/fetch_head.h"

struct fetch {
    CURLM *multi;
    char *user_agent;
    char *ca_file;
    char *proxy;
    struct fetch_exchange *first;
    int running;
};

struct fetch_exchange {
    struct fetch *fetch;
    struct fetch_exchange *next;
    struct fetch_request request; /* its strings belong to whoever started it: not used later */
    CURL *easy;                   /* http, https */
    struct curl_slist *headers;
    const char *bearer; /* in them; NULL: none */
    char error[CURL_ERROR_SIZE];
    struct fetch_file *file; /* file */
    int file_error;
    int socket_error; /* why there was none to be had */
    struct head_parser parser;
    bool head_done;
    bool aborted;        /* a callback said no */
    const char *refused; /* why we do not take the answer */
    bool only_public;    /* other addresses are not connected to */
    bool not_public;     /* there was one */
    bool unset;          /* an option could not be set */
    bool pause;          /* as asked */
    bool paused;         /* as it is */
    int64_t progress_ms;
    int status;
    uint64_t bytes;
};

int64_t fetch_now_ms(void);

/* Sets up the easy handle of an exchange and adds it to the multi. */
int exchange_start_http(struct fetch_exchange *exchange, const struct fetch_request *request,
                        const char *url);

/* Is there a proxy that nobody but the environment names? */
bool fetch_has_proxy_of_environment(const struct fetch *fetch);

/* libcurl is through with it. */
void exchange_finish(struct fetch_exchange *exchange, CURLcode code);

/* One block of a local file at most, or its end. */
void exchange_step_file(struct fetch_exchange *exchange);

/* Takes it out of the list, calls done, frees it. */
void exchange_end(struct fetch_exchange *exchange, enum fetch_end end, const char *message);
void exchange_free(struct fetch_exchange *exchange);

/* The path of a file: URL, decoded. */
int fetch_url_to_path(const char *url, char **ret_path);
