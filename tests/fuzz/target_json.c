/* SPDX-License-Identifier: MIT */
/* target_json.c - JSON: what is read is written, and what is written is read as the same. */
#include "sync/json.h"
#include "tests/fuzz/fuzz.h"

static const struct json_limits limits = {.bytes = 1 << 16, .depth = 32, .values = 10000};

static char *print(const struct json *root, size_t *ret_size)
{
    char *text = NULL;

    require(json_print(root, false, &text, ret_size) == 0);
    require(strlen(text) == *ret_size);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_free char *text = fuzz_bytes(data, size);
    scoped_free char *once = NULL, *twice = NULL;
    scoped(json_freep) struct json *root = NULL;
    scoped(json_freep) struct json *again = NULL;
    struct json_error error;
    size_t once_size = 0, twice_size = 0;

    if (json_parse(text, size, &limits, &root, &error) < 0) {
        require(error.message[0] && is_printable(error.message) && error.offset <= size);
        return 0;
    }
    once = print(root, &once_size);
    require(json_parse(once, once_size, &limits, &again, &error) == 0);
    twice = print(again, &twice_size);
    require(once_size == twice_size && memcmp(once, twice, once_size) == 0);
    return 0;
}
