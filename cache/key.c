/* SPDX-License-Identifier: MIT */
/* key.c - one spelling per key.
 *
 * The parser reads nothing that the formatter would not write: it takes the text apart loosely,
 * formats what it found and compares. So two texts never mean one key, a file name is a key or it
 * is not, and no rule about zeros, signs or letter case has to be written twice. */
#include "cache/key.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *kind_prefix(enum blob_kind kind)
{
    switch (kind) {
    case BLOB_MD5: return "md5-";
    case BLOB_XXH: return "xxh-";
    default: return "nil-";
    }
}

bool blob_key_equal(const struct blob_key *a, const struct blob_key *b)
{
    return a->kind != BLOB_NONE && blob_key_compare(a, b) == 0;
}

int blob_key_compare(const struct blob_key *a, const struct blob_key *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;

    int order = memcmp(a->digest, b->digest, BLOB_DIGEST_SIZE);

    if (order != 0)
        return order;
    return (a->size > b->size) - (a->size < b->size);
}

/* The digest is well mixed already, but only among keys of one kind and size; the two multiplies
 * (the finalizer of MurmurHash3) spread those as well. Bytes are read one by one, since the answer
 * must not depend on the machine's byte order. */
uint64_t blob_key_hash(const struct blob_key *key)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < 8; i++)
        bits |= (uint64_t)key->digest[i] << (8 * i);
    bits ^= key->size * UINT64_C(0x9e3779b97f4a7c15);
    bits ^= (uint64_t)key->kind << 62;
    bits = (bits ^ bits >> 33) * UINT64_C(0xff51afd7ed558ccd);
    bits = (bits ^ bits >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return bits ^ bits >> 33;
}

/* Written by hand: it is done for each blob at each start, and printf takes ten times as long. */
void blob_key_format(const struct blob_key *key, char ret_text[static BLOB_KEY_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char number[20];
    uint64_t rest = key->size;
    size_t count = 0;
    char *at = stpcpy(ret_text, kind_prefix(key->kind));

    for (size_t i = 0; i < BLOB_DIGEST_SIZE; i++) {
        *at++ = digits[key->digest[i] >> 4];
        *at++ = digits[key->digest[i] & 15];
    }
    *at++ = '-';
    do {
        number[count++] = digits[rest % 10];
        rest /= 10;
    } while (rest > 0);
    while (count > 0)
        *at++ = number[--count];
    *at = '\0';
}

/* One more than the digit's value; 0: no digit. */
static const uint8_t hex_values[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

static int hex_value(char c)
{
    return hex_values[(uint8_t)c] - 1;
}

/* Reads 32 hex digits of either case; stops at the first character that is none, so that a text
 * which is too short is never read past its end. */
static int parse_digest(const char *hex, uint8_t ret_digest[static BLOB_DIGEST_SIZE])
{
    for (size_t i = 0; i < BLOB_DIGEST_SIZE; i++) {
        int high = hex_value(hex[2 * i]);
        int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);

        if (low < 0)
            return -EINVAL;
        ret_digest[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int blob_key_parse(const char *text, struct blob_key *ret_key)
{
    struct blob_key key = {0};
    char again[BLOB_KEY_TEXT_SIZE];

    for (enum blob_kind kind = BLOB_MD5; kind <= BLOB_XXH; kind++) {
        if (strncmp(text, kind_prefix(kind), 4) == 0)
            key.kind = kind;
    }
    if (key.kind == BLOB_NONE || parse_digest(text + 4, key.digest) < 0)
        return -EINVAL;
    if (text[4 + 2 * BLOB_DIGEST_SIZE] != '-')
        return -EINVAL;
    key.size = strtoull(text + 5 + 2 * BLOB_DIGEST_SIZE, NULL, 10);

    /* Whatever strtoull was too kind about does not come back the same. */
    blob_key_format(&key, again);
    if (strcmp(text, again) != 0)
        return -EINVAL;
    *ret_key = key;
    return 0;
}

int blob_key_from_md5(const char *hex, uint64_t size, struct blob_key *ret_key)
{
    struct blob_key key = {.kind = BLOB_MD5, .size = size};

    if (parse_digest(hex, key.digest) < 0 || hex[2 * BLOB_DIGEST_SIZE] != '\0')
        return -EINVAL;
    *ret_key = key;
    return 0;
}
