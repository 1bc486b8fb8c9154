/* SPDX-License-Identifier: MIT */
/* One lock for everything that requests and tests share. A connection's socket is shut down by
 * http_server_free, which wakes whoever reads from it; a stalled or held answer wakes up by the
 * condition. Threads are counted and waited for. */
#include "tests/unit/support/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cache/scoped.h"

#define REQUEST_SIZE 16384

struct scripted {
    struct scripted *next;
    char *path;
    struct http_answer answer; /* its pointers are ours */
};

struct http_server {
    int listener;
    int port;
    pthread_t acceptor;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ending;
    bool held;
    struct scripted *answers;
    char **requests;
    size_t request_count;
    size_t answering;
    size_t most;
    int sockets[1024];
    size_t socket_count;
    size_t threads;
};

struct connection {
    struct http_server *server;
    int fd;
};

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static char *copy(const char *text)
{
    return text ? must(strdup(text)) : NULL;
}

static void scripted_free(struct scripted *scripted)
{
    free(scripted->path);
    free((char *)scripted->answer.type);
    free((char *)scripted->answer.headers);
    free((void *)scripted->answer.body);
    free((char *)scripted->answer.etag);
    free((char *)scripted->answer.raw);
    free(scripted);
}

static struct scripted *scripted_new(const char *path, const struct http_answer *answer)
{
    struct scripted *scripted = must(calloc(1, sizeof(*scripted)));

    scripted->path = copy(path);
    scripted->answer = *answer;
    scripted->answer.type = copy(answer->type);
    scripted->answer.headers = copy(answer->headers);
    scripted->answer.etag = copy(answer->etag);
    scripted->answer.raw = copy(answer->raw);
    scripted->answer.body = must(malloc(answer->size + 1));
    if (answer->size)
        memcpy((void *)scripted->answer.body, answer->body, answer->size);
    return scripted;
}

/* --- one answer --- */

static bool send_all(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

static const char *find_header(const char *request, const char *name)
{
    size_t size = strlen(name);

    for (const char *line = strstr(request, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, size) == 0 && line[size] == ':')
            return line + size + 1 + strspn(line + size + 1, " ");
    }
    return NULL;
}

static bool header_is(const char *found, const char *value)
{
    size_t size = strlen(value);

    return strncmp(found, value, size) == 0 && (found[size] == '\r' || found[size] == '\0');
}

/* The first byte to send; -1 for 416. */
static long range_start(const char *request, const struct http_answer *answer, bool *ret_partial)
{
    const char *range = find_header(request, "range");
    const char *pin = find_header(request, "if-range");
    long start = 0;

    *ret_partial = false;
    if (!answer->ranges || !range || sscanf(range, "bytes=%ld-", &start) != 1)
        return 0;
    if (pin && !(answer->etag && header_is(pin, answer->etag)))
        return 0;
    if ((size_t)start >= answer->size)
        return -1;
    *ret_partial = true;
    return start;
}

static void wait_for_client(struct http_server *server, int fd)
{
    struct pollfd event = {.fd = fd, .events = POLLRDHUP};
    bool ending = false;

    while (!ending && poll(&event, 1, 20) == 0) {
        scoped_lock(&server->lock);
        ending = server->ending;
    }
}

static size_t print_head(char *head, size_t room, const struct http_answer *answer, long start,
                         bool partial)
{
    size_t length = start < 0 ? 0 : answer->size - (size_t)start;
    int status = start < 0 ? 416 : partial ? 206 : answer->status ? answer->status : 200;
    int size = snprintf(head, room, "HTTP/1.1 %d Scripted\r\n", status);

    if (!answer->no_length)
        size += snprintf(head + size, room - (size_t)size, "Content-Length: %zu\r\n",
                         answer->say_length ? answer->say_length : length);
    if (!answer->type || answer->type[0])
        size += snprintf(head + size, room - (size_t)size, "Content-Type: %s\r\n",
                         answer->type ? answer->type : "application/octet-stream");
    if (answer->etag)
        size += snprintf(head + size, room - (size_t)size, "ETag: %s\r\n", answer->etag);
    if (partial)
        size += snprintf(head + size, room - (size_t)size, "Content-Range: bytes %ld-%zu/%zu\r\n",
                         start, answer->size - 1, answer->size);
    size += snprintf(head + size, room - (size_t)size, "%s\r\n",
                     answer->headers ? answer->headers : "");
    return (size_t)size;
}

