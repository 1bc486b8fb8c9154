/* SPDX-License-Identifier: MIT */
/* life.h - what a process does with a cache until it ends, or is ended.
 *
 *     LIFE_STORE   blobs by writers and partials, flushed, verified, dropped, swept, evicted
 *     LIFE_SYNC    an engine over the stack: refreshes, fills, wants, pins
 *
 * It begins as any start does: opens what the last one left, and checks it (world_check), so that a
 * recovery dies at points of its own. Of what it does next the seed decides. */
#pragma once

#include "tests/crash/world.h"

enum life_kind { LIFE_STORE, LIFE_SYNC };

/* Returns at the orderly end of the life. What went wrong is in world_failure. level: what the last
 * end can not have taken. */
void life_live(struct world *world, enum life_kind kind, uint64_t seed, enum level level);

void life_of_store(struct world *world, struct store *store, uint64_t seed);
void life_of_sync(struct world *world, struct store *store, uint64_t seed);
