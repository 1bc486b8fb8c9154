/* SPDX-License-Identifier: MIT */
/* verb_status.c - everything comes from the documents that the mounts' processes send; a mount that
 * does not answer is reported, and the others are shown all the same. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/control.h"
#include "fs/cli/death.h"
#include "fs/cli/discovery.h"
#include "fs/cli/document.h"
#include "fs/cli/format.h"
#include "fs/cli/metrics.h"
#include "fs/cli/options.h"
#include "fs/cli/paths.h"
#include "fs/cli/target.h"
#include "fs/cli/watch.h"

enum { PATIENCE_MS = 10 * 1000, SCRAPE_MS = 2 * 1000 };

static void print_bytes_line(const struct json *root)
{
    char bytes[FORMAT_SIZE];
    char resident[FORMAT_SIZE];

    format_bytes(json_number_of(root, "bytes"), bytes);
    format_bytes(json_number_of(root, "resident_bytes"), resident);
    printf("  contents    %" PRIu64 " tables in %" PRIu64 " packages, %" PRIu64 " memory bundles",
           json_number_of(root, "tables"), json_number_of(root, "packages"),
           json_number_of(root, "domains"));
    if (json_number_of(root, "artifacts") > 0)
        printf(", %" PRIu64 " knowledge artifacts", json_number_of(root, "artifacts"));
    printf("; %s, of which %s here\n", bytes, resident);
}

static void print_refresh_line(const struct json *root)
{
    char age[FORMAT_SIZE];

    format_duration(json_number_of(root, "age_seconds"), age);
    printf("  generation  %" PRIu64 ", ", json_number_of(root, "generation"));
    if (*json_text_of(root, "last_refresh"))
        printf("confirmed %s ago%s\n", age,
               json_is_true(json_get(root, "refreshing")) ? ", refreshing now" : "");
    else
        puts("not confirmed yet");
    if (*json_text_of(root, "error")) {
        fputs("  error       ", stdout);
        print_escaped(stdout, json_text_of(root, "error"));
        fputc('\n', stdout);
    }
}

static void print_token_line(const struct json *root)
{
    char ends[FORMAT_SIZE];
    char soon[FORMAT_SIZE];

    format_time((uint64_t)time(NULL) + TOKEN_HINT_S, soon);
    snprintf(ends, sizeof(ends), "%s", json_text_of(root, "token_ends"));
    if (*ends && strcmp(ends, soon) < 0) /* RFC 3339 in UTC is in order of time */
        printf("  token       ends %s: log in again with the agnes CLI\n", ends);
}

static void print_origins(const struct json *root)
{
    fputs("  found       source: ", stdout);
    print_escaped(stdout, json_text_of(root, "source_from"));
    fputs("; token: ", stdout);
    print_escaped(stdout,
                  *json_text_of(root, "token_from") ? json_text_of(root, "token_from") : "none");
    fputc('\n', stdout);
}

/* No trouble, but an answer to "where is it?". */
static void print_withheld(const struct json *root)
{
    uint64_t left = 0;

    for (const struct json *section = json_first(json_get(root, "sections")); section;
         section = json_next(section))
        left += json_number_of(section, "withheld");
    for (const struct json *line = json_first(json_get(root, "withheld")); line;
         line = json_next(line), left--) {
        fputs("  not here    ", stdout);
        print_escaped(stdout, json_text_of(line, "package"));
        fputs(*json_text_of(line, "package") ? "/" : "", stdout);
        print_escaped(stdout, json_text_of(line, "name"));
        fputs(": ", stdout);
        print_escaped(stdout, json_text_of(line, "reason"));
        fputc('\n', stdout);
    }
    if (left > 0)
        printf("  not here    %" PRIu64 " more: agnesfs ls\n", left);
}

static void print_problems(const struct json *root)
{
    for (const struct json *problem = json_first(json_get(root, "problems")); problem;
         problem = json_next(problem)) {
        fputs("  problem     ", stdout);
        print_escaped(stdout, json_text_of(problem, "path"));
        fputs(": ", stdout);
        print_escaped(stdout, json_text_of(problem, "error"));
        fputc('\n', stdout);
    }
}

static void print_sandbox_line(const struct json *root)
{
    const struct json *sandbox = json_get(root, "sandbox");
    const struct json *capability = json_first(json_get(sandbox, "capabilities"));

    printf("  sandbox     %s, %s, %s",
           json_is_true(json_get(sandbox, "no_new_privs")) ? "no new privileges" : "new privileges",
           json_number_of(sandbox, "landlock") ? "Landlock" : "no Landlock",
           json_is_true(json_get(sandbox, "seccomp")) ? "seccomp" : "no seccomp");
    for (unsigned left = 3; capability && left > 0; capability = json_next(capability), left--)
        printf(", %s", json_string(capability));
    if (*json_text_of(sandbox, "why_not"))
        printf(" (%s)", json_text_of(sandbox, "why_not"));
    putchar('\n');
}

