/* SPDX-License-Identifier: MIT */
/* The floor: what FUSE itself costs. A server that knows all answers without looking, mounted with
 * the options, flags, timeouts and threads of fs/mounter.c, fs/mount.c and fs/ops.c; keep them the same.
 *
 *     bench_null MOUNTPOINT COUNT FILE [passthrough] [plus] [async]
 *
 * shows MOUNTPOINT/data/flat/t0000000.parquet and so on, COUNT files with the bytes of FILE. With
 * `passthrough` opens go through to FILE where the kernel does that. The other words are for
 * finding out what a choice costs: `plus` makes the kernel always ask for attributes with names,
 * `async` lets it have several reads of one file under way.
 *
 * Serves in the foreground. Commands on stdin, one a line, each answered by the seconds it took:
 * "entries" invalidates every name, one by one; "epoch" all at once. The end of stdin unmounts. */
#define FUSE_USE_VERSION 317

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ROOT = FUSE_ROOT_ID, DATA, FLAT, FIRST }; /* nodeids; files are FIRST + their number */

#define TIMEOUT_S 3600.0
#define NAME_SIZE 32

static struct fuse_session *session;
static const char *mountpoint;
static unsigned long count;
static int fd;
static off_t size;
static bool passthrough, always_plus, async_read;

static struct stat attr_of(fuse_ino_t node)
{
    const bool folder = node < FIRST;

    return (struct stat){
        .st_ino = node,
        .st_mode = folder ? S_IFDIR | 0555 : S_IFREG | 0444,
        .st_nlink = folder ? 2 : 1,
        .st_size = folder ? 0 : size,
        .st_blocks = folder ? 0 : (size + 511) / 512,
        .st_blksize = 131072,
        .st_mtim = {.tv_sec = 1700000000},
        .st_ctim = {.tv_sec = 1700000000},
    };
}

static struct fuse_entry_param entry_of(fuse_ino_t node)
{
    return (struct fuse_entry_param){.ino = node,
                                     .attr = attr_of(node),
                                     .attr_timeout = TIMEOUT_S,
                                     .entry_timeout = TIMEOUT_S};
}

static fuse_ino_t find(fuse_ino_t parent, const char *name)
{
    char *end;
    unsigned long number;

    if (parent != FLAT)
        return parent == ROOT && !strcmp(name, "data")   ? DATA
               : parent == DATA && !strcmp(name, "flat") ? FLAT
                                                         : 0;
    if (*name != 't')
        return 0;
    number = strtoul(name + 1, &end, 10);
    return number < count && !strcmp(end, ".parquet") ? FIRST + number : 0;
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    fuse_set_feature_flag(conn, FUSE_CAP_NO_EXPORT_SUPPORT);
    fuse_set_feature_flag(conn, FUSE_CAP_READDIRPLUS);
    if (always_plus)
        fuse_unset_feature_flag(conn, FUSE_CAP_READDIRPLUS_AUTO);
    if (!async_read)
        fuse_unset_feature_flag(conn, FUSE_CAP_ASYNC_READ);
    fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_READ);
    conn->max_background = 4096;
    conn->congestion_threshold = 3072;
    passthrough = passthrough && fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH);
    if (passthrough)
        conn->max_backing_stack_depth = 1;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    const fuse_ino_t node = find(parent, name);
    struct fuse_entry_param entry = {.entry_timeout = TIMEOUT_S};

    if (node)
        entry = entry_of(node);
    fuse_reply_entry(req, &entry);
}

static void on_forget(fuse_req_t req, fuse_ino_t node, uint64_t lookups)
{
    (void)node;
    (void)lookups;
    fuse_reply_none(req);
}

static void on_forget_multi(fuse_req_t req, size_t forgets, struct fuse_forget_data *data)
{
    (void)forgets;
    (void)data;
    fuse_reply_none(req);
}

static void on_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    const struct stat attr = attr_of(node);

    (void)info;
    fuse_reply_attr(req, &attr, TIMEOUT_S);
}

static void on_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    (void)node;
    info->cache_readdir = 1;
    info->keep_cache = 1;
    fuse_reply_open(req, info);
}

static const char *child(fuse_ino_t node, unsigned long at, char text[static NAME_SIZE],
                         fuse_ino_t *ret_node)
{
    if (node != FLAT) {
        *ret_node = node + 1;
        return at > 0 ? NULL : node == ROOT ? "data" : "flat";
    }
    *ret_node = FIRST + at;
    snprintf(text, NAME_SIZE, "t%07lu.parquet", at);
    return at < count ? text : NULL;
}

