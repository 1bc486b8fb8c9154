/* SPDX-License-Identifier: MIT */
/* control.c - the serving side.
 *
 * Why stale files do no harm: the lock is the kernel's and ends with the process, whatever it left
 * behind; who holds the lock owns the socket's name too and may replace what lies there. A lock file
 * that was removed between our open and our lock is noticed by its inode and opened again. */
#include "fs/cli/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "cache/scoped.h"
#include "fs/cli/control_files.h"
#include "sync/json.h"

enum { MAX_CLIENTS = 64, DEADLINE_S = 5 };

struct client {
    pthread_t thread;
    struct control *control;
    int fd;
    enum { CLIENT_FREE, CLIENT_RUNS, CLIENT_DONE } state;
};

struct control {
    int folder;
    int lock_fd;
    int listen_fd;
    int wake_fd;
    char lock_name[CONTROL_NAME_SIZE];
    char socket_name[CONTROL_NAME_SIZE];
    control_answer answer;
    void *arg;
    pthread_t thread;
    bool serving;
    atomic_bool ending;
    pthread_mutex_t lock; /* over the states and descriptors in clients */
    struct client clients[MAX_CLIENTS];
};

/* --- the lock --- */

static int lock_file(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EAGAIN || errno == EACCES ? -EBUSY : negative_errno();
}

/* The pid is written into it: not into some other file that has this as another name. */
static bool is_plain(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1;
}

static bool is_still_named(int folder, const char *name, int fd)
{
    struct stat named;
    struct stat opened;

    return fstatat(folder, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &opened) == 0 &&
           named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

static int take_lock(int folder, const char *name, int *ret_fd)
{
    for (;;) {
        scoped_fd int fd = openat(folder, name,
                                  O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        int r = fd < 0 ? negative_errno() : 0;

        if (r == -ELOOP || r == -ENXIO || (r == 0 && !is_plain(fd)))
            r = unlinkat(folder, name, 0) < 0 ? negative_errno() : 0;
        else if (r == 0)
            r = lock_file(fd);
        if (r < 0)
            return r;
        if (fd >= 0 && is_plain(fd) && is_still_named(folder, name, fd)) {
            *ret_fd = take_fd(fd);
            return 0;
        }
    }
}

int control_claim(const char *runtime, const char *mountpoint, struct control **ret_control)
{
    struct control *control = calloc(1, sizeof(*control));
    int r;

    if (!control)
        return -ENOMEM;
    control->folder = control->lock_fd = control->listen_fd = control->wake_fd = -1;
    pthread_mutex_init(&control->lock, NULL);
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        control->clients[i].control = control;
    control_name(mountpoint, CONTROL_LOCK, control->lock_name);
    control_name(mountpoint, CONTROL_SOCKET, control->socket_name);
    if ((r = control_open_folder(runtime, &control->folder)) == 0)
        r = take_lock(control->folder, control->lock_name, &control->lock_fd);
    if (r == 0 && (ftruncate(control->lock_fd, 0) < 0 ||
                   dprintf(control->lock_fd, "%d\n%s\n", (int)getpid(), mountpoint) < 0))
        r = negative_errno();
    if (r < 0) {
        control_free(control);
        return r;
    }
    *ret_control = control;
    return 0;
}

/* --- one connection --- */

/* One line, within the deadline. */
static int read_request(int fd, char *ret_text, size_t size)
{
    size_t used = 0;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    for (time_t end = now.tv_sec + DEADLINE_S; used < size - 1;) {
        struct pollfd poller = {.fd = fd, .events = POLLIN};

        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec >= end || poll(&poller, 1, (int)(end - now.tv_sec) * 1000) <= 0)
            return -ETIMEDOUT;

        ssize_t n = recv(fd, ret_text + used, size - 1 - used, 0);

        if (n <= 0)
            return n < 0 ? negative_errno() : -EPROTO;
        used += (size_t)n;
        ret_text[used] = '\0';
        if (strchr(ret_text, '\n'))
            return 0;
    }
    return -EPROTO;
}

int control_error_text(int error, char **ret_text, size_t *ret_size)
{
    int length = asprintf(ret_text, "{\"error\":\"%s\"}\n", strerror(-error));

    if (length < 0)
        return -ENOMEM;
    *ret_size = (size_t)length;
    return 0;
}

int control_read_request(const char *line, struct json **ret_root,
                         struct control_request *ret_request)
{
    const struct json_limits limits = {.bytes = CONTROL_REQUEST_SIZE, .depth = 4};
    struct json_error error;
    int r = json_parse(line, strlen(line), &limits, ret_root, &error);

    if (r < 0)
        return r;
    *ret_request = (struct control_request){
        .verb = json_string(json_get(*ret_root, "verb")),
        .argument = json_string(json_get(*ret_root, "argument")),
        .verbose = json_is_true(json_get(*ret_root, "verbose")),
    };
    return ret_request->verb ? 0 : -EINVAL;
}

static int answer_request(struct control *control, const char *line, char **ret_text,
                          size_t *ret_size)
{
    scoped(json_freep) struct json *root = NULL;
    struct control_request request;
    int r = control_read_request(line, &root, &request);

    request.ending = &control->ending;
    if (r == 0)
        r = control->answer(control->arg, &request, ret_text, ret_size);
    return r < 0 ? control_error_text(r, ret_text, ret_size) : 0;
}

static void send_all(int fd, const char *text, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = send(fd, text + done, size - done, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        done += (size_t)n;
    }
}

static void *serve_client(void *arg)
{
    struct client *client = arg;
    struct control *control = client->control;
    const struct timeval deadline = {.tv_sec = DEADLINE_S};
    char line[CONTROL_REQUEST_SIZE];
    scoped_free char *text = NULL;
    size_t size = 0;

    setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof(deadline));
    if (control_check_peer(client->fd) == 0 && read_request(client->fd, line, sizeof(line)) == 0 &&
        answer_request(control, line, &text, &size) == 0)
        send_all(client->fd, text, size);

    scoped_lock(&control->lock);
    close(client->fd);
    client->fd = -1;
    client->state = CLIENT_DONE;
    return NULL;
}