/* False when the connection is over. */
static bool send_answer(struct http_server *server, int fd, const char *request,
                        const struct http_answer *answer)
{
    static const size_t room = 4096;
    scoped_free char *head = must(malloc(room + (answer->headers ? strlen(answer->headers) : 0)));
    bool partial;
    long start = range_start(request, answer, &partial);
    const char *body = (const char *)answer->body + (start < 0 ? 0 : start);
    size_t size = start < 0 ? 0 : answer->size - (size_t)start;

    if (answer->wait_ms)
        usleep(answer->wait_ms * 1000);
    if (answer->raw) {
        send_all(fd, answer->raw, strlen(answer->raw));
        return false;
    }
    if (!send_all(fd, head,
                  print_head(head, room + (answer->headers ? strlen(answer->headers) : 0), answer,
                             start, partial)))
        return false;
    if ((answer->cut || answer->stall) && answer->cut_after < size)
        size = answer->cut_after;
    if (!send_all(fd, body, size))
        return false;
    if (answer->stall)
        wait_for_client(server, fd);
    return !answer->cut && !answer->stall && !answer->no_length;
}

/* --- a connection --- */

static void log_request(struct http_server *server, const char *request)
{
    size_t count = server->request_count;

    server->requests = must(realloc(server->requests, (count + 1) * sizeof(char *)));
    server->requests[count] = copy(request);
    server->request_count++;
    server->answering++;
    if (server->answering > server->most)
        server->most = server->answering;
    pthread_cond_broadcast(&server->changed);
}

/* A copy of the next answer for the path; the last one stays. */
static struct scripted *next_answer(struct http_server *server, const char *path)
{
    struct scripted **at = &server->answers;
    struct scripted *found;
    struct http_answer none = {.status = 404, .type = "application/json"};

    while (*at && strcmp((*at)->path, path) != 0)
        at = &(*at)->next;
    found = *at;
    if (!found)
        return scripted_new(path, &none);
    for (struct scripted *later = found->next; later; later = later->next) {
        if (strcmp(later->path, path) == 0) {
            *at = found->next;
            return found;
        }
    }
    return scripted_new(path, &found->answer);
}

static bool read_request(int fd, char *request)
{
    size_t size = 0;

    for (;;) {
        ssize_t got = recv(fd, request + size, REQUEST_SIZE - 1 - size, 0);

        if (got <= 0)
            return false;
        size += (size_t)got;
        request[size] = '\0';
        if (strstr(request, "\r\n\r\n"))
            return true;
    }
}

static bool serve_one(struct http_server *server, int fd)
{
    scoped_free char *request = must(malloc(REQUEST_SIZE));
    char path[4096] = "";
    struct scripted *scripted;
    bool more;

    if (!read_request(fd, request) || sscanf(request, "%*s %4095s", path) != 1)
        return false;
    {
        scoped_lock(&server->lock);
        log_request(server, request);
        while (server->held && !server->ending)
            pthread_cond_wait(&server->changed, &server->lock);
        scripted = next_answer(server, path);
    }
    more = send_answer(server, fd, request, &scripted->answer);
    scripted_free(scripted);
    {
        scoped_lock(&server->lock);
        server->answering--;
    }
    return more;
}

static void *connection_main(void *arg)
{
    struct connection *connection = arg;
    struct http_server *server = connection->server;

    while (serve_one(server, connection->fd))
        ;
    {
        scoped_lock(&server->lock);
        for (size_t i = 0; i < server->socket_count; i++) {
            if (server->sockets[i] == connection->fd)
                server->sockets[i] = server->sockets[--server->socket_count];
        }
        close(connection->fd);
        server->threads--;
        pthread_cond_broadcast(&server->changed);
    }
    free(connection);
    return NULL;
}