static void print_details(const struct json *root)
{
    const struct json *transfers = json_get(root, "transfers");
    const struct json *mount = json_get(root, "mount");

    printf("  transfers   %" PRIu64 " running, %" PRIu64 " waiting, %" PRIu64 " done, %" PRIu64
           " failed\n",
           json_number_of(transfers, "running"), json_number_of(transfers, "waiting"),
           json_number_of(transfers, "done"), json_number_of(transfers, "failed"));
    printf("  mount       %" PRIu64 " inodes, %" PRIu64 " open files, %" PRIu64
           " reads waiting, %" PRIu64 " reads\n",
           json_number_of(mount, "inodes"), json_number_of(mount, "open_files"),
           json_number_of(mount, "parked_reads"), json_number_of(mount, "reads"));
    print_sandbox_line(root);
    fputs("  log         ", stdout);
    print_escaped(stdout, *json_text_of(root, "log") ? json_text_of(root, "log") : "stderr");
    fputc('\n', stdout);
}

static void print_cache_line(const struct json *root)
{
    const struct json *cache = json_get(root, "cache");
    char used[FORMAT_SIZE];
    char size[FORMAT_SIZE] = "unlimited";

    format_bytes(json_number_of(cache, "used"), used);
    if (json_type(json_get(cache, "size")) == JSON_NUMBER)
        format_bytes(json_number_of(cache, "size"), size);
    printf("  cache       %s of %s in ", used, size);
    print_escaped(stdout, json_text_of(root, "cache_dir"));
    fputc('\n', stdout);
}

/* How requests come, if that is not the usual way, or why it is. */
static void print_requests_line(const struct json *root, bool verbose)
{
    const struct json *mount = json_get(root, "mount");

    if (json_is_true(json_get(mount, "io_uring")))
        puts("  requests    by io_uring");
    else if (verbose && *json_text_of(mount, "io_uring_why_not"))
        printf("  requests    by /dev/fuse; no io_uring: %s\n",
               json_text_of(mount, "io_uring_why_not"));
}

/* Which of the two ways complete files are read, and why not the faster one. */
static void print_reading_line(const struct json *root)
{
    const struct json *mount = json_get(root, "mount");

    if (json_is_true(json_get(mount, "passthrough")))
        puts("  reading     passthrough: the kernel reads the cache by itself");
    else if (*json_text_of(mount, "passthrough_why_not"))
        printf("  reading     page cache of the mount; no passthrough: %s\n",
               json_text_of(mount, "passthrough_why_not"));
}

static void print_death_line(const struct json *root)
{
    const struct json *death = json_get(root, "last_death");

    if (json_type(death) != JSON_OBJECT)
        return;
    printf("  before      process %" PRIu64 " was ", json_number_of(death, "pid"));
    print_escaped(stdout, json_text_of(death, "reason"));
    printf("; alive at %s\n", json_text_of(death, "alive"));
}

static void print_status(const struct json *root, bool verbose)
{
    char uptime[FORMAT_SIZE];

    format_duration(json_number_of(root, "uptime_seconds"), uptime);
    print_escaped(stdout, json_text_of(root, "mountpoint"));
    fputs("  ", stdout);
    print_escaped(stdout, json_text_of(root, "source"));
    printf("  %s  pid %" PRIu64 "  up %s\n", json_text_of(root, "state"),
           json_number_of(root, "pid"), uptime);
    print_bytes_line(root);
    print_refresh_line(root);
    print_cache_line(root);
    print_requests_line(root, verbose);
    print_reading_line(root);
    print_token_line(root);
    print_death_line(root);
    if (verbose)
        print_origins(root);
    if (verbose)
        print_details(root);
    print_withheld(root);
    print_problems(root);
}

/* Shows one mount, or adds its document to list. */
static int take_mount(const struct options *options, const struct target *target, struct json *list)
{
    scoped(json_freep) struct json *root = NULL;
    struct complaint complaint;

    if (target_ask(target, &(struct control_request){.verb = "status"}, PATIENCE_MS, &root, NULL,
                   &complaint) < 0)
        return complaint_print(&complaint, false); /* the list is the document */

    int code = strcmp(json_text_of(root, "state"), "ready") == 0 ? EXIT_OK : EXIT_STALE;

    if (list)
        return json_add(list, NULL, take_ptr(root)) < 0 ? EXIT_FAILED : code;
    if (!options_flag(options, FLAG_QUIET))
        print_status(root, options_flag(options, FLAG_VERBOSE));
    return code;
}

