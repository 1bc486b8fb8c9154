/* SPDX-License-Identifier: MIT */
/* Why every want ends: it is in the queue, or in the hands of one thread that asks in steps, looks at
 * the end and at the clock between them, and tells. */
#include "fs/cli/borrower.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/paths.h"
#include "fs/cli/session.h"

/* An answer comes within a second, be it that the bytes are still on their way. */
enum { THREADS = 8, STEP_MS = 100, ANSWER_MS = 5000, ANSWER_MAX = 4096 };

struct errand {
    struct errand *next;
    struct borrow borrow;
    want_done done;
    void *arg;
    int64_t until_ms;
};

struct borrower {
    struct borrower_conf conf;
    char *runtime;
    pthread_t threads[THREADS];
    unsigned thread_count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct errand *first; /* lock */
    struct errand *last;  /* lock */
    atomic_bool stopping;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- the question --- */

void borrow_format(const struct borrow *borrow, char ret_text[static BORROW_TEXT_SIZE])
{
    char key[BLOB_KEY_TEXT_SIZE];

    blob_key_format(&borrow->key, key);
    snprintf(ret_text, BORROW_TEXT_SIZE, "%s %" PRIu64 " %" PRIu64 "%s%s", key, borrow->offset,
             borrow->size, borrow->ahead ? " ahead" : "", borrow->rest ? " rest" : "");
}

int borrow_parse(const char *text, struct borrow *ret_borrow)
{
    struct borrow borrow = {.size = 0};
    char key[BLOB_KEY_TEXT_SIZE];
    int end = 0;

    if (sscanf(text, "%57s %" SCNu64 " %" SCNu64 "%n", key, &borrow.offset, &borrow.size, &end) !=
            3 ||
        blob_key_parse(key, &borrow.key) < 0)
        return -EINVAL;
    text += end;
    if (strncmp(text, " ahead", 6) == 0) {
        borrow.ahead = true;
        text += 6;
    }
    if (strcmp(text, " rest") == 0)
        borrow.rest = true;
    else if (*text)
        return -EINVAL;
    if (borrow.offset > borrow.key.size || borrow.size > borrow.key.size - borrow.offset)
        return -EINVAL;
    *ret_borrow = borrow;
    return 0;
}

int borrower_ask(const struct borrower *borrower, const struct control_request *request,
                 int timeout_ms, char **ret_text, size_t *ret_size)
{
    scoped_free char *mountpoint = session_cache_mount(borrower->conf.cache_dir);

    if (!mountpoint || strcmp(mountpoint, borrower->conf.own) == 0)
        return -ENOENT;
    return control_ask(borrower->runtime, mountpoint, request, timeout_ms, ret_text, ret_size);
}

/* --- the answer --- */

static int read_answer(const char *text, size_t size, struct want_result *ret_result)
{
    static const struct json_limits limits = {.bytes = ANSWER_MAX, .depth = 4};
    scoped(json_freep) struct json *root = NULL;
    struct json_error error;
    const char *message;
    uint64_t number = 0;
    uint64_t fresh = 0;
    int r = json_parse(text, size, &limits, &root, &error);

    if (r < 0)
        return r;
    r = json_u64(json_get(root, "errno"), &number);
    if (r < 0)
        return r;
    json_u64(json_get(root, "fresh"), &fresh);
    message = json_string(json_get(root, "message"));
    ret_result->error = -(int)number;
    ret_result->resident = json_is_true(json_get(root, "resident"));
    ret_result->fresh = fresh;
    snprintf(ret_result->message, sizeof(ret_result->message), "%s", message ? message : "");
    return 0;
}

/* One attempt. Negative: nobody answered, or made no sense. -EINPROGRESS in the result: not yet. */
static int ask(const struct borrower *borrower, const struct errand *errand,
               struct want_result *ret_result)
{
    char argument[BORROW_TEXT_SIZE];
    const struct control_request request = {.verb = "want", .argument = argument};
    scoped_free char *text = NULL;
    size_t size;
    int r;

    borrow_format(&errand->borrow, argument);
    r = borrower_ask(borrower, &request, ANSWER_MS, &text, &size);
    return r < 0 ? r : read_answer(text, size, ret_result);
}

static void take_a_step(void)
{
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000};

    nanosleep(&step, NULL);
}

