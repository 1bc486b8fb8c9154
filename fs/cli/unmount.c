/* SPDX-License-Identifier: MIT */
/* unmount.c - the system call first; who may not is helped by fusermount3. */
#include "fs/cli/unmount.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "cache/scoped.h"
#include "fs/cli/mounts.h"

extern char **environ;

static void read_words(int fd, char ret_words[static UNMOUNT_WORDS])
{
    size_t used = 0;
    ssize_t n;

    while ((n = read(fd, ret_words + used, UNMOUNT_WORDS - 1 - used)) > 0)
        used += (size_t)n;
    ret_words[used] = '\0';
    ret_words[strcspn(ret_words, "\n")] = '\0';
}

/* fusermount3 is setuid root. Its words are the only way to know why it refused. */
static int run_fusermount(const char *path, bool lazy, char ret_words[static UNMOUNT_WORDS])
{
    char *const argv[] = {(char *)"fusermount3", (char *)(lazy ? "-uz" : "-u"), (char *)"--",
                          (char *)path, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status;
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return negative_errno();

    scoped_fd int words = fds[0];

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO);

    int r = -posix_spawnp(&child, argv[0], &actions, NULL, argv, environ);

    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    if (r < 0) {
        snprintf(ret_words, UNMOUNT_WORDS, "fusermount3 (package fuse3): %s", strerror(-r));
        return r;
    }
    read_words(words, ret_words);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return strstr(ret_words, "busy") ? -EBUSY : -EPERM;
}

int unmount(const char *path, bool lazy, char ret_words[static UNMOUNT_WORDS])
{
    if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    snprintf(ret_words, UNMOUNT_WORDS, "%s", strerror(errno));
    if (errno != EPERM) /* which says: without CAP_SYS_ADMIN */
        return negative_errno();
    return run_fusermount(path, lazy, ret_words);
}

/* A stat may still be answered from the kernel's memory; statfs always asks the process. */
static bool is_dead(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) < 0 && errno == ENOTCONN;
}

int unmount_dead(const char *path, unsigned *ret_count)
{
    char words[UNMOUNT_WORDS];
    struct mounts_entry entry;
    unsigned count = 0;

    for (; mounts_at(path, &entry) == MOUNTS_AGNESFS && is_dead(path); count++)
        if (entry.user != geteuid() || unmount(path, true, words) < 0)
            return -ENOTCONN;
    *ret_count = count;
    return 0;
}
