/* SPDX-License-Identifier: MIT */
/* Why nothing here can recurse: the real calls are reached by names that are nobody's to replace
 * (__libc_malloc) or by dlsym, looked up once before main; and whether a descriptor is a file is
 * asked of the kernel directly. */
#undef _FILE_OFFSET_BITS /* which would give each call one of its two names only */
#include "tests/crash/fault.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct fault *_Atomic current;

void fault_use(struct fault *fault)
{
    atomic_store(&current, fault);
}

void fault_arm(struct fault *fault, enum fault_call call, int error, unsigned at, int persistent)
{
    atomic_store(&fault->armed, 0);
    atomic_store(&fault->call, call);
    atomic_store(&fault->error, error);
    atomic_store(&fault->at, at);
    atomic_store(&fault->persistent, (unsigned)persistent);
    atomic_store(&fault->seen, 0);
    atomic_store(&fault->hits, 0);
    for (size_t i = 0; i < FAULT_KINDS; i++)
        atomic_store(&fault->counts[i], 0);
    atomic_store(&fault->armed, 1);
}

const char *fault_name(enum fault_call call)
{
#define FAULT_NAME(name) #name,
    static const char *const names[] = {FAULT_CALLS(FAULT_NAME)};

    return names[call];
}

__attribute__((constructor)) static void use_file(void)
{
    const char *path = getenv("AGNESFS_FAULT");
    struct fault *fault;
    long fd;

    if (!path)
        return;
    fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    fault = (void *)syscall(SYS_mmap, NULL, sizeof(*fault), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                            0L);
    if (fd < 0 || ((intptr_t)fault < 0 && (intptr_t)fault > -4096))
        abort();
    syscall(SYS_close, fd);
    fault_use(fault);
}

/* --- whose turn it is --- */

/* What becomes of a call that moves bytes. */
enum way {
    WHOLE,
    HALF,
    LOST, /* it claims to have been made */
};

/* Of those that are no errno, a call can only do what has a way here. */
static bool can_do(int error, const enum way *ret_way)
{
    return error > 0 || ret_way;
}

/* True: this call shall fail, and errno is set. */
static bool hit(enum fault_call call, enum way *ret_way)
{
    struct fault *fault = atomic_load(&current);
    unsigned number, at;
    int error;

    if (ret_way)
        *ret_way = WHOLE;
    if (!fault || !atomic_load(&fault->armed))
        return false;
    atomic_fetch_add(&fault->counts[call], 1);
    if (atomic_load(&fault->call) != (unsigned)call)
        return false;
    number = atomic_fetch_add(&fault->seen, 1) + 1;
    at = atomic_load(&fault->at);
    error = atomic_load(&fault->error);
    if (number < at || (number > at && !atomic_load(&fault->persistent)) ||
        (error == EINTR && (number - at) % 4 == 3) || !can_do(error, ret_way))
        return false;
    atomic_fetch_add(&fault->hits, 1);
    if (error <= 0)
        *ret_way = error == FAULT_SHORT ? HALF : LOST;
    else
        errno = error;
    return error > 0;
}

static bool is_armed(void)
{
    struct fault *fault = atomic_load_explicit(&current, memory_order_relaxed);

    return fault && atomic_load_explicit(&fault->armed, memory_order_relaxed);
}

