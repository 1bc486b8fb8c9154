/* SPDX-License-Identifier: MIT */
/* What the source says, and whether we believe it. Why an empty section is no withdrawal: a server
 * whose database hiccups says [] with status 200 (contract 1.8). So where rows were, an empty array
 * counts only if a second witness agrees: the server's list of my stack, or, where there is none,
 * the next manifest. A witness that can not be heard has not agreed. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"

int refresh_fail(struct refresh *refresh, int error, const char *format, ...)
{
    struct report *report = refresh->report;
    va_list arguments;

    report->error = error;
    va_start(arguments, format);
    vsnprintf(report->message, sizeof(report->message), format, arguments);
    va_end(arguments);
    return error;
}

/* --- a document, waited for --- */

void document_release(const struct document *document)
{
    free(document->text);
}

static void on_document(void *arg, const struct want_result *result, const char *bytes, size_t size)
{
    struct document *document = arg;
    char *copy = result->error == 0 ? malloc(size + 1) : NULL;

    if (copy)
        memcpy(copy, bytes, size + 1);
    scoped_lock(&document->engine->lock);
    document->result = *result;
    if (result->error == 0 && !copy)
        document->result.error = -ENOMEM;
    document->text = copy;
    document->size = size;
    document->arrived = true;
    pthread_cond_broadcast(&document->engine->changed);
}

int document_get(struct refresh *refresh, const char *url, uint64_t limit,
                 struct document *ret_document)
{
    struct engine *engine = refresh->engine;
    int r;

    *ret_document = (struct document){.engine = engine};
    r = transfers_get(engine->transfers, url, true, limit, on_document, ret_document);
    if (r < 0)
        return r;
    scoped_lock(&engine->lock);
    while (!ret_document->arrived)
        pthread_cond_wait(&engine->changed, &engine->lock);
    refresh->report->requests += ret_document->result.requests;
    return ret_document->result.error;
}

/* Whoever had packages or memory does not become a server from before there were any. */
static bool knows_sections(const struct tree *last)
{
    for (uint32_t i = 0; last && i < tree_group_count(last); i++) {
        if (tree_group(last, i)->section != TREE_DIRECT)
            return true;
    }
    return false;
}

int refresh_fetch_manifest(struct refresh *refresh)
{
    const struct source *source = refresh->engine->conf.source;
    scoped(document_release) struct document document;
    struct manifest_error error;
    int64_t asked_ms = signed_now_ms();
    int r = document_get(refresh, source_manifest_url(source), MANIFEST_BYTES_MAX, &document);

    if (r == -ESTALE)
        return refresh_fail(refresh, -EPROTO, "no manifest there (%d)", document.result.status);
    if (r < 0)
        return refresh_fail(refresh, r, "%s",
                            document.result.message[0] ? document.result.message : "stopped");
    if (refresh_recall(refresh, document.text, document.size))
        return 0;
    r = manifest_parse(document.text, document.size, source, &refresh->manifest, &error);
    if (r < 0)
        return refresh_fail(refresh, r, "not a manifest: %s",
                            r == -EPROTO ? error.message : "no memory");
    if (manifest_is_flat(refresh->manifest) && knows_sections(refresh->last))
        manifest_disbelieve(refresh->manifest);
    if (manifest_leave_out(refresh->manifest, refresh->engine->conf.filter) < 0)
        return refresh_fail(refresh, -ENOMEM, "no memory");
    engine_renew_signed(refresh->engine, refresh->manifest, asked_ms);
    return 0;
}

/* --- doubts --- */

/* An item of which the server does not say whether it is in the stack counts as one that is. */
static bool stack_is_empty(const char *text, size_t size)
{
    static const struct json_limits limits = {.bytes = STACK_MAX, .depth = 32};
    scoped(json_freep) struct json *root = NULL;
    struct json_error error;
    const struct json *items;

    if (json_parse(text, size, &limits, &root, &error) < 0)
        return false;
    items = json_get(root, "items");
    if (json_type(items) != JSON_ARRAY)
        return false;
    for (const struct json *item = json_first(items); item; item = json_next(item)) {
        const struct json *in_stack = json_get(item, "in_stack");

        if (json_type(in_stack) != JSON_BOOL || json_is_true(in_stack))
            return false;
    }
    return true;
}

static bool server_confirms(struct refresh *refresh, const char *url)
{
    scoped(document_release) struct document document;

    return document_get(refresh, url, STACK_MAX, &document) == 0 &&
           stack_is_empty(document.text, document.size);
}

/* The second manifest in a row that says so is its own witness, where there is no better one. */
static bool emptiness_confirmed(struct refresh *refresh, enum tree_section section)
{
    scoped_free char *url = NULL;
    int r = source_stack_url(refresh->engine->conf.source, section, &url);

    if (r == 0)
        return server_confirms(refresh, url);
    if (refresh->doubt_since[section] != 0)
        return true;
    refresh->doubt_since[section] = engine_unix_now();
    return false;
}

/* True if a section that was suddenly empty is empty indeed. */
static bool judge_doubts(struct refresh *refresh, bool ret_confirmed[static TREE_SECTIONS])
{
    bool any = false;

    for (enum tree_section section = 0; section < TREE_SECTIONS; section++) {
        bool present = manifest_section(refresh->manifest, section) == SECTION_PRESENT;

        if (plan_section_suddenly_empty(refresh->plan, section)) {
            ret_confirmed[section] = emptiness_confirmed(refresh, section);
            any |= ret_confirmed[section];
            if (ret_confirmed[section])
                refresh->doubt_since[section] = 0;
        } else if (present) {
            refresh->doubt_since[section] = 0;
        }
    }
    return any;
}

/* --- the plan --- */

static bool is_resident(void *arg, const struct blob_key *key)
{
    const struct refresh *refresh = arg;

    /* What is there but not trusted will be read before it is served: no reason to fetch it. */
    return store_holds(refresh->engine->conf.store, key);
}

static bool is_superseded(void *arg, const struct blob_key *key)
{
    const struct refutation *known = refresh_refutation(arg, key);

    return known && known->result.other.kind != BLOB_NONE;
}

static int64_t first_seen(void *arg, const struct blob_key *key)
{
    const struct refresh *refresh = arg;

    return first_seen_ask(refresh->engine->first_seen, key, refresh->now_ns);
}

int refresh_plan(struct refresh *refresh)
{
    struct plan_inputs inputs = {
        .manifest = refresh->manifest,
        .last = refresh->last,
        .resident = is_resident,
        .superseded = is_superseded,
        .first_seen = first_seen,
        .arg = refresh,
        .now_ns = refresh->now_ns,
    };
    int r = plan_make(&inputs, &refresh->plan);

    if (r == 0 && judge_doubts(refresh, inputs.empty_confirmed)) {
        plan_free(take_ptr(refresh->plan));
        r = plan_make(&inputs, &refresh->plan);
    }
    return r < 0 ? refresh_fail(refresh, r, "no memory") : 0;
}
