/* SPDX-License-Identifier: MIT */
/* death.c - the first line of the file has fixed places, so that the signal handler and the sign of
 * life each write theirs with one pwrite and never meet:
 *
 *     "<pid> <boot> <kills> <signal>\n"      then "<mountpoint>\n"
 *
 * The handler takes no lock and no memory. It leaves dying to whoever had the signal before, which is
 * the kernel or a sanitizer: a fault happens again when it returns, anything else is raised again. An
 * alarm sees to it that a process too broken to say its last words does not linger instead. */
#include "fs/cli/death.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "fs/cli/control.h"
#include "fs/cli/control_files.h"
#include "fs/cli/mounts.h"

enum {
    PID_WIDTH = 10,
    BOOT_WIDTH = 36,
    KILLS_WIDTH = 20,
    SIGNAL_WIDTH = 12,
    KILLS_AT = PID_WIDTH + 1 + BOOT_WIDTH + 1,
    SIGNAL_AT = KILLS_AT + KILLS_WIDTH + 1,
    LINE_SIZE = SIGNAL_AT + SIGNAL_WIDTH + 1,
    FILE_MAX = LINE_SIZE + PATH_MAX + 2,
    LAST_WORDS_S = 2,
    FRAMES = 32,
};

static const int fatal[] = {SIGABRT, SIGBUS,  SIGFPE,  SIGILL,  SIGQUIT, SIGSEGV,
                            SIGSYS,  SIGTRAP, SIGUSR1, SIGUSR2, SIGXCPU};

enum { FATAL_COUNT = sizeof(fatal) / sizeof(fatal[0]) };

struct death_watch {
    int folder;
    int fd;
    char name[CONTROL_NAME_SIZE];
    const struct log *log;
    struct sigaction before[FATAL_COUNT];
};

/* For the handler, which is given nothing. */
static struct death_watch *_Atomic watched;

/* --- facts of the machine --- */

static void read_boot(char ret_boot[static BOOT_WIDTH + 1])
{
    scoped_file FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (!file || !fgets(ret_boot, BOOT_WIDTH + 1, file))
        snprintf(ret_boot, BOOT_WIDTH + 1, "unknown");
}

/* Processes killed for want of memory since the machine started, in whichever control group. */
static unsigned long long read_kills(void)
{
    scoped_file FILE *file = fopen("/proc/vmstat", "re");
    char line[128];
    unsigned long long kills = 0;

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "oom_kill %llu", &kills) == 1)
            break;
    return kills;
}

/* --- looking --- */

struct life {
    int pid;
    char boot[BOOT_WIDTH + 1];
    unsigned long long kills;
    char signal[SIGNAL_WIDTH + 1];
    uint64_t alive_unix;
    char mountpoint[PATH_MAX];
};

static int read_life(int folder, const char *name, struct life *ret_life)
{
    scoped_fd int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    scoped_free char *text = malloc(FILE_MAX);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return negative_errno();

    ssize_t size = text ? read(fd, text, FILE_MAX - 1) : -1;

    if (size < LINE_SIZE + 2 || text[LINE_SIZE - 1] != '\n' || text[size - 1] != '\n')
        return -ENOENT; /* it died while it was writing this */
    text[LINE_SIZE - 1] = text[size - 1] = '\0';

    struct life life = {.alive_unix = (uint64_t)st.st_mtim.tv_sec};

    if (sscanf(text, "%d %36s %llu %12s", &life.pid, life.boot, &life.kills, life.signal) < 3)
        return -ENOENT;
    snprintf(life.mountpoint, sizeof(life.mountpoint), "%s", text + LINE_SIZE);
    *ret_life = life;
    return 0;
}

static void judge(const struct life *life, struct death *ret_death)
{
    const unsigned long long kills = read_kills();
    char boot[BOOT_WIDTH + 1];
    char *reason = ret_death->reason;

    read_boot(boot);
    ret_death->pid = life->pid;
    ret_death->alive_unix = life->alive_unix;
    if (*life->signal)
        snprintf(reason, DEATH_REASON, "killed by %s", life->signal);
    else if (strcmp(boot, life->boot) != 0)
        snprintf(reason, DEATH_REASON, "stopped with the machine");
    else if (kills > life->kills)
        snprintf(reason, DEATH_REASON, "killed by SIGKILL, probably for want of memory");
    else
        snprintf(reason, DEATH_REASON, "killed by SIGKILL");
}

static int find_in(int folder, const char *runtime, const char *mountpoint, struct life *ret_life)
{
    char name[CONTROL_NAME_SIZE];
    pid_t pid;

    if (control_owner(runtime, mountpoint, &pid) == 0)
        return -ENOENT;
    control_name(mountpoint, CONTROL_LIFE, name);
    return read_life(folder, name, ret_life);
}

int death_find(const char *runtime, const char *mountpoint, struct death *ret_death)
{
    scoped_free struct life *life = malloc(sizeof(*life));
    scoped_fd int folder = -1;
    int r = life ? control_open_folder(runtime, &folder) : -ENOMEM;

    if (r == 0)
        r = find_in(folder, runtime, mountpoint, life);
    if (r == 0)
        judge(life, ret_death);
    return r;
}

