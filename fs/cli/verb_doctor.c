/* SPDX-License-Identifier: MIT */
/* verb_doctor.c - the table of checks. All of them run at once, each as an errand, so that the answer
 * comes within DEADLINE_MS and a little, whatever hangs. With --json:
 *
 *     {"schema": 1, "state": the worst, "checks": [{"id", "state": "ok" | "warn" | "FAIL",
 *                                                   "message", "fix": null or a command}]}
 *
 * An id may come several times (one mount each), or not at all (no certificate without TLS). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "fs/cli/control.h"
#include "fs/cli/doctor.h"
#include "fs/cli/doctor_report.h"
#include "fs/cli/document.h"
#include "fs/cli/errand.h"
#include "fs/cli/format.h"
#include "fs/cli/paths.h"

enum { DEADLINE_MS = 1300, ASK_MS = 1100, MOUNTS_MAX = 32, WIDTH = 80, INDENT = 6 };

struct check {
    const char *id; /* of the finding when it does not come to an end */
    void (*run)(const struct doctor *doctor, struct findings *findings);
    const char *late_fix;
};

static const struct check checks[] = {
    {"fuse-device", doctor_check_device, "ls -l /dev/fuse"},
    {"fusermount", doctor_check_fusermount, "fusermount3 -V"},
    {"allow-other", doctor_check_allow_other, "cat /etc/fuse.conf"},
    {"config", doctor_check_config, "agnesfs mount --help"},
    {"source", doctor_check_source, "agnesfs doctor --server https://SERVER"},
    {"server", doctor_check_server, "agnesfs doctor --server https://SERVER"},
    {"cache-dir", doctor_check_cache, "agnesfs doctor --cache-dir DIR"},
    {"mime", doctor_check_mime, "update-mime-database -h"},
};

static const struct check mount_check = {"mount", doctor_check_mount, "agnesfs umount --lazy DIR"};
static const struct check no_mount_check = {"mount", doctor_check_no_mount, "agnesfs status"};

enum { CHECKS = sizeof(checks) / sizeof(*checks), RUNS_MAX = CHECKS + MOUNTS_MAX };

/* A check, and what it is about. */
struct run {
    const struct check *check;
    struct doctor doctor;
};

static void run_check(const void *arg, FILE *out)
{
    const struct run *run = arg;
    struct findings findings = {.out = out};

    run->check->run(&run->doctor, &findings);
    findings_release(&findings);
}

/* --- which --- */

static void find_places(struct doctor_places *ret_places, char **ret_data_dirs)
{
    const char *home = getenv("XDG_DATA_HOME");
    const char *dirs = getenv("XDG_DATA_DIRS");
    const char *path = getenv("PATH");
    const char *user = getenv("HOME");
    int r;

    dirs = dirs && *dirs ? dirs : "/usr/local/share:/usr/share";
    if (home && *home)
        r = asprintf(ret_data_dirs, "%s:%s", home, dirs);
    else
        r = asprintf(ret_data_dirs, "%s/.local/share:%s", user ? user : "", dirs);
    if (r < 0)
        *ret_data_dirs = NULL;
    *ret_places = (struct doctor_places){
        .device = "/dev/fuse",
        .fuse_conf = "/etc/fuse.conf",
        .path = path ? path : "/usr/bin:/bin",
        .data_dirs = *ret_data_dirs ? *ret_data_dirs : dirs,
        .system_file = OPTIONS_SYSTEM_FILE,
        .root = geteuid() == 0,
    };
}

static size_t plan(const struct doctor *doctor, char **mountpoints,
                   struct run ret_runs[static RUNS_MAX])
{
    size_t count = 0;

    for (; count < CHECKS; count++)
        ret_runs[count] = (struct run){&checks[count], *doctor};
    if (!mountpoints[0])
        ret_runs[count++] = (struct run){&no_mount_check, *doctor};
    for (char **at = mountpoints; *at && count < RUNS_MAX; at++) {
        ret_runs[count] = (struct run){&mount_check, *doctor};
        ret_runs[count++].doctor.mountpoint = *at;
    }
    return count;
}

/* What it was about stands in its message as it does in others of its kind. */
static void note_late(const struct run *run, struct findings *findings)
{
    const char *about = run->doctor.mountpoint ? run->doctor.mountpoint : run->check->id;

    for (size_t i = 0; i < findings->count; i++)
        if (strcmp(findings->list[i].id, run->check->id) == 0 && !run->doctor.mountpoint)
            return;
    finding_add(findings, run->check->id, FINDING_FAIL, run->check->late_fix,
                "%s: could not be told within %d ms", about, DEADLINE_MS);
}

