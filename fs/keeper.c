/* SPDX-License-Identifier: MIT */
/* Why it never answers for a mount that lives: it reads from its descriptor only once the channel is
 * closed, whose other end is in no table of descriptors but that of the threads that serve. */
#include "fs/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "cache/scoped.h"

/* A read has to have room for the largest write that the kernel may send, though none comes. */
#define REQUEST_SIZE ((size_t)2 << 20)

struct keeper {
    int channel; /* -1: ended */
    int spare;   /* /dev/fuse, to become a clone; -1: none */
};

static int clone_to(int own, int device)
{
    const uint32_t number = (uint32_t)device;

    return ioctl(own, FUSE_DEV_IOC_CLONE, &number) < 0 ? negative_errno() : own;
}

int keeper_clone(const struct keeper *keeper, int device)
{
    return clone_to(keeper->spare, device);
}

/* --- the device is passed on --- */

union control {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

int keeper_hold(struct keeper *keeper, int device)
{
    union control control = {{0}};
    char byte = 0;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &device, sizeof(int));
    return sendmsg(keeper->channel, &message, MSG_NOSIGNAL) < 0 ? negative_errno() : 0;
}

/* -1: it never came. */
static int receive(int channel)
{
    union control control = {{0}};
    char byte;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    const struct cmsghdr *header;
    int device = -1;

    if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) > 0 && (header = CMSG_FIRSTHDR(&message)))
        memcpy(&device, CMSG_DATA(header), sizeof(int));
    return device;
}

/* --- the process --- */

static void leave_all_behind(int channel, int parent)
{
    const unsigned low = (unsigned)(channel < parent ? channel : parent);
    const unsigned high = (unsigned)(channel < parent ? parent : channel);
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    prctl(PR_SET_NAME, "agnesfs-keeper");
    setsid();
    if (low > 0)
        close_range(0, low - 1, 0);
    close_range(low + 1, high - 1, 0); /* nothing where they are neighbours */
    close_range(high + 1, ~0U, 0);
    if (chdir("/") < 0)
        _exit(1);
}

/* Until the mount is gone, which is the end, or its process is. */
static void wait_for_death(int device, int channel)
{
    struct pollfd fds[] = {{.fd = device}, {.fd = channel, .events = POLLIN}};

    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        continue;
    if (fds[0].revents)
        _exit(0);
}

static bool wants_answer(const struct fuse_in_header *request)
{
    return request->opcode != FUSE_FORGET && request->opcode != FUSE_BATCH_FORGET &&
           request->opcode != FUSE_INTERRUPT;
}

static void answer(int device, void *buffer)
{
    const struct fuse_in_header *request = buffer;
    ssize_t size = read(device, buffer, REQUEST_SIZE);

    if (size < (ssize_t)sizeof(*request) || !wants_answer(request))
        return;

    const struct fuse_out_header reply = {.len = sizeof(reply),
                                          .error = -ENOTCONN,
                                          .unique = request->unique};

    if (write(device, &reply, sizeof(reply)) < 0)
        errno = 0; /* who asked has gone meanwhile */
}

static void answer_all(int device, int parent)
{
    struct pollfd fds[] = {{.fd = device, .events = POLLIN}, {.fd = parent, .events = POLLIN}};
    void *buffer = malloc(REQUEST_SIZE);

    while (buffer && !(fds[0].revents & POLLERR) && !fds[1].revents) {
        if (fds[0].revents)
            answer(device, buffer);
        if (poll(fds, 2, -1) < 0)
            fds[0].revents = fds[1].revents = 0;
    }
}

static _Noreturn void keep(int channel, int parent)
{
    leave_all_behind(channel, parent);

    int given = receive(channel);
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (given < 0 || clone_to(device, given) < 0)
        _exit(given < 0 ? 0 : 1);
    close(given);
    wait_for_death(device, channel);
    answer_all(device, parent);
    _exit(0);
}

int keeper_new(struct keeper **ret_keeper)
{
    scoped_free struct keeper *keeper = calloc(1, sizeof(*keeper));
    scoped_fd int parent = (int)syscall(SYS_pidfd_open, getpid(), 0);
    int ends[2];

    if (!keeper || parent < 0)
        return keeper ? negative_errno() : -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return negative_errno();

    pid_t pid = fork();

    if (pid == 0) {
        close(ends[0]);
        keep(ends[1], parent);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -EAGAIN;
    }
    keeper->channel = ends[0];
    keeper->spare = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    *ret_keeper = take_ptr(keeper);
    return 0;
}

void keeper_end(struct keeper *keeper)
{
    if (keeper->channel >= 0)
        close(keeper->channel);
    if (keeper->spare >= 0)
        close(keeper->spare);
    keeper->channel = keeper->spare = -1;
}

void keeper_free(struct keeper *keeper)
{
    if (!keeper)
        return;
    keeper_end(keeper);
    free(keeper);
}
