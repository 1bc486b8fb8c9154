/* SPDX-License-Identifier: MIT */
/* Plays a scene again and again, each time with another fault, a process each.
 *
 *     crash_fault FOLDER FIRST SECOND errno POINTS SEED     a sample of calls x errnos x modes
 *     crash_fault FOLDER FIRST SECOND malloc STEP SEED      every STEP-th allocation, to a clean run
 *     crash_fault FOLDER FIRST SECOND only STAGE CALL ERRNO AT MODE [SABOTAGE]
 *
 * FIRST and SECOND are manifests of static stacks, FOLDER is empty. A failed point is a line on
 * stdout that ends in what to call again; the last line counts: {"points": , "hit": , ...}.
 * SABOTAGE, crash or leak, is what a careless program would do where the fault is met. */
#include <errno.h>
#include <execinfo.h>
#include <ftw.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "tests/crash/fault_scene.h"

#define AT_ONCE 24
#define DEADLINE_S 60

struct point {
    enum stage stage;
    enum fault_call call;
    int error;
    unsigned at;
    int persistent;
};

struct slot {
    pid_t pid; /* 0: free */
    time_t since;
    unsigned number;
    struct point point;
    struct outcome *outcome;
};

static struct {
    struct scene scene;
    struct slot slots[AT_ONCE];
    unsigned points, hit, missed, failed, crashed;
    unsigned numbers;
    unsigned per_call[FAULT_KINDS]; /* hit */
    bool clean[STAGES][2];          /* malloc: a run met no fault any more */
    uint64_t random;
} run;

static const int errnos[] = {ENOSPC, EIO, EMFILE, EDQUOT, EROFS, EINTR, ENOMEM, FAULT_SHORT};

#define ERRNOS (sizeof(errnos) / sizeof(*errnos))

static const char *errno_name(int error)
{
    return error == FAULT_SHORT  ? "short"
           : error == FAULT_LOST ? "lost"
           : error == 0          ? "none"
                                 : strerrorname_np(error);
}

/* --- one point --- */

/* Where it was, for whoever reads the log; then the end that it would have had. */
static void on_crash(int number)
{
    void *frames[30];

    backtrace_symbols_fd(frames, backtrace(frames, 30), STDERR_FILENO);
    signal(number, SIG_DFL);
    raise(number);
}

