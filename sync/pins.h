/* SPDX-License-Identifier: MIT */
/* pins.h - what people want to keep at hand: globs, as text, in the file `pins` of a folder.
 *
 * A glob names rows as `agnesfs ls` does: by path ("data/sales/orders.parquet"), or as GROUP/NAME
 * ("sales/orders"), as glob.h matches. It is kept as it was given and matched anew against each generation, so what is
 * listed later is pinned too.
 *
 * That it is kept at all is state, not cache: the file lives where a cleared cache does not take it
 * along. One glob a line; a file that can not be read is an error, never an empty list.
 *
 * Threads: one at a time. Errors: -EEXIST pinned already, -ENOENT was not pinned, -EINVAL no glob
 * (empty, with a line end, longer than PIN_MAX), -EFBIG more than PINS_MAX, what the system says. */
#pragma once

#include "sync/tree.h"

#define PIN_MAX 1024
#define PINS_MAX 1000

struct pins;

/* dirfd is not kept open for the caller: it is duplicated. */
int pins_open(int dirfd, struct pins **ret_pins);
void pins_close(struct pins *pins); /* NULL is allowed */
void pins_closep(struct pins *const *pins);

/* On disk, durably, before it returns. */
int pins_add(struct pins *pins, const char *glob);
int pins_remove(struct pins *pins, const char *glob);

size_t pins_count(const struct pins *pins);
const char *pins_glob(const struct pins *pins, size_t index);

bool pins_match(const struct pins *pins, const struct tree *tree, const struct tree_row *row);

/* Does that one glob? */
bool pin_matches(const char *glob, const struct tree_group *group, const struct tree_row *row);
