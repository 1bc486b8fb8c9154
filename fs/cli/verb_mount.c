/* SPDX-License-Identifier: MIT */
/* verb_mount.c - everything happens in the process that will service, so that what fails, fails where
 * it can say so; the parent only passes on the exit code (daemon.h). The report to the parent comes
 * after everything has been taken down again on failure: whoever tries once more finds no lock. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/daemon.h"
#include "fs/cli/document.h"
#include "fs/cli/format.h"
#include "fs/cli/mounts.h"
#include "fs/cli/paths.h"
#include "fs/cli/service.h"
#include "fs/cli/status_doc.h"
#include "fs/cli/target.h"
#include "fs/cli/unmount.h"

enum { FIRST_REFRESH_MS = 2000 };

/* Says at once what mount_new would say only after the first refresh. */
static int check_mountpoint(const char *path, struct complaint *ret_complaint)
{
    struct mounts_entry entry;
    struct stat st;
    unsigned dead;

    /* What processes of ours left behind when they died makes way. */
    if (!target_is_mount(path) && unmount_dead(path, &dead) < 0)
        return complain_mount(ret_complaint, path, -ENOTCONN);
    if (mounts_at(path, &entry) != MOUNTS_NOTHING)
        return complain_mount(ret_complaint, path, -EBUSY);
    if (stat(path, &st) < 0)
        return complain_mount(ret_complaint, path, negative_errno());
    return S_ISDIR(st.st_mode) ? 0 : complain_mount(ret_complaint, path, -ENOTDIR);
}

static int print_json(const struct service *service, const struct tree *tree,
                      const struct stack_counts *counts)
{
    scoped(json_freep) struct json *root = document_new();

    if (!root)
        return -ENOMEM;

    int r = json_add_string(root, "mountpoint", service->mountpoint);

    r |= json_add_string(root, "source", session_source(service->session));
    r |= json_add_u64(root, "pid", (uint64_t)getpid());
    r |= json_add_u64(root, "generation", tree_generation(tree));
    r |= json_add_u64(root, "tables", counts->tables);
    r |= json_add_u64(root, "packages", counts->packages);
    r |= json_add_u64(root, "domains", counts->domains);
    r |= json_add_u64(root, "artifacts", counts->artifacts);
    r |= json_add_u64(root, "bytes", counts->bytes);
    r |= json_add_string(root, "log", service->log_path);
    return r < 0 ? r : document_print(root);
}

static void print_line(const struct service *service, const struct stack_counts *counts)
{
    char tables[FORMAT_SIZE];
    char packages[FORMAT_SIZE];
    char domains[FORMAT_SIZE];
    char artifacts[FORMAT_SIZE];
    char bytes[FORMAT_SIZE];

    format_count(counts->tables, "table", "tables", tables);
    format_count(counts->packages, "package", "packages", packages);
    format_count(counts->domains, "memory bundle", "memory bundles", domains);
    format_bytes(counts->bytes, bytes);
    format_count(counts->artifacts, "knowledge artifact", "knowledge artifacts", artifacts);
    printf("agnesfs: %s in %s (%s), %s%s%s at ", tables, packages, bytes, domains,
           counts->artifacts ? ", " : "", counts->artifacts ? artifacts : "");
    print_escaped(stdout, service->mountpoint);
    if (service->log_path) {
        fputs(" (log: ", stdout);
        print_escaped(stdout, service->log_path);
        fputc(')', stdout);
    }
    fputc('\n', stdout);
}

/* The mount answers. Gives the first refresh a moment, then says what there is. */
static void announce(struct service *service)
{
    const struct options *options = service->session->options;
    scoped(report_freep) struct report *report = NULL;
    int r = service_first_report(service, FIRST_REFRESH_MS, &report);
    scoped(tree_unrefp) struct tree *tree = engine_tree(service->engine);
    struct stack_counts counts;

    stack_count(tree, &counts);
    if (options_flag(options, FLAG_JSON))
        print_json(service, tree, &counts);
    else if (!options_flag(options, FLAG_QUIET))
        print_line(service, &counts);
    if (service->before.pid && !options_flag(options, FLAG_QUIET))
        warn(service->mountpoint, "the process before, %d, was %s", (int)service->before.pid,
             service->before.reason);
    if (r == 0 && report->error && !options_flag(options, FLAG_QUIET))
        warn(session_source(service->session), "%s; showing the last generation known",
             report->message);
    else if (r == 0 && report->error_count > 0 && !options_flag(options, FLAG_QUIET))
        warn(session_source(service->session), "not all is well: agnesfs status %s",
             service->mountpoint);
}

/* Serves until the end. daemon_report has been called when it returns EXIT_OK. */
static int serve_session(struct session *session, struct mounter *mounter, char *mountpoint,
                         struct daemon *daemon, struct control **ret_control)
{
    struct complaint complaint;
    struct service service;
    char *log_path = NULL;
    int code = EXIT_OK;

    if (!options_flag(session->options, FLAG_FOREGROUND) &&
        asprintf(&log_path, "%s/log", session->state_dir) < 0)
        log_path = NULL;
    if (service_open(session, mounter, mountpoint, log_path, &service, &complaint) < 0 ||
        service_mount(&service, &complaint) < 0) {
        code = complaint_print(&complaint, options_flag(session->options, FLAG_JSON));
    } else {
        announce(&service);
        daemon_report(daemon, EXIT_OK);
        if (service_wait(&service) < 0)
            code = EXIT_MOUNT;
    }
    service_close(&service);
    *ret_control = service.control;
    return code;
}

static void mounter_freep(struct mounter *const *mounter)
{
    mounter_free(*mounter);
}

/* *ret_reported: the parent knows. */
static int run(const struct options *options, struct daemon *daemon, bool *ret_reported)
{
    bool has_source = options_operand_count(options) == 2;
    const char *dir = options_operand(options, has_source ? 1 : 0);
    struct session session = {0};
    struct control *control = NULL;
    struct complaint complaint;
    scoped_free char *path = NULL;
    scoped(mounter_freep) struct mounter *mounter = NULL;
    int code;
    int r = paths_absolute(dir, &path);

    r = r < 0 ? complain_mount(&complaint, dir, r) : check_mountpoint(path, &complaint);
    if (r == 0 &&
        (r = mounter_new(path, options_number(options, OPTION_ALLOW_OTHER), &mounter)) < 0)
        complain_mount(&complaint, path, r);
    if (r == 0)
        r = session_open(options, has_source ? options_operand(options, 0) : NULL, STORE_WRITER,
                         &session, &complaint);
    if (r < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    code = serve_session(&session, mounter, take_ptr(path), daemon, &control);
    *ret_reported = code == EXIT_OK;
    session_close(&session);
    mounter_free(take_ptr(mounter));
    control_free(control);
    return code;
}

int verb_mount(const struct options *options)
{
    struct daemon *daemon = NULL;
    bool reported = false;
    int code;

    daemon_prepare();
    if (!options_flag(options, FLAG_FOREGROUND) && daemon_fork(&daemon, &code))
        return code;
    code = run(options, daemon, &reported);
    if (!reported)
        daemon_report(daemon, code);
    return code;
}
