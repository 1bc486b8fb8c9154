/* SPDX-License-Identifier: MIT */
/* doctor_mounts.c - what is mounted, told from mountinfo, from the locks of our processes, and from
 * the documents that these send. No mount is touched. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "fs/cli/control.h"
#include "fs/cli/death.h"
#include "fs/cli/doctor.h"
#include "fs/cli/format.h"
#include "fs/cli/mounts.h"
#include "fs/cli/target.h"
#include "fs/passthrough.h"

/* One about this mount, whose fix is a command for it. */
__attribute__((format(printf, 5, 6))) static void add(struct findings *findings,
                                                      const char *mountpoint,
                                                      enum finding_state state, const char *command,
                                                      const char *message, ...)
{
    scoped_free char *words = NULL;
    scoped_free char *fix = NULL;
    va_list args;

    va_start(args, message);
    if (vasprintf(&words, message, args) < 0)
        words = NULL;
    va_end(args);
    if (command && asprintf(&fix, "%s %s", command, mountpoint) < 0)
        fix = NULL;
    finding_add(findings, "mount", state, fix, "%s: %s", mountpoint,
                words ? words : "out of memory");
}

/* --- which --- */

static int append(char ***list, size_t *count, const char *mountpoint)
{
    char **grown;

    for (size_t i = 0; i < *count; i++)
        if (strcmp((*list)[i], mountpoint) == 0)
            return 0;
    grown = reallocarray(*list, *count + 2, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    *list = grown;
    grown[*count] = strdup(mountpoint);
    grown[*count + 1] = NULL;
    return grown[(*count)++] ? 0 : -ENOMEM;
}

int doctor_list_mounts(const char *runtime, char ***ret_mountpoints)
{
    scoped(control_list_freep) char **list = calloc(1, sizeof(*list));
    scoped(control_list_freep) char **living = NULL;
    scoped(mounts_release) struct mounts mounts = {0};
    size_t count = 0;
    int r = list ? mounts_read("/proc/self/mountinfo", &mounts) : -ENOMEM;

    for (size_t i = 0; r == 0 && i < mounts.count; i++)
        if (mounts_is_agnesfs(&mounts.lines[i]) && mounts.lines[i].user == geteuid())
            r = append(&list, &count, mounts.lines[i].point);
    if (r == 0 && runtime && control_list(runtime, &living) == 0)
        for (char **at = living; r == 0 && *at; at++)
            r = append(&list, &count, *at);
    if (r < 0)
        return r;
    *ret_mountpoints = take_ptr(list);
    return 0;
}

/* --- one that serves --- */

static void judge_state(const struct doctor *doctor, const struct json *root,
                        struct findings *findings)
{
    const char *state = json_text_of(root, "state");
    const struct json *problem = json_first(json_get(root, "problems"));
    char count[FORMAT_SIZE];
    char age[FORMAT_SIZE];

    format_duration(json_number_of(root, "age_seconds"), age);
    format_count(json_count(json_get(root, "problems")), "problem", "problems", count);
    if (strcmp(state, "ready") == 0)
        add(findings, doctor->mountpoint, FINDING_OK, NULL,
            "ready, generation %" PRIu64 ", confirmed %s ago", json_number_of(root, "generation"),
            age);
    else if (strcmp(state, "degraded") == 0)
        add(findings, doctor->mountpoint, FINDING_WARN, "agnesfs status", "degraded, %s; %s: %s",
            count, json_text_of(problem, "path"), json_text_of(problem, "error"));
    else
        add(findings, doctor->mountpoint, FINDING_WARN, "agnesfs refresh", "%s%s%s", state,
            *json_text_of(root, "error") ? ": " : "", json_text_of(root, "error"));
}

static void judge_speed(const struct json *root, struct findings *findings)
{
    const struct json *mount = json_get(root, "mount");
    bool passthrough = json_is_true(json_get(mount, "passthrough"));
    bool uring = json_is_true(json_get(mount, "io_uring"));

    finding_add(findings, "passthrough", FINDING_OK, NULL, "passthrough: %s%s",
                passthrough ? "the kernel reads complete files by itself" : "no: ",
                passthrough ? "" : json_text_of(mount, "passthrough_why_not"));
    finding_add(findings, "io-uring", FINDING_OK, NULL, "io_uring: %s%s",
                uring ? "yes" : "no: ", uring ? "" : json_text_of(mount, "io_uring_why_not"));
}

static void judge_sandbox(const struct doctor *doctor, const struct json *root,
                          struct findings *findings)
{
    const struct json *sandbox = json_get(root, "sandbox");
    const char *why = json_text_of(sandbox, "why_not");
    scoped_free char *fix = NULL;

    if (!*why) {
        finding_add(findings, "sandbox", FINDING_OK, NULL, "sandbox: Landlock, seccomp");
        return;
    }
    if (asprintf(&fix, "agnesfs umount %s && agnesfs mount %s -o sandbox=on", doctor->mountpoint,
                 doctor->mountpoint) < 0)
        fix = NULL;
    finding_add(findings, "sandbox", FINDING_WARN, fix, "sandbox: not all of it: %s", why);
}

/* --- one that does not --- */

/* 'T' is stopped. 0: it can not be told. */
static char process_state(pid_t pid)
{
    char path[64];
    char line[512];
    const char *rest;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);

    scoped_file FILE *file = fopen(path, "re");

    if (!file || !fgets(line, sizeof(line), file) || !(rest = strrchr(line, ')')) || !rest[1])
        return 0;
    return rest[2];
}

