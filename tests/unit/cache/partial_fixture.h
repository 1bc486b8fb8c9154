/* SPDX-License-Identifier: MIT */
/* partial_fixture.h - blobs large enough to have blocks, and what tests do with parts of them. */
#pragma once

#include "cache/budget.h"
#include "cache/partial.h"
#include "tests/unit/cache/fixture.h"

#define KIB ((uint64_t)1024)
#define MIB ((uint64_t)1024 * 1024)

struct sample {
    struct blob_key key;
    uint8_t *bytes;
};

/* Bytes that differ everywhere and are the same in every run. */
static inline struct sample sample_new(uint64_t size, uint32_t seed)
{
    struct sample sample = {.bytes = malloc(size + 1)};
    uint32_t x = seed * 2654435761u + 1;

    for (uint64_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        sample.bytes[i] = (uint8_t)x;
    }
    sample.key = md5_key(sample.bytes, size);
    return sample;
}

static inline void sample_free(const struct sample *sample)
{
    free(sample->bytes);
}

#define scoped_sample scoped(sample_free) const struct sample

static inline struct partial *partial_of(struct store *store, const struct sample *sample)
{
    struct partial *partial = NULL;

    assert_int_equal(partial_begin(store, &sample->key, &partial), 0);
    return partial;
}

static inline int fill(struct partial *partial, const struct sample *sample, uint64_t offset,
                       uint64_t size)
{
    int r = partial_write(partial, offset, sample->bytes + offset, size);

    if (r == 0)
        partial_hash(partial, offset, sample->bytes + offset, size);
    return r;
}

/* partial_read, and when it says that it has read: are these the bytes? */
static inline int check(struct partial *partial, const struct sample *sample, uint64_t offset,
                        uint64_t size)
{
    scoped_free uint8_t *buffer = malloc(size + 1);

    memset(buffer, 0xee, size + 1);
    int r = partial_read(partial, buffer, size, offset);

    if (r == 0)
        assert_memory_equal(buffer, sample->bytes + offset, size);
    assert_int_equal(buffer[size], 0xee);
    return r;
}

static inline int commit(struct partial *partial)
{
    int r;

    do
        r = partial_commit(partial);
    while (r == -EINPROGRESS);
    return r;
}

/* The blob, byte by byte. */
static inline void assert_stored(struct store *store, const struct sample *sample)
{
    scoped_free uint8_t *buffer = malloc(sample->key.size + 1);
    scoped_fd int fd = -1;

    assert_int_equal(store_get(store, &sample->key, &fd), 0);
    assert_int_equal(pread(fd, buffer, sample->key.size + 1, 0), sample->key.size);
    assert_memory_equal(buffer, sample->bytes, sample->key.size);
}

/* Changes bytes of a file below the root. */
static inline void poke(const struct fixture *fixture, const char *rel, uint64_t offset,
                        const void *data, size_t size)
{
    scoped_free char *path = path_join(fixture->dir, rel);
    scoped_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, size, (off_t)offset), size);
}

/* Flips one bit. */
static inline void flip(const struct fixture *fixture, const char *rel, uint64_t offset)
{
    scoped_free char *path = path_join(fixture->dir, rel);
    scoped_fd int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte = 0;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
}

static inline uint64_t used(struct store *store)
{
    struct budget_facts facts;

    store_budget(store, &facts);
    return facts.used;
}
