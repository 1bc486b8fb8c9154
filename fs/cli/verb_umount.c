/* SPDX-License-Identifier: MIT */
/* verb_umount.c - asks nothing of the mounted folder: a dead or hanging one must end too. Done means
 * that the process behind it has let go of everything, so that mounting again works at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/control.h"
#include "fs/cli/mounts.h"
#include "fs/cli/options.h"
#include "fs/cli/target.h"
#include "fs/cli/unmount.h"

enum { GONE_MS = 10 * 1000, GONE_SOON_MS = 1000, STOP_MS = 2000 };

/* Nothing is mounted (yet, or any more), but its process lives: it waits for its first manifest, or
 * for the last open file after a lazy umount. */
static bool tell_to_stop(const struct target *target)
{
    scoped_free char *text = NULL;
    size_t size;

    return control_ask(target->runtime, target->mountpoint,
                       &(struct control_request){.verb = "stop"}, STOP_MS, &text, &size) == 0;
}

static int end_mount(const struct target *target, bool lazy, struct complaint *ret_complaint)
{
    char words[UNMOUNT_WORDS] = "";
    struct mounts_entry entry;
    enum mounts_kind kind = mounts_at(target->mountpoint, &entry);

    if (kind == MOUNTS_NOTHING && tell_to_stop(target))
        return 0;
    if (kind == MOUNTS_NOTHING)
        return complain(ret_complaint, EXIT_FAILED, target->mountpoint, "not mounted");
    if (kind == MOUNTS_OTHER)
        return complain(ret_complaint, EXIT_FAILED, target->mountpoint, "not an agnesfs mount (%s)",
                        entry.type);

    int r = unmount(target->mountpoint, lazy, words);

    if (r == -EBUSY) {
        complain(ret_complaint, EXIT_BUSY, target->mountpoint, "busy: something in it is in use");
        complaint_hint(ret_complaint, "fuser -vm %s names who; or: agnesfs umount --lazy %s",
                       target->mountpoint, target->mountpoint);
    } else if (r < 0) {
        complain(ret_complaint, EXIT_FAILED, target->mountpoint, "could not be unmounted: %s",
                 *words ? words : strerror(-r));
    }
    return r;
}

int verb_umount(const struct options *options)
{
    scoped(target_release) struct target target = {0};
    bool lazy = options_flag(options, FLAG_LAZY);
    struct complaint complaint;

    if (target_find(options_operand(options, 0), &target, &complaint) < 0 ||
        end_mount(&target, lazy, &complaint) < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));

    int r = control_wait_gone(target.runtime, target.mountpoint, GONE_SOON_MS);

    /* A copy of the mount in another mount namespace, a container's say, keeps the kernel from telling
     * its process. So we do; one that does not listen any more is ending already. */
    if (r == -ETIMEDOUT && !lazy) {
        tell_to_stop(&target);
        r = control_wait_gone(target.runtime, target.mountpoint, GONE_MS);
    }
    if (r == -ETIMEDOUT && lazy) {
        if (!options_flag(options, FLAG_QUIET))
            warn(target.mountpoint, "detached; its process ends with the last open file");
        return EXIT_OK;
    }
    if (r == -ETIMEDOUT) {
        complain(&complaint, EXIT_FAILED, target.mountpoint,
                 "unmounted, but its process has not ended yet");
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    }
    return EXIT_OK;
}
