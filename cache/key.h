/* SPDX-License-Identifier: MIT */
/* key.h - the name of bytes.
 *
 * A key says what a blob is, never where it came from or what people call it:
 *
 *     md5-<32 hex>-<size>   bytes whose MD5 the manifest gave (tables, parts)
 *     xxh-<32 hex>-<size>   bytes that we named ourselves by XXH3-128 (bundles, rows without md5)
 *
 * The size belongs to the key: one digest with two sizes is two keys, of which at most one can
 * ever be filled. MD5 and XXH3 find damage, not malice; trust comes from the transport and from
 * the origin that wrote the manifest, which is why a cache is never shared between origins.
 *
 * Value type: copy it, compare it, keep it. All functions are pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum blob_kind {
    BLOB_NONE = 0, /* an empty key; equal to nothing that exists */
    BLOB_MD5 = 1,
    BLOB_XXH = 2,
};

#define BLOB_DIGEST_SIZE 16

struct blob_key {
    uint8_t digest[BLOB_DIGEST_SIZE];
    uint64_t size;
    enum blob_kind kind;
};

/* Longest text: four characters, 32 hex, '-', 20 digits, NUL. */
#define BLOB_KEY_TEXT_SIZE 58

bool blob_key_equal(const struct blob_key *a, const struct blob_key *b);

/* Total order (kind, digest, size), for sorting and binary search. */
int blob_key_compare(const struct blob_key *a, const struct blob_key *b);

/* 64 well-mixed bits, the same on every machine and in every run. */
uint64_t blob_key_hash(const struct blob_key *key);

void blob_key_format(const struct blob_key *key, char ret_text[static BLOB_KEY_TEXT_SIZE]);

/* Accepts exactly what blob_key_format writes (lower case, no leading zeros). -EINVAL otherwise. */
int blob_key_parse(const char *text, struct blob_key *ret_key);

/* A key from 32 hex digits of either case. -EINVAL if hex is not exactly that. */
int blob_key_from_md5(const char *hex, uint64_t size, struct blob_key *ret_key);

/* The xxh key of bytes in memory. */
void blob_key_of_bytes(const void *bytes, size_t size, struct blob_key *ret_key);
