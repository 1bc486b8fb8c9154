/* SPDX-License-Identifier: MIT */
/* How bytes get to the disk and into the digest: past the page cache where that can be had, and hashed
 * beside being written. Which way they went is seen in the system calls. */
#include <sys/syscall.h>

#include "tests/unit/cache/partial_fixture.h"

#define BLOCKS 6
#define SIZE (BLOCKS * MIB + 700 * KIB)

static struct {
    _Atomic uint64_t direct; /* bytes */
    _Atomic uint64_t buffered;
    _Atomic uint64_t read;
    bool no_open;      /* the file system does not know O_DIRECT */
    int fail;          /* of direct writes */
    unsigned refusals; /* how often one failed */
    int played;        /* as if it were direct, where the temporary folder knows no O_DIRECT */
} spy;

static bool is_direct(int fd)
{
    return fd == spy.played || (fcntl(fd, F_GETFL) & O_DIRECT) != 0;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (size < KIB) /* the map's */
        return syscall(SYS_pwrite64, fd, data, size, offset);
    if (is_direct(fd) && spy.fail) {
        spy.refusals++;
        errno = spy.fail;
        return -1;
    }
    *(is_direct(fd) ? &spy.direct : &spy.buffered) += size;
    return syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    spy.read += size;
    return syscall(SYS_pread64, fd, data, size, offset);
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list rest;

    va_start(rest, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;

    va_end(rest);
    if ((flags & O_DIRECT) != 0 && spy.no_open) {
        errno = EINVAL;
        return -1;
    }
    int fd = (int)syscall(SYS_openat, dir, path, flags, mode);

    if (fd < 0 && (flags & O_DIRECT) != 0 && errno == EINVAL)
        fd = spy.played = (int)syscall(SYS_openat, dir, path, flags & ~O_DIRECT, mode);
    return fd;
}

static void forget(void)
{
    spy.direct = spy.buffered = spy.read = 0;
    spy.refusals = 0;
}

static int set_up(void **state)
{
    spy.no_open = false;
    spy.fail = 0;
    spy.played = -1;
    int r = fixture_setup(state);

    forget();
    return r;
}

/* A copy that begins `off` bytes behind a page's beginning. */
static uint8_t *copy_at(const struct sample *sample, size_t off, void **ret_memory)
{
    size_t room = (size_t)sample->key.size + PARTIAL_ALIGN;

    *ret_memory = aligned_alloc(PARTIAL_ALIGN,
                                room / PARTIAL_ALIGN * PARTIAL_ALIGN + PARTIAL_ALIGN);
    assert_non_null(*ret_memory);
    return memcpy((uint8_t *)*ret_memory + off, sample->bytes, (size_t)sample->key.size);
}

static void fill_direct(struct partial *partial, const uint8_t *bytes, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to; at += MIB) {
        uint64_t size = to - at < MIB ? to - at : MIB;

        assert_int_equal(partial_write_direct(partial, at, bytes + at, size), 0);
        partial_hash(partial, at, bytes + at, size);
    }
}

/* --- past the page cache --- */

static void whole_blocks_go_past_the_page_cache(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE - 1, 31);
    scoped_free void *memory = NULL;
    const uint8_t *bytes = copy_at(&sample, 0, &memory);
    struct partial *partial = partial_of(fixture->store, &sample);

    fill_direct(partial, bytes, 0, SIZE - 1);
    assert_int_equal(spy.direct, BLOCKS * MIB);
    assert_int_equal(spy.buffered, 700 * KIB - 1);
    assert_int_equal(check(partial, &sample, 0, SIZE - 1), 0);
    spy.read = 0;
    assert_int_equal(commit(partial), 0);
    assert_int_equal(spy.read, 0); /* hashed along */
    partial_put(partial);
    assert_stored(fixture->store, &sample);
    assert_int_equal(store_verify(fixture->store, &sample.key), 0);
}

static void what_is_not_aligned_does_not(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 32);
    scoped_free void *memory = NULL;
    const uint8_t *bytes = copy_at(&sample, 8, &memory);
    struct partial *partial = partial_of(fixture->store, &sample);

    fill_direct(partial, bytes, 0, MIB);
    assert_int_equal(partial_write_direct(partial, MIB, bytes + MIB, 100), 0);
    assert_int_equal(partial_write_direct(partial, MIB + 100, bytes + MIB + 100, MIB - 100), 0);
    fill_direct(partial, bytes, 2 * MIB, SIZE);
    assert_int_equal(spy.direct, 0);
    assert_int_equal(commit(partial), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
}

static void what_somebody_waits_for_does_not(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 33);
    scoped_free void *memory = NULL;
    const uint8_t *bytes = copy_at(&sample, 0, &memory);
    struct partial *partial = partial_of(fixture->store, &sample);

    assert_int_equal(partial_write(partial, 0, bytes, MIB), 0);
    assert_int_equal(spy.direct, 0);
    fill_direct(partial, bytes, MIB, SIZE);
    assert_int_equal(spy.buffered, MIB);
    assert_int_equal(commit(partial), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
}

