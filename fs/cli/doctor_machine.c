/* SPDX-License-Identifier: MIT */
/* doctor_machine.c - what the machine has to have. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cache/scoped.h"
#include "fs/cli/discovery.h"
#include "fs/cli/doctor.h"

extern char **environ;

/* --- /dev/fuse --- */

void doctor_check_device(const struct doctor *doctor, struct findings *findings)
{
    const char *device = doctor->places.device;
    struct stat st;

    if (stat(device, &st) < 0) {
        finding_add(findings, "fuse-device", FINDING_FAIL, "sudo modprobe fuse", "%s: %s", device,
                    errno == ENOENT ? "the kernel has no FUSE, or a container hides it"
                                    : strerror(errno));
        return;
    }

    scoped_fd int fd = open(device, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    scoped_free char *fix = NULL;

    if (fd >= 0) {
        finding_add(findings, "fuse-device", FINDING_OK, NULL, "%s: can be opened", device);
        return;
    }
    if (errno == EACCES && asprintf(&fix, "sudo chmod 666 %s", device) < 0)
        fix = NULL;
    finding_add(findings, "fuse-device", FINDING_FAIL, fix ? fix : "sudo modprobe fuse",
                "%s: can not be opened: %s", device, strerror(errno));
}

/* --- fusermount3 --- */

/* What it says of its version: "fusermount3 version: 3.14.0". */
static void ask_version(const char *program, char *ret_version, size_t size)
{
    char *const argv[] = {(char *)program, (char *)"-V", NULL};
    posix_spawn_file_actions_t actions;
    char text[256];
    int fds[2];
    pid_t child;

    ret_version[0] = '\0';
    token_leave_environment();
    if (pipe2(fds, O_CLOEXEC) < 0)
        return;

    scoped_fd int words = fds[0];

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);

    int r = posix_spawn(&child, program, &actions, NULL, argv, environ);

    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);

    ssize_t n = r == 0 ? read(words, text, sizeof(text) - 1) : 0;
    const char *colon;

    if (r == 0)
        waitpid(child, NULL, 0);
    text[n > 0 ? n : 0] = '\0';
    if ((colon = strrchr(text, ' ')))
        snprintf(ret_version, size, " %.*s", (int)strcspn(colon + 1, "\n"), colon + 1);
}

void doctor_check_fusermount(const struct doctor *doctor, struct findings *findings)
{
    const struct doctor_places *places = &doctor->places;
    scoped_free char *program = doctor_find_program(places->path, "fusermount3");
    scoped_free char *install = doctor_install_command(places->path, "fuse3");
    scoped_free char *fix = NULL;
    char version[64];
    struct stat st;

    if (!program && places->root) {
        finding_add(findings, "fusermount", FINDING_WARN, install,
                    "fusermount3: not found; root mounts without it, others can not");
        return;
    }
    if (!program) {
        finding_add(findings, "fusermount", FINDING_FAIL, install, "fusermount3: not found");
        return;
    }
    ask_version(program, version, sizeof(version));
    if (stat(program, &st) == 0 && st.st_uid == 0 && st.st_mode & S_ISUID) {
        finding_add(findings, "fusermount", FINDING_OK, NULL, "fusermount3%s: setuid root",
                    version);
        return;
    }
    if (asprintf(&fix, "sudo chown root %s && sudo chmod u+s %s", program, program) < 0)
        fix = NULL;
    finding_add(findings, "fusermount", places->root ? FINDING_WARN : FINDING_FAIL, fix,
                "fusermount3%s: not setuid root, so only root can mount", version);
}

/* --- /etc/fuse.conf --- */

/* 1 it has the line, 0 it has not, else a negative errno. */
static int allows_other(const char *path)
{
    scoped_file FILE *file = fopen(path, "re");
    char line[256];

    if (!file)
        return errno == ENOENT ? 0 : negative_errno();
    while (fgets(line, sizeof(line), file)) {
        const char *word = line + strspn(line, " \t");

        if (strncmp(word, "user_allow_other", 16) == 0 && strchr(" \t\r\n", word[16]))
            return 1;
    }
    return 0;
}

