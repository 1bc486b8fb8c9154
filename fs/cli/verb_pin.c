/* SPDX-License-Identifier: MIT */
/* verb_pin.c - where a mount serves the source its process does it, since it holds the cache and
 * must know at once what to keep; else this process does. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/answer.h"
#include "fs/cli/document.h"
#include "fs/cli/progress.h"
#include "fs/cli/report_text.h"
#include "fs/cli/session.h"
#include "fs/cli/target.h"
#include "sync/pins.h"

enum { LOOK_PATIENCE_MS = 1000 };

/* The mount to ask: DIR, or whoever holds the cache of the source that mount would take, or the only
 * one if there is no such source; an empty target if nobody does. */
static int find_mount(const struct options *options, struct target *ret_target,
                      struct complaint *ret_complaint)
{
    const char *dir = options_operand(options, 1);
    scoped_free char *mountpoint = NULL;

    if (dir)
        return target_find(dir, ret_target, ret_complaint);
    if (target_unsaid(options, ret_target))
        return 0;
    if (session_find_mount(options, NULL, &mountpoint, ret_complaint) < 0)
        return -EIO;
    return mountpoint ? target_find(mountpoint, ret_target, ret_complaint) : 0;
}

/* The process answers in errno's words (control.c); these have better ones. */
static int better(const char *glob, struct complaint *complaint)
{
    static const int errors[] = {-ENXIO, -ENOENT, -EINVAL, -EFBIG};

    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
        if (strcmp(complaint->why, strerror(-errors[i])) == 0)
            return complain_pin(complaint, glob, errors[i]);
    return -EIO;
}

struct looking {
    const struct target *target;
    struct progress *progress;
};

/* How far the mount's process is. If that can not be told now, then a moment later. */
static void look(void *arg)
{
    const struct looking *looking = arg;
    const struct control_request request = {.verb = "status"};
    scoped(json_freep) struct json *root = NULL;
    struct complaint ignored;

    if (target_ask(looking->target, &request, LOOK_PATIENCE_MS, &root, NULL, &ignored) < 0 ||
        !json_is_true(json_get(root, "refreshing")))
        return;

    const struct json *now = json_get(root, "progress");

    progress_show(looking->progress, &(struct progress_state){"asking for the manifest",
                                                              json_number_of(now, "files_total"),
                                                              json_number_of(now, "files_done"),
                                                              json_number_of(now, "bytes_total"),
                                                              json_number_of(now, "bytes_done")});
}

static int ask(const struct options *options, const struct target *target, const char *verb,
               struct json **ret_root, struct complaint *ret_complaint)
{
    const char *glob = options_operand(options, 0);
    bool silent = options_flag(options, FLAG_QUIET) || options_flag(options, FLAG_JSON);
    scoped(progress_freep) struct progress *progress = progress_new(stderr, silent);
    struct looking looking = {target, progress};
    const struct control_request request = {.verb = verb,
                                            .argument = glob,
                                            .verbose = options_flag(options, FLAG_VERBOSE),
                                            .meanwhile = progress && !silent ? look : NULL,
                                            .meanwhile_arg = &looking};

    return target_ask(target, &request, -1, ret_root, NULL, ret_complaint) < 0
               ? better(glob, ret_complaint)
               : 0;
}

/* --- pin --- */

static int show(const struct session *session, const struct report *report,
                struct complaint *ret_complaint)
{
    const struct options *options = session->options;
    scoped(json_freep) struct json *root = NULL;

    if (options_flag(options, FLAG_JSON)) {
        if (report_json(report, &root) < 0 ||
            json_add_string(root, "source", session_source(session)) < 0 ||
            document_print(root) < 0)
            return complain(ret_complaint, EXIT_FAILED, "pin", "out of memory");
    } else if (!report->error && !options_flag(options, FLAG_QUIET)) {
        report_print(report, options_flag(options, FLAG_VERBOSE), stdout);
    }
    if (!report->error)
        return 0;
    complain_refresh(ret_complaint, session_source(session), session->discovery.origin,
                     token_present(session->token), report->error, report->message);
    ret_complaint->told = options_flag(options, FLAG_JSON);
    return -EIO;
}

static int pin_here(const struct options *options, int *ret_code, struct complaint *ret_complaint)
{
    scoped(session_close) struct session session = {0};
    scoped(report_freep) struct report *report = NULL;

    if (session_open(options, NULL, STORE_WRITER, &session, ret_complaint) < 0 ||
        session_pin(&session, options_operand(options, 0), &report, ret_complaint) < 0 ||
        show(&session, report, ret_complaint) < 0)
        return -EIO;
    *ret_code = (int)exit_code_of_report(report);
    return 0;
}

static int pin_there(const struct options *options, const struct target *target, int *ret_code,
                     struct complaint *ret_complaint)
{
    scoped(json_freep) struct json *root = NULL;

    if (ask(options, target, "pin", &root, ret_complaint) < 0 ||
        answer_show(options, root, ret_complaint) < 0)
        return -EIO;
    *ret_code = answer_code(root);
    return 0;
}

int verb_pin(const struct options *options)
{
    scoped(target_release) struct target target = {0};
    struct complaint complaint;
    int code = EXIT_OK;
    int r = find_mount(options, &target, &complaint);

    if (r == 0)
        r = target.mountpoint ? pin_there(options, &target, &code, &complaint)
                              : pin_here(options, &code, &complaint);
    return r < 0 ? complaint_print(&complaint, options_flag(options, FLAG_JSON)) : code;
}

/* --- unpin --- */

static int unpin_here(const struct options *options, struct complaint *ret_complaint)
{
    const char *glob = options_operand(options, 0);
    scoped(session_close) struct session session = {0};
    struct engine *engine = NULL;
    int r;

    if (session_open(options, NULL, STORE_WRITER, &session, ret_complaint) < 0 ||
        session_engine(&session, &engine, ret_complaint) < 0)
        return -EIO;
    r = engine_unpin(engine, glob);
    engine_free(engine);
    return r < 0 ? complain_pin(ret_complaint, glob, r) : 0;
}

static int print_glob(const char *glob)
{
    scoped(json_freep) struct json *root = document_new();

    return root && json_add_string(root, "unpinned", glob) == 0 ? document_print(root) : -ENOMEM;
}

int verb_unpin(const struct options *options)
{
    scoped(target_release) struct target target = {0};
    scoped(json_freep) struct json *root = NULL;
    struct complaint complaint;
    int r = find_mount(options, &target, &complaint);

    if (r == 0)
        r = target.mountpoint ? ask(options, &target, "unpin", &root, &complaint)
                              : unpin_here(options, &complaint);
    if (r < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    if (options_flag(options, FLAG_JSON))
        print_glob(options_operand(options, 0));
    return EXIT_OK;
}
