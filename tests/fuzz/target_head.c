/* SPDX-License-Identifier: MIT */
/* target_head.c - the head of an answer: what is read of it, what is judged of it, and for how long
 * it makes us wait. The first byte says what was asked for; then come lines, and after an empty one
 * the body of a refusal. */
#include "sync/fetch_head.h"
#include "sync/transfer_answer.h"
#include "tests/fuzz/fuzz.h"

/* Feeds line by line; returns what of the input is left for the body. */
static size_t feed(struct head_parser *parser, const uint8_t *data, size_t size)
{
    enum head_line line = HEAD_MORE;
    size_t at = 0;

    head_parser_reset(parser);
    while (at < size && line == HEAD_MORE) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t length = end ? (size_t)(end - data) - at + 1 : size - at;
        scoped_free char *bytes = fuzz_bytes(data + at, length);

        line = head_parser_line(parser, bytes, length);
        at += length;
    }
    return at;
}

static void check_head(const struct fetch_head *head)
{
    const char *const texts[] = {head->etag, head->type, head->location, head->min_version,
                                 head->content_md5};

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        require(is_printable(texts[i]) && strlen(texts[i]) < 2 * HEAD_FIELD);
    require(head->status == 0 || (head->status >= 100 && head->status <= 999));
    require(head->length >= -1 && head->range_start >= -1 && head->range_total >= -1);
    require(head->range_start < 0 || head->status == 206);
    require(!head->etag[0] || head->etag[0] == '"');
}

static void check_verdict(const struct fetch_head *head, uint8_t choice)
{
    struct answer_rules rules = {
        .limit = 1000,
        .exact = choice & 1,
        .ranged = choice & 2,
        .offset = choice & 2 ? 100 : 0,
        .tag = choice & 4 ? "\"a\"" : "",
        .form = (enum tree_form)(choice >> 3 & 3),
        .server = choice & 32,
        .vouches = choice & 64,
        .json = choice & 128,
    };
    struct answer_verdict verdict = {.end = ATTEMPT_OK};

    if (choice & 1)
        require(blob_key_from_md5("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1000, &rules.key) == 0);
    answer_judge(&rules, head, &verdict);
    require(is_printable(verdict.message));
    if (verdict.end != ATTEMPT_OK)
        return;
    require(head->status == 200 || head->status == 206);
    require(head->status == 200 || (rules.ranged && head->range_start == 100));
    require(!rules.exact || head->length <= 1000);
}

static void check_refusal(const struct fetch_head *head, const char *body, size_t size)
{
    static const char token[] = "a-token-that-is-long-enough";
    struct answer_refusal refusal = {head->status, token, body, size};
    char message[160] = "";

    require(answer_status_error(&refusal, message, sizeof(message)) < 0);
    require(is_printable(message) && !strcasestr(message, token));
}

static void check_patience(const struct fetch_head *head, uint8_t choice)
{
    struct attempt attempt = {
        .end = ATTEMPT_STATUS,
        .status = head->status,
        .retry_after_s = head->retry_after_s,
        .number = choice & 7,
        .patience = (enum patience)(choice % 3),
    };

    require(retry_decide(&attempt, UINT32_MAX).wait_ms <= 300000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct head_parser parser;
    struct fetch_head head;
    size_t used;

    if (size == 0)
        return 0;
    used = 1 + feed(&parser, data + 1, size - 1);
    head_parser_head(&parser, &head);
    check_head(&head);
    check_verdict(&head, data[0]);
    check_patience(&head, data[0]);
    if (used < size) {
        scoped_free char *body = fuzz_text(data + used, size - used);

        check_refusal(&head, body, size - used);
    }
    return 0;
}
