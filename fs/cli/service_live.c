/* SPDX-License-Identifier: MIT */
/* service_live.c - what the mounted folder says of itself: the documents of .agnes, which are rendered
 * when somebody looks, and the texts that come with each generation. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cache/scoped.h"
#include "fs/cli/service.h"
#include "sync/guide.h"
#include "sync/manifest_write.h"

int service_render_status(struct service *service, char **ret_text, size_t *ret_size)
{
    scoped(json_freep) struct json *root = NULL;
    int r = service_status(service, &root);

    return r < 0 ? r : json_print(root, true, ret_text, ret_size);
}

static int render_generation(struct service *service, char **ret_text, size_t *ret_size)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(service->engine);
    int length = asprintf(ret_text, "%llu\n",
                          (unsigned long long)(tree ? tree_generation(tree) : 0));

    if (length < 0)
        return -ENOMEM;
    *ret_size = (size_t)length;
    return 0;
}

int service_render(void *arg, const struct tree *tree, unsigned live, char **ret_text,
                   size_t *ret_size)
{
    const struct service *service = arg;

    switch (live) {
    case LIVE_MANIFEST:
        return manifest_write(tree, session_source(service->session), ret_text, ret_size);
    case LIVE_STATUS: return service_render_status(arg, ret_text, ret_size);
    case LIVE_GENERATION: return render_generation(arg, ret_text, ret_size);
    default: return -ENOENT;
    }
}

/* What GVfs calls the mount in sidebars, and shows it as. The host is the cache's own, so the text
 * belongs to whatever is kept there. */
static int add_volume_info(struct tree_builder *builder, const struct source *source)
{
    scoped_free char *text = NULL;
    int length = asprintf(&text, "[Volume Info]\nName=Agnes (%s)\nIcon=folder-remote\n",
                          source_host(source));

    return length < 0 ? -ENOMEM
                      : tree_builder_add_text(builder, ".xdg-volume-info", text, (size_t)length);
}

int service_decorate(void *arg, struct tree_builder *builder)
{
    const struct service *service = arg;
    int r = tree_builder_add_live(builder, ".agnes/status.json", LIVE_STATUS);

    if (r == 0)
        r = tree_builder_add_live(builder, ".agnes/generation", LIVE_GENERATION);
    if (r == 0)
        r = tree_builder_add_live(builder, ".agnes/manifest.json", LIVE_MANIFEST);
    if (r == 0)
        r = add_volume_info(builder, service->session->discovery.source);
    return r < 0 ? r : guide_add(builder, service->mountpoint);
}

char *service_decoration(const struct service *service)
{
    char *text = NULL;
    struct stat st;

    if (stat("/proc/self/exe", &st) < 0)
        return NULL;
    if (asprintf(&text, "%llu %lld %lld.%09ld %s", (unsigned long long)st.st_ino,
                 (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                 service->mountpoint) < 0)
        return NULL;
    return text;
}