static void *accept_main(void *arg)
{
    struct http_server *server = arg;
    pthread_attr_t detached;
    int fd;

    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
        struct connection *connection = must(malloc(sizeof(*connection)));
        pthread_t thread;
        int one = 1;

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        *connection = (struct connection){server, fd};
        {
            scoped_lock(&server->lock);
            if (server->socket_count == sizeof(server->sockets) / sizeof(*server->sockets))
                abort();
            server->sockets[server->socket_count++] = fd;
            server->threads++;
        }
        if (pthread_create(&thread, &detached, connection_main, connection) != 0)
            abort();
    }
    pthread_attr_destroy(&detached);
    return NULL;
}

/* --- the whole --- */

struct http_server *http_server_new(void)
{
    struct http_server *server = must(calloc(1, sizeof(*server)));
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->listener < 0 || bind(server->listener, (struct sockaddr *)&address, size) < 0 ||
        listen(server->listener, 128) < 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &size) < 0)
        abort();
    server->port = ntohs(address.sin_port);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
    if (pthread_create(&server->acceptor, NULL, accept_main, server) != 0)
        abort();
    return server;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->acceptor, NULL);
    close(server->listener);
    {
        scoped_lock(&server->lock);
        server->ending = true;
        pthread_cond_broadcast(&server->changed);
        for (size_t i = 0; i < server->socket_count; i++)
            shutdown(server->sockets[i], SHUT_RDWR);
        while (server->threads > 0)
            pthread_cond_wait(&server->changed, &server->lock);
    }
    while (server->answers) {
        struct scripted *next = server->answers->next;

        scripted_free(server->answers);
        server->answers = next;
    }
    for (size_t i = 0; i < server->request_count; i++)
        free(server->requests[i]);
    free(server->requests);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

char *http_server_url(struct http_server *server, const char *path)
{
    char *url;

    if (asprintf(&url, "http://127.0.0.1:%d%s", server->port, path) < 0)
        abort();
    return url;
}

void http_server_answer(struct http_server *server, const char *path,
                        const struct http_answer *answer)
{
    struct scripted *scripted = scripted_new(path, answer);
    struct scripted **end = &server->answers;

    scoped_lock(&server->lock);
    while (*end)
        end = &(*end)->next;
    *end = scripted;
}

void http_server_forget(struct http_server *server, const char *path)
{
    struct scripted **at = &server->answers;

    scoped_lock(&server->lock);
    while (*at) {
        struct scripted *scripted = *at;

        if (strcmp(scripted->path, path) != 0) {
            at = &scripted->next;
            continue;
        }
        *at = scripted->next;
        scripted_free(scripted);
    }
}

void http_server_hold(struct http_server *server, bool hold)
{
    scoped_lock(&server->lock);
    server->held = hold;
    pthread_cond_broadcast(&server->changed);
}

size_t http_server_count(struct http_server *server, const char *path)
{
    size_t count = 0;
    char wanted[4200];

    if (path)
        snprintf(wanted, sizeof(wanted), "GET %s HTTP/", path);
    scoped_lock(&server->lock);
    for (size_t i = 0; i < server->request_count; i++)
        count += !path || strncmp(server->requests[i], wanted, strlen(wanted)) == 0;
    return count;
}

size_t http_server_most(struct http_server *server)
{
    scoped_lock(&server->lock);
    return server->most;
}

const char *http_server_request(struct http_server *server, size_t number)
{
    scoped_lock(&server->lock);
    return number < server->request_count ? server->requests[number] : NULL;
}

bool http_server_has_header(struct http_server *server, size_t number, const char *name,
                            const char *value)
{
    const char *request = http_server_request(server, number);
    const char *found = request ? find_header(request, name) : NULL;

    return found && (!value || header_is(found, value));
}