static void judge_silence(const struct doctor *doctor, pid_t pid, struct findings *findings)
{
    char fix[32];

    if (process_state(pid) == 'T') {
        snprintf(fix, sizeof(fix), "kill -CONT %d", (int)pid);
        finding_add(findings, "mount", FINDING_FAIL, fix, "%s: its process %d is stopped",
                    doctor->mountpoint, (int)pid);
        return;
    }
    add(findings, doctor->mountpoint, FINDING_FAIL, "agnesfs umount --lazy",
        "its process %d does not answer", (int)pid);
}

/* Does that process serve the mount of this device? The kernel says so since Linux 6.10. */
static bool serves(int proc, const char *pid, unsigned connection)
{
    char path[PATH_MAX];
    char link[32];

    snprintf(path, sizeof(path), "%.32s/fd", pid);

    int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    scoped_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        ssize_t length = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
        char line[128];
        unsigned number;

        if (length != (ssize_t)strlen("/dev/fuse") ||
            memcmp(link, "/dev/fuse", (size_t)length) != 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%.32s/fdinfo/%.32s", pid, entry->d_name);

        scoped_file FILE *file = fopen(path, "re");

        while (file && fgets(line, sizeof(line), file))
            if (sscanf(line, "fuse_connection: %u", &number) == 1 && number == connection)
                return true;
    }
    return false;
}

/* 0: none is found, or the kernel does not say. */
static pid_t server_of(const char *mountpoint)
{
    scoped(mounts_release) struct mounts mounts = {0};
    scoped_dir DIR *proc = opendir("/proc");
    const struct mounts_line *line = NULL;
    const struct dirent *entry;

    if (mounts_read("/proc/self/mountinfo", &mounts) == 0)
        line = mounts_find(&mounts, mountpoint);
    while (proc && line && (entry = readdir(proc)))
        if (isdigit((unsigned char)entry->d_name[0]) &&
            serves(dirfd(proc), entry->d_name, minor(line->device)))
            return (pid_t)strtol(entry->d_name, NULL, 10);
    return 0;
}

/* Not in our records: its process had others (another XDG_RUNTIME_DIR), or they were lost. */
static void judge_unknown(const struct doctor *doctor, struct findings *findings)
{
    pid_t pid = server_of(doctor->mountpoint);

    if (pid > 0)
        add(findings, doctor->mountpoint, FINDING_OK, NULL,
            "served by process %d of another session", (int)pid);
    else
        add(findings, doctor->mountpoint, FINDING_WARN, "agnesfs umount --lazy",
            "no process is known that serves it: it is dead, or of another session");
}

static void judge_unowned(const struct doctor *doctor, struct findings *findings)
{
    struct death death;

    if (doctor->runtime && death_find(doctor->runtime, doctor->mountpoint, &death) == 0)
        add(findings, doctor->mountpoint, FINDING_FAIL, "agnesfs umount --lazy",
            "a dead mount: its process %d was %s", (int)death.pid, death.reason);
    else
        judge_unknown(doctor, findings);
}

/* Nothing is mounted there, so looking at the folder is safe. */
static void judge_folder(const struct doctor *doctor, struct findings *findings)
{
    struct stat st;

    if (lstat(doctor->mountpoint, &st) < 0 && errno == ENOENT)
        add(findings, doctor->mountpoint, FINDING_WARN, "mkdir -p", "no such folder");
    else if (!S_ISDIR(st.st_mode))
        add(findings, doctor->mountpoint, FINDING_WARN, "ls -ld", "not a folder");
    else
        add(findings, doctor->mountpoint, FINDING_WARN, "agnesfs mount",
            "nothing is mounted there");
}

/* --- any --- */

static void judge_living(const struct doctor *doctor, pid_t pid, struct findings *findings)
{
    const struct target target = {(char *)doctor->runtime, (char *)doctor->mountpoint};
    scoped(json_freep) struct json *root = NULL;
    struct complaint complaint;

    if (target_ask(&target, &(struct control_request){.verb = "status"}, doctor->timeout_ms, &root,
                   NULL, &complaint) < 0) {
        judge_silence(doctor, pid, findings);
        return;
    }
    judge_state(doctor, root, findings);
    judge_speed(root, findings);
    judge_sandbox(doctor, root, findings);
}

void doctor_check_mount(const struct doctor *doctor, struct findings *findings)
{
    const char *mountpoint = doctor->mountpoint;
    struct mounts_entry entry;
    enum mounts_kind kind = mounts_at(mountpoint, &entry);
    pid_t pid;

    if (doctor->runtime && control_owner(doctor->runtime, mountpoint, &pid) == 0)
        judge_living(doctor, pid, findings);
    else if (kind == MOUNTS_OTHER)
        add(findings, mountpoint, FINDING_FAIL, "findmnt", "something else is mounted there (%s)",
            entry.type);
    else if (kind == MOUNTS_NOTHING)
        judge_folder(doctor, findings);
    else if (entry.user == geteuid())
        judge_unowned(doctor, findings);
    else
        add(findings, mountpoint, FINDING_WARN, "sudo agnesfs umount --lazy",
            "mounted by user %u, who alone can ask how it fares", (unsigned)entry.user);
}

void doctor_check_no_mount(const struct doctor *doctor, struct findings *findings)
{
    finding_add(findings, "mount", FINDING_OK, NULL, "mounts: none");
    finding_add(findings, "passthrough", FINDING_OK, NULL, "passthrough: %s",
                passthrough_capable() == 0 ? "this user may ask the kernel for it"
                                           : "no: it takes CAP_SYS_ADMIN (agnesfs@.service)");
}
