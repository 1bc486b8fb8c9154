/* SPDX-License-Identifier: MIT */
/* mutate.c - every system call that changes a file system, tried on one node of it.
 *
 *     mutate NODE       NODE: any file or folder; prints "CALL ERRNO" for each, 0 if it worked
 *
 * The calls are those that pjdfstest and the read-only tests of LTP make, and what Linux has added
 * since. New names are made in NODE if it is a folder, else beside it. Whether a call had something to
 * do is not for us to say: on a read-only file system it must not get as far. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/acct.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

enum { CALL_FCHMODAT2 = 452, CALL_SETXATTRAT = 463, CALL_REMOVEXATTRAT = 466 };

static void tell(const char *name, long result)
{
    printf("%s %d\n", name, result < 0 ? errno : 0);
}

/* errno is looked at right after the call, and the call is made once. */
#define TRY(name, call) (errno = 0, tell(name, (long)(call)))

static char *joined(const char *folder, const char *name)
{
    char *path;

    if (asprintf(&path, "%s/%s", folder, name) < 0)
        abort();
    return path;
}

static char *parent_of(const char *path)
{
    char *folder = strdup(path);

    *strrchr(folder, '/') = '\0';
    return folder;
}

static long bind_to(const char *folder)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "new.sock"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (chdir(folder) < 0)
        abort();
    return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

/* --- names --- */

static void make_names(const char *folder)
{
    char *new = joined(folder, "new");
    int dir = open(folder, O_RDONLY | O_DIRECTORY);
    struct open_how how = {.flags = O_CREAT | O_WRONLY, .mode = 0600};

    TRY("open-create", open(new, O_CREAT | O_WRONLY, 0600));
    TRY("open-create-readonly", open(new, O_CREAT | O_RDONLY, 0600));
    TRY("open-create-exclusive", open(new, O_CREAT | O_EXCL | O_RDWR, 0600));
    TRY("openat-create", openat(dir, "new", O_CREAT | O_WRONLY, 0600));
    TRY("openat2-create", syscall(SYS_openat2, dir, "new", &how, sizeof(how)));
    TRY("open-tmpfile", open(folder, O_TMPFILE | O_RDWR, 0600));
    TRY("creat", creat(new, 0600));
    TRY("mkdir", mkdir(new, 0700));
    TRY("mkdirat", mkdirat(dir, "new", 0700));
    TRY("mkfifo", mkfifo(new, 0600));
    TRY("mkfifoat", mkfifoat(dir, "new", 0600));
    TRY("mknod-file", mknod(new, S_IFREG | 0600, 0));
    TRY("mknod-socket", mknod(new, S_IFSOCK | 0600, 0));
    TRY("mknodat-fifo", mknodat(dir, "new", S_IFIFO | 0600, 0));
    TRY("mknod-character", mknod(new, S_IFCHR | 0600, 0x103));
    TRY("mknod-block", mknod(new, S_IFBLK | 0600, 0x700));
    TRY("symlink", symlink("target", new));
    TRY("symlinkat", symlinkat("target", dir, "new"));
    TRY("bind", bind_to(folder));
    close(dir);
    free(new);
}

static void move_name(const char *node, const char *folder, bool is_file)
{
    char *new = joined(folder, "moved");

    TRY("rename", rename(node, new));
    TRY("renameat", renameat(AT_FDCWD, node, AT_FDCWD, new));
    TRY("renameat2-noreplace", renameat2(AT_FDCWD, node, AT_FDCWD, new, RENAME_NOREPLACE));
    TRY("renameat2-exchange", renameat2(AT_FDCWD, node, AT_FDCWD, new, RENAME_EXCHANGE));
    TRY("renameat2-whiteout", renameat2(AT_FDCWD, node, AT_FDCWD, new, RENAME_WHITEOUT));
    TRY("unlink", unlink(node));
    TRY("unlinkat", unlinkat(AT_FDCWD, node, 0));
    TRY("rmdir", rmdir(node));
    TRY("unlinkat-removedir", unlinkat(AT_FDCWD, node, AT_REMOVEDIR));
    TRY("remove", remove(node));
    if (is_file) {
        TRY("link", link(node, new));
        TRY("linkat", linkat(AT_FDCWD, node, AT_FDCWD, new, 0));
        TRY("linkat-follow", linkat(AT_FDCWD, node, AT_FDCWD, new, AT_SYMLINK_FOLLOW));
    }
    free(new);
}

/* --- attributes --- */

static void change_mode_and_owner(const char *node, int fd)
{
    TRY("chmod", chmod(node, 0777));
    TRY("fchmod", fchmod(fd, 0777));
    TRY("fchmodat", fchmodat(AT_FDCWD, node, 0777, 0));
    TRY("fchmodat2", syscall(CALL_FCHMODAT2, AT_FDCWD, node, 0777, AT_SYMLINK_NOFOLLOW));
    TRY("chown", chown(node, getuid(), getgid()));
    TRY("lchown", lchown(node, getuid(), getgid()));
    TRY("fchown", fchown(fd, getuid(), getgid()));
    TRY("fchownat", fchownat(AT_FDCWD, node, getuid(), getgid(), AT_SYMLINK_NOFOLLOW));
    TRY("fchownat-empty", fchownat(fd, "", getuid(), getgid(), AT_EMPTY_PATH));
}