static void examine(const struct doctor *doctor, char **mountpoints, struct findings *findings)
{
    struct run runs[RUNS_MAX];
    struct errand errands[RUNS_MAX];
    size_t count = plan(doctor, mountpoints, runs);

    for (size_t i = 0; i < count; i++)
        errands[i] = (struct errand){.run = run_check, .arg = &runs[i]};
    errands_run(errands, count, DEADLINE_MS);
    for (size_t i = 0; i < count; i++) {
        findings_read(findings, errands[i].text);
        if (errands[i].late || errands[i].error)
            note_late(&runs[i], findings);
        free(errands[i].text);
    }
}

/* --- what is said --- */

static enum finding_state worst_of(const struct findings *findings)
{
    enum finding_state worst = FINDING_OK;

    for (size_t i = 0; i < findings->count; i++)
        if (findings->list[i].state > worst)
            worst = findings->list[i].state;
    return worst;
}

static int make_document(const struct findings *findings, char **ret_text, size_t *ret_size)
{
    scoped(json_freep) struct json *root = document_new();
    struct json *list;

    if (!root || json_add_string(root, "state", finding_state_name(worst_of(findings))) < 0 ||
        !(list = json_add_array(root, "checks")))
        return -ENOMEM;
    for (size_t i = 0; i < findings->count; i++) {
        struct json *object = json_add_object(list, NULL);

        if (!object || finding_to_json(&findings->list[i], object) < 0)
            return -ENOMEM;
    }
    return json_print(root, true, ret_text, ret_size);
}

/* Words, with a new line where one would not fit; INDENT columns are used already. */
static void print_wrapped(const char *text)
{
    scoped_free char *escaped = format_escaped(text);
    size_t column = INDENT;

    for (char *rest = escaped, *word; rest && (word = strsep(&rest, " "));) {
        size_t length = strlen(word);

        if (column > INDENT && column + 1 + length > WIDTH) {
            printf("\n%*s", INDENT, "");
            column = INDENT;
        } else if (column > INDENT) {
            putchar(' ');
            column++;
        }
        fputs(word, stdout);
        column += length;
    }
    putchar('\n');
}

static void print_text(const struct findings *findings, bool quiet)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];

        if (quiet && finding->state == FINDING_OK)
            continue;
        printf("%-*s", INDENT, finding_state_name(finding->state));
        print_wrapped(finding->message);
        if (!finding->fix)
            continue;
        printf("%*sfix: ", INDENT, "");
        print_escaped(stdout, finding->fix);
        putchar('\n');
    }
}

/* --- the verb --- */

static int find_mounts(const struct options *options, const struct doctor *doctor,
                       char ***ret_mountpoints)
{
    const char *dir = options_flag(options, FLAG_REPORT) ? NULL : options_operand(options, 0);
    scoped(control_list_freep) char **list = calloc(2, sizeof(*list));
    int r;

    if (!dir)
        return doctor_list_mounts(doctor->runtime, ret_mountpoints);
    r = list ? paths_absolute(dir, &list[0]) : -ENOMEM;
    if (r == 0)
        *ret_mountpoints = take_ptr(list);
    return r;
}

static int say(const struct options *options, const struct findings *findings, char **mountpoints,
               const struct doctor *doctor)
{
    scoped_free char *text = NULL;
    struct complaint complaint;
    size_t size;

    if (make_document(findings, &text, &size) < 0)
        return EXIT_FAILED;
    if (options_flag(options, FLAG_REPORT)) {
        if (doctor_report_write(doctor, text, mountpoints, options_operand(options, 0),
                                &complaint) < 0)
            return complaint_print(&complaint, options_flag(options, FLAG_JSON));
        return EXIT_OK;
    }
    if (options_flag(options, FLAG_JSON))
        fputs(text, stdout);
    else
        print_text(findings, options_flag(options, FLAG_QUIET));
    return worst_of(findings) == FINDING_FAIL ? EXIT_STALE : EXIT_OK;
}

int verb_doctor(const struct options *options)
{
    scoped(findings_release) struct findings findings = {.list = NULL};
    scoped(control_list_freep) char **mountpoints = NULL;
    scoped_free char *runtime = NULL;
    scoped_free char *data_dirs = NULL;
    struct doctor doctor = {.options = options, .timeout_ms = ASK_MS};
    struct complaint complaint;
    int r;

    find_places(&doctor.places, &data_dirs);
    if (paths_runtime(&runtime) == 0)
        doctor.runtime = runtime;
    r = find_mounts(options, &doctor, &mountpoints);
    if (r < 0 || !mountpoints) {
        complain(&complaint, EXIT_FAILED, options_operand(options, 0) ?: "mounts", "%s",
                 strerror(-r));
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    }
    examine(&doctor, mountpoints, &findings);
    return say(options, &findings, mountpoints, &doctor);
}
