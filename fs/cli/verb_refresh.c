/* SPDX-License-Identifier: MIT */
/* verb_refresh.c - the mount's process refreshes and words the result; this prints it. */
#include "cache/scoped.h"
#include "fs/cli/answer.h"
#include "fs/cli/target.h"

enum { PATIENCE_MS = 10 * 1000 };

/* Only what was said for this call: a configuration file speaks of mounts to come. */
static int set_log_level(const struct options *options, const struct target *target,
                         struct complaint *ret_complaint)
{
    const struct control_request request = {.verb = "log-level",
                                            .argument = options_text(options, OPTION_LOG_LEVEL)};
    scoped(json_freep) struct json *root = NULL;

    if (options_origin(options, OPTION_LOG_LEVEL) != ORIGIN_FLAG)
        return 0;
    return target_ask(target, &request, PATIENCE_MS, &root, NULL, ret_complaint);
}

int verb_refresh(const struct options *options)
{
    scoped(target_release) struct target target = {0};
    scoped(json_freep) struct json *root = NULL;
    const struct control_request request = {.verb = "refresh",
                                            .verbose = options_flag(options, FLAG_VERBOSE)};
    struct complaint complaint;

    if (target_find(options_operand(options, 0), &target, &complaint) < 0 ||
        set_log_level(options, &target, &complaint) < 0 ||
        target_ask(&target, &request, -1, &root, NULL, &complaint) < 0 ||
        answer_show(options, root, &complaint) < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    return answer_code(root);
}
