/* SPDX-License-Identifier: MIT */
/* glob.h - does a text match a pattern? As fnmatch without flags does, in the C locale:
 *
 *     *  any bytes, '/' and a dot in front included     ?  one byte      \x  x itself
 *     [a-c], [!a-c], [^a-c]  one byte that is, or is not, one of these; without end it is itself
 *
 * Why not fnmatch: of "*a*a*a*b" it tries every way to lay the stars, and patterns are kept, and
 * matched against every row. Here only the last star is ever laid anew, so it takes at most
 * length(pattern) * length(text) steps, whatever the pattern. Classes ("[[:alpha:]]") are none here.
 *
 * Pure. */
#pragma once

#include <stdbool.h>

bool glob_match(const char *pattern, const char *text);
