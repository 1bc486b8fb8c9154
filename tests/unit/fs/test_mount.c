/* SPDX-License-Identifier: MIT */
/* fs/ on a real mount, with a provider whose blobs are there, absent, late or broken as told.
 *
 * The process reads its own mount, so a hang would be for ever: an alarm detaches the mount and
 * ends the test. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "fs/inode.h"
#include "fs/mount.h"
#include "tests/unit/fs/provider_fixture.h"
#include "tests/unit/support/tempdir.h"

#define DEADLINE_S 60

/* --- a provider that does as it is told --- */

enum { A, B, C, LATE, BROKEN, SHORT, CONTENTS };

static const char *const contents[CONTENTS] = {
    [A] = "content A",           [B] = "content B, longer",
    [C] = "content C",           [LATE] = "comes when let",
    [BROKEN] = "can not be had", [SHORT] = "shorter on disk than its key says",
};

struct waiter {
    provider_done done;
    void *arg;
};

struct fake {
    pthread_mutex_t lock;
    bool resident[CONTENTS];
    struct waiter waiters[64];
    unsigned waiting;
    unsigned wants;
    unsigned renders;
};

static struct blob_key key_of(unsigned number)
{
    struct blob_key key;

    blob_key_of_bytes(contents[number], strlen(contents[number]), &key);
    return key;
}

static unsigned number_of(const struct blob_key *key)
{
    for (unsigned i = 0; i < CONTENTS; i++) {
        const struct blob_key other = key_of(i);

        if (blob_key_equal(key, &other))
            return i;
    }
    return CONTENTS;
}

static bool fake_resident(void *arg, const struct blob_key *key)
{
    struct fake *fake = arg;

    scoped_lock(&fake->lock);
    return fake->resident[number_of(key)];
}

static int fake_open(void *arg, const struct blob_key *key, int *ret_fd)
{
    const unsigned number = number_of(key);
    const size_t size = strlen(contents[number]) - (number == SHORT ? 4 : 0);
    int fd;

    if (!fake_resident(arg, key))
        return -ENOENT;
    fd = memfd_create("blob", MFD_CLOEXEC);
    assert_int_equal(write(fd, contents[number], size), size);
    *ret_fd = fd;
    return 0;
}

static int fake_want(void *arg, const struct blob_key *key, uint64_t offset, uint64_t size,
                     pid_t reader, provider_done done, void *done_arg)
{
    struct fake *fake = arg;
    const unsigned number = number_of(key);

    {
        scoped_lock(&fake->lock);
        fake->wants++;
        if (number == LATE) {
            fake->waiters[fake->waiting++] = (struct waiter){done, done_arg};
            return 0;
        }
        fake->resident[number] = number != BROKEN;
    }
    done(done_arg, number == BROKEN ? -EACCES : 0);
    return 0;
}

/* Whoever waits for LATE gets it. */
static void let_go(struct fake *fake)
{
    struct waiter waiters[64];
    unsigned waiting;

    {
        scoped_lock(&fake->lock);
        waiting = fake->waiting;
        memcpy(waiters, fake->waiters, sizeof(waiters));
        fake->waiting = 0;
        fake->resident[LATE] = true;
    }
    for (unsigned i = 0; i < waiting; i++)
        waiters[i].done(waiters[i].arg, 0);
}

static void fake_problem(void *arg, const struct blob_key *key, char ret_text[static 160])
{
    (void)arg;
    snprintf(ret_text, 160, "%s", number_of(key) == BROKEN ? "the server said no" : "");
}

static int fake_render(void *arg, const struct tree *tree, unsigned live, char **ret_text,
                       size_t *ret_size)
{
    struct fake *fake = arg;
    unsigned renders;

    {
        scoped_lock(&fake->lock);
        renders = ++fake->renders;
    }
    *ret_size = (size_t)asprintf(ret_text, "live %u, looked at %u times\n", live, renders);
    return 0;
}

