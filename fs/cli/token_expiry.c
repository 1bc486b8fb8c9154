/* SPDX-License-Identifier: MIT */
#include "fs/cli/token_expiry.h"

#include <openssl/evp.h>
#include <stddef.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/json.h"

enum { CLAIMS_MAX = 16 << 10 };

/* base64url without padding as base64 with it; a multiple of 4 characters. NULL without memory. */
static char *to_base64(const char *text, size_t size)
{
    size_t padded = (size + 3) / 4 * 4;
    char *base64 = malloc(padded + 1);

    if (!base64)
        return NULL;
    for (size_t i = 0; i < padded; i++) {
        char c = i < size ? text[i] : '=';

        base64[i] = c == '-' ? '+' : c == '_' ? '/' : c;
    }
    base64[padded] = '\0';
    return base64;
}

uint64_t token_expiry(const char *token)
{
    static const struct json_limits limits = {.bytes = CLAIMS_MAX, .depth = 8};
    const char *start = strchr(token, '.');
    size_t size = start ? strcspn(start + 1, ".") : 0;
    scoped_free char *base64 = NULL;
    scoped_free char *claims = NULL;
    scoped(json_freep) struct json *root = NULL;
    struct json_error error;
    uint64_t expiry;
    int decoded;

    if (size == 0 || size > CLAIMS_MAX || start[1 + size] != '.')
        return 0;
    base64 = to_base64(start + 1, size);
    claims = malloc(CLAIMS_MAX);
    if (!base64 || !claims)
        return 0;
    decoded = EVP_DecodeBlock((unsigned char *)claims, (const unsigned char *)base64,
                              (int)strlen(base64));
    if (decoded < 0)
        return 0;
    /* It counts the padding as bytes. */
    size = (size_t)decoded - (strlen(base64) - size);
    if (json_parse(claims, size, &limits, &root, &error) < 0 ||
        json_u64(json_get(root, "exp"), &expiry) < 0)
        return 0;
    return expiry;
}
