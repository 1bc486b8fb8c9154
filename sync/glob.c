/* SPDX-License-Identifier: MIT */
/* Why the last star is enough: what stands before it has matched the shortest text that it can, and
 * the star takes whatever is left over, so a longer match there could not help what comes after. */
#include "sync/glob.h"

#include <stddef.h>

/* One element that is no star, at *pattern: does it match the byte? Moves *pattern behind it. */
static bool bracket_match(const char **pattern, unsigned char byte)
{
    const char *at = *pattern + 1;
    const bool negated = *at == '!' || *at == '^';
    bool found = false;

    at += negated;
    for (bool first = true; *at && (first || *at != ']'); first = false) {
        unsigned char low, high;

        at += *at == '\\' && at[1];
        low = high = (unsigned char)*at++;
        if (*at == '-' && at[1] && at[1] != ']') {
            at++;
            at += *at == '\\' && at[1];
            high = (unsigned char)*at++;
        }
        found |= byte >= low && byte <= high;
    }
    if (!*at) { /* no end: the bracket itself */
        ++*pattern;
        return byte == '[';
    }
    *pattern = at + 1;
    return found != negated;
}

static bool element_match(const char **pattern, unsigned char byte)
{
    switch (**pattern) {
    case '\0': return false;
    case '?': ++*pattern; return true;
    case '[': return bracket_match(pattern, byte);
    case '\\': *pattern += (*pattern)[1] != '\0'; return (unsigned char)*(*pattern)++ == byte;
    default: return (unsigned char)*(*pattern)++ == byte;
    }
}

bool glob_match(const char *pattern, const char *text)
{
    const char *star = NULL;  /* what comes after the last star */
    const char *after = NULL; /* where in the text that was last laid */

    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            after = text;
        } else if (element_match(&pattern, (unsigned char)*text)) {
            text++;
        } else if (star) {
            pattern = star;
            text = ++after;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}
