/* SPDX-License-Identifier: MIT */
/* service_systemd.c - what `systemctl status` shows of a mount: the sync thread. */
#include "cache/scoped.h"
#include "fs/cli/format.h"
#include "fs/cli/service.h"
#include "fs/cli/status_doc.h"

void service_tell(const struct service *service, const struct report *report)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(service->engine);
    char tables[FORMAT_SIZE];
    char bytes[FORMAT_SIZE];
    struct stack_counts counts;

    stack_count(tree, &counts);
    format_count(counts.tables, "table", "tables", tables);
    format_bytes(counts.bytes, bytes);
    if (report->error)
        systemd_status("%s (%s) as last known; refresh failed: %s", tables, bytes, report->message);
    else if (report->error_count > 0)
        systemd_status("%s (%s), generation %llu; not all is well: agnesfs status", tables, bytes,
                       (unsigned long long)report->generation);
    else
        systemd_status("%s (%s), generation %llu", tables, bytes,
                       (unsigned long long)report->generation);
}