/* --- one mount for all tests of this file --- */

struct fixture {
    struct fake fake;
    struct mounter *mounter;
    struct mount *mount;
    struct tree *tree;
    pthread_t thread;
    int run_result;
    char *dir;
};

static char *alarm_path;

static void on_alarm(int signal)
{
    (void)signal;
    umount2(alarm_path, MNT_DETACH);
    _exit(1);
}

struct name {
    const char *path;
    unsigned content;
};

static struct tree *tree_of(uint64_t generation, const struct name *names, size_t count)
{
    const struct tree_group group = {
        .section = TREE_PACKAGES, .slug = "p", .folder = "p", .name = "P", .description = ""};
    const struct tree_row row = {.name = "t",
                                 .path = "data/p/t",
                                 .table_id = "t-id",
                                 .token = "",
                                 .md5 = "",
                                 .url = "",
                                 .updated = "2026-08-22T10:00:00Z",
                                 .query_mode = "local",
                                 .rows = 7};
    struct tree_builder *builder;
    struct tree *tree;
    uint32_t index;

    assert_int_equal(tree_builder_new(generation, &builder), 0);
    assert_int_equal(tree_builder_add_group(builder, &group, &index), 0);
    assert_int_equal(tree_builder_add_row(builder, &row, &index), 0);
    for (size_t i = 0; i < count; i++) {
        const struct blob_key key = key_of(names[i].content);

        assert_int_equal(tree_builder_add_blob(builder, names[i].path, index, &key,
                                               1700000000000000000LL + names[i].content),
                         0);
    }
    assert_int_equal(tree_builder_add_text(builder, "README.md", "# hello\n", 8), 0);
    assert_int_equal(tree_builder_add_live(builder, ".agnes/status.json", 3), 0);
    assert_int_equal(tree_builder_freeze(builder, &tree), 0);
    return tree;
}

static const struct name first_names[] = {
    {"data/p/a.parquet", A},           {"data/q/a.parquet", A},
    {"data/q/b.parquet", B},           {"data/q/late.parquet", LATE},
    {"data/q/broken.parquet", BROKEN}, {"data/q/short.parquet", SHORT},
};

static void publish(struct fixture *fixture, const struct name *names, size_t count)
{
    struct tree *tree = tree_of(tree_generation(fixture->tree) + 1, names, count);

    mount_publish(fixture->mount, tree);
    tree_unref(fixture->tree);
    fixture->tree = tree;
}

#define PUBLISH(fixture, ...)                                                                      \
    publish(fixture, (const struct name[]){__VA_ARGS__},                                           \
            sizeof((const struct name[]){__VA_ARGS__}) / sizeof(struct name))

