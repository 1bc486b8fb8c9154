/* SPDX-License-Identifier: MIT */
/* http_server.h - a small HTTP/1.1 server on 127.0.0.1 that answers as it is told, and remembers.
 *
 *     http_server_new -> http_server_answer(path, ...)... -> requests -> http_server_free
 *
 * Answers are queued by path (the query included): each request takes the next one, and the last
 * stays. What has no answer gets 404. A thread for each connection, keep-alive.
 * Like tempdir.h: what goes wrong in the scaffolding aborts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct http_server;

struct http_answer {
    int status;          /* 0: 200 */
    const char *type;    /* NULL: application/octet-stream; "": none */
    const char *headers; /* more header lines, each with \r\n; may be NULL */
    const void *body;
    size_t size;
    const char *etag; /* with quotes; goes into the head; NULL: none */
    bool ranges;      /* answer Range with 206, unless If-Range names another etag */
    bool cut;         /* close after cut_after bytes of the body */
    bool stall;       /* stop after cut_after bytes, until the client goes or the server ends */
    size_t cut_after;
    bool no_length;    /* end of body = end of connection */
    size_t say_length; /* > 0: a Content-Length other than the body's */
    const char *raw;   /* these bytes instead of all of it, then close */
    unsigned wait_ms;  /* before the head */
};

struct http_server *http_server_new(void);
void http_server_free(struct http_server *server); /* NULL is allowed */

/* "http://127.0.0.1:<port>" + path; the caller frees it. */
char *http_server_url(struct http_server *server, const char *path);

/* Copies. */
void http_server_answer(struct http_server *server, const char *path,
                        const struct http_answer *answer);

/* Forgets what a path was to answer. */
void http_server_forget(struct http_server *server, const char *path);

/* While held, requests are read and logged, but not answered. */
void http_server_hold(struct http_server *server, bool hold);

/* Requests so far: for that path, or, with NULL, all. */
size_t http_server_count(struct http_server *server, const char *path);

/* How many requests were being answered at the same time, at most. */
size_t http_server_most(struct http_server *server);

/* The request with that number (0 is the first): "GET /path HTTP/1.1\r\nheader: ...". Valid until
 * the server is freed. NULL if there is none. */
const char *http_server_request(struct http_server *server, size_t number);

/* Is this header in request number? value NULL: whatever its value. */
bool http_server_has_header(struct http_server *server, size_t number, const char *name,
                            const char *value);
