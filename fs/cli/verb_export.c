/* SPDX-License-Identifier: MIT */
/* verb_export.c - TARGET is opened, locked and read before anything is fetched: what is wrong with
 * it is said at once. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/document.h"
#include "fs/cli/export.h"
#include "fs/cli/format.h"
#include "fs/cli/mounts.h"
#include "fs/cli/paths.h"
#include "fs/cli/progress.h"
#include "fs/cli/report_text.h"
#include "fs/cli/session.h"
#include "fs/cli/signals.h"
#include "sync/guide.h"
#include "sync/state.h"

struct exportation {
    const struct options *options;
    char *path; /* TARGET, absolute */
    struct session session;
    struct export_target target;
    struct export_record record;
    struct export_result result;
    struct report *report;
};

static void exportation_release(struct exportation *export)
{
    export_result_release(&export->result);
    export_record_release(&export->record);
    export_target_close(&export->target);
    report_free(export->report);
    session_close(&export->session);
    free(export->path);
}

/* --- TARGET --- */

static bool is_within(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* Without touching it: a dead mount would not answer. */
static int refuse_mount(const char *path, struct complaint *ret_complaint)
{
    scoped_free char *above = strdup(path);
    char *slash = above;
    struct mounts_entry entry;

    while (slash) {
        if (mounts_at(above, &entry) == MOUNTS_AGNESFS)
            return complain(ret_complaint, EXIT_USAGE, path, "it is inside a mount");
        if ((slash = strrchr(above, '/')))
            *slash = '\0';
    }
    return above ? 0 : complain(ret_complaint, EXIT_FAILED, "export", "out of memory");
}

static int refuse_cache(const struct exportation *export, struct complaint *ret_complaint)
{
    scoped_free char *cache = realpath(export->session.cache_dir, NULL);

    if (is_within(export->path, cache ? cache : export->session.cache_dir))
        return complain(ret_complaint, EXIT_USAGE, export->path, "it is inside the cache");
    return 0;
}

static int complain_target(const char *path, int error, struct complaint *ret_complaint)
{
    int r;

    switch (error) {
    case -EBUSY: return complain(ret_complaint, EXIT_BUSY, path, "another export is at work there");
    case -ENOTDIR: return complain(ret_complaint, EXIT_DISK, path, "not a folder");
    case -EBADMSG:
        r = complain(ret_complaint, EXIT_DISK, path, ".agnes/export.json is no record of ours");
        complaint_hint(ret_complaint,
                       "without it, no file there is known to be ours; move it away if it is lost");
        return r;
    case -EEXIST:
        return complain(ret_complaint, EXIT_DISK, path, ".agnes/export.tmp is not of our making");
    case -ENOENT:
        r = complain(ret_complaint, EXIT_DISK, path, "the folder that it would be in is missing");
        complaint_hint(ret_complaint, "mkdir -p %s", path);
        return r;
    case -EINTR:
    case -ECANCELED:
        return complain(ret_complaint, EXIT_INTERRUPTED, path,
                        "interrupted; what was exported so far is there");
    case -ENOMEM: return complain(ret_complaint, EXIT_FAILED, path, "out of memory");
    default: return complain(ret_complaint, EXIT_DISK, path, "%s", strerror(-error));
    }
}

/* Nothing of ours is in TARGET before there is a record, so what is called export.tmp is not. */
static int new_record(struct exportation *export)
{
    if (export_target_has(&export->target, ".agnes/export.tmp") != 0)
        return -EEXIST;
    return export_record_new(session_source(&export->session), &export->record);
}

static int open_target(struct exportation *export, struct complaint *ret_complaint)
{
    int r = export_target_open(export->path, &export->target);

    if (r == 0 && (r = export_record_load(export->target.own, &export->record)) == -ENOENT)
        r = new_record(export);
    if (r < 0)
        return complain_target(export->path, r, ret_complaint);
    if (strcmp(export->record.source, session_source(&export->session)) == 0)
        return 0;
    return complain(ret_complaint, EXIT_FAILED, export->path, "it holds an export of %s",
                    export->record.source);
}

/* --- doing it --- */

static int sync_cache(struct exportation *export, struct complaint *ret_complaint)
{
    const struct session *session = &export->session;
    int r = session_refresh(&export->session, REFRESH_FILL, &export->report, ret_complaint);

    if (r < 0 || !export->report->error)
        return r;
    return complain_refresh(ret_complaint, session_source(session), session->discovery.origin,
                            token_present(session->token), export->report->error,
                            export->report->message);
}

static void interrupted(void *arg, int signal)
{
    atomic_store((atomic_bool *)arg, true);
}

static void show_progress(void *arg, const struct export_progress *progress)
{
    progress_show(arg, &(struct progress_state){"looking at what is there", progress->files_total,
                                                progress->files_done, progress->bytes_total,
                                                progress->bytes_done});
}

static int write_files(struct exportation *export, const struct tree *tree)
{
    bool silent = options_flag(export->options, FLAG_QUIET) ||
                  options_flag(export->options, FLAG_JSON);
    atomic_bool stop = false;
    scoped(signals_stopp) struct signals *signals = NULL;
    scoped(progress_freep) struct progress *progress = progress_new(stderr, silent);
    struct export_conf conf = {
        .target = &export->target,
        .record = &export->record,
        .tree = tree,
        .store = export->session.store,
        .stop = &stop,
        .progress = show_progress,
        .arg = progress,
    };
    int r = progress ? signals_start(false, interrupted, &stop, &signals) : -ENOMEM;

    if (r == 0)
        r = export_strategy_parse(options_text(export->options, OPTION_STRATEGY), &conf.strategy);
    return r < 0 ? r : export_run(&conf, &export->result);
}

/* What the mount says of itself, for the folder that this one is. */
static int decorate(void *arg, struct tree_builder *builder)
{
    const struct exportation *export = arg;
    scoped_free char *root = realpath(export->path, NULL);

    return root ? guide_add(builder, root) : negative_errno();
}

static int run(struct exportation *export, struct complaint *ret_complaint)
{
    scoped(state_release) struct state state = {0};
    char why[160] = "";
    bool previous;
    int r;

    if ((r = refuse_cache(export, ret_complaint)) < 0 ||
        (r = open_target(export, ret_complaint)) < 0 || (r = sync_cache(export, ret_complaint)) < 0)
        return r;
    r = state_load(store_dirfd(export->session.store), export->session.filter ? NULL : decorate,
                   export, &state, &previous, why);
    if (r == 0)
        r = session_view(&export->session, decorate, export, &state.tree);
    if (r < 0)
        return complain(ret_complaint, exit_code_of(r), export->session.cache_dir,
                        "state file unreadable: %s", *why ? why : strerror(-r));
    r = write_files(export, state.tree);
    return r < 0 ? complain_target(export->path, r, ret_complaint) : 0;
}

/* --- saying it --- */

static int add_problems(struct json *root, const char *key, const struct export_result *result,
                        bool skipped)
{
    struct json *list = json_add_array(root, key);
    int r = list ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < result->problem_count; i++) {
        const struct export_problem *problem = &result->problems[i];
        struct json *line;

        if (problem->skipped != skipped)
            continue;
        line = json_add_object(list, NULL);
        r = line ? json_add_string(line, "path", problem->path) : -ENOMEM;
        if (r == 0)
            r = json_add_string(line, skipped ? "reason" : "error", problem->reason);
    }
    return r;
}

