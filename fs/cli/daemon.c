/* SPDX-License-Identifier: MIT */
/* daemon.c - the parent learns how it went from one byte on a pipe; end of file without one means
 * that the child died. If the parent dies first, whoever waited for the mount has given up: the
 * child gets a SIGTERM, until it has reported. The child closes whatever else it inherited, so that a
 * lock or a pipe of the caller's does not live as long as the mount. */
#include "fs/cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/cli/discovery.h"
#include "fs/cli/messages.h"
#include "fs/cli/systemd.h"

enum { REPORT_FD = 3 };

struct daemon {
    int fd;
};

static int wait_for_report(int fd, pid_t child)
{
    unsigned char code;
    ssize_t n;
    int status;

    while ((n = read(fd, &code, 1)) < 0 && errno == EINTR)
        continue;
    if (n == 1)
        return code;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    fputs("agnesfs: mount: its process died before the mount answered\n", stderr);
    return EXIT_FAILED;
}

bool daemon_fork(struct daemon **ret_daemon, int *ret_exit_code)
{
    struct daemon *daemon = malloc(sizeof(*daemon));
    pid_t parent = getpid();
    pid_t child = -1;
    int fds[2];

    fflush(NULL);
    if (daemon && pipe2(fds, O_CLOEXEC) == 0)
        child = fork();
    if (child < 0) {
        fprintf(stderr, "agnesfs: mount: %s\n", strerror(errno));
        free(daemon);
        *ret_exit_code = EXIT_FAILED;
        return true;
    }
    if (child > 0) {
        free(daemon);
        close(fds[1]);
        token_leave_environment();
        *ret_exit_code = wait_for_report(fds[0], child);
        return true;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(EXIT_INTERRUPTED);
    if (fds[1] != REPORT_FD)
        dup3(fds[1], REPORT_FD, O_CLOEXEC);
    else
        fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
    close_range(REPORT_FD + 1, ~0U, 0);
    daemon->fd = REPORT_FD;
    *ret_daemon = daemon;
    return false;
}

static void detach(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    setsid();
    if (chdir("/") < 0 || null < 0)
        return;
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    close(null);
}

void daemon_report(struct daemon *daemon, int exit_code)
{
    unsigned char code = (unsigned char)exit_code;

    fflush(NULL);
    if (exit_code == EXIT_OK)
        systemd_ready();
    if (!daemon)
        return;
    prctl(PR_SET_PDEATHSIG, 0);
    if (exit_code == EXIT_OK)
        detach();
    if (write(daemon->fd, &code, 1) < 0)
        errno = 0; /* the parent is gone: nobody waits for us */
    close(daemon->fd);
    free(daemon);
}

void daemon_prepare(void)
{
    struct rlimit limit;

    umask(077);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file too big is a write that failed */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}
