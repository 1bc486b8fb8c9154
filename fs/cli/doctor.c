/* SPDX-License-Identifier: MIT */
/* doctor.c - findings, and their way from the errand that made them. A finding for which there is no
 * memory is left out: the rest is worth more than none. */
#include "fs/cli/doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/errand.h"

enum { LINE_DEPTH = 4 };

const char *finding_state_name(enum finding_state state)
{
    static const char *const names[] = {"ok", "warn", "FAIL"};

    return names[state];
}

static void release_finding(struct finding *finding)
{
    free(finding->id);
    free(finding->message);
    free(finding->fix);
}

void findings_release(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        release_finding(&findings->list[i]);
    free(findings->list);
    *findings = (struct findings){.out = findings->out};
}

int finding_to_json(const struct finding *finding, struct json *object)
{
    if (json_add_string(object, "id", finding->id) < 0 ||
        json_add_string(object, "state", finding_state_name(finding->state)) < 0 ||
        json_add_string(object, "message", finding->message) < 0)
        return -ENOMEM;
    return json_add_string(object, "fix", finding->fix);
}

static void write_line(FILE *out, const struct finding *finding)
{
    scoped(json_freep) struct json *root = json_new_object();
    scoped_free char *text = NULL;
    size_t size;

    if (!root || finding_to_json(finding, root) < 0 || json_print(root, false, &text, &size) < 0)
        return;
    fwrite(text, 1, size, out);
    fputc('\n', out);
    fflush(out);
}

/* Consumes what is in it. */
static void keep(struct findings *findings, struct finding *finding, bool whole)
{
    struct finding *grown = whole
                                ? reallocarray(findings->list, findings->count + 1, sizeof(*grown))
                                : NULL;

    if (!grown) {
        release_finding(finding);
        return;
    }
    findings->list = grown;
    grown[findings->count++] = *finding;
    if (findings->out)
        write_line(findings->out, finding);
}

void finding_add(struct findings *findings, const char *id, enum finding_state state,
                 const char *fix, const char *message, ...)
{
    struct finding finding = {
        .id = strdup(id),
        .state = state,
        .fix = fix ? strdup(fix) : NULL,
    };
    va_list args;

    va_start(args, message);
    if (vasprintf(&finding.message, message, args) < 0)
        finding.message = NULL;
    va_end(args);
    keep(findings, &finding, finding.id && finding.message && (!fix || finding.fix));
}

static enum finding_state state_of(const char *name)
{
    for (enum finding_state state = FINDING_OK; name && state < FINDING_FAIL; state++)
        if (strcmp(name, finding_state_name(state)) == 0)
            return state;
    return FINDING_FAIL;
}

void findings_read(struct findings *findings, char *text)
{
    const struct json_limits limits = {.bytes = ERRAND_TEXT, .depth = LINE_DEPTH};

    for (char *rest = text, *line; rest && (line = strsep(&rest, "\n"));) {
        scoped(json_freep) struct json *root = NULL;
        struct json_error error;

        if (json_parse(line, strlen(line), &limits, &root, &error) < 0)
            continue; /* half a line of one who was killed */

        const char *id = json_string(json_get(root, "id"));
        const char *message = json_string(json_get(root, "message"));

        if (id && message)
            finding_add(findings, id, state_of(json_string(json_get(root, "state"))),
                        json_string(json_get(root, "fix")), "%s", message);
    }
}

/* --- programs --- */

char *doctor_find_program(const char *path, const char *name)
{
    scoped_free char *folders = strdup(path);

    for (char *rest = folders, *folder; rest && (folder = strsep(&rest, ":"));) {
        scoped_free char *file = NULL;

        if (*folder && asprintf(&file, "%s/%s", folder, name) < 0)
            file = NULL;
        if (file && access(file, X_OK) == 0)
            return take_ptr(file);
    }
    return NULL;
}

char *doctor_install_command(const char *path, const char *package)
{
    static const char *const ways[][2] = {{"apt", "apt install"},
                                          {"dnf", "dnf install"},
                                          {"zypper", "zypper install"},
                                          {"pacman", "pacman -S"}};
    const char *way = ways[0][1];
    char *command = NULL;

    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        scoped_free char *program = doctor_find_program(path, ways[i][0]);

        if (program) {
            way = ways[i][1];
            break;
        }
    }
    return asprintf(&command, "sudo %s %s", way, package) < 0 ? NULL : command;
}