static void list(fuse_req_t req, fuse_ino_t node, size_t room, off_t offset, bool plus)
{
    char *buffer = malloc(room), text[NAME_SIZE];
    size_t used = 0, length;
    const char *name;
    fuse_ino_t next;

    for (; buffer && (name = child(node, (unsigned long)offset, text, &next)); used += length) {
        const struct fuse_entry_param entry = entry_of(next);
        const size_t left = room - used;

        offset++;
        length = plus ? fuse_add_direntry_plus(req, buffer + used, left, name, &entry, offset)
                      : fuse_add_direntry(req, buffer + used, left, name, &entry.attr, offset);
        if (length > left)
            break;
    }
    fuse_reply_buf(req, buffer, used);
    free(buffer);
}

static void on_readdir(fuse_req_t req, fuse_ino_t node, size_t room, off_t offset,
                       struct fuse_file_info *info)
{
    (void)info;
    list(req, node, room, offset, false);
}

static void on_readdirplus(fuse_req_t req, fuse_ino_t node, size_t room, off_t offset,
                           struct fuse_file_info *info)
{
    (void)info;
    list(req, node, room, offset, true);
}

static void on_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    (void)node;
    info->noflush = 1;
    if (passthrough)
        info->backing_id = fuse_passthrough_open(req, fd);
    info->fh = (uint64_t)info->backing_id;
    info->keep_cache = !info->backing_id;
    fuse_reply_open(req, info);
}

static void on_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    (void)node;
    if (info->fh)
        fuse_passthrough_close(req, (int)info->fh);
    fuse_reply_err(req, 0);
}

static void on_read(fuse_req_t req, fuse_ino_t node, size_t due, off_t offset,
                    struct fuse_file_info *info)
{
    char *buffer = malloc(due);
    const ssize_t n = buffer ? pread(fd, buffer, due, offset) : -1;

    (void)node;
    (void)info;
    if (n < 0)
        fuse_reply_err(req, EIO);
    else
        fuse_reply_buf(req, buffer, (size_t)n);
    free(buffer);
}

static const struct fuse_lowlevel_ops ops = {
    .init = on_init,
    .lookup = on_lookup,
    .forget = on_forget,
    .forget_multi = on_forget_multi,
    .getattr = on_getattr,
    .opendir = on_opendir,
    .readdir = on_readdir,
    .readdirplus = on_readdirplus,
    .open = on_open,
    .release = on_release,
    .read = on_read,
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void *obey(void *arg)
{
    char line[64], text[NAME_SIZE];
    fuse_ino_t node;

    (void)arg;
    while (fgets(line, sizeof(line), stdin)) {
        const double start = now();

        if (!strcmp(line, "epoch\n"))
            fuse_lowlevel_notify_increment_epoch(session);
        for (unsigned long i = 0; !strcmp(line, "entries\n") && i < count; i++) {
            const char *name = child(FLAT, i, text, &node);

            fuse_lowlevel_notify_inval_entry(session, FLAT, name, strlen(name));
        }
        printf("%.9f\n", now() - start);
        fflush(stdout);
    }
    umount2(mountpoint, MNT_DETACH); /* which ends the loop below */
    return NULL;
}

int main(int argc, char **argv)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    char options[] = "-oro,nosuid,nodev,default_permissions,fsname=null,subtype=null";
    struct fuse_args args = FUSE_ARGS_INIT(2, ((char *[]){argv[0], options}));
    pthread_t thread;
    struct stat st;
    int r;

    if (argc < 4)
        return 2;
    mountpoint = argv[1];
    count = strtoul(argv[2], NULL, 10);
    for (int i = 4; i < argc; i++) {
        passthrough |= !strcmp(argv[i], "passthrough");
        always_plus |= !strcmp(argv[i], "plus");
        async_read |= !strcmp(argv[i], "async");
    }
    fd = open(argv[3], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        perror(argv[3]);
        return 1;
    }
    size = st.st_size;
    session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
    if (!session || fuse_session_mount(session, mountpoint) < 0 ||
        pthread_create(&thread, NULL, obey, NULL))
        return 1;
    r = fuse_session_loop_mt(session, config);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    fuse_loop_cfg_destroy(config);
    return r < 0;
}
