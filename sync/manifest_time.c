/* SPDX-License-Identifier: MIT */
/* Times as servers write them. Nothing here asks the C library, whose answer would depend on the
 * machine's time zone: what the manifest calls one instant must be one instant everywhere. */
#include "sync/manifest_private.h"

#include <stdbool.h>

#define NS_PER_SECOND 1000000000

/* Takes exactly digits digits. */
static bool take_number(const char **at, int digits, int *ret_number)
{
    int number = 0;

    for (int i = 0; i < digits; i++) {
        char c = (*at)[i];

        if (c < '0' || c > '9')
            return false;
        number = number * 10 + (c - '0');
    }
    *at += digits;
    *ret_number = number;
    return true;
}

static bool take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    ++*at;
    return true;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days since 1970-01-01. */
static bool take_date(const char **at, int64_t *ret_days)
{
    static const int days_before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    int year, month, day;

    if (!take_number(at, 4, &year) || !take_char(at, '-') || !take_number(at, 2, &month) ||
        !take_char(at, '-') || !take_number(at, 2, &day))
        return false;
    if (year < 1969 || year > 2261 || month < 1 || month > 12 || day < 1)
        return false;

    bool february_29 = month == 2 && is_leap(year);
    int in_month = days_before[month] - days_before[month - 1] + february_29;
    int leap_days = (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 - 477;

    if (day > in_month)
        return false;
    *ret_days = (int64_t)(year - 1970) * 365 + leap_days + days_before[month - 1] +
                (month > 2 && is_leap(year)) + day - 1;
    return true;
}

/* Seconds and ns of the day. 60 is a leap second: the first second of the next minute. */
static bool take_clock(const char **at, int64_t *ret_seconds, int64_t *ret_ns)
{
    int hour, minute, second;
    int64_t ns = 0;

    if (!take_number(at, 2, &hour) || !take_char(at, ':') || !take_number(at, 2, &minute) ||
        !take_char(at, ':') || !take_number(at, 2, &second))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    if (take_char(at, '.')) {
        int64_t unit = NS_PER_SECOND / 10;

        if (**at < '0' || **at > '9')
            return false;
        for (; **at >= '0' && **at <= '9'; ++*at, unit /= 10)
            ns += (**at - '0') * unit;
    }
    *ret_seconds = hour * 3600 + minute * 60 + second;
    *ret_ns = ns;
    return true;
}

/* Seconds east of UTC. */
static bool take_offset(const char **at, int64_t *ret_seconds)
{
    int hour, minute;
    int sign = **at == '-' ? -1 : 1;

    *ret_seconds = 0;
    if (take_char(at, 'Z') || take_char(at, 'z') || !**at)
        return true;
    if (!take_char(at, '+') && !take_char(at, '-'))
        return false;
    if (!take_number(at, 2, &hour))
        return false;
    take_char(at, ':');
    if (!take_number(at, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *ret_seconds = sign * (hour * 3600 + minute * 60);
    return true;
}

int64_t manifest_time(const char *text)
{
    int64_t days = 0, seconds = 0, ns = 0, offset = 0;

    if (!take_date(&text, &days))
        return -1;
    if (*text) {
        if (!take_char(&text, 'T') && !take_char(&text, 't') && !take_char(&text, ' '))
            return -1;
        if (!take_clock(&text, &seconds, &ns) || !take_offset(&text, &offset) || *text)
            return -1;
    }
    seconds += days * 86400 - offset;
    return seconds < 0 ? -1 : seconds * NS_PER_SECOND + ns;
}
