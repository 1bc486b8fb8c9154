/* SPDX-License-Identifier: MIT */
/* target.c - what is said about a mount that does not answer comes from mountinfo and from the lock
 * of its process. */
#include "fs/cli/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/control.h"
#include "fs/cli/death.h"
#include "fs/cli/discovery.h"
#include "fs/cli/mounts.h"
#include "fs/cli/paths.h"

enum { ANSWER_MAX = 64 << 20, ANSWER_DEPTH = 32 };

static int find_only(const char *runtime, char **ret_mountpoint, struct complaint *ret_complaint)
{
    scoped(control_list_freep) char **list = NULL;
    int r = control_list(runtime, &list);

    if (r < 0)
        return complain(ret_complaint, EXIT_FAILED, runtime, "%s", strerror(-r));
    if (!list[0])
        return complain(ret_complaint, EXIT_FAILED, "DIR", "nothing is mounted");
    if (list[1]) {
        char names[400] = "";

        for (char **at = list; *at; at++)
            snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
                     *names ? ", " : "", *at);
        complain(ret_complaint, EXIT_USAGE, "DIR", "there are several mounts; say which");
        complaint_hint(ret_complaint, "%s", names);
        return -EINVAL;
    }
    *ret_mountpoint = strdup(list[0]);
    return *ret_mountpoint ? 0 : complain(ret_complaint, EXIT_FAILED, "DIR", "out of memory");
}

int target_find(const char *dir, struct target *ret_target, struct complaint *ret_complaint)
{
    struct target target = {0};
    int r = paths_runtime(&target.runtime);

    if (r < 0)
        return complain(ret_complaint, EXIT_FAILED, "control socket",
                        "no private folder for it: %s", strerror(-r));
    if (!dir)
        r = find_only(target.runtime, &target.mountpoint, ret_complaint);
    else if ((r = paths_absolute(dir, &target.mountpoint)) < 0)
        r = complain(ret_complaint, EXIT_FAILED, dir, "%s", strerror(-r));
    if (r < 0) {
        target_release(&target);
        return r;
    }
    *ret_target = target;
    return 0;
}

bool target_unsaid(const struct options *options, struct target *ret_target)
{
    struct discovery discovery = {0};
    struct complaint ignored;
    bool unsaid = discovery_find(NULL, options, &discovery, &ignored) == 0 &&
                  discovery.is_last_resort && target_find(NULL, ret_target, &ignored) == 0;

    discovery_release(&discovery);
    return unsaid;
}

bool target_is_mount(const char *dir)
{
    scoped(target_release) struct target target = {0};
    struct complaint complaint;
    pid_t pid;

    return target_find(dir, &target, &complaint) == 0 &&
           control_owner(target.runtime, target.mountpoint, &pid) == 0;
}

void target_release(struct target *target)
{
    free(target->runtime);
    free(target->mountpoint);
    *target = (struct target){0};
}

static int explain(const struct target *target, int error, struct complaint *ret_complaint)
{
    struct mounts_entry entry;
    struct death death;
    pid_t pid = 0;
    bool lives = control_owner(target->runtime, target->mountpoint, &pid) == 0;
    enum mounts_kind kind = mounts_at(target->mountpoint, &entry);

    if (lives) {
        complain(ret_complaint, EXIT_FAILED, target->mountpoint, "process %d does not answer: %s",
                 (int)pid, strerror(-error));
        complaint_hint(ret_complaint, "agnesfs umount --lazy %s", target->mountpoint);
    } else if (kind == MOUNTS_AGNESFS &&
               death_find(target->runtime, target->mountpoint, &death) == 0) {
        complain(ret_complaint, EXIT_FAILED, target->mountpoint, "dead: its process %d was %s",
                 (int)death.pid, death.reason);
        complaint_hint(ret_complaint, "agnesfs mount %s mounts it again; agnesfs umount --lazy %s",
                       target->mountpoint, target->mountpoint);
    } else if (kind == MOUNTS_AGNESFS) {
        complain(ret_complaint, EXIT_FAILED, target->mountpoint,
                 "a mount without a process of yours: dead, or somebody else's");
        complaint_hint(ret_complaint, "agnesfs umount --lazy %s", target->mountpoint);
    } else {
        complain(ret_complaint, EXIT_FAILED, target->mountpoint, "no agnesfs mount");
        complaint_hint(ret_complaint, "agnesfs status lists the mounts");
    }
    return error;
}

int target_ask(const struct target *target, const struct control_request *request, int timeout_ms,
               struct json **ret_root, char **ret_text, struct complaint *ret_complaint)
{
    const struct json_limits limits = {.bytes = ANSWER_MAX, .depth = ANSWER_DEPTH};
    scoped(json_freep) struct json *root = NULL;
    scoped_free char *text = NULL;
    struct json_error error;
    size_t size;
    int r = control_ask(target->runtime, target->mountpoint, request, timeout_ms, &text, &size);

    if (r == 0)
        r = json_parse(text, size, &limits, &root, &error);
    if (r < 0)
        return explain(target, r, ret_complaint);
    if (json_count(root) == 1 && json_string(json_get(root, "error")))
        return complain(ret_complaint, EXIT_FAILED, target->mountpoint, "%s",
                        json_string(json_get(root, "error")));
    *ret_root = take_ptr(root);
    if (ret_text)
        *ret_text = take_ptr(text);
    return 0;
}
