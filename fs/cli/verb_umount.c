/* SPDX-License-Identifier: MIT */
/* verb_umount.c - asks nothing of the mounted folder: a dead or hanging one must end too. Done means
 * that the process behind it has let go of everything, so that mounting again works at once. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "cache/scoped.h"
#include "fs/cli/control.h"
#include "fs/cli/mounts.h"
#include "fs/cli/options.h"
#include "fs/cli/target.h"

extern char **environ;

enum { GONE_MS = 10 * 1000, GONE_SOON_MS = 1000, STOP_MS = 2000, WORDS_SIZE = 400 };

static void read_words(int fd, char ret_words[static WORDS_SIZE])
{
    size_t used = 0;
    ssize_t n;

    while ((n = read(fd, ret_words + used, WORDS_SIZE - 1 - used)) > 0)
        used += (size_t)n;
    ret_words[used] = '\0';
    ret_words[strcspn(ret_words, "\n")] = '\0';
}

/* fusermount3 is setuid root. Its words are the only way to know why it refused. */
static int run_fusermount(const char *path, bool lazy, char ret_words[static WORDS_SIZE])
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
        snprintf(ret_words, WORDS_SIZE, "fusermount3 (package fuse3): %s", strerror(-r));
        return r;
    }
    read_words(words, ret_words);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return strstr(ret_words, "busy") ? -EBUSY : -EPERM;
}

static int unmount(const char *path, bool lazy, char ret_words[static WORDS_SIZE])
{
    if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    snprintf(ret_words, WORDS_SIZE, "%s", strerror(errno));
    if (errno != EPERM) /* which says: without CAP_SYS_ADMIN */
        return negative_errno();
    return run_fusermount(path, lazy, ret_words);
}

/* Nothing is mounted (yet, or any more), but its process lives: it waits for its first manifest, or
 * for the last open file after a lazy umount. */
static bool tell_to_stop(const struct target *target)
{
    scoped_free char *text = NULL;
    size_t size;

    return control_ask(target->runtime, target->mountpoint,
                       &(struct control_request){.verb = "stop"}, STOP_MS, &text, &size) == 0;
}

static int end_mount(const struct target *target, bool lazy, struct complaint *ret_complaint)
{
    char words[WORDS_SIZE] = "";
    char type[64] = "";
    enum mounts_kind kind = mounts_at(target->mountpoint, type, sizeof(type));

    if (kind == MOUNTS_NOTHING && tell_to_stop(target))
        return 0;
    if (kind == MOUNTS_NOTHING)
        return complain(ret_complaint, EXIT_FAILED, target->mountpoint, "not mounted");
    if (kind == MOUNTS_OTHER)
        return complain(ret_complaint, EXIT_FAILED, target->mountpoint, "not an agnesfs mount (%s)",
                        type);

    int r = unmount(target->mountpoint, lazy, words);

    if (r == -EBUSY) {
        complain(ret_complaint, EXIT_BUSY, target->mountpoint, "busy: something in it is in use");
        complaint_hint(ret_complaint, "fuser -vm %s names who; or: agnesfs umount --lazy %s",
                       target->mountpoint, target->mountpoint);
    } else if (r < 0) {
        complain(ret_complaint, EXIT_FAILED, target->mountpoint, "could not be unmounted: %s",
                 *words ? words : strerror(-r));
    }
    return r;
}

int verb_umount(const struct options *options)
{
    scoped(target_release) struct target target = {0};
    bool lazy = options_flag(options, FLAG_LAZY);
    struct complaint complaint;

    if (target_find(options_operand(options, 0), &target, &complaint) < 0 ||
        end_mount(&target, lazy, &complaint) < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));

    int r = control_wait_gone(target.runtime, target.mountpoint, GONE_SOON_MS);

    /* A copy of the mount in another mount namespace, a container's say, keeps the kernel from telling
     * its process. So we do; one that does not listen any more is ending already. */
    if (r == -ETIMEDOUT && !lazy) {
        tell_to_stop(&target);
        r = control_wait_gone(target.runtime, target.mountpoint, GONE_MS);
    }
    if (r == -ETIMEDOUT && lazy) {
        if (!options_flag(options, FLAG_QUIET))
            warn(target.mountpoint, "detached; its process ends with the last open file");
        return EXIT_OK;
    }
    if (r == -ETIMEDOUT) {
        complain(&complaint, EXIT_FAILED, target.mountpoint,
                 "unmounted, but its process has not ended yet");
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    }
    return EXIT_OK;
}
