/* SPDX-License-Identifier: MIT */
/* option_value.c - numbers are read by hand: strtoull takes signs and blanks, and wraps. */
#include "fs/cli/options.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static int digits(const char **text, unsigned base, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *at = *text;

    for (; *at >= '0' && *at < (char)('0' + base); at++)
        if (__builtin_mul_overflow(number, base, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
            return -ERANGE;
    if (at == *text)
        return -EINVAL;
    *text = at;
    *ret_number = number;
    return 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit sizes[] = {
    {"", 1},
    {"B", 1},
    {"k", 1000},
    {"kB", 1000},
    {"M", 1000UL * 1000},
    {"MB", 1000UL * 1000},
    {"G", 1000UL * 1000 * 1000},
    {"GB", 1000UL * 1000 * 1000},
    {"T", 1000UL * 1000 * 1000 * 1000},
    {"TB", 1000UL * 1000 * 1000 * 1000},
    {"KiB", 1UL << 10},
    {"MiB", 1UL << 20},
    {"GiB", 1UL << 30},
    {"TiB", 1UL << 40},
    {NULL, 0},
};

static const struct unit durations[] = {
    {"", 1}, {"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 24UL * 3600}, {NULL, 0},
};

static int with_unit(const char *text, const struct unit *units, uint64_t *ret_number)
{
    uint64_t number;
    int r = digits(&text, 10, &number);

    if (r < 0)
        return r;
    for (const struct unit *unit = units; unit->name; unit++)
        if (strcasecmp(text, unit->name) == 0)
            return __builtin_mul_overflow(number, unit->factor, ret_number) ? -ERANGE : 0;
    return -EINVAL;
}

static int whole(const char *text, unsigned base, uint64_t *ret_number)
{
    int r = digits(&text, base, ret_number);

    return r < 0 ? r : *text ? -EINVAL : 0;
}

static int truth(const char *text, uint64_t *ret_number)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret_number = i % 2;
            return 0;
        }
    }
    return -EINVAL;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);

    for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (length > 0 && strncmp(at, text, length) == 0 && (!at[length] || at[length] == '|'))
            return true;
    return false;
}

static int number_of(const struct option_spec *spec, const char *text, uint64_t *ret_number,
                     const char **ret_expected)
{
    switch (spec->type) {
    case OPTION_SIZE:
        *ret_expected = "a size like 20GiB";
        return with_unit(text, sizes, ret_number);
    case OPTION_DURATION:
        *ret_expected = "a time like 90s, 5m or 1h";
        return with_unit(text, durations, ret_number);
    case OPTION_MODE: *ret_expected = "an octal number"; return whole(text, 8, ret_number);
    case OPTION_BOOL: *ret_expected = "yes or no"; return truth(text, ret_number);
    default: *ret_expected = "a number"; return whole(text, 10, ret_number);
    }
}

int option_value_parse(const struct option_spec *spec, const char *text, uint64_t *ret_number,
                       char ret_why[static 128])
{
    const char *expected;
    uint64_t number = 0;

    if (spec->type == OPTION_STRING || spec->type == OPTION_PATH) {
        *ret_number = 0;
        if (*text || spec->type == OPTION_STRING)
            return 0;
        snprintf(ret_why, 128, "empty");
        return -EINVAL;
    }
    if (spec->type == OPTION_CHOICE) {
        *ret_number = 0;
        if (is_choice(spec->choices, text))
            return 0;
        snprintf(ret_why, 128, "not one of %s", spec->choices);
        return -EINVAL;
    }
    if (spec->zero_word && strcmp(text, spec->zero_word) == 0) {
        *ret_number = 0;
        return 0;
    }

    int r = number_of(spec, text, &number, &expected);

    if (r < 0) {
        snprintf(ret_why, 128, "not %s", expected);
        return r;
    }
    if (number < spec->min && !(spec->zero_word && number == 0)) {
        snprintf(ret_why, 128, "less than %llu", (unsigned long long)spec->min);
        return -ERANGE;
    }
    if (spec->max && number > spec->max) {
        snprintf(ret_why, 128, spec->type == OPTION_MODE ? "more than %llo" : "more than %llu",
                 (unsigned long long)spec->max);
        return -ERANGE;
    }
    *ret_number = number;
    return 0;
}
