/* SPDX-License-Identifier: MIT */
#include "fs/cli/answer.h"

#include <errno.h>
#include <stdlib.h>

#include "cache/scoped.h"

static const char *word(const struct json *root, const char *key)
{
    const char *text = json_string(json_get(root, key));

    return text ? text : "";
}

static int print_report(const struct options *options, const struct json *root,
                        struct complaint *ret_complaint)
{
    scoped_free char *text = NULL;
    const struct json *report = json_get(root, "report");
    size_t size;

    if (!report || json_print(report, true, &text, &size) < 0)
        return complain(ret_complaint, EXIT_FAILED, options_verb(options), "no report came");
    fputs(text, stdout);
    return 0;
}

int answer_check(const struct json *root, struct complaint *ret_complaint)
{
    uint64_t error = 0;

    json_u64(json_get(root, "errno"), &error);
    if (error == 0)
        return 0;
    return complain_refresh(ret_complaint, word(root, "source"), word(root, "origin"),
                            json_is_true(json_get(root, "token")), -(int)error,
                            word(root, "message"));
}

/* The text is made of escaped lines already. */
int answer_show(const struct options *options, const struct json *root,
                struct complaint *ret_complaint)
{
    uint64_t error = 0;
    int r = 0;

    json_u64(json_get(root, "errno"), &error);
    if (options_flag(options, FLAG_JSON))
        r = print_report(options, root, ret_complaint);
    else if (!options_flag(options, FLAG_QUIET) && error == 0)
        fputs(word(root, "text"), stdout);
    if (r == 0)
        r = answer_check(root, ret_complaint);
    ret_complaint->told = error > 0 && options_flag(options, FLAG_JSON);
    return r;
}

int answer_code(const struct json *root)
{
    uint64_t code = EXIT_FAILED;

    json_u64(json_get(root, "exit"), &code);
    return (int)code;
}
