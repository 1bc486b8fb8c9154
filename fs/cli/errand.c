/* SPDX-License-Identifier: MIT */
/* errand.c - a child that has closed its end of the pipe has done its work; one that hangs in the
 * kernel may outlive SIGKILL for a while, so nobody waits for it: init will. */
#include "fs/cli/errand.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cache/scoped.h"

enum { REAP_TRIES = 20, REAP_MS = 5 };

struct child {
    struct errand *errand;
    pid_t pid;
    int fd;
    size_t room;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

__attribute__((noreturn)) static void be_child(const struct errand *errand, int fd, pid_t parent)
{
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    FILE *out = fdopen(fd, "w");

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || !out)
        _exit(1);
    for (int standard = 0; nowhere >= 0 && standard <= 2; standard++)
        dup2(nowhere, standard);
    errand->run(errand->arg, out);
    fflush(out);
    _exit(0);
}

static int start(struct errand *errand, struct child *ret_child)
{
    pid_t parent = getpid();
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return negative_errno();

    pid_t pid = fork();

    if (pid == 0) {
        close(fds[0]);
        be_child(errand, fds[1], parent);
    }

    int r = pid < 0 ? negative_errno() : 0;

    close(fds[1]);
    if (r < 0) {
        close(fds[0]);
        return r;
    }
    *ret_child = (struct child){.errand = errand, .pid = pid, .fd = fds[0]};
    return 0;
}

/* False: there is no more to come. */
static bool take(struct child *child)
{
    struct errand *errand = child->errand;

    if (child->room - errand->size < 2) {
        size_t room = child->room ? 2 * child->room : 4096;
        char *grown = room <= ERRAND_TEXT ? realloc(errand->text, room) : NULL;

        if (!grown)
            return false;
        errand->text = grown;
        child->room = room;
    }

    ssize_t n = read(child->fd, errand->text + errand->size, child->room - errand->size - 1);

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    errand->size += (size_t)n;
    errand->text[errand->size] = '\0';
    return n > 0;
}

static void stop(struct child *child, bool late)
{
    child->errand->late = late;
    close(child->fd);
    child->fd = -1;
    kill(child->pid, SIGKILL);
}

static void reap(struct child *children, size_t count)
{
    for (int i = 0; count > 0 && i < REAP_TRIES; i++) {
        size_t left = 0;

        for (size_t child = 0; child < count; child++)
            if (waitpid(children[child].pid, NULL, WNOHANG) == 0)
                children[left++] = children[child];
        count = left;
        if (count > 0)
            nanosleep(&(struct timespec){.tv_nsec = REAP_MS * 1000000L}, NULL);
    }
}

static void collect(struct child *children, size_t count, struct pollfd *polls, int64_t until)
{
    for (size_t left = count; left > 0;) {
        int64_t wait = until - now_ms();

        for (size_t i = 0; i < count; i++)
            polls[i] = (struct pollfd){.fd = children[i].fd, .events = POLLIN};
        if (poll(polls, count, wait > 0 ? (int)wait : 0) == 0 && wait <= 0)
            return;
        for (size_t i = 0; i < count; i++) {
            if (children[i].fd < 0 || !polls[i].revents || take(&children[i]))
                continue;
            stop(&children[i], false);
            left--;
        }
    }
}

void errands_run(struct errand *errands, size_t count, int timeout_ms)
{
    scoped_free struct child *children = calloc(count + 1, sizeof(*children));
    scoped_free struct pollfd *polls = calloc(count + 1, sizeof(*polls));
    int64_t until = now_ms() + timeout_ms;
    size_t started = 0;

    for (size_t i = 0; i < count; i++) {
        errands[i].text = NULL;
        errands[i].size = 0;
        errands[i].late = false;
        errands[i].error = children && polls ? start(&errands[i], &children[started]) : -ENOMEM;
        started += errands[i].error == 0;
    }
    if (!children || !polls)
        return;
    collect(children, started, polls, until);
    for (size_t i = 0; i < started; i++)
        if (children[i].fd >= 0)
            stop(&children[i], true);
    reap(children, started);
}
