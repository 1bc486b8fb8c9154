/* SPDX-License-Identifier: MIT */
/* The inode table against a naive model: three counts, two faces, death when all are 0. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/inode.h"

static struct blob_key key_of(unsigned number)
{
    struct blob_key key;
    char text[32];

    snprintf(text, sizeof(text), "content %u", number);
    blob_key_of_bytes(text, strlen(text), &key);
    return key;
}

/* A tree with a name a<i>/<copy> for each of counts[i] references to content i. */
static struct tree *tree_of(const unsigned *counts, unsigned contents)
{
    struct tree_builder *builder;
    struct tree *tree;

    assert_int_equal(tree_builder_new(1, &builder), 0);
    for (unsigned i = 0; i < contents; i++)
        for (unsigned copy = 0; copy < counts[i]; copy++) {
            const struct blob_key key = key_of(i);
            char path[64];

            snprintf(path, sizeof(path), "data/p%u/t%u.parquet", copy, i);
            assert_int_equal(tree_builder_add_blob(builder, path, TREE_NO_ROW, &key,
                                                   1000000000LL * (i + 1)),
                             0);
        }
    assert_int_equal(tree_builder_freeze(builder, &tree), 0);
    return tree;
}

static void publish(struct inode_table *table, const struct tree *before, const struct tree *after)
{
    struct tree_diff diff;

    assert_int_equal(tree_diff_make(before, after, &diff), 0);
    assert_int_equal(inode_publish(table, &diff, after), 0);
    tree_diff_release(&diff);
    assert_int_equal(inode_audit(table, after), 0);
}

static uint64_t look_up(struct inode_table *table, const struct tree *tree, unsigned number,
                        enum inode_face face, struct inode_facts *facts)
{
    const struct blob_key key = key_of(number);
    const struct tree_blob *blob = tree_blob_find(tree, &key);

    assert_non_null(blob);
    assert_int_equal(inode_lookup_blob(table, blob, face, facts), 0);
    return facts->nodeid;
}

static void root_is_always_there(void **state)
{
    struct inode_table *table;
    struct inode_facts facts;
    struct inode_open open;

    (void)state;
    assert_int_equal(inode_table_new(&table), 0);
    assert_int_equal(inode_facts(table, INODE_ROOT, &facts), 0);
    assert_int_equal(facts.ino, INODE_ROOT);
    assert_string_equal(facts.path, "");
    inode_forget(table, INODE_ROOT, 1000);
    assert_int_equal(inode_facts(table, INODE_ROOT, &facts), 0);
    assert_int_equal(inode_facts(table, 12345, &facts), -ESTALE);
    assert_int_equal(inode_open(table, 12345, &open, &facts), -ESTALE);
    inode_table_free(table);
}

static void names_of_one_content_are_one_inode(void **state)
{
    const unsigned counts[] = {2, 1};
    struct tree *tree = tree_of(counts, 2);
    struct inode_table *table;
    struct inode_facts a, again, other;

    (void)state;
    assert_int_equal(inode_table_new(&table), 0);
    publish(table, NULL, tree);
    look_up(table, tree, 0, FACE_FULL, &a);
    look_up(table, tree, 0, FACE_FULL, &again);
    look_up(table, tree, 1, FACE_FULL, &other);
    assert_int_equal(a.references, 2);
    assert_int_equal(a.nodeid, again.nodeid);
    assert_int_equal(a.ino, again.ino);
    assert_int_not_equal(a.nodeid, other.nodeid);
    assert_int_not_equal(a.ino, other.ino);
    assert_int_equal(a.mtime_ns, 1000000000LL);
    inode_table_free(table);
    tree_unref(tree);
}

static void faces_differ_in_nodeid_and_in_nothing_else(void **state)
{
    const unsigned counts[] = {3};
    struct tree *tree = tree_of(counts, 1);
    struct inode_table *table;
    struct inode_facts lazy, full;
    uint64_t nodeids[FACES];
    const struct blob_key key = key_of(0);

    (void)state;
    assert_int_equal(inode_table_new(&table), 0);
    publish(table, NULL, tree);
    look_up(table, tree, 0, FACE_LAZY, &lazy);
    look_up(table, tree, 0, FACE_FULL, &full);
    assert_int_not_equal(lazy.nodeid, full.nodeid);
    assert_int_equal(lazy.face, FACE_LAZY);
    assert_int_equal(full.face, FACE_FULL);
    assert_int_equal(lazy.ino, full.ino);
    assert_int_equal(lazy.references, full.references);
    inode_faces(table, &key, nodeids);
    assert_int_equal(nodeids[FACE_LAZY], lazy.nodeid);
    assert_int_equal(nodeids[FACE_FULL], full.nodeid);
    inode_forget(table, lazy.nodeid, 1);
    inode_faces(table, &key, nodeids);
    assert_int_equal(nodeids[FACE_LAZY], 0);
    assert_int_equal(nodeids[FACE_FULL], full.nodeid);
    inode_table_free(table);
    tree_unref(tree);
}

