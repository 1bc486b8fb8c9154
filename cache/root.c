/* SPDX-License-Identifier: MIT */
/* root.c - opening the folder, in the one order that holds.
 *
 *     make the path -> open it -> check whose it is -> lock -> look how it was left
 *         -> make what is missing -> take the clean marker away, durably
 *
 * Nothing is made or changed before the lock is ours, except the root itself and the lock file. The
 * marker is gone from the disk before the first change, so a crash at any later moment finds it
 * absent. The lock file is never removed: two processes could then hold locks on two files of one
 * name. Should someone else remove it, the comparison after locking notices. */
#include "cache/root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "cache/files.h"
#include "cache/scoped.h"

static const char cachedir_tag[] =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file is a cache directory tag created by agnesfs: all beside it can be fetched again.\n"
    "# For information about cache directory tags, see https://bford.info/cachedir/\n";

static void root_releasep(const struct root *root)
{
    root_release(root);
}

/* mkdir -p, each part 0700. Takes the path apart in place and puts it together again. */
static int make_path(char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    if (errno != ENOENT)
        return negative_errno();

    char *slash = strrchr(path, '/');

    if (!slash || slash == path)
        return -ENOENT;
    *slash = '\0';
    int r = make_path(path);

    *slash = '/';
    if (r < 0)
        return r;
    return mkdir(path, 0700) < 0 && errno != EEXIST ? negative_errno() : 0;
}

static int check_private(int dir, uid_t owner)
{
    struct stat st;

    if (fstat(dir, &st) < 0)
        return negative_errno();
    return st.st_uid == owner && (st.st_mode & 077) == 0 ? 0 : -EPERM;
}

static bool exists(int dir, const char *name)
{
    return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Has the name still the file that we hold? */
static bool still_named(int dir, const char *name, int fd)
{
    struct stat held, named;

    return fstat(fd, &held) == 0 && fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

static int take_lock(int dir, int *ret_fd)
{
    /* Each round that fails is somebody else's rename in a window of microseconds. */
    for (int round = 0; round < 8; round++) {
        scoped_fd int fd = openat(dir, "lock",
                                  O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

        if (fd < 0)
            return negative_errno();
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return errno == EWOULDBLOCK ? -EBUSY : negative_errno();
        if (still_named(dir, "lock", fd)) {
            *ret_fd = take_fd(fd);
            return 0;
        }
    }
    return -EBUSY;
}

/* One that is open already stays, for the sake of those who are using it. */
static int open_part(const struct root *root, const char *name, bool make, atomic_int *part)
{
    scoped_fd int fd = -1;
    int r = atomic_load(part) >= 0 ? 0 : dir_open(root->dir, name, make, &fd);

    if (r == 0 && fd >= 0)
        r = check_private(fd, root->owner);
    if (r == 0 && fd >= 0)
        atomic_store(part, take_fd(fd));
    return r;
}

/* A courtesy to backup programs. Where it can not be had, the cache works all the same. */
static void write_tag(int dir)
{
    if (exists(dir, "CACHEDIR.TAG"))
        return;
    file_save(dir, "CACHEDIR.TAG", "CACHEDIR.new", cachedir_tag, strlen(cachedir_tag));
}

int root_lock(struct root *root)
{
    int r = take_lock(root->dir, &root->lock);

    if (r == 0)
        root->orderly = exists(root->dir, "clean") ||
                        (!exists(root->dir, "trust") && !exists(root->dir, "_shared"));
    return r;
}

void root_unlock(struct root *root)
{
    if (root->lock >= 0)
        close(root->lock);
    root->lock = -1;
}

int root_prepare(struct root *root)
{
    int r = open_part(root, "_shared", true, &root->shared);

    if (r == 0)
        r = open_part(root, "partial", true, &root->partial);
    if (r < 0)
        return r;

    write_tag(root->dir);
    r = name_clear(root->dir, "clean");
    if (r == 0 && fsync(root->dir) < 0)
        r = negative_errno();
    return r;
}

/* A reader makes nothing and holds nothing. */
static int join(struct root *root)
{
    root->orderly = exists(root->dir, "clean");

    if (!exists(root->dir, "lock"))
        return -ENOENT;

    int r = open_part(root, "_shared", false, &root->shared);

    if (r == 0 || r == -ENOENT)
        r = open_part(root, "partial", false, &root->partial);
    return r == -ENOENT ? 0 : r;
}

int root_open(const char *path, enum store_mode mode, struct root *ret_root)
{
    scoped(root_releasep) struct root root = ROOT_NONE;
    int r = 0;

    root.owner = geteuid();
    if (mode == STORE_WRITER) {
        scoped_free char *copy = strdup(path);

        r = copy ? make_path(copy) : -ENOMEM;
    }
    if (r < 0)
        return r;
    root.dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root.dir < 0)
        return negative_errno();
    r = check_private(root.dir, root.owner);
    if (r == 0)
        r = mode == STORE_WRITER ? root_lock(&root) : join(&root);
    if (r == 0 && mode == STORE_WRITER)
        r = root_prepare(&root);
    if (r < 0)
        return r;
    *ret_root = root;
    root = ROOT_NONE;
    return 0;
}

int root_mark_clean(const struct root *root)
{
    scoped_fd int fd = openat(root->dir, "clean",
                              O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

    if (fd < 0 || fsync(root->dir) < 0)
        return negative_errno();
    return 0;
}

void root_release(const struct root *root)
{
    const int fds[] = {root->partial, root->shared, root->lock, root->dir};

    for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}
