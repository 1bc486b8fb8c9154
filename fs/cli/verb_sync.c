/* SPDX-License-Identifier: MIT */
/* verb_sync.c - the report says everything, the exit code is its summary. */
#include <errno.h>
#include <stdlib.h>

#include "cache/scoped.h"
#include "fs/cli/document.h"
#include "fs/cli/messages.h"
#include "fs/cli/report_text.h"
#include "fs/cli/session.h"

static int print_json(const struct session *session, const struct report *report,
                      struct complaint *ret_complaint)
{
    scoped(json_freep) struct json *root = NULL;

    if (report_json(report, &root) < 0 ||
        json_add_string(root, "source", session_source(session)) < 0 || document_print(root) < 0)
        return complain(ret_complaint, EXIT_FAILED, "sync", "out of memory");
    return 0;
}

static int show(const struct session *session, const struct report *report,
                struct complaint *ret_complaint)
{
    const struct options *options = session->options;
    int r = 0;

    if (options_flag(options, FLAG_JSON))
        r = print_json(session, report, ret_complaint);
    else if (!report->error && (!options_flag(options, FLAG_QUIET) || report->error_count > 0))
        report_print(report, options_flag(options, FLAG_VERBOSE),
                     options_flag(options, FLAG_QUIET) ? stderr : stdout);
    if (r == 0 && report->error)
        r = complain_refresh(ret_complaint, session_source(session), session->discovery.origin,
                             token_present(session->token), report->error, report->message);
    ret_complaint->told = report->error && options_flag(options, FLAG_JSON);
    return r;
}

int verb_sync(const struct options *options)
{
    scoped(session_close) struct session session = {0};
    scoped(report_freep) struct report *report = NULL;
    struct complaint complaint;
    unsigned flags = options_flag(options, FLAG_DRY_RUN) ? REFRESH_DRY_RUN : REFRESH_FILL;

    if (session_open(options, options_operand(options, 0), STORE_WRITER, &session, &complaint) <
            0 ||
        session_refresh(&session, flags, &report, &complaint) < 0 ||
        show(&session, report, &complaint) < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    return (int)exit_code_of_report(report);
}
