/* SPDX-License-Identifier: MIT */
/* test_control.c - both ends of the socket in one process. */
#include "tests/unit/cli/fixture.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "fs/cli/control.h"
#include "fs/cli/control_files.h"

static int answer(void *arg, const struct control_request *request, char **ret_text,
                  size_t *ret_size)
{
    atomic_int *running = arg;
    int length;

    if (strcmp(request->verb, "slow") == 0) {
        atomic_fetch_add(running, 1);
        while (!atomic_load(request->ending))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        atomic_fetch_sub(running, 1);
        return -ECANCELED;
    }
    if (strcmp(request->verb, "status") != 0)
        return -ENOTSUP;
    length = asprintf(ret_text, "{\"said\":\"%s\",\"verbose\":%d}\n", request->verb,
                      request->verbose);
    *ret_size = (size_t)length;
    return 0;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void expect_answer(const char *folder, const char *verb, const char *expected)
{
    char *text = NULL;
    size_t size;

    assert_int_equal(control_ask(folder, "/m",
                                 &(struct control_request){.verb = verb, .verbose = true}, 2000,
                                 &text, &size),
                     0);
    assert_string_equal(text, expected);
    assert_int_equal(size, strlen(expected));
    free(text);
}

static void test_round_trip(void **state)
{
    struct control *control;
    atomic_int running = 0;
    char *text = NULL;
    size_t size;
    pid_t pid = 0;

    assert_int_equal(control_ask(*state, "/m",
                                 &(struct control_request){.verb = "status", .verbose = false},
                                 1000, &text, &size),
                     -ENOENT);
    assert_int_equal(control_claim(*state, "/m", &control), 0);
    assert_int_equal(control_serve(control, answer, &running), 0);
    expect_answer(*state, "status", "{\"said\":\"status\",\"verbose\":1}\n");
    expect_answer(*state, "bogus", "{\"error\":\"Operation not supported\"}\n");
    assert_int_equal(control_owner(*state, "/m", &pid), 0);
    assert_int_equal(pid, getpid());
    assert_int_equal(control_owner(*state, "/other", &pid), -ENOENT);
    control_free(control);
    assert_int_equal(control_owner(*state, "/m", &pid), -ENOENT);
    assert_int_equal(control_ask(*state, "/m",
                                 &(struct control_request){.verb = "status", .verbose = false},
                                 1000, &text, &size),
                     -ENOENT);
}

static void test_one_process_a_mount(void **state)
{
    struct control *first;
    struct control *second;

    assert_int_equal(control_claim(*state, "/m", &first), 0);
    assert_int_equal(control_claim(*state, "/m", &second), -EBUSY);
    control_free(first);
    assert_int_equal(control_claim(*state, "/m", &second), 0);
    control_free(second);
}

/* A process that was killed leaves both files behind. */
static void test_stale_files(void **state)
{
    struct control *control;
    atomic_int running = 0;
    char **list = NULL;
    pid_t pid = fork();

    if (pid == 0) {
        if (control_claim(*state, "/m", &control) == 0 &&
            control_serve(control, answer, &running) == 0)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
    assert_int_equal(control_list(*state, &list), 0);
    assert_null(list[0]);
    control_list_free(list);
    assert_int_equal(control_owner(*state, "/m", &pid), -ENOENT);
    assert_int_equal(control_claim(*state, "/m", &control), 0);
    assert_int_equal(control_serve(control, answer, &running), 0);
    expect_answer(*state, "status", "{\"said\":\"status\",\"verbose\":1}\n");
    control_free(control);
}

static void test_list(void **state)
{
    struct control *b;
    struct control *a;
    char **list = NULL;

    assert_int_equal(control_claim(*state, "/b with\nnewline", &b), 0);
    assert_int_equal(control_claim(*state, "/a", &a), 0);
    assert_int_equal(control_list(*state, &list), 0);
    assert_string_equal(list[0], "/a");
    assert_string_equal(list[1], "/b with\nnewline");
    assert_null(list[2]);
    control_list_free(list);
    control_free(a);
    control_free(b);
}

static void *ask_slowly(void *arg)
{
    char *text = NULL;
    size_t size;

    assert_int_equal(control_ask(arg, "/m",
                                 &(struct control_request){.verb = "slow", .verbose = false}, 10000,
                                 &text, &size),
                     0);
    assert_string_equal(text, "{\"error\":\"Operation canceled\"}\n");
    free(text);
    return NULL;
}

/* A long answer keeps nobody from asking; the end of the server ends it. */
static void test_slow_answer(void **state)
{
    struct control *control;
    atomic_int running = 0;
    pthread_t thread;
    char *text = NULL;
    size_t size;

    assert_int_equal(control_claim(*state, "/m", &control), 0);
    assert_int_equal(control_serve(control, answer, &running), 0);
    pthread_create(&thread, NULL, ask_slowly, *state);
    while (!atomic_load(&running))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    expect_answer(*state, "status", "{\"said\":\"status\",\"verbose\":1}\n");

    double begin = seconds();

    assert_int_equal(control_ask(*state, "/m",
                                 &(struct control_request){.verb = "slow", .verbose = false}, 100,
                                 &text, &size),
                     -ETIMEDOUT);
    assert_true(seconds() - begin < 2);
    control_end(control);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&running), 0);
    control_free(control);
}

/* Whoever connects and says nothing holds up neither the others nor the end. */
static void test_silent_client(void **state)
{
    struct control *control;
    struct sockaddr_un address;
    atomic_int running = 0;
    char name[CONTROL_NAME_SIZE];
    int folder;
    int silent[20];

    assert_int_equal(control_claim(*state, "/m", &control), 0);
    assert_int_equal(control_serve(control, answer, &running), 0);
    assert_int_equal(control_open_folder(*state, &folder), 0);
    control_name("/m", CONTROL_SOCKET, name);
    control_address(folder, name, &address);
    for (size_t i = 0; i < 20; i++) {
        silent[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(silent[i], (struct sockaddr *)&address, sizeof(address)), 0);
        if (i == 3)
            expect_answer(*state, "status", "{\"said\":\"status\",\"verbose\":1}\n");
    }

    double begin = seconds();

    control_free(control);
    assert_true(seconds() - begin < 2);
    for (size_t i = 0; i < 20; i++)
        close(silent[i]);
    close(folder);
}

static void test_wait_gone(void **state)
{
    struct control *control;

    assert_int_equal(control_claim(*state, "/m", &control), 0);
    assert_int_equal(control_wait_gone(*state, "/m", 50), -ETIMEDOUT);
    control_free(control);
    assert_int_equal(control_wait_gone(*state, "/m", 50), 0);
}

/* A socket's address has 108 bytes; the runtime folder may be longer. */
static void test_long_folder(void **state)
{
    char *folder = path_join(*state,
                             "a-folder-with-a-name-that-is-longer-than-any-address-of-a-"
                             "socket-could-be-because-that-has-one-hundred-and-eight-bytes");
    struct control *control;
    atomic_int running = 0;

    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(control_claim(folder, "/m", &control), 0);
    assert_int_equal(control_serve(control, answer, &running), 0);
    expect_answer(folder, "status", "{\"said\":\"status\",\"verbose\":1}\n");
    control_free(control);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        home_test(test_round_trip),  home_test(test_one_process_a_mount),
        home_test(test_stale_files), home_test(test_list),
        home_test(test_slow_answer), home_test(test_silent_client),
        home_test(test_wait_gone),   home_test(test_long_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
