/* SPDX-License-Identifier: MIT */
/* What of a partial is on disk, and what of that is believed: after a restart, after damage, with
 * strangers in its place, and after a kill at every single write. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/cache/partial_fixture.h"

#define SIZE (3 * MIB + 700 * KIB)
#define HEADER_SIZE 512
#define ENTRY_SIZE 16

/* --- writes are counted, and the one that is asked for is the last --- */

static struct {
    int writes;
    int kill_at; /* 0: never */
    int fail_map;
    void (*after_read)(void); /* once, before the reader sees what it has read */
} spy;

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    /* Within a page the kernel does not stop half-way, and an entry lies within a page. */
    if (++spy.writes == spy.kill_at) {
        size_t written = size > HEADER_SIZE ? size / 2 : spy.kill_at % 4 < 2 ? size : 0;

        syscall(SYS_pwrite64, fd, data, written, offset);
        raise(SIGKILL);
    }
    if (spy.fail_map && size % ENTRY_SIZE == 0 && size <= HEADER_SIZE) {
        errno = spy.fail_map;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    ssize_t n = syscall(SYS_pread64, fd, data, size, offset);
    void (*then)(void) = spy.after_read;

    spy.after_read = NULL;
    if (then)
        then();
    return n;
}

/* Where a block's entry begins in the map. */
static uint64_t entry(uint64_t block)
{
    return HEADER_SIZE + block * ENTRY_SIZE;
}

/* Blocks 0 and 2 whole, 3 in part, 1 not at all; put aside. */
static void leave(struct fixture *fixture, const struct sample *sample)
{
    struct partial *partial = partial_of(fixture->store, sample);

    assert_int_equal(partial_set_tag(partial, "\"tag\""), 0);
    assert_int_equal(fill(partial, sample, 3 * MIB, 5000), 0);
    assert_int_equal(fill(partial, sample, 0, MIB), 0);
    assert_int_equal(fill(partial, sample, 2 * MIB, MIB), 0);
    partial_put(partial);
}

#define LEFT (2 * MIB + 5000)

/* Fills what is missing, as often as it takes, and commits. */
static int complete(struct partial *partial, const struct sample *sample)
{
    for (int round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < partial_blocks(partial); i++) {
            uint64_t at = i * MIB + partial_filled(partial, i);
            uint64_t end = (i + 1) * MIB < sample->key.size ? (i + 1) * MIB : sample->key.size;
            int r = fill(partial, sample, at, end - at);

            if (r == -EINVAL) /* its beginning was rotten */
                r = fill(partial, sample, i * MIB, end - i * MIB);
            assert_int_equal(r, 0);
        }
        int r = commit(partial);

        if (r != -EAGAIN)
            return r;
    }
    return -EAGAIN;
}

static void waits_on_disk(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 1);
    struct partial *partial = NULL;

    leave(fixture, &sample);
    assert_int_equal(used(fixture->store), LEFT);
    reopen(fixture);
    assert_int_equal(used(fixture->store), LEFT);
    assert_int_equal(partial_find(fixture->store, &sample.key, &partial), 0);
    assert_int_equal(used(fixture->store), LEFT);
    assert_string_equal(partial_tag(partial), "\"tag\"");
    assert_int_equal(partial_bytes(partial), LEFT);
    assert_int_equal(check(partial, &sample, 0, MIB), 0);
    assert_int_equal(check(partial, &sample, MIB, 1), -EAGAIN);
    assert_int_equal(check(partial, &sample, 2 * MIB + 10, MIB), 0);
    assert_int_equal(check(partial, &sample, 3 * MIB, 5001), -EAGAIN);
    assert_int_equal(complete(partial, &sample), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
    assert_int_equal(used(fixture->store), SIZE);
}

