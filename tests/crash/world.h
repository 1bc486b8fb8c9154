/* SPDX-License-Identifier: MIT */
/* world.h - what a cache was promised to hold, in memory that outlives the process that promised.
 *
 *     world_make                 a stack: contents, and versions of what is listed; served by a folder
 *     ... a life (life.h) works on the cache, notes what it promises, and dies
 *     world_look_at_files        what lies in the cache, before anything of ours reads it
 *     world_check                what a program that starts now would serve
 *
 * A promise is made when the call that makes it has returned, never before; between the two, both
 * answers are right. Bytes are what world_make invented, so whatever is readable can be compared.
 *
 * A check that fails says why in world_failure, and goes on saying it. Not thread-safe, but for
 * world_note_* beside each other. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cache/store.h"
#include "sync/tree.h"

enum { CONTENTS = 36, SLOTS = 9, VERSIONS = 48, LARGE_CONTENTS = 2 };

#define WORLD_LARGE (((size_t)1 << 20) + 64 * 1024)
#define WORLD_PIN "sales/t0"

/* What was promised of a blob: nothing, that a kill does not take it, that a power cut does not. */
enum level { LEVEL_NONE, LEVEL_COMMITTED, LEVEL_DURABLE };

struct content {
    struct blob_key key;
    const char *bytes; /* key.size of them */
    bool is_text;      /* a bundle */
    bool has_md5;      /* else the manifest gives none */
};

/* Slot i of the stack shows this content; -1: it is not listed. */
struct version {
    int slots[SLOTS];
};

struct promises {
    enum level levels[CONTENTS];
    int64_t mtimes[CONTENTS]; /* of what is listed; 0: not yet */
    int shown;                /* the version that was published last; -1: none yet */
    int next;                 /* that which is being published; may be the same */
    int pinned;               /* 0, 1; -1: just being changed */
    char failure[512];        /* "": none */
};

struct world {
    char *root;  /* the cache */
    char *home;  /* what outlives it: pins, first seen */
    char *stack; /* the source's folder */
    struct content contents[CONTENTS];
    struct version versions[VERSIONS];
    struct promises *promises; /* shared */
};

/* Deterministic: one seed, one sequence. */
uint64_t world_random(uint64_t *state);
unsigned world_pick(uint64_t *state, unsigned below);

/* The cache goes below `disk`, which a power cut may hit, the stack below `safe`. */
struct world *world_make(const char *disk, const char *safe, uint64_t seed);
void world_free(struct world *world); /* removes nothing */

/* The stack becomes that version, by one rename. */
void world_serve(const struct world *world, int version);

bool world_lists(const struct world *world, int version, int content);
int world_find(const struct world *world, const struct blob_key *key); /* -1: never heard of it */

/* The first failure counts. */
void world_fail(struct world *world, const char *template, ...)
    __attribute__((format(printf, 2, 3)));
const char *world_failure(const struct world *world);

/* The tree is published: it is `next`, on disk, with whatever blobs of it are resident. */
void world_note_published(struct world *world, const struct tree *tree, struct store *store);

/* Every file named as a blob has the blob's bytes. */
void world_look_at_files(struct world *world);

/* What was promised at that level is here, nothing readable is wrong, the state is old or new. A
 * reader changes nothing by it. has_state: the cache is one that an engine has worked on. */
void world_check(struct world *world, struct store *store, enum level level, bool has_state);
