/* SPDX-License-Identifier: MIT */
/* points.c - calls by the kernel's own door, syscall(2), since the C library's names are ours here.
 *
 * What was opened under which name is remembered by descriptor, in a table that is written when a
 * file is opened and read when the descriptor is used: both happen in the thread that works on it, or
 * are ordered by the program's own locks. What the C library writes by itself (a stream) is not seen;
 * the calls before and after it are. */
#include "tests/crash/points.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cache/names.h"

enum { DESCRIPTORS = 1024, TORN_EVERY = 7 };

enum class {
    CLASS_OTHER,
    CLASS_ROOT,
    CLASS_SHARED,
    CLASS_SHARD,
    CLASS_PARTIALS,
    CLASS_PARTIAL,
    CLASS_MAP,
    CLASS_DRAFT,
    CLASS_BLOB,
    CLASS_SMALL, /* and all after it: names below */
};

static const char *const class_names[] = {
    "other", "root", "_shared", "shard", "partial/", "partial", "map", "draft", "blob",
};

/* What lies in a cache beside blobs and partials, and its short name. */
static const struct {
    const char *file;
    const char *name;
} small_files[] = {
    {"lock", "lock"},
    {"clean", "clean"},
    {"trust", "trust"},
    {"trust.new", "trust.new"},
    {"CACHEDIR.TAG", "tag"},
    {"CACHEDIR.new", "tag.new"},
    {"sync_state.json", "state"},
    {"sync_state.json.tmp", "state.tmp"},
    {"sync_state.prev.json", "state.prev"},
    {"sync_state.image", "image"},
    {"sync_state.image.new", "image.new"},
    {"first_seen", "first_seen"},
    {"first_seen.new", "first_seen.new"},
    {"pins", "pins"},
    {"pins.tmp", "pins.tmp"},
};

static struct {
    struct points *shared; /* NULL: nothing is counted */
    struct point point;
    atomic_uint matched; /* calls of the kind that counts */
    unsigned char classes[DESCRIPTORS];
} self;

static pthread_mutex_t kinds_lock = PTHREAD_MUTEX_INITIALIZER;

struct points *points_share(void)
{
    void *memory = mmap(NULL, sizeof(struct points), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        abort();
    return memory;
}

void points_begin(struct points *points, const struct point *point)
{
    atomic_store(&points->calls, 0);
    atomic_store(&points->died, 0);
    memset(self.classes, 0, sizeof(self.classes));
    atomic_store(&self.matched, 0);
    self.point = *point;
    self.shared = points;
}

void points_end(void)
{
    self.shared = NULL;
}

bool points_are_over(void)
{
    return self.shared && atomic_load(&self.shared->died);
}

const struct point_kind *points_rarest(const struct points *points)
{
    const struct point_kind *rarest = NULL;

    for (const struct point_kind *kind = points->kinds;
         kind < points->kinds + POINT_KINDS && kind->name[0]; kind++)
        if (!rarest || kind->last < rarest->last)
            rarest = kind;
    return rarest;
}

static bool lies(enum lie lie)
{
    return self.shared && self.shared->lie == lie;
}

/* --- what is it about? --- */

static unsigned class_of_fd(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS ? self.classes[fd] : CLASS_OTHER;
}

static const char *class_name(unsigned class)
{
    return class < CLASS_SMALL ? class_names[class] : small_files[class - CLASS_SMALL].name;
}

static unsigned class_of_name(int dir, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    struct blob_key key;

    if (strcmp(name, "_shared") == 0)
        return CLASS_SHARED;
    if (strcmp(name, "partial") == 0)
        return CLASS_PARTIALS;
    if (strcmp(path, ".") == 0)
        return class_of_fd(dir);
    for (unsigned i = 0; i < sizeof(small_files) / sizeof(*small_files); i++)
        if (strcmp(name, small_files[i].file) == 0)
            return CLASS_SMALL + i;
    if (class_of_fd(dir) == CLASS_SHARED)
        return slash ? CLASS_BLOB : CLASS_SHARD;
    if (class_of_fd(dir) == CLASS_SHARD)
        return CLASS_BLOB;
    if (class_of_fd(dir) != CLASS_PARTIALS)
        return CLASS_OTHER;
    if (blob_key_parse(name, &key) == 0)
        return CLASS_PARTIAL;
    return map_name_parse(name, &key) ? CLASS_MAP : CLASS_DRAFT;
}

/* --- the count --- */

static struct point_kind *find_kind(const char *call, unsigned class)
{
    struct point_kind *kinds = self.shared->kinds;
    char name[POINT_NAME_SIZE];