/* Files and folders only. */
static bool hit_fd(enum fault_call call, int fd, enum way *ret_way)
{
    const int before = errno;
    struct stat st;
    bool file;

    if (ret_way)
        *ret_way = WHOLE;
    if (!is_armed())
        return false;
    file = syscall(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH) == 0 &&
           (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
    errno = before;
    return file && hit(call, ret_way);
}

static bool hit_path(enum fault_call call, const char *path)
{
    static const char *const spared[] = {"/dev/", "/proc/", "/sys/"};

    if (!is_armed() || !path)
        return false;
    for (size_t i = 0; i < sizeof(spared) / sizeof(*spared); i++)
        if (strncmp(path, spared[i], strlen(spared[i])) == 0)
            return false;
    return hit(call, NULL);
}

/* --- the real ones --- */

#define REAL(type, name, ...) static type (*real_##name)(__VA_ARGS__)
REAL(int, open, const char *, int, ...);
REAL(int, openat, int, const char *, int, ...);
REAL(FILE *, fopen, const char *, const char *);
REAL(int, close, int);
REAL(ssize_t, read, int, void *, size_t);
REAL(ssize_t, pread, int, void *, size_t, off_t);
REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
REAL(int, fstatat, int, const char *, struct stat *, int);
REAL(int, faccessat, int, const char *, int, int);
REAL(int, fsync, int);
REAL(int, fdatasync, int);
REAL(int, ftruncate, int, off_t);
REAL(int, fchmod, int, mode_t);
REAL(int, renameat2, int, const char *, int, const char *, unsigned);
REAL(int, linkat, int, const char *, int, const char *, int);
REAL(int, unlinkat, int, const char *, int);
REAL(int, mkdirat, int, const char *, mode_t);
REAL(DIR *, opendir, const char *);
REAL(DIR *, fdopendir, int);
REAL(struct dirent *, readdir, DIR *);
REAL(int, fstatvfs, int, struct statvfs *);
REAL(int, statvfs, const char *, struct statvfs *);
REAL(int, statfs, const char *, struct statfs *);
REAL(int, flock, int, int);
REAL(void *, mmap, void *, size_t, int, int, int, off_t);
REAL(int, futimens, int, const struct timespec *);
REAL(char *, realpath, const char *, char *);
REAL(int, socket, int, int, int);
REAL(int, socketpair, int, int, int, int *);
REAL(int, pipe2, int *, int);
REAL(int, eventfd, unsigned, int);
REAL(int, epoll_create1, int);
REAL(int, signalfd, int, const sigset_t *, int);
REAL(int, accept4, int, struct sockaddr *, socklen_t *, int);

__attribute__((constructor(101))) static void find_all(void)
{
#define FIND(name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)
    FIND(open), FIND(openat), FIND(fopen), FIND(close), FIND(read), FIND(pread), FIND(write);
    FIND(pwrite), FIND(fstatat), FIND(faccessat), FIND(fsync), FIND(fdatasync), FIND(ftruncate);
    FIND(fchmod), FIND(renameat2), FIND(linkat), FIND(unlinkat), FIND(mkdirat), FIND(opendir);
    FIND(fdopendir), FIND(readdir), FIND(fstatvfs), FIND(statvfs), FIND(statfs), FIND(flock);
    FIND(mmap), FIND(futimens), FIND(realpath), FIND(socket), FIND(socketpair), FIND(pipe2);
    FIND(eventfd), FIND(epoll_create1), FIND(signalfd), FIND(accept4);
}

/* A program's own constructors may come before ours. */
#define REALLY(name)                                                                               \
    ({                                                                                             \
        if (!real_##name)                                                                          \
            find_all();                                                                            \
        real_##name;                                                                               \
    })

#define EXPORT __attribute__((visibility("default")))

/* On this architecture off_t has one size, and each call two names. */
#define ALSO(name) EXPORT __attribute__((alias(#name)))

/* --- files --- */

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list arguments;

    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);

    va_end(arguments);
    return hit_path(FAULT_open, path) ? -1 : REALLY(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) ALSO(open);

EXPORT int openat(int dir, const char *path, int flags, ...)
{
    va_list arguments;

    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);

    va_end(arguments);
    return hit_path(FAULT_open, path) ? -1 : REALLY(openat)(dir, path, flags, mode);
}
int openat64(int dir, const char *path, int flags, ...) ALSO(openat);

EXPORT FILE *fopen(const char *path, const char *mode)
{
    return hit_path(FAULT_open, path) ? NULL : REALLY(fopen)(path, mode);
}
FILE *fopen64(const char *path, const char *mode) ALSO(fopen);

EXPORT int close(int fd)
{
    const bool fails = hit_fd(FAULT_close, fd, NULL);
    const int error = errno;
    const int r = REALLY(close)(fd);

    if (!fails)
        return r;
    errno = error;
    return -1;
}

static size_t part(size_t size, enum way way)
{
    return way == HALF && size > 1 ? size / 2 : size;
}

EXPORT ssize_t read(int fd, void *bytes, size_t size)
{
    enum way way;

    if (hit_fd(FAULT_read, fd, &way))
        return -1;
    return REALLY(read)(fd, bytes, part(size, way));
}

