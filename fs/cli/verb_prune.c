/* SPDX-License-Identifier: MIT */
/* verb_prune.c - asks the process that holds the cache, else takes it for a moment. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/document.h"
#include "fs/cli/format.h"
#include "fs/cli/session.h"
#include "fs/cli/target.h"

static int prune_there(const struct options *options, const char *mountpoint,
                       struct prune_result *ret_result, struct complaint *ret_complaint)
{
    scoped(target_release) struct target target = {0};
    scoped(json_freep) struct json *root = NULL;
    char size[32];
    struct control_request request = {.verb = "prune"};

    if (options_text(options, OPTION_CACHE_SIZE)) {
        snprintf(size, sizeof(size), "%" PRIu64, options_number(options, OPTION_CACHE_SIZE));
        request.argument = size;
    }
    if (target_find(mountpoint, &target, ret_complaint) < 0 ||
        target_ask(&target, &request, -1, &root, NULL, ret_complaint) < 0)
        return -EIO;
    json_u64(json_get(root, "blobs"), &ret_result->blobs);
    json_u64(json_get(root, "bytes"), &ret_result->bytes);
    json_u64(json_get(root, "used"), &ret_result->used);
    return 0;
}

static int prune_here(const struct options *options, struct prune_result *ret_result,
                      struct complaint *ret_complaint)
{
    scoped(session_close) struct session session = {0};
    struct engine *engine = NULL;
    int r;

    if (session_open(options, options_operand(options, 0), STORE_WRITER, &session, ret_complaint) <
            0 ||
        session_engine(&session, &engine, ret_complaint) < 0)
        return -EIO;
    r = engine_prune(engine, options_number(options, OPTION_CACHE_SIZE), ret_result);
    engine_free(engine);
    return r < 0 ? complain(ret_complaint, EXIT_DISK, session.cache_dir, "%s", strerror(-r)) : 0;
}

static int print_json(const struct prune_result *result)
{
    scoped(json_freep) struct json *root = document_new();

    if (!root || json_add_u64(root, "blobs", result->blobs) < 0 ||
        json_add_u64(root, "bytes", result->bytes) < 0 ||
        json_add_u64(root, "used", result->used) < 0)
        return -ENOMEM;
    return document_print(root);
}

static void show(const struct options *options, const struct prune_result *result)
{
    char files[FORMAT_SIZE];
    char bytes[FORMAT_SIZE];
    char used[FORMAT_SIZE];

    if (options_flag(options, FLAG_JSON)) {
        print_json(result);
        return;
    }
    format_count(result->blobs, "file", "files", files);
    format_bytes(result->bytes, bytes);
    format_bytes(result->used, used);
    if (!options_flag(options, FLAG_QUIET))
        printf("%s removed, %s; %s left\n", files, bytes, used);
}

int verb_prune(const struct options *options)
{
    scoped_free char *mountpoint = NULL;
    struct prune_result result = {0};
    struct complaint complaint;
    int r = session_find_mount(options, options_operand(options, 0), &mountpoint, &complaint);

    if (r == 0)
        r = mountpoint ? prune_there(options, mountpoint, &result, &complaint)
                       : prune_here(options, &result, &complaint);
    if (r < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    show(options, &result);
    return EXIT_OK;
}
