/* SPDX-License-Identifier: MIT */
/* test_diff.c - what the kernel must hear is exactly what changed. */
#include <time.h>

#include "cache/scoped.h"
#include "sync/diff.h"
#include "tests/unit/sync/tree_model.h"

static const char *path_of(const struct tree *tree, const struct tree_node *node)
{
    static char path[TREE_PATH_MAX]; /* a test is one thread, and prints one path at a time */

    assert_int_equal(tree_path(tree, node, path, sizeof(path)), 0);
    return path;
}

/* The diff as text: one line a change, in order. "+ path", "- path", "! path", then "key before
 * after" by the content number. */
static void describe(const struct tree_diff *diff, const struct tree *before,
                     const struct tree *after, char ret_text[static 4096])
{
    size_t used = 0;

    for (size_t i = 0; i < diff->name_count; i++) {
        const struct name_change *change = &diff->names[i];

        assert_int_equal(change->before == NULL, change->kind == CHANGE_ADDED);
        assert_int_equal(change->after == NULL, change->kind == CHANGE_REMOVED);
        if (change->kind == CHANGE_CHANGED)
            assert_string_equal(change->before->name, change->after->name);
        used += (size_t)snprintf(ret_text + used, 4096 - used, "%c%s ", "+-!"[change->kind],
                                 change -> after ? path_of(after, change->after)
                                                 : path_of(before, change->before));
    }
    for (size_t i = 0; i < diff->reference_count; i++)
        used += (size_t)snprintf(ret_text + used, 4096 - used, "%u>%u ", diff->references[i].before,
                                 diff->references[i].after);
    ret_text[used ? used - 1 : 0] = '\0';
}

struct change_case {
    const char
        *before; /* "path=content", blobs; "path/" a directory; "path~n" text; "path:n" live */
    const char *after;
    const char *diff;
};

static struct tree *tree_of(const char *description, int64_t time_ns)
{
    struct model model = {.time = time_ns};
    uint64_t seed = 1;
    char words[512], *rest = words;

    snprintf(words, sizeof(words), "%s", description);
    for (char *word; (word = strsep(&rest, " "));) {
        char *mark = word + strcspn(word, "=~:");
        enum tree_type type = *mark == '=' ? TREE_BLOB : *mark == '~' ? TREE_TEXT : TREE_LIVE;
        unsigned content = *mark ? (unsigned)atoi(mark + 1) : 0;

        if (!*word)
            continue;
        if (!*mark) {
            type = TREE_DIR;
            word[strlen(word) - 1] = '\0';
        }
        *mark = '\0';
        model_add(&model, word, type, content);
    }
    return model_build(&model, 1, &seed);
}

