/* SPDX-License-Identifier: MIT */
/* signed.h - the signed addresses of one manifest, by the bytes that are there.
 *
 * A server may have copied tables to an object store, and then signs an address for each: whoever has
 * that needs no token, until it expires (contract 2). So they are secrets, kept in memory only, and no
 * part of a tree: they are other ones in every manifest, with the same content.
 *
 *     signed_urls_new(manifest) -> signed_urls_find, for each request -> signed_urls_free
 *
 * Immutable. When one expires is counted from when the manifest was asked for, by the server's own
 * two times: whose clock is wrong does not matter. Errors: -ENOMEM. */
#pragma once

#include "sync/manifest.h"

/* A request that begins later than this before the end may come too late. */
#define SIGNED_MARGIN_MS 30000

struct signed_urls;

/* Of a clock that goes on while the machine sleeps. */
int64_t signed_now_ms(void);

int signed_urls_new(const struct manifest *manifest, int64_t asked_ms,
                    struct signed_urls **ret_urls);
void signed_urls_free(struct signed_urls *urls); /* NULL is allowed */

/* NULL: none, or not any more: then *ret_over is true. It lives as long as urls. */
const char *signed_urls_find(const struct signed_urls *urls, const struct blob_key *key,
                             int64_t now_ms, bool *ret_over);
