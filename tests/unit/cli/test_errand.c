/* SPDX-License-Identifier: MIT */
/* test_errand.c - work that comes back, and work that does not. */
#include "tests/unit/cli/fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/cli/errand.h"

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void say(const void *arg, FILE *out)
{
    fprintf(out, "%s", (const char *)arg);
    printf("this goes nowhere\n");
}

static void say_and_hang(const void *arg, FILE *out)
{
    signal(SIGTERM, SIG_IGN);
    fprintf(out, "%s %d\n", (const char *)arg, (int)getpid());
    fflush(out);
    for (;;)
        pause();
}

static void die(const void *arg, FILE *out)
{
    fputs("before", out);
    fflush(out);
    kill(getpid(), SIGKILL);
}

static void flood(const void *arg, FILE *out)
{
    static const char block[4096];

    for (;;)
        fwrite(block, 1, sizeof(block), out);
}

static void test_their_words_come_back(void **state)
{
    struct errand errands[] = {{.run = say, .arg = "one"},
                               {.run = say, .arg = ""},
                               {.run = say, .arg = "three"}};

    errands_run(errands, 3, 30000);
    assert_string_equal(errands[0].text, "one");
    assert_int_equal(errands[0].size, 3);
    assert_int_equal(errands[1].size, 0);
    assert_string_equal(errands[2].text, "three");
    for (size_t i = 0; i < 3; i++) {
        assert_false(errands[i].late);
        assert_int_equal(errands[i].error, 0);
        free(errands[i].text);
    }
}

static void test_who_hangs_is_killed_and_the_others_are_heard(void **state)
{
    struct errand errands[] = {{.run = say_and_hang, .arg = "a"},
                               {.run = say, .arg = "quick"},
                               {.run = say_and_hang, .arg = "b"}};
    double begin = seconds();

    errands_run(errands, 3, 500);
    assert_true(seconds() - begin < 20); /* one after the other would not end at all */
    assert_string_equal(errands[1].text, "quick");
    assert_false(errands[1].late);
    for (size_t i = 0; i < 3; i += 2) {
        pid_t pid = (pid_t)strtol(errands[i].text + 2, NULL, 10);

        assert_true(errands[i].late);
        assert_int_equal(errands[i].text[0], i == 0 ? 'a' : 'b');
        assert_true(pid > 0);
        assert_int_equal(kill(pid, 0), -1); /* and reaped */
        assert_int_equal(errno, ESRCH);
        free(errands[i].text);
    }
    free(errands[1].text);
}

static void test_a_death_is_no_delay(void **state)
{
    struct errand errand = {.run = die};
    double begin = seconds();

    errands_run(&errand, 1, 60000);
    assert_true(seconds() - begin < 30);
    assert_string_equal(errand.text, "before");
    assert_false(errand.late);
    free(errand.text);
}

static void test_a_flood_is_bounded(void **state)
{
    struct errand errand = {.run = flood};

    errands_run(&errand, 1, 60000);
    assert_true(errand.size > 0 && errand.size <= ERRAND_TEXT);
    free(errand.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_their_words_come_back),
        cmocka_unit_test(test_who_hangs_is_killed_and_the_others_are_heard),
        cmocka_unit_test(test_a_death_is_no_delay),
        cmocka_unit_test(test_a_flood_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
