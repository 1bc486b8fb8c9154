/* SPDX-License-Identifier: MIT */
/* doctor.h - checks of what agnesfs needs, and what each of them found.
 *
 * A check is a function that adds findings. It runs as an errand (errand.h), beside the others, so it
 * may ask whatever may hang; what it has found by then counts when its time is up. It touches no
 * mount: what is mounted is known from mountinfo, how it fares from its process.
 *
 * | file              | checks                                                                   |
 * |-------------------|--------------------------------------------------------------------------|
 * | doctor_machine.c  | fuse-device, fusermount, allow-other, mime                               |
 * | doctor_config.c   | config, source                                                           |
 * | doctor_server.c   | server, tls, proxy, token, clock: by one request                         |
 * | doctor_cache.c    | cache-dir, cache-space                                                   |
 * | doctor_mounts.c   | mount, passthrough, io-uring, sandbox                                    |
 *
 * verb_doctor.c has the table of them and prints; doctor_report.c writes the archive. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "fs/cli/options.h"
#include "sync/json.h"

enum finding_state {
    FINDING_OK,
    FINDING_WARN, /* it works, and could be better or will not work for long */
    FINDING_FAIL, /* something does not work */
};

struct finding {
    char *id;
    enum finding_state state;
    char *message; /* one sentence, that says what it is about */
    char *fix;     /* what to type; NULL for ok */
};

struct findings {
    struct finding *list;
    size_t count;
    FILE *out; /* each is written there at once, as a line of JSON; NULL: only kept */
};

/* fix: NULL for ok. */
void finding_add(struct findings *findings, const char *id, enum finding_state state,
                 const char *fix, const char *message, ...) __attribute__((format(printf, 5, 6)));
void findings_release(struct findings *findings);

/* "ok", "warn", "FAIL" */
const char *finding_state_name(enum finding_state state);

int finding_to_json(const struct finding *finding, struct json *object);

/* The lines that an errand wrote. */
void findings_read(struct findings *findings, char *text);

/* --- the checks --- */

/* Where things are; a test has its own. */
struct doctor_places {
    const char *device;      /* /dev/fuse */
    const char *fuse_conf;   /* /etc/fuse.conf */
    const char *path;        /* to look for programs in */
    const char *data_dirs;   /* as XDG_DATA_DIRS */
    const char *system_file; /* of our configuration */
    bool root;
};

struct doctor {
    const struct options *options;
    struct doctor_places places;
    const char *runtime;    /* NULL: there is none */
    const char *mountpoint; /* of the one mount that a check is about */
    int timeout_ms;         /* of what a check asks */
};

void doctor_check_device(const struct doctor *doctor, struct findings *findings);
void doctor_check_fusermount(const struct doctor *doctor, struct findings *findings);
void doctor_check_allow_other(const struct doctor *doctor, struct findings *findings);
void doctor_check_mime(const struct doctor *doctor, struct findings *findings);
void doctor_check_config(const struct doctor *doctor, struct findings *findings);
void doctor_check_source(const struct doctor *doctor, struct findings *findings);
void doctor_check_server(const struct doctor *doctor, struct findings *findings);
void doctor_check_cache(const struct doctor *doctor, struct findings *findings);
void doctor_check_mount(const struct doctor *doctor, struct findings *findings);
void doctor_check_no_mount(const struct doctor *doctor, struct findings *findings);

/* The mount points that doctor_check_mount is to be asked about, as control_list. */
int doctor_list_mounts(const char *runtime, char ***ret_mountpoints);

/* --- shared by them --- */

/* A program of that name, malloc'd; NULL: there is none. path: as PATH. */
char *doctor_find_program(const char *path, const char *name);

/* "sudo apt install fuse3", as this machine does it. malloc'd; NULL without memory. */
char *doctor_install_command(const char *path, const char *package);
