/* SPDX-License-Identifier: MIT */
/* The order of a publish is the whole correctness of a refresh under readers:
 *
 *     tree_diff_make, inode_publish   the table knows both generations
 *     view_leave                      what is answered from here on, the kernel does not keep
 *     invalidate_names                it forgets the names that will change, and asks us each time
 *     view_swap                       all of them lead to the new generation
 *     invalidate_rest                 it forgets listings, and the counts of what stays
 *
 * All that takes its time comes before the swap, and nobody sees anything of it: what `stat` shows of
 * a generation comes from its tree, so that the table may be ahead of it.
 *
 * An answer of before view_leave may be kept, and still be on its way: a look-up holds the lock of its
 * folder in the kernel until it has settled, and the notification of a name waits for that lock. Of
 * attributes the kernel drops an answer that was asked for before they were invalidated. */
#include "fs/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "cache/scoped.h"
#include "fs/mount_private.h"

static int check_empty(const char *path)
{
    scoped_dir DIR *dir = opendir(path);
    const struct dirent *entry;

    if (!dir)
        return negative_errno();
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            return -ENOTEMPTY;
    return 0;
}

/* Is it a folder that can be mounted on? Asked before libfuse is, whose answer has no reason. */
static int check_mountpoint(const char *path)
{
    char parent[PATH_MAX];
    struct stat here, above;

    if (stat(path, &here) < 0)
        return negative_errno();
    if (!S_ISDIR(here.st_mode))
        return -ENOTDIR;
    if (snprintf(parent, sizeof(parent), "%s/..", path) >= (int)sizeof(parent))
        return -ENAMETOOLONG;
    if (stat(parent, &above) < 0)
        return negative_errno();
    if (here.st_dev != above.st_dev)
        return -EBUSY;
    return check_empty(path);
}

static int check_device(void)
{
    if (access("/dev/fuse", F_OK) < 0)
        return -ENODEV;
    return access("/dev/fuse", R_OK | W_OK) < 0 ? -EACCES : 0;
}

static int add_option(struct fuse_args *args, const char *key, const char *value)
{
    scoped_free char *option = NULL;
    scoped_free char *list = NULL;

    if (asprintf(&option, "%s%s%s", key, value ? "=" : "", value ? value : "") < 0 ||
        fuse_opt_add_opt_escaped(&list, option) < 0 || fuse_opt_add_arg(args, "-o") < 0 ||
        fuse_opt_add_arg(args, list) < 0)
        return -ENOMEM;
    return 0;
}

static void free_args(struct fuse_args *args)
{
    fuse_opt_free_args(args);
}

/* Read-only always: writes fail in the kernel, and passthrough reads stay free of atime updates. */
static int session_new(struct mount *mount)
{
    scoped(free_args) struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    static const char *const always[] = {"ro", "nosuid", "nodev", "default_permissions"};
    int r;

    r = fuse_opt_add_arg(&args, "agnesfs") < 0 ? -ENOMEM : 0;
    for (size_t i = 0; !r && i < sizeof(always) / sizeof(always[0]); i++)
        r = add_option(&args, always[i], NULL);
    if (!r)
        r = add_option(&args, "fsname", mount->source);
    if (!r)
        r = add_option(&args, "subtype", "agnesfs");
    if (!r && mount->conf.allow_other)
        r = add_option(&args, "allow_other", NULL);
    if (!r && URING && mount->conf.io_uring)
        r = add_option(&args, "io_uring", NULL);
    if (!r && mount->conf.debug)
        r = fuse_opt_add_arg(&args, "-d") < 0 ? -ENOMEM : 0;
    if (r < 0)
        return r;
    mount->session = fuse_session_new(&args, &mount_ops, sizeof(mount_ops), mount);
    return mount->session ? 0 : -ENOMEM;
}

/* What linux/fuse.h calls FUSE_DEV_IOC_BACKING_OPEN and _CLOSE; Debian 12 has a header without. Those
 * of libfuse need a request, and there is none when an answer to open could not be given. */
struct backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};

#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

static int register_file(void *arg, int fd)
{
    const struct mount *mount = arg;
    const struct backing_map map = {.fd = fd};
    const int id = ioctl(fuse_session_fd(mount->session), BACKING_OPEN, &map);

    return id < 0 ? negative_errno() : id;
}

/* When the connection has ended, the kernel has done so by itself. */
static void unregister_file(void *arg, int id)
{
    const struct mount *mount = arg;
    const uint32_t number = (uint32_t)id;

    ioctl(fuse_session_fd(mount->session), BACKING_CLOSE, &number);
}