/* Takes over fd; with all places taken the connection is simply closed. */
static void start_client(struct control *control, int fd)
{
    scoped_lock(&control->lock);
    for (size_t i = 0; i < MAX_CLIENTS; i++) {
        struct client *client = &control->clients[i];

        if (client->state == CLIENT_DONE) {
            pthread_join(client->thread, NULL); /* it has left the lock, so it ends at once */
            client->state = CLIENT_FREE;
        }
        if (client->state != CLIENT_FREE)
            continue;
        client->fd = fd;
        if (pthread_create(&client->thread, NULL, serve_client, client) != 0)
            break;
        client->state = CLIENT_RUNS;
        return;
    }
    close(fd);
}

static void *serve(void *arg)
{
    struct control *control = arg;
    struct pollfd fds[] = {{.fd = control->listen_fd, .events = POLLIN},
                           {.fd = control->wake_fd, .events = POLLIN}};

    while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
        if (fds[1].revents)
            break;

        int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0)
            start_client(control, fd);
    }
    return NULL;
}

/* --- the socket --- */

static int make_socket(const struct control *control, int *ret_fd)
{
    scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address;

    if (fd < 0)
        return negative_errno();
    control_address(control->folder, control->socket_name, &address);
    if (unlinkat(control->folder, control->socket_name, 0) < 0 && errno != ENOENT)
        return negative_errno();
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        fchmodat(control->folder, control->socket_name, 0600, 0) < 0 || listen(fd, 8) < 0)
        return negative_errno();
    *ret_fd = take_fd(fd);
    return 0;
}

int control_serve(struct control *control, control_answer answer, void *arg)
{
    int r = make_socket(control, &control->listen_fd);

    if (r < 0)
        return r;
    control->answer = answer;
    control->arg = arg;
    control->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (control->wake_fd < 0)
        return negative_errno();
    r = -pthread_create(&control->thread, NULL, serve, control);
    control->serving = r == 0;
    return r;
}

/* Whoever has not asked yet does not get to. True if there is a thread to wait for. */
static bool hang_up(const struct client *client)
{
    scoped_lock(&client->control->lock);
    if (client->state == CLIENT_RUNS)
        shutdown(client->fd, SHUT_RD);
    return client->state != CLIENT_FREE;
}

void control_end(struct control *control)
{
    if (!control->serving)
        return;
    control->serving = false;
    control->ending = true;
    if (eventfd_write(control->wake_fd, 1) < 0)
        return;
    pthread_join(control->thread, NULL);
    unlinkat(control->folder, control->socket_name, 0);
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        if (hang_up(&control->clients[i]))
            pthread_join(control->clients[i].thread, NULL);
}

void control_free(struct control *control)
{
    if (!control)
        return;
    control_end(control);
    if (control->listen_fd >= 0)
        close(control->listen_fd);
    if (control->wake_fd >= 0)
        close(control->wake_fd);
    if (control->lock_fd >= 0) {
        unlinkat(control->folder, control->lock_name, 0);
        close(control->lock_fd);
    }
    if (control->folder >= 0)
        close(control->folder);
    pthread_mutex_destroy(&control->lock);
    free(control);
}
