/* SPDX-License-Identifier: MIT */
/* doctor_members.c - each writes what it has at once, so that being late costs only the rest. */
#include "fs/cli/doctor_members.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "fs/cli/control.h"
#include "fs/cli/discovery.h"
#include "fs/cli/paths.h"
#include "fs/cli/target.h"
#include "fs/cli/version.h"
#include "sync/state.h"

enum { LOG_TAIL = 64 << 10 };

static int ask(const struct member_facts *facts, struct json **ret_root, char **ret_text)
{
    const struct target target = {(char *)facts->doctor->runtime, (char *)facts->mountpoint};
    struct complaint complaint;

    if (!facts->doctor->runtime)
        return -ENOENT;
    return target_ask(&target, &(struct control_request){.verb = "status"},
                      facts->doctor->timeout_ms, ret_root, ret_text, &complaint);
}

void member_status(const void *arg, FILE *out)
{
    scoped(json_freep) struct json *root = NULL;
    scoped_free char *text = NULL;

    if (ask(arg, &root, &text) == 0)
        fputs(text, out);
}

/* --- the log --- */

static char *log_path(const struct member_facts *facts)
{
    scoped(json_freep) struct json *root = NULL;
    scoped_free char *state = NULL;
    struct discovery discovery;
    struct complaint complaint;
    char *path = NULL;
    const char *said;
    int r;

    if (facts->mountpoint && ask(facts, &root, NULL) == 0)
        return (said = json_string(json_get(root, "log"))) ? strdup(said) : NULL;
    if (discovery_find(NULL, facts->doctor->options, &discovery, &complaint) < 0)
        return NULL;
    r = paths_state(discovery.source, &state);
    discovery_release(&discovery);
    return r < 0 || asprintf(&path, "%s/log", state) < 0 ? NULL : path;
}

void member_log(const void *arg, FILE *out)
{
    scoped_free char *path = log_path(arg);
    scoped_file FILE *file = path ? fopen(path, "re") : NULL;
    scoped_free char *line = NULL;
    size_t room = 0;
    bool whole = true;

    if (file && fseek(file, -(long)LOG_TAIL, SEEK_END) == 0)
        whole = false;
    else if (file)
        rewind(file);
    for (; file && getline(&line, &room, file) > 0; whole = true)
        if (whole) /* else it begins in the middle */
            fputs(line, out);
}

/* --- configuration, mounts --- */

void member_config(const void *arg, FILE *out)
{
    const struct options *options = ((const struct member_facts *)arg)->doctor->options;

    for (unsigned key = 0; key < OPTION_KEYS; key++) {
        const char *text = options_text(options, (enum option_key)key);

        fprintf(out, "%s = %s   # %s\n", option_spec((enum option_key)key)->name, text ? text : "",
                options_origin_text(options, (enum option_key)key));
    }
}

void member_mounts(const void *arg, FILE *out)
{
    scoped_file FILE *file = fopen("/proc/self/mountinfo", "re");
    scoped_free char *line = NULL;
    size_t room = 0;

    while (file && getline(&line, &room, file) > 0)
        if (strstr(line, "agnesfs"))
            fputs(line, out);
}

/* --- machine --- */

static void print_release(FILE *out)
{
    scoped_file FILE *file = fopen("/etc/os-release", "re");
    char line[256];

    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, "PRETTY_NAME=", 12) == 0)
            fprintf(out, "system: %s", line + 12);
}

void member_system(const void *arg, FILE *out)
{
    struct utsname name;

    version_print(false, out);
    if (uname(&name) == 0)
        fprintf(out, "kernel: %s %s %s\n", name.sysname, name.release, name.machine);
    print_release(out);
}

/* --- names --- */

static void print_name(FILE *out, const char *name)
{
    if (name && *name && !strchr(name, '\n'))
        fprintf(out, "%s\n", name);
}

static void print_names(const char *cache_dir, FILE *out)
{
    scoped_fd int dirfd = open(cache_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    scoped(state_release) struct state state = {0};
    char why[160];
    bool previous;

    if (dirfd < 0 || state_load(dirfd, NULL, NULL, &state, &previous, why) < 0)
        return;
    for (uint32_t i = 0; i < tree_group_count(state.tree); i++) {
        const struct tree_group *group = tree_group(state.tree, i);

        print_name(out, group->slug);
        print_name(out, group->folder[0] == '_' ? NULL : group->folder);
        print_name(out, group->name);
    }
    for (uint32_t i = 0; i < tree_row_count(state.tree); i++) {
        const struct tree_row *row = tree_row(state.tree, i);
        const char *file = row->path ? strrchr(row->path, '/') : NULL;

        print_name(out, row->name);
        print_name(out, row->title);
        print_name(out, row->table_id);
        if (file && strcmp(file, "/bundle.md") != 0)
            fprintf(out, "%.*s\n", (int)strcspn(file + 1, "."), file + 1);
    }
    fflush(out);
}

void member_names(const void *arg, FILE *out)
{
    const struct member_facts *facts = arg;
    const struct options *options = facts->doctor->options;
    scoped(control_list_freep) char **mountpoints = NULL;
    scoped_free char *own = NULL;
    struct discovery discovery;
    struct complaint complaint;

    if (discovery_find(NULL, options, &discovery, &complaint) == 0) {
        if (paths_cache(options_text(options, OPTION_CACHE_DIR), discovery.source, &own) == 0)
            print_names(own, out);
        discovery_release(&discovery);
    }
    if (!facts->doctor->runtime || control_list(facts->doctor->runtime, &mountpoints) < 0)
        return;
    for (char **at = mountpoints; *at; at++) {
        const struct member_facts one = {facts->doctor, *at};
        scoped(json_freep) struct json *root = NULL;

        if (ask(&one, &root, NULL) == 0 && json_string(json_get(root, "cache_dir")))
            print_names(json_string(json_get(root, "cache_dir")), out);
    }
}
