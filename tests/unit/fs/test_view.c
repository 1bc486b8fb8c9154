/* SPDX-License-Identifier: MIT */
/* The slot of the current generation: pairs are consistent, references balance, time goes on. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "fs/view.h"

static struct tree *empty_tree(uint64_t generation)
{
    struct tree_builder *builder;
    struct tree *tree;

    assert_int_equal(tree_builder_new(generation, &builder), 0);
    assert_int_equal(tree_builder_freeze(builder, &tree), 0);
    return tree;
}

static void swapping_hands_out_the_old_tree_and_a_later_time(void **state)
{
    struct tree *first = empty_tree(1), *second = empty_tree(2);
    struct view view;
    struct view_now before, after;
    int64_t published;

    (void)state;
    view_init(&view, first);
    before = view_get(&view);
    assert_ptr_equal(before.tree, first);
    for (int i = 0; i < 100; i++) { /* faster than the clock ticks */
        struct tree *old = view_swap(&view, tree_ref(second), &published);

        tree_unref(old);
        after = view_get(&view);
        assert_ptr_equal(after.tree, second);
        assert_int_equal(after.published_ns, published);
        assert_true(after.published_ns > before.published_ns);
        before.published_ns = after.published_ns;
        view_put(&after);
    }
    assert_int_equal(tree_generation(before.tree), 1); /* our reference keeps it */
    view_put(&before);
    view_release(&view);
    tree_unref(first);
    tree_unref(second);
}

static _Atomic bool stop;

static void *read_all_the_time(void *arg)
{
    uint64_t last = 0;
    int64_t last_ns = 0;

    while (!stop) {
        scoped_view struct view_now now = view_get(arg);
        const uint64_t generation = tree_generation(now.tree);

        if (generation < last || now.published_ns < last_ns)
            return arg; /* went back */
        last = generation;
        last_ns = now.published_ns;
    }
    return NULL;
}

static void readers_see_generations_in_order_under_swaps(void **state)
{
    struct tree *tree = empty_tree(1);
    pthread_t threads[3];
    struct view view;
    int64_t published;

    (void)state;
    view_init(&view, tree);
    tree_unref(tree);
    stop = false;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all_the_time, &view), 0);
    for (uint64_t generation = 2; generation < 5000; generation++)
        tree_unref(view_swap(&view, empty_tree(generation), &published));
    stop = true;
    for (size_t i = 0; i < 3; i++) {
        void *complaint;

        pthread_join(threads[i], &complaint);
        assert_null(complaint);
    }
    view_release(&view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(swapping_hands_out_the_old_tree_and_a_later_time),
        cmocka_unit_test(readers_see_generations_in_order_under_swaps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