    snprintf(name, sizeof(name), "%s %s", call, class_name(class));
    for (size_t i = 0; i < POINT_KINDS; i++) {
        if (kinds[i].name[0] == '\0')
            memcpy(kinds[i].name, name, sizeof(name));
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    abort();
}

/* True: this call is the last. */
static bool count(const char *call, unsigned class)
{
    if (!self.shared || class == CLASS_OTHER)
        return false;

    atomic_fetch_add(&self.shared->calls, 1);
    pthread_mutex_lock(&kinds_lock);
    struct point_kind *kind = find_kind(call, class);
    bool counts = !self.point.kind || self.point.kind == kind;
    bool last = counts && atomic_fetch_add(&self.matched, 1) + 1 == self.point.at;

    kind->seen++;
    kind->last += last;
    pthread_mutex_unlock(&kinds_lock);
    return last;
}

static void die(void)
{
    atomic_store(&self.shared->died, 1);
    if (self.point.cut)
        self.point.cut(self.point.arg);
    for (;;)
        kill(getpid(), SIGKILL);
}

static void pass(const char *call, unsigned class)
{
    if (count(call, class))
        die();
}

/* --- the calls --- */

/* LIE_IN_PLACE: the name that a temporary file is going to have. */
static const char *final_name(const char *path)
{
    static const char *const pairs[][2] = {
        {"trust.new", "trust"},
        {"sync_state.json.tmp", "sync_state.json"},
        {"sync_state.image.new", "sync_state.image"},
    };

    for (size_t i = 0; lies(LIE_IN_PLACE) && i < sizeof(pairs) / sizeof(*pairs); i++)
        if (strcmp(path, pairs[i][0]) == 0)
            return pairs[i][1];
    return path;
}

/* The one argument more that a call has which may create. */
#define MODE_OF(flags, ret_mode)                                                                   \
    do {                                                                                           \
        va_list arguments;                                                                         \
                                                                                                   \
        va_start(arguments, flags);                                                                \
        if ((flags)&O_CREAT)                                                                       \
            *(ret_mode) = va_arg(arguments, mode_t);                                               \
        va_end(arguments);                                                                         \
    } while (0)

static int open_as(unsigned class, int dir, const char *path, int flags, mode_t mode)
{
    int fd = (int)syscall(SYS_openat, dir, path, flags, mode);

    if (fd >= 0 && fd < DESCRIPTORS)
        self.classes[fd] = (unsigned char)class;
    return fd;
}

int openat(int dir, const char *path, int flags, ...)
{
    unsigned class = class_of_name(dir, path);
    mode_t mode = 0;

    MODE_OF(flags, &mode);
    if (flags & O_CREAT)
        pass("create", class);
    if (lies(LIE_NO_SYNC))
        flags &= ~O_DIRECT;
    if (final_name(path) != path)
        flags = (flags & ~O_EXCL) | O_TRUNC;
    return open_as(class, dir, final_name(path), flags, mode);
}

/* The root is opened by its path, and so is the folder of what is no cache. */
int open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    MODE_OF(flags, &mode);
    return open_as(flags & O_DIRECTORY ? CLASS_ROOT : CLASS_OTHER, AT_FDCWD, path, flags, mode);
}

int close(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS)
        self.classes[fd] = CLASS_OTHER;
    return (int)syscall(SYS_close, fd);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    pass("mkdirat", class_of_name(dir, path));
    return (int)syscall(SYS_mkdirat, dir, path, mode);
}

int mkdir(const char *path, mode_t mode)
{
    pass("mkdir", CLASS_ROOT);
    return (int)syscall(SYS_mkdir, path, mode);
}

/* How much of a write gets done: all, or, where it is the last or a lie, the half. */
static size_t write_size(const char *call, int fd, size_t size, bool *ret_last)
{
    unsigned class = class_of_fd(fd);

    *ret_last = count(call, class);
    if (*ret_last && !self.point.torn)
        die();
    if (*ret_last)
        return size / 2;
    if (lies(LIE_TORN) && class != CLASS_OTHER &&
        atomic_load(&self.shared->calls) % TORN_EVERY == 0)
        return size / 2;
    return size;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    bool last;
    size_t done = write_size("pwrite", fd, size, &last);
    long r = syscall(SYS_pwrite64, fd, data, done, offset);

    if (last)
        die();
    return r == (long)done ? (ssize_t)size : r;
}

ssize_t write(int fd, const void *data, size_t size)
{
    bool last;
    size_t done = write_size("write", fd, size, &last);
    long r = syscall(SYS_write, fd, data, done);

    if (last)
        die();
    return r == (long)done ? (ssize_t)size : r;
}

int ftruncate(int fd, off_t size)
{
    pass("ftruncate", class_of_fd(fd));
    return (int)syscall(SYS_ftruncate, fd, size);
}

int fchmod(int fd, mode_t mode)
{
    pass("fchmod", class_of_fd(fd));
    return (int)syscall(SYS_fchmod, fd, mode);
}

int fsync(int fd)
{
    pass("fsync", class_of_fd(fd));
    return lies(LIE_NO_SYNC) ? 0 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    pass("fdatasync", class_of_fd(fd));
    return lies(LIE_NO_SYNC) ? 0 : (int)syscall(SYS_fdatasync, fd);
}

int sync_file_range(int fd, off_t offset, off_t size, unsigned flags)
{
    return lies(LIE_NO_SYNC) ? 0 : (int)syscall(SYS_sync_file_range, fd, offset, size, flags);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    pass("rename", class_of_name(from_dir, from));
    if (final_name(from) != from)
        return 0;
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return renameat2(from_dir, from, to_dir, to, 0);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    pass("link", class_of_name(to_dir, to));
    return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

int unlinkat(int dir, const char *path, int flags)
{
    pass("unlink", class_of_name(dir, path));
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}
