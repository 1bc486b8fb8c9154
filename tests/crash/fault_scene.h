/* SPDX-License-Identifier: MIT */
/* fault_scene.h - one life of a cache, in stages, each of which can be the one that meets the fault.
 *
 *     scene_prepare, once     fills a cache from the first stack, and learns what both stacks are
 *     scene_play, a process   a copy of that cache, the second stack, the fault; then it must heal
 *
 *     open     store, engine, its threads, on what the last run left
 *     sync     a refresh that changes, adds and withdraws, and fetches all of it
 *     read     look-ups, opens, reads, of complete files and of some that must come first; a pin
 *     close    the orderly end
 *     check    after an unclean stop: everything verified, audited, counted; another generation read
 *
 * What must hold, whatever fails:
 *   during   bytes that are read are those that the manifest promises; a success is one
 *   on disk  right after it, as another process finds it: a generation that can be read; each of its
 *            names that was readable before is readable, each byte right
 *   healed   the same engine, the fault gone: a refresh succeeds and brings everything
 *   ended    an orderly end, after which a look at everything finds nothing; no memory is left
 *            behind, no descriptor */
#pragma once

#include "sync/tree.h"
#include "tests/crash/fault.h"

enum stage { STAGE_OPEN, STAGE_SYNC, STAGE_READ, STAGE_CLOSE, STAGE_CHECK, STAGES };

const char *stage_name(enum stage stage);

struct scene {
    const char *folder; /* of our own */
    const char *first;  /* manifests */
    const char *second;
    const char *sabotage;  /* "", or "crash", "leak" */
    struct tree *trees[2]; /* what they are */
};

/* One process's word on how it went. */
struct outcome {
    struct fault fault; /* shared, so that it outlives a crash */
    unsigned step;      /* how far it came, for messages */
    char text[400];     /* "" : all held */
};

int scene_prepare(struct scene *scene);

/* In a process of its own, in `folder`; the words go to outcome. */
void scene_play(const struct scene *scene, const char *folder, enum stage stage,
                enum fault_call call, int error, unsigned at, int persistent,
                struct outcome *outcome);

/* --- fault_check.c --- */

/* The bytes behind fd are exactly those of the key. */
bool check_bytes(int fd, const struct blob_key *key);

/* A generation, each of whose names is one of first or second, and none missing that both have. NULL,
 * or what is wrong. */
const char *check_tree(const struct scene *scene, const struct tree *tree);

/* The cache as another process finds it. NULL, or what is wrong. What has to be there: */
enum presence_due {
    DUE_NOTHING,    /* a quota was met: some may have been evicted, what is there is right */
    DUE_LAST_GOOD,  /* whatever was readable before */
    DUE_EVERYTHING, /* all that the generation lists */
};

const char *check_disk(const struct scene *scene, const char *root, enum presence_due due);

unsigned check_descriptors(void);
