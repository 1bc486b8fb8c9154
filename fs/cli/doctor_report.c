/* SPDX-License-Identifier: MIT */
/* doctor_report.c - each member is an errand; what they wrote is redacted here, all of it by one
 * redactor, and only then put into the archive. */
#include "fs/cli/doctor_report.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "fs/cli/archive.h"
#include "fs/cli/discovery.h"
#include "fs/cli/doctor_members.h"
#include "fs/cli/errand.h"
#include "fs/cli/redact.h"

#define FOLDER "agnesfs-report/"
#define ALONE SIZE_MAX

enum { MEMBERS_MS = 3000, REPORT_MOUNTS = 16, MEMBERS_MAX = 5 + 2 * REPORT_MOUNTS };

static const char readme[] =
    "What agnesfs doctor --report found, for an issue.\n"
    "\n"
    "Left out or replaced: tokens and whatever looks like one ([secret]), queries of addresses, user\n"
    "names, home folders, names of packages, tables and domains (name-..., the same word for the same\n"
    "name). Kept: names of servers, paths, versions, figures. Please look through it before you send\n"
    "it: what nobody could know to be a secret is still in it.\n";

struct member {
    char name[32];
    struct member_facts facts;
};

struct members {
    struct member list[MEMBERS_MAX];
    struct errand errands[MEMBERS_MAX];
    size_t count;
};

/* number: what tells it from others of its kind; ALONE: there is but one. */
static void add(struct members *members, const char *kind, const char *type, size_t number,
                void (*run)(const void *arg, FILE *out), const struct member_facts *facts)
{
    struct member *member = &members->list[members->count];

    if (number == ALONE)
        snprintf(member->name, sizeof(member->name), "%s.%s", kind, type);
    else
        snprintf(member->name, sizeof(member->name), "%s-%zu.%s", kind, number, type);
    member->facts = *facts;
    members->errands[members->count++] = (struct errand){.run = run, .arg = &member->facts};
}

/* The first is no member: the names that are to be hidden. */
static void plan(struct members *members, const struct doctor *doctor, char **mountpoints)
{
    struct member_facts facts = {.doctor = doctor};
    size_t number = 0;

    members->count = 0;
    add(members, "names", "txt", ALONE, member_names, &facts);
    add(members, "config", "txt", ALONE, member_config, &facts);
    add(members, "mounts", "txt", ALONE, member_mounts, &facts);
    add(members, "system", "txt", ALONE, member_system, &facts);
    for (; number < REPORT_MOUNTS && mountpoints[number]; number++) {
        facts.mountpoint = mountpoints[number];
        add(members, "status", "json", number + 1, member_status, &facts);
        add(members, "log", "txt", number + 1, member_log, &facts);
    }
    if (number == 0)
        add(members, "log", "txt", 0, member_log, &facts);
}

/* The token that would be sent, and those that lie in the environment. */
static void learn_secrets(struct redactor *redactor, const struct options *options)
{
    const char *environment = getenv("AGNES_TOKEN");
    struct discovery discovery;
    struct token *token = NULL;
    struct complaint complaint;

    if (environment)
        redactor_secret(redactor, environment);
    if (discovery_find(NULL, options, &discovery, &complaint) < 0)
        return;
    if (token_new(options, discovery.source, &token, &complaint) == 0) {
        char *text = token_read(token);

        if (text)
            redactor_secret(redactor, text);
        if (text)
            explicit_bzero(text, strlen(text));
        free(text);
    }
    token_free(token);
    discovery_release(&discovery);
}

static void learn_names(struct redactor *redactor, const char *text)
{
    scoped_free char *names = text ? strdup(text) : NULL;

    for (char *rest = names, *name; rest && (name = strsep(&rest, "\n"));)
        redactor_name(redactor, name);
}

static int add_text(struct archive *archive, const struct redactor *redactor, const char *name,
                    const char *text)
{
    scoped_free char *clean = redact(redactor, text);
    char path[64];

    snprintf(path, sizeof(path), FOLDER "%s", name);
    return clean ? archive_add(archive, path, clean, strlen(clean)) : -ENOMEM;
}

static int fill(struct archive *archive, const struct redactor *redactor, const char *document,
                const struct members *members)
{
    int r = add_text(archive, redactor, "doctor.json", document);

    if (r == 0)
        r = archive_add(archive, FOLDER "README.txt", readme, sizeof(readme) - 1);
    for (size_t i = 1; r == 0 && i < members->count; i++)
        if (members->errands[i].text)
            r = add_text(archive, redactor, members->list[i].name, members->errands[i].text);
    return r == 0 ? archive_finish(archive) : r;
}

static int write_archive(const struct doctor *doctor, const char *document,
                         const struct members *members, const char *path)
{
    scoped(redactor_freep) struct redactor *redactor = NULL;
    scoped(archive_freep) struct archive *archive = NULL;
    int r = redactor_new(&redactor);

    if (r < 0)
        return r;
    learn_secrets(redactor, doctor->options);
    learn_names(redactor, members->errands[0].text);
    r = archive_create(path, &archive);
    return r < 0 ? r : fill(archive, redactor, document, members);
}

int doctor_report_write(const struct doctor *doctor, const char *document, char **mountpoints,
                        const char *path, struct complaint *ret_complaint)
{
    scoped_free struct members *members = malloc(sizeof(*members));
    time_t now = time(NULL);
    char name[64];
    struct tm tm;
    int r = members ? 0 : -ENOMEM;

    strftime(name, sizeof(name), "agnesfs-report-%Y%m%d-%H%M%S.tar.gz", localtime_r(&now, &tm));
    path = path ? path : name;
    if (r == 0) {
        plan(members, doctor, mountpoints);
        errands_run(members->errands, members->count, MEMBERS_MS);
        r = write_archive(doctor, document, members, path);
        for (size_t i = 0; i < members->count; i++)
            free(members->errands[i].text);
    }
    if (r < 0)
        return complain(ret_complaint, EXIT_FAILED, path, "%s", strerror(-r));
    if (!options_flag(doctor->options, FLAG_QUIET))
        printf("%s\n", path);
    return 0;
}