static void play(const struct slot *slot)
{
    const struct point *point = &slot->point;
    char folder[256], log[256];

    signal(SIGSEGV, on_crash);
    signal(SIGABRT, on_crash);
    alarm(DEADLINE_S);
    mallopt(M_PERTURB, 0xa5); /* what was freed or never filled is nobody's zero */
    snprintf(log, sizeof(log), "%s/%u.log", run.scene.folder, slot->number);
    if (!freopen(log, "w", stderr))
        _exit(1);
    setvbuf(stderr, NULL, _IONBF, 0);
    snprintf(folder, sizeof(folder), "%s/%u", run.scene.folder, slot->number);
    scene_play(&run.scene, folder, point->stage, point->call, point->error, point->at,
               point->persistent, slot->outcome);
    _exit(0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
    return remove(path);
}

static void remove_tree(const char *path)
{
    if (nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
        abort();
}

static void start(struct slot *slot, const struct point *point)
{
    slot->point = *point;
    slot->number = ++run.numbers;
    slot->since = time(NULL);
    *slot->outcome = (struct outcome){.step = 0};
    fflush(stdout);
    slot->pid = fork();
    if (slot->pid < 0)
        abort();
    if (slot->pid == 0)
        play(slot);
}

static void print_log(unsigned number)
{
    char path[256], line[1024];

    snprintf(path, sizeof(path), "%s/%u.log", run.scene.folder, number);
    FILE *log = fopen(path, "r");

    for (int i = 0; log && i < 40 && fgets(line, sizeof(line), log); i++)
        printf("    %s", line);
    if (log)
        fclose(log);
}

static void judge(struct slot *slot, int status)
{
    const struct point *point = &slot->point;
    struct outcome *outcome = slot->outcome;
    bool crashed = WIFSIGNALED(status) || WEXITSTATUS(status) != 0;

    run.points++;
    if (atomic_load(&outcome->fault.hits) > 0) {
        run.hit++;
        run.per_call[point->call]++;
    } else {
        run.missed++;
        run.clean[point->stage][point->persistent] = true;
    }
    if (!crashed && !outcome->text[0] && outcome->step == 7)
        return;
    run.failed++;
    run.crashed += crashed;
    printf("FAILED %s", outcome->text[0] ? outcome->text : "died");
    if (crashed)
        printf(" (signal %d, exit %d, step %u)", WTERMSIG(status), WEXITSTATUS(status),
               outcome->step);
    printf(": only %s %s %s %u %s\n", stage_name(point->stage), fault_name(point->call),
           errno_name(point->error), point->at, point->persistent ? "persistent" : "once");
    print_log(slot->number);
}

static void end(struct slot *slot, int status)
{
    char path[256];

    judge(slot, status);
    slot->pid = 0;
    snprintf(path, sizeof(path), "%s/%u", run.scene.folder, slot->number);
    remove_tree(path);
    snprintf(path, sizeof(path), "%s/%u.log", run.scene.folder, slot->number);
    remove_tree(path);
}

/* Waits for one to end; false when none runs. */
static bool reap(void)
{
    int status;
    pid_t pid = wait(&status);

    for (size_t i = 0; pid > 0 && i < AT_ONCE; i++)
        if (run.slots[i].pid == pid)
            end(&run.slots[i], status);
    return pid > 0;
}

static void go(const struct point *point)
{
    for (;;) {
        for (size_t i = 0; i < AT_ONCE; i++)
            if (!run.slots[i].pid) {
                start(&run.slots[i], point);
                return;
            }
        reap();
    }
}

static void finish(void)
{
    while (reap())
        ;
}

/* --- which points --- */

static unsigned pick(unsigned below)
{
    run.random = run.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((run.random >> 33) % below);
}

/* How often each call is made in a stage that meets no fault. */
static void count_calls(enum stage stage, unsigned counts[FAULT_KINDS])
{
    struct slot *slot = &run.slots[0];
    int status;

    start(slot, &(struct point){.stage = stage});
    waitpid(slot->pid, &status, 0);
    for (size_t i = 0; i < FAULT_KINDS; i++)
        counts[i] = atomic_load(&slot->outcome->fault.counts[i]);
    end(slot, status);
    run.points--, run.missed--;
}

static bool makes_sense(enum fault_call call, int error)
{
    return error != FAULT_SHORT || call == FAULT_read || call == FAULT_pread ||
           call == FAULT_write || call == FAULT_pwrite;
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Of each call of each stage as many moments as the quota allows, spread evenly from a random
 * start, each with every errno, once and for good. */
static unsigned sample(unsigned counts[STAGES][FAULT_KINDS], unsigned quota, bool really)
{
    unsigned points = 0;

    for (unsigned stage = 0; stage < STAGES; stage++)
        for (unsigned call = FAULT_open; call < FAULT_KINDS; call++) {
            const unsigned all = counts[stage][call];
            const unsigned moments = smaller(all, quota);
            const unsigned from = really && all > moments ? pick(all / moments) : 0;

            for (unsigned i = 0; i < moments; i++)
                for (unsigned e = 0; e < 2 * ERRNOS; e++) {
                    const struct point point = {.stage = (enum stage)stage,
                                                .call = (enum fault_call)call,
                                                .error = errnos[e / 2],
                                                .at = 1 + from + i * all / moments,
                                                .persistent = (int)e % 2};

                    if (!makes_sense(point.call, point.error))
                        continue;
                    points++;
                    if (really)
                        go(&point);
                }
        }
    return points;
}

static void run_errnos(unsigned wanted)
{
    unsigned counts[STAGES][FAULT_KINDS];
    unsigned quota = 1;

    for (unsigned stage = 0; stage < STAGES; stage++)
        count_calls((enum stage)stage, counts[stage]);
    while (quota < 1000 && sample(counts, quota, false) < wanted)
        quota++;
    sample(counts, quota, true);
    finish();
}

/* SQLite's way: the first, the second, ... until there is no such one any more. */
static void run_malloc(unsigned step)
{
    for (unsigned stage = 0; stage < STAGES; stage++)
        for (int persistent = 0; persistent < 2; persistent++) {
            run.clean[stage][persistent] = false;
            for (unsigned at = 1 + pick(step); !run.clean[stage][persistent]; at += step) {
                const struct point point = {.stage = (enum stage)stage,
                                            .call = FAULT_malloc,
                                            .error = ENOMEM,
                                            .at = at,
                                            .persistent = persistent};

                go(&point);
            }
        }
    finish();
}

static void run_only(char **words)
{
    struct point point = {.error = 0};

    while (point.stage < STAGES && strcmp(stage_name(point.stage), words[0]) != 0)
        point.stage++;
    while (point.call < FAULT_KINDS && strcmp(fault_name(point.call), words[1]) != 0)
        point.call++;
    for (size_t i = 0; i < ERRNOS; i++)
        if (strcmp(errno_name(errnos[i]), words[2]) == 0)
            point.error = errnos[i];
    if (strcmp(errno_name(FAULT_LOST), words[2]) == 0)
        point.error = FAULT_LOST;
    point.at = (unsigned)atoi(words[3]);
    point.persistent = strcmp(words[4], "persistent") == 0;
    if (point.stage == STAGES || point.call == FAULT_KINDS)
        abort();
    go(&point);
    finish();
}

static void print_summary(void)
{
    printf("{\"points\": %u, \"hit\": %u, \"missed\": %u, \"failed\": %u, \"crashed\": %u, "
           "\"calls\": {",
           run.points, run.hit, run.missed, run.failed, run.crashed);
    for (unsigned i = 1, n = 0; i < FAULT_KINDS; i++)
        if (run.per_call[i])
            printf("%s\"%s\": %u", n++ ? ", " : "", fault_name((enum fault_call)i),
                   run.per_call[i]);
    printf("}}\n");
}

int main(int argc, char **argv)
{
    struct outcome *outcomes = mmap(NULL, AT_ONCE * sizeof(*outcomes), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (argc < 6 || outcomes == MAP_FAILED)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    curl_global_init(CURL_GLOBAL_ALL);
    for (size_t i = 0; i < AT_ONCE; i++)
        run.slots[i].outcome = &outcomes[i];
    run.scene = (struct scene){.folder = argv[1], .first = argv[2], .second = argv[3]};
    run.scene.sabotage = argc > 10 ? argv[10] : "";
    if (scene_prepare(&run.scene) < 0)
        return 2;
    run.random = argc > 6 ? strtoull(argv[6], NULL, 10) : 1;
    if (strcmp(argv[4], "errno") == 0)
        run_errnos((unsigned)atoi(argv[5]));
    else if (strcmp(argv[4], "malloc") == 0)
        run_malloc((unsigned)atoi(argv[5]));
    else if (strcmp(argv[4], "only") == 0 && argc >= 10)
        run_only(argv + 5);
    else
        return 2;
    print_summary();
    return run.failed > 0;
}