static void *serve(void *arg)
{
    struct fixture *fixture = arg;

    fixture->run_result = mount_run(fixture->mount, NULL, NULL);
    return NULL;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct mount_conf conf;
    const unsigned resident[] = {A, B, C, SHORT};

    fixture->dir = tempdir_new();
    alarm_path = fixture->dir;
    signal(SIGALRM, on_alarm);
    alarm(DEADLINE_S);
    pthread_mutex_init(&fixture->fake.lock, NULL);
    for (size_t i = 0; i < sizeof(resident) / sizeof(resident[0]); i++)
        fixture->fake.resident[resident[i]] = true;
    assert_int_equal(mounter_new(fixture->dir, false, &fixture->mounter), 0);
    fixture->tree = tree_of(1, first_names, sizeof(first_names) / sizeof(first_names[0]));
    conf = (struct mount_conf){
        .mounter = fixture->mounter,
        .source = "https://agnes.example.com, with a comma",
        .provider = {&fixture->fake, fake_open, fixture_find, fake_want, fixture_ahead,
                     fake_resident, fake_resident, fake_problem, fake_render},
        .uid = getuid(),
        .gid = getgid(),
    };
    assert_int_equal(mount_new(&conf, fixture->tree, &fixture->mount), 0);
    assert_int_equal(pthread_create(&fixture->thread, NULL, serve, fixture), 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    let_go(&fixture->fake);
    mount_stop(fixture->mount);
    pthread_join(fixture->thread, NULL);
    assert_int_equal(fixture->run_result, 0);
    mount_free(fixture->mount);
    mounter_free(fixture->mounter);
    tree_unref(fixture->tree);
    pthread_mutex_destroy(&fixture->fake.lock);
    tempdir_free(fixture->dir);
    free(fixture);
    alarm(0);
    return 0;
}

static char *path_of(const struct fixture *fixture, const char *rel)
{
    return path_join(fixture->dir, rel);
}

static int open_at(const struct fixture *fixture, const char *rel)
{
    scoped_free char *path = path_of(fixture, rel);

    return open(path, O_RDONLY | O_CLOEXEC);
}

static void assert_reads(const struct fixture *fixture, const char *rel, const char *expected)
{
    scoped_fd int fd = open_at(fixture, rel);
    char buffer[256] = "";

    assert_true(fd >= 0);
    assert_int_equal(read(fd, buffer, sizeof(buffer)), strlen(expected));
    assert_string_equal(buffer, expected);
}

static struct stat stat_of(const struct fixture *fixture, const char *rel)
{
    scoped_free char *path = path_of(fixture, rel);
    struct stat attr = {0};

    assert_int_equal(stat(path, &attr), 0);
    return attr;
}

static bool exists(const struct fixture *fixture, const char *rel)
{
    scoped_free char *path = path_of(fixture, rel);

    return access(path, F_OK) == 0;
}

/* --- the tests --- */

static void names_of_one_content_are_hard_links(void **state)
{
    struct fixture *fixture = *state;
    const struct stat a = stat_of(fixture, "data/p/a.parquet");
    const struct stat again = stat_of(fixture, "data/q/a.parquet");
    const struct stat b = stat_of(fixture, "data/q/b.parquet");

    assert_int_equal(a.st_nlink, 2);
    assert_int_equal(a.st_ino, again.st_ino);
    assert_int_equal(b.st_nlink, 1);
    assert_int_not_equal(a.st_ino, b.st_ino);
    assert_int_equal(a.st_size, strlen(contents[A]));
    assert_int_equal(a.st_blocks, 1);
    assert_int_equal(a.st_mode, S_IFREG | 0444);
    assert_int_equal(a.st_mtim.tv_sec, 1700000000);
    assert_int_equal(stat_of(fixture, "data").st_nlink, 4);
    assert_reads(fixture, "data/p/a.parquet", contents[A]);
    assert_reads(fixture, "data/q/b.parquet", contents[B]);
    assert_reads(fixture, "README.md", "# hello\n");
}

static void a_listing_has_every_name_once(void **state)
{
    struct fixture *fixture = *state;
    scoped_free char *path = path_of(fixture, "data/q");
    scoped_dir DIR *dir = opendir(path);
    const struct dirent *entry;
    unsigned names = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(entry->d_type, DT_REG);
        assert_true(exists(fixture, "data/q"));
        names++;
    }
    assert_int_equal(names, 5);
}

static void looking_wants_nothing(void **state)
{
    struct fixture *fixture = *state;
    scoped_fd int fd = open_at(fixture, "data/q/late.parquet");
    char value[64];

    assert_true(fd >= 0);
    assert_int_equal(stat_of(fixture, "data/q/late.parquet").st_size, strlen(contents[LATE]));
    assert_int_equal(fgetxattr(fd, "user.agnes.state", value, sizeof(value)), 4);
    assert_memory_equal(value, "cold", 4);
    assert_int_equal(fixture->fake.wants, 0);
}

struct reader {
    struct fixture *fixture;
    ssize_t got;
    int error;
    char bytes[64];
    _Atomic bool ended;
};

