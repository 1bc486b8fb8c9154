/* SPDX-License-Identifier: MIT */
/* Why no wrong body gets far: everything that can be known from the head is compared here, before a
 * byte is written. What the head does not say is left to the byte cap and the digest. */
#include "sync/transfer_answer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/json.h"
#include "sync/names.h"
#include "sync/source.h"

__attribute__((format(printf, 4, 5))) static void say(struct answer_verdict *verdict,
                                                      enum attempt_end end, int error,
                                                      const char *format, ...)
{
    va_list arguments;

    verdict->end = end;
    verdict->error = error;
    va_start(arguments, format);
    vsnprintf(verdict->message, sizeof(verdict->message), format, arguments);
    va_end(arguments);
}

/* Queries may carry signatures, and what stands before an @ a password: neither gets into messages. */
static void refuse_redirect(const struct fetch_head *head, struct answer_verdict *verdict)
{
    const char *to = head->location;
    int size = (int)strcspn(to, "?#");
    const char *at = memchr(to, '@', (size_t)size);

    if (size == 0 || at)
        say(verdict, ATTEMPT_REFUSED, -EPROTO, "the server answered %d%s", head->status,
            at ? ", moved to an address with a user name, not followed" : "");
    else
        say(verdict, ATTEMPT_REFUSED, -EPROTO, "moved to %.*s, not followed (%d)",
            size > 110 ? 110 : size, to, head->status);
}

/* "1.20.3" as its first three numbers, the more significant the larger; 0 for what is none. */
static uint64_t version_rank(const char *text)
{
    unsigned numbers[3] = {0};

    if (sscanf(text, "%5u.%5u.%5u", &numbers[0], &numbers[1], &numbers[2]) < 1)
        return 0;
    return ((uint64_t)numbers[0] << 40) + ((uint64_t)numbers[1] << 20) + numbers[2];
}

/* The floor that a server sets for its clients counts versions of Agnes (contract 1.8). */
static bool too_old_for(const char *floor)
{
    return version_rank(floor) > version_rank(SOURCE_CONTRACT);
}

static bool type_fits(const struct answer_rules *rules, const char *type)
{
    if (strcmp(type, "text/html") == 0)
        return false;
    if (rules->document)
        return !rules->json || !rules->server || strcmp(type, "application/json") == 0;
    if (rules->form == FORM_DIGEST)
        return !rules->server || strcmp(type, "application/json") == 0;
    if (rules->form != FORM_BUNDLE || strcmp(type, "text/markdown") == 0)
        return true;
    return !rules->server && (type[0] == '\0' || strcmp(type, "text/plain") == 0 ||
                              strcmp(type, "application/octet-stream") == 0);
}

static void judge_range(const struct answer_rules *rules, const struct fetch_head *head,
                        struct answer_verdict *verdict)
{
    if (!rules->ranged || head->range_start < 0 || (uint64_t)head->range_start != rules->offset)
        say(verdict, ATTEMPT_MISFIT, -EPROTO, "the server sent a range that was not asked for");
    else if (head->range_total >= 0 && (uint64_t)head->range_total != rules->key.size)
        say(verdict, ATTEMPT_MISFIT, -EBADMSG,
            "the server has %" PRId64 " bytes, the manifest says %" PRIu64, head->range_total,
            rules->key.size);
    else if (rules->tag[0] && head->etag[0] && strcmp(rules->tag, head->etag) != 0)
        say(verdict, ATTEMPT_MISFIT, -EPROTO, "the server sent a range of another version");
    else if (head->length > 0 && (uint64_t)head->length > rules->key.size - rules->offset)
        say(verdict, ATTEMPT_MISFIT, -EBADMSG,
            "the server sends %" PRId64 " bytes from byte %" PRIu64 ", the manifest says %" PRIu64
            " in all",
            head->length, rules->offset, rules->key.size);
    else
        verdict->unpinned = rules->tag[0] == '\0' && head->etag[0] == '\0';
}

static void judge_length(const struct answer_rules *rules, const struct fetch_head *head,
                         struct answer_verdict *verdict)
{
    if (head->length < 0)
        return;
    bool known = rules->key.kind != BLOB_NONE;
    uint64_t size = known ? rules->key.size : rules->limit;

    if ((known || rules->exact) && (uint64_t)head->length != size)
        say(verdict, ATTEMPT_CORRUPT, -EBADMSG,
            "the server has %" PRId64 " bytes, the manifest says %" PRIu64, head->length, size);
    else if (!known && (uint64_t)head->length > rules->limit)
        say(verdict, ATTEMPT_REFUSED, -EPROTO,
            "the server has %" PRId64 " bytes, more than the %" PRIu64 " allowed", head->length,
            rules->limit);
}