/* Small ones have a map only when they are put aside, or flushed. */
static void one_block(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(5000, 2);
    scoped_free char *map = partial_rel(&sample.key, ".map");
    struct partial *partial = partial_of(fixture->store, &sample);

    assert_int_equal(fill(partial, &sample, 0, 3000), 0);
    assert_false(exists(fixture, map));
    partial_put(partial);
    assert_true(exists(fixture, map));
    reopen(fixture);
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(partial_filled(partial, 0), 3000);
    assert_int_equal(fill(partial, &sample, 3000, 2000), 0);
    assert_int_equal(partial_commit(partial), 0);
    partial_put(partial);
    assert_false(exists(fixture, map));
    assert_stored(fixture->store, &sample);

    assert_int_equal(store_drop(fixture->store, &sample.key), 0);
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(fill(partial, &sample, 0, 3000), 0);
    assert_int_equal(partial_flush(partial), 0);
    assert_true(exists(fixture, map));
    assert_int_equal(fill(partial, &sample, 3000, 1), 0);
    assert_int_equal(partial_flush(partial), 0);
    partial_put(partial);
}

/* --- damage --- */

static void flipped_bit_in_the_data(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t places[] = {0, MIB - 1, 2 * MIB + 12345, 3 * MIB, 3 * MIB + 4999};
    scoped_sample sample = sample_new(SIZE, 3);
    scoped_free char *data = partial_rel(&sample.key, "");

    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        uint64_t block = places[i] / MIB;
        struct partial *partial;

        leave(fixture, &sample);
        flip(fixture, data, places[i]);
        partial = partial_of(fixture->store, &sample);
        assert_true(partial_has(partial, block * MIB, 5000)); /* as the map says */
        assert_int_equal(check(partial, &sample, block * MIB + 100, 10), -EAGAIN);
        assert_false(partial_has(partial, block * MIB, 1));
        assert_int_equal(partial_filled(partial, (uint32_t)block), 0);
        assert_int_equal(partial_bytes(partial), LEFT - (block == 3 ? 5000 : MIB));
        assert_int_equal(used(fixture->store), partial_bytes(partial));
        assert_int_equal(check(partial, &sample, block == 0 ? 2 * MIB : 0, 1000), 0);
        assert_int_equal(complete(partial, &sample), 0);
        partial_put(partial);
        assert_stored(fixture->store, &sample);
        assert_int_equal(store_drop(fixture->store, &sample.key), 0);
    }
}

/* Nobody has read the block before it goes on, or is committed. */
static void damage_is_not_continued(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 4);
    scoped_free char *data = partial_rel(&sample.key, "");
    struct partial *partial;

    leave(fixture, &sample);
    flip(fixture, data, 3 * MIB + 17);
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(partial_filled(partial, 3), 5000);
    assert_int_equal(fill(partial, &sample, 3 * MIB + 5000, 10), -EINVAL);
    assert_int_equal(partial_filled(partial, 3), 0);
    partial_fail(partial);
    partial_put(partial);

    /* At commit: one block is lost, not the blob. */
    leave(fixture, &sample);
    flip(fixture, data, 2 * MIB + 17);
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(fill(partial, &sample, MIB, MIB), 0);
    assert_int_equal(fill(partial, &sample, 3 * MIB + 5000, SIZE - 3 * MIB - 5000), 0);
    assert_int_equal(partial_bytes(partial), SIZE);
    assert_int_equal(commit(partial), -EAGAIN);
    assert_int_equal(partial_bytes(partial), SIZE - MIB);
    assert_int_equal(partial_filled(partial, 2), 0);
    assert_int_equal(fill(partial, &sample, 2 * MIB, MIB), 0);
    assert_int_equal(commit(partial), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
}

