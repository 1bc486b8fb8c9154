/* SPDX-License-Identifier: MIT */
/* token_expiry.h - when a token ends, by its own word.
 *
 * Tokens of Agnes are JSON Web Tokens (RFC 7519): the second of three parts, in base64url, has the
 * claim "exp" in seconds since 1970. It can be read without the key, and is a hint, not a proof:
 * whether the token is good only the server knows. Pure. */
#pragma once

#include <stdint.h>

/* 0 when it does not say: another kind of token, or one without an end. */
uint64_t token_expiry(const char *token);
