/* SPDX-License-Identifier: MIT */
/* target_state.c - a state file whose checksum is right: it is a generation, or it is refused. What
 * was read is written, and read as the same. The input is the text without its last member. */
#include "sync/state_text.h"
#include "tests/fuzz/fuzz.h"

static char *finish(const uint8_t *data, size_t size, size_t *ret_size)
{
    static const char tail[] = STATE_TAIL_BEFORE STATE_TAIL_ZEROS STATE_TAIL_AFTER;
    char digits[STATE_CHECKSUM_DIGITS + 1];
    char *text = malloc(size + sizeof(tail));
    char *place;

    require(text);
    memcpy(text, data, size);
    memcpy(text + size, tail, sizeof(tail));
    *ret_size = size + strlen(tail);
    place = (char *)state_checksum_place(text, *ret_size);
    require(place);
    state_checksum(text, *ret_size, digits);
    memcpy(place, digits, STATE_CHECKSUM_DIGITS);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state state = {.tree = NULL}, again = {.tree = NULL};
    char message[STATE_MESSAGE_SIZE] = "";
    scoped_free char *written = NULL;
    size_t text_size = 0, written_size = 0;

    if (size == 0)
        return 0;

    scoped_free char *text = finish(data, size, &text_size);
    int r = state_text_read(text, text_size, NULL, NULL, &state, message);

    require(strcmp(message, "does not fit its checksum") != 0);
    if (r < 0) {
        require(*message && is_printable(message));
        return 0;
    }
    require(tree_check(state.tree) == 0);
    if (state_text_make(&state, &written, &written_size) == 0) {
        require(state_text_read(written, written_size, NULL, NULL, &again, message) == 0);
        require(tree_equal(state.tree, again.tree));
        state_release(&again);
    }
    state_release(&state);
    return 0;
}