/* What this process wrote itself, and what it has hashed half of, may rot before the commit. */
static void rot_below_the_digest(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 5);
    scoped_free char *data = partial_rel(&sample.key, "");
    struct partial *partial = partial_of(fixture->store, &sample);

    /* The digest stands in the middle of block 1 when the rest is appended out of its sight. */
    assert_int_equal(fill(partial, &sample, 2 * MIB, MIB), 0);
    assert_int_equal(fill(partial, &sample, 0, MIB + 1000), 0);
    partial_put(partial);
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(partial_commit(partial), -EAGAIN); /* catches up to there */
    flip(fixture, data, MIB + 5);
    assert_int_equal(fill(partial, &sample, 3 * MIB, SIZE - 3 * MIB), 0);
    assert_int_equal(partial_commit(partial), -EAGAIN);
    assert_int_equal(partial_filled(partial, 1), 0);
    assert_int_equal(complete(partial, &sample), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
}

/* --- meanwhile --- */

static struct {
    struct fixture *fixture;
    struct partial *partial;
    const struct sample *sample;
    const char *data;
} meanwhile;

static void found_and_filled_again(void)
{
    assert_int_equal(check(meanwhile.partial, meanwhile.sample, 2 * MIB, 10), -EAGAIN);
    assert_int_equal(fill(meanwhile.partial, meanwhile.sample, 2 * MIB, MIB), 0);
}

static void rotted_and_dropped(void)
{
    flip(meanwhile.fixture, meanwhile.data, 0);
    assert_int_equal(partial_commit(meanwhile.partial), -EAGAIN);
}

static void given_up(void)
{
    partial_fail(meanwhile.partial);
}

/* Between reading and judging, or between reading and handing over, somebody else was faster. */
static void slow_reader(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 15);
    scoped_free char *data = partial_rel(&sample.key, "");

    leave(fixture, &sample);
    flip(fixture, data, 2 * MIB + 17);
    struct partial *partial = partial_of(fixture->store, &sample);

    meanwhile.fixture = fixture;
    meanwhile.partial = partial;
    meanwhile.sample = &sample;
    meanwhile.data = data;

    /* What it has in hand is rotten, but that is not what is here now. */
    spy.after_read = found_and_filled_again;
    assert_int_equal(check(partial, &sample, 2 * MIB, MIB), 0);
    assert_int_equal(partial_filled(partial, 2), MIB);

    /* What it has in hand was right, but nobody stands for it any more. */
    assert_int_equal(check(partial, &sample, 0, MIB), 0);
    spy.after_read = rotted_and_dropped;
    assert_int_equal(check(partial, &sample, 0, MIB), -EAGAIN);
    assert_int_equal(partial_filled(partial, 0), 0);
    spy.after_read = given_up;
    assert_int_equal(check(partial, &sample, 2 * MIB, MIB), -EBADMSG);
    partial_put(partial);
}

/* --- damage to the map, and parts that do not belong together --- */

/* Any byte of the map: the worst that happens is that less is here. */
static void damaged_map(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 6);
    scoped_free char *map = partial_rel(&sample.key, ".map");

    for (uint64_t at = 0; at < entry(4); at += at < 12 || at >= 500 ? 1 : 61) {
        struct partial *partial;

        leave(fixture, &sample);
        flip(fixture, map, at);
        partial = partial_of(fixture->store, &sample);
        assert_true(at >= HEADER_SIZE || partial_bytes(partial) == 0);
        assert_true(at >= HEADER_SIZE || partial_tag(partial)[0] == '\0');
        for (uint64_t block = 0; block < 4; block++) {
            uint64_t filled = partial_filled(partial, (uint32_t)block);
            int r = check(partial, &sample, block * MIB, filled); /* never wrong, says check */

            assert_true(r == 0 || r == -EAGAIN);
        }
        assert_true(partial_bytes(partial) <= LEFT);
        partial_fail(partial);
        partial_put(partial);
    }
}

