/* SPDX-License-Identifier: MIT */
/* json_text.h - JSON as text: is it any, and how to write it. For json*.c only. */
#pragma once

#include "sync/json.h"

/* Reads every byte: RFC 8259, valid UTF-8, within the limits, no half surrogate pairs, no keys with
 * NUL. Where a value is a string with NUL, ret_edited is a copy of the text, of the same size, in
 * which it is false; else NULL. -EPROTO with ret_error filled, -ENOMEM. */
int json_text_check(const char *text, size_t size, const struct json_limits *limits,
                    char **ret_edited, struct json_error *ret_error);

/* How long the valid UTF-8 sequence at the beginning of text is, 1 to 4. 0 if there is none:
 * overlong, surrogate, above U+10FFFF, cut short. */
size_t json_text_utf8(const char *text, size_t size);

/* Of a number, whole or not; 0 of anything else. */
double json_double(const struct json *value);

/* Replaces what a terminal should not see by '?'. */
void json_text_make_printable(char *text);
