/* SPDX-License-Identifier: MIT */
/* death.c - a child lives, the parent sees how it ended. */
#include "tests/crash/death.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_ESTIMATE = 60 };

static const char *const lies[] = {"none", "no-sync", "in-place", "torn"};
static const char *const kinds[] = {"store", "sync"};

static void usage(const char *program)
{
    fprintf(stderr,
            "usage: %s DIR store|sync POINTS SEED [--lie no-sync|in-place|torn] [--history N]\n",
            program);
    exit(2);
}

static unsigned find_word(const char *word, const char *const *words, size_t count,
                          const char *program)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return (unsigned)i;
    usage(program);
    return 0;
}

void death_options(struct death *death, int argc, char **argv)
{
    *death = (struct death){.program = argv[0], .points = points_share()};
    if (argc < 5 || argc % 2 == 0)
        usage(argv[0]);
    death->dir = argv[1];
    death->kind = (enum life_kind)find_word(argv[2], kinds, 2, argv[0]);
    death->wanted = (unsigned)strtoul(argv[3], NULL, 10);
    death->seed = strtoull(argv[4], NULL, 10);
    death->estimate = FIRST_ESTIMATE;
    for (int i = 5; i < argc; i += 2) {
        if (strcmp(argv[i], "--lie") == 0)
            death->points->lie = find_word(argv[i + 1], lies, 4, argv[0]);
        else if (strcmp(argv[i], "--history") == 0)
            death->first = strtoull(argv[i + 1], NULL, 10);
        else
            usage(argv[0]);
    }
}

/* Mostly any call, by its number: longer lives than the last ones are met too, since now and then the
 * point is far away. Else one of the kind that was the last call least often. */
static struct point pick_point(const struct death *death, uint64_t *random)
{
    unsigned most = death->estimate + death->estimate / 4;
    struct point point = {.torn = world_pick(random, 2)};

    if (world_pick(random, 8) == 0)
        point.kind = points_rarest(death->points);
    if (point.kind)
        point.at = 1 + world_pick(random, 1 + point.kind->seen / (1 + death->lives));
    else
        point.at = 1 + world_pick(random, world_pick(random, 16) ? most : 4 * most);
    return point;
}

static void live(const struct death *death, struct world *world, const struct point *point,
                 uint64_t seed, enum level level)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    points_begin(death->points, point);
    life_live(world, death->kind, seed, level);
    points_end();
    _exit(*world_failure(world) ? 1 : 0);
}

static bool is_anything_promised(const struct world *world, enum level level)
{
    bool any = world->promises->shown >= 0;

    for (int i = 0; i < CONTENTS; i++)
        any |= world->promises->levels[i] >= level;
    return any;
}

enum how death_run(struct death *death, struct world *world, uint64_t *random, enum level level,
                   void (*cut)(void *arg), void *arg)
{
    struct point point = pick_point(death, random);
    uint64_t seed = world_random(random);
    int status = 0;

    point.cut = cut;
    point.arg = arg;

    pid_t pid = fork();

    if (pid < 0)
        abort();
    if (pid == 0)
        live(death, world, &point, seed, level);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    death->lives++;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && atomic_load(&death->points->died)) {
        death->hit++;
        death->armed += is_anything_promised(world, level);
        return HOW_DIED;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        death->estimate = atomic_load(&death->points->calls);
        return HOW_ENDED;
    }
    world_fail(world, "a life ended with status %x", (unsigned)status);
    return HOW_FAILED;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    return where->level > 0 ? remove(path) : 0;
}

void death_clear(const char *path)
{
    if (nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS) < 0) {
        perror(path);
        exit(2);
    }
}

/* Strings of ours hold nothing that JSON would have to escape, but for quotes in a message. */
static void print_text(const char *text)
{
    putchar('"');
    for (; *text; text++)
        putchar(*text == '"' || *text == '\\' || *text < ' ' ? '\'' : *text);
    putchar('"');
}

int death_report(const struct death *death, const char *failure, uint64_t history)
{
    printf("{\"points\": %u, \"armed\": %u, \"lives\": %u, \"failure\": ", death->hit, death->armed,
           death->lives);
    if (failure)
        print_text(failure);
    else
        printf("null");
    printf(", \"replay\": \"%s DIR %s %u %" PRIu64 " --lie %s --history %" PRIu64
           "\", \"kinds\": {",
           death->program, kinds[death->kind], death->wanted, death->seed, lies[death->points->lie],
           history);
    for (size_t i = 0; i < POINT_KINDS && death->points->kinds[i].name[0]; i++)
        printf("%s\"%s\": [%u, %u]", i ? ", " : "", death->points->kinds[i].name,
               death->points->kinds[i].seen, death->points->kinds[i].last);
    printf("}}\n");
    return failure ? 1 : 0;
}
