/* SPDX-License-Identifier: MIT */
/* state.c - the two files, and their change of guard.
 *
 *     step                          sync_state.json   sync_state.prev.json   .tmp
 *     before                        old               older                  -
 *     write .tmp, fsync             old               older                  new
 *     unlink prev, link old there   old               - then old             new
 *     rename .tmp over current      new               old                    -
 *     fsync the directory
 *
 * Read any row from left to right: whenever the machine stops, the first file that can be believed
 * is the new generation or the one before. A file that can not be believed is never made the
 * previous one, so one rotten file does not push out the last good one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/files.h"
#include "cache/scoped.h"
#include "sync/state_text.h"

#define PREVIOUS "sync_state.prev.json"
#define TEMPORARY STATE_FILE ".tmp"

#define FILE_SIZE_MAX ((off_t)2 << 30)

void state_release(struct state *state)
{
    tree_unref(state->tree);
    *state = (struct state){0};
}

/* --- reading --- */

static int open_regular(int dirfd, const char *name, size_t *ret_size, char *ret_message)
{
    /* O_NONBLOCK: a fifo under this name must not hang us. */
    scoped_fd int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd < 0 && errno != ELOOP && errno != ENXIO &&
        errno != EACCES) /* a link, a socket, foreign */
        return negative_errno();
    if (fd >= 0 && fstat(fd, &st) < 0)
        return negative_errno();
    if (fd < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_SIZE_MAX) {
        snprintf(ret_message, STATE_MESSAGE_SIZE, "is no file that we would write");
        return -EBADMSG;
    }
    *ret_size = (size_t)st.st_size;
    return take_fd(fd);
}

static int read_whole(int dirfd, const char *name, char **ret_text, size_t *ret_size,
                      char *ret_message)
{
    size_t size = 0;
    size_t used = 0;
    scoped_fd int fd = open_regular(dirfd, name, &size, ret_message);
    scoped_free char *text = NULL;

    if (fd < 0)
        return fd;
    text = malloc(size + 1);
    if (!text)
        return -ENOMEM;
    while (used < size) {
        ssize_t got = read(fd, text + used, size - used);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return negative_errno();
        if (got == 0)
            break;
        used += (size_t)got;
    }
    *ret_text = take_ptr(text);
    *ret_size = used;
    return 0;
}

/* decorate has failed, not the file: there is no point in trying the other one. */
struct decoration {
    int (*decorate)(void *arg, struct tree_builder *builder);
    void *arg;
    bool failed;
};

static int decorate_and_tell(void *arg, struct tree_builder *builder)
{
    struct decoration *decoration = arg;
    int r = decoration->decorate ? decoration->decorate(decoration->arg, builder) : 0;

    decoration->failed = r < 0;
    return r;
}

static int load_file(int dirfd, const char *name, struct decoration *decoration,
                     struct state *ret_state, char *ret_message)
{
    char message[STATE_MESSAGE_SIZE] = "";
    scoped_free char *text = NULL;
    size_t size = 0;
    int r = read_whole(dirfd, name, &text, &size, message);

    if (r == 0)
        r = state_text_read(text, size, decorate_and_tell, decoration, ret_state, message);
    if (r == -EBADMSG)
        snprintf(ret_message, STATE_MESSAGE_SIZE, "%s: %.120s", name, message);
    return r;
}

int state_load(int dirfd, int (*decorate)(void *arg, struct tree_builder *builder), void *arg,
               struct state *ret_state, bool *ret_previous, char *ret_message)
{
    struct decoration decoration = {decorate, arg, false};
    char ignored[STATE_MESSAGE_SIZE];
    int current, previous;

    current = load_file(dirfd, STATE_FILE, &decoration, ret_state, ret_message);
    if (current == -ENOMEM || decoration.failed)
        return current;
    if (current == 0) {
        *ret_previous = false;
        return 0;
    }
    /* What is said in the end is said of the current file, if there is one. */
    previous = load_file(dirfd, PREVIOUS, &decoration, ret_state,
                         current == -EBADMSG ? ignored : ret_message);
    if (previous == 0) {
        *ret_previous = true;
        return 0;
    }
    if (previous == -ENOMEM || decoration.failed || current == -ENOENT)
        return previous;
    return current;
}

/* --- writing --- */

static int write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t put = write(fd, text, size);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return negative_errno();
        text += put;
        size -= (size_t)put;
    }
    return fsync(fd) < 0 ? negative_errno() : 0;
}

static int write_temporary(int dirfd, const char *text, size_t size)
{
    scoped_fd int fd = -1;

    /* What is left there is of somebody who died: a new file, not more of the old. */
    int r = name_clear(dirfd, TEMPORARY);

    if (r < 0)
        return r;
    fd = openat(dirfd, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? negative_errno() : write_all(fd, text, size);
}

static int keep_as_previous(int dirfd)
{
    int r = name_clear(dirfd, PREVIOUS);

    if (r < 0)
        return r;
    if (linkat(dirfd, STATE_FILE, dirfd, PREVIOUS, 0) == 0)
        return 0;
    /* A file system without hard links: for an instant only the previous name leads to it, which
     * is where state_load looks next. */
    return renameat(dirfd, STATE_FILE, dirfd, PREVIOUS) < 0 ? negative_errno() : 0;
}

/* An empty folder that has the name makes way, as anything else does. */
static int put_in_place(int dirfd)
{
    if (renameat(dirfd, TEMPORARY, dirfd, STATE_FILE) == 0)
        return 0;
    if (errno != EISDIR || name_clear(dirfd, STATE_FILE) < 0)
        return negative_errno();
    return renameat(dirfd, TEMPORARY, dirfd, STATE_FILE) < 0 ? negative_errno() : 0;
}

int state_look(int dirfd, struct state_stamp *ret_stamp)
{
    struct stat st;

    if (fstatat(dirfd, STATE_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return negative_errno();
    *ret_stamp = (struct state_stamp){
        .ino = st.st_ino,
        .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
    };
    return 0;
}

int state_save(int dirfd, const struct state *state)
{
    char message[STATE_MESSAGE_SIZE];
    scoped_free char *old = NULL;
    scoped_free char *text = NULL;
    size_t old_size = 0;
    size_t size = 0;
    int r = state_text_make(state, &text, &size);

    if (r < 0)
        return r;
    r = read_whole(dirfd, STATE_FILE, &old, &old_size, message);
    if (r == 0 && old_size == size && memcmp(old, text, size) == 0)
        return 0;
    r = write_temporary(dirfd, text, size);
    if (r == 0 && old && state_text_check(old, old_size, message) == 0)
        r = keep_as_previous(dirfd);
    if (r == 0)
        r = put_in_place(dirfd);
    if (r < 0) {
        unlinkat(dirfd, TEMPORARY, 0);
        return r;
    }
    return fsync(dirfd) < 0 ? negative_errno() : 0;
}
