/* SPDX-License-Identifier: MIT */
/* control_client.c - the asking side. Whether a process lives is asked of its lock (F_OFD_GETLK,
 * which takes nothing, so asking never gets in the way of a process that is just starting). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/control.h"
#include "fs/cli/control_files.h"
#include "fs/cli/paths.h"
#include "sync/json.h"

enum { MAX_ANSWER = 64 << 20, LOCK_TEXT = PATH_MAX + 32, MEANWHILE_MS = 500 };

void control_name(const char *mountpoint, enum control_file file,
                  char ret_name[static CONTROL_NAME_SIZE])
{
    static const char *const endings[] = {".lock", ".sock", ".life"};
    char hash[17];

    paths_hash(mountpoint, sizeof(hash) - 1, hash);
    snprintf(ret_name, CONTROL_NAME_SIZE, "%s%s", hash, endings[file]);
}

int control_open_folder(const char *runtime, int *ret_fd)
{
    int fd = open(runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return negative_errno();
    *ret_fd = fd;
    return 0;
}

void control_address(int folder, const char *name, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "/proc/self/fd/%d/%s", folder,
             name);
}

int control_check_peer(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return negative_errno();
    return peer.uid == geteuid() || peer.uid == 0 ? 0 : -EPERM;
}

/* --- who is there --- */

/* Reads a lock file whose process lives; -ENOENT if it has ended. ret_text: LOCK_TEXT bytes,
 * "PID\0MOUNTPOINT\0"; ret_mountpoint points into it. */
static int read_lock(int folder, const char *name, char *ret_text, pid_t *ret_pid,
                     char **ret_mountpoint)
{
    scoped_fd int fd = openat(folder, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fd < 0)
        return negative_errno();
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return negative_errno();
    if (lock.l_type == F_UNLCK)
        return -ENOENT;

    ssize_t n = pread(fd, ret_text, LOCK_TEXT - 1, 0);

    if (n < 0)
        return negative_errno();
    ret_text[n] = '\0';

    char *newline = strchr(ret_text, '\n');

    if (!newline || n < 4 || ret_text[n - 1] != '\n')
        return -ENOENT; /* it is just starting */
    *newline = ret_text[n - 1] = '\0';
    *ret_pid = (pid_t)strtol(ret_text, NULL, 10);
    *ret_mountpoint = newline + 1;
    return 0;
}