/* A part comes with the digest of its bytes (contract 2): of other bytes than the manifest promised
 * none need come. */
static bool is_other(const struct answer_rules *rules, const struct fetch_head *head,
                     struct answer_verdict *verdict)
{
    struct blob_key key;

    if (!rules->vouches || rules->key.kind != BLOB_MD5 || head->status != 200 ||
        head->length <= 0 ||
        blob_key_from_md5(head->content_md5, (uint64_t)head->length, &key) < 0 ||
        memcmp(key.digest, rules->key.digest, sizeof(key.digest)) == 0)
        return false;
    say(verdict, ATTEMPT_REFUSED, -EBADMSG,
        "the server has another version than the manifest says");
    verdict->other = key;
    return true;
}

void answer_judge(const struct answer_rules *rules, const struct fetch_head *head,
                  struct answer_verdict *ret_verdict)
{
    *ret_verdict = (struct answer_verdict){.end = ATTEMPT_OK};

    if (head->status == 416 && rules->ranged)
        say(ret_verdict, ATTEMPT_MISFIT, -EPROTO, "the server has less than was there before");
    else if (head->status >= 300 && head->status < 400)
        refuse_redirect(head, ret_verdict);
    else if (head->status >= 400)
        ret_verdict->end = ATTEMPT_STATUS;
    else if (head->status != 200 && head->status != 206)
        say(ret_verdict, ATTEMPT_REFUSED, -EPROTO, "the server answered %d", head->status);
    else if (rules->json && too_old_for(head->min_version))
        say(ret_verdict, ATTEMPT_REFUSED, -ENOTSUP,
            "the server wants clients of Agnes %.40s or newer, this one is of %s",
            head->min_version, SOURCE_CONTRACT);
    else if (!type_fits(rules, head->type))
        say(ret_verdict, ATTEMPT_REFUSED, -EPROTO, "the server sent %s, not %s",
            head->type[0] ? head->type : "something without a type",
            rules->form == FORM_BUNDLE                      ? "text/markdown"
            : rules->document || rules->form == FORM_DIGEST ? "JSON"
                                                            : "data");
    else if (head->endless && rules->form == FORM_BUNDLE && !rules->document)
        say(ret_verdict, ATTEMPT_REFUSED, -EPROTO, "the server does not say where the bundle ends");
    else if (head->status == 206)
        judge_range(rules, head, ret_verdict);
    else if (!is_other(rules, head, ret_verdict))
        judge_length(rules, head, ret_verdict);
    ret_verdict->whole = ret_verdict->end == ATTEMPT_OK && head->status == 200 && rules->ranged;
}

/* --- refusals --- */

void answer_detail(const struct answer_refusal *refusal, char ret_text[static ANSWER_DETAIL_SIZE])
{
    static const struct json_limits limits = {.bytes = 64 << 10, .depth = 32};
    scoped(json_freep) struct json *root = NULL;
    char printable[NAME_PRINTABLE_SIZE];
    struct json_error error;

    ret_text[0] = '\0';
    if (refusal->body_size == 0 ||
        json_parse(refusal->body, refusal->body_size, &limits, &root, &error) < 0)
        return;

    const struct json *detail = json_get(root, "detail");
    const char *words = json_string(detail);

    words = words ? words : json_string(json_get(detail, "hint"));
    words = words ? words : json_string(json_get(detail, "code"));
    if (!words || fetch_quotes(words, refusal->token))
        return;
    name_printable(words, printable);
    snprintf(ret_text, ANSWER_DETAIL_SIZE, "%.*s", ANSWER_DETAIL_SIZE - 1, printable);
}

static void refuse(const struct answer_refusal *refusal, const char *what, char *ret_message,
                   size_t size)
{
    char detail[ANSWER_DETAIL_SIZE];

    answer_detail(refusal, detail);
    snprintf(ret_message, size, "%s (%d)%s%s", what, refusal->status, detail[0] ? ": " : "",
             detail);
}

int answer_status_error(const struct answer_refusal *refusal, char *ret_message, size_t size)
{
    int status = refusal->status;

    switch (status) {
    case 401:
        refuse(refusal,
               refusal->token ? "the server refused the token" : "the server wants a token",
               ret_message, size);
        return -EACCES;
    case 403: refuse(refusal, "the server refused access", ret_message, size); return -EACCES;
    case 404:
    case 410:
        snprintf(ret_message, size, "the source does not have it (%d)", status);
        return -ESTALE;
    default: snprintf(ret_message, size, "the server answered %d", status); break;
    }
    return status == 408 || status == 425 || status == 429 || status >= 500 ? -EAGAIN : -EPROTO;
}
