/* SPDX-License-Identifier: MIT */
/* json_text.c - the strict reader in front of the lenient one.
 *
 * A recursive descent over RFC 8259 with one cursor that only moves forward, so it is linear, and
 * with a depth that is checked before every step down, so it can not exhaust the stack. It builds
 * nothing. The first thing that is wrong ends it: from then on every function answers false. */
#include "sync/json_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cJSON gives up at 1000, and takes no number of 64 characters or more. */
#define DEPTH_MAX 500
#define NUMBER_MAX 63

struct cursor {
    const char *text;
    size_t size;
    size_t at;
    size_t depth;  /* how much deeper it may get */
    size_t values; /* how many more may come */
    struct json_error *error;
    bool nul;     /* the string read last contains one */
    char *edited; /* a copy without strings that contain NUL; NULL while there are none */
    bool no_memory;
};

static bool scan_value(struct cursor *cursor);

static bool fail_at(struct cursor *cursor, size_t offset, const char *message)
{
    cursor->error->offset = offset;
    snprintf(cursor->error->message, sizeof(cursor->error->message), "%s", message);
    return false;
}

static bool fail(struct cursor *cursor, const char *message)
{
    return fail_at(cursor, cursor->at, cursor->at < cursor->size ? message : "ends too early");
}

/* The next byte, or 0 at the end; a real NUL is nowhere allowed, so they need not be told apart. */
static char next(const struct cursor *cursor)
{
    return cursor->at < cursor->size ? cursor->text[cursor->at] : '\0';
}

static bool accept(struct cursor *cursor, char wanted)
{
    if (cursor->at >= cursor->size || cursor->text[cursor->at] != wanted)
        return false;
    cursor->at++;
    return true;
}

