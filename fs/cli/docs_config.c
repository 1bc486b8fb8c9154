/* SPDX-License-Identifier: MIT */
/* docs_config.c - every key as a line of a configuration file, commented out. */
#include <string.h>

#include "fs/cli/docs.h"
#include "fs/cli/options.h"

static void print_group(const char *group, FILE *file)
{
    fprintf(file, "\n# --- %s ---\n", group);
    for (unsigned key = 0; key < OPTION_KEYS; key++) {
        const struct option_spec *spec = option_spec((enum option_key)key);

        if (strcmp(spec->group, group) != 0)
            continue;
        fprintf(file, "\n# %s\n# %s =%s%s\n", spec->help, spec->name, spec->value ? " " : "",
                spec->value ? spec->value : "");
    }
}

void docs_configuration(FILE *file)
{
    for (const char *const *group = option_groups(); *group; group++)
        print_group(*group, file);
}