/* A diff from nothing: every blob of the tree gets its references. */
static int adopt_tree(struct mount *mount, struct tree *tree)
{
    struct tree_diff diff;
    int r;

    r = tree_diff_make(NULL, tree, &diff);
    if (r < 0)
        return r;
    r = inode_publish(mount->table, &diff, tree);
    tree_diff_release(&diff);
    return r;
}

int mount_new(const struct mount_conf *conf, struct tree *tree, struct mount **ret_mount)
{
    struct mount *mount;
    int r;

    r = check_mountpoint(conf->mountpoint);
    if (!r)
        r = check_device();
    if (r < 0)
        return r;
    mount = calloc(1, sizeof(*mount));
    if (!mount)
        return -ENOMEM;
    mount->conf = *conf;
    mount->mountpoint = strdup(conf->mountpoint);
    mount->source = strdup(conf->source);
    view_init(&mount->view, tree);
    live_init(&mount->live);
    r = mount->mountpoint && mount->source ? inode_table_new(&mount->table) : -ENOMEM;
    if (!r)
        r = adopt_tree(mount, tree);
    if (!r)
        r = passthrough_new(&(struct passthrough_kernel){mount, register_file, unregister_file},
                            &mount->passthrough);
    if (!r)
        r = session_new(mount);
    if (!r)
        r = notifier_new(mount, &mount->notifier);
    if (!r && fuse_session_mount(mount->session, mount->mountpoint) < 0)
        r = -EPERM;
    if (r < 0) {
        mount_free(mount);
        return r;
    }
    mount->mounted = true;
    *ret_mount = mount;
    return 0;
}

static void free_loop_config(struct fuse_loop_config *const *config)
{
    fuse_loop_cfg_destroy(*config);
}

int mount_run(struct mount *mount, void (*ready)(void *arg), void *arg)
{
    scoped(free_loop_config) struct fuse_loop_config *config = fuse_loop_cfg_create();
    int r;

    if (!config)
        return -ENOMEM;
    mount->ready = ready;
    mount->ready_arg = arg;
    r = fuse_session_loop_mt(mount->session, config);
    return r < 0 ? r : 0;
}

void mount_publish(struct mount *mount, struct tree *tree)
{
    scoped_view struct view_now now = view_get(&mount->view);
    scoped(tree_unrefp) struct tree *before = NULL;
    struct tree_diff diff;
    int64_t published_ns;
    int r;

    r = tree_diff_make(now.tree, tree, &diff);
    if (r == 0) {
        inode_publish(mount->table, &diff, tree);
        view_leave(&mount->view);
        invalidate_names(mount, &diff, now.tree, tree);
    }
    before = view_swap(&mount->view, tree_ref(tree), &published_ns);
    if (r < 0)
        return;
    invalidate_rest(mount, &diff, before, tree, published_ns);
    tree_diff_release(&diff);
#if AGNESFS_DEBUG
    if (inode_audit(mount->table, tree) < 0)
        abort();
#endif
}

void mount_stop(struct mount *mount)
{
    fuse_session_exit(mount->session);
}

void mount_free(struct mount *mount)
{
    if (!mount)
        return;
    if (mount->mounted)
        fuse_session_unmount(mount->session);
    notifier_free(mount->notifier);
    if (mount->table)
        inode_release_all(mount->table);
    passthrough_free(mount->passthrough);
    if (mount->session)
        fuse_session_destroy(mount->session);
    inode_table_free(mount->table);
    live_release(&mount->live);
    view_release(&mount->view);
    free(mount->source);
    free(mount->mountpoint);
    free(mount);
}

void mount_arrived(struct mount *mount, const struct blob_key *key)
{
    notifier_tell(mount->notifier, TIDING_ARRIVED, key);
}

void mount_spoiled(struct mount *mount, const struct blob_key *key)
{
    notifier_tell(mount->notifier, TIDING_SPOILED, key);
}

enum mount_use mount_use(struct mount *mount, const struct blob_key *key)
{
    switch (inode_use(mount->table, key)) {
    case INODE_FOUND: return MOUNT_FOUND;
    case INODE_OPENED: return MOUNT_OPENED;
    case INODE_WAITING: return MOUNT_WAITING;
    case INODE_IDLE:
    default: return MOUNT_IDLE;
    }
}

void mount_facts(struct mount *mount, struct mount_facts *ret_facts)
{
    struct inode_census census;

    inode_census(mount->table, &census);
    *ret_facts = (struct mount_facts){
        .inodes = census.inodes,
        .lookups = census.lookups,
        .open_files = atomic_load(&mount->open_files),
        .parked_reads = atomic_load(&mount->parked_reads),
        .reads = atomic_load(&mount->reads),
        .bytes_read = atomic_load(&mount->bytes_read),
        .uring_why_not = atomic_load(&mount->uring_why_not),
    };
    passthrough_facts(mount->passthrough, &ret_facts->passthrough);
}
