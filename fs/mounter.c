/* SPDX-License-Identifier: MIT */
/* mounter.c - a question is one packet, and so is its answer; end of file is the end of whoever asks.
 *
 * The connection to the kernel must not stay open here, not for a moment longer than it takes to hand
 * it over: with a copy of it, the serving process could die and its readers would wait for ever. So
 * /dev/null takes its place in the session that libfuse made for mounting, and with which it will
 * unmount. */
#include "fs/mounter.h"

#define FUSE_USE_VERSION 317

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cache/scoped.h"
#include "fs/keeper.h"

enum { SOCKET_FD = 3, SOURCE_MAX = 8192 };

enum question {
    QUESTION_MOUNT = 'm',
    QUESTION_LOOK = 'l',
    QUESTION_UNMOUNT = 'u',
    QUESTION_CLEAR = 'c'
};

struct mounter {
    pid_t pid;
    int socket;
    struct keeper *keeper; /* NULL: it could not be had */
};

/* --- in the process of its own --- */

struct place {
    const char *mountpoint;
    bool allow_other;
    bool mounted;
    struct fuse_session *session;
};

static int check_empty(const char *path)
{
    scoped_dir DIR *dir = opendir(path);
    const struct dirent *entry;

    if (!dir)
        return negative_errno();
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            return -ENOTEMPTY;
    return 0;
}

/* Is it a folder that can be mounted on? Asked before libfuse is, whose answer has no reason. */
static int check_mountpoint(const char *path)
{
    char parent[PATH_MAX];
    struct stat here, above;

    if (stat(path, &here) < 0)
        return negative_errno();
    if (!S_ISDIR(here.st_mode))
        return -ENOTDIR;
    if (snprintf(parent, sizeof(parent), "%s/..", path) >= (int)sizeof(parent))
        return -ENAMETOOLONG;
    if (stat(parent, &above) < 0)
        return negative_errno();
    if (here.st_dev != above.st_dev)
        return -EBUSY;
    return check_empty(path);
}

static int check_device(void)
{
    if (access("/dev/fuse", F_OK) < 0)
        return -ENODEV;
    return access("/dev/fuse", R_OK | W_OK) < 0 ? -EACCES : 0;
}

static int add_option(struct fuse_args *args, const char *key, const char *value)
{
    scoped_free char *option = NULL;
    scoped_free char *list = NULL;

    if (asprintf(&option, "%s%s%s", key, value ? "=" : "", value ? value : "") < 0 ||
        fuse_opt_add_opt_escaped(&list, option) < 0 || fuse_opt_add_arg(args, "-o") < 0 ||
        fuse_opt_add_arg(args, list) < 0)
        return -ENOMEM;
    return 0;
}

static void free_args(struct fuse_args *args)
{
    fuse_opt_free_args(args);
}

/* Read-only always: writes fail in the kernel, and passthrough reads stay free of atime updates. */
static int session_new(struct place *place, const char *source)
{
    scoped(free_args) struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    static const char *const always[] = {"ro", "nosuid", "nodev", "default_permissions"};
    static const struct fuse_lowlevel_ops none = {.init = NULL};
    int r;

    r = fuse_opt_add_arg(&args, "agnesfs") < 0 ? -ENOMEM : 0;
    for (size_t i = 0; !r && i < sizeof(always) / sizeof(always[0]); i++)
        r = add_option(&args, always[i], NULL);
    if (!r)
        r = add_option(&args, "fsname", source);
    if (!r)
        r = add_option(&args, "subtype", "agnesfs");
    if (!r && place->allow_other)
        r = add_option(&args, "allow_other", NULL);
    if (r < 0)
        return r;
    place->session = fuse_session_new(&args, &none, sizeof(none), NULL);
    return place->session ? 0 : -ENOMEM;
}

static int mount_there(struct place *place, const char *source)
{
    int r = place->session ? -EBUSY : check_mountpoint(place->mountpoint);

    if (!r)
        r = check_device();
    if (!r)
        r = session_new(place, source);
    if (!r && fuse_session_mount(place->session, place->mountpoint) < 0)
        r = -EPERM;
    place->mounted = r == 0;
    return r;
}

/* From here on nothing of the caller's is held: no terminal, no pipe, no folder. */
static void detach(const struct place *place)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    setsid();
    if (chdir("/") < 0 || null < 0)
        _exit(1);
    dup3(null, fuse_session_fd(place->session), O_CLOEXEC);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    close(null);
}

static int look(const struct place *place)
{
    struct stat st;

    return stat(place->mountpoint, &st) < 0 ? negative_errno() : 0;
}

/* Asks, since the kernel remembers what it was told by a mount that is dead now. */
static bool is_dead(const struct place *place)
{
    struct statx st;

    return statx(AT_FDCWD, place->mountpoint, AT_STATX_FORCE_SYNC, STATX_MODE, &st) < 0 &&
           errno == ENOTCONN;
}

