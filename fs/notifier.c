/* SPDX-License-Identifier: MIT */
#include "fs/notifier.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/mount_private.h"

struct item {
    struct item *next;
    enum tiding tiding;
    struct blob_key key;
};

struct notifier {
    struct mount *mount;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct item *first; /* lock */
    struct item *last;  /* lock */
    bool stopping;      /* lock */
};

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

static struct item *take(struct notifier *notifier)
{
    struct item *item;

    scoped_lock(&notifier->lock);
    while (!notifier->first && !notifier->stopping)
        pthread_cond_wait(&notifier->changed, &notifier->lock);
    if (notifier->stopping)
        return NULL;
    item = notifier->first;
    notifier->first = item->next;
    if (!notifier->first)
        notifier->last = NULL;
    return item;
}

static void *notifier_main(void *arg)
{
    struct notifier *notifier = arg;
    struct item *item;

    while ((item = take(notifier))) {
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
    r = -pthread_create(&notifier->thread, NULL, notifier_main, notifier);
    if (r < 0) {
        pthread_cond_destroy(&notifier->changed);
        pthread_mutex_destroy(&notifier->lock);
        free(notifier);
        return r;
    }
    *ret_notifier = notifier;
    return 0;
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

void notifier_free(struct notifier *notifier)
{
    if (!notifier)
        return;
    {
        scoped_lock(&notifier->lock);
        notifier->stopping = true;
        pthread_cond_signal(&notifier->changed);
    }
    pthread_join(notifier->thread, NULL);
    while (notifier->first) {
        struct item *next = notifier->first->next;

        free(notifier->first);
        notifier->first = next;
    }
    pthread_cond_destroy(&notifier->changed);
    pthread_mutex_destroy(&notifier->lock);
    free(notifier);
}