static void *read_late(void *arg)
{
    struct reader *reader = arg;
    scoped_fd int fd = open_at(reader->fixture, "data/q/late.parquet");

    reader->got = read(fd, reader->bytes, sizeof(reader->bytes));
    reader->error = errno;
    reader->ended = true;
    return NULL;
}

/* Until the read is parked; or has ended, if the kernel still had the pages. */
static void wait_until_parked(const struct reader *reader)
{
    struct fake *fake = &reader->fixture->fake;

    while (!reader->ended) { /* bounded by the alarm */
        {
            scoped_lock(&fake->lock);
            if (fake->waiting)
                return;
        }
        usleep(200);
    }
}

static void a_cold_read_waits_and_others_do_not(void **state)
{
    struct fixture *fixture = *state;
    struct reader reader = {.fixture = fixture};
    struct mount_facts facts;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, read_late, &reader), 0);
    wait_until_parked(&reader);
    mount_facts(fixture->mount, &facts);
    assert_int_equal(facts.parked_reads, 1);
    assert_reads(fixture, "data/q/b.parquet", contents[B]);
    let_go(&fixture->fake);
    pthread_join(thread, NULL);
    assert_int_equal(reader.got, strlen(contents[LATE]));
    assert_memory_equal(reader.bytes, contents[LATE], strlen(contents[LATE]));
    mount_facts(fixture->mount, &facts);
    assert_int_equal(facts.parked_reads, 0);
}

static void on_signal(int signal)
{
    (void)signal;
}

static void a_waiting_read_can_be_interrupted(void **state)
{
    struct fixture *fixture = *state;
    struct reader reader = {.fixture = fixture};
    const struct sigaction action = {.sa_handler = on_signal};
    pthread_t thread;

    sigaction(SIGUSR1, &action, NULL);
    assert_int_equal(pthread_create(&thread, NULL, read_late, &reader), 0);
    wait_until_parked(&reader);
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, NULL);
    assert_int_equal(reader.got, -1);
    assert_int_equal(reader.error, EINTR);
    let_go(&fixture->fake); /* the transfer that nobody waits for any more ends: no harm */
    assert_reads(fixture, "data/q/late.parquet", contents[LATE]);
}

/* Interrupt and bytes race for one request, over and over: exactly one of them answers. */
static void interrupts_and_bytes_race_in_peace(void **state)
{
    struct fixture *fixture = *state;
    const struct sigaction action = {.sa_handler = on_signal};

    sigaction(SIGUSR1, &action, NULL);
    for (unsigned i = 0; i < 200; i++) {
        struct reader reader = {.fixture = fixture};
        pthread_t thread;

        {
            scoped_lock(&fixture->fake.lock);
            fixture->fake.resident[LATE] = false;
        }
        PUBLISH(fixture, {"data/q/a.parquet", i % 2 ? A : B});
        PUBLISH(fixture, {"data/q/late.parquet", LATE});
        assert_int_equal(pthread_create(&thread, NULL, read_late, &reader), 0);
        wait_until_parked(&reader);
        pthread_kill(thread, SIGUSR1);
        if (i % 3)
            usleep(i % 7 * 10);
        let_go(&fixture->fake);
        pthread_join(thread, NULL);
        assert_true((reader.got == -1 && reader.error == EINTR) ||
                    reader.got == (ssize_t)strlen(contents[LATE]));
    }
}

static void a_read_that_can_not_be_had_says_why(void **state)
{
    struct fixture *fixture = *state;
    scoped_fd int fd = open_at(fixture, "data/q/broken.parquet");
    char value[160];
    ssize_t size;

    assert_true(fd >= 0);
    assert_int_equal(read(fd, value, sizeof(value)), -1);
    assert_int_equal(errno, EACCES);
    size = fgetxattr(fd, "user.agnes.error", value, sizeof(value));
    assert_int_equal(size, strlen("the server said no"));
    assert_memory_equal(value, "the server said no", (size_t)size);
}