static void change_times(const char *node, int fd)
{
    const struct utimbuf old = {1, 1};
    const struct timeval micro[2] = {{1, 1}, {1, 1}};
    const struct timespec nano[2] = {{1, 1}, {1, 1}};

    TRY("utime", utime(node, &old));
    TRY("utime-now", utime(node, NULL));
    TRY("utimes", utimes(node, micro));
    TRY("lutimes", lutimes(node, micro));
    TRY("futimes", futimes(fd, micro));
    TRY("futimesat", futimesat(AT_FDCWD, node, micro));
    TRY("utimensat", utimensat(AT_FDCWD, node, nano, 0));
    TRY("utimensat-nofollow", utimensat(AT_FDCWD, node, nano, AT_SYMLINK_NOFOLLOW));
    TRY("futimens", futimens(fd, nano));
}

static void change_xattrs(const char *node, int fd)
{
    struct {
        unsigned long long value;
        unsigned size, flags;
    } args = {(unsigned long long)(uintptr_t) "v", 1, 0};

    TRY("setxattr-user", setxattr(node, "user.new", "v", 1, 0));
    TRY("setxattr-agnes", setxattr(node, "user.agnes.state", "v", 1, XATTR_REPLACE));
    TRY("setxattr-trusted", setxattr(node, "trusted.new", "v", 1, 0));
    TRY("setxattr-security", setxattr(node, "security.new", "v", 1, 0));
    TRY("lsetxattr", lsetxattr(node, "user.new", "v", 1, 0));
    TRY("fsetxattr", fsetxattr(fd, "user.new", "v", 1, 0));
    TRY("setxattrat", syscall(CALL_SETXATTRAT, AT_FDCWD, node, 0, "user.new", &args, sizeof(args)));
    TRY("removexattr", removexattr(node, "user.agnes.state"));
    TRY("lremovexattr", lremovexattr(node, "user.agnes.state"));
    TRY("fremovexattr", fremovexattr(fd, "user.agnes.state"));
    TRY("removexattrat", syscall(CALL_REMOVEXATTRAT, AT_FDCWD, node, 0, "user.agnes.state"));
}

static void change_flags(const char *node, int fd)
{
    int flags = 0;
    struct fsxattr extended = {.fsx_xflags = 0};

    TRY("ioctl-setflags", ioctl(fd, FS_IOC_SETFLAGS, &flags));
    TRY("ioctl-fssetxattr", ioctl(fd, FS_IOC_FSSETXATTR, &extended));
    TRY("access-write", access(node, W_OK));
    TRY("faccessat-write", faccessat(AT_FDCWD, node, W_OK, AT_EACCESS));
}

/* --- bytes --- */

static void change_bytes_by_name(const char *node)
{
    struct open_how how = {.flags = O_RDWR};

    TRY("open-write", open(node, O_WRONLY));
    TRY("open-read-write", open(node, O_RDWR));
    TRY("open-append", open(node, O_WRONLY | O_APPEND));
    TRY("open-truncate", open(node, O_RDONLY | O_TRUNC));
    TRY("open-create-existing", open(node, O_WRONLY | O_CREAT, 0600));
    TRY("openat2-write", syscall(SYS_openat2, AT_FDCWD, node, &how, sizeof(how)));
    TRY("creat-existing", creat(node, 0600));
    TRY("truncate", truncate(node, 0));
    TRY("truncate-longer", truncate(node, 1 << 20));
    TRY("acct", acct(node));
    acct(NULL); /* should it have worked */
    TRY("swapon", swapon(node, 0));
}

/* With a descriptor to read from: there is none to write to. */
static void change_bytes_by_descriptor(int fd)
{
    struct iovec part = {.iov_base = (void *)"x", .iov_len = 1};
    int other = open("/proc/self/exe", O_RDONLY);
    struct file_clone_range range = {.src_fd = fd};
    int pipes[2];
    off_t at = 0;

    if (pipe(pipes) < 0 || write(pipes[1], "x", 1) != 1)
        abort();
    TRY("write", write(fd, "x", 1));
    TRY("pwrite", pwrite(fd, "x", 1, 0));
    TRY("writev", writev(fd, &part, 1));
    TRY("pwritev", pwritev(fd, &part, 1, 0));
    TRY("pwritev2", pwritev2(fd, &part, 1, 0, RWF_APPEND));
    TRY("ftruncate", ftruncate(fd, 0));
    TRY("fallocate", fallocate(fd, 0, 0, 4096));
    TRY("fallocate-punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1));
    TRY("posix_fallocate", (errno = posix_fallocate(fd, 0, 4096)) ? -1 : 0);
    TRY("copy_file_range", copy_file_range(other, NULL, fd, &at, 1, 0));
    TRY("sendfile", sendfile(fd, other, NULL, 1));
    TRY("splice", splice(pipes[0], NULL, fd, &at, 1, 0));
    TRY("ioctl-ficlone", ioctl(fd, FICLONE, fd));
    TRY("ioctl-ficlonerange", ioctl(fd, FICLONERANGE, &range));
    TRY("mmap-shared-write",
        mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
}

int main(int argc, char **argv)
{
    const char *node = argc == 2 ? argv[1] : "";
    int fd = open(node, O_RDONLY | O_NONBLOCK);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || node[0] != '/') {
        fprintf(stderr, "mutate: %s: %s\n", node, strerror(errno));
        return 1;
    }
    if (S_ISDIR(st.st_mode))
        make_names(node);
    change_mode_and_owner(node, fd);
    change_times(node, fd);
    change_xattrs(node, fd);
    change_flags(node, fd);
    if (S_ISREG(st.st_mode)) {
        change_bytes_by_name(node);
        change_bytes_by_descriptor(fd);
    }
    move_name(node, parent_of(node), S_ISREG(st.st_mode));
    return 0;
}