static void a_withdrawn_blob_lives_until_closed_and_forgotten(void **state)
{
    const unsigned before[] = {1}, after[] = {0};
    struct tree *one = tree_of(before, 1), *none = tree_of(after, 1);
    struct inode_table *table;
    struct inode_facts facts;
    struct inode_open open;
    uint64_t nodeid;

    (void)state;
    assert_int_equal(inode_table_new(&table), 0);
    publish(table, NULL, one);
    nodeid = look_up(table, one, 0, FACE_FULL, &facts);
    assert_int_equal(inode_open(table, nodeid, &open, &facts), 0);
    publish(table, one, none);
    assert_int_equal(inode_facts(table, nodeid, &facts), 0);
    assert_int_equal(facts.references, 0);
    inode_forget(table, nodeid, 1);
    assert_int_equal(inode_facts(table, nodeid, &facts), 0);
    inode_close(table, &open);
    assert_int_equal(inode_facts(table, nodeid, &facts), -ESTALE);
    inode_table_free(table);
    tree_unref(one);
    tree_unref(none);
}

static void nodeids_are_never_reused(void **state)
{
    const unsigned counts[] = {1};
    struct tree *tree = tree_of(counts, 1);
    struct inode_table *table;
    struct inode_facts facts;
    uint64_t last = 0;

    (void)state;
    assert_int_equal(inode_table_new(&table), 0);
    for (unsigned i = 0; i < 100; i++) { /* without references each forget is a death */
        const uint64_t nodeid = look_up(table, tree, 0, i % 2 ? FACE_LAZY : FACE_FULL, &facts);

        assert_true(nodeid > last);
        last = nodeid;
        inode_forget(table, nodeid, 1);
    }
    inode_table_free(table);
    tree_unref(tree);
}

static void folders_keep_their_inode_and_texts_their_bytes(void **state)
{
    struct inode_table *table;
    struct inode_facts dir, again, text;
    struct blob_key key;

    (void)state;
    assert_int_equal(inode_table_new(&table), 0);
    assert_int_equal(inode_dir_nodeid(table, "data"), 0);
    assert_int_equal(inode_lookup_dir(table, "data", 5, &dir), 0);
    assert_int_equal(inode_lookup_dir(table, "data", 9, &again), 0);
    assert_int_equal(dir.nodeid, again.nodeid);
    assert_int_equal(again.mtime_ns, 5);
    assert_int_equal(inode_touch_dir(table, "data", 7), dir.nodeid);
    assert_int_equal(inode_facts(table, dir.nodeid, &dir), 0);
    assert_int_equal(dir.mtime_ns, 7);
    assert_int_equal(dir.type, INODE_DIR);

    blob_key_of_bytes("hello", 5, &key);
    assert_int_equal(inode_lookup_text(table, "hello", 5, &key, 1, &text), 0);
    assert_memory_equal(text.bytes, "hello", 5);
    assert_int_equal(text.key.size, 5);
    inode_forget(table, dir.nodeid, 2);
    assert_int_equal(inode_dir_nodeid(table, "data"), 0);
    inode_table_free(table);
}

static void audit_notices_a_wrong_count(void **state)
{
    const unsigned two[] = {2}, three[] = {3};
    struct tree *a = tree_of(two, 1), *b = tree_of(three, 1);
    struct inode_table *table;

    (void)state;
    assert_int_equal(inode_table_new(&table), 0);
    publish(table, NULL, a);
    assert_int_equal(inode_audit(table, b), -EUCLEAN);
    assert_int_equal(inode_audit(table, a), 0);
    inode_table_free(table);
    tree_unref(a);
    tree_unref(b);
}

/* --- random histories against a model that knows three numbers a face --- */

#define CONTENTS 12

struct model {
    unsigned references[CONTENTS];
    unsigned lookups[CONTENTS][FACES];
    unsigned opens[CONTENTS][FACES];
    struct inode_open *open[CONTENTS][FACES][64];
    uint64_t nodeids[CONTENTS][FACES];
};

static void check(struct inode_table *table, const struct model *model)
{
    struct inode_census census;
    uint64_t lookups = 1, opens = 0, references = 0, inodes = 1; /* the root */

    for (unsigned i = 0; i < CONTENTS; i++) {
        unsigned alive = model->references[i];

        for (unsigned face = 0; face < FACES; face++) {
            struct inode_facts facts;
            const bool held = model->lookups[i][face] || model->opens[i][face];

            lookups += model->lookups[i][face];
            opens += model->opens[i][face];
            alive += model->lookups[i][face] + model->opens[i][face];
            if (!held)
                continue;
            assert_int_equal(inode_facts(table, model->nodeids[i][face], &facts), 0);
            assert_int_equal(facts.references, model->references[i]);
        }
        references += model->references[i];
        inodes += alive > 0;
    }
    inode_census(table, &census);
    assert_int_equal(census.lookups, lookups);
    assert_int_equal(census.opens, opens);
    assert_int_equal(census.references, references);
    assert_int_equal(census.inodes, inodes);
}

