/* SPDX-License-Identifier: MIT */
/* confirm.c - why nobody waits for the server: what is to be sent is put into one pointer under the
 * lock, and the thread that takes it out holds the lock over nothing else. */
#include "sync/confirm.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "cache/scoped.h"

enum { PATIENCE_MS = 5000, FAREWELL_MS = 1000, ANSWER_MAX = 64 << 10 };

struct confirm {
    struct caller *caller; /* the thread's */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char *waiting;    /* lock, like the rest; NULL: nothing is */
    int64_t until_ms; /* of what is being sent */
    bool ending;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- the document --- */

/* All that the endpoint takes (contract 5). */
static const enum tree_section told[] = {TREE_DIRECT, TREE_PACKAGES, TREE_MEMORY};

static int add_section(struct json *root, enum tree_section section,
                       const struct report_section *counts)
{
    struct json *object = json_add_object(root, tree_section_name(section));

    if (!object || json_add_u64(object, "added", counts->added) < 0 ||
        json_add_u64(object, "updated", counts->updated) < 0 ||
        json_add_u64(object, "removed", counts->removed) < 0)
        return -ENOMEM;
    return 0;
}

int confirm_render(const struct report *report, char **ret_text)
{
    scoped(json_freep) struct json *root = json_new_object();
    uint64_t errors = report->error_count + (report->error ? 1 : 0);
    size_t size;

    if (!root || json_add_u64(root, "duration_ms", (uint64_t)(report->seconds * 1000)) < 0 ||
        json_add_u64(root, "errors", errors) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++)
        if (add_section(root, told[i], &report->sections[told[i]]) < 0)
            return -ENOMEM;
    return json_print(root, false, ret_text, &size);
}

/* --- the thread --- */

static bool is_late(void *arg)
{
    struct confirm *confirm = arg;

    scoped_lock(&confirm->lock);
    return now_ms() >= confirm->until_ms;
}

static void send_one(struct confirm *confirm, const char *text)
{
    scoped(caller_answer_release) struct caller_answer answer = {.status = 0};
    const struct caller_request request = {
        .method = "POST",
        .path = "/api/sync/pull-confirm",
        .json = text,
        .limit = ANSWER_MAX,
        .give_up = is_late,
        .arg = confirm,
    };

    caller_call(confirm->caller, &request, &answer);
}

/* NULL: it is over. */
static char *next_text(struct confirm *confirm)
{
    scoped_lock(&confirm->lock);
    while (!confirm->waiting && !confirm->ending)
        pthread_cond_wait(&confirm->changed, &confirm->lock);
    if (!confirm->ending)
        confirm->until_ms = now_ms() + PATIENCE_MS;
    return take_ptr(confirm->waiting);
}

static void *confirm_main(void *arg)
{
    struct confirm *confirm = arg;
    char *text;

    while ((text = next_text(confirm))) {
        send_one(confirm, text);
        free(text);
    }
    return NULL;
}

/* --- the others --- */

void confirm_post(struct confirm *confirm, const struct report *report)
{
    char *text = NULL;

    if (!confirm || !report->changed || report->dry_run || confirm_render(report, &text) < 0)
        return;
    scoped_lock(&confirm->lock);
    free(confirm->waiting);
    confirm->waiting = text;
    pthread_cond_signal(&confirm->changed);
}

int confirm_new(const struct caller_conf *conf, struct confirm **ret_confirm)
{
    struct confirm *confirm = calloc(1, sizeof(*confirm));
    int r = confirm ? caller_new(conf, &confirm->caller) : -ENOMEM;

    if (r < 0) {
        free(confirm);
        return r;
    }
    pthread_mutex_init(&confirm->lock, NULL);
    pthread_cond_init(&confirm->changed, NULL);
    r = -pthread_create(&confirm->thread, NULL, confirm_main, confirm);
    if (r < 0) {
        pthread_cond_destroy(&confirm->changed);
        pthread_mutex_destroy(&confirm->lock);
        caller_free(confirm->caller);
        free(confirm);
        return r;
    }
    *ret_confirm = confirm;
    return 0;
}

static void begin_to_end(struct confirm *confirm)
{
    int64_t farewell_ms = now_ms() + FAREWELL_MS;

    scoped_lock(&confirm->lock);
    confirm->ending = true;
    if (confirm->waiting || confirm->until_ms > farewell_ms)
        confirm->until_ms = farewell_ms;
    pthread_cond_signal(&confirm->changed);
}

void confirm_free(struct confirm *confirm)
{
    if (!confirm)
        return;
    begin_to_end(confirm);
    pthread_join(confirm->thread, NULL);
    pthread_cond_destroy(&confirm->changed);
    pthread_mutex_destroy(&confirm->lock);
    caller_free(confirm->caller);
    free(confirm);
}
