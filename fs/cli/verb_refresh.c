/* SPDX-License-Identifier: MIT */
/* verb_refresh.c - the mount's process refreshes and words the result; this prints it. */
#include <errno.h>
#include <stdlib.h>

#include "cache/scoped.h"
#include "fs/cli/format.h"
#include "fs/cli/options.h"
#include "fs/cli/target.h"

static const char *word(const struct json *root, const char *key)
{
    const char *text = json_string(json_get(root, key));

    return text ? text : "";
}

static int show_report(const struct json *root, struct complaint *ret_complaint)
{
    scoped_free char *text = NULL;
    const struct json *report = json_get(root, "report");
    size_t size;

    if (!report || json_print(report, true, &text, &size) < 0)
        return complain(ret_complaint, EXIT_FAILED, "refresh", "no report came");
    fputs(text, stdout);
    return 0;
}

/* The text is made of escaped lines already. */
static int show(const struct options *options, const struct json *root,
                struct complaint *ret_complaint)
{
    uint64_t error = 0;
    int r = 0;

    json_u64(json_get(root, "errno"), &error);
    if (options_flag(options, FLAG_JSON))
        r = show_report(root, ret_complaint);
    else if (!options_flag(options, FLAG_QUIET) && error == 0)
        fputs(word(root, "text"), stdout);
    if (r == 0 && error > 0)
        r = complain_refresh(ret_complaint, word(root, "source"), word(root, "origin"),
                             json_is_true(json_get(root, "token")), -(int)error,
                             word(root, "message"));
    ret_complaint->told = error > 0 && options_flag(options, FLAG_JSON);
    return r;
}

int verb_refresh(const struct options *options)
{
    scoped(target_release) struct target target = {0};
    scoped(json_freep) struct json *root = NULL;
    struct complaint complaint;
    uint64_t code = EXIT_FAILED;

    if (target_find(options_operand(options, 0), &target, &complaint) < 0 ||
        target_ask(&target, "refresh", options_flag(options, FLAG_VERBOSE), -1, &root, NULL,
                   &complaint) < 0 ||
        show(options, root, &complaint) < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    json_u64(json_get(root, "exit"), &code);
    return (int)code;
}