EXPORT ssize_t pread(int fd, void *bytes, size_t size, off_t offset)
{
    enum way way;

    if (hit_fd(FAULT_pread, fd, &way))
        return -1;
    return REALLY(pread)(fd, bytes, part(size, way), offset);
}
ssize_t pread64(int fd, void *bytes, size_t size, off_t offset) ALSO(pread);

EXPORT ssize_t write(int fd, const void *bytes, size_t size)
{
    enum way way;

    if (hit_fd(FAULT_write, fd, &way))
        return -1;
    if (way == LOST)
        return (ssize_t)size;
    return REALLY(write)(fd, bytes, part(size, way));
}

EXPORT ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    enum way way;

    if (hit_fd(FAULT_pwrite, fd, &way))
        return -1;
    if (way == LOST)
        return (ssize_t)size;
    return REALLY(pwrite)(fd, bytes, part(size, way), offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) ALSO(pwrite);

EXPORT int fstatat(int dir, const char *path, struct stat *st, int flags)
{
    return hit_path(FAULT_stat, path) ? -1 : REALLY(fstatat)(dir, path, st, flags);
}
int fstatat64(int dir, const char *path, struct stat64 *st, int flags) ALSO(fstatat);

EXPORT int stat(const char *path, struct stat *st)
{
    return fstatat(AT_FDCWD, path, st, 0);
}
int stat64(const char *path, struct stat64 *st) ALSO(stat);

EXPORT int lstat(const char *path, struct stat *st)
{
    return fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}
int lstat64(const char *path, struct stat64 *st) ALSO(lstat);

EXPORT int fstat(int fd, struct stat *st)
{
    return hit_fd(FAULT_fstat, fd, NULL) ? -1 : REALLY(fstatat)(fd, "", st, AT_EMPTY_PATH);
}
int fstat64(int fd, struct stat64 *st) ALSO(fstat);

EXPORT int faccessat(int dir, const char *path, int mode, int flags)
{
    return hit_path(FAULT_access, path) ? -1 : REALLY(faccessat)(dir, path, mode, flags);
}

EXPORT int access(const char *path, int mode)
{
    return faccessat(AT_FDCWD, path, mode, 0);
}

EXPORT int fsync(int fd)
{
    return hit_fd(FAULT_fsync, fd, NULL) ? -1 : REALLY(fsync)(fd);
}

EXPORT int fdatasync(int fd)
{
    return hit_fd(FAULT_fdatasync, fd, NULL) ? -1 : REALLY(fdatasync)(fd);
}

EXPORT int ftruncate(int fd, off_t size)
{
    return hit_fd(FAULT_ftruncate, fd, NULL) ? -1 : REALLY(ftruncate)(fd, size);
}
int ftruncate64(int fd, off_t size) ALSO(ftruncate);

EXPORT int fchmod(int fd, mode_t mode)
{
    return hit_fd(FAULT_fchmod, fd, NULL) ? -1 : REALLY(fchmod)(fd, mode);
}

EXPORT int flock(int fd, int operation)
{
    return hit_fd(FAULT_flock, fd, NULL) ? -1 : REALLY(flock)(fd, operation);
}

EXPORT int futimens(int fd, const struct timespec times[2])
{
    return hit_fd(FAULT_utimens, fd, NULL) ? -1 : REALLY(futimens)(fd, times);
}

EXPORT void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fd >= 0 && hit_fd(FAULT_mmap, fd, NULL))
        return MAP_FAILED;
    return REALLY(mmap)(at, size, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset) ALSO(mmap);

/* --- names --- */

EXPORT int renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{
    return hit_path(FAULT_rename, old) ? -1 : REALLY(renameat2)(from, old, to, new, flags);
}

EXPORT int renameat(int from, const char *old, int to, const char *new)
{
    return renameat2(from, old, to, new, 0);
}

EXPORT int rename(const char *old, const char *new)
{
    return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0);
}

EXPORT int linkat(int from, const char *old, int to, const char *new, int flags)
{
    return hit_path(FAULT_link, old) ? -1 : REALLY(linkat)(from, old, to, new, flags);
}

EXPORT int unlinkat(int dir, const char *path, int flags)
{
    return hit_path(FAULT_unlink, path) ? -1 : REALLY(unlinkat)(dir, path, flags);
}

EXPORT int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

