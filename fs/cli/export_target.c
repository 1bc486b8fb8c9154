/* SPDX-License-Identifier: MIT */
/* export_target.c - every path is walked from the descriptor of TARGET with O_NOFOLLOW at each
 * component, which does what openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS) does, on any kernel:
 * paths hold no "..", so a walk that follows no link can not leave. */
#include "fs/cli/export_target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "cache/files.h"
#include "cache/scoped.h"

#define OWN_FOLDER ".agnes"
#define LOCK_NAME "export.lock"
#define STAGE_NAME "export.tmp"

/* --- opening --- */

static int open_lock(int own, int *ret_fd)
{
    scoped_fd int fd = openat(own, LOCK_NAME,
                              O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

    if (fd < 0)
        return negative_errno();
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : negative_errno();
    *ret_fd = take_fd(fd);
    return 0;
}

int export_target_open(const char *path, struct export_target *ret_target)
{
    scoped_fd int dir = -1;
    scoped_fd int own = -1;
    int lock = -1;
    int r;

    if (mkdir(path, 0777) < 0 && errno != EEXIST && errno != EROFS)
        return negative_errno();
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return negative_errno();
    if ((r = dir_open(dir, OWN_FOLDER, true, &own)) < 0 || (r = open_lock(own, &lock)) < 0)
        return r;
    *ret_target = (struct export_target){take_fd(dir), take_fd(own), -1, lock};
    return 0;
}

void export_target_close(const struct export_target *target)
{
    const int fds[] = {target->stage, target->own, target->dir, target->lock};

    for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static int empty(int dir)
{
    scoped_fd int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    scoped_dir DIR *list = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!list)
        return negative_errno();
    take_fd(fd);
    while ((entry = readdir(list)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(dir, entry->d_name, 0) < 0 && errno != ENOENT)
            return negative_errno();
    return 0;
}

int export_target_begin(struct export_target *target)
{
    int r = dir_open(target->own, STAGE_NAME, true, &target->stage);

    if (r == -ENOTDIR)
        return -EEXIST;
    return r < 0 ? r : empty(target->stage);
}

void export_target_end(struct export_target *target)
{
    if (target->stage < 0 && dir_open(target->own, STAGE_NAME, false, &target->stage) < 0)
        return;
    empty(target->stage);
    close(take_fd(target->stage));
    unlinkat(target->own, STAGE_NAME, AT_REMOVEDIR);
}

/* --- paths --- */

int export_target_parent(const struct export_target *target, const char *path, int *ret_fd,
                         const char **ret_name)
{
    scoped_fd int dir = openat(target->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *slash;

    if (dir < 0)
        return negative_errno();
    for (; (slash = strchr(path, '/')); path = slash + 1) {
        char name[NAME_MAX + 1];
        int next;
        int r;

        if (snprintf(name, sizeof(name), "%.*s", (int)(slash - path), path) >= (int)sizeof(name))
            return -ENAMETOOLONG;
        r = dir_open(dir, name, false, &next);
        if (r < 0)
            return r;
        close(dir);
        dir = next;
    }
    *ret_fd = take_fd(dir);
    *ret_name = path;
    return 0;
}

/* -EEXIST for what is not a plain file. */
static int look_at(int dir, const char *name, struct export_identity *ret_identity)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return negative_errno();
    if (!S_ISREG(st.st_mode))
        return -EEXIST;
    *ret_identity = export_identity_of(&st);
    return 0;
}

int export_target_look(const struct export_target *target, const char *path,
                       struct export_identity *ret_identity)
{
    scoped_fd int dir = -1;
    const char *name;
    int r = export_target_parent(target, path, &dir, &name);

    if (r < 0)
        return r == -ENOTDIR ? -EEXIST : r;
    return look_at(dir, name, ret_identity);
}

int export_target_has(const struct export_target *target, const char *path)
{
    scoped_fd int dir = -1;
    const char *name;
    struct stat st;
    int r = export_target_parent(target, path, &dir, &name);

    if (r == 0 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        r = negative_errno();
    return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

int export_target_make_folder(const struct export_target *target, const char *path)
{
    scoped_fd int dir = -1;
    scoped_fd int made = -1;
    const char *name;
    int r = export_target_parent(target, path, &dir, &name);

    if (r < 0)
        return r;
    if (mkdirat(dir, name, 0777) == 0)
        return fsync(dir) < 0 ? negative_errno() : 1;
    return errno == EEXIST ? dir_open(dir, name, false, &made) : negative_errno();
}

int export_target_remove(const struct export_target *target, const char *path,
                         const struct export_identity *identity)
{
    scoped_fd int dir = -1;
    struct export_identity found;
    const char *name;
    int r = export_target_parent(target, path, &dir, &name);

    if (r == 0)
        r = look_at(dir, name, &found);
    if (r == -ENOENT)
        return 0;
    if (r == -EEXIST || r == -ENOTDIR || (r == 0 && !export_identity_equal(&found, identity)))
        return -ESTALE;
    return r < 0 || unlinkat(dir, name, 0) == 0 ? r : negative_errno();
}

int export_target_remove_folder(const struct export_target *target, const char *path)
{
    scoped_fd int dir = -1;
    const char *name;
    int r = export_target_parent(target, path, &dir, &name);

    if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0)
        r = negative_errno();
    return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

/* --- putting --- */

/* Without replacing. Where rename can not do that, link and unlink can. */
static int put_new(int stage, const char *from, int dir, const char *name)
{
    if (renameat2(stage, from, dir, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return negative_errno();
    if (linkat(stage, from, dir, name, 0) < 0)
        return negative_errno();
    return unlinkat(stage, from, 0) < 0 ? negative_errno() : 0;
}

int export_target_put(const struct export_target *target, const char *name, const char *path,
                      const struct export_identity *old, int *ret_dir)
{
    scoped_fd int dir = -1;
    struct export_identity found;
    const char *last;
    int r = export_target_parent(target, path, &dir, &last);

    if (r == 0 && old) {
        r = look_at(dir, last, &found);
        if (r == -EEXIST || (r == 0 && !export_identity_equal(&found, old)))
            return -ESTALE;
        if (r == 0 && renameat(target->stage, name, dir, last) < 0)
            r = negative_errno();
    }
    if (!old || r == -ENOENT)
        r = dir < 0 ? r : put_new(target->stage, name, dir, last);
    if (r == 0)
        *ret_dir = take_fd(dir);
    return r;
}