static struct tree *random_tree(struct model *model)
{
    for (unsigned i = 0; i < CONTENTS; i++)
        model->references[i] = rand() % 3 ? (unsigned)rand() % 4 : 0;
    return tree_of(model->references, CONTENTS);
}

static void random_step(struct inode_table *table, struct tree *tree, struct model *model)
{
    const unsigned i = (unsigned)rand() % CONTENTS;
    const enum inode_face face = (enum inode_face)(rand() % FACES);
    struct inode_facts facts;
    struct inode_open *open;

    switch (rand() % 4) {
    case 0:
        if (!model->references[i])
            return;
        model->nodeids[i][face] = look_up(table, tree, i, face, &facts);
        model->lookups[i][face]++;
        return;
    case 1:
        if (!model->lookups[i][face] || model->opens[i][face] == 64)
            return;
        open = test_calloc(1, sizeof(*open));
        open->release = NULL;
        assert_int_equal(inode_open(table, model->nodeids[i][face], open, &facts), 0);
        model->open[i][face][model->opens[i][face]++] = open;
        return;
    case 2:
        if (!model->opens[i][face])
            return;
        open = model->open[i][face][--model->opens[i][face]];
        inode_close(table, open);
        test_free(open);
        return;
    default:
        if (!model->lookups[i][face])
            return;
        inode_forget(table, model->nodeids[i][face], 1);
        model->lookups[i][face]--;
        return;
    }
}

static void random_histories_keep_the_counts(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 200; seed++) {
        struct model model = {0};
        struct inode_table *table;
        struct tree *tree;

        srand(seed);
        print_message(seed == 1 ? "seeds 1 to 200\n" : "");
        assert_int_equal(inode_table_new(&table), 0);
        tree = random_tree(&model);
        publish(table, NULL, tree);
        for (unsigned generation = 0; generation < 6; generation++) {
            struct tree *next;

            for (unsigned step = 0; step < 60; step++) {
                random_step(table, tree, &model);
                check(table, &model);
            }
            next = random_tree(&model);
            publish(table, tree, next);
            check(table, &model);
            tree_unref(tree);
            tree = next;
        }
        for (unsigned i = 0; i < CONTENTS; i++)
            for (unsigned face = 0; face < FACES; face++)
                while (model.opens[i][face])
                    test_free(model.open[i][face][--model.opens[i][face]]);
        inode_table_free(table);
        tree_unref(tree);
    }
}

/* --- look-ups, forgets and publishes at once --- */

struct storm {
    struct inode_table *table;
    struct tree *trees[2];
};

static void *storm_of_lookups(void *arg)
{
    struct storm *storm = arg;
    struct inode_facts facts;
    struct inode_open open;

    for (unsigned i = 0; i < 20000; i++) {
        const uint64_t nodeid = look_up(storm->table, storm->trees[i % 2], i % CONTENTS, i % FACES,
                                        &facts);

        if (inode_open(storm->table, nodeid, &open, &facts) == 0)
            inode_close(storm->table, &open);
        inode_forget(storm->table, nodeid, 1);
    }
    return NULL;
}

static void a_storm_leaves_the_counts_right(void **state)
{
    unsigned few[CONTENTS], many[CONTENTS];
    pthread_t threads[4];
    struct storm storm;

    (void)state;
    for (unsigned i = 0; i < CONTENTS; i++) {
        few[i] = 1;
        many[i] = 1 + i;
    }
    storm.trees[0] = tree_of(few, CONTENTS);
    storm.trees[1] = tree_of(many, CONTENTS);
    assert_int_equal(inode_table_new(&storm.table), 0);
    publish(storm.table, NULL, storm.trees[0]);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, storm_of_lookups, &storm), 0);
    for (unsigned i = 0; i < 500; i++)
        publish(storm.table, storm.trees[i % 2], storm.trees[1 - i % 2]);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(inode_audit(storm.table, storm.trees[0]), 0);
    inode_table_free(storm.table);
    tree_unref(storm.trees[0]);
    tree_unref(storm.trees[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_is_always_there),
        cmocka_unit_test(names_of_one_content_are_one_inode),
        cmocka_unit_test(faces_differ_in_nodeid_and_in_nothing_else),
        cmocka_unit_test(a_withdrawn_blob_lives_until_closed_and_forgotten),
        cmocka_unit_test(nodeids_are_never_reused),
        cmocka_unit_test(folders_keep_their_inode_and_texts_their_bytes),
        cmocka_unit_test(audit_notices_a_wrong_count),
        cmocka_unit_test(random_histories_keep_the_counts),
        cmocka_unit_test(a_storm_leaves_the_counts_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
