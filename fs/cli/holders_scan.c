/* SPDX-License-Identifier: MIT */
/* holders_scan.c - the errand: reads /proc and writes a line of JSON for whatever it finds. What can
 * not hang comes first: descriptors and folders, then memory maps, then the names of users. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "fs/cli/holders_private.h"
#include "fs/cli/mounts.h"
#include "sync/json.h"

enum { KERNEL_THREAD = 0x00200000, USERS_MAX = 64 }; /* PF_KTHREAD of linux/sched.h */

struct scan {
    FILE *out;
    const struct mounts_line *mount;
    char space[64]; /* our mount namespace: "mnt:[4026531841]" */
    uid_t users[USERS_MAX];
    size_t user_count;
};

/* A process, and the mounts that count there. */
struct process {
    int folder; /* /proc/PID */
    pid_t pid;
    bool elsewhere;
    struct mounts mounts; /* of its namespace, if that is another one */
};

static FILE *open_at(int folder, const char *name)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

    if (fd >= 0 && !file)
        close(fd);
    return file;
}

/* --- what is written --- */

static void write_line(struct scan *scan, struct json *root)
{
    scoped_free char *text = NULL;
    size_t size;

    if (json_print(root, false, &text, &size) < 0)
        return;
    fwrite(text, 1, size, scan->out);
    fputc('\n', scan->out);
    fflush(scan->out);
}

static uid_t user_of(int folder)
{
    scoped_file FILE *file = open_at(folder, "status");
    char line[256];
    uid_t user = (uid_t)-1;

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "Uid: %*u %u", &user) == 1)
            break;
    return user;
}

static void remember_user(struct scan *scan, uid_t user)
{
    for (size_t i = 0; i < scan->user_count; i++)
        if (scan->users[i] == user)
            return;
    if (scan->user_count < USERS_MAX)
        scan->users[scan->user_count++] = user;
}

/* path: as the kernel has it, cut to what is below the mount where that is known. */
static void found(struct scan *scan, const struct process *process, enum holder_how how,
                  const char *point, const char *path)
{
    scoped(json_freep) struct json *root = json_new_object();
    scoped_file FILE *file = open_at(process->folder, "comm");
    char command[64] = "";
    size_t length = strlen(point);
    uid_t user = user_of(process->folder);

    if (file && fgets(command, sizeof(command), file))
        command[strcspn(command, "\n")] = '\0';
    if (strncmp(path, point, length) == 0 && (path[length] == '/' || !path[length]))
        path += length + (path[length] == '/');
    remember_user(scan, user);
    if (root && json_add_u64(root, "pid", (uint64_t)process->pid) == 0 &&
        json_add_u64(root, "uid", user) == 0 && json_add_u64(root, "how", how) == 0 &&
        json_add_bool(root, "elsewhere", process->elsewhere) == 0 &&
        json_add_string(root, "command", command) == 0 && json_add_string(root, "path", path) == 0)
        write_line(scan, root);
}

static void unseen(struct scan *scan)
{
    scoped(json_freep) struct json *root = json_new_object();

    if (root && json_add_bool(root, "unseen", true) == 0)
        write_line(scan, root);
}

/* --- is it on the mount? --- */

static bool is_below(const char *path, const char *point)
{
    size_t length = strlen(point);

    return strncmp(path, point, length) == 0 && (path[length] == '/' || !path[length]);
}

/* The mount of that id if it counts for this process: ours, or a copy in its own namespace. */
static const struct mounts_line *mount_of(const struct scan *scan, const struct process *process,
                                          int id)
{
    if (id == scan->mount->id)
        return scan->mount;
    for (size_t i = 0; i < process->mounts.count; i++)
        if (process->mounts.lines[i].id == id &&
            process->mounts.lines[i].device == scan->mount->device)
            return &process->mounts.lines[i];
    return NULL;
}

/* Is there a mount that counts at or above this path? */
static bool may_be_on(const struct scan *scan, const struct process *process, const char *path)
{
    if (is_below(path, scan->mount->point))
        return true;
    for (size_t i = 0; i < process->mounts.count; i++)
        if (process->mounts.lines[i].device == scan->mount->device &&
            is_below(path, process->mounts.lines[i].point))
            return true;
    return false;
}

static int mount_id(int folder, const char *name)
{
    scoped_file FILE *file = open_at(folder, name);
    char line[256];
    int id = -1;

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "mnt_id: %d", &id) == 1)
            break;
    return id;
}

static bool read_link(int folder, const char *name, char ret_path[static PATH_MAX])
{
    ssize_t length = readlinkat(folder, name, ret_path, PATH_MAX - 1);

    ret_path[length > 0 ? length : 0] = '\0';
    return length > 0;
}

static void look_at_files(struct scan *scan, const struct process *process)
{
    int fd = openat(process->folder, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    scoped_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    char path[PATH_MAX];
    char name[64];

    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || !read_link(dirfd(dir), entry->d_name, path) || *path != '/')
            continue;
        snprintf(name, sizeof(name), "fdinfo/%.32s", entry->d_name);

        const struct mounts_line *mount = mount_of(scan, process, mount_id(process->folder, name));

        if (mount)
            found(scan, process, HOLDER_FILE, mount->point, path);
    }
}

/* A folder of that path may be the one that the mount lies on: only a descriptor tells. */
static void look_at_folder(struct scan *scan, const struct process *process, const char *name,
                           enum holder_how how)
{
    char path[PATH_MAX];
    char own[64];