/* The connection of what is dead is /dev/null here, so that libfuse does not take it for unmounted. */
static int unmount(const struct place *place, bool severed)
{
    if (!place->mounted || (severed && !is_dead(place)))
        return -ENOENT;
    fuse_session_unmount(place->session);
    return 0;
}

/* fd: -1 for none. */
static int send_packet(int socket, const void *data, size_t size, int fd)
{
    struct iovec part = {.iov_base = (void *)data, .iov_len = size};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
                                          .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? negative_errno() : 0;
}

static void answer(struct place *place, int socket, const char *question)
{
    int r = -EINVAL;

    if (*question == QUESTION_MOUNT) {
        r = mount_there(place, question + 1);
        if (send_packet(socket, &r, sizeof(r), r < 0 ? -1 : fuse_session_fd(place->session)) < 0) {
            unmount(place, false); /* nobody is left to serve it */
            _exit(1);
        }
        if (r == 0)
            detach(place);
        return;
    }
    if (*question == QUESTION_LOOK)
        r = look(place);
    else if (*question == QUESTION_UNMOUNT)
        r = unmount(place, false);
    else if (*question == QUESTION_CLEAR)
        r = unmount(place, true);
    send_packet(socket, &r, sizeof(r), -1);
}

/* Signals that end the serving process are not for us: it has yet to have its folder unmounted. */
static void serve(int socket, const char *mountpoint, bool allow_other)
{
    struct place place = {.mountpoint = mountpoint, .allow_other = allow_other};
    char question[SOURCE_MAX + 2];
    ssize_t n;

    prctl(PR_SET_NAME, "agnesfs-mounter");
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (dup3(socket, SOCKET_FD, O_CLOEXEC) < 0 && errno != EINVAL)
        return;
    close_range(SOCKET_FD + 1, ~0U, 0);
    while ((n = recv(SOCKET_FD, question, sizeof(question) - 1, 0)) > 0 ||
           (n < 0 && errno == EINTR)) {
        question[n > 0 ? n : 0] = '\0';
        if (n > 0)
            answer(&place, SOCKET_FD, question);
    }
}

/* --- in the process that serves --- */

int mounter_new(const char *mountpoint, bool allow_other, struct mounter **ret_mounter)
{
    scoped_free struct mounter *mounter = calloc(1, sizeof(*mounter));
    int sockets[2];

    if (!mounter)
        return -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return negative_errno();
    fflush(NULL);
    keeper_new(&mounter->keeper);
    mounter->pid = fork();
    if (mounter->pid == 0) {
        serve(sockets[1], mountpoint, allow_other);
        _exit(0);
    }

    int r = mounter->pid < 0 ? negative_errno() : 0;

    close(sockets[1]);
    mounter->socket = sockets[0];
    if (r < 0) {
        close(sockets[0]);
        keeper_free(mounter->keeper);
    } else
        *ret_mounter = take_ptr(mounter);
    return r;
}

/* ret_fd: NULL, or -1 if none came. */
static int receive_answer(int socket, int *ret_fd)
{
    int result = 0;
    struct iovec part = {.iov_base = &result, .iov_len = sizeof(result)};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t n;

    while ((n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        continue;
    if (n != (ssize_t)sizeof(result))
        return -EPIPE;
    if (ret_fd) {
        const struct cmsghdr *header = CMSG_FIRSTHDR(&message);

        *ret_fd = -1;
        if (header && header->cmsg_type == SCM_RIGHTS)
            memcpy(ret_fd, CMSG_DATA(header), sizeof(*ret_fd));
    }
    return result;
}

static int ask(struct mounter *mounter, enum question question, const char *text, int *ret_fd)
{
    char packet[SOURCE_MAX + 2];
    int length = snprintf(packet, sizeof(packet), "%c%s", question, text);
    int r;

    if (length >= (int)sizeof(packet))
        return -ENAMETOOLONG;
    r = send_packet(mounter->socket, packet, (size_t)length, -1);
    return r < 0 ? -EPIPE : receive_answer(mounter->socket, ret_fd);
}

int mounter_mount(struct mounter *mounter, const char *source, int *ret_fd)
{
    int fd = -1;
    int r = ask(mounter, QUESTION_MOUNT, source, &fd);

    if (r < 0)
        return r;
    if (fd < 0)
        return -EPIPE;
    if (mounter->keeper)
        keeper_hold(mounter->keeper, fd);
    *ret_fd = fd;
    return 0;
}

int mounter_look(struct mounter *mounter)
{
    return ask(mounter, QUESTION_LOOK, "", NULL);
}

int mounter_unmount(struct mounter *mounter, bool severed)
{
    return ask(mounter, severed ? QUESTION_CLEAR : QUESTION_UNMOUNT, "", NULL);
}

struct keeper *mounter_keeper(const struct mounter *mounter)
{
    return mounter ? mounter->keeper : NULL;
}

void mounter_free(struct mounter *mounter)
{
    if (!mounter)
        return;
    keeper_free(mounter->keeper);
    close(mounter->socket);
    while (waitpid(mounter->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    free(mounter);
}
