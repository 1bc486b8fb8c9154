/* SPDX-License-Identifier: MIT */
/* digest.h - MD5 and XXH3-128 of a stream in one pass.
 *
 *     digest_new -> digest_update... -> digest_sums (any time, any number of times) -> digest_free
 *
 * MD5 is what the manifest promises; it runs at about 0.7 GB/s a core and is paid once, on the way
 * in. XXH3 comes along almost for nothing and is what later checks compare.
 * Not thread-safe; one owner. Errors: -ENOMEM, -ENOTSUP (a crypto policy that refuses MD5). */
#pragma once

#include "cache/key.h"

struct digest;

struct digest_sums {
    uint8_t md5[BLOB_DIGEST_SIZE];
    uint8_t xxh[BLOB_DIGEST_SIZE];
    uint64_t size;
    bool has_md5; /* false: made by digest_new_xxh, and fits no md5 key */
};

int digest_new(struct digest **ret_digest);

/* XXH3 alone, several times as fast: for the second look at bytes whose XXH3 is on record. */
int digest_new_xxh(struct digest **ret_digest);

void digest_free(struct digest *digest);
void digest_freep(struct digest *const *digest);

/* Back to the empty stream. */
int digest_reset(struct digest *digest);

int digest_update(struct digest *digest, const void *data, size_t size);

int digest_sums(const struct digest *digest, struct digest_sums *ret_sums);

/* Feeds size bytes of fd from offset on. -EIO when the file ends early, else errno of the read. */
int digest_update_file(struct digest *digest, int fd, uint64_t offset, uint64_t size);

/* Does this sum fit this key: digest of the key's kind, and size? */
bool digest_matches(const struct digest_sums *sums, const struct blob_key *key);

#define DIGEST_VERSION_SIZE 32

/* The libraries that do it, as they are at run time: "3.0.17". */
void digest_versions(char ret_openssl[static DIGEST_VERSION_SIZE],
                     char ret_xxhash[static DIGEST_VERSION_SIZE]);

/* XXH3-64 of a stream: what a partial's map says of each block. It can not fail once it is made. */
struct checksum;

int checksum_new(struct checksum **ret_checksum);
void checksum_free(struct checksum *checksum);
void checksum_reset(struct checksum *checksum);
void checksum_update(struct checksum *checksum, const void *data, size_t size);
uint64_t checksum_value(const struct checksum *checksum);

/* The same of bytes in memory. */
uint64_t checksum_of(const void *data, size_t size);