static void map_of_something_else(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 7);
    scoped_sample other = sample_new(SIZE, 8);
    scoped_free char *map = partial_rel(&sample.key, ".map");
    scoped_free char *other_map = partial_rel(&other.key, ".map");
    size_t size = 0;

    leave(fixture, &sample);
    leave(fixture, &other);
    scoped_free char *theirs = file_read(fixture->dir, other_map, &size);
    scoped_free char *ours = file_read(fixture->dir, map, NULL);
    struct partial *partial;

    /* The whole of it, then only its entries. */
    file_write(fixture->dir, map, theirs, size);
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(partial_bytes(partial), 0);
    partial_put(partial);
    leave(fixture, &sample);
    memcpy(theirs, ours, HEADER_SIZE);
    file_write(fixture->dir, map, theirs, size);
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(partial_bytes(partial), LEFT);
    for (uint64_t block = 0; block < 4; block++)
        assert_int_equal(check(partial, &sample, block * MIB, 1), -EAGAIN);
    assert_int_equal(partial_bytes(partial), 0);
    partial_put(partial);

    /* Cut off at any length. */
    for (size_t cut = 0; cut < size; cut += cut < HEADER_SIZE - 1 ? 73 : 5) {
        leave(fixture, &sample);
        file_write(fixture->dir, map, ours, cut);
        partial = partial_of(fixture->store, &sample);
        assert_true(cut >= HEADER_SIZE || partial_bytes(partial) == 0);
        for (uint64_t block = 0; block < 4; block++)
            check(partial, &sample, block * MIB, 5000);
        partial_fail(partial);
        partial_put(partial);
    }
}

static void data_without_map_and_map_without_data(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 9);
    scoped_free char *data = partial_rel(&sample.key, "");
    scoped_free char *data_path = path_join(fixture->dir, data);
    scoped_free char *map = partial_rel(&sample.key, ".map");
    scoped_free char *map_path = path_join(fixture->dir, map);
    struct partial *partial = NULL;

    for (int kind = 0; kind < 4; kind++) {
        leave(fixture, &sample);
        if (kind == 0)
            assert_int_equal(unlink(map_path), 0);
        else if (kind == 1)
            assert_int_equal(unlink(data_path), 0);
        else
            assert_int_equal(truncate(data_path, kind == 2 ? SIZE - 1 : SIZE + 1), 0);
        assert_int_equal(partial_find(fixture->store, &sample.key, &partial), -ENOENT);
        partial = partial_of(fixture->store, &sample);
        assert_int_equal(partial_bytes(partial), 0);
        assert_int_equal(complete(partial, &sample), 0);
        partial_put(partial);
        assert_stored(fixture->store, &sample);
        assert_int_equal(store_drop(fixture->store, &sample.key), 0);
    }
}

/* Under our feet: what was proved is cut off, what was not is not there. */
static void cut_by_somebody_else(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 10);
    scoped_free char *data = partial_rel(&sample.key, "");
    scoped_free char *path = path_join(fixture->dir, data);
    struct partial *partial = partial_of(fixture->store, &sample);

    assert_int_equal(fill(partial, &sample, 0, SIZE), 0);
    assert_int_equal(truncate(path, MIB), 0);
    assert_int_equal(check(partial, &sample, 2 * MIB, 10), -EIO);
    assert_int_equal(commit(partial), -EBADMSG);
    partial_put(partial);
    assert_int_equal(get(fixture->store, &sample.key), -ENOENT);

    leave(fixture, &sample);
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(truncate(path, MIB), 0);
    assert_int_equal(check(partial, &sample, 2 * MIB, 10), -EAGAIN);
    assert_int_equal(check(partial, &sample, 0, MIB), 0);
    partial_put(partial);
}

/* --- strangers --- */

enum stranger { SYMLINK, HARD_LINK, FIFO, DIRECTORY, OTHER_OWNER, STRANGERS };

/* Puts one where something of ours is, holding the same bytes where it can. */
static void replace_by(enum stranger stranger, const struct fixture *fixture, const char *path)
{
    scoped_free char *outside = path_join(fixture->dir, "outside");

    unlink(outside);
    switch (stranger) {
    case SYMLINK:
        assert_int_equal(rename(path, outside), 0);
        assert_int_equal(symlink(outside, path), 0);
        break;
    case HARD_LINK: assert_int_equal(link(path, outside), 0); break;
    case FIFO:
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkfifo(path, 0600), 0);
        break;
    case DIRECTORY:
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0700), 0);
        break;
    default: assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
    }
}

