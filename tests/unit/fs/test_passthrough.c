/* SPDX-License-Identifier: MIT */
/* test_passthrough.c - which opens get which id, with a kernel that answers as told and checks what
 * the real one checks: that an id which it gave out is given back once. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "fs/passthrough.h"

enum { IDS = 4096 };

struct kernel {
    pthread_mutex_t lock;
    int refusal;         /* 0: it registers */
    unsigned registered; /* now */
    int last;
    bool known[IDS];
};

struct fixture {
    struct kernel kernel;
    struct passthrough *passthrough;
};

static int register_file(void *arg, int fd)
{
    struct kernel *kernel = arg;

    scoped_lock(&kernel->lock);
    if (kernel->refusal)
        return kernel->refusal;
    kernel->registered++;
    kernel->known[++kernel->last] = true;
    return kernel->last;
}

static void unregister(void *arg, int id)
{
    struct kernel *kernel = arg;

    scoped_lock(&kernel->lock);
    assert_true(kernel->known[id]);
    kernel->known[id] = false;
    kernel->registered--;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const struct passthrough_kernel kernel = {&fixture->kernel, register_file, unregister};

    pthread_mutex_init(&fixture->kernel.lock, NULL);
    assert_int_equal(passthrough_new(&kernel, &fixture->passthrough), 0);
    passthrough_allow(fixture->passthrough, NULL);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(fixture->kernel.registered, 0);
    passthrough_free(fixture->passthrough);
    pthread_mutex_destroy(&fixture->kernel.lock);
    free(fixture);
    return 0;
}

static int file_of(const char *content)
{
    const int fd = memfd_create("blob", MFD_CLOEXEC);

    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    return fd;
}

/* The id, or a negative errno. */
static int open_with(struct fixture *fixture, uint64_t nodeid, int fd)
{
    int id = -1;
    const int r = passthrough_open(fixture->passthrough, nodeid, fd, 4, &id);

    assert_true(r == 0 || id == 0);
    return r < 0 ? r : id;
}

static struct passthrough_facts facts_of(struct fixture *fixture)
{
    struct passthrough_facts facts;

    passthrough_facts(fixture->passthrough, &facts);
    return facts;
}

static void all_opens_of_a_nodeid_share_one_id(void **state)
{
    struct fixture *fixture = *state;
    scoped_fd int fd = file_of("blob");
    scoped_fd int other = file_of("else");
    const int id = open_with(fixture, 5, fd);

    assert_true(id > 0);
    assert_int_equal(open_with(fixture, 5, fd), id);
    assert_true(open_with(fixture, 7, other) > 0);
    assert_int_equal(fixture->kernel.registered, 2);
    assert_int_equal(facts_of(fixture).files, 2);
    passthrough_close(fixture->passthrough, 5);
    assert_true(fixture->kernel.known[id]);
    passthrough_close(fixture->passthrough, 5);
    assert_false(fixture->kernel.known[id]);
    passthrough_close(fixture->passthrough, 7);
    assert_int_equal(facts_of(fixture).files, 0);
}

static void the_next_first_open_registers_anew(void **state)
{
    struct fixture *fixture = *state;
    scoped_fd int fd = file_of("blob");
    scoped_fd int newer = file_of("blob");
    const int id = open_with(fixture, 5, fd);

    passthrough_close(fixture->passthrough, 5);
    assert_true(open_with(fixture, 5, newer) > id);
    passthrough_close(fixture->passthrough, 5);
}

static void another_file_is_turned_away_while_the_first_is_open(void **state)
{
    struct fixture *fixture = *state;
    scoped_fd int fd = file_of("blob");
    scoped_fd int newer = file_of("blob");

    assert_true(open_with(fixture, 5, fd) > 0);
    assert_int_equal(open_with(fixture, 5, newer), -ESTALE);
    passthrough_close(fixture->passthrough, 5);
    assert_true(open_with(fixture, 5, newer) > 0);
    passthrough_close(fixture->passthrough, 5);
}

static void only_files_of_the_promised_size_are_registered(void **state)
{
    struct fixture *fixture = *state;
    scoped_fd int shorter = file_of("blo");
    scoped_fd int longer = file_of("blobs");

    assert_int_equal(open_with(fixture, 5, shorter), -EIO);
    assert_int_equal(open_with(fixture, 5, longer), -EIO);
    assert_int_equal(fixture->kernel.last, 0);
}

static void where_it_is_not_allowed_nothing_is_registered(void **state)
{
    struct fixture *fixture = *state;
    scoped_fd int fd = file_of("blob");

    passthrough_allow(fixture->passthrough, "because");
    assert_int_equal(open_with(fixture, 5, fd), 0);
    assert_int_equal(fixture->kernel.last, 0);
    assert_false(facts_of(fixture).allowed);
    assert_string_equal(facts_of(fixture).why_not, "because");
}

/* What is open in one mode stays in it, whatever the kernel says to others. */
static void after_a_refusal_no_nodeid_changes_its_mode(void **state)
{
    struct fixture *fixture = *state;
    scoped_fd int fd = file_of("blob");
    scoped_fd int other = file_of("else");
    const int id = open_with(fixture, 5, fd);

    fixture->kernel.refusal = -ELOOP;
    assert_int_equal(open_with(fixture, 7, other), 0);
    fixture->kernel.refusal = 0;
    assert_int_equal(open_with(fixture, 7, other), 0);
    assert_int_equal(open_with(fixture, 5, fd), id);
    passthrough_close(fixture->passthrough, 5);
    passthrough_close(fixture->passthrough, 5);
    assert_int_equal(open_with(fixture, 5, fd), 0);
    assert_false(facts_of(fixture).allowed);
    assert_non_null(strstr(facts_of(fixture).why_not, "refused"));
}

enum { THREADS = 4, ROUNDS = 300, NODES = 3 };

struct opener {
    struct fixture *fixture;
    int fd;
};

static void *open_and_close(void *arg)
{
    const struct opener *opener = arg;
    struct passthrough *passthrough = opener->fixture->passthrough;
    int id;

    for (uint64_t i = 0; i < ROUNDS; i++) {
        const uint64_t nodeid = 5 + 512 * (i % NODES); /* of one bucket */

        if (passthrough_open(passthrough, nodeid, opener->fd, 4, &id) < 0 || id <= 0)
            return arg;
        passthrough_close(passthrough, nodeid);
    }
    return NULL;
}

static void threads_open_and_close_what_they_like(void **state)
{
    struct fixture *fixture = *state;
    scoped_fd int fd = file_of("blob");
    struct opener opener = {fixture, fd};
    pthread_t threads[THREADS];
    void *failed;

    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, &opener), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(facts_of(fixture).files, 0);
}

int main(void)
{
#define WITH_KERNEL(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_KERNEL(all_opens_of_a_nodeid_share_one_id),
        WITH_KERNEL(the_next_first_open_registers_anew),
        WITH_KERNEL(another_file_is_turned_away_while_the_first_is_open),
        WITH_KERNEL(only_files_of_the_promised_size_are_registered),
        WITH_KERNEL(where_it_is_not_allowed_nothing_is_registered),
        WITH_KERNEL(after_a_refusal_no_nodeid_changes_its_mode),
        WITH_KERNEL(threads_open_and_close_what_they_like),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
