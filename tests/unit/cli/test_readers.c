/* SPDX-License-Identifier: MIT */
/* test_readers.c - bytes find their program, whatever becomes of it. */
#include "tests/unit/cli/fixture.h"

#include <pthread.h>
#include <sys/prctl.h>

#include "fs/cli/readers.h"

static const struct blob_key key = {.size = 5};

static const struct reader_facts *find(const struct reader_facts *facts, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++)
        if (facts[i].pid == pid)
            return &facts[i];
    fail_msg("not there: %d", (int)pid);
    return NULL;
}

static void *read_in_thread(void *arg)
{
    struct reader_ticket ticket;

    prctl(PR_SET_NAME, "a-worker");
    readers_begin(arg, gettid(), &key, &ticket);
    readers_end(arg, &ticket, 70);
    return NULL;
}

static void test_threads_are_their_program(void **state)
{
    struct readers *readers;
    struct reader_facts facts[READERS_MAX];
    struct reader_facts others;
    struct reader_ticket ticket;
    char name[READER_NAME_SIZE];
    pthread_t thread;

    prctl(PR_GET_NAME, name);
    assert_int_equal(readers_new(&readers), 0);
    readers_begin(readers, getpid(), &key, &ticket);
    assert_int_equal(readers_list(readers, facts, &others), 1);
    assert_int_equal(facts[0].waiting, 1);
    readers_end(readers, &ticket, 30);
    assert_int_equal(pthread_create(&thread, NULL, read_in_thread, readers), 0);
    pthread_join(thread, NULL);
    assert_int_equal(readers_list(readers, facts, &others), 1);
    assert_int_equal(facts[0].pid, getpid());
    assert_string_equal(facts[0].name, name);
    assert_int_equal(facts[0].waiting, 0);
    assert_int_equal(facts[0].reads, 2);
    assert_int_equal(facts[0].bytes, 100);
    assert_int_equal(facts[0].key.size, 5);
    assert_int_equal(others.bytes, 0);
    readers_free(readers);
}

static void test_who_is_not_to_be_seen_has_no_name(void **state)
{
    struct readers *readers;
    struct reader_facts facts[READERS_MAX];
    struct reader_facts others;
    struct reader_ticket ticket;

    assert_int_equal(readers_new(&readers), 0);
    readers_begin(readers, 0, &key, &ticket);
    readers_end(readers, &ticket, 1);
    readers_begin(readers, 0x7ffffff0, &key, &ticket); /* beyond the kernel's largest */
    readers_end(readers, &ticket, 2);
    assert_int_equal(readers_list(readers, facts, &others), 2);
    assert_string_equal(find(facts, 2, 0)->name, "");
    assert_int_equal(find(facts, 2, 0)->bytes, 1);
    assert_string_equal(find(facts, 2, 0x7ffffff0)->name, "");
    readers_free(readers);
}

/* More than there is room for, one of which waits all the time: it stays, and no byte is lost. */
static void test_the_oldest_make_room(void **state)
{
    enum { FIRST = 0x70000000, COUNT = 3 * READERS_MAX };
    struct readers *readers;
    struct reader_facts facts[READERS_MAX];
    struct reader_facts others;
    struct reader_ticket waiting;
    struct reader_ticket late[COUNT];
    uint64_t bytes = 0;
    uint64_t reads = 0;
    size_t count;

    assert_int_equal(readers_new(&readers), 0);
    readers_begin(readers, FIRST, &key, &waiting);
    for (int i = 1; i <= COUNT; i++) {
        readers_begin(readers, FIRST + i, &key, &late[i - 1]);
        readers_end(readers, &late[i - 1], 10);
    }
    count = readers_list(readers, facts, &others);
    assert_int_equal(count, READERS_MAX);
    assert_int_equal(facts[0].pid, FIRST); /* who waits comes first */
    for (size_t i = 0; i < count; i++) {
        bytes += facts[i].bytes;
        reads += facts[i].reads;
    }
    assert_int_equal(bytes + others.bytes, 10 * COUNT);
    assert_int_equal(reads + others.reads, COUNT + 1);
    readers_end(readers, &waiting, 7);
    readers_list(readers, facts, &others);
    assert_int_equal(find(facts, count, FIRST)->bytes, 7);
    readers_free(readers);
}

/* All of them wait; whoever loses the place still does not take another's. */
static void test_who_lost_its_place_counts_among_the_others(void **state)
{
    enum { FIRST = 0x70000000, COUNT = READERS_MAX + 10 };
    struct readers *readers;
    struct reader_facts facts[READERS_MAX];
    struct reader_facts others;
    struct reader_ticket tickets[COUNT];

    assert_int_equal(readers_new(&readers), 0);
    for (int i = 0; i < COUNT; i++)
        readers_begin(readers, FIRST + i, &key, &tickets[i]);
    for (int i = 0; i < COUNT; i++)
        readers_end(readers, &tickets[i], 10);
    assert_int_equal(readers_list(readers, facts, &others), READERS_MAX);
    for (size_t i = 0; i < READERS_MAX; i++) {
        assert_int_equal(facts[i].waiting, 0);
        assert_int_equal(facts[i].bytes, 10);
    }
    assert_int_equal(others.bytes, 100);
    readers_free(readers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_are_their_program),
        cmocka_unit_test(test_who_is_not_to_be_seen_has_no_name),
        cmocka_unit_test(test_the_oldest_make_room),
        cmocka_unit_test(test_who_lost_its_place_counts_among_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
