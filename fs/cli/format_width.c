/* SPDX-License-Identifier: MIT */
/* format_width.c - what a character takes is asked of the C library in its C.UTF-8 locale, so that the
 * user's own, which may not be UTF-8, changes nothing. */
#include <locale.h>
#include <string.h>
#include <wchar.h>

#include "fs/cli/format.h"

static void utf8_begin(locale_t *ret_utf8, locale_t *ret_before)
{
    *ret_utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    *ret_before = *ret_utf8 ? uselocale(*ret_utf8) : (locale_t)0;
}

static void utf8_end(locale_t utf8, locale_t before)
{
    if (!utf8)
        return;
    uselocale(before);
    freelocale(utf8);
}

/* Bytes of the first character, and its columns; what is none is one byte in one column. */
static size_t next_character(const char *text, size_t *ret_columns)
{
    mbstate_t state = {0};
    wchar_t wide;
    size_t length = mbrtowc(&wide, text, strlen(text), &state);
    int columns = length > 0 && length < (size_t)-2 ? wcwidth(wide) : -1;

    *ret_columns = columns < 0 ? 1 : (size_t)columns;
    return length == 0 || length >= (size_t)-2 ? 1 : length;
}

size_t format_cut(const char *text, size_t columns, size_t *ret_columns)
{
    locale_t utf8;
    locale_t before;
    size_t used = 0;
    size_t at = 0;

    utf8_begin(&utf8, &before);
    while (text[at]) {
        size_t more;
        size_t length = next_character(text + at, &more);

        if (more > columns - used)
            break;
        used += more;
        at += length;
    }
    utf8_end(utf8, before);
    if (ret_columns)
        *ret_columns = used;
    return at;
}

size_t format_width(const char *text)
{
    size_t columns;

    format_cut(text, SIZE_MAX, &columns);
    return columns;
}
