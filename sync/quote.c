/* SPDX-License-Identifier: MIT */
/* quote.c - which characters mean something, and where.
 *
 * Markdown is read by many programs that disagree. So every character that any of them gives a
 * meaning gets a backslash, except where that would only make common names harder to read: an
 * underscore inside a word, a dot or a digit inside a line. */
#include "sync/quote.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "sync/names.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Does a block begin with that character, standing where the line begins? */
static bool opens_block(const char *start, const char *at)
{
    const char *digits = start;

    if (at == start)
        return *at && strchr("#+-=", *at) != NULL;
    while (is_digit(*digits))
        digits++;
    return digits == at && (*at == '.' || *at == ')');
}

/* start: of the line, or of the text. */
static bool has_meaning(const char *start, const char *at)
{
    size_t before = (size_t)(at - start);

    if (strchr("\\`*[]<>|&~$@^{}", *at) || opens_block(start, at))
        return true;
    if (*at == '_') /* emphasis, unless inside a word */
        return before == 0 || !is_word(at[-1]) || !is_word(at[1]);
    if (*at == ':') /* a bare URL is a link */
        return at[1] == '/';
    return *at == '.' && before >= 3 && strncasecmp(at - 3, "www", 3) == 0;
}

/* One character; returns how many bytes of text it took. */
static size_t put_character(FILE *out, const char *start, const char *at)
{
    char shown[NAME_SHOWN_SIZE];
    size_t taken = name_show_character(at, shown);

    if (shown[0] == '\\') { /* an escape of ours, not of Markdown's */
        for (const char *c = shown; *c; c++) {
            if (*c == '\\')
                putc('\\', out);
            putc(*c, out);
        }
        return taken;
    }
    if (taken == 1 && has_meaning(start, at))
        putc('\\', out);
    fputs(shown, out);
    return taken;
}

void quote_markdown(FILE *out, const char *text, size_t limit)
{
    text += strspn(text, " \t\r\n");
    for (const char *at = text; *at;) {
        if ((size_t)(at - text) >= limit) {
            fputs("...", out);
            return;
        }
        if (*at == '\n' || *at == '\r' || *at == '\t') {
            putc(' ', out);
            at++;
        } else {
            at += put_character(out, text, at);
        }
    }
}

void quote_markdown_block(FILE *out, const char *text)
{
    while (*text) {
        const char *start = text + strspn(text, " \t\r"); /* four blanks would be code */
        const char *at = start;

        fputs(*start && *start != '\n' ? "> " : ">", out);
        while (*at && *at != '\n') {
            if (is_blank(*at)) {
                putc(' ', out);
                at++;
            } else {
                at += put_character(out, start, at);
            }
        }
        putc('\n', out);
        text = at + (*at == '\n');
    }
}

void quote_markdown_path(FILE *out, const char *path)
{
    bool plain = *path != '\0';

    for (const char *c = path; *c; c++)
        plain = plain && !(*c & 0x80) && (is_word(*c) || strchr("_./=-", *c));
    if (plain)
        fprintf(out, "`%s`", path);
    else
        quote_markdown(out, path, strlen(path));
}

void quote_line(FILE *out, const char *text)
{
    while (*text) {
        char shown[NAME_SHOWN_SIZE];

        text += name_show_character(text, shown);
        fputs(shown, out);
    }
}

static void put_doubled(FILE *out, char c, char quote)
{
    if (c == quote)
        putc(quote, out);
    putc(c, out);
}

void quote_sql_name(FILE *out, const char *name)
{
    putc('"', out);
    for (; *name; name++)
        put_doubled(out, *name, '"');
    putc('"', out);
}

void quote_sql_path(FILE *out, const char *path, const char *pattern)
{
    putc('\'', out);
    for (; *path; path++) {
        if (strchr("*?[", *path))
            fprintf(out, "[%c]", *path);
        else
            put_doubled(out, *path, '\'');
    }
    for (; *pattern; pattern++)
        put_doubled(out, *pattern, '\'');
    putc('\'', out);
}
