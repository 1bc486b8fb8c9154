/* SPDX-License-Identifier: MIT */
/* swap.c - a store whose names are changed under it, as fast as another process could.
 *
 *     swap FOLDER SWAPS SEED
 *
 * FOLDER/cache is the store, FOLDER/outside what must never be reached: files of the same names and
 * sizes as the blobs, with other bytes. One thread exchanges blobs, and the folders they lie in, with
 * planted objects (links to the outside of both kinds, a fifo, a folder, a file with other bytes) and
 * back, atomically. Others get, verify, commit and drop blobs all the while.
 *
 * An escape is: bytes that are not the blob's, or anything outside that has changed. As a control, a
 * reader that trusts names reads along: it must see wrong bytes, or nothing was really swapped.
 * Prints the counts; ends with 1 if there was an escape, 2 if the control saw none. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "cache/store.h"
#include "cache/writer.h"

enum { BLOBS = 6, SIZE = 4096, DEADLINE_S = 300, PATH_SIZE = 200 };

enum counter {
    SWAPS,
    READ,
    REFUSED,
    VERIFIED,
    WRONG,
    COMMITTED,
    DROPPED,
    FOOLED,
    ESCAPES,
    COUNTERS
};

static const char *const counter_names[COUNTERS] = {"swaps",    "read",           "refused",
                                                    "verified", "found-wrong",    "committed",
                                                    "dropped",  "fooled-control", "escapes"};

static struct store *store;
static struct blob_key keys[BLOBS];
static char names[BLOBS][PATH_SIZE]; /* "_shared/aa/key" */
static char contents[BLOBS][SIZE];
static atomic_ulong counters[COUNTERS];
static atomic_bool done;
static int cache_dir, pit, outside;

static void count(enum counter counter)
{
    atomic_fetch_add(&counters[counter], 1);
}

static void die(const char *what)
{
    perror(what);
    exit(3);
}

static void late(int number)
{
    static const char text[] = "swap: something hangs\n";

    if (write(STDERR_FILENO, text, sizeof(text) - 1) > 0)
        _exit(4);
}

/* --- the store and what is outside --- */

static void write_file(int dir, const char *name, const void *data, mode_t mode)
{
    scoped_fd int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, data, SIZE) != SIZE || fchmod(fd, mode) < 0)
        die(name);
}

static int commit(unsigned i)
{
    struct writer *writer;
    char name[32];
    int r;

    snprintf(name, sizeof(name), "draft-%u", i);
    r = writer_begin(store, name, SIZE, &writer);
    if (r < 0)
        return r;
    r = writer_write(writer, contents[i], SIZE);
    if (r < 0) {
        writer_abort(writer);
        return r;
    }
    return writer_commit(writer, &keys[i], NULL);
}

static void make_blob(unsigned i)
{
    struct digest *digest;
    struct digest_sums sums;
    char text[BLOB_KEY_TEXT_SIZE];

    memset(contents[i], 'a' + (int)i, SIZE);
    if (digest_new(&digest) < 0 || digest_update(digest, contents[i], SIZE) < 0 ||
        digest_sums(digest, &sums) < 0)
        die("digest");
    digest_free(digest);
    keys[i] = (struct blob_key){.kind = BLOB_MD5, .size = SIZE};
    memcpy(keys[i].digest, sums.md5, sizeof(keys[i].digest));
    blob_key_format(&keys[i], text);
    snprintf(names[i], sizeof(names[i]), "_shared/%02x/%s", keys[i].digest[0], text);
    if (commit(i) < 0)
        die("commit");
}

static void make_outside(void)
{
    char wrong[SIZE];

    memset(wrong, '!', sizeof(wrong));
    for (unsigned i = 0; i < BLOBS; i++)
        write_file(outside, strrchr(names[i], '/') + 1, wrong, 0400);
}

