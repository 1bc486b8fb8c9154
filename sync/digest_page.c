/* SPDX-License-Identifier: MIT */
/* Why nothing in the first lines is the digest's own: what the server says beside output_md is
 * quoted, so a title or a reason can not pose as the line that says how old all of it is. */
#include "sync/digest_page.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "cache/text.h"
#include "sync/json.h"
#include "sync/json_text.h"
#include "sync/quote.h"

#define WORDS_MAX 500
#define DEPTH_MAX 32

#define MADE "\n\n_A digest that the Agnes server maintains. Generated "

static const char *word(const struct json *root, const char *key, const char *otherwise)
{
    const char *text = json_string(json_get(root, key));

    return text && *text ? text : otherwise;
}

static void put_page(FILE *out, const struct json *root, const char *body)
{
    const char *status = word(root, "status", "unknown");

    fputs("# ", out);
    quote_markdown(out, word(root, "title", word(root, "slug", "Digest")), WORDS_MAX);
    fputs(MADE, out);
    quote_markdown(out, word(root, "generated_at", "at a time it does not say"), WORDS_MAX);
    fputs(", status ", out);
    quote_markdown(out, status, WORDS_MAX);
    fputs("._\n\n", out);
    if (strcmp(status, "stale") == 0) {
        fputs("> **STALE**: ", out);
        quote_markdown(out, word(root, "status_reason", "it could not be made anew"), WORDS_MAX);
        fputs(". What follows is the last one that could be made.\n\n", out);
    }
    fputs(body, out);
    if (body[strlen(body) - 1] != '\n')
        putc('\n', out);
}

/* The title's line, then what every page says of itself. */
static bool is_page(const char *document, size_t size)
{
    const char *end = size > 2 && memcmp(document, "# ", 2) == 0 ? memchr(document, '\n', size)
                                                                 : NULL;
    size_t rest = end ? size - (size_t)(end - document) : 0;

    return rest > strlen(MADE) && memcmp(end, MADE, strlen(MADE)) == 0;
}

static bool is_text(const char *text, size_t size)
{
    size_t length = 1;

    for (size_t at = 0; length > 0 && at < size; at += length)
        length = text[at] ? json_text_utf8(text + at, size - at) : 0;
    return length > 0;
}

static int take_page(const char *page, size_t size, char **ret_page, size_t *ret_size)
{
    char *copy;

    if (size > DIGEST_DOCUMENT_MAX || !is_text(page, size))
        return -EPROTO;
    copy = malloc(size + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, page, size);
    copy[size] = '\0';
    *ret_page = copy;
    *ret_size = size;
    return 0;
}

int digest_page_make(const char *document, size_t size, char **ret_page, size_t *ret_size)
{
    static const struct json_limits limits = {.bytes = DIGEST_DOCUMENT_MAX, .depth = DEPTH_MAX};
    scoped(json_freep) struct json *root = NULL;
    struct json_error error;
    struct text *page;
    const char *body;
    int r;

    if (is_page(document, size))
        return take_page(document, size, ret_page, ret_size);
    r = json_parse(document, size, &limits, &root, &error);

    if (r < 0)
        return r;
    body = json_string(json_get(root, "output_md"));
    if (!body || !body[strspn(body, " \t\r\n")])
        return -EPROTO;
    r = text_open(&page);
    if (r < 0)
        return r;
    put_page(text_stream(page), root, body);
    return text_close(page, ret_page, ret_size);
}
