/* SPDX-License-Identifier: MIT */
/* target_planted.c - the negative control: two callers of good functions, with a mistake each that
 * people make. A fuzzer that does not find them finds nothing. */
#include "sync/fetch_head.h"
#include "tests/fuzz/fuzz.h"

#ifdef PLANTED_ADDRESS
/* How long a file is, a server is believed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_free char *line = fuzz_bytes(data, size);
    scoped_free char *body = calloc(1, 1000);
    struct head_parser parser;

    head_parser_reset(&parser);
    head_parser_line(&parser, line, size);
    if (parser.range_total > 0)
        body[parser.range_total - 1] = 1;
    return 0;
}
#endif

#ifdef PLANTED_UNDEFINED
/* A sum of two numbers, of which each is sound. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_free char *line = fuzz_bytes(data, size);
    struct head_parser parser;
    int seconds;

    head_parser_reset(&parser);
    head_parser_line(&parser, line, size);
    seconds = (int)(parser.length > INT32_MAX ? INT32_MAX : parser.length);
    return seconds + 1000 < seconds;
}
#endif
