/* SPDX-License-Identifier: MIT */
/* The inode table in many orders. Three kernels' worth of requests and one publisher; each request
 * keeps account of what it looked up and opened, so it knows what must be true at any moment, whatever
 * the others do. At the end everything is given back, and nothing may be left. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/inode.h"
#include "tests/fuzz/schedules.h"

#define CONTENTS 3
#define USERS 3
#define ACTIONS 8
#define NODEIDS 256
#define GENERATIONS 3

/* What a nodeid was first. */
struct seen {
    uint64_t nodeid;
    struct blob_key key;
};

struct table_try {
    struct inode_table *table;
    struct tree *trees[GENERATIONS];
    struct blob_key keys[CONTENTS];
    struct seen seen[NODEIDS];
    unsigned seen_count;
    unsigned running;
};

/* What one user holds, to be given back. */
struct user {
    struct table_try *try;
    uint64_t nodeids[ACTIONS * 2];
    struct blob_key keys[ACTIONS * 2]; /* kind BLOB_NONE: a folder */
    unsigned count;
    struct inode_open opens[ACTIONS];
    unsigned open_count;
};

static struct tree *make_tree(struct table_try *try, unsigned generation)
{
    struct tree_builder *builder;
    struct tree *tree;
    char path[64];

    schedule_check(tree_builder_new(generation + 1, &builder) == 0);
    for (unsigned i = 0; i < CONTENTS; i++)
        for (unsigned copy = 0; copy < (i + generation) % 3; copy++) {
            snprintf(path, sizeof(path), "data/p%u/t%u.parquet", copy, i);
            schedule_check(tree_builder_add_blob(builder, path, TREE_NO_ROW, &try->keys[i], 1000) ==
                           0);
        }
    schedule_check(tree_builder_freeze(builder, &tree) == 0);
    return tree;
}

static void publish(struct table_try *try, const struct tree *before, const struct tree *after)
{
    struct tree_diff diff;

    schedule_check(tree_diff_make(before, after, &diff) == 0);
    schedule_check(inode_publish(try->table, &diff, after) == 0);
    tree_diff_release(&diff);
    schedule_check(inode_audit(try->table, after) == 0);
}

static void note(struct user *user, const struct inode_facts *facts)
{
    struct table_try *try = user->try;

    if (facts->type == INODE_BLOB) {
        unsigned i = 0;

        while (i < try->seen_count && try->seen[i].nodeid != facts->nodeid)
            i++;
        schedule_check(i < NODEIDS);
        if (i == try->seen_count)
            try->seen[try->seen_count++] = (struct seen){facts->nodeid, facts->key};
        schedule_check(blob_key_equal(&try->seen[i].key, &facts->key));
    }
    user->nodeids[user->count] = facts->nodeid;
    user->keys[user->count++] = facts->type == INODE_BLOB ? facts->key
                                                          : (struct blob_key){.kind = BLOB_NONE};
}

static void look_up(struct user *user)
{
    struct table_try *try = user->try;
    const unsigned number = (unsigned)schedule_random(CONTENTS);
    const struct tree_blob blob = {.key = try->keys[number], .mtime_ns = 1000};
    const enum inode_face face = schedule_random(2) ? FACE_FULL : FACE_LAZY;
    struct inode_facts facts;

    if (schedule_random(4) == 0)
        schedule_check(inode_lookup_dir(try->table, "data", 1, &facts) == 0);
    else
        schedule_check(inode_lookup_blob(try->table, &blob, face, &facts) == 0);
    note(user, &facts);
}

/* What is held is there, and is what it was. */
static void check_held(struct user *user, unsigned which)
{
    uint64_t nodeids[FACES];
    struct inode_facts facts;

    schedule_check(inode_facts(user->try->table, user->nodeids[which], &facts) == 0);
    schedule_check(facts.nodeid == user->nodeids[which]);
    if (user->keys[which].kind == BLOB_NONE) {
        schedule_check(facts.type == INODE_DIR && !strcmp(facts.path, "data"));
        return;
    }
    schedule_check(blob_key_equal(&facts.key, &user->keys[which]));
    inode_faces(user->try->table, &facts.key, nodeids);
    schedule_check(nodeids[facts.face] == facts.nodeid);
}