EXPORT int mkdirat(int dir, const char *path, mode_t mode)
{
    return hit_path(FAULT_mkdir, path) ? -1 : REALLY(mkdirat)(dir, path, mode);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

EXPORT char *realpath(const char *path, char *resolved)
{
    return hit_path(FAULT_realpath, path) ? NULL : REALLY(realpath)(path, resolved);
}

/* --- folders and file systems --- */

EXPORT DIR *opendir(const char *path)
{
    return hit_path(FAULT_opendir, path) ? NULL : REALLY(opendir)(path);
}

EXPORT DIR *fdopendir(int fd)
{
    return hit_fd(FAULT_opendir, fd, NULL) ? NULL : REALLY(fdopendir)(fd);
}

EXPORT struct dirent *readdir(DIR *dir)
{
    return hit_fd(FAULT_readdir, dirfd(dir), NULL) ? NULL : REALLY(readdir)(dir);
}
struct dirent64 *readdir64(DIR *dir) ALSO(readdir);

EXPORT int fstatvfs(int fd, struct statvfs *st)
{
    return hit_fd(FAULT_statvfs, fd, NULL) ? -1 : REALLY(fstatvfs)(fd, st);
}
int fstatvfs64(int fd, struct statvfs64 *st) ALSO(fstatvfs);

EXPORT int statvfs(const char *path, struct statvfs *st)
{
    return hit_path(FAULT_statvfs, path) ? -1 : REALLY(statvfs)(path, st);
}
int statvfs64(const char *path, struct statvfs64 *st) ALSO(statvfs);

EXPORT int statfs(const char *path, struct statfs *st)
{
    return hit_path(FAULT_statvfs, path) ? -1 : REALLY(statfs)(path, st);
}
int statfs64(const char *path, struct statfs64 *st) ALSO(statfs);

/* --- descriptors of any other sort --- */

EXPORT int socket(int domain, int type, int protocol)
{
    return hit(FAULT_descriptor, NULL) ? -1 : REALLY(socket)(domain, type, protocol);
}

EXPORT int socketpair(int domain, int type, int protocol, int pair[2])
{
    return hit(FAULT_descriptor, NULL) ? -1 : REALLY(socketpair)(domain, type, protocol, pair);
}

EXPORT int pipe2(int pair[2], int flags)
{
    return hit(FAULT_descriptor, NULL) ? -1 : REALLY(pipe2)(pair, flags);
}

EXPORT int pipe(int pair[2])
{
    return pipe2(pair, 0);
}

EXPORT int eventfd(unsigned count, int flags)
{
    return hit(FAULT_descriptor, NULL) ? -1 : REALLY(eventfd)(count, flags);
}

EXPORT int epoll_create1(int flags)
{
    return hit(FAULT_descriptor, NULL) ? -1 : REALLY(epoll_create1)(flags);
}

EXPORT int signalfd(int fd, const sigset_t *mask, int flags)
{
    return hit(FAULT_descriptor, NULL) ? -1 : REALLY(signalfd)(fd, mask, flags);
}

EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    return hit(FAULT_descriptor, NULL) ? -1 : REALLY(accept4)(fd, address, size, flags);
}

/* --- memory --- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

#define BLOCKS ((size_t)1 << 16) /* a power of two, several times what is ever in use */
#define FRAMES 12

struct block {
    const void *at; /* NULL: free */
    void *frames[FRAMES];
};

static struct block *blocks; /* NULL: not tracked. Open addressing, as in cache/trust.c */
static bool with_frames;
static atomic_flag blocks_lock = ATOMIC_FLAG_INIT;
static uintptr_t linker_from, linker_to;
static _Thread_local bool busy; /* with looking at frames, which allocates */

/* What the dynamic linker asks for it can not do without: it ends the program. */
__attribute__((constructor(101))) static void find_linker(void)
{
    const uintptr_t base = getauxval(AT_BASE);
    const ElfW(Ehdr) *head = (const void *)base;
    const ElfW(Phdr) *part = (const void *)(base + (base ? head->e_phoff : 0));

    linker_from = linker_to = base;
    for (size_t i = 0; base && i < head->e_phnum; i++)
        if (part[i].p_type == PT_LOAD)
            linker_to = base + part[i].p_vaddr + part[i].p_memsz;
}

static bool is_linker(const void *caller)
{
    return (uintptr_t)caller >= linker_from && (uintptr_t)caller < linker_to;
}

