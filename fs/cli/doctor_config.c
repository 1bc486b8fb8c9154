/* SPDX-License-Identifier: MIT */
/* doctor_config.c - what was configured, and the source that it leads to. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/scoped.h"
#include "fs/cli/discovery.h"
#include "fs/cli/doctor.h"
#include "fs/cli/format.h"

static unsigned count_set(const struct options *options)
{
    unsigned count = 0;

    for (unsigned key = 0; key < OPTION_KEYS; key++)
        count += options_text(options, (enum option_key)key) &&
                 options_origin(options, (enum option_key)key) != ORIGIN_DEFAULT;
    return count;
}

static void tell_of_trouble(const struct complaint *trouble, struct findings *findings)
{
    scoped_free char *fix = NULL;
    int r;

    if (trouble->what[0] == '/')
        r = asprintf(&fix, "${EDITOR:-vi} %s%s%s", trouble->what, *trouble->hint ? "   # " : "",
                     trouble->hint);
    else if (strncmp(trouble->what, "AGNESFS_", 8) == 0)
        r = asprintf(&fix, "unset %s", trouble->what);
    else
        r = asprintf(&fix, "agnesfs mount --help");
    finding_add(findings, "config", FINDING_FAIL, r < 0 ? "agnesfs mount --help" : fix,
                "configuration: %s: %s", trouble->what, trouble->why);
    if (r < 0)
        fix = NULL;
}

void doctor_check_config(const struct doctor *doctor, struct findings *findings)
{
    const struct options *options = doctor->options;
    const char *system = options_config(options) ? NULL : doctor->places.system_file;
    scoped_free char *user = option_file_path(options_config(options));
    bool has_system = system && access(system, F_OK) == 0;
    char count[FORMAT_SIZE];
    bool has_user = user && access(user, F_OK) == 0;

    if (options_trouble(options)) {
        tell_of_trouble(options_trouble(options), findings);
        return;
    }
    format_count(count_set(options), "key", "keys", count);
    finding_add(findings, "config", FINDING_OK, NULL, "configuration: %s%s%s; %s set",
                has_system ? system : "", has_system && has_user ? ", " : "",
                has_user     ? user
                : has_system ? ""
                             : "no files",
                count);
}

void doctor_check_source(const struct doctor *doctor, struct findings *findings)
{
    struct discovery discovery;
    struct complaint complaint;

    if (discovery_find(NULL, doctor->options, &discovery, &complaint) < 0) {
        finding_add(findings, "source", FINDING_FAIL, "agnesfs doctor --server https://SERVER",
                    "source: %s: %s", complaint.what, complaint.why);
        return;
    }
    if (discovery.is_last_resort)
        finding_add(findings, "source", FINDING_WARN, "agnes auth login",
                    "source: none is configured, so it is %s", source_text(discovery.source));
    else
        finding_add(findings, "source", FINDING_OK, NULL, "source: %s (from %s)",
                    source_text(discovery.source), discovery.origin);
    discovery_release(&discovery);
}
