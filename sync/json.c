/* SPDX-License-Identifier: MIT */
/* json.c - values, read and built. A struct json is a cJSON that nobody else can see into.
 *
 * Why what comes out of json_parse can be believed: json_text_check has read every byte before
 * cJSON does and lets through only RFC 8259 in valid UTF-8, so where cJSON is lenient there is
 * nothing left to be lenient with; what it can not see (two keys that are equal once decoded) is
 * looked for afterwards, when cJSON has decoded them. Both recurse no deeper than the limit.
 *
 * Writing is json_print.c; here are only the values. */
#include "sync/json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/json_text.h"

/* One more is what 2^53 + 1 is as a double, too. */
#define JSON_INTEGER_MAX (((uint64_t)1 << 53) - 1)

static const cJSON *peek(const struct json *value)
{
    return (const cJSON *)value;
}

static cJSON *open_up(struct json *value)
{
    return (cJSON *)value;
}

static struct json *wrap(cJSON *item)
{
    return (struct json *)item;
}

/* --- keys that stand twice --- */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keys are sorted, so an object of 100,000 members costs no more than its reading did. */
static int check_keys(const cJSON *object, struct json_error *ret_error)
{
    size_t count = (size_t)cJSON_GetArraySize(object);
    scoped_free const char **keys = NULL;
    size_t used = 0;

    if (count < 2)
        return 0;
    keys = calloc(count, sizeof(*keys));
    if (!keys)
        return -ENOMEM;
    for (const cJSON *item = object->child; item; item = item->next)
        keys[used++] = item->string;
    qsort(keys, used, sizeof(*keys), compare_keys);
    for (size_t i = 1; i < used; i++) {
        if (strcmp(keys[i - 1], keys[i]) == 0) {
            snprintf(ret_error->message, sizeof(ret_error->message), "duplicate key \"%.80s\"",
                     keys[i]);
            json_text_make_printable(ret_error->message);
            return -EPROTO;
        }
    }
    return 0;
}

static int check_all_keys(const cJSON *value, struct json_error *ret_error)
{
    int r = cJSON_IsObject(value) ? check_keys(value, ret_error) : 0;

    for (const cJSON *item = value->child; r == 0 && item; item = item->next) {
        if (item->child)
            r = check_all_keys(item, ret_error);
    }
    return r;
}

/* --- parsing --- */

int json_parse(const char *text, size_t size, const struct json_limits *limits,
               struct json **ret_root, struct json_error *ret_error)
{
    scoped(json_freep) struct json *root = NULL;
    scoped_free char *edited = NULL;
    int r;

    *ret_error = (struct json_error){0};
    r = json_text_check(text, size, limits, &edited, ret_error);
    if (r < 0)
        return r;
    /* After that check only memory can fail. */
    root = wrap(cJSON_ParseWithLengthOpts(edited ? edited : text, size, NULL, false));
    if (!root)
        return -ENOMEM;
    r = check_all_keys(peek(root), ret_error);
    if (r < 0)
        return r;
    *ret_root = take_ptr(root);
    return 0;
}

void json_free(struct json *root)
{
    cJSON_Delete(open_up(root));
}

void json_freep(struct json *const *root)
{
    json_free(*root);
}

/* --- reading --- */

enum json_type json_type(const struct json *value)
{
    switch (value ? peek(value)->type & 0xff : cJSON_Invalid) {
    case cJSON_NULL: return JSON_NULL;
    case cJSON_False:
    case cJSON_True: return JSON_BOOL;
    case cJSON_Number: return JSON_NUMBER;
    case cJSON_String: return JSON_STRING;
    case cJSON_Array: return JSON_ARRAY;
    case cJSON_Object: return JSON_OBJECT;
    default: return JSON_ABSENT;
    }
}

const struct json *json_get(const struct json *object, const char *key)
{
    if (json_type(object) != JSON_OBJECT)
        return NULL;
    return wrap(cJSON_GetObjectItemCaseSensitive(peek(object), key));
}

const struct json *json_first(const struct json *container)
{
    return container ? wrap(peek(container)->child) : NULL;
}

const struct json *json_next(const struct json *value)
{
    return value ? wrap(peek(value)->next) : NULL;
}

size_t json_count(const struct json *container)
{
    size_t count = 0;

    for (const struct json *item = json_first(container); item; item = json_next(item))
        count++;
    return count;
}

const char *json_key(const struct json *value)
{
    return value ? peek(value)->string : NULL;
}

const char *json_string(const struct json *value)
{
    return json_type(value) == JSON_STRING ? peek(value)->valuestring : NULL;
}

int json_u64(const struct json *value, uint64_t *ret_number)
{
    double number;

    if (json_type(value) != JSON_NUMBER)
        return -EINVAL;
    number = peek(value)->valuedouble;
    if (isnan(number))
        return -EINVAL;
    if (number < 0 || number > (double)JSON_INTEGER_MAX)
        return -ERANGE;
    if (number != (double)(uint64_t)number)
        return -EINVAL;
    *ret_number = (uint64_t)number;
    return 0;
}

double json_double(const struct json *value)
{
    return json_type(value) == JSON_NUMBER ? peek(value)->valuedouble : 0;
}

const char *json_text_of(const struct json *object, const char *key)
{
    const char *text = json_string(json_get(object, key));

    return text ? text : "";
}

uint64_t json_number_of(const struct json *object, const char *key)
{
    uint64_t number = 0;

    json_u64(json_get(object, key), &number);
    return number;
}

bool json_is_true(const struct json *value)
{
    return value && cJSON_IsTrue(peek(value));
}

/* --- building --- */

struct json *json_new_object(void)
{
    return wrap(cJSON_CreateObject());
}

struct json *json_new_array(void)
{
    return wrap(cJSON_CreateArray());
}

int json_add(struct json *container, const char *key, struct json *value)
{
    cJSON *item = open_up(value);
    bool added = false;

    if (item && key)
        added = cJSON_AddItemToObject(open_up(container), key, item);
    else if (item)
        added = cJSON_AddItemToArray(open_up(container), item);
    if (added)
        return 0;
    cJSON_Delete(item);
    return -ENOMEM;
}

int json_add_string(struct json *container, const char *key, const char *string)
{
    return json_add(container, key, wrap(string ? cJSON_CreateString(string) : cJSON_CreateNull()));
}

int json_add_u64(struct json *container, const char *key, uint64_t number)
{
    if (number > JSON_INTEGER_MAX)
        return -ERANGE;
    return json_add(container, key, wrap(cJSON_CreateNumber((double)number)));
}

int json_add_i64(struct json *container, const char *key, int64_t number)
{
    if (number > (int64_t)JSON_INTEGER_MAX || number < -(int64_t)JSON_INTEGER_MAX)
        return -ERANGE;
    return json_add(container, key, wrap(cJSON_CreateNumber((double)number)));
}

int json_add_bool(struct json *container, const char *key, bool truth)
{
    return json_add(container, key, wrap(cJSON_CreateBool(truth)));
}

struct json *json_add_object(struct json *container, const char *key)
{
    struct json *object = json_new_object();

    return json_add(container, key, object) < 0 ? NULL : object;
}

struct json *json_add_array(struct json *container, const char *key)
{
    struct json *array = json_new_array();

    return json_add(container, key, array) < 0 ? NULL : array;
}

const char *json_library_version(void)
{
    return cJSON_Version();
}
