/* SPDX-License-Identifier: MIT */
/* json_print.c - values as text, always valid JSON and always the same for the same values.
 *
 * cJSON could print too, but with tabs, with 1e+15 for whole numbers, and with whatever bytes a
 * string has. Here whole numbers are digits, and bytes that are not UTF-8 become U+FFFD, since a
 * server's words end up in our documents. A text remembers its own failure: one test at the end is
 * enough. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cache/text.h"
#include "sync/json_text.h"

#define INDENT 2

static void print_value(FILE *out, const struct json *value, bool pretty, int depth);

static void print_byte(FILE *out, unsigned char byte)
{
    static const char letters[] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r',
                                   ['\t'] = 't', ['"'] = '"',  ['\\'] = '\\'};

    if (byte < sizeof(letters) && letters[byte])
        fprintf(out, "\\%c", letters[byte]);
    else if (byte < 0x20 || byte == 0x7f)
        fprintf(out, "\\u%04x", byte);
    else
        putc_unlocked(byte, out);
}

static void print_string(FILE *out, const char *text)
{
    size_t size = strlen(text);

    putc_unlocked('"', out);
    while (size > 0) {
        size_t length = json_text_utf8(text, size);

        if (length == 0)
            fputs_unlocked("\xef\xbf\xbd", out);
        else if (length == 1)
            print_byte(out, (unsigned char)*text);
        else
            fwrite_unlocked(text, 1, length, out);
        length = length ? length : 1;
        text += length;
        size -= length;
    }
    putc_unlocked('"', out);
}

/* 17 digits bring back any double, and are enough to write 2^53 without an exponent. */
static void print_number(FILE *out, double number)
{
    if (isnan(number) || isinf(number))
        fputs_unlocked("null", out);
    else
        fprintf(out, "%.17g", number);
}

static void print_break(FILE *out, bool pretty, int depth)
{
    if (pretty)
        fprintf(out, "\n%*s", depth * INDENT, "");
}

static void print_container(FILE *out, const struct json *value, bool pretty, int depth)
{
    bool object = json_type(value) == JSON_OBJECT;
    const struct json *first = json_first(value);

    putc_unlocked(object ? '{' : '[', out);
    for (const struct json *item = first; item; item = json_next(item)) {
        if (item != first)
            putc_unlocked(',', out);
        print_break(out, pretty, depth + 1);
        if (object) {
            print_string(out, json_key(item));
            fputs_unlocked(pretty ? ": " : ":", out);
        }
        print_value(out, item, pretty, depth + 1);
    }
    if (first)
        print_break(out, pretty, depth);
    putc_unlocked(object ? '}' : ']', out);
}

static void print_value(FILE *out, const struct json *value, bool pretty, int depth)
{
    switch (json_type(value)) {
    case JSON_ABSENT:
    case JSON_NULL: fputs_unlocked("null", out); break;
    case JSON_BOOL: fputs_unlocked(json_is_true(value) ? "true" : "false", out); break;
    case JSON_NUMBER: print_number(out, json_double(value)); break;
    case JSON_STRING: print_string(out, json_string(value)); break;
    case JSON_ARRAY:
    case JSON_OBJECT: print_container(out, value, pretty, depth); break;
    }
}

int json_print(const struct json *root, bool pretty, char **ret_text, size_t *ret_size)
{
    struct text *text;
    int r = text_open(&text);

    if (r < 0)
        return r;
    print_value(text_stream(text), root, pretty, 0);
    if (pretty)
        putc_unlocked('\n', text_stream(text));
    return text_close(text, ret_text, ret_size);
}
