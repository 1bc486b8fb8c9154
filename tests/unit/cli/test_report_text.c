/* SPDX-License-Identifier: MIT */
/* test_report_text.c - the report as text, and the exit code that sums it up. */
#include "tests/unit/cli/fixture.h"

#include <errno.h>

#include "fs/cli/report_text.h"

static void expect_text(const struct report *report, bool verbose, const char *expected)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    report_print(report, verbose, file);
    fclose(file);
    assert_string_equal(text, expected);
    free(text);
}

static void test_text(void **state)
{
    struct report_line skipped[] = {
        {TREE_PACKAGES, (char *)"sales", (char *)"ledger", (char *)"query mode remote", 0}};
    struct report_line errors[] = {
        {TREE_DIRECT, (char *)"", (char *)"pri\nces", (char *)"md5 \033[2Jmismatch", -EBADMSG}};
    char *violations[] = {(char *)"count is off"};
    struct report report = {
        .sections = {[TREE_DIRECT] = {0, 0, 0, 1, 0, 0, false},
                     [TREE_PACKAGES] = {1, 2, 3, 4, 5, 1234567, false},
                     [TREE_MEMORY] = {.held = true}},
        .skipped = skipped,
        .skipped_count = 1,
        .errors = errors,
        .error_count = 1,
        .invariant_violations = violations,
        .invariant_count = 1,
        .generation = 7,
        .requests = 3,
        .seconds = 0.25,
    };

    expect_text(&report, false,
                "tables     +0 ~0 -0 =1\n"
                "packages   +1 ~2 -3 =4  skipped 5  1.2 MB\n"
                "memory     +0 ~0 -0 =0  held: the server's word is not believed yet\n"
                "error      pri\\x0aces: md5 \\x1b[2Jmismatch\n"
                "violation  count is off\n");
    expect_text(&report, true,
                "tables     +0 ~0 -0 =1\n"
                "packages   +1 ~2 -3 =4  skipped 5  1.2 MB\n"
                "memory     +0 ~0 -0 =0  held: the server's word is not believed yet\n"
                "skipped    sales/ledger: query mode remote\n"
                "error      pri\\x0aces: md5 \\x1b[2Jmismatch\n"
                "violation  count is off\n"
                "done       generation 7, 3 requests, 0.2 s\n");
}

static void test_exit_codes(void **state)
{
    static const struct {
        int whole;
        int rows[3];
        enum exit_code code;
    } cases[] = {
        {0, {0}, EXIT_OK},
        {-EACCES, {0}, EXIT_AUTHENTICATION},
        {-EHOSTUNREACH, {0}, EXIT_UNREACHABLE},
        {-ETIMEDOUT, {0}, EXIT_UNREACHABLE},
        {-EPROTO, {0}, EXIT_FAILED},
        {-ENOSPC, {0}, EXIT_DISK},
        {0, {-ESTALE}, EXIT_FAILED},
        {0, {-EHOSTUNREACH, -EACCES}, EXIT_FAILED},
        {0, {-ENOSPC, -ESTALE}, EXIT_DISK},
        {0, {-ESTALE, -EBADMSG, -ENOSPC}, EXIT_INTEGRITY},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct report_line lines[3] = {0};
        struct report report = {.error = cases[i].whole, .errors = lines};

        for (size_t j = 0; j < 3 && cases[i].rows[j]; j++)
            lines[report.error_count++].error = cases[i].rows[j];
        assert_int_equal(exit_code_of_report(&report), cases[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_exit_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