static void open_held(struct user *user, unsigned which)
{
    struct inode_open *open = &user->opens[user->open_count++];
    struct inode_facts facts;

    schedule_check(inode_open(user->try->table, user->nodeids[which], open, &facts) == 0);
    if (facts.type == INODE_BLOB)
        schedule_check(inode_use(user->try->table, &facts.key) >= INODE_OPENED);
    if (schedule_random(2))
        inode_has_bytes(user->try->table, open);
    else if (facts.type == INODE_BLOB && facts.face == FACE_FULL && schedule_random(2))
        inode_outdate(user->try->table, facts.nodeid);
    schedule_check(inode_facts(user->try->table, user->nodeids[which], &facts) == 0);
}

static void forget_one(struct user *user)
{
    const uint64_t nodeid = user->nodeids[--user->count];

    inode_forget(user->try->table, nodeid, 1);
}

static void use_table(void *arg)
{
    struct user *user = arg;
    struct table_try *try = user->try;

    for (unsigned i = 0; i < ACTIONS; i++) {
        if (user->count == 0 || schedule_random(3) == 0)
            look_up(user);
        check_held(user, (unsigned)schedule_random(user->count));
        switch (schedule_random(4)) {
        case 0: open_held(user, (unsigned)schedule_random(user->count)); break;
        case 1: forget_one(user); break;
        case 2:
            if (user->open_count > 0)
                inode_close(try->table, &user->opens[--user->open_count]);
            break;
        default: break;
        }
    }
    while (user->count > 0)
        forget_one(user);
    while (user->open_count > 0)
        inode_close(try->table, &user->opens[--user->open_count]);
    try->running--;
    schedule_wake(&try->running);
}

static void publish_all(void *arg)
{
    struct table_try *try = arg;

    for (unsigned i = 1; i < GENERATIONS; i++)
        publish(try, try->trees[i - 1], try->trees[i]);
    try->running--;
    schedule_wake(&try->running);
}

static void check_nothing_left(struct table_try *try)
{
    const struct tree *last = try->trees[GENERATIONS - 1];
    struct inode_census census;
    uint64_t references = 0;

    for (uint32_t i = 0; i < tree_blob_count(last); i++)
        references += tree_blob(last, i)->references;
    inode_census(try->table, &census);
    schedule_check(census.opens == 0);
    schedule_check(census.lookups == 1); /* the root's */
    schedule_check(census.references == references);
    schedule_check(census.inodes == 1 + tree_blob_count(last));
    schedule_check(inode_audit(try->table, last) == 0);
}

void try_inodes(void *arg)
{
    struct table_try try = {.running = USERS + 1};
    struct user *users = calloc(USERS, sizeof(*users));

    (void)arg;
    for (unsigned i = 0; i < CONTENTS; i++)
        blob_key_of_bytes((const char[]){(char)('a' + i)}, 1, &try.keys[i]);
    for (unsigned i = 0; i < GENERATIONS; i++)
        try.trees[i] = make_tree(&try, i);
    schedule_check(inode_table_new(&try.table) == 0);
    publish(&try, NULL, try.trees[0]);
    schedule_spawn(publish_all, &try);
    for (unsigned i = 0; i < USERS; i++) {
        users[i].try = &try;
        schedule_spawn(use_table, &users[i]);
    }
    while (try.running > 0)
        schedule_wait(&try.running);
    check_nothing_left(&try);
    inode_table_free(try.table);
    for (unsigned i = 0; i < GENERATIONS; i++)
        tree_unref(try.trees[i]);
    free(users);
}
