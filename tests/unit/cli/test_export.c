/* SPDX-License-Identifier: MIT */
/* test_export.c - trees that no server gives at will: texts, live documents, a table that becomes a
 * folder and back. */
#include "tests/unit/cli/fixture.h"

#include <errno.h>
#include <fcntl.h>

#include "cache/scoped.h"
#include "fs/cli/export.h"

struct run {
    struct export_target target;
    struct export_record record;
    struct export_result result;
    int error;
};

/* paths: "name=text", "name/" for a folder, "name!" for a live document; ends with NULL. */
static struct tree *make_tree(const char *const *paths)
{
    struct tree_builder *builder = NULL;
    struct tree *tree = NULL;

    assert_int_equal(tree_builder_new(1, &builder), 0);
    for (; *paths; paths++) {
        size_t length = strcspn(*paths, "=!");
        char path[64];

        snprintf(path, sizeof(path), "%.*s", (int)length, *paths);
        if ((*paths)[length] == '=')
            assert_int_equal(tree_builder_add_text(builder, path, *paths + length + 1,
                                                   strlen(*paths + length + 1)),
                             0);
        else if ((*paths)[length] == '!')
            assert_int_equal(tree_builder_add_live(builder, path, 0), 0);
        else
            assert_int_equal(tree_builder_add_dir(builder, path, TREE_NO_ROW), 0);
    }
    assert_int_equal(tree_builder_freeze(builder, &tree), 0);
    return tree;
}

static void end_run(struct run *run)
{
    export_result_release(&run->result);
    export_record_release(&run->record);
    export_target_close(&run->target);
}

/* Exports a tree of these paths. stop: as if it had been told to before it began. */
static void export_paths(const char *path, bool stop, const char *const *paths, struct run *ret_run)
{
    scoped(tree_unrefp) struct tree *tree = make_tree(paths);
    const atomic_bool stopped = stop;
    struct export_conf conf = {.target = &ret_run->target,
                               .record = &ret_run->record,
                               .tree = tree,
                               .stop = &stopped};

    *ret_run = (struct run){.target = EXPORT_TARGET_NONE};
    assert_int_equal(export_target_open(path, &ret_run->target), 0);
    if (export_record_load(ret_run->target.own, &ret_run->record) < 0)
        assert_int_equal(export_record_new("s", &ret_run->record), 0);
    ret_run->error = export_run(&conf, &ret_run->result);
}

#define PATHS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void expect(const char *home, const char *path, const char *text)
{
    scoped_free char *found = file_read(home, path, NULL);

    if (!text)
        assert_null(found);
    else if (!found)
        fail_msg("no %s", path);
    else
        assert_string_equal(found, text);
}

static void test_texts_and_empty_folders_but_no_live_documents(void **state)
{
    scoped_free char *folder = path_join(*state, "empty");
    scoped_free char *status = path_join(*state, ".agnes/status.json");
    scoped(end_run) struct run run;
    struct stat st;

    export_paths(*state, false, PATHS("README.md=hello", "empty", ".agnes/status.json!"), &run);
    assert_int_equal(run.error, 0);
    assert_int_equal(run.result.written, 1);
    assert_int_equal(run.result.strategies[EXPORT_COPY], 1);
    expect(*state, "README.md", "hello");
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(stat(status, &st), -1);
    end_run(&run);

    export_paths(*state, false, PATHS("README.md=hello", "empty", ".agnes/status.json!"), &run);
    assert_int_equal(run.result.unchanged, 1);
    assert_int_equal(run.result.written, 0);
    end_run(&run);

    export_paths(*state, false, PATHS("README.md=hello, you", ".agnes/status.json!"), &run);
    assert_int_equal(run.result.written, 1);
    assert_int_equal(run.result.problem_count, 0);
    expect(*state, "README.md", "hello, you");
    assert_int_equal(stat(folder, &st), -1);
}

static void test_a_file_becomes_a_folder_and_back(void **state)
{
    scoped(end_run) struct run run;

    export_paths(*state, false, PATHS("t=flat"), &run);
    end_run(&run);
    export_paths(*state, false, PATHS("t/a/b=part", "t/c=part"), &run);
    assert_int_equal(run.error, 0);
    assert_int_equal(run.result.problem_count, 0);
    expect(*state, "t/a/b", "part");
    end_run(&run);
    export_paths(*state, false, PATHS("t=flat again"), &run);
    assert_int_equal(run.error, 0);
    assert_int_equal(run.result.problem_count, 0);
    expect(*state, "t", "flat again");
    assert_int_equal(run.record.file_count, 1);
    assert_int_equal(run.record.folder_count, 0);
}

static void test_somebody_elses_file_in_a_folder_that_becomes_a_file(void **state)
{
    scoped(end_run) struct run run;

    export_paths(*state, false, PATHS("t/a=part"), &run);
    end_run(&run);
    put(*state, "t/notes", "mine");
    export_paths(*state, false, PATHS("t=flat"), &run);
    assert_int_equal(run.error, 0);
    assert_int_equal(run.result.problem_count, 1);
    assert_true(run.result.problems[0].skipped);
    expect(*state, "t/notes", "mine");
    expect(*state, "t/a", NULL);
}

static void test_told_to_stop_it_removes_nothing(void **state)
{
    scoped(end_run) struct run run;

    export_paths(*state, false, PATHS("a=1", "b=2"), &run);
    end_run(&run);
    export_paths(*state, true, PATHS("a=1"), &run);
    assert_int_equal(run.error, -ECANCELED);
    expect(*state, "b", "2");
    end_run(&run);
    export_paths(*state, false, PATHS("a=1"), &run);
    assert_int_equal(run.result.removed, 1);
    expect(*state, "b", NULL);
}

static void test_one_export_at_a_time(void **state)
{
    scoped(end_run) struct run run;
    struct export_target second;

    export_paths(*state, false, PATHS("a=1"), &run);
    assert_int_equal(export_target_open(*state, &second), -EBUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        home_test(test_texts_and_empty_folders_but_no_live_documents),
        home_test(test_a_file_becomes_a_folder_and_back),
        home_test(test_somebody_elses_file_in_a_folder_that_becomes_a_file),
        home_test(test_told_to_stop_it_removes_nothing),
        home_test(test_one_export_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
