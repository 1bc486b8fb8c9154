/* SPDX-License-Identifier: MIT */
/* json.h - strict JSON, in and out.
 *
 * cJSON does the work; this is its only user. What it is too kind about is refused before or after
 * it runs: nesting beyond a limit (its parser recurses), duplicate keys (it would return the first
 * where other readers return the last), strings that are not UTF-8, keys that contain NUL, anything
 * after the document. A value that is a string with NUL reads as a fraction: it is no string to whoever
 * wants one, no whole number and no yes or no, and the rest of the document is none the worse. Numbers
 * are doubles there, so integers are taken only below 2^53.
 *
 * A document is a tree of values owned by its root; json_free on the root frees everything.
 * Values are read-only after parsing, so any thread may read them.
 * Accessors accept NULL and answer "not there": a chain of look-ups needs one test at its end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json;

/* The version of cJSON, as it is at run time. */
const char *json_library_version(void);

enum json_type {
    JSON_ABSENT, /* the value NULL */
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json_limits {
    size_t bytes;  /* of the text */
    size_t depth;  /* of nesting; 500 whatever this says */
    size_t values; /* of any kind, each some 100 bytes in memory, be it two in the text. 0: any */
};

struct json_error {
    size_t offset;     /* in the text, where known */
    char message[160]; /* one phrase, for people: "duplicate key \"md5\"" */
};

/* text need not end in NUL. -EPROTO with ret_error filled, or -ENOMEM. */
int json_parse(const char *text, size_t size, const struct json_limits *limits,
               struct json **ret_root, struct json_error *ret_error);
void json_free(struct json *root);
void json_freep(struct json *const *root);

enum json_type json_type(const struct json *value);

/* Member of an object, exactly that key. NULL when absent or not an object. */
const struct json *json_get(const struct json *object, const char *key);

/* for (v = json_first(array_or_object); v; v = json_next(v)) */
const struct json *json_first(const struct json *container);
const struct json *json_next(const struct json *value);
size_t json_count(const struct json *container); /* walks them all */

/* The key under which value stands in its object; NULL in an array. */
const char *json_key(const struct json *value);

/* NULL unless it is a string. */
const char *json_string(const struct json *value);

/* -EINVAL: no number, or not a whole one; -ERANGE: negative, or 2^53 and more. */
int json_u64(const struct json *value, uint64_t *ret_number);
bool json_is_true(const struct json *value);

/* Of a member, for who only shows it: "" and 0 where there is no such string or number. */
const char *json_text_of(const struct json *object, const char *key);
uint64_t json_number_of(const struct json *object, const char *key);

/* --- writing: each function appends to a container and fails with -ENOMEM ---
 * key is NULL when the container is an array. A NULL string writes null. Numbers of 2^53 and
 * more, to either side, are -ERANGE. Keys are not checked for duplicates. */

struct json *json_new_object(void);
struct json *json_new_array(void);
int json_add_string(struct json *container, const char *key, const char *string);
int json_add_u64(struct json *container, const char *key, uint64_t number);
int json_add_i64(struct json *container, const char *key, int64_t number);
int json_add_bool(struct json *container, const char *key, bool truth);
struct json *json_add_object(struct json *container, const char *key);
struct json *json_add_array(struct json *container, const char *key);

/* Moves a document into a container. Consumes value, also on failure. */
int json_add(struct json *container, const char *key, struct json *value);

/* The text, NUL-terminated, for the caller to free. pretty: indented, with a final newline. Always
 * valid JSON: bytes of strings that are not UTF-8 become U+FFFD. */
int json_print(const struct json *root, bool pretty, char **ret_text, size_t *ret_size);
