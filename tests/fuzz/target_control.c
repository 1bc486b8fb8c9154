/* SPDX-License-Identifier: MIT */
/* target_control.c - a line on the control socket: a request, or an error in words; and what the verb
 * that has most to read takes from it. */
#include "fs/cli/borrower.h"
#include "sync/json.h"
#include "tests/fuzz/fuzz.h"

static void check_borrow(const char *text)
{
    struct borrow borrow, again;
    char written[BORROW_TEXT_SIZE];

    if (borrow_parse(text, &borrow) < 0)
        return;
    require(borrow.offset <= borrow.key.size && borrow.size <= borrow.key.size - borrow.offset);
    borrow_format(&borrow, written);
    require(borrow_parse(written, &again) == 0);
    require(blob_key_equal(&borrow.key, &again.key) && borrow.offset == again.offset &&
            borrow.size == again.size && borrow.ahead == again.ahead && borrow.rest == again.rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_free char *line = fuzz_text(data, size);
    scoped(json_freep) struct json *root = NULL;
    struct control_request request;
    int r;

    if (size >= CONTROL_REQUEST_SIZE)
        return 0;
    check_borrow(line);
    r = control_read_request(line, &root, &request);
    if (r < 0) {
        scoped_free char *text = NULL;
        scoped(json_freep) struct json *answer = NULL;
        struct json_error error;
        size_t text_size = 0;

        require(control_error_text(r, &text, &text_size) == 0);
        require(json_parse(text, text_size, &(struct json_limits){.bytes = 4096, .depth = 2},
                           &answer, &error) == 0);
        return 0;
    }
    require(request.verb);
    if (request.argument)
        check_borrow(request.argument);
    return 0;
}
