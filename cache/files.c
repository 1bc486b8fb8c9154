/* SPDX-License-Identifier: MIT */
/* files.c - the few system call loops that everybody gets wrong once, written once.
 *
 * O_NONBLOCK is in every open of a name that somebody else may have planted: without it, opening a
 * fifo waits for ever. It does nothing to regular files. */
#include "cache/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "cache/scoped.h"

int write_fully(int fd, const void *data, size_t size, uint64_t offset)
{
    const uint8_t *bytes = data;

    while (size > 0) {
        ssize_t n = pwrite(fd, bytes, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? negative_errno() : -EIO;
        bytes += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int read_fully(int fd, void *data, size_t size, uint64_t offset)
{
    uint8_t *bytes = data;

    while (size > 0) {
        ssize_t n = pread(fd, bytes, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? negative_errno() : -ENODATA;
        bytes += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int dir_open(int dir, const char *name, bool make, int *ret_fd)
{
    if (make && mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
        return negative_errno();

    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return errno == ELOOP ? -ENOTDIR : negative_errno();
    *ret_fd = fd;
    return 0;
}

/* Errors that say "there is something, but not a file that we can use". */
static bool is_obstacle(int error)
{
    return error == ELOOP || error == ENXIO || error == ENODEV || error == EACCES ||
           error == EPERM || error == EISDIR;
}

static int open_stat(int dir, const char *name, int flags, int *ret_fd, struct stat *ret_st)
{
    scoped_fd int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return is_obstacle(errno) ? -EBADMSG : negative_errno();
    if (fstat(fd, ret_st) < 0)
        return negative_errno();
    *ret_fd = take_fd(fd);
    return 0;
}

/* Looked at before it is opened for writing; what is opened then has to be the same file. */
int file_open_plain(int dir, const char *name, uid_t owner, bool writable, int *ret_fd,
                    struct stat *ret_st)
{
    scoped_fd int fd = -1;
    scoped_fd int second = -1;
    struct stat st, again;
    int r = open_stat(dir, name, O_RDONLY, &fd, &st);

    if (r < 0)
        return r;
    if (!stat_is_plain(&st, owner))
        return -EBADMSG;
    if (writable) {
        if (fchmod(fd, 0600) < 0)
            return negative_errno();
        r = open_stat(dir, name, O_RDWR, &second, &again);
        if (r < 0)
            return r;
        if (again.st_dev != st.st_dev || again.st_ino != st.st_ino)
            return -EBADMSG;
    }
    *ret_st = st;
    *ret_fd = writable ? take_fd(second) : take_fd(fd);
    return 0;
}

int file_load(int dir, const char *name, size_t limit, char **ret_text, size_t *ret_size)
{
    scoped_fd int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return negative_errno();
    if (!S_ISREG(st.st_mode))
        return -EBADMSG;
    if ((uint64_t)st.st_size > limit)
        return -EFBIG;

    size_t size = (size_t)st.st_size;
    scoped_free char *text = malloc(size + 1);
    size_t done = 0;

    if (!text)
        return -ENOMEM;
    while (done < size) {
        ssize_t n = read(fd, text + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? negative_errno() : -EBADMSG;
        done += (size_t)n;
    }
    text[size] = '\0';
    *ret_text = take_ptr(text);
    *ret_size = size;
    return 0;
}

int file_save(int dir, const char *name, const char *temporary, const void *data, size_t size)
{
    int r = name_clear(dir, temporary);

    if (r < 0)
        return r;

    scoped_fd int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                              0600);

    if (fd < 0)
        return negative_errno();
    r = write_fully(fd, data, size, 0);
    if (r == 0 && (fsync(fd) < 0 || renameat(dir, temporary, dir, name) < 0 || fsync(dir) < 0))
        r = negative_errno();
    if (r < 0)
        unlinkat(dir, temporary, 0);
    return r;
}

int name_clear(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return negative_errno();
    return unlinkat(dir, name, AT_REMOVEDIR) < 0 ? negative_errno() : 0;
}

bool stat_is_plain(const struct stat *st, uid_t owner)
{
    return S_ISREG(st->st_mode) && st->st_uid == owner && st->st_nlink == 1;
}
