/* SPDX-License-Identifier: MIT */
/* Why this stays within its bounds: a value is copied only by head_copy, which writes all of it or
 * nothing; numbers are digits only, at most 18 of them; and the byte counter is never reset between
 * blocks, so a flood of 1xx answers ends like a flood of headers. */
#include "sync/fetch_head.h"

#include <string.h>
#include <strings.h>

struct text {
    const char *start;
    size_t size;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct text text_trim(struct text text)
{
    while (text.size > 0 && is_blank(text.start[0])) {
        text.start++;
        text.size--;
    }
    while (text.size > 0 && is_blank(text.start[text.size - 1]))
        text.size--;
    return text;
}

static bool text_is(struct text text, const char *word)
{
    return text.size == strlen(word) && strncasecmp(text.start, word, text.size) == 0;
}

static void head_copy(struct text text, char *ret_field, size_t size)
{
    ret_field[0] = '\0';
    if (text.size >= size)
        return;
    for (size_t i = 0; i < text.size; i++) {
        if (text.start[i] < ' ' || text.start[i] > '~')
            return;
    }
    memcpy(ret_field, text.start, text.size);
    ret_field[text.size] = '\0';
}

/* Takes the digits off the front. -1 if there are none, or too many to be a size. */
static int64_t text_take_number(struct text *text)
{
    int64_t number = 0;
    size_t digits = 0;

    while (digits < text->size && text->start[digits] >= '0' && text->start[digits] <= '9') {
        if (digits == 18)
            return -1;
        number = number * 10 + (text->start[digits++] - '0');
    }
    text->start += digits;
    text->size -= digits;
    return digits > 0 ? number : -1;
}

static int64_t text_number(struct text text)
{
    int64_t number = text_take_number(&text);

    return text.size == 0 ? number : -1;
}

static bool text_take(struct text *text, const char *prefix)
{
    size_t size = strlen(prefix);

    if (text->size < size || strncasecmp(text->start, prefix, size) != 0)
        return false;
    text->start += size;
    text->size -= size;
    return true;
}

/* "bytes 100-199/1000", "bytes 100-199/" and a star for the total, or for the range of a 416 */
static void parse_range(struct head_parser *parser, struct text value)
{
    int64_t start;

    if (!text_take(&value, "bytes "))
        return;
    if (text_take(&value, "*/")) {
        parser->range_total = text_number(value);
        return;
    }
    start = text_take_number(&value);
    if (start < 0 || !text_take(&value, "-") || text_take_number(&value) < start ||
        !text_take(&value, "/"))
        return;
    parser->range_start = start;
    parser->range_total = text_number(value);
}

/* Only a strong ETag can pin a range: a weak one may cover different bytes. */
static void parse_etag(struct head_parser *parser, struct text value)
{
    if (value.size >= 2 && value.start[0] == '"' && value.start[value.size - 1] == '"')
        head_copy(value, parser->etag, sizeof(parser->etag));
}

static void parse_type(struct head_parser *parser, struct text value)
{
    const char *end = memchr(value.start, ';', value.size);

    if (end)
        value.size = (size_t)(end - value.start);
    head_copy(text_trim(value), parser->type, sizeof(parser->type));
    for (char *c = parser->type; *c; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    }
}

static void parse_encoding(struct head_parser *parser, struct text value)
{
    if (value.size == 0 || text_is(value, "identity"))
        return;
    if (parser->encoded || !(text_is(value, "gzip") || text_is(value, "x-gzip")))
        parser->unreadable = true;
    parser->encoded = true;
}

static void parse_field(struct head_parser *parser, struct text name, struct text value)
{
    if (text_is(name, "content-length"))
        parser->length = text_number(value);
    else if (text_is(name, "transfer-encoding"))
        parser->chunked = true;
    else if (text_is(name, "content-encoding"))
        parse_encoding(parser, value);
    else if (text_is(name, "content-range"))
        parse_range(parser, value);
    else if (text_is(name, "content-type"))
        parse_type(parser, value);
    else if (text_is(name, "etag"))
        parse_etag(parser, value);
    else if (text_is(name, "location"))
        head_copy(value, parser->location, sizeof(parser->location));
    else if (text_is(name, "retry-after"))
        head_copy(value, parser->retry_after, sizeof(parser->retry_after));
    else if (text_is(name, "date"))
        head_copy(value, parser->date, sizeof(parser->date));
    else if (text_is(name, "x-agnes-min-version"))
        head_copy(value, parser->min_version, sizeof(parser->min_version));
    else if (text_is(name, "x-agnes-content-md5"))
        head_copy(value, parser->content_md5, sizeof(parser->content_md5));
}

/* "HTTP/1.1 200 OK", "HTTP/2 200" */
static void begin_block(struct head_parser *parser, struct text line)
{
    size_t bytes = parser->bytes;
    const char *space = memchr(line.start, ' ', line.size);
    int64_t status;

    head_parser_reset(parser);
    parser->bytes = bytes;
    parser->framed = !text_take(&line, "HTTP/1") && !text_take(&line, "HTTP/0");
    if (!space)
        return;
    line.size -= (size_t)(space - line.start);
    line.start = space;
    line = text_trim(line);
    status = text_take_number(&line);
    parser->status = status >= 100 && status <= 999 ? (int)status : 0;
}

void head_parser_reset(struct head_parser *parser)
{
    *parser = (struct head_parser){.length = -1, .range_start = -1, .range_total = -1};
}

enum head_line head_parser_line(struct head_parser *parser, const char *line, size_t size)
{
    struct text text = {line, size};
    const char *colon;

    parser->bytes += size;
    if (parser->bytes > HEAD_BYTES)
        return HEAD_TOO_BIG;
    text = text_trim(text);
    if (text.size == 0)
        return parser->status >= 200 ? HEAD_COMPLETE : HEAD_MORE;
    if (size >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        begin_block(parser, text);
        return HEAD_MORE;
    }
    colon = memchr(text.start, ':', text.size);
    if (colon) {
        struct text name = {text.start, (size_t)(colon - text.start)};
        struct text value = {colon + 1, text.size - name.size - 1};

        parse_field(parser, name, text_trim(value));
    }
    return HEAD_MORE;
}

void head_parser_head(const struct head_parser *parser, struct fetch_head *ret_head)
{
    struct text after = {parser->retry_after, strlen(parser->retry_after)};

    *ret_head = (struct fetch_head){
        .status = parser->status,
        .length = parser->chunked || parser->encoded ? -1 : parser->length,
        .endless = !parser->framed && !parser->chunked && parser->length < 0,
        .range_start = parser->status == 206 ? parser->range_start : -1,
        .range_total = parser->range_total,
        .etag = parser->etag,
        .type = parser->type,
        .location = parser->location,
        .min_version = parser->min_version,
        .content_md5 = parser->content_md5,
        .retry_after_s = text_number(after),
        .date_unix = -1,
    };
}
