/* SPDX-License-Identifier: MIT */
/* harden_calls.c - which system calls are forbidden, as a list, not which are allowed: what libraries
 * of ten years' distributions may call is not known, what we never do is.
 *
 * Two kinds: whoever starts a program, mounts or debugs from within a daemon that never does is an
 * intruder, and the process dies. What a library might try and do without is refused. clone3 keeps
 * its flags in memory, where a filter does not see them: it is said not to exist, and the C library
 * takes clone. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "cache/scoped.h"
#include "fs/cli/harden.h"

#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define MACHINE AUDIT_ARCH_AARCH64
#endif

#ifndef MACHINE

int harden_calls(bool io_uring)
{
    (void)io_uring;
    return -ENOTSUP;
}

#else

enum { X32_CALLS = 0x40000000 };

/* The process dies of SIGSYS. */
static const int deadly[] = {
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_mount,
    SYS_umount2,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsmount,
    SYS_fsconfig,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_pivot_root,
    SYS_chroot,
    SYS_setns,
    SYS_unshare,
    SYS_bpf,
    SYS_userfaultfd,
    SYS_perf_event_open,
    SYS_open_by_handle_at,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef SYS_iopl
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
};

/* EPERM. */
static const int refused[] = {
    SYS_setuid,         SYS_setgid,        SYS_setreuid, SYS_setregid,      SYS_setresuid,
    SYS_setresgid,      SYS_setfsuid,      SYS_setfsgid, SYS_setgroups,     SYS_capset,
    SYS_mknodat,        SYS_personality,   SYS_keyctl,   SYS_add_key,       SYS_request_key,
    SYS_quotactl,       SYS_syslog,        SYS_adjtimex, SYS_clock_adjtime, SYS_memfd_create,
    SYS_io_uring_setup, SYS_fanotify_init,
#ifdef SYS_fork
    SYS_fork,           SYS_vfork,         SYS_mknod,
#endif
};

/* For names, addresses, and routes to them. */
static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

enum {
    COUNT_DEADLY = sizeof(deadly) / sizeof(deadly[0]),
    COUNT_REFUSED = sizeof(refused) / sizeof(refused[0]),
    COUNT_FAMILIES = sizeof(families) / sizeof(families[0]),
    MAX_STEPS = 2 * (COUNT_DEADLY + COUNT_REFUSED) + COUNT_FAMILIES + 32,
};

struct program {
    struct sock_filter steps[MAX_STEPS];
    unsigned short count;
};

static void add(struct program *program, unsigned code, unsigned value, unsigned yes, unsigned no)
{
    program->steps[program->count++] = (struct sock_filter)BPF_JUMP((unsigned short)code, value,
                                                                    (unsigned char)yes,
                                                                    (unsigned char)no);
}

static void load(struct program *program, size_t offset)
{
    add(program, BPF_LD | BPF_W | BPF_ABS, (unsigned)offset, 0, 0);
}

static void answer(struct program *program, unsigned action)
{
    add(program, BPF_RET | BPF_K, action, 0, 0);
}

/* The number is loaded, and stays. */
static void answer_call(struct program *program, int number, unsigned action)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1);
    answer(program, action);
}

/* Its first argument's lower half, on machines that are little-endian, as these are. The number is
 * lost, so the call is answered here. */
static void check_argument(struct program *program, int number, unsigned steps)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, steps + 1);
    load(program, offsetof(struct seccomp_data, args[0]));
}

static void check_clone(struct program *program)
{
    check_argument(program, SYS_clone, 3);
    add(program, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1);
    answer(program, SECCOMP_RET_ALLOW);
    answer(program, SECCOMP_RET_ERRNO | EPERM);
}

static void check_socket(struct program *program)
{
    check_argument(program, SYS_socket, COUNT_FAMILIES + 2);
    for (unsigned i = 0; i < COUNT_FAMILIES; i++)
        add(program, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)families[i], COUNT_FAMILIES - i, 0);
    answer(program, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
    answer(program, SECCOMP_RET_ALLOW);
}

int harden_calls(bool io_uring)
{
    struct program program = {.count = 0};

    load(&program, offsetof(struct seccomp_data, arch));
    add(&program, BPF_JMP | BPF_JEQ | BPF_K, MACHINE, 1, 0);
    answer(&program, SECCOMP_RET_KILL_PROCESS);
    load(&program, offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
    add(&program, BPF_JMP | BPF_JGE | BPF_K, X32_CALLS, 0, 1);
    answer(&program, SECCOMP_RET_KILL_PROCESS);
#endif
    for (unsigned i = 0; i < COUNT_DEADLY; i++)
        answer_call(&program, deadly[i], SECCOMP_RET_KILL_PROCESS);
    for (unsigned i = 0; i < COUNT_REFUSED; i++)
        if (refused[i] != SYS_io_uring_setup || !io_uring)
            answer_call(&program, refused[i], SECCOMP_RET_ERRNO | EPERM);
    answer_call(&program, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
    check_clone(&program);
    check_socket(&program);
    answer(&program, SECCOMP_RET_ALLOW);

    const struct sock_fprog filter = {.len = program.count, .filter = program.steps};

    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) < 0 ? negative_errno() : 0;
}

#endif
