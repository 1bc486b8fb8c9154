/* SPDX-License-Identifier: MIT */
/* format.c - every text fits its buffer because every number is reduced to a few digits first.
 * Widths are those of a terminal (format_width.c). */
#include "fs/cli/format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"

void format_bytes(uint64_t bytes, char ret_text[static FORMAT_SIZE])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t unit = 0;

    /* 999.5 would round to "1000". */
    for (; value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1000;
    if (unit == 0 || value >= 9.95)
        snprintf(ret_text, FORMAT_SIZE, "%.0f %s", value, units[unit]);
    else
        snprintf(ret_text, FORMAT_SIZE, "%.1f %s", value, units[unit]);
}

void format_duration(uint64_t seconds, char ret_text[static FORMAT_SIZE])
{
    uint64_t minutes = seconds / 60;
    uint64_t hours = minutes / 60;
    uint64_t days = hours / 24;

    if (seconds < 60)
        snprintf(ret_text, FORMAT_SIZE, "%u s", (unsigned)seconds);
    else if (minutes < 60)
        snprintf(ret_text, FORMAT_SIZE, "%u min", (unsigned)minutes);
    else if (hours < 24 && minutes % 60 == 0)
        snprintf(ret_text, FORMAT_SIZE, "%u h", (unsigned)hours);
    else if (hours < 24)
        snprintf(ret_text, FORMAT_SIZE, "%u h %u min", (unsigned)hours, (unsigned)(minutes % 60));
    else if (hours % 24 == 0)
        snprintf(ret_text, FORMAT_SIZE, "%u d", (unsigned)days);
    else
        snprintf(ret_text, FORMAT_SIZE, "%u d %u h", (unsigned)days, (unsigned)(hours % 24));
}

/* Days since 1970 to a date: 400 years have 146097 days. Years begin in March here, so that a leap
 * day is the last of its year. After Howard Hinnant, "chrono-compatible low-level date algorithms". */
static void date_of(uint64_t days, unsigned *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    const uint64_t shifted = days + 719468; /* since 1 March of the year 0 */
    const uint64_t era_day = shifted % 146097;
    const uint64_t year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    const uint64_t year_day = era_day - (365 * year + year / 4 - year / 100);
    const unsigned month = (unsigned)((5 * year_day + 2) / 153); /* 0: March */

    *ret_day = (unsigned)(year_day - (153 * month + 2) / 5 + 1);
    *ret_month = month < 10 ? month + 3 : month - 9;
    *ret_year = (unsigned)(year + shifted / 146097 * 400) + (*ret_month <= 2);
}

static char *put_digits(char *at, unsigned value, unsigned width, char after)
{
    for (unsigned i = width; i > 0; i--, value /= 10)
        at[i - 1] = (char)('0' + value % 10);
    at[width] = after;
    return at + width + 1;
}

/* By hand, since a signal handler may ask (log.h), and gmtime takes a lock. */
void format_time(uint64_t unix_time, char ret_text[static FORMAT_SIZE])
{
    const unsigned second = (unsigned)(unix_time % 86400);
    char *at = ret_text;
    unsigned year;
    unsigned month;
    unsigned day;

    ret_text[0] = '\0';
    if (unix_time / 86400 > 2932896) /* the last day of 9999 */
        return;
    date_of(unix_time / 86400, &year, &month, &day);
    at = put_digits(at, year, 4, '-');
    at = put_digits(at, month, 2, '-');
    at = put_digits(at, day, 2, 'T');
    at = put_digits(at, second / 3600, 2, ':');
    at = put_digits(at, second / 60 % 60, 2, ':');
    at = put_digits(at, second % 60, 2, 'Z');
    *at = '\0';
}

void format_count(uint64_t count, const char *singular, const char *plural,
                  char ret_text[static FORMAT_SIZE])
{
    snprintf(ret_text, FORMAT_SIZE, "%llu %s", (unsigned long long)count,
             count == 1 ? singular : plural);
}

/* Length of the UTF-8 sequence at text, 0 if it is none (overlong, surrogate, cut short). */
static size_t utf8_length(const unsigned char *text)
{
    size_t length = 1;

    if (text[0] >= 0x80)
        length = 2 + (size_t)(text[0] >= 0xe0) + (size_t)(text[0] >= 0xf0);
    if ((text[0] >= 0x80 && text[0] < 0xc2) || text[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

static bool is_control(const unsigned char *text, size_t length)
{
    return (length == 1 && (text[0] < 0x20 || text[0] == 0x7f)) ||
           (length == 2 && text[0] == 0xc2 && text[1] < 0xa0);
}

char *format_escaped(const char *text)
{
    const unsigned char *in = (const unsigned char *)text;
    char *escaped = malloc(4 * strlen(text) + 1);
    char *out = escaped;

    if (!escaped)
        return NULL;
    while (*in) {
        size_t length = utf8_length(in);

        if (length > 0 && !is_control(in, length)) {
            memcpy(out, in, length);
            out += length;
            in += length;
            continue;
        }
        for (size_t bad = length ? length : 1; bad > 0; bad--)
            out += sprintf(out, "\\x%02x", *in++);
    }
    *out = '\0';
    return escaped;
}

void print_escaped(FILE *file, const char *text)
{
    scoped_free char *escaped = format_escaped(text);

    fputs(escaped ? escaped : "?", file);
}

/* --- tables --- */

struct table {
    size_t columns;
    size_t rows; /* the titles' included */
    char **cells;
    bool *right;
};

struct table *table_new(const char *const *titles, size_t count)
{
    scoped(table_freep) struct table *table = calloc(1, sizeof(*table));

    if (!table || !(table->right = calloc(count, sizeof(*table->right))))
        return NULL;
    table->columns = count;

    const char **plain = malloc(count * sizeof(*plain));

    if (!plain)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        table->right[i] = titles[i][0] == '>';
        plain[i] = titles[i] + table->right[i];
    }

    int r = table_add(table, plain);

    free(plain);
    return r < 0 ? NULL : take_ptr(table);
}

void table_free(struct table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->rows * table->columns; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table->right);
    free(table);
}

void table_freep(struct table *const *table)
{
    table_free(*table);
}

int table_add(struct table *table, const char *const *cells)
{
    size_t used = table->rows * table->columns;
    char **grown = reallocarray(table->cells, used + table->columns, sizeof(*grown));

    if (!grown)
        return -ENOMEM;
    table->cells = grown;
    for (size_t i = 0; i < table->columns; i++) {
        grown[used + i] = format_escaped(cells[i]);
        if (!grown[used + i]) {
            while (i-- > 0)
                free(grown[used + i]);
            return -ENOMEM;
        }
    }
    table->rows++;
    return 0;
}

static void print_padding(FILE *file, size_t blanks)
{
    fprintf(file, "%*s", (int)blanks, "");
}

void table_print(const struct table *table, FILE *file)
{
    size_t *widths = calloc(table->columns, sizeof(*widths));

    if (!widths)
        return;
    for (size_t i = 0; i < table->rows * table->columns; i++) {
        size_t width = format_width(table->cells[i]);

        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
    for (size_t row = 0; row < table->rows; row++) {
        size_t owed = 0; /* blanks, printed only if something follows */

        for (size_t column = 0; column < table->columns; column++) {
            const char *cell = table->cells[row * table->columns + column];
            size_t slack = widths[column] - format_width(cell);

            if (table->right[column])
                owed += slack;
            if (*cell) {
                print_padding(file, owed);
                fputs(cell, file);
                owed = 0;
            }
            owed += 2 + (table->right[column] ? 0 : slack);
        }
        fputc('\n', file);
    }
    free(widths);
}
