/* SPDX-License-Identifier: MIT */
/* Why a table of its own helps: a thread that is killed while the kernel makes it wait keeps its table
 * open. Of what the others had read from the device and not answered, the kernel takes care when their
 * table is closed, provided that nothing of it is open in this one; of what nobody had read, the
 * keeper, who sees by the same that they are dead. */
#include "fs/notifier.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/keeper.h"
#include "fs/mount_private.h"

struct item {
    struct item *next;
    enum tiding tiding;
    struct blob_key key;
};

/* What somebody waits for. */
struct chore {
    void (*work)(void *arg);
    void *arg;
    bool done; /* lock */
};

struct notifier {
    struct mount *mount;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_cond_t done; /* a chore */
    struct chore *chore; /* lock */
    struct item *first;  /* lock */
    struct item *last;   /* lock */
    bool stopping;       /* lock */
};

/* From here on this thread has but the device, cloned, under the number that libfuse writes to; not
 * even the standard streams, for whose end somebody may be waiting. Where a clone can not be had, it is
 * the same open file as before. */
static void take_own_files(const struct mount *mount)
{
    const struct keeper *keeper = mounter_keeper(mount->conf.mounter);

    if (!keeper || close_range(~0U, ~0U, CLOSE_RANGE_UNSHARE) < 0)
        return;

    const int device = fuse_session_fd(mount->session);
    const unsigned number = (unsigned)device;
    const int own = keeper_clone(keeper, device);

    if (own >= 0)
        dup3(own, device, O_CLOEXEC);
    if (number > 0)
        close_range(0, number - 1, 0);
    close_range(number + 1, ~0U, 0);
}

/* Expired, not invalidated: both faces are right, so what is open or mounted there may stay. */
static void tell_name(struct mount *mount, const struct tree *tree, const struct tree_node *node)
{
    char parent[TREE_PATH_MAX];
    uint64_t nodeid;

    if (tree_path(tree, tree_node(tree, node->parent), parent, sizeof(parent)) < 0)
        return;
    nodeid = inode_dir_nodeid(mount->table, parent);
    if (nodeid)
        fuse_lowlevel_notify_expire_entry(mount->session, nodeid, node->name, strlen(node->name));
}

static void tell_arrived(struct mount *mount, const struct blob_key *key)
{
    scoped_view struct view_now now = view_get(&mount->view);
    const struct tree_blob *blob = tree_blob_find(now.tree, key);

    for (uint32_t i = 0; blob && i < blob->references; i++)
        tell_name(mount, now.tree, tree_reference(now.tree, blob->first + i));
}

static void tell(struct mount *mount, const struct item *item)
{
    uint64_t nodeids[FACES];

    inode_faces(mount->table, &item->key, nodeids);
    if (!nodeids[FACE_LAZY])
        return;
    if (item->tiding == TIDING_ARRIVED)
        tell_arrived(mount, &item->key);
    else
        fuse_lowlevel_notify_inval_inode(mount->session, nodeids[FACE_LAZY], 0, 0);
}

/* A chore, else the next item; NULL and NULL: it is over. */
static struct item *take(struct notifier *notifier, struct chore **ret_chore)
{
    struct item *item;

    scoped_lock(&notifier->lock);
    while (!notifier->chore && !notifier->first && !notifier->stopping)
        pthread_cond_wait(&notifier->changed, &notifier->lock);
    *ret_chore = notifier->chore;
    if (notifier->chore || notifier->stopping)
        return NULL;
    item = notifier->first;
    notifier->first = item->next;
    if (!notifier->first)
        notifier->last = NULL;
    return item;
}

static void perform(struct notifier *notifier, struct chore *chore)
{
    chore->work(chore->arg);
    scoped_lock(&notifier->lock);
    chore->done = true;
    notifier->chore = NULL;
    pthread_cond_broadcast(&notifier->done);
}

static void *notifier_main(void *arg)
{
    struct notifier *notifier = arg;
    struct chore *chore;
    struct item *item;

    take_own_files(notifier->mount);
    while ((item = take(notifier, &chore)) || chore) {
        if (chore)
            perform(notifier, chore);
        else
            tell(notifier->mount, item);
        free(item);
    }
    return NULL;
}

int notifier_new(struct mount *mount, struct notifier **ret_notifier)
{
    struct notifier *notifier = calloc(1, sizeof(*notifier));
    int r;

    if (!notifier)
        return -ENOMEM;
    notifier->mount = mount;
    pthread_mutex_init(&notifier->lock, NULL);
    pthread_cond_init(&notifier->changed, NULL);
    pthread_cond_init(&notifier->done, NULL);
    r = -pthread_create(&notifier->thread, NULL, notifier_main, notifier);
    if (r < 0) {
        pthread_cond_destroy(&notifier->done);
        pthread_cond_destroy(&notifier->changed);
        pthread_mutex_destroy(&notifier->lock);
        free(notifier);
        return r;
    }
    *ret_notifier = notifier;
    return 0;
}

void notifier_run(struct notifier *notifier, void (*work)(void *arg), void *arg)
{
    struct chore chore = {.work = work, .arg = arg};

    scoped_lock(&notifier->lock);
    while (notifier->chore)
        pthread_cond_wait(&notifier->done, &notifier->lock);
    /* cppcheck-suppress autoVariables ; it is off again before this returns */
    notifier->chore = &chore;
    pthread_cond_signal(&notifier->changed);
    while (!chore.done)
        pthread_cond_wait(&notifier->done, &notifier->lock);
}

void notifier_tell(struct notifier *notifier, enum tiding tiding, const struct blob_key *key)
{
    uint64_t nodeids[FACES];
    struct item *item;

    inode_faces(notifier->mount->table, key, nodeids);
    item = nodeids[FACE_LAZY] ? malloc(sizeof(*item)) : NULL;
    if (!item)
        return;
    *item = (struct item){.tiding = tiding, .key = *key};
    scoped_lock(&notifier->lock);
    if (notifier->last)
        notifier->last->next = item;
    else
        notifier->first = item;
    notifier->last = item;
    pthread_cond_signal(&notifier->changed);
}

void notifier_stop(struct notifier *notifier)
{
    if (!notifier)
        return;
    scoped_lock(&notifier->lock);
    notifier->stopping = true;
    pthread_cond_signal(&notifier->changed);
}

void notifier_free(struct notifier *notifier)
{
    if (!notifier)
        return;
    notifier_stop(notifier);
    pthread_join(notifier->thread, NULL);
    while (notifier->first) {
        struct item *next = notifier->first->next;

        free(notifier->first);
        notifier->first = next;
    }
    pthread_cond_destroy(&notifier->done);
    pthread_cond_destroy(&notifier->changed);
    pthread_mutex_destroy(&notifier->lock);
    free(notifier);
}