static void a_blob_that_ends_early_is_an_error_not_zeros(void **state)
{
    struct fixture *fixture = *state;
    scoped_fd int fd = open_at(fixture, "data/q/short.parquet");
    char buffer[64];

    /* Where the kernel would read it by itself, it is not even opened. */
    if (fd >= 0)
        assert_int_equal(read(fd, buffer, sizeof(buffer)), -1);
    assert_int_equal(errno, EIO);
}

static void attributes_tell_the_row(void **state)
{
    struct fixture *fixture = *state;
    scoped_free char *path = path_of(fixture, "data/p/a.parquet");
    static const struct {
        const char *name;
        const char *value; /* NULL: ENODATA */
    } expected[] = {
        {"user.agnes.state", "resident"},
        {"user.agnes.table_id", "t-id"},
        {"user.agnes.rows", "7"},
        {"user.agnes.references", "2"},
        {"user.agnes.generation", "1"},
        {"user.agnes.query_mode", "local"},
        {"user.agnes.updated", "2026-08-22T10:00:00Z"},
        {"user.agnes.source", "https://agnes.example.com, with a comma"},
        {"user.agnes.md5", NULL},
        {"user.agnes.error", NULL},
        {"user.agnes.unknown", NULL},
    };
    char value[256];

    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        const ssize_t size = getxattr(path, expected[i].name, value, sizeof(value));

        if (expected[i].value) {
            assert_int_equal(size, strlen(expected[i].value));
            assert_memory_equal(value, expected[i].value, (size_t)size);
            assert_int_equal(getxattr(path, expected[i].name, NULL, 0), size);
        } else {
            assert_int_equal(size, -1);
            assert_int_equal(errno, ENODATA);
        }
    }
    /* So that ls -l, which asks for both, does so once and not for each file. */
    assert_int_equal(getxattr(path, "security.capability", value, sizeof(value)), -1);
    assert_int_equal(errno, EOPNOTSUPP);
    assert_int_equal(getxattr(path, "system.posix_acl_access", value, sizeof(value)), -1);
    assert_int_equal(errno, EOPNOTSUPP);
    assert_int_equal(listxattr(path, value, sizeof(value)), 0);
    assert_true(listxattr(fixture->dir, value, sizeof(value)) > 0);
}

static void read_live(struct fixture *fixture, char ret_text[static 64])
{
    scoped_fd int fd = open_at(fixture, ".agnes/status.json");
    const ssize_t size = read(fd, ret_text, 63);

    assert_true(size > 0);
    ret_text[size] = '\0';
}

static void a_live_document_keeps_the_bytes_it_was_opened_with(void **state)
{
    struct fixture *fixture = *state;
    char buffer[64] = "", later[64] = "";
    scoped_fd int fd = open_at(fixture, ".agnes/status.json");
    struct stat attr;
    ssize_t size;

    assert_true(fd >= 0);
    stat_of(fixture, ".agnes/status.json");
    assert_int_equal(fstat(fd, &attr), 0);
    size = read(fd, buffer, sizeof(buffer));
    assert_int_equal(size, attr.st_size);
    assert_int_equal(strncmp(buffer, "live 3, looked at ", 18), 0);
    read_live(fixture, later);
    assert_string_equal(buffer, later); /* what stat told of a moment ago */
    PUBLISH(fixture, {"data/p/a.parquet", C}, {"data/q/a.parquet", A});
    read_live(fixture, later);
    assert_string_not_equal(buffer, later);
    assert_int_equal(pread(fd, later, sizeof(later), 0), size);
    assert_memory_equal(buffer, later, (size_t)size);
}

