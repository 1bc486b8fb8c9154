/* SPDX-License-Identifier: MIT */
/* stack_change.c - one request each. What the server's refusals mean is known here; their words for
 * people are the verb's. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/fetch.h"
#include "sync/json.h"
#include "sync/stack.h"

#define ANSWER_MAX ((uint64_t)64 << 10)

/* A proxy on the way may refuse with a detail of its own: 401 and what is not a refusal by the
 * server's rules keep their ordinary meaning. */
static enum stack_refusal refusal_of(const struct caller_answer *answer)
{
    const char *detail = answer->detail;

    if (answer->status != 400 && answer->status != 403)
        return STACK_NOT_REFUSED;
    if (strcmp(detail, "already_required") == 0 || strcmp(detail, "cannot_remove_required") == 0)
        return STACK_REQUIRED;
    if (strcmp(detail, "no_grant") == 0)
        return STACK_NO_GRANT;
    if (strncmp(detail, "co_session", strlen("co_session")) == 0)
        return STACK_SHARED_SESSION;
    return *detail ? STACK_REFUSED : STACK_NOT_REFUSED;
}

static int change(struct caller *caller, const struct caller_request *request,
                  enum stack_refusal *ret_refusal, char ret_message[static STACK_MESSAGE_SIZE])
{
    scoped(caller_answer_release) struct caller_answer answer = {.status = 0};
    int r = caller_call(caller, request, &answer);

    *ret_refusal = r < 0 ? refusal_of(&answer) : STACK_NOT_REFUSED;
    snprintf(ret_message, STACK_MESSAGE_SIZE, "%s",
             *ret_refusal != STACK_NOT_REFUSED ? answer.detail : answer.message);
    return r;
}

static int no_memory(char ret_message[static STACK_MESSAGE_SIZE])
{
    snprintf(ret_message, STACK_MESSAGE_SIZE, "no memory");
    return -ENOMEM;
}

int stack_add(struct caller *caller, const struct stack_entry *entry,
              enum stack_refusal *ret_refusal, char ret_message[static STACK_MESSAGE_SIZE])
{
    scoped(json_freep) struct json *body = json_new_object();
    scoped_free char *text = NULL;
    size_t size;

    *ret_refusal = STACK_NOT_REFUSED;
    if (!body ||
        json_add_string(body, "resource_type", tree_section(entry->section)->stack_type) < 0 ||
        json_add_string(body, "resource_id", entry->id) < 0 ||
        json_print(body, false, &text, &size) < 0)
        return no_memory(ret_message);

    const struct caller_request request = {.method = "POST",
                                           .path = "/api/stack/subscribe",
                                           .json = text,
                                           .limit = ANSWER_MAX};

    return change(caller, &request, ret_refusal, ret_message);
}

int stack_remove(struct caller *caller, const struct stack_entry *entry,
                 enum stack_refusal *ret_refusal, char ret_message[static STACK_MESSAGE_SIZE])
{
    scoped_free char *escaped = NULL;
    scoped_free char *path = NULL;

    *ret_refusal = STACK_NOT_REFUSED;
    if (fetch_url_escape(entry->id, false, &escaped) < 0)
        return no_memory(ret_message);
    if (asprintf(&path, "/api/stack/subscription/%s/%s", tree_section(entry->section)->stack_type,
                 escaped) < 0) {
        path = NULL;
        return no_memory(ret_message);
    }

    const struct caller_request request = {.method = "DELETE", .path = path, .limit = ANSWER_MAX};

    return change(caller, &request, ret_refusal, ret_message);
}