/* We have the cache by now: the want is ours. True: somebody else will tell. */
static bool hand_over(const struct borrower *borrower, const struct errand *errand)
{
    const struct borrow *borrow = &errand->borrow;
    struct engine *engine = borrower->conf.engine;

    if (engine_follows(engine))
        return false;
    if (!borrow->ahead)
        return engine_want(engine, &borrow->key, borrow->offset,
                           borrow->size ? borrow->size : borrow->key.size, errand->done,
                           errand->arg) == 0;
    engine_want_ahead(engine, &borrow->key, borrow->offset, borrow->size, borrow->rest);
    return false;
}

static void run(const struct borrower *borrower, const struct errand *errand)
{
    struct want_result result = {.key = errand->borrow.key};
    int r;

    while ((r = ask(borrower, errand, &result)) < 0 || result.error == -EINPROGRESS) {
        if (r < 0 && hand_over(borrower, errand))
            return;
        if (borrower->stopping || errand->borrow.ahead || now_ms() >= errand->until_ms)
            break;
        if (r < 0)
            take_a_step();
    }
    if (r < 0 || result.error == -EINPROGRESS) {
        result.error = borrower->stopping ? -ECANCELED : -ETIMEDOUT;
        snprintf(result.message, sizeof(result.message), "%s",
                 borrower->stopping ? "stopped" : "the process that has the cache does not answer");
    }
    errand->done(errand->arg, &result);
}

/* --- the threads --- */

static struct errand *take(struct borrower *borrower)
{
    struct errand *errand;

    scoped_lock(&borrower->lock);
    while (!borrower->first && !borrower->stopping)
        pthread_cond_wait(&borrower->changed, &borrower->lock);
    errand = borrower->first;
    if (errand) {
        borrower->first = errand->next;
        if (!borrower->first)
            borrower->last = NULL;
    }
    return errand;
}

/* At the end the queue is told too: take answers NULL only when it is empty. */
static void *borrower_main(void *arg)
{
    struct borrower *borrower = arg;
    struct errand *errand;

    while ((errand = take(borrower))) {
        const struct want_result stopped = {.error = -ECANCELED, .message = "stopped"};

        if (borrower->stopping)
            errand->done(errand->arg, &stopped);
        else
            run(borrower, errand);
        free(errand);
    }
    return NULL;
}

int borrower_want(struct borrower *borrower, const struct borrow *borrow, want_done done, void *arg)
{
    struct errand *errand = malloc(sizeof(*errand));

    if (!errand)
        return -ENOMEM;
    *errand = (struct errand){
        .borrow = *borrow,
        .done = done,
        .arg = arg,
        .until_ms = now_ms() + (int64_t)borrower->conf.timeout_s * 1000,
    };
    scoped_lock(&borrower->lock);
    if (borrower->stopping) {
        free(errand);
        return -ECANCELED;
    }
    if (borrower->last)
        borrower->last->next = errand;
    else
        borrower->first = errand;
    borrower->last = errand;
    pthread_cond_signal(&borrower->changed);
    return 0;
}

int borrower_new(const struct borrower_conf *conf, struct borrower **ret_borrower)
{
    struct borrower *borrower = calloc(1, sizeof(*borrower));
    int r;

    if (!borrower)
        return -ENOMEM;
    borrower->conf = *conf;
    pthread_mutex_init(&borrower->lock, NULL);
    pthread_cond_init(&borrower->changed, NULL);
    r = paths_runtime(&borrower->runtime);
    for (; r == 0 && borrower->thread_count < THREADS; borrower->thread_count += r == 0)
        r = -pthread_create(&borrower->threads[borrower->thread_count], NULL, borrower_main,
                            borrower);
    if (r < 0) {
        borrower_free(borrower);
        return r;
    }
    *ret_borrower = borrower;
    return 0;
}

void borrower_free(struct borrower *borrower)
{
    if (!borrower)
        return;
    {
        scoped_lock(&borrower->lock);
        borrower->stopping = true;
        pthread_cond_broadcast(&borrower->changed);
    }
    for (unsigned i = 0; i < borrower->thread_count; i++)
        pthread_join(borrower->threads[i], NULL);
    pthread_cond_destroy(&borrower->changed);
    pthread_mutex_destroy(&borrower->lock);
    free(borrower->runtime);
    free(borrower);
}
