/* SPDX-License-Identifier: MIT */
/* target_answers.c - the server's other documents: my stack and its slugs, a digest, a refusal. The
 * first byte says which. */
#include "sync/digest_page.h"
#include "sync/stack.h"
#include "sync/transfer_answer.h"
#include "tests/fuzz/fuzz.h"

static void check_stack(const char *text, size_t size, bool slugs)
{
    scoped(stack_freep) struct stack *stack = calloc(1, sizeof(*stack));
    char message[STACK_MESSAGE_SIZE] = "";
    static const char list[] = "{\"items\":[{\"id\":\"1\",\"name\":\"Sales\",\"in_stack\":true}]}";
    int r;

    require(stack);
    if (slugs) {
        require(stack_read_list(stack, TREE_PACKAGES, list, strlen(list), message) == 0);
        r = stack_read_slugs(stack, text, size, message);
    } else {
        r = stack_read_list(stack, TREE_PACKAGES, text, size, message);
    }
    require(r == 0 || *message);
    for (size_t i = 0; i < stack->count; i++) {
        scoped_free char *label = stack_label(&stack->entries[i]);
        const struct stack_entry *found = NULL;

        require(label && *stack->entries[i].id);
        stack_find(stack, label, &found);
    }
}

#define TOKEN "a-token-that-is-long-enough"

static void check_page(const char *text, size_t size)
{
    scoped_free char *page = NULL;
    size_t page_size = 0;

    if (digest_page_make(text, size, &page, &page_size) == 0)
        require(page_size > 0 && strlen(page) == page_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char detail[ANSWER_DETAIL_SIZE];

    if (size == 0)
        return 0;

    scoped_free char *text = fuzz_text(data + 1, size - 1);

    switch (data[0] & 3) {
    case 0: check_stack(text, size - 1, false); break;
    case 1: check_stack(text, size - 1, true); break;
    case 2: check_page(text, size - 1); break;
    default:
        answer_detail(&(struct answer_refusal){.status = 403,
                                               .token = TOKEN,
                                               .body = text,
                                               .body_size = size - 1},
                      detail);
        require(strlen(detail) < sizeof(detail) && is_printable(detail));
        require(!strstr(detail, TOKEN));
    }
    return 0;
}