static void a_file_system_that_can_not_is_asked_once(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 34);
    scoped_free void *memory = NULL;
    const uint8_t *bytes = copy_at(&sample, 0, &memory);

    for (int way = 0; way < 2; way++) {
        struct partial *partial = partial_of(fixture->store, &sample);

        forget();
        spy.no_open = way == 0;
        spy.fail = EINVAL;
        fill_direct(partial, bytes, 0, SIZE);
        assert_int_equal(spy.direct, 0);
        assert_int_equal(spy.buffered, SIZE);
        assert_int_equal(spy.refusals, way);
        assert_int_equal(commit(partial), 0);
        partial_put(partial);
        assert_stored(fixture->store, &sample);
        assert_int_equal(store_drop(fixture->store, &sample.key), 0);
    }
}

static void an_error_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 35);
    scoped_free void *memory = NULL;
    const uint8_t *bytes = copy_at(&sample, 0, &memory);
    struct partial *partial = partial_of(fixture->store, &sample);
    uint64_t before = used(fixture->store);

    spy.fail = EIO;
    assert_int_equal(partial_write_direct(partial, 0, bytes, MIB), -EIO);
    assert_int_equal(spy.buffered, 0);
    assert_int_equal(partial_bytes(partial), 0);
    assert_int_equal(used(fixture->store), before);
    assert_int_equal(check(partial, &sample, 0, 1), -EAGAIN);
    spy.fail = 0;
    fill_direct(partial, bytes, 0, SIZE);
    assert_int_equal(commit(partial), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
}

/* --- hashing beside writing, reading beside both --- */

struct beside {
    struct partial *partial;
    const struct sample *sample;
    const uint8_t *bytes;
    _Atomic uint64_t written;
    _Atomic uint64_t wrong;
};

static void *hash_beside(void *arg)
{
    struct beside *beside = arg;

    for (uint64_t at = 0; at < SIZE; at += MIB) {
        uint64_t size = SIZE - at < MIB ? SIZE - at : MIB;

        while (beside->written < at + size)
            sched_yield();
        partial_hash(beside->partial, at, beside->bytes + at, size);
    }
    return NULL;
}

/* Reads right up to what is written, so that the kernel reads ahead into what is not. */
static void *read_beside(void *arg)
{
    struct beside *beside = arg;
    scoped_free uint8_t *buffer = malloc(64 * KIB);

    for (uint64_t at = 0; at + 64 * KIB <= SIZE; at += 64 * KIB) {
        while (partial_read(beside->partial, buffer, 64 * KIB, at) == -EAGAIN)
            sched_yield();
        beside->wrong += memcmp(buffer, beside->bytes + at, 64 * KIB) != 0;
    }
    return NULL;
}

static void readers_and_hashing_go_along(void **state)
{
    struct fixture *fixture = *state;

    for (uint32_t round = 0; round < 8; round++) {
        scoped_sample sample = sample_new(SIZE, 40 + round);
        scoped_free void *memory = NULL;
        struct beside beside = {.sample = &sample, .bytes = copy_at(&sample, 0, &memory)};
        pthread_t reader;
        pthread_t hasher;

        beside.partial = partial_of(fixture->store, &sample);
        assert_int_equal(pthread_create(&reader, NULL, read_beside, &beside), 0);
        assert_int_equal(pthread_create(&hasher, NULL, hash_beside, &beside), 0);
        for (uint64_t at = 0; at < SIZE; at += MIB) {
            uint64_t size = SIZE - at < MIB ? SIZE - at : MIB;

            assert_int_equal(partial_write_direct(beside.partial, at, beside.bytes + at, size), 0);
            beside.written = at + size;
        }
        pthread_join(reader, NULL);
        pthread_join(hasher, NULL);
        assert_int_equal(beside.wrong, 0);
        spy.read = 0;
        assert_int_equal(commit(beside.partial), 0);
        assert_int_equal(spy.read, 0);
        partial_put(beside.partial);
        assert_stored(fixture->store, &sample);
    }
}

static void what_was_not_hashed_is_read_back(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 50);
    struct partial *partial = partial_of(fixture->store, &sample);

    assert_int_equal(fill(partial, &sample, 0, 2 * MIB), 0);
    assert_int_equal(partial_write(partial, 2 * MIB, sample.bytes + 2 * MIB, MIB), 0);
    assert_int_equal(fill(partial, &sample, 3 * MIB, SIZE - 3 * MIB), 0);
    spy.read = 0;
    assert_int_equal(commit(partial), 0);
    assert_int_equal(spy.read, SIZE - 2 * MIB);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
}

static void what_was_hashed_has_the_last_word(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 51);
    scoped_sample other = sample_new(SIZE, 52);
    struct partial *partial = partial_of(fixture->store, &sample);

    assert_int_equal(partial_write(partial, 0, sample.bytes, SIZE), 0);
    partial_hash(partial, 0, other.bytes, SIZE);
    assert_int_equal(commit(partial), -EBADMSG);
    partial_put(partial);
    assert_int_equal(get(fixture->store, &sample.key), -ENOENT);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(whole_blocks_go_past_the_page_cache),
        test(what_is_not_aligned_does_not),
        test(what_somebody_waits_for_does_not),
        test(a_file_system_that_can_not_is_asked_once),
        test(an_error_is_an_error),
        test(readers_and_hashing_go_along),
        test(what_was_not_hashed_is_read_back),
        test(what_was_hashed_has_the_last_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
