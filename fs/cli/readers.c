/* SPDX-License-Identifier: MIT */
/* readers.c - a small table with a place for each program, and beside it what is known of threads: of
 * a thread that was looked at less than a second ago, nothing is read again. */
#include "fs/cli/readers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"

enum { THREADS = 64, FRESH_MS = 1000 };

struct program {
    struct reader_facts facts;
    uint64_t serial; /* 0: the place is free */
};

struct thread {
    pid_t id;
    int64_t looked_ms;
    struct reader_ticket program;
};

struct readers {
    pthread_mutex_t lock; /* over all of it */
    struct program programs[READERS_MAX];
    struct thread threads[THREADS];
    uint64_t serial; /* of the last program */
    struct reader_facts others;
};

int readers_new(struct readers **ret_readers)
{
    struct readers *readers = calloc(1, sizeof(*readers));

    if (!readers)
        return -ENOMEM;
    pthread_mutex_init(&readers->lock, NULL);
    *ret_readers = readers;
    return 0;
}

void readers_free(struct readers *readers)
{
    if (!readers)
        return;
    pthread_mutex_destroy(&readers->lock);
    free(readers);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- /proc --- */

static bool read_proc(pid_t id, const char *name, char *ret_text, size_t size)
{
    char path[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)id, name);

    scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

    n = fd < 0 ? -1 : read(fd, ret_text, size - 1);
    ret_text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The process of a thread and its name; where nothing is to be had, the thread and none. */
static void look_up(pid_t thread, pid_t *ret_pid, char ret_name[static READER_NAME_SIZE])
{
    char text[1024];
    const char *group;

    *ret_pid = thread;
    ret_name[0] = '\0';
    if (thread == 0 || !read_proc(thread, "status", text, sizeof(text)))
        return;
    group = strstr(text, "\nTgid:");
    if (group && strtol(group + 6, NULL, 10) > 0)
        *ret_pid = (pid_t)strtol(group + 6, NULL, 10);
    if (!read_proc(*ret_pid, "comm", text, sizeof(text)))
        return;
    text[strcspn(text, "\n")] = '\0';
    snprintf(ret_name, READER_NAME_SIZE, "%.*s", READER_NAME_SIZE - 1, text);
}

/* --- the table, lock held --- */

static struct program *find_program(struct readers *readers, pid_t pid, const char *name)
{
    for (size_t i = 0; i < READERS_MAX; i++) {
        struct program *program = &readers->programs[i];

        if (program->serial && program->facts.pid == pid && strcmp(program->facts.name, name) == 0)
            return program;
    }
    return NULL;
}

/* A free place, or that of whoever waits for nothing and was here longest ago. */
static struct program *make_room(struct readers *readers)
{
    struct program *oldest = &readers->programs[0];

    for (size_t i = 0; i < READERS_MAX; i++) {
        struct program *program = &readers->programs[i];

        if (!program->serial)
            return program;
        if (!!program->facts.waiting < !!oldest->facts.waiting ||
            (!program->facts.waiting == !oldest->facts.waiting &&
             program->facts.last_unix < oldest->facts.last_unix))
            oldest = program;
    }
    readers->others.reads += oldest->facts.reads;
    readers->others.bytes += oldest->facts.bytes;
    return oldest;
}

static struct program *take_program(struct readers *readers, pid_t pid, const char *name)
{
    struct program *program = find_program(readers, pid, name);

    if (program)
        return program;
    program = make_room(readers);
    *program = (struct program){.facts = {.pid = pid}, .serial = ++readers->serial};
    memcpy(program->facts.name, name, READER_NAME_SIZE);
    return program;
}

static void note_read(struct readers *readers, struct program *program, const struct blob_key *key,
                      struct reader_ticket *ret_ticket)
{
    program->facts.waiting++;
    program->facts.reads++;
    program->facts.last_unix = (uint64_t)time(NULL);
    program->facts.key = *key;
    *ret_ticket = (struct reader_ticket){(unsigned)(program - readers->programs), program->serial};
}

/* NULL: not seen lately. */
static struct program *program_of(struct readers *readers, pid_t id, int64_t now)
{
    const struct thread *thread = &readers->threads[(unsigned)id % THREADS];
    struct program *program = &readers->programs[thread->program.index];

    return thread->id == id && thread->looked_ms && now - thread->looked_ms < FRESH_MS &&
                   program->serial == thread->program.serial
               ? program
               : NULL;
}

/* --- reads --- */

static bool note_known(struct readers *readers, pid_t thread, const struct blob_key *key,
                       struct reader_ticket *ret_ticket)
{
    scoped_lock(&readers->lock);
    struct program *program = program_of(readers, thread, now_ms());

    if (program)
        note_read(readers, program, key, ret_ticket);
    return program;
}

void readers_begin(struct readers *readers, pid_t thread, const struct blob_key *key,
                   struct reader_ticket *ret_ticket)
{
    char name[READER_NAME_SIZE] = "";
    pid_t pid;

    if (note_known(readers, thread, key, ret_ticket))
        return;
    look_up(thread, &pid, name);
    scoped_lock(&readers->lock);
    note_read(readers, take_program(readers, pid, name), key, ret_ticket);
    readers->threads[(unsigned)thread % THREADS] = (struct thread){thread, now_ms(), *ret_ticket};
}

pid_t readers_end(struct readers *readers, const struct reader_ticket *ticket, uint64_t bytes)
{
    struct program *program = &readers->programs[ticket->index];

    scoped_lock(&readers->lock);
    if (program->serial != ticket->serial) {
        readers->others.bytes += bytes;
        return 0;
    }
    program->facts.waiting--;
    program->facts.bytes += bytes;
    return program->facts.pid;
}

static int latest_first(const void *a, const void *b)
{
    const struct reader_facts *one = a;
    const struct reader_facts *other = b;

    if (!one->waiting != !other->waiting)
        return one->waiting ? -1 : 1;
    if (one->last_unix != other->last_unix)
        return one->last_unix > other->last_unix ? -1 : 1;
    return (one->pid > other->pid) - (one->pid < other->pid);
}

size_t readers_list(struct readers *readers, struct reader_facts *ret_facts,
                    struct reader_facts *ret_others)
{
    size_t count = 0;

    {
        scoped_lock(&readers->lock);
        for (size_t i = 0; i < READERS_MAX; i++)
            if (readers->programs[i].serial)
                ret_facts[count++] = readers->programs[i].facts;
        *ret_others = readers->others;
    }
    qsort(ret_facts, count, sizeof(*ret_facts), latest_first);
    return count;
}