static int add_counts(struct json *root, const struct export_result *result)
{
    struct json *strategies;
    int r = json_add_u64(root, "written", result->written);

    r |= json_add_u64(root, "unchanged", result->unchanged);
    r |= json_add_u64(root, "removed", result->removed);
    r |= json_add_u64(root, "bytes", result->bytes);
    strategies = json_add_object(root, "strategies");
    if (r < 0 || !strategies)
        return -ENOMEM;
    for (unsigned i = EXPORT_REFLINK; r == 0 && i <= EXPORT_COPY; i++)
        r = json_add_u64(strategies, export_strategy_name((enum export_strategy)i),
                         result->strategies[i]);
    return r;
}

static int print_json(const struct exportation *export)
{
    scoped(json_freep) struct json *root = document_new();
    struct json *report = NULL;

    if (!root || json_add_string(root, "target", export->path) < 0 ||
        add_counts(root, &export->result) < 0 ||
        add_problems(root, "skipped", &export->result, true) < 0 ||
        add_problems(root, "errors", &export->result, false) < 0 ||
        report_json(export->report, &report) < 0 || json_add(root, "sync", report) < 0)
        return -ENOMEM;
    return document_print(root);
}

static void print_counts(const struct export_result *result)
{
    char files[FORMAT_SIZE];
    char bytes[FORMAT_SIZE];

    format_count(result->unchanged, "file is", "files are", files);
    if (result->written == 0 && result->removed == 0) {
        printf("nothing to do: %s as they should be\n", files);
        return;
    }
    format_count(result->written, "file", "files", files);
    format_bytes(result->bytes, bytes);
    printf("%s written, %s", files, bytes);
    for (unsigned i = EXPORT_REFLINK; i <= EXPORT_COPY; i++)
        if (result->strategies[i] > 0)
            printf(", %s %" PRIu64, export_strategy_name((enum export_strategy)i),
                   result->strategies[i]);
    printf("; %" PRIu64 " removed, %" PRIu64 " unchanged\n", result->removed, result->unchanged);
}

static void print_text(const struct exportation *export)
{
    const struct options *options = export->options;
    const struct export_result *result = &export->result;
    bool quiet = options_flag(options, FLAG_QUIET);

    if (!quiet || export->report->error_count > 0)
        report_print(export->report, options_flag(options, FLAG_VERBOSE), quiet ? stderr : stdout);
    for (size_t i = 0; i < result->problem_count; i++)
        warn(result->problems[i].path, "%s: %s",
             result->problems[i].skipped ? "skipped" : "not written", result->problems[i].reason);
    if (!quiet)
        print_counts(result);
}

int verb_export(const struct options *options)
{
    bool has_source = options_operand_count(options) == 2;
    const char *path = options_operand(options, has_source ? 1 : 0);
    scoped(exportation_release) struct exportation export = {.options = options,
                                                             .target = EXPORT_TARGET_NONE};
    struct complaint complaint;
    int code;
    int r = paths_absolute(path, &export.path);

    r = r < 0 ? complain_target(path, r, &complaint) : refuse_mount(export.path, &complaint);
    if (r == 0)
        r = session_open(options, has_source ? options_operand(options, 0) : NULL, STORE_WRITER,
                         &export.session, &complaint);
    if (r == 0)
        r = run(&export, &complaint);
    if (r == 0 && options_flag(options, FLAG_JSON) && print_json(&export) < 0)
        r = complain(&complaint, EXIT_FAILED, "export", "out of memory");
    if (r < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    if (!options_flag(options, FLAG_JSON))
        print_text(&export);
    code = (int)exit_code_of_report(export.report);
    return code == EXIT_OK && export.result.problem_count > 0 ? EXIT_FAILED : code;
}
