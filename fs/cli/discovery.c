/* SPDX-License-Identifier: MIT */
/* discovery.c - follows the agnes CLI (contract 4) to the letter: whoever is logged in there is
 * logged in here, and sees the same stack. */
#include "fs/cli/discovery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/agnes_config.h"

static int take_source(const char *text, const char *origin, struct discovery *ret_discovery,
                       struct complaint *ret_complaint)
{
    scoped(source_freep) struct source *source = NULL;
    scoped_free char *copy = strdup(origin);
    int r = copy ? source_parse(text, &source) : -ENOMEM;

    if (r == -ENOMEM)
        return complain(ret_complaint, EXIT_FAILED, "source", "out of memory");
    if (r < 0) {
        complain(ret_complaint, EXIT_USAGE, text, "not a source (from %s)", origin);
        complaint_hint(ret_complaint, "https://SERVER, or a folder or URL with a manifest.json");
        return r;
    }
    *ret_discovery = (struct discovery){take_ptr(source), take_ptr(copy), false};
    return 0;
}

int discovery_find(const char *argument, const struct options *options,
                   struct discovery *ret_discovery, struct complaint *ret_complaint)
{
    const char *key = options_text(options, OPTION_SERVER);
    const char *environment = getenv("AGNES_SERVER");
    scoped_free char *path = NULL;
    scoped_free char *server = NULL;
    char why[160];
    int r;

    if (argument)
        return take_source(argument, "the command line", ret_discovery, ret_complaint);
    if (key && *key)
        return take_source(key, options_origin_text(options, OPTION_SERVER), ret_discovery,
                           ret_complaint);
    if (environment && *environment)
        return take_source(environment, "AGNES_SERVER", ret_discovery, ret_complaint);
    if ((r = agnes_config_path("config.yaml", &path)) == 0)
        r = agnes_config_server(path, &server, why);
    if (r == 0)
        return take_source(server, path, ret_discovery, ret_complaint);
    if (r != -ENOENT)
        return complain(ret_complaint, EXIT_USAGE, path ? path : "config.yaml", "%s",
                        r == -EINVAL ? why : strerror(-r));
    r = take_source(
        "http://localhost:8000",
        "the agnes CLI's last resort: no server is configured; log in with the agnes CLI "
        "or name a SOURCE",
        ret_discovery, ret_complaint);
    ret_discovery->is_last_resort = r == 0;
    return r;
}

void discovery_release(struct discovery *discovery)
{
    source_free(discovery->source);
    free(discovery->origin);
    *discovery = (struct discovery){0};
}