static size_t home_of(const void *block)
{
    return (size_t)(((uintptr_t)block >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (BLOCKS - 1);
}

static void lock_blocks(void)
{
    while (atomic_flag_test_and_set_explicit(&blocks_lock, memory_order_acquire))
        sched_yield();
}

static void unlock_blocks(void)
{
    atomic_flag_clear_explicit(&blocks_lock, memory_order_release);
}

static size_t slot_of(const void *block)
{
    size_t slot = home_of(block);

    while (blocks[slot].at && blocks[slot].at != block)
        slot = (slot + 1) & (BLOCKS - 1);
    return slot;
}

static void note_block(const void *block, void *caller)
{
    struct block note = {.at = block, .frames = {caller}};

    if (!blocks || !block || busy || is_linker(caller))
        return;
    if (with_frames) {
        busy = true;
        backtrace(note.frames, FRAMES);
        busy = false;
    }
    lock_blocks();
    blocks[slot_of(block)] = note;
    unlock_blocks();
}

static void forget_block(const void *block)
{
    if (!blocks || !block)
        return;
    lock_blocks();
    size_t gap = slot_of(block);

    for (size_t slot = gap; blocks[gap].at;) {
        slot = (slot + 1) & (BLOCKS - 1);
        if (!blocks[slot].at) {
            blocks[gap].at = NULL;
        } else if (((slot - home_of(blocks[slot].at)) & (BLOCKS - 1)) >=
                   ((slot - gap) & (BLOCKS - 1))) {
            blocks[gap] = blocks[slot];
            gap = slot;
        }
    }
    unlock_blocks();
}

void fault_track(void)
{
    void *frames[FRAMES];

    with_frames = getenv("AGNESFS_FAULT_FRAMES") != NULL;
    if (with_frames)
        backtrace(frames, FRAMES); /* loads what it needs */
    blocks = REALLY(mmap)(NULL, BLOCKS * sizeof(*blocks), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* libcrypto keeps what it has looked up, and after a failure it looks up anew. */
static bool is_crypto(const void *caller)
{
    Dl_info info;

    return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "libcrypto");
}

unsigned fault_leaks(void)
{
    struct block *tracked = blocks;
    unsigned leaks = 0;

    blocks = NULL;
    for (size_t i = 0; i < BLOCKS; i++) {
        if (!tracked[i].at || is_crypto(tracked[i].frames[0]))
            continue;
        leaks++;
        dprintf(STDERR_FILENO, "leak %u of %zu bytes, allocated from\n", leaks,
                malloc_usable_size((void *)tracked[i].at));
        backtrace_symbols_fd(tracked[i].frames, with_frames ? FRAMES : 1, STDERR_FILENO);
    }
    return leaks;
}

static bool hit_memory(const void *caller)
{
    return is_armed() && !busy && !is_linker(caller) && hit(FAULT_malloc, NULL);
}

#define CALLER __builtin_return_address(0)

EXPORT void *malloc(size_t size)
{
    if (hit_memory(CALLER))
        return NULL;
    void *block = __libc_malloc(size);

    note_block(block, CALLER);
    return block;
}

EXPORT void *calloc(size_t count, size_t size)
{
    if (hit_memory(CALLER))
        return NULL;
    void *block = __libc_calloc(count, size);

    note_block(block, CALLER);
    return block;
}

EXPORT void *realloc(void *old, size_t size)
{
    if (hit_memory(CALLER))
        return NULL;
    forget_block(old);
    void *block = __libc_realloc(old, size);

    note_block(block ? block : size ? old : NULL, CALLER);
    return block;
}

EXPORT void *reallocarray(void *old, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    if (hit_memory(CALLER))
        return NULL;
    forget_block(old);
    void *block = __libc_realloc(old, bytes);

    note_block(block ? block : bytes ? old : NULL, CALLER);
    return block;
}

EXPORT int posix_memalign(void **ret_block, size_t alignment, size_t size)
{
    const int before = errno;

    if (hit_memory(CALLER)) {
        errno = before;
        return ENOMEM;
    }
    void *block = __libc_memalign(alignment, size);

    note_block(block, CALLER);
    if (block)
        *ret_block = block;
    return block ? 0 : ENOMEM;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    if (hit_memory(CALLER))
        return NULL;
    void *block = __libc_memalign(alignment, size);

    note_block(block, CALLER);
    return block;
}

EXPORT void free(void *block)
{
    forget_block(block);
    __libc_free(block);
}