static int show_one(const struct options *options, const struct target *target)
{
    scoped(json_freep) struct json *root = NULL;
    scoped_free char *text = NULL;
    struct complaint complaint;

    if (!options_flag(options, FLAG_JSON))
        return take_mount(options, target, NULL);
    if (target_ask(target, &(struct control_request){.verb = "status"}, PATIENCE_MS, &root, &text,
                   &complaint) < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    fputs(text, stdout);
    return strcmp(json_text_of(root, "state"), "ready") == 0 ? EXIT_OK : EXIT_STALE;
}

static int show_all(const struct options *options, const char *runtime, char **mountpoints)
{
    scoped(json_freep) struct json *root = document_new();
    struct json *list = root ? json_add_array(root, "mounts") : NULL;
    bool json = options_flag(options, FLAG_JSON);
    int worst = list ? EXIT_OK : EXIT_FAILED;

    for (char **at = mountpoints; list && *at; at++) {
        const struct target target = {(char *)runtime, *at};
        int code = take_mount(options, &target, json ? list : NULL);

        if (code > worst)
            worst = code;
    }
    if (json && list)
        document_print(root);
    else if (!json && !*mountpoints && !options_flag(options, FLAG_QUIET))
        puts("nothing is mounted");
    return worst;
}

/* The living first, then those whose process has died. */
static int list_mounts(const char *runtime, char ***ret_mountpoints)
{
    scoped(control_list_freep) char **living = NULL;
    scoped(control_list_freep) char **dead = NULL;
    size_t count = 0;
    size_t more = 0;
    int r = control_list(runtime, &living);

    if (r < 0 || (r = death_list(runtime, &dead)) < 0)
        return r;
    while (living[count])
        count++;
    while (dead[more])
        more++;

    char **all = reallocarray(living, count + more + 1, sizeof(*all));

    if (!all)
        return -ENOMEM;
    living = NULL;
    memcpy(all + count, dead, (more + 1) * sizeof(*all));
    memset(dead, 0, sizeof(*dead)); /* they belong to the other list now */
    *ret_mountpoints = all;
    return 0;
}

/* A mount that does not answer is one whose agnesfs_up is 0. */
static int print_metrics(const char *runtime, char **mountpoints)
{
    const struct control_request request = {.verb = "status"};
    struct complaint ignored;
    size_t count = 0;

    while (mountpoints[count])
        count++;

    scoped_free struct metrics_mount *mounts = calloc(count + 1, sizeof(*mounts));

    if (!mounts)
        return EXIT_FAILED;
    for (size_t i = 0; i < count; i++) {
        const struct target target = {(char *)runtime, mountpoints[i]};
        struct json *root = NULL;

        target_ask(&target, &request, SCRAPE_MS, &root, NULL, &ignored);
        mounts[i] = (struct metrics_mount){mountpoints[i], root};
    }
    metrics_write(mounts, count, METRICS_OPENMETRICS, stdout);
    for (size_t i = 0; i < count; i++)
        json_free((struct json *)mounts[i].status);
    return EXIT_OK;
}

static int watch(const struct options *options)
{
    scoped(target_release) struct target target = {0};
    struct complaint complaint;

    if (target_find(options_operand(options, 0), &target, &complaint) < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    return watch_mount(options, &target);
}

int verb_status(const struct options *options)
{
    const char *dir = options_operand(options, 0);
    scoped(control_list_freep) char **list = NULL;
    scoped(target_release) struct target target = {0};
    struct complaint complaint;
    int r;

    if (options_flag(options, FLAG_WATCH) && options_flag(options, FLAG_PROMETHEUS)) {
        complain(&complaint, EXIT_USAGE, "--prometheus", "not together with --watch");
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    }
    if (options_flag(options, FLAG_WATCH))
        return watch(options);
    if (dir) {
        if (target_find(dir, &target, &complaint) < 0)
            return complaint_print(&complaint, options_flag(options, FLAG_JSON));
        if (options_flag(options, FLAG_PROMETHEUS))
            return print_metrics(target.runtime, (char *[]){target.mountpoint, NULL});
        return show_one(options, &target);
    }
    if ((r = paths_runtime(&target.runtime)) < 0 || (r = list_mounts(target.runtime, &list)) < 0) {
        complain(&complaint, EXIT_FAILED, "control socket", "%s", strerror(-r));
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    }
    if (options_flag(options, FLAG_PROMETHEUS))
        return print_metrics(target.runtime, list);
    if (list[0] && !list[1] && (target.mountpoint = strdup(list[0])))
        return show_one(options, &target);
    return show_all(options, target.runtime, list);
}
