/* SPDX-License-Identifier: MIT */
/* service_harden.c - which places a mount's process needs once it is under way. Of a file it is the
 * folder: a token, a certificate is replaced by renaming, and the new file has to be found. */
#include <errno.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/paths.h"
#include "fs/cli/service.h"

enum { MAX_READ = 8 };

struct places {
    char *paths[MAX_READ + 1];
    unsigned count;
};

static void places_release(const struct places *places)
{
    for (unsigned i = 0; i < places->count; i++)
        free(places->paths[i]);
}

/* What is not there yet may come: the nearest folder that is. */
static int add_folder(struct places *places, const char *path)
{
    char *folder = strdup(path);
    char *slash;

    if (!folder)
        return -ENOMEM;
    do {
        slash = strrchr(folder, '/');
        slash[slash == folder] = '\0';
    } while (slash != folder && access(folder, F_OK) < 0 && errno == ENOENT);
    places->paths[places->count++] = folder;
    return 0;
}

/* The folder of the name, and that of the file that it leads to. */
static int add_file(struct places *places, const char *path)
{
    scoped_free char *real = NULL;
    int r;

    if (!path || *path != '/')
        return 0;
    r = add_folder(places, path);
    real = realpath(path, NULL);
    return r < 0 || !real ? r : add_folder(places, real);
}

/* A manifest on a local disk may point anywhere on it. */
static int add_source(struct places *places, const struct source *source)
{
    return strcmp(source_origin(source), "file://") == 0 ? add_file(places, "/") : 0;
}

static int find_places(const struct session *session, struct places *places)
{
    int r = add_file(places, token_origin(session->token));

    if (r == 0)
        r = add_file(places, options_text(session->options, OPTION_CA_FILE));
    if (r == 0)
        r = add_source(places, session->discovery.source);
    return r;
}

int service_harden(struct service *service)
{
    const struct session *session = service->session;
    scoped(places_release) struct places places = {.count = 0};
    scoped_free char *runtime = NULL;
    scoped_free char *metrics = service_metrics_folder(service);
    int r;

    if (!options_number(session->options, OPTION_SANDBOX))
        return harden_enter(NULL, &service->hardened);
    r = find_places(session, &places);
    if (r == 0)
        r = paths_runtime(&runtime);
    if (r < 0)
        return r;

    const char *const own[] = {session->cache_dir, session->state_dir, runtime, metrics, NULL};

    r = harden_enter(&(struct harden_conf){own, (const char *const *)places.paths,
                                           mount_may_pass_through(),
                                           options_number(session->options, OPTION_IO_URING)},
                     &service->hardened);
    if (r == 0 && service->hardened.why_not[0])
        log_write(service->log, LOG_WARNING, "sandbox: %s", service->hardened.why_not);
    return r;
}
