/* SPDX-License-Identifier: MIT */
#include "fs/passthrough.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "cache/scoped.h"

#define BUCKETS 256

/* A nodeid that is open in this mode. */
struct backing {
    struct backing *next; /* in its bucket */
    uint64_t nodeid;
    uint64_t opens;
    dev_t dev;
    ino_t ino;
    int id;
};

struct passthrough {
    struct passthrough_kernel kernel;
    pthread_mutex_t lock;
    /* all below: under lock */
    bool allowed;
    char why_not[PASSTHROUGH_WHY_SIZE];
    uint64_t files;
    struct backing *buckets[BUCKETS];
};

int passthrough_new(const struct passthrough_kernel *kernel, struct passthrough **ret_passthrough)
{
    struct passthrough *passthrough = calloc(1, sizeof(*passthrough));

    if (!passthrough)
        return -ENOMEM;
    passthrough->kernel = *kernel;
    pthread_mutex_init(&passthrough->lock, NULL);
    passthrough_allow(passthrough, "not asked the kernel yet");
    *ret_passthrough = passthrough;
    return 0;
}

void passthrough_free(struct passthrough *passthrough)
{
    if (!passthrough)
        return;
    pthread_mutex_destroy(&passthrough->lock);
    free(passthrough);
}

void passthrough_allow(struct passthrough *passthrough, const char *why_not)
{
    scoped_lock(&passthrough->lock);
    passthrough->allowed = !why_not;
    snprintf(passthrough->why_not, sizeof(passthrough->why_not), "%s", why_not ? why_not : "");
}

/* Where the nodeid is, or would be linked. */
static struct backing **find(struct passthrough *passthrough, uint64_t nodeid)
{
    struct backing **at = &passthrough->buckets[(nodeid >> 1) % BUCKETS];

    while (*at && (*at)->nodeid != nodeid)
        at = &(*at)->next;
    return at;
}

/* Lock held. *ret_id stays 0 if the kernel refuses. */
static int register_first(struct passthrough *passthrough, struct backing **at, uint64_t nodeid,
                          int fd, const struct stat *st, int *ret_id)
{
    struct backing *backing = malloc(sizeof(*backing));
    int id;

    if (!backing)
        return -ENOMEM;
    id = passthrough->kernel.register_file(passthrough->kernel.arg, fd);
    if (id < 0) {
        passthrough->allowed = false;
        snprintf(passthrough->why_not, sizeof(passthrough->why_not), "the kernel refused: %s",
                 strerror(-id));
        free(backing);
        return 0;
    }
    *backing = (struct backing){
        .nodeid = nodeid, .opens = 1, .dev = st->st_dev, .ino = st->st_ino, .id = id};
    *at = backing;
    passthrough->files++;
    *ret_id = id;
    return 0;
}

int passthrough_open(struct passthrough *passthrough, uint64_t nodeid, int fd, uint64_t size,
                     int *ret_id)
{
    struct backing **at;
    struct stat st;

    *ret_id = 0;
    if (fstat(fd, &st) < 0)
        return negative_errno();
    scoped_lock(&passthrough->lock);
    at = find(passthrough, nodeid);
    if (!*at && !passthrough->allowed)
        return 0;
    if ((uint64_t)st.st_size != size)
        return -EIO;
    if (!*at)
        return register_first(passthrough, at, nodeid, fd, &st, ret_id);
    if ((*at)->dev != st.st_dev || (*at)->ino != st.st_ino)
        return -ESTALE;
    (*at)->opens++;
    *ret_id = (*at)->id;
    return 0;
}

/* The last open's backing, which nobody finds any more; else NULL. */
static struct backing *drop(struct passthrough *passthrough, uint64_t nodeid)
{
    struct backing **at, *backing;

    scoped_lock(&passthrough->lock);
    at = find(passthrough, nodeid);
    backing = *at;
    if (!backing || --backing->opens > 0)
        return NULL;
    *at = backing->next;
    passthrough->files--;
    return backing;
}

void passthrough_close(struct passthrough *passthrough, uint64_t nodeid)
{
    struct backing *backing = drop(passthrough, nodeid);

    if (backing)
        passthrough->kernel.unregister(passthrough->kernel.arg, backing->id);
    free(backing);
}

void passthrough_facts(struct passthrough *passthrough, struct passthrough_facts *ret_facts)
{
    scoped_lock(&passthrough->lock);
    *ret_facts = (struct passthrough_facts){passthrough->allowed, passthrough->files, ""};
    memcpy(ret_facts->why_not, passthrough->why_not, sizeof(ret_facts->why_not));
}

int passthrough_capable(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    if (syscall(SYS_capget, &header, data) < 0)
        return negative_errno();
    return data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN) ? 0 : -EPERM;
}