    if (!read_link(process->folder, name, path) || !may_be_on(scan, process, path))
        return;

    scoped_fd int fd = openat(process->folder, name, O_PATH | O_CLOEXEC);

    snprintf(own, sizeof(own), "/proc/self/fdinfo/%d", fd);

    const struct mounts_line *mount = fd < 0 ? NULL : mount_of(scan, process, mount_id(-1, own));

    if (mount)
        found(scan, process, how, mount->point, path);
}

static void look_at_memory(struct scan *scan, const struct process *process)
{
    scoped_file FILE *file = open_at(process->folder, "maps");
    scoped_free char *line = NULL;
    size_t room = 0;

    while (file && getline(&line, &room, file) > 0) {
        unsigned major;
        unsigned minor;
        int start = -1;

        if (sscanf(line, "%*s %*s %*s %x:%x %*s %n", &major, &minor, &start) < 2 || start < 0 ||
            makedev(major, minor) != scan->mount->device)
            continue;
        line[strcspn(line, "\n")] = '\0';
        if (process->elsewhere || is_below(line + start, scan->mount->point))
            found(scan, process, HOLDER_MMAP, scan->mount->point, line + start);
    }
}

/* --- all processes --- */

/* Kernel threads and those that have ended hold nothing. */
static bool is_program(int folder)
{
    scoped_file FILE *file = open_at(folder, "stat");
    char line[512];
    const char *rest;
    char state;
    unsigned flags;

    if (!file || !fgets(line, sizeof(line), file) || !(rest = strrchr(line, ')')))
        return false;
    return sscanf(rest, ") %c %*d %*d %*d %*d %*d %u", &state, &flags) == 2 && state != 'Z' &&
           state != 'X' && !(flags & KERNEL_THREAD);
}

static void release_process(struct process *process)
{
    if (process->folder >= 0)
        close(process->folder);
    mounts_release(&process->mounts);
}

/* False: gone, not one to look at, or (counted if so asked) one that we may not. */
static bool open_process(struct scan *scan, int proc, const char *name, bool count,
                         struct process *ret_process)
{
    char space[PATH_MAX];
    char path[64];

    *ret_process = (struct process){.folder = -1, .pid = (pid_t)strtol(name, NULL, 10)};
    if (ret_process->pid == getpid() || ret_process->pid == getppid())
        return false;
    ret_process->folder = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret_process->folder < 0 || !is_program(ret_process->folder))
        return false;
    if (!read_link(ret_process->folder, "ns/mnt", space)) {
        if (count && (errno == EACCES || errno == EPERM))
            unseen(scan);
        return false;
    }
    ret_process->elsewhere = strcmp(space, scan->space) != 0;
    snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)ret_process->pid);
    return !ret_process->elsewhere || mounts_read(path, &ret_process->mounts) == 0;
}

static void walk(struct scan *scan, bool memory)
{
    scoped_dir DIR *proc = opendir("/proc");
    const struct dirent *entry;

    while (proc && (entry = readdir(proc))) {
        scoped(release_process) struct process process = {.folder = -1};

        if (!isdigit((unsigned char)entry->d_name[0]) ||
            !open_process(scan, dirfd(proc), entry->d_name, !memory, &process))
            continue;
        if (memory) {
            look_at_memory(scan, &process);
            continue;
        }
        look_at_files(scan, &process);
        look_at_folder(scan, &process, "cwd", HOLDER_CWD);
        look_at_folder(scan, &process, "root", HOLDER_ROOT);
    }
}

static void look_at_mounts(struct scan *scan, const struct mounts *mounts)
{
    for (size_t i = 0; i < mounts->count; i++) {
        const struct mounts_line *line = &mounts->lines[i];
        scoped(json_freep) struct json *root = json_new_object();
        size_t length = strlen(scan->mount->point);

        if (line->parent != scan->mount->id || !is_below(line->point, scan->mount->point))
            continue;

        const char *path = line->point + length + (line->point[length] == '/');

        if (root && json_add_u64(root, "pid", 0) == 0 &&
            json_add_u64(root, "uid", line->user == (uid_t)-1 ? 0 : line->user) == 0 &&
            json_add_u64(root, "how", HOLDER_MOUNT) == 0 &&
            json_add_string(root, "command", line->type) == 0 &&
            json_add_string(root, "path", path) == 0)
            write_line(scan, root);
    }
}

static void look_up_users(struct scan *scan)
{
    for (size_t i = 0; i < scan->user_count; i++) {
        const struct passwd *entry = getpwuid(scan->users[i]);
        scoped(json_freep) struct json *root = json_new_object();

        if (entry && root && json_add_u64(root, "user", scan->users[i]) == 0 &&
            json_add_string(root, "name", entry->pw_name) == 0)
            write_line(scan, root);
    }
}

void holders_scan(const void *arg, FILE *out)
{
    scoped(mounts_release) struct mounts mounts = {0};
    struct scan scan = {.out = out};
    char space[PATH_MAX];

    if (mounts_read("/proc/self/mountinfo", &mounts) < 0 ||
        !(scan.mount = mounts_find(&mounts, arg)) ||
        !read_link(AT_FDCWD, "/proc/self/ns/mnt", space))
        return;
    snprintf(scan.space, sizeof(scan.space), "%.63s", space);
    look_at_mounts(&scan, &mounts);
    walk(&scan, false);
    walk(&scan, true);
    look_up_users(&scan);
}