static void a_switch_is_seen_at_once(void **state)
{
    struct fixture *fixture = *state;
    scoped_fd int old = open_at(fixture, "data/p/a.parquet");
    scoped_free char *path = path_of(fixture, "data/q/new.parquet");
    char buffer[64] = "";
    struct stat attr;

    assert_false(exists(fixture, "data/q/new.parquet")); /* leaves a negative entry */
    assert_int_equal(stat_of(fixture, "data/q/a.parquet").st_nlink, 2);
    PUBLISH(fixture, {"data/p/a.parquet", C}, {"data/q/a.parquet", A}, {"data/q/new.parquet", B});
    assert_reads(fixture, "data/p/a.parquet", contents[C]);
    assert_reads(fixture, "data/q/a.parquet", contents[A]);
    assert_reads(fixture, "data/q/new.parquet", contents[B]);
    assert_false(exists(fixture, "data/q/b.parquet"));
    assert_int_equal(pread(old, buffer, sizeof(buffer), 0), strlen(contents[A]));
    assert_string_equal(buffer, contents[A]);
    assert_int_equal(fstat(old, &attr), 0);
    assert_int_equal(attr.st_nlink, 1);
    PUBLISH(fixture, {"data/p/a.parquet", C});
    assert_int_equal(fstat(old, &attr), 0);
    assert_int_equal(attr.st_nlink, 0);
    assert_int_equal(pread(old, buffer, sizeof(buffer), 0), strlen(contents[A]));
    assert_false(exists(fixture, "data/q"));
}

static unsigned names_in(int folder)
{
    scoped_dir DIR *dir = fdopendir(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    unsigned names = 0;

    assert_non_null(dir);
    while (readdir(dir))
        names++;
    return names - 2;
}

static void a_kept_listing_is_dropped_when_the_folder_changes(void **state)
{
    struct fixture *fixture = *state;
    /* Who holds the folder open keeps its inode, and so its cached listing, in the kernel. */
    scoped_fd int folder = open_at(fixture, "data/q");

    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(names_in(folder), i ? 1 : 5);
        assert_int_equal(names_in(folder), i ? 1 : 5);
        PUBLISH(fixture, {"data/q/a.parquet", A}, {"data/q/b.parquet", B});
        assert_int_equal(names_in(folder), 2);
        PUBLISH(fixture, {"data/q/a.parquet", A});
    }
}

static void a_folder_that_stays_stays_for_who_is_in_it(void **state)
{
    struct fixture *fixture = *state;
    scoped_free char *path = path_of(fixture, "data/q");
    scoped_fd int home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char cwd[PATH_MAX];

    assert_int_equal(chdir(path), 0);
    for (unsigned i = 0; i < 20; i++) {
        PUBLISH(fixture, {"data/q/a.parquet", i % 2 ? A : B});
        assert_non_null(getcwd(cwd, sizeof(cwd)));
        assert_string_equal(cwd, path);
        assert_int_equal(access("a.parquet", R_OK), 0);
    }
    assert_int_equal(fchdir(home), 0);
}

static void bytes_that_went_are_wanted_anew(void **state)
{
    struct fixture *fixture = *state;

    assert_reads(fixture, "data/q/b.parquet", contents[B]);
    {
        scoped_lock(&fixture->fake.lock);
        fixture->fake.resident[B] = false;
    }
    assert_int_equal(fixture->fake.wants, 0);
    {
        /* The kernel still knows the full face; the open must find its way to the lazy one. */
        scoped_fd int fd = open_at(fixture, "data/q/b.parquet");

        assert_true(fd >= 0);
    }
}

