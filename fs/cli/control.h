/* SPDX-License-Identifier: MIT */
/* control.h - talking to a mount's process, without touching the mount.
 *
 * Two files a mount, in the runtime folder (paths.h), named after 16 hex digits of the XXH3 of the
 * mount point's absolute path:
 *
 *     <hex>.lock   locked as long as the process lives; holds "PID\nMOUNTPOINT\n"
 *     <hex>.sock   a Unix socket, 0600, only for our own user and root
 *
 * One request a connection: a line of JSON, {"verb":"status","argument":null,"verbose":false}, and
 * the answer is one JSON document, then the end. A request must come within 5 s.
 *
 * The process:   control_claim -> control_serve -> control_end -> control_free
 * The others:    control_list, control_owner, control_ask, control_wait_gone
 *
 * Each connection has a thread of its own (64 at most), so a refresh that takes long keeps nobody
 * from asking for the status.
 *
 * Errors: -EBUSY another process has that mount point, -ENOENT nobody has, -ETIMEDOUT, -EPERM a
 * stranger, -EPROTO no sense in the answer, else the system's. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct control;
struct json;

struct control_request {
    const char *verb;
    const char *argument; /* of verbs that take one; NULL: none was given */
    bool verbose;
    const atomic_bool *ending; /* answer soon when it becomes true; NULL for whoever asks */
    /* Of whoever asks: called twice a second while the answer is awaited. NULL: not. */
    void (*meanwhile)(void *arg);
    void *meanwhile_arg;
};

/* Writes the answer, malloc'd. Called on the connection's thread, several at once. A negative errno
 * becomes {"error":"..."}. */
typedef int (*control_answer)(void *arg, const struct control_request *request, char **ret_text,
                              size_t *ret_size);

/* A line as a request, whose strings are root's: json_free it in the end, also after a failure.
 * -EPROTO for what is no JSON, -EINVAL without a verb, -ENOMEM. */
#define CONTROL_REQUEST_SIZE 4096
int control_read_request(const char *line, struct json **ret_root,
                         struct control_request *ret_request);

/* The answer for an errno. -ENOMEM. */
int control_error_text(int error, char **ret_text, size_t *ret_size);

/* Takes the lock: this process is the one behind that mount point from now on. */
int control_claim(const char *runtime, const char *mountpoint, struct control **ret_control);

/* Begins to answer. */
int control_serve(struct control *control, control_answer answer, void *arg);

/* Stops answering and waits for the answers under way. */
void control_end(struct control *control);

/* Gives up the lock: whoever waits for our end sees it now. NULL is allowed. */
void control_free(struct control *control);

/* The live mounts' mount points, sorted; a NULL-terminated array, each string and the array
 * malloc'd. */
int control_list(const char *runtime, char ***ret_mountpoints);
void control_list_free(char **mountpoints);
void control_list_freep(char **const *mountpoints);

/* Which process stands behind a mount point. */
int control_owner(const char *runtime, const char *mountpoint, pid_t *ret_pid);

/* Sends a request and waits for the whole answer, malloc'd. timeout_ms -1: no limit. */
int control_ask(const char *runtime, const char *mountpoint, const struct control_request *request,
                int timeout_ms, char **ret_text, size_t *ret_size);

/* Waits until no process stands behind the mount point any more. -ETIMEDOUT. */
int control_wait_gone(const char *runtime, const char *mountpoint, int timeout_ms);
