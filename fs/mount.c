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
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "cache/scoped.h"
#include "fs/keeper.h"
#include "fs/mount_private.h"

/* The folder is mounted already when libfuse gets it: the session only serves (mounter.h). */
static int session_new(struct mount *mount)
{
    char *argv[5] = {(char *)"agnesfs"};
    int argc = 1;

    if (URING && mount->conf.io_uring) {
        argv[argc++] = (char *)"-o";
        argv[argc++] = (char *)"io_uring";
    }
    if (mount->conf.debug)
        argv[argc++] = (char *)"-d";

    struct fuse_args args = FUSE_ARGS_INIT(argc, argv);

    mount->session = fuse_session_new(&args, &mount_ops, sizeof(mount_ops), mount);
    fuse_opt_free_args(&args);
    return mount->session ? 0 : -ENOMEM;
}

static int session_mount(struct mount *mount)
{
    scoped_fd int fd = -1;
    char place[32];
    int r = mounter_mount(mount->conf.mounter, mount->source, &fd);

    if (r < 0)
        return r;
    mount->mounted = true;
    snprintf(place, sizeof(place), "/dev/fd/%d", fd);
    if (fuse_session_mount(mount->session, place) < 0)
        return -EPERM;
    take_fd(fd); /* the session's own now */
    return 0;
}

/* Has somebody else unmounted it, or ended the connection? */
static bool is_severed(const struct mount *mount)
{
    struct pollfd poller = {.fd = fuse_session_fd(mount->session)};

    return poll(&poller, 1, 0) == 1 && poller.revents & POLLERR;
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

/* A kernel that knows the call misses the mount first. */
bool mount_may_pass_through(void)
{
    scoped_fd int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    const struct backing_map map = {.fd = -1};

    return passthrough_capable() == 0 && fd >= 0 && ioctl(fd, BACKING_OPEN, &map) < 0 &&
           errno != ENOTTY;
}

/* When the connection has ended, the kernel has done so by itself. */
static void unregister_file(void *arg, int id)
{
    const struct mount *mount = arg;
    const uint32_t number = (uint32_t)id;

    ioctl(fuse_session_fd(mount->session), BACKING_CLOSE, &number);
}

/* The table counts the references of this tree from now on; or, without memory, still those of the
 * one before: then the next one makes up for it. */
static int count_changes(struct mount *mount, const struct tree_diff *diff, struct tree *tree)
{
    int r = inode_publish(mount->table, diff, tree);

    if (r < 0)
        return r;
    tree_unref(mount->counted);
    mount->counted = tree_ref(tree);
    return 0;
}

/* Of a diff from nothing every blob gets its own. */
static int count_tree(struct mount *mount, struct tree *tree)
{
    scoped(tree_diff_release) struct tree_diff diff = {0};
    int r = tree_diff_make(mount->counted, tree, &diff);

    return r < 0 ? r : count_changes(mount, &diff, tree);
}

int mount_new(const struct mount_conf *conf, struct tree *tree, struct mount **ret_mount)
{
    struct mount *mount;
    int r;

    mount = calloc(1, sizeof(*mount));
    if (!mount)
        return -ENOMEM;
    mount->conf = *conf;
    mount->source = strdup(conf->source);
    view_init(&mount->view, tree);
    live_init(&mount->live);
    r = mount->source ? inode_table_new(&mount->table) : -ENOMEM;
    if (!r)
        r = count_tree(mount, tree);
    if (!r)
        r = passthrough_new(&(struct passthrough_kernel){mount, register_file, unregister_file},
                            &mount->passthrough);
    if (!r)
        r = session_new(mount);
    if (!r)
        r = session_mount(mount);
    if (!r)
        r = notifier_new(mount, &mount->notifier);
    if (r < 0) {
        mount_free(mount);
        return r;
    }
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

struct publishing {
    struct mount *mount;
    struct tree *tree;
};

/* Whatever happens the switch is made: what was withdrawn goes after it. */
static void publish(void *arg)
{
    const struct publishing *publishing = arg;
    struct mount *mount = publishing->mount;
    struct tree *tree = publishing->tree;
    scoped_view struct view_now now = view_get(&mount->view);
    scoped(tree_unrefp) struct tree *before = NULL;
    scoped(tree_diff_release) struct tree_diff diff = {0};
    const bool known = tree_diff_make(now.tree, tree, &diff) == 0;
    const bool counted = (known && mount->counted == now.tree ? count_changes(mount, &diff, tree)
                                                              : count_tree(mount, tree)) == 0;
    int64_t published_ns;

    view_leave(&mount->view);
    if (known)
        invalidate_names(mount, &diff, now.tree, tree);
    else
        invalidate_names_without_memory(mount, now.tree, tree);
    before = view_swap(&mount->view, tree_ref(tree), &published_ns);
    if (known)
        invalidate_rest(mount, &diff, before, tree, published_ns);
    else
        invalidate_rest_without_memory(mount, before, tree, published_ns);
    (void)counted;
#if AGNESFS_DEBUG
    if (counted && inode_audit(mount->table, tree) < 0)
        abort();
#endif
}

void mount_publish(struct mount *mount, struct tree *tree)
{
    notifier_run(mount->notifier, publish, &(struct publishing){mount, tree});
}

void mount_stop(struct mount *mount)
{
    fuse_session_exit(mount->session);
}

/* The connection is closed before the folder is unmounted, so that nothing that looks at it on the
 * way waits for us. */
void mount_free(struct mount *mount)
{
    bool severed;

    if (!mount)
        return;
    severed = mount->mounted && is_severed(mount);
    notifier_stop(mount->notifier);
    if (mounter_keeper(mount->conf.mounter))
        keeper_end(mounter_keeper(mount->conf.mounter));
    notifier_free(mount->notifier);
    if (mount->table)
        inode_release_all(mount->table);
    passthrough_free(mount->passthrough);
    if (mount->session)
        fuse_session_destroy(mount->session);
    if (mount->mounted)
        mounter_unmount(mount->conf.mounter, severed);
    inode_table_free(mount->table);
    tree_unref(mount->counted);
    live_release(&mount->live);
    view_release(&mount->view);
    free(mount->source);
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

const char *mount_library_version(void)
{
    return fuse_pkgversion();
}

bool mount_knows_uring(void)
{
    return URING;
}