static bool lies_dead(int folder, const char *runtime, const char *name, struct life *life)
{
    const char *dot = strrchr(name, '.');
    struct mounts_entry entry;

    return dot && strcmp(dot, ".life") == 0 && read_life(folder, name, life) == 0 &&
           find_in(folder, runtime, life->mountpoint, life) == 0 &&
           mounts_at(life->mountpoint, &entry) == MOUNTS_AGNESFS;
}

int death_list(const char *runtime, char ***ret_mountpoints)
{
    scoped_dir DIR *dir = opendir(runtime);
    scoped_free struct life *life = malloc(sizeof(*life));
    scoped(control_list_freep) char **list = calloc(1, sizeof(*list));
    const struct dirent *entry;
    size_t count = 0;

    if (!dir)
        return negative_errno();
    if (!life || !list)
        return -ENOMEM;
    while ((entry = readdir(dir))) {
        if (!lies_dead(dirfd(dir), runtime, entry->d_name, life))
            continue;

        char **grown = reallocarray(list, count + 2, sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        list = grown;
        list[count] = strdup(life->mountpoint);
        list[count + 1] = NULL;
        if (!list[count++])
            return -ENOMEM;
    }
    *ret_mountpoints = take_ptr(list);
    return 0;
}

/* --- last words: in the signal handler --- */

static void say(const struct death_watch *watch, const char *signal)
{
    char words[64] = "killed by ";
    void *frames[FRAMES];

    stpncpy(words + strlen(words), signal, SIGNAL_WIDTH);
    if (pwrite(watch->fd, signal, strlen(signal), SIGNAL_AT) < 0)
        words[0] = 'K'; /* it can only be said in the log */
    log_last_words(watch->log, words);
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES), log_fd(watch->log));
}

static bool happens_again(int number, const siginfo_t *info)
{
    return info->si_code > 0 &&
           (number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL);
}

static void die(int number, siginfo_t *info, void *context)
{
    struct death_watch *watch = atomic_exchange(&watched, NULL);
    char name[SIGNAL_WIDTH + 1] = "SIG";
    const char *word = sigabbrev_np(number);

    while (!watch) /* another thread is dying, or this one can not even do that */
        pause();
    signal(SIGALRM, SIG_DFL);
    alarm(LAST_WORDS_S);
    stpncpy(name + 3, word ? word : "?", SIGNAL_WIDTH - 3);
    say(watch, name);
    for (size_t i = 0; i < FATAL_COUNT; i++)
        sigaction(fatal[i], &watch->before[i], NULL);
    if (!happens_again(number, info))
        raise(number);
}

/* --- being watched --- */

static int write_life(const struct death_watch *watch, const char *mountpoint, int *ret_fd)
{
    char boot[BOOT_WIDTH + 1];
    char temporary[CONTROL_NAME_SIZE + 4];

    read_boot(boot);
    snprintf(temporary, sizeof(temporary), "%s.new", watch->name);

    scoped_fd int fd = openat(watch->folder, temporary,
                              O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return negative_errno();
    if (dprintf(fd, "%-*d %-*s %-*llu %-*s\n%s\n", PID_WIDTH, (int)getpid(), BOOT_WIDTH, boot,
                KILLS_WIDTH, read_kills(), SIGNAL_WIDTH, "", mountpoint) < 0 ||
        renameat(watch->folder, temporary, watch->folder, watch->name) < 0)
        return negative_errno();
    *ret_fd = take_fd(fd);
    return 0;
}

static void catch_fatal(struct death_watch *watch)
{
    struct sigaction action = {.sa_sigaction = die, .sa_flags = SA_SIGINFO};
    void *frame[1];

    backtrace(frame, 1); /* which loads a library the first time: not in a handler */
    for (size_t i = 0; i < FATAL_COUNT; i++)
        sigaddset(&action.sa_mask, fatal[i]);
    atomic_store(&watched, watch);
    for (size_t i = 0; i < FATAL_COUNT; i++)
        sigaction(fatal[i], &action, &watch->before[i]);
}

int death_watch(const char *runtime, const char *mountpoint, struct log *log,
                struct death_watch **ret_watch)
{
    scoped_free struct death_watch *watch = calloc(1, sizeof(*watch));
    scoped_fd int folder = -1;
    int r = watch ? control_open_folder(runtime, &folder) : -ENOMEM;

    if (r < 0)
        return r;
    watch->folder = folder;
    watch->log = log;
    control_name(mountpoint, CONTROL_LIFE, watch->name);
    r = write_life(watch, mountpoint, &watch->fd);
    if (r < 0)
        return r;
    watch->folder = take_fd(folder);
    catch_fatal(watch);
    *ret_watch = take_ptr(watch);
    return 0;
}

void death_alive(struct death_watch *watch)
{
    char kills[KILLS_WIDTH + 1];
    int length = snprintf(kills, sizeof(kills), "%-*llu", KILLS_WIDTH, read_kills());

    if (watch && length == KILLS_WIDTH && pwrite(watch->fd, kills, KILLS_WIDTH, KILLS_AT) < 0)
        return; /* then the last sign of life stands */
}

void death_end(struct death_watch *watch)
{
    if (!watch)
        return;
    for (size_t i = 0; i < FATAL_COUNT; i++)
        sigaction(fatal[i], &watch->before[i], NULL);
    atomic_store(&watched, NULL);
    unlinkat(watch->folder, watch->name, 0);
    close(watch->fd);
    close(watch->folder);
    free(watch);
}
