/* SPDX-License-Identifier: MIT */
/* The readers: each does one thing in a tight loop and prints one line, "SECONDS COUNT". The start
 * of the program is not in the seconds.
 *
 *     seq FILE BLOCK        reads it all; COUNT is bytes
 *     mmap FILE PASSES      one byte of every 64, PASSES times; SECONDS and COUNT of the last pass
 *     pread FILE COUNT      4 KiB at random places, of one descriptor
 *     opens FILE COUNT      open, pread of 4 KiB, close
 *     stat PATH COUNT       of one path
 *     names DIR LIST        stat of every name in LIST, a line each, once
 *     list DIR              getdents to the end
 *     first FILE COMMAND... starts COMMAND; until the first byte of FILE was read
 *     drop FILE             asks the kernel to forget the pages of FILE
 *     switch ROOT LIST      prints "ready", then nothing until user.agnes.generation of ROOT moves;
 *                           SECONDS from then on until the last of LIST has another inode number */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define DEADLINE_S 300.0

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void report(double seconds, uint64_t count)
{
    printf("%.9f %" PRIu64 "\n", seconds, count);
}

static int open_file(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        fail(path);
    return fd;
}

static uint64_t size_of(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        fail("fstat");
    return (uint64_t)st.st_size;
}

static void run_seq(const char *path, size_t block)
{
    char *buffer = aligned_alloc(PAGE, block);
    const double start = now();
    const int fd = open_file(path);
    uint64_t done = 0;
    ssize_t n;

    while ((n = read(fd, buffer, block)) > 0)
        done += (uint64_t)n;
    if (n < 0)
        fail(path);
    report(now() - start, done);
}

static void run_mmap(const char *path, unsigned long passes)
{
    const int fd = open_file(path);
    const uint64_t size = size_of(fd);
    const volatile unsigned char *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    double start = 0;
    unsigned sum = 0;

    if (map == MAP_FAILED)
        fail("mmap");
    for (; passes > 0; passes--) {
        start = now();
        for (uint64_t at = 0; at < size; at += 64)
            sum += map[at];
    }
    report(now() - start, size + (sum == 1));
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void run_pread(const char *path, unsigned long count)
{
    static char buffer[PAGE];
    const int fd = open_file(path);
    const uint64_t pages = size_of(fd) / PAGE;
    uint64_t state = 88172645463325252;
    const double start = now();

    for (unsigned long i = 0; i < count; i++)
        if (pread(fd, buffer, PAGE, (off_t)(next_random(&state) % pages * PAGE)) != PAGE)
            fail("pread");
    report(now() - start, count);
}

static void run_opens(const char *path, unsigned long count)
{
    static char buffer[PAGE];
    const double start = now();

    for (unsigned long i = 0; i < count; i++) {
        const int fd = open_file(path);

        if (pread(fd, buffer, PAGE, 0) <= 0)
            fail("pread");
        close(fd);
    }
    report(now() - start, count);
}

static void run_stat(const char *path, unsigned long count)
{
    const double start = now();
    struct stat st;

    for (unsigned long i = 0; i < count; i++)
        if (stat(path, &st) < 0)
            fail(path);
    report(now() - start, count);
}

/* The lines of a file, which stay in memory. */
static char **read_lines(const char *path, size_t *ret_count)
{
    const int fd = open_file(path);
    const uint64_t size = size_of(fd);
    char *text = malloc(size + 1);
    char **lines = calloc(size / 2 + 1, sizeof(*lines));

    if (!text || !lines || read(fd, text, size) != (ssize_t)size)
        fail(path);
    close(fd);
    text[size] = '\0';
    *ret_count = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        lines[(*ret_count)++] = line;
    return lines;
}

static void run_names(const char *dir, const char *list)
{
    size_t count;
    char **names = read_lines(list, &count);
    struct stat st;
    double start;

    if (chdir(dir) < 0)
        fail(dir);
    start = now();
    for (size_t i = 0; i < count; i++)
        if (stat(names[i], &st) < 0)
            fail(names[i]);
    report(now() - start, count);
}

static void run_list(const char *path)
{
    const double start = now();
    DIR *dir = opendir(path);
    uint64_t count = 0;

    if (!dir)
        fail(path);
    while (readdir(dir))
        count++;
    closedir(dir);
    report(now() - start, count);
}

static void run_first(const char *path, char **command)
{
    const struct timespec pause = {.tv_nsec = 50000};
    const double start = now();
    const pid_t child = fork();
    double end = 0;
    int fd, status;
    char byte;

    if (child == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execv(command[0], command);
        fail(command[0]);
    }
    for (; (end = now()) < start + DEADLINE_S; nanosleep(&pause, NULL)) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && pread(fd, &byte, 1, 0) == 1)
            break;
        if (fd >= 0)
            close(fd);
        if (waitpid(child, &status, WNOHANG) == child && status)
            exit(1);
    }
    if (end >= start + DEADLINE_S)
        exit(1);
    report(now() - start, 1);
}

static void run_drop(const char *path)
{
    const int fd = open_file(path);

    fdatasync(fd);
    if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
        fail("fadvise");
    report(0, 1);
}

static void get_generation(const char *root, char text[static 32])
{
    const ssize_t n = getxattr(root, "user.agnes.generation", text, 31);

    if (n < 0)
        fail("user.agnes.generation");
    text[n] = '\0';
}

static uint64_t ino_of(const char *name)
{
    struct stat st;

    if (stat(name, &st) < 0)
        fail(name);
    return st.st_ino;
}

static void run_switch(const char *root, const char *list)
{
    char before[32], after[32];
    size_t count, old;
    char **names = read_lines(list, &count);
    uint64_t *inodes = calloc(count, sizeof(*inodes));
    double start = now(), end = start + DEADLINE_S;

    if (!inodes)
        fail("calloc");
    get_generation(root, before);
    for (size_t i = 0; i < count; i++)
        inodes[i] = ino_of(names[i]);
    puts("ready");
    fflush(stdout);
    do {
        start = now();
        get_generation(root, after);
    } while (!strcmp(before, after) && now() < end);
    do {
        old = 0;
        for (size_t i = 0; i < count; i++)
            old += ino_of(names[i]) == inodes[i];
    } while (old && now() < end);
    report(now() - start, old);
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    const unsigned long number = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;

    if (!strcmp(what, "seq") && number)
        run_seq(argv[2], number);
    else if (!strcmp(what, "mmap"))
        run_mmap(argv[2], number);
    else if (!strcmp(what, "pread"))
        run_pread(argv[2], number);
    else if (!strcmp(what, "opens"))
        run_opens(argv[2], number);
    else if (!strcmp(what, "stat"))
        run_stat(argv[2], number);
    else if (!strcmp(what, "names") && argc == 4)
        run_names(argv[2], argv[3]);
    else if (!strcmp(what, "list"))
        run_list(argv[2]);
    else if (!strcmp(what, "first") && argc > 3)
        run_first(argv[2], argv + 3);
    else if (!strcmp(what, "drop"))
        run_drop(argv[2]);
    else if (!strcmp(what, "switch") && argc == 4)
        run_switch(argv[2], argv[3]);
    else
        return 2;
    return 0;
}