int control_owner(const char *runtime, const char *mountpoint, pid_t *ret_pid)
{
    scoped_fd int folder = -1;
    scoped_free char *text = malloc(LOCK_TEXT);
    char name[CONTROL_NAME_SIZE];
    char *found;
    int r = control_open_folder(runtime, &folder);

    control_name(mountpoint, CONTROL_LOCK, name);
    if (r == 0)
        r = text ? read_lock(folder, name, text, ret_pid, &found) : -ENOMEM;
    return r;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void control_list_free(char **mountpoints)
{
    for (char **at = mountpoints; at && *at; at++)
        free(*at);
    free(mountpoints);
}

void control_list_freep(char **const *mountpoints)
{
    control_list_free(*mountpoints);
}

static int list_folder(DIR *dir, char *text, char ***list, size_t *ret_count)
{
    const struct dirent *entry;
    size_t count = 0;

    while ((entry = readdir(dir))) {
        const char *dot = strrchr(entry->d_name, '.');
        char *mountpoint = NULL;
        pid_t pid;

        if (!dot || strcmp(dot, ".lock") != 0 ||
            read_lock(dirfd(dir), entry->d_name, text, &pid, &mountpoint) < 0 || !mountpoint)
            continue;

        char **grown = reallocarray(*list, count + 2, sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        *list = grown;
        grown[count] = strdup(mountpoint);
        grown[count + 1] = NULL;
        if (!grown[count++])
            return -ENOMEM;
    }
    *ret_count = count;
    return 0;
}

int control_list(const char *runtime, char ***ret_mountpoints)
{
    scoped_dir DIR *dir = opendir(runtime);
    scoped_free char *text = malloc(LOCK_TEXT);
    scoped(control_list_freep) char **list = calloc(1, sizeof(*list));
    size_t count = 0;

    if (!dir)
        return negative_errno();
    if (!text || !list)
        return -ENOMEM;

    int r = list_folder(dir, text, &list, &count);

    if (r < 0)
        return r;
    qsort(list, count, sizeof(*list), compare_texts);
    *ret_mountpoints = take_ptr(list);
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int control_wait_gone(const char *runtime, const char *mountpoint, int timeout_ms)
{
    int64_t end = now_ms() + timeout_ms;
    pid_t pid;

    for (;;) {
        int r = control_owner(runtime, mountpoint, &pid);

        if (r == -ENOENT)
            return 0;
        if (r < 0)
            return r;
        if (now_ms() >= end)
            return -ETIMEDOUT;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
}

/* --- asking --- */

static int connect_to(const char *runtime, const char *mountpoint, int timeout_ms, int *ret_fd)
{
    scoped_fd int folder = -1;
    scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = timeout_ms / 1000,
                                     .tv_usec = timeout_ms % 1000 * 1000L};
    struct sockaddr_un address;
    char name[CONTROL_NAME_SIZE];
    int r = fd < 0 ? negative_errno() : control_open_folder(runtime, &folder);

    if (r < 0)
        return r;
    if (timeout_ms >= 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    control_name(mountpoint, CONTROL_SOCKET, name);
    control_address(folder, name, &address);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return errno == ECONNREFUSED ? -ENOENT : errno == EAGAIN ? -ETIMEDOUT : negative_errno();
    if ((r = control_check_peer(fd)) < 0)
        return r;
    *ret_fd = take_fd(fd);
    return 0;
}

/* Waits for more of the answer. -ETIMEDOUT. */
static int wait_for_more(int fd, int64_t end, const struct control_request *request)
{
    for (;;) {
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        int64_t left = end < 0 ? -1 : end - now_ms();
        bool looks = request->meanwhile && (left < 0 || left > MEANWHILE_MS);
        int ready = end >= 0 && left <= 0 ? 0 : poll(&poller, 1, looks ? MEANWHILE_MS : (int)left);

        if (ready > 0)
            return 0;
        if (ready < 0 || !looks)
            return -ETIMEDOUT;
        request->meanwhile(request->meanwhile_arg);
    }
}

static int read_answer(int fd, int64_t end, const struct control_request *request, char **ret_text,
                       size_t *ret_size)
{
    scoped_free char *text = NULL;
    size_t used = 0;
    size_t room = 0;

    for (;;) {
        if (room - used < 2) {
            char *grown = realloc(text, room = room ? 2 * room : 65536);

            if (!grown)
                return -ENOMEM;
            text = grown;
        }
        if (wait_for_more(fd, end, request) < 0)
            return -ETIMEDOUT;

        ssize_t n = recv(fd, text + used, room - used - 1, 0);

        if (n < 0)
            return negative_errno();
        used += (size_t)n;
        text[used] = '\0';
        if (n == 0)
            break;
        if (used > MAX_ANSWER)
            return -EPROTO;
    }
    if (used == 0)
        return -EPROTO;
    *ret_text = take_ptr(text);
    *ret_size = used;
    return 0;
}

static int send_request(int fd, const struct control_request *request)
{
    scoped(json_freep) struct json *root = json_new_object();
    scoped_free char *text = NULL;
    size_t size;

    if (!root || json_add_string(root, "verb", request->verb) < 0 ||
        json_add_string(root, "argument", request->argument) < 0 ||
        json_add_bool(root, "verbose", request->verbose) < 0 ||
        json_print(root, false, &text, &size) < 0)
        return -ENOMEM;
    /* One line, whose end says that it is all. */
    text[size] = '\n';
    return send(fd, text, size + 1, MSG_NOSIGNAL) == (ssize_t)(size + 1) ? 0 : -EIO;
}

int control_ask(const char *runtime, const char *mountpoint, const struct control_request *request,
                int timeout_ms, char **ret_text, size_t *ret_size)
{
    scoped_fd int fd = -1;
    int64_t end = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    int r = connect_to(runtime, mountpoint, timeout_ms, &fd);

    if (r == 0)
        r = send_request(fd, request);
    return r < 0 ? r : read_answer(fd, end, request, ret_text, ret_size);
}
