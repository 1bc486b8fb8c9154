/* SPDX-License-Identifier: MIT */
/* digest_page.h - a digest as people and agents read it.
 *
 * The server sends {"id", "slug", "title", "output_md", "status", "status_reason", "generated_at"}
 * (contract 1.5). What is kept is a Markdown page: the title, then when it was made and, if the
 * server could not make it anew since its sources changed, that it is stale and why, then output_md
 * as it is:
 *
 *     # Weekly
 *
 *     _A digest that the Agnes server maintains. Generated 2026-08-22T10:00:00, status fresh._
 *
 *     > **STALE**: the model did not answer. What follows is the last one that could be made.
 *
 * A page that was made already, as a static stack may have it (manifest_write.h), is taken as it is:
 * it begins like the one above, which no JSON does.
 *
 * Pure: the same document gives the same bytes, which is what its key rests on. Errors: -EPROTO no
 * such document, or one with nothing in it; -ENOMEM. */
#pragma once

#include <stddef.h>

#define DIGEST_DOCUMENT_MAX ((size_t)16 << 20)

/* ret_page: malloc'd, UTF-8 without NUL. */
int digest_page_make(const char *document, size_t size, char **ret_page, size_t *ret_size);