static void strangers_are_never_opened_as_ours(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 11);
    const char *const suffixes[] = {"", ".map"};

    for (int i = 0; i < 2 * STRANGERS; i++) {
        enum stranger stranger = (enum stranger)(i / 2);
        scoped_free char *rel = partial_rel(&sample.key, suffixes[i % 2]);
        scoped_free char *path = path_join(fixture->dir, rel);
        struct store *reader = NULL;
        struct partial *partial = NULL;

        if (stranger == OTHER_OWNER && geteuid() != 0)
            continue;
        leave(fixture, &sample);
        replace_by(stranger, fixture, path);
        scoped_free char *before = file_read(fixture->dir, "outside", NULL);

        assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
        assert_int_equal(partial_find(reader, &sample.key, &partial), -ENOENT);
        store_close(reader);
        assert_int_equal(partial_find(fixture->store, &sample.key, &partial), -ENOENT);
        partial = partial_of(fixture->store, &sample);
        assert_int_equal(partial_bytes(partial), 0);
        assert_int_equal(complete(partial, &sample), 0);
        partial_put(partial);
        assert_stored(fixture->store, &sample);
        assert_int_equal(store_drop(fixture->store, &sample.key), 0);

        /* What they led to is as it was. */
        size_t size = 0;
        scoped_free char *after = file_read(fixture->dir, "outside", &size);

        assert_true((before == NULL) == (after == NULL));
        if (after)
            assert_memory_equal(before, after, size);
    }
}

/* --- sealed, but not published --- */

/* Died between fchmod and rename: whole, and read-only even for its owner. */
static void sealed_partial_is_taken_up(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 12);
    scoped_free char *data = partial_rel(&sample.key, "");
    scoped_free char *path = path_join(fixture->dir, data);
    struct partial *partial = partial_of(fixture->store, &sample);

    assert_int_equal(fill(partial, &sample, 0, SIZE), 0);
    partial_put(partial);
    assert_int_equal(chmod(path, 0400), 0);
    if (geteuid() == 0) {
        /* The superuser opens anything; be somebody else who owns all this. */
        store_close(fixture->store);
        fixture->store = NULL;
        scoped_free char *chown_all = NULL;

        assert_true(asprintf(&chown_all, "chown -R 12345 %s", fixture->dir) > 0);
        assert_int_equal(system(chown_all), 0);
        assert_int_equal(seteuid(12345), 0);
        assert_int_equal(store_open(fixture->dir, STORE_WRITER, &fixture->store), 0);
    }
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(partial_bytes(partial), SIZE);
    assert_int_equal(commit(partial), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
    store_close(fixture->store);
    fixture->store = NULL;
    assert_int_equal(seteuid(getuid()), 0);
}

/* --- failures and kills --- */

/* The bytes are written, their entry is not: nothing of it counts, and it can be done again. */
static void map_that_can_not_be_written(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 13);
    struct partial *partial = partial_of(fixture->store, &sample);

    assert_int_equal(fill(partial, &sample, 0, 1000), 0);
    spy.fail_map = EIO;
    assert_int_equal(fill(partial, &sample, 1000, 1001), -EIO);
    assert_int_equal(fill(partial, &sample, 2 * MIB, 1001), -EIO);
    assert_int_equal(partial_set_tag(partial, "tag"), -EIO);
    spy.fail_map = 0;
    assert_string_equal(partial_tag(partial), "");
    assert_int_equal(partial_bytes(partial), 1000);
    assert_int_equal(used(fixture->store), 1000);
    assert_int_equal(check(partial, &sample, 0, 1001), -EAGAIN);
    assert_int_equal(complete(partial, &sample), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
}

/* By block, in memory that outlives the child: how much of it partial_write has said yes to. */
static uint64_t *acknowledged;