static void nothing_can_be_written(void **state)
{
    struct fixture *fixture = *state;
    scoped_free char *file = path_of(fixture, "data/p/a.parquet");
    scoped_free char *fresh = path_of(fixture, "data/p/fresh");

    assert_int_equal(open(file, O_WRONLY), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(mkdir(fresh, 0755), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(unlink(file), -1);
    assert_int_equal(errno, EROFS);
}

static void the_disk_is_full_of_the_stack(void **state)
{
    struct fixture *fixture = *state;
    struct statvfs facts;

    assert_int_equal(statvfs(fixture->dir, &facts), 0);
    assert_int_equal(facts.f_bavail, 0);
    assert_int_equal(facts.f_blocks, 1);
    assert_true(facts.f_flag & ST_RDONLY);
}

/* What the kernel forgets, the table forgets: only the root is left. */
static void forgotten_inodes_leave_the_table(void **state)
{
    struct fixture *fixture = *state;
    struct mount_facts facts;

    {
        scoped_fd int folder = open_at(fixture, "data/q");

        assert_int_equal(names_in(folder), 5);
    }
    stat_of(fixture, "data/p/a.parquet");
    PUBLISH(fixture, {"data/q/a.parquet", A});
    for (unsigned i = 0; i < 100; i++) {
        scoped_fd int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

        assert_int_equal(write(fd, "2", 1), 1);
        mount_facts(fixture->mount, &facts);
        if (facts.lookups == 1)
            break;
        usleep(10000);
    }
    assert_int_equal(facts.lookups, 1);
    assert_int_equal(facts.inodes, 2); /* the root and A's blob */
}

static int try_to_mount(const struct fixture *fixture, const char *path)
{
    struct mount_conf conf = {.source = "s"};
    struct mount *mount = NULL;
    int r;

    assert_int_equal(mounter_new(path, false, &conf.mounter), 0);
    r = mount_new(&conf, fixture->tree, &mount);
    mount_free(mount);
    mounter_free(conf.mounter);
    return r;
}

static void what_can_not_be_mounted_on_is_said(void **state)
{
    const struct fixture *fixture = *state;
    scoped_free char *missing = path_join(fixture->dir, "nowhere");
    char *dir = tempdir_new();
    scoped_free char *file = path_join(dir, "file");

    assert_int_equal(try_to_mount(fixture, missing), -ENOENT);
    assert_int_equal(try_to_mount(fixture, fixture->dir), -EBUSY);
    file_write(dir, "file", "x", 1);
    assert_int_equal(try_to_mount(fixture, file), -ENOTDIR);
    assert_int_equal(try_to_mount(fixture, dir), -ENOTEMPTY);
    tempdir_free(dir);
}

static void what_was_not_mounted_is_not_unmounted(void **state)
{
    char *dir = tempdir_new();
    struct mounter *mounter;
    int fd = -1;

    assert_int_equal(mounter_new(dir, false, &mounter), 0);
    assert_int_equal(mounter_look(mounter), 0);
    assert_int_equal(mounter_unmount(mounter, false), -ENOENT);
    file_write(dir, "file", "x", 1);
    assert_int_equal(mounter_mount(mounter, "s", &fd), -ENOTEMPTY);
    assert_int_equal(mounter_unmount(mounter, false), -ENOENT);
    assert_int_equal(fd, -1);
    mounter_free(mounter);
    tempdir_free(dir);
}

int main(void)
{
#define MOUNTED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        MOUNTED(names_of_one_content_are_hard_links),
        MOUNTED(a_listing_has_every_name_once),
        MOUNTED(looking_wants_nothing),
        MOUNTED(a_cold_read_waits_and_others_do_not),
        MOUNTED(a_waiting_read_can_be_interrupted),
        MOUNTED(interrupts_and_bytes_race_in_peace),
        MOUNTED(a_read_that_can_not_be_had_says_why),
        MOUNTED(a_blob_that_ends_early_is_an_error_not_zeros),
        MOUNTED(attributes_tell_the_row),
        MOUNTED(a_live_document_keeps_the_bytes_it_was_opened_with),
        MOUNTED(a_switch_is_seen_at_once),
        MOUNTED(a_kept_listing_is_dropped_when_the_folder_changes),
        MOUNTED(a_folder_that_stays_stays_for_who_is_in_it),
        MOUNTED(bytes_that_went_are_wanted_anew),
        MOUNTED(nothing_can_be_written),
        MOUNTED(the_disk_is_full_of_the_stack),
        MOUNTED(forgotten_inodes_leave_the_table),
        MOUNTED(what_can_not_be_mounted_on_is_said),
        cmocka_unit_test(what_was_not_mounted_is_not_unmounted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
