/* SPDX-License-Identifier: MIT */
/* digest.c - the only file that knows OpenSSL and xxHash.
 *
 * MD5 goes first and may fail; XXH3 and the byte count follow and can not. So after a failed
 * update the XXH3 and the size still describe the same stream, and the MD5 matches nothing, which
 * is the safe way to be wrong.
 *
 * digest_sums finishes a copy of the MD5 state, never the state itself: a download is asked for
 * its sums when it pauses and goes on afterwards. */
#include "cache/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "cache/scoped.h"

/* What digest_update_file reads at once; more gains nothing. */
#define READ_SIZE ((size_t)256 * 1024)

struct digest {
    EVP_MD *algorithm; /* NULL: XXH3 alone */
    EVP_MD_CTX *md5;
    XXH3_state_t *xxh;
    uint64_t size;
};

static void md5_copy_freep(EVP_MD_CTX *const *context)
{
    EVP_MD_CTX_free(*context);
}

void digest_free(struct digest *digest)
{
    if (!digest)
        return;
    EVP_MD_CTX_free(digest->md5);
    EVP_MD_free(digest->algorithm);
    XXH3_freeState(digest->xxh);
    free(digest);
}

void digest_freep(struct digest *const *digest)
{
    digest_free(*digest);
}

int digest_new_xxh(struct digest **ret_digest)
{
    scoped(digest_freep) struct digest *digest = calloc(1, sizeof(*digest));

    if (!digest)
        return -ENOMEM;
    digest->xxh = XXH3_createState();
    if (!digest->xxh)
        return -ENOMEM;

    int r = digest_reset(digest);

    if (r < 0)
        return r;
    *ret_digest = take_ptr(digest);
    return 0;
}

int digest_new(struct digest **ret_digest)
{
    scoped(digest_freep) struct digest *digest = NULL;
    int r = digest_new_xxh(&digest);

    if (r < 0)
        return r;
    digest->md5 = EVP_MD_CTX_new();
    if (!digest->md5)
        return -ENOMEM;

    /* Fetched rather than EVP_md5(), which under a FIPS policy gives an algorithm that fails
     * later, in the middle of a download. */
    digest->algorithm = EVP_MD_fetch(NULL, "MD5", NULL);
    if (!digest->algorithm)
        return -ENOTSUP;
    r = digest_reset(digest);
    if (r < 0)
        return r;
    *ret_digest = take_ptr(digest);
    return 0;
}

int digest_reset(struct digest *digest)
{
    if (digest->algorithm && EVP_DigestInit_ex2(digest->md5, digest->algorithm, NULL) != 1)
        return -ENOTSUP;
    XXH3_128bits_reset(digest->xxh);
    digest->size = 0;
    return 0;
}

int digest_update(struct digest *digest, const void *data, size_t size)
{
    if (size == 0)
        return 0;
    if (digest->algorithm && EVP_DigestUpdate(digest->md5, data, size) != 1)
        return -EIO;
    XXH3_128bits_update(digest->xxh, data, size);
    digest->size += size;
    return 0;
}

/* xxHash's canonical form: the bytes in the order in which everybody prints them. */
static void xxh_bytes(XXH128_hash_t hash, uint8_t ret_bytes[static BLOB_DIGEST_SIZE])
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, hash);
    memcpy(ret_bytes, canonical.digest, BLOB_DIGEST_SIZE);
}

int digest_sums(const struct digest *digest, struct digest_sums *ret_sums)
{
    struct digest_sums sums = {.size = digest->size};

    xxh_bytes(XXH3_128bits_digest(digest->xxh), sums.xxh);
    if (digest->algorithm) {
        scoped(md5_copy_freep) EVP_MD_CTX *copy = EVP_MD_CTX_new();

        if (!copy || EVP_MD_CTX_copy_ex(copy, digest->md5) != 1)
            return -ENOMEM;
        if (EVP_DigestFinal_ex(copy, sums.md5, NULL) != 1)
            return -EIO;
        sums.has_md5 = true;
    }
    *ret_sums = sums;
    return 0;
}

int digest_update_file(struct digest *digest, int fd, uint64_t offset, uint64_t size)
{
    scoped_free uint8_t *buffer = malloc(READ_SIZE);

    if (!buffer)
        return -ENOMEM;
    while (size > 0) {
        size_t wanted = size < READ_SIZE ? (size_t)size : READ_SIZE;
        ssize_t n = pread(fd, buffer, wanted, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? negative_errno() : -EIO;

        int r = digest_update(digest, buffer, (size_t)n);

        if (r < 0)
            return r;
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return 0;
}

bool digest_matches(const struct digest_sums *sums, const struct blob_key *key)
{
    if (sums->size != key->size)
        return false;
    switch (key->kind) {
    case BLOB_MD5: return sums->has_md5 && memcmp(sums->md5, key->digest, BLOB_DIGEST_SIZE) == 0;
    case BLOB_XXH: return memcmp(sums->xxh, key->digest, BLOB_DIGEST_SIZE) == 0;
    default: return false;
    }
}

/* --- sums of blocks --- */

struct checksum {
    XXH3_state_t *state;
};

int checksum_new(struct checksum **ret_checksum)
{
    scoped_free struct checksum *checksum = calloc(1, sizeof(*checksum));

    if (!checksum)
        return -ENOMEM;
    checksum->state = XXH3_createState();
    if (!checksum->state)
        return -ENOMEM;
    checksum_reset(checksum);
    *ret_checksum = take_ptr(checksum);
    return 0;
}

void checksum_free(struct checksum *checksum)
{
    if (!checksum)
        return;
    XXH3_freeState(checksum->state);
    free(checksum);
}

void checksum_reset(struct checksum *checksum)
{
    XXH3_64bits_reset(checksum->state);
}

void checksum_update(struct checksum *checksum, const void *data, size_t size)
{
    XXH3_64bits_update(checksum->state, data, size);
}

uint64_t checksum_value(const struct checksum *checksum)
{
    return XXH3_64bits_digest(checksum->state);
}

uint64_t checksum_of(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

/* Declared in key.h; it lives here because xxHash does. */
void blob_key_of_bytes(const void *bytes, size_t size, struct blob_key *ret_key)
{
    struct blob_key key = {.kind = BLOB_XXH, .size = size};

    xxh_bytes(XXH3_128bits(bytes, size), key.digest);
    *ret_key = key;
}

void digest_versions(char ret_openssl[static DIGEST_VERSION_SIZE],
                     char ret_xxhash[static DIGEST_VERSION_SIZE])
{
    unsigned version = XXH_versionNumber();

    snprintf(ret_openssl, DIGEST_VERSION_SIZE, "%s", OpenSSL_version(OPENSSL_VERSION_STRING));
    snprintf(ret_xxhash, DIGEST_VERSION_SIZE, "%u.%u.%u", version / 10000, version / 100 % 100,
             version % 100);
}