void doctor_check_allow_other(const struct doctor *doctor, struct findings *findings)
{
    const char *path = doctor->places.fuse_conf;
    bool wanted = options_number(doctor->options, OPTION_ALLOW_OTHER) != 0;
    scoped_free char *fix = NULL;
    int allowed = allows_other(path);

    if (!wanted || doctor->places.root) {
        finding_add(findings, "allow-other", FINDING_OK, NULL, "allow-other: %s%s",
                    wanted ? "wanted, and root may" : "not wanted",
                    wanted         ? ""
                    : allowed == 1 ? "; users may"
                                   : "; users may not (user_allow_other in fuse.conf)");
        return;
    }
    if (allowed == 1) {
        finding_add(findings, "allow-other", FINDING_OK, NULL,
                    "allow-other: wanted, and users may");
        return;
    }
    if (asprintf(&fix, "echo user_allow_other | sudo tee -a %s", path) < 0)
        fix = NULL;
    if (allowed < 0)
        finding_add(findings, "allow-other", FINDING_WARN, fix,
                    "allow-other: wanted, but %s can not be read: %s", path, strerror(-allowed));
    else
        finding_add(findings, "allow-other", FINDING_FAIL, fix,
                    "allow-other: wanted, but %s has no user_allow_other", path);
}

/* --- the MIME database --- */

enum mime { MIME_NONE, MIME_UNKNOWN, MIME_KNOWN };

/* "50:application/vnd.apache.parquet:*.parquet" in globs2 of shared-mime-info. */
static enum mime look_up(const char *folder)
{
    scoped_free char *path = NULL;
    scoped_free char *line = NULL;
    size_t room = 0;

    if (asprintf(&path, "%s/mime/globs2", folder) < 0) {
        path = NULL;
        return MIME_NONE;
    }

    scoped_file FILE *file = fopen(path, "re");

    while (file && getline(&line, &room, file) > 0)
        if (strstr(line, ":*.parquet\n") || strstr(line, ":*.parquet:"))
            return MIME_KNOWN;
    return file ? MIME_UNKNOWN : MIME_NONE;
}

static bool has_package(const char *folder)
{
    scoped_free char *path = NULL;

    if (asprintf(&path, "%s/mime/packages/agnesfs.xml", folder) < 0) {
        path = NULL;
        return false;
    }
    return access(path, R_OK) == 0;
}

/* Our entry is there, and only the database does not have it yet; or it is not. */
static void warn_of_mime(const char *folder, struct findings *findings)
{
    scoped_free char *fix = NULL;

    if (folder && asprintf(&fix, "sudo update-mime-database %s/mime", folder) < 0)
        fix = NULL;
    finding_add(
        findings, "mime", FINDING_WARN,
        fix ? fix : "sudo cmake --install build/release   # or the package: both bring it",
        "MIME: no entry for *.parquet, so file managers open every table to see what it is");
}

void doctor_check_mime(const struct doctor *doctor, struct findings *findings)
{
    scoped_free char *folders = strdup(doctor->places.data_dirs);
    scoped_free char *packaged = NULL;
    enum mime best = MIME_NONE;

    for (char *rest = folders, *folder; rest && (folder = strsep(&rest, ":"));) {
        enum mime found = *folder ? look_up(folder) : MIME_NONE;

        if (found > best)
            best = found;
        if (*folder && !packaged && has_package(folder))
            packaged = strdup(folder);
    }
    if (best == MIME_UNKNOWN)
        warn_of_mime(packaged, findings);
    else
        finding_add(findings, "mime", FINDING_OK, NULL,
                    best == MIME_KNOWN
                        ? "MIME: *.parquet is known, so file managers need not open tables"
                        : "MIME: no database here, so nobody browses with a file manager");
}