/* Writes of odd sizes all over the blob, a put and a tag in between, until it is whole. */
static void work(const char *dir, const struct sample *sample, int kill_at)
{
    struct store *store = NULL;
    struct partial *partial = NULL;
    uint32_t x = 12345;

    if (store_open(dir, STORE_WRITER, &store) < 0 ||
        partial_begin(store, &sample->key, &partial) < 0)
        _exit(1);
    spy.kill_at = kill_at;
    spy.writes = 0;
    while (partial_bytes(partial) < sample->key.size) {
        x = x * 1664525 + 1013904223;
        uint32_t block = (x >> 8) % partial_blocks(partial);
        uint64_t at = block * MIB + partial_filled(partial, block);
        uint64_t end = (block + 1) * MIB < sample->key.size ? (block + 1) * MIB : sample->key.size;
        uint64_t size = 1 + (x >> 3) % 150000;

        if (fill(partial, sample, at, end - at < size ? end - at : size) == 0)
            acknowledged[block] = partial_filled(partial, block);
        if (x % 7 == 0) {
            partial_put(partial);
            if (partial_begin(store, &sample->key, &partial) < 0)
                _exit(2);
        }
        if (x % 11 == 0)
            partial_set_tag(partial, "\"tag\"");
    }
    while (partial_commit(partial) == -EINPROGRESS)
        ;
    partial_put(partial);
    store_close(store);
    _exit(0);
}

/* Kills it at its n-th write; false when there were fewer. */
static bool kill_at(const char *dir, const struct sample *sample, int n)
{
    int status = 0;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child == 0)
        work(dir, sample, n);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return true;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    return false;
}

/* Whatever is readable is right, nothing that was acknowledged is lost, and it can be completed. */
static void judge_what_is_left(struct fixture *fixture, const struct sample *sample)
{
    struct partial *partial = NULL;
    int r;

    assert_int_equal(store_open(fixture->dir, STORE_WRITER, &fixture->store), 0);
    r = partial_find(fixture->store, &sample->key, &partial);
    assert_true(r == 0 || r == -ENOENT);
    for (uint32_t i = 0; i < 4 && !store_holds(fixture->store, &sample->key); i++) {
        uint64_t filled = r == 0 ? partial_filled(partial, i) : 0;

        assert_true(filled >= acknowledged[i]);
        acknowledged[i] = 0;
        if (r < 0)
            continue;
        assert_int_equal(check(partial, sample, i * MIB, filled), 0);
    }
    partial_put(partial);
    partial = partial_of(fixture->store, sample);
    assert_int_equal(complete(partial, sample), 0);
    partial_put(partial);
    assert_stored(fixture->store, sample);
    assert_int_equal(store_drop(fixture->store, &sample->key), 0);
    memset(acknowledged, 0, 4 * sizeof(*acknowledged));
    store_close(fixture->store);
    fixture->store = NULL;
}

static void killed_at_every_write(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 14);
    int kills = 0;

    acknowledged = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(acknowledged != MAP_FAILED);
    store_close(fixture->store);
    fixture->store = NULL;
    while (kill_at(fixture->dir, &sample, kills + 1)) {
        kills++;
        judge_what_is_left(fixture, &sample);
    }
    print_message("          %d kills\n", kills);
    assert_true(kills > 50);
    munmap(acknowledged, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(waits_on_disk),
        fixture_test(one_block),
        fixture_test(flipped_bit_in_the_data),
        fixture_test(damage_is_not_continued),
        fixture_test(rot_below_the_digest),
        fixture_test(slow_reader),
        fixture_test(damaged_map),
        fixture_test(map_of_something_else),
        fixture_test(data_without_map_and_map_without_data),
        fixture_test(cut_by_somebody_else),
        fixture_test(strangers_are_never_opened_as_ours),
        fixture_test(sealed_partial_is_taken_up),
        fixture_test(map_that_can_not_be_written),
        fixture_test(killed_at_every_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