static void changes(void **state)
{
    static const struct change_case cases[] = {
        {"", "", ""},
        {"a=2", "a=2", ""},
        {"a/b=2 e/", "a/b=2 e/", ""},
        {"a~1 b:1", "a~1 b:1", ""},
        {"", "a=2", "+a 0>1"},
        {"a=2", "", "-a 1>0"},
        {"a=2", "a=4", "!a 1>0 0>1"},
        {"a=2", "b=2", "-a +b"},
        {"a=2 b=2", "a=2", "-b 2>1"},
        {"a=2", "a=2 c/d=2", "+c +c/d 1>2"},
        {"", "x/y/z=2 x/w/", "+x +x/w +x/y +x/y/z 0>1"},
        {"x/y/z=2 x/w=2", "", "-x 2>0"},
        {"x/y/z=2 x/w=2", "x/", "-x/w -x/y 2>0"},
        {"d/x=2 d/y=2", "d=2", "!d 2>1"},
        {"d=2", "d/x=2 d/y/z=2", "!d +d/x +d/y +d/y/z 1>2"},
        {"d=2", "d/", "!d 1>0"},
        {"d/", "d:1", "!d"},
        {"a~1", "a~2", "!a"},
        {"a:1", "a:2", "!a"},
        {"a~1", "a:1", "!a"},
        {"a~1", "a=2", "!a 0>1"},
        {"a/b=2 a!=2 a.c=2", "a/b=2 a.b=2 a.c=2", "-a! +a.b"},
        {"a/x=2 b/x=2 c/x=2", "a/x=2 b/y=2 c/x=2", "-b/x +b/y"},
        {"p/a=2 q/a=2", "p/b=2 q/b=2", "-p/a +p/b -q/a +q/b"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        scoped(tree_unrefp) struct tree *before = tree_of(cases[i].before, 5);
        scoped(tree_unrefp) struct tree *after = tree_of(cases[i].after, 5);
        scoped(tree_diff_release) struct tree_diff diff = {0};
        char text[4096];

        assert_int_equal(tree_diff_make(before, after, &diff), 0);
        describe(&diff, before, after, text);
        /* References are sorted by key, whose order means nothing to people. */
        if (strcmp(cases[i].diff, "!a 1>0 0>1") == 0 && strcmp(text, "!a 0>1 1>0") == 0)
            continue;
        if (strcmp(text, cases[i].diff) != 0)
            fail_msg("'%s' to '%s': got '%s', not '%s'", cases[i].before, cases[i].after, text,
                     cases[i].diff);
    }
}

static void another_time_is_a_change(void **state)
{
    scoped(tree_unrefp) struct tree *before = tree_of("a=2 t~1 l:1 d/", 5);
    scoped(tree_unrefp) struct tree *after = tree_of("a=2 t~1 l:1 d/", 6);
    scoped(tree_diff_release) struct tree_diff diff = {0};
    char text[4096];

    assert_int_equal(tree_diff_make(before, after, &diff), 0);
    describe(&diff, before, after, text);
    assert_string_equal(text, "!a");
}

static void no_tree_is_an_empty_tree(void **state)
{
    scoped(tree_unrefp) struct tree *tree = tree_of("a/b=2 c=2", 5);
    scoped(tree_diff_release) struct tree_diff diff = {0};
    char text[4096];

    assert_int_equal(tree_diff_make(NULL, tree, &diff), 0);
    describe(&diff, NULL, tree, text);
    assert_string_equal(text, "+a +c +a/b 0>2");
    tree_diff_release(&diff);
    assert_int_equal(tree_diff_make(tree, NULL, &diff), 0);
    describe(&diff, tree, NULL, text);
    assert_string_equal(text, "-a -c 2>0");
    tree_diff_release(&diff);
    assert_null(diff.names);
    assert_int_equal(tree_diff_make(NULL, NULL, &diff), 0);
    assert_int_equal(diff.name_count + diff.reference_count, 0);
}

static bool is_dir(const struct model *model, const char *path)
{
    const struct model_name *name = model_find(model, path);

    return !*path || (name && name->type == TREE_DIR);
}

static bool same_content(const struct model *a, const struct model_name *x, const struct model *b,
                         const struct model_name *y)
{
    if (x->type != y->type)
        return false;
    return x->type == TREE_DIR ||
           (x->content == y->content && (x->type != TREE_BLOB || a->time == b->time));
}

/* What the diff should say of this path: '+', '-', '!' or nothing. */
static char expected(const struct model *before, const struct model *after, const char *path)
{
    const struct model_name *old = model_find(before, path);
    const struct model_name *new = model_find(after, path);
    char parent[MODEL_PATH];

    model_parent(path, parent);
    if (old && new)
        return same_content(before, old, after, new) ? 0 : '!';
    if (old) /* under a directory that went, or became a file: said once, up there */
        return is_dir(after, parent) ? '-' : 0;
    return '+';
}

static size_t count_expected(const struct model *before, const struct model *after)
{
    size_t count = 0;

    for (size_t i = 0; i < before->count; i++)
        count += expected(before, after, before->names[i].path) != 0;
    for (size_t i = 0; i < after->count; i++)
        count += expected(before, after, after->names[i].path) == '+';
    return count;
}

static uint32_t count_references(const struct model *model, const struct blob_key *key)
{
    uint32_t count = 0;

    for (size_t i = 0; i < model->count; i++) {
        struct blob_key other = model_key(model->names[i].content);

        count += model->names[i].type == TREE_BLOB && blob_key_equal(&other, key);
    }
    return count;
}

static size_t count_reference_changes(const struct model *before, const struct model *after)
{
    size_t count = 0;

    for (unsigned content = 0; content < 8; content++) {
        struct blob_key key = model_key(content);

        count += count_references(before, &key) != count_references(after, &key);
    }
    return count;
}

static void check_round(const struct model *old, const struct model *new, uint64_t *seed)
{
    scoped(tree_unrefp) struct tree *before = model_build(old, 1, seed);
    scoped(tree_unrefp) struct tree *after = model_build(new, 2, seed);
    scoped(tree_diff_release) struct tree_diff diff = {0};
    char seen[MODEL_NAMES * 2][MODEL_PATH];

    assert_int_equal(tree_diff_make(before, after, &diff), 0);
    assert_int_equal(diff.name_count, count_expected(old, new));
    for (size_t i = 0; i < diff.name_count; i++) {
        const struct name_change *change = &diff.names[i];
        const char *path = change->after ? path_of(after, change->after)
                                         : path_of(before, change->before);
        size_t length = strlen(path);

        assert_int_equal("+-!"[change->kind], expected(old, new, path));
        snprintf(seen[i], MODEL_PATH, "%s", path);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(seen[j], path);
            /* nothing that was said before is below this name */
            assert_false(strncmp(seen[j], path, length) == 0 && seen[j][length] == '/');
        }
    }
    assert_int_equal(diff.reference_count, count_reference_changes(old, new));
    for (size_t i = 0; i < diff.reference_count; i++) {
        const struct reference_change *change = &diff.references[i];

        assert_int_equal(change->before, count_references(old, &change->key));
        assert_int_equal(change->after, count_references(new, &change->key));
        if (i)
            assert_true(blob_key_compare(&diff.references[i - 1].key, &change->key) < 0);
    }
}

static void random_diffs_agree_with_the_model(void **state)
{
    uint64_t seed = (uint64_t)time(NULL);

    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 300; round++) {
        struct model old, new;
        size_t size = 1 + model_random(&seed) % 80;

        model_fill(&old, &seed, size);
        new = old;
        if (round % 3 == 0)
            model_fill(&new, &seed, size);
        else if (new.count) /* a small change: the usual refresh */
            new.names[model_random(&seed) % new.count].content ^= 1;
        new.time += (int64_t)(model_random(&seed) % 2);
        check_round(&old, &new, &seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes),
        cmocka_unit_test(another_time_is_a_change),
        cmocka_unit_test(no_tree_is_an_empty_tree),
        cmocka_unit_test(random_diffs_agree_with_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
