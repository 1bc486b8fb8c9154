/* SPDX-License-Identifier: MIT */
/* mount.h - one mounted stack, from /dev/fuse to the last reply.
 *
 *     mount_new       has the folder mounted (mounter.h): from here on the kernel knows it
 *     mount_run       serves until the folder is unmounted or mount_stop was called
 *     mount_publish   a new generation, at any time while it runs
 *     mount_free      unmounts if need be, frees everything
 *
 * Publishing is one pointer: every request takes the tree once, so no request sees two
 * generations. The kernel is told by a thread of its own (notifier.h), with no lock held: before that
 * of each name that will change, after it of folders that changed and of files whose reference count
 * did. So all names switch at the moment of the pointer, however many they are. mount_publish must not
 * be called from a thread that serves requests: the kernel may make it wait for one.
 *
 * Threads: mount_run starts and ends the serving threads. mount_publish from one thread at a time;
 * mount_stop from any thread or signal handler; the others from any thread.
 *
 * Errors of mount_new: those of mounter_mount. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "fs/mounter.h"
#include "fs/passthrough.h"
#include "fs/provider.h"
#include "sync/tree.h"

struct mount;

struct mount_conf {
    struct mounter *mounter; /* which knows where; outlives the mount */
    const char *source;      /* what `mount` and `df` show, and user.agnes.source */
    struct provider provider;
    uid_t uid;
    gid_t gid;
    mode_t umask;  /* bits taken from 0444 and 0555 */
    bool io_uring; /* requests by io_uring where libfuse and the kernel can; none of them can be
                    * interrupted (libfuse 3.18) */
    bool stacked;  /* the blobs lie on a stacked file system (overlayfs) */
    bool debug;    /* libfuse prints every request */
};

int mount_new(const struct mount_conf *conf, struct tree *tree, struct mount **ret_mount);

/* Called once the kernel has shaken hands, from the serving side: now requests are answered. */
int mount_run(struct mount *mount, void (*ready)(void *arg), void *arg);

void mount_publish(struct mount *mount, struct tree *tree);
void mount_stop(struct mount *mount);
void mount_free(struct mount *mount);

/* Could a mount of this process have passthrough, for all that can be told before there is one? */
bool mount_may_pass_through(void);

struct mount_facts {
    uint64_t inodes;  /* that the table remembers */
    uint64_t lookups; /* that the kernel holds on them */
    uint64_t open_files;
    uint64_t parked_reads;     /* waiting for bytes */
    uint64_t reads;            /* answered, ever */
    uint64_t bytes_read;       /* ever */
    const char *uring_why_not; /* a literal; NULL: requests come by io_uring */
    struct passthrough_facts passthrough;
};

/* A blob has become resident: its names lead to it at their next look-up, with all that only complete
 * files can have. From any thread; does not wait. */
void mount_arrived(struct mount *mount, const struct blob_key *key);

/* Bytes of this blob that readers may have seen were wrong: they are asked for anew. Likewise. */
void mount_spoiled(struct mount *mount, const struct blob_key *key);

/* Who has to do with a blob; of several, the last one listed. */
enum mount_use {
    MOUNT_IDLE,
    MOUNT_FOUND,   /* its name was looked up: it may be opened any moment */
    MOUNT_OPENED,  /* with its bytes, which stay whatever happens to the cache */
    MOUNT_WAITING, /* opened without them */
};

enum mount_use mount_use(struct mount *mount, const struct blob_key *key);

void mount_facts(struct mount *mount, struct mount_facts *ret_facts);

/* The version of libfuse as it is at run time, and whether this program was built to take requests by
 * io_uring. */
const char *mount_library_version(void);
bool mount_knows_uring(void);

/* The extended attributes that there are, one by one from 0 on: a name, and what its value is. NULL
 * after the last. */
const char *mount_xattr(size_t index, const char **ret_meaning);
