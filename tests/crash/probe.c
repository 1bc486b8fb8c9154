/* SPDX-License-Identifier: MIT */
/* probe.c - what may a running daemon still do? Preloaded into it, this asks from within.
 *
 *     LD_PRELOAD=libprobe.so agnesfs mount --foreground ...
 *     echo "probe CALL ARGUMENT" | its control socket        -> the errno, as a number; 0: it worked
 *
 * A line that begins with "probe" never reaches the daemon's own code: the thread that received it
 * makes the call, as one that had been taken over would. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long try_read(const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? -1 : read(fd, &byte, 1);
}

static long try_write(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static long try_mkdir(const char *path)
{
    return mkdir(path, 0700);
}

static long try_symlink(const char *path)
{
    return symlink("/etc/passwd", path);
}

static long try_fifo(const char *path)
{
    return mkfifo(path, 0600);
}

static long try_truncate(const char *path)
{
    return truncate(path, 0);
}

static long try_exec(const char *path)
{
    char *argv[] = {(char *)path, NULL};

    return execve(path, argv, environ);
}

static long try_execveat(const char *path)
{
    return syscall(SYS_execveat, AT_FDCWD, path, (char *[]){(char *)path, NULL}, environ, 0);
}

static long ended(pid_t child)
{
    if (child == 0)
        _exit(0);
    return child < 0 ? -1 : waitpid(child, NULL, 0);
}

static long try_fork(const char *text)
{
    return ended(fork());
}

static long try_raw_clone(const char *text)
{
    return ended((pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static long try_clone3(const char *text)
{
    unsigned long long args[11] = {[4] = SIGCHLD};

    return ended((pid_t)syscall(SYS_clone3, args, sizeof(args)));
}

static void *nothing(void *arg)
{
    return arg;
}

static long try_thread(const char *text)
{
    pthread_t thread;

    errno = pthread_create(&thread, NULL, nothing, NULL);
    return errno ? -1 : (pthread_join(thread, NULL), 0);
}

static long try_mount(const char *path)
{
    return mount("none", path, "tmpfs", 0, NULL);
}

static long try_umount(const char *path)
{
    return umount2(path, MNT_DETACH);
}

static long try_fsopen(const char *text)
{
    return syscall(SYS_fsopen, "tmpfs", 0);
}

static long try_unshare(const char *text)
{
    return unshare(CLONE_NEWUTS);
}

static long try_chroot(const char *text)
{
    return chroot("/");
}

static long try_ptrace(const char *pid)
{
    return ptrace(PTRACE_ATTACH, atoi(pid), NULL, NULL);
}

static long try_peek(const char *pid)
{
    char byte;
    struct iovec part = {&byte, 1};

    return syscall(SYS_process_vm_readv, atoi(pid), &part, 1, &part, 1, 0);
}

static long try_bpf(const char *text)
{
    return syscall(SYS_bpf, 0, NULL, 0);
}

static long try_module(const char *text)
{
    return syscall(SYS_delete_module, "no_such_module", 0);
}

static long try_setuid(const char *number)
{
    return setuid((uid_t)atoi(number));
}

static long try_keyctl(const char *text)
{
    return syscall(SYS_keyctl, 0, -3, 0);
}

static long try_raise(const char *text)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{~0U, ~0U, 0}, {~0U, ~0U, 0}};

    return syscall(SYS_capset, &header, data);
}

static long try_packet(const char *text)
{
    return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static long try_inet(const char *text)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static long try_bind(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

static long try_kill(const char *pid)
{
    return kill(atoi(pid), 0);
}

static long try_writable_code(const char *text)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) == MAP_FAILED
               ? -1
               : 0;
}

static long try_made_code(const char *text)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static const struct call {
    const char *name;
    long (*try)(const char *argument);
} calls[] = {
    {"read", try_read},
    {"write", try_write},
    {"mkdir", try_mkdir},
    {"symlink", try_symlink},
    {"fifo", try_fifo},
    {"truncate", try_truncate},
    {"exec", try_exec},
    {"execveat", try_execveat},
    {"fork", try_fork},
    {"clone", try_raw_clone},
    {"clone3", try_clone3},
    {"thread", try_thread},
    {"mount", try_mount},
    {"umount", try_umount},
    {"fsopen", try_fsopen},
    {"unshare", try_unshare},
    {"chroot", try_chroot},
    {"ptrace", try_ptrace},
    {"peek", try_peek},
    {"bpf", try_bpf},
    {"module", try_module},
    {"setuid", try_setuid},
    {"keyctl", try_keyctl},
    {"raise", try_raise},
    {"packet", try_packet},
    {"inet", try_inet},
    {"bind", try_bind},
    {"kill", try_kill},
    {"writable-code", try_writable_code},
    {"made-code", try_made_code},
};

static void probe(int fd, const char *name, const char *argument)
{
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (strcmp(calls[i].name, name) != 0)
            continue;
        errno = 0;
        dprintf(fd, "%d\n", calls[i].try(argument) < 0 ? errno : 0);
        return;
    }
    dprintf(fd, "no such probe: %s\n", name);
}

ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    ssize_t (*real)(int, void *, size_t,
                    int) = (ssize_t(*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv");
    ssize_t got = real(fd, buffer, size, flags);
    char name[32], argument[4096] = "";

    if (got <= 6 || memcmp(buffer, "probe ", 6) != 0 || got >= (ssize_t)sizeof(argument))
        return got;
    ((char *)buffer)[got - 1] = '\0';
    if (sscanf(buffer, "probe %31s %4095[^\n]", name, argument) >= 1)
        probe(fd, name, argument);
    return 0;
}
