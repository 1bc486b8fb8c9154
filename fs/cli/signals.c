/* SPDX-License-Identifier: MIT */
/* signals.c - a signalfd beside an eventfd: the thread ends when told, never by a signal. */
#include "fs/cli/signals.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "cache/scoped.h"

struct signals {
    pthread_t thread;
    sigset_t before;
    int signal_fd;
    int end_fd;
    void (*caught)(void *arg, int signal);
    void *arg;
};

static void *watch(void *arg)
{
    const struct signals *signals = arg;
    struct pollfd fds[] = {{.fd = signals->signal_fd, .events = POLLIN},
                           {.fd = signals->end_fd, .events = POLLIN}};
    struct signalfd_siginfo info;

    while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
        if (fds[1].revents)
            break;
        if (fds[0].revents && read(signals->signal_fd, &info, sizeof(info)) == sizeof(info))
            signals->caught(signals->arg, (int)info.ssi_signo);
    }
    return NULL;
}

static int start(struct signals *signals, const sigset_t *set)
{
    signals->signal_fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
    signals->end_fd = eventfd(0, EFD_CLOEXEC);
    if (signals->signal_fd < 0 || signals->end_fd < 0)
        return negative_errno();
    return -pthread_create(&signals->thread, NULL, watch, signals);
}

static void release(struct signals *signals)
{
    if (signals->signal_fd >= 0)
        close(signals->signal_fd);
    if (signals->end_fd >= 0)
        close(signals->end_fd);
    pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
    free(signals);
}

int signals_start(bool hangup, void (*caught)(void *arg, int signal), void *arg,
                  struct signals **ret_signals)
{
    struct signals *signals = calloc(1, sizeof(*signals));
    sigset_t set;

    if (!signals)
        return -ENOMEM;
    signals->signal_fd = signals->end_fd = -1;
    signals->caught = caught;
    signals->arg = arg;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (hangup)
        sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, &signals->before);

    int r = start(signals, &set);

    if (r < 0) {
        release(signals);
        return r;
    }
    *ret_signals = signals;
    return 0;
}

void signals_stop(struct signals *signals)
{
    if (!signals)
        return;
    if (eventfd_write(signals->end_fd, 1) == 0)
        pthread_join(signals->thread, NULL);
    release(signals);
}

void signals_stopp(struct signals *const *signals)
{
    signals_stop(*signals);
}