static void skip_space(struct cursor *cursor)
{
    while (next(cursor) && strchr(" \t\r\n", next(cursor)))
        cursor->at++;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

size_t json_text_utf8(const char *text, size_t size)
{
    const unsigned char *byte = (const unsigned char *)text;
    size_t length = byte[0] < 0x80 ? 1 : byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : 4;

    if (byte[0] < 0x80)
        return 1;
    if (byte[0] < 0xc2 || byte[0] > 0xf4 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((byte[0] == 0xe0 && byte[1] < 0xa0) || (byte[0] == 0xf0 && byte[1] < 0x90))
        return 0; /* overlong */
    if ((byte[0] == 0xed && byte[1] > 0x9f) || (byte[0] == 0xf4 && byte[1] > 0x8f))
        return 0; /* a surrogate, or above U+10FFFF */
    return length;
}

void json_text_make_printable(char *text)
{
    for (; *text; text++) {
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
    }
}

static bool scan_hex4(struct cursor *cursor, unsigned *ret_unit)
{
    unsigned unit = 0;

    for (int i = 0; i < 4; i++, cursor->at++) {
        char byte = next(cursor);
        char lower = (char)(byte | 0x20);

        if (!is_digit(byte) && (lower < 'a' || lower > 'f'))
            return fail(cursor, "\\u without four hex digits");
        unit = unit * 16 + (unsigned)(is_digit(byte) ? byte - '0' : lower - 'a' + 10);
    }
    *ret_unit = unit;
    return true;
}

/* After a backslash. */
static bool scan_escape(struct cursor *cursor)
{
    size_t start = cursor->at - 1;
    unsigned unit = 0, low = 0;

    if (!accept(cursor, 'u')) {
        if (!next(cursor) || !strchr("\"\\/bfnrt", next(cursor)))
            return fail(cursor, "unknown escape");
        cursor->at++;
        return true;
    }
    if (!scan_hex4(cursor, &unit))
        return false;
    cursor->nul |= unit == 0;
    if (unit < 0xd800 || unit > 0xdfff)
        return true;
    if (unit > 0xdbff || !accept(cursor, '\\') || !accept(cursor, 'u'))
        return fail_at(cursor, start, "half a surrogate pair");
    if (!scan_hex4(cursor, &low))
        return false;
    return (low >= 0xdc00 && low <= 0xdfff) || fail_at(cursor, start, "half a surrogate pair");
}

static bool scan_string(struct cursor *cursor)
{
    cursor->nul = false;
    if (!accept(cursor, '"'))
        return fail(cursor, "expected a string");
    while (!accept(cursor, '"')) {
        size_t length;

        if (cursor->at == cursor->size)
            return fail(cursor, "");
        if ((unsigned char)next(cursor) < 0x20)
            return fail(cursor, "control character in a string");
        length = json_text_utf8(cursor->text + cursor->at, cursor->size - cursor->at);
        if (length == 0)
            return fail(cursor, "not UTF-8");
        cursor->at += length;
        if (cursor->text[cursor->at - 1] == '\\' && !scan_escape(cursor))
            return false;
    }
    return true;
}

/* C's strings end at a NUL, so a value that contains one would be taken for another. It becomes a
 * fraction, which is shorter than the escape, and which nobody wants: no string, no whole number, and
 * neither yes nor no. */
static bool scan_string_value(struct cursor *cursor)
{
    static const char no_string[] = "0.5";
    size_t start = cursor->at;

    if (!scan_string(cursor))
        return false;
    if (!cursor->nul || cursor->no_memory)
        return true;
    if (!cursor->edited) {
        cursor->edited = malloc(cursor->size);
        cursor->no_memory = !cursor->edited;
        if (cursor->no_memory)
            return true;
        memcpy(cursor->edited, cursor->text, cursor->size);
    }
    memset(cursor->edited + start, ' ', cursor->at - start);
    memcpy(cursor->edited + start, no_string, strlen(no_string));
    return true;
}

static bool scan_digits(struct cursor *cursor)
{
    if (!is_digit(next(cursor)))
        return fail(cursor, "expected a digit");
    while (is_digit(next(cursor)))
        cursor->at++;
    return true;
}

static bool scan_number(struct cursor *cursor)
{
    size_t start = cursor->at;

    accept(cursor, '-');
    if (!accept(cursor, '0') && !scan_digits(cursor))
        return false;
    if (is_digit(next(cursor)))
        return fail_at(cursor, start, "number begins with zero");
    if (accept(cursor, '.') && !scan_digits(cursor))
        return false;
    if (accept(cursor, 'e') || accept(cursor, 'E')) {
        if (!accept(cursor, '-'))
            accept(cursor, '+');
        if (!scan_digits(cursor))
            return false;
    }
    return cursor->at - start <= NUMBER_MAX || fail_at(cursor, start, "number too long");
}

static bool scan_word(struct cursor *cursor, const char *word)
{
    size_t length = strlen(word);

    if (cursor->size - cursor->at < length || memcmp(cursor->text + cursor->at, word, length) != 0)
        return fail(cursor, "expected a value");
    cursor->at += length;
    return true;
}

static bool scan_member(struct cursor *cursor)
{
    size_t start = cursor->at;

    if (!scan_string(cursor))
        return false;
    if (cursor->nul)
        return fail_at(cursor, start, "NUL in a key");
    skip_space(cursor);
    return accept(cursor, ':') ? scan_value(cursor) : fail(cursor, "expected ':'");
}

/* The elements of an array or the members of an object, after its opening bracket. */
static bool scan_container(struct cursor *cursor, bool (*scan_element)(struct cursor *), char end)
{
    if (cursor->depth == 0)
        return fail_at(cursor, cursor->at - 1, "nested too deeply");
    cursor->depth--;
    skip_space(cursor);
    if (!accept(cursor, end)) {
        do {
            skip_space(cursor);
            if (!scan_element(cursor))
                return false;
            skip_space(cursor);
        } while (accept(cursor, ','));
        if (!accept(cursor, end))
            return fail(cursor, end == ']' ? "expected ',' or ']'" : "expected ',' or '}'");
    }
    cursor->depth++;
    return true;
}

static bool scan_value(struct cursor *cursor)
{
    if (cursor->values-- == 0)
        return fail(cursor, "too many values");
    skip_space(cursor);
    switch (next(cursor)) {
    case '{': cursor->at++; return scan_container(cursor, scan_member, '}');
    case '[': cursor->at++; return scan_container(cursor, scan_value, ']');
    case '"': return scan_string_value(cursor);
    case 't': return scan_word(cursor, "true");
    case 'f': return scan_word(cursor, "false");
    case 'n': return scan_word(cursor, "null");
    case '-': return scan_number(cursor);
    default: return is_digit(next(cursor)) ? scan_number(cursor) : fail(cursor, "expected a value");
    }
}

static bool scan_document(struct cursor *cursor, const struct json_limits *limits)
{
    if (cursor->size > limits->bytes)
        return fail_at(cursor, limits->bytes, "too long");
    if (cursor->size >= 3 && memcmp(cursor->text, "\xef\xbb\xbf", 3) == 0)
        return fail_at(cursor, 0, "begins with a byte order mark");
    skip_space(cursor);
    if (cursor->at == cursor->size)
        return fail_at(cursor, 0, "empty");
    if (!scan_value(cursor))
        return false;
    skip_space(cursor);
    return cursor->at == cursor->size ||
           fail_at(cursor, cursor->at, "something follows the document");
}

int json_text_check(const char *text, size_t size, const struct json_limits *limits,
                    char **ret_edited, struct json_error *ret_error)
{
    struct cursor cursor = {.text = text, .size = size, .error = ret_error};
    int r;

    cursor.depth = limits->depth < DEPTH_MAX ? limits->depth : DEPTH_MAX;
    cursor.values = limits->values ? limits->values : SIZE_MAX;
    r = !scan_document(&cursor, limits) ? -EPROTO : cursor.no_memory ? -ENOMEM : 0;
    if (r == 0)
        *ret_edited = cursor.edited;
    else
        free(cursor.edited);
    return r;
}
