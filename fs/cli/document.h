/* SPDX-License-Identifier: MIT */
/* document.h - what --json prints: one JSON document on stdout, whatever the verb and however it went.
 *
 * scripts/install/schema/agnesfs.schema.json describes them all ("$defs", by verb), and tests hold real
 * output to it. Each is an object whose "schema" is the number of what it looks like. Keys are added,
 * never renamed or given another meaning, without a new number.
 *
 * When a verb fails, the document is $defs/error, {"schema", "error", "hint", "exit"}, and stderr has
 * the same in words; but for refreshes (sync, refresh, pin, stack), whose report has its own "error",
 * and verify, which fails by what it found. */
#pragma once

#include "sync/json.h"

#define DOCUMENT_SCHEMA 1

/* An object that says its schema; NULL without memory. */
struct json *document_new(void);

/* On stdout. -ENOMEM. */
int document_print(const struct json *root);
