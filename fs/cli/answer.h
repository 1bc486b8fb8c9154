/* SPDX-License-Identifier: MIT */
/* answer.h - what a mount's process says after a refresh that somebody asked for.
 *
 * The process refreshes and words the result (service_control.c); the verbs that ask for one print
 * it. */
#pragma once

#include "fs/cli/messages.h"
#include "fs/cli/options.h"
#include "sync/json.h"

/* Prints the report as text or JSON. A negative number and a complaint when the refresh failed. */
int answer_show(const struct options *options, const struct json *root,
                struct complaint *ret_complaint);

/* Prints nothing; a negative number and a complaint when the refresh failed. */
int answer_check(const struct json *root, struct complaint *ret_complaint);

/* The exit code that the process gave. */
int answer_code(const struct json *root);