/* Names, modes, link counts and bytes; the links that were planted on them are gone by then. */
static void check_outside(void)
{
    scoped_dir DIR *dir = fdopendir(dup(outside));
    const struct dirent *entry;
    unsigned files = 0;

    rewinddir(dir);
    while ((entry = readdir(dir))) {
        scoped_fd int fd = openat(outside, entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        char bytes[SIZE + 1];
        struct stat st;

        if (entry->d_name[0] == '.')
            continue;
        files++;
        if (fd < 0 || fstat(fd, &st) < 0 || read(fd, bytes, sizeof(bytes)) != SIZE ||
            bytes[0] != '!' || bytes[SIZE - 1] != '!' || (st.st_mode & 07777) != 0400) {
            printf("changed outside: %s\n", entry->d_name);
            count(ESCAPES);
        }
    }
    if (files != BLOBS) {
        printf("%u files outside\n", files);
        count(ESCAPES);
    }
}

/* --- the one who swaps --- */

static void clear_pit(const char *name)
{
    if (unlinkat(pit, name, 0) == 0 || errno == ENOENT)
        return;
    if (unlinkat(pit, name, AT_REMOVEDIR) == 0)
        return;
    scoped_fd int folder = openat(pit, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    scoped_dir DIR *dir = fdopendir(dup(folder));

    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        unlinkat(folder, entry->d_name, 0);
    unlinkat(pit, name, AT_REMOVEDIR);
}

static void plant(unsigned kind, unsigned i)
{
    const char *name = strrchr(names[i], '/') + 1;
    char path[PATH_SIZE];
    char wrong[SIZE];

    snprintf(path, sizeof(path), "../outside/%s", name);
    switch (kind) {
    case 0: symlinkat("../../../outside/missing", pit, "x"); break;
    case 1:
        snprintf(path, sizeof(path), "../../../outside/%s", name);
        symlinkat(path, pit, "x");
        break;
    case 2: symlinkat("../../outside", pit, "x"); break;
    case 3: mkfifoat(pit, "x", 0600); break;
    case 4: mkdirat(pit, "x", 0700); break;
    case 5: linkat(outside, name, pit, "x", 0); break;
    default:
        memset(wrong, '?', sizeof(wrong));
        write_file(pit, "x", wrong, 0400);
        break;
    }
}

/* A blob, or the folder that it lies in. */
static void swap_once(unsigned *seed)
{
    unsigned i = (unsigned)rand_r(seed) % BLOBS;
    bool folder = rand_r(seed) % 4 == 0;
    char target[PATH_SIZE];

    snprintf(target, sizeof(target), "%.*s", folder ? 10 : PATH_SIZE - 1, names[i]);
    clear_pit("x");
    plant(folder ? 2 + (unsigned)rand_r(seed) % 3 : (unsigned)rand_r(seed) % 7, i);
    if (renameat2(pit, "x", cache_dir, target, RENAME_EXCHANGE) < 0)
        return;
    count(SWAPS);
    for (int pause = rand_r(seed) % 300; pause > 0; pause--)
        atomic_load(&done);
    if (renameat2(pit, "x", cache_dir, target, RENAME_EXCHANGE) == 0)
        count(SWAPS);
}

/* --- those who use the store --- */

static bool is_right(int fd, unsigned i)
{
    char bytes[SIZE + 1];

    return pread(fd, bytes, sizeof(bytes), 0) == SIZE && memcmp(bytes, contents[i], SIZE) == 0;
}

static void get_one(unsigned i)
{
    scoped_fd int fd = -1;

    if (store_get(store, &keys[i], &fd) < 0) {
        count(REFUSED);
        return;
    }
    count(READ);
    if (!is_right(fd, i)) {
        printf("wrong bytes of blob %u\n", i);
        count(ESCAPES);
    }
}

static void *get_all(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (!atomic_load(&done))
        get_one((unsigned)rand_r(&seed) % BLOBS);
    return NULL;
}

static void *mend_all(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (!atomic_load(&done)) {
        unsigned i = (unsigned)rand_r(&seed) % BLOBS;
        int r = store_verify(store, &keys[i]);

        count(r == 0 ? VERIFIED : WRONG);
        if (r < 0 && commit(i) == 0)
            count(COMMITTED);
        if (rand_r(&seed) % 50 == 0 && store_drop(store, &keys[i]) == 0)
            count(DROPPED);
    }
    return NULL;
}

/* The control. */
static void *trust_names(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    while (!atomic_load(&done)) {
        unsigned i = (unsigned)rand_r(&seed) % BLOBS;
        scoped_fd int fd = openat(cache_dir, names[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);

        if (fd >= 0 && !is_right(fd, i))
            count(FOOLED);
    }
    return NULL;
}

static int open_folder(int dir, const char *name)
{
    mkdirat(dir, name, 0700);

    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        die(name);
    return fd;
}

int main(int argc, char **argv)
{
    unsigned long swaps = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
    unsigned seed = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    void *(*const users[])(void *) = {get_all, get_all, mend_all, trust_names};
    pthread_t threads[sizeof(users) / sizeof(users[0])];
    char path[PATH_SIZE];

    if (swaps == 0)
        return 3;
    signal(SIGALRM, late);
    alarm(DEADLINE_S);
    snprintf(path, sizeof(path), "%s/cache", argv[1]);
    if (store_open(path, STORE_WRITER, &store) < 0)
        die("store");
    for (unsigned i = 0; i < BLOBS; i++)
        make_blob(i);
    cache_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pit = open_folder(AT_FDCWD, strcat(path, "/../pit"));
    outside = open_folder(pit, "../outside");
    make_outside();
    for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
        pthread_create(&threads[i], NULL, users[i], (void *)(uintptr_t)(seed + i));
    while (atomic_load(&counters[SWAPS]) < swaps)
        swap_once(&seed);
    atomic_store(&done, true);
    for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
        pthread_join(threads[i], NULL);
    clear_pit("x");
    check_outside();
    store_close(store);
    for (unsigned i = 0; i < COUNTERS; i++)
        printf("%s %lu\n", counter_names[i], atomic_load(&counters[i]));
    return atomic_load(&counters[ESCAPES]) > 0 ? 1 : atomic_load(&counters[FOOLED]) == 0 ? 2 : 0;
}
