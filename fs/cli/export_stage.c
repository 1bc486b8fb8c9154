/* SPDX-License-Identifier: MIT */
/* export_stage.c - the strategies of export_target.h. A copy is read and written here rather than by
 * copy_file_range, which may share blocks: who asks for a copy gets one, and can be told how far it
 * is. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cache/files.h"
#include "cache/scoped.h"
#include "fs/cli/export_target.h"

enum { CHUNK = 1 << 20 };

static int create(const struct export_target *target, const char *name, int *ret_fd)
{
    *ret_fd = openat(target->stage, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                     0444);
    return *ret_fd < 0 ? negative_errno() : 0;
}

/* Time, durability, identity: what every new file needs, in this order. */
static int complete(int fd, const struct export_bytes *bytes, struct export_identity *ret_identity)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};
    struct stat st;

    if (bytes->mtime_ns != INT64_MIN) {
        times[1].tv_sec = bytes->mtime_ns / 1000000000;
        times[1].tv_nsec = bytes->mtime_ns % 1000000000;
    }
    if (futimens(fd, times) < 0 || fsync(fd) < 0 || fstat(fd, &st) < 0)
        return negative_errno();
    *ret_identity = export_identity_of(&st);
    return 0;
}

static int copy_blob(int fd, const struct export_bytes *bytes,
                     int (*tick)(void *arg, uint64_t bytes), void *arg)
{
    scoped_free char *buffer = malloc(CHUNK);
    int r = buffer ? 0 : -ENOMEM;

    for (uint64_t done = 0; r == 0 && done < bytes->size;) {
        size_t size = bytes->size - done < CHUNK ? (size_t)(bytes->size - done) : CHUNK;

        if (read_fully(bytes->fd, buffer, size, done) < 0)
            return -ENODATA;
        r = write_fully(fd, buffer, size, done);
        done += size;
        if (r == 0)
            r = tick(arg, size);
    }
    return r;
}

int export_target_copy(const struct export_target *target, const char *name,
                       const struct export_bytes *bytes, int (*tick)(void *arg, uint64_t bytes),
                       void *arg, struct export_identity *ret_identity)
{
    scoped_fd int fd = -1;
    int r = create(target, name, &fd);

    if (r < 0)
        return r;
    r = bytes->fd >= 0 ? copy_blob(fd, bytes, tick, arg)
                       : write_fully(fd, bytes->text, bytes->size, 0);
    if (r == 0)
        r = complete(fd, bytes, ret_identity);
    if (r < 0)
        unlinkat(target->stage, name, 0);
    return r;
}

static bool means_impossible(int error)
{
    return error == EOPNOTSUPP || error == EXDEV || error == EINVAL || error == ENOTTY ||
           error == EPERM || error == EMLINK || error == ENOSYS || error == ENOENT;
}

int export_target_reflink(const struct export_target *target, const char *name,
                          const struct export_bytes *bytes, struct export_identity *ret_identity)
{
    scoped_fd int fd = -1;
    int r = create(target, name, &fd);

    if (r < 0)
        return r;
    if (ioctl(fd, FICLONE, bytes->fd) < 0)
        r = means_impossible(errno) ? -EOPNOTSUPP : negative_errno();
    if (r == 0)
        r = complete(fd, bytes, ret_identity);
    if (r < 0)
        unlinkat(target->stage, name, 0);
    return r;
}

/* The name may have become another file's since it was looked at: what was linked is compared. */
int export_target_link(const struct export_target *target, const char *name, const char *donor,
                       bool staged, const struct export_identity *identity)
{
    scoped_fd int dir = -1;
    const char *last = donor;
    struct stat st;
    int r = staged ? 0 : export_target_parent(target, donor, &dir, &last);

    if (r < 0)
        return -EOPNOTSUPP;
    if (linkat(staged ? target->stage : dir, last, target->stage, name, 0) < 0)
        return means_impossible(errno) ? -EOPNOTSUPP : negative_errno();
    if (fstatat(target->stage, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        const struct export_identity found = export_identity_of(&st);

        if (S_ISREG(st.st_mode) && export_identity_equal(&found, identity))
            return 0;
    }
    unlinkat(target->stage, name, 0);
    return -EOPNOTSUPP;
}
