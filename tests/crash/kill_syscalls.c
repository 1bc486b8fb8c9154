/* SPDX-License-Identifier: MIT */
/* kill_syscalls.c - kill -9 of a real program at its n-th system call, whichever thread makes it.
 *
 *     kill_syscalls every|changing N COMMAND [ARGUMENT...]
 *
 * Runs the command under ptrace, children and threads included, and kills it at the entry of call N,
 * which then does not happen. `changing` counts only what anybody else could notice: a kill at any
 * other call leaves behind what the kill at the next one that counts does. What is not known to be
 * without effect counts. Exit: 0 the command was killed there, 3 it ended before, 2 something is
 * wrong here. The last line on the standard error is "<calls> <those that change something> <the
 * number among these of the last linkat, by which a switch keeps its old state>".
 *
 * Why not strace: its injection counts per thread, so that `when=N` is always reached by the busiest
 * thread first, and the others are never killed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* linux/ptrace.h and sys/ptrace.h do not go together. */
struct syscall_info {
    unsigned char op;
    unsigned char pad[3];
    unsigned int arch;
    unsigned long long instruction_pointer;
    unsigned long long stack_pointer;
    unsigned long long nr;
    unsigned long long args[6];
};

enum { OP_ENTRY = 1 };

/* Without effect outside of the process, or with none that its death would not have as well. */
static const long silent[] = {
    SYS_read,
    SYS_pread64,
    SYS_readv,
    SYS_preadv,
    SYS_close,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_lseek,
    SYS_mmap,
    SYS_mprotect,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_futex,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    SYS_poll,
    SYS_ppoll,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_wait,
    SYS_epoll_pwait,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_socket,
    SYS_socketpair,
    SYS_getsockname,
    SYS_getsockopt,
    SYS_setsockopt,
    SYS_pipe2,
    SYS_eventfd2,
    SYS_fcntl,
    SYS_dup,
    SYS_dup2,
    SYS_dup3,
    SYS_access,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlink,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_statfs,
    SYS_fstatfs,
    SYS_clone,
    SYS_clone3,
    SYS_execve,
    SYS_exit,
    SYS_wait4,
    SYS_getpid,
    SYS_gettid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getppid,
    SYS_uname,
    SYS_getcwd,
    SYS_umask,
    SYS_arch_prctl,
    SYS_set_tid_address,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_prlimit64,
    SYS_getrandom,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_sched_getaffinity,
    SYS_sched_yield,
    SYS_getxattr,
    SYS_fgetxattr,
    SYS_sysinfo,
    SYS_capget,
};

struct trace {
    pid_t main;
    bool every;
    unsigned long at;
    unsigned long calls;
    unsigned long changing;
    unsigned long linked;
    bool killed;
};

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static pid_t start(char **command)
{
    pid_t pid = fork();

    if (pid < 0)
        fail("fork");
    if (pid > 0)
        return pid;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        fail("PTRACE_TRACEME");
    raise(SIGSTOP);
    execvp(command[0], command);
    fail(command[0]);
    return -1;
}

static bool is_silent(const struct syscall_info *info)
{
    if (info->nr == SYS_openat)
        return !(info->args[2] & (O_CREAT | O_TRUNC));
    for (size_t i = 0; i < sizeof(silent) / sizeof(*silent); i++)
        if ((long)info->nr == silent[i])
            return true;
    return false;
}

static void on_call(struct trace *trace, pid_t thread)
{
    struct syscall_info info = {0};

    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) < 0 || info.op != OP_ENTRY)
        return;
    trace->calls++;
    trace->changing += !is_silent(&info);
    if (info.nr == SYS_linkat)
        trace->linked = trace->changing;
    if (!trace->every && is_silent(&info))
        return;
    if ((trace->every ? trace->calls : trace->changing) == trace->at) {
        trace->killed = true;
        kill(trace->main, SIGKILL);
    }
}

/* What a stopped thread is told when it goes on: the signal that it stopped for, unless that is ours. */
static int signal_of(int status)
{
    int number = WSTOPSIG(status);

    if (number == (SIGTRAP | 0x80) || status >> 16 || number == SIGSTOP)
        return 0;
    return number;
}

static void follow(struct trace *trace)
{
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                         PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    int status;
    pid_t thread = waitpid(trace->main, &status, __WALL);

    if (thread < 0 || ptrace(PTRACE_SETOPTIONS, thread, NULL, options) < 0 ||
        ptrace(PTRACE_SYSCALL, thread, NULL, 0) < 0)
        fail("ptrace");
    while ((thread = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
        if (thread < 0 || !WIFSTOPPED(status))
            continue;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80))
            on_call(trace, thread);
        ptrace(PTRACE_SYSCALL, thread, NULL, (long)signal_of(status)); /* gone: so be it */
    }
}

int main(int argc, char **argv)
{
    struct trace trace = {0};

    if (argc < 4)
        return 2;
    trace.every = strcmp(argv[1], "every") == 0;
    trace.at = strtoul(argv[2], NULL, 10);
    trace.main = start(argv + 3);
    follow(&trace);
    fprintf(stderr, "%lu %lu %lu\n", trace.calls, trace.changing, trace.linked);
    return trace.killed ? 0 : 3;
}
