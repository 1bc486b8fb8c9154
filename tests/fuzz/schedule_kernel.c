/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/schedule_kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/schedules.h"

#define FOLDER "data/p"
#define INODES_MAX 64
#define REQUESTS_MAX 16

/* A name as the kernel has it. Whoever walked over it may still use it when it is hashed no more. */
struct entry {
    struct kernel_inode *inode; /* NULL: there is no such name */
    bool fresh;                 /* need not be asked about */
    unsigned asking;            /* how many ask the mount about it */
    unsigned uses;
};

struct request {
    bool answered;
    int error;
    struct fuse_entry_param entry;
    struct stat attr;
    struct fuse_file_info *file;
    char *buffer;
    int size;
    fuse_interrupt_func_t on_interrupt;
    void *on_interrupt_arg;
    bool signalled;
    bool interrupted;
    bool arming; /* in fuse_req_interrupt_func, which may not be left with the request answered */
    unsigned uses;
};

static struct mount *mount;
static uint64_t folder; /* its nodeid */
static struct entry *names[KERNEL_NAMES];
static struct kernel_inode *inodes[INODES_MAX];
static uint64_t version;
static struct request *waiting[REQUESTS_MAX]; /* reads */
static const char folder_lock;

bool kernel_overheard;

/* --- requests --- */

static fuse_req_t as_req(struct request *request)
{
    return (fuse_req_t)(void *)request;
}

static struct request *of_req(fuse_req_t req)
{
    return (struct request *)(void *)req;
}

static int answer(fuse_req_t req, int error)
{
    struct request *request = of_req(req);

    schedule_check(!request->answered && !request->arming);
    request->answered = true;
    request->error = error;
    request->on_interrupt = NULL;
    schedule_wake(request);
    schedule_step();
    return 0;
}

/* That of a forget is not waited for. */
static void await(struct request *request)
{
    while (!request->answered)
        schedule_wait(request);
}

/* --- what the mount calls of libfuse --- */

void *__wrap_fuse_req_userdata(fuse_req_t req);
const struct fuse_ctx *__wrap_fuse_req_ctx(fuse_req_t req);
int __wrap_fuse_reply_err(fuse_req_t req, int error);
void __wrap_fuse_reply_none(fuse_req_t req);
int __wrap_fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *entry);
int __wrap_fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout);
int __wrap_fuse_reply_open(fuse_req_t req, const struct fuse_file_info *file);
int __wrap_fuse_reply_buf(fuse_req_t req, const char *data, size_t size);
void __wrap_fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *arg);
int __wrap_fuse_lowlevel_notify_inval_entry(struct fuse_session *session, fuse_ino_t parent,
                                            const char *name, size_t size);
int __wrap_fuse_lowlevel_notify_expire_entry(struct fuse_session *session, fuse_ino_t parent,
                                             const char *name, size_t size);
int __wrap_fuse_lowlevel_notify_inval_inode(struct fuse_session *session, fuse_ino_t nodeid,
                                            off_t offset, off_t length);

void *__wrap_fuse_req_userdata(fuse_req_t req)
{
    (void)req;
    return mount;
}

const struct fuse_ctx *__wrap_fuse_req_ctx(fuse_req_t req)
{
    static const struct fuse_ctx nobody;

    (void)req;
    return &nobody;
}

int __wrap_fuse_reply_err(fuse_req_t req, int error)
{
    return answer(req, error);
}

void __wrap_fuse_reply_none(fuse_req_t req)
{
    answer(req, 0);
}

int __wrap_fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *entry)
{
    of_req(req)->entry = *entry;
    return answer(req, 0);
}

int __wrap_fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout)
{
    (void)timeout;
    of_req(req)->attr = *attr;
    return answer(req, 0);
}

int __wrap_fuse_reply_open(fuse_req_t req, const struct fuse_file_info *file)
{
    *of_req(req)->file = *file;
    return answer(req, 0);
}

int __wrap_fuse_reply_buf(fuse_req_t req, const char *data, size_t size)
{
    memcpy(of_req(req)->buffer, data, size);
    of_req(req)->size = (int)size;
    return answer(req, 0);
}

/* As libfuse: under the request's lock, and at once when it was interrupted before. */
void __wrap_fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *arg)
{
    struct request *request = of_req(req);

    schedule_lock(request);
    request->on_interrupt = func;
    request->on_interrupt_arg = arg;
    request->arming = true;
    if (request->interrupted && func)
        func(req, arg);
    request->arming = false;
    schedule_unlock(request);
}

/* --- inodes --- */

static struct kernel_inode **find_inode(uint64_t nodeid)
{
    struct kernel_inode **none = NULL;

    for (unsigned i = 0; i < INODES_MAX; i++) {
        if (inodes[i] && inodes[i]->nodeid == nodeid)
            return &inodes[i];
        if (!inodes[i])
            none = &inodes[i];
    }
    schedule_check(none);
    return none;
}

static void forget(uint64_t nodeid, uint64_t lookups)
{
    struct request request = {0};

    schedule_step();
    mount_ops.forget(as_req(&request), nodeid, lookups);
    schedule_check(request.answered);
}

void kernel_drop(struct kernel_inode *inode)
{
    struct kernel_inode gone = *inode;

    if (--inode->uses > 0)
        return;
    *find_inode(inode->nodeid) = NULL;
    free(inode);
    forget(gone.nodeid, gone.lookups);
}

/* Attributes that were asked for when `asked` was the version. */
static void keep_attr(struct kernel_inode *inode, const struct stat *attr, uint64_t asked)
{
    if (inode->attr_version > asked)
        return;
    inode->attr = *attr;
    inode->attr_kept = true;
}

/* A look-up's answer: one more of them, and a use for the caller. */
static struct kernel_inode *inode_get(const struct fuse_entry_param *entry, uint64_t asked)
{
    struct kernel_inode **place = find_inode(entry->ino);

    if (!*place) {
        *place = calloc(1, sizeof(**place));
        (*place)->nodeid = entry->ino;
    }
    (*place)->lookups++;
    (*place)->uses++;
    keep_attr(*place, &entry->attr, asked);
    return *place;
}

int __wrap_fuse_lowlevel_notify_inval_inode(struct fuse_session *session, fuse_ino_t nodeid,
                                            off_t offset, off_t length)
{
    struct kernel_inode *inode = *find_inode(nodeid);

    (void)session, (void)offset, (void)length;
    if (inode) {
        inode->attr_kept = false;
        inode->attr_version = ++version;
    }
    schedule_step();
    return inode ? 0 : -ENOENT;
}

void kernel_stat(struct kernel_inode *inode, struct stat *ret_attr)
{
    const uint64_t asked = version;
    struct request request = {0};

    if (inode->attr_kept) {
        *ret_attr = inode->attr;
        return;
    }
    mount_ops.getattr(as_req(&request), inode->nodeid, NULL);
    await(&request);
    schedule_check(request.error == 0);
    keep_attr(inode, &request.attr, asked);
    *ret_attr = request.attr;
}

/* --- names --- */

static void name_of(unsigned name, char text[static 8])
{
    snprintf(text, 8, "t%u", name);
}

static void entry_put(struct entry *entry)
{
    struct kernel_inode *inode = entry->inode;

    if (--entry->uses > 0)
        return;
    free(entry);
    if (inode)
        kernel_drop(inode);
}

static void unhash(unsigned name, const struct entry *entry)
{
    struct entry *known = names[name];

    if (!known || (entry && known != entry))
        return;
    names[name] = NULL;
    entry_put(known);
}

static void look_up(uint64_t parent, const char *name, struct request *request)
{
    schedule_step();
    mount_ops.lookup(as_req(request), parent, name);
    await(request);
    schedule_check(request->error == 0);
    schedule_step();
}

/* Is an entry that may be outdated still right? Holds no lock. */
static bool revalidate(unsigned name, struct entry *entry)
{
    const uint64_t asked = version;
    struct request request = {0};
    char text[8];

    if (!entry->inode)
        return false;
    name_of(name, text);
    entry->asking++;
    look_up(folder, text, &request);
    entry->asking--;
    if (request.entry.ino != entry->inode->nodeid) {
        if (request.entry.ino)
            forget(request.entry.ino, 1);
        return false;
    }
    entry->inode->lookups++;
    keep_attr(entry->inode, &request.entry.attr, asked);
    entry->fresh = request.entry.entry_timeout > 0;
    return true;
}

/* A use of the entry's inode for the caller. */
static struct kernel_inode *walked(struct entry *entry)
{
    if (entry->inode)
        entry->inode->uses++;
    return entry->inode;
}

/* The folder's lock is held. */
static void fill(unsigned name)
{
    const uint64_t asked = version;
    struct request request = {0};
    struct entry *entry = calloc(1, sizeof(*entry));
    char text[8];

    name_of(name, text);
    look_up(folder, text, &request);
    if (request.entry.ino)
        entry->inode = inode_get(&request.entry, asked);
    entry->fresh = request.entry.entry_timeout > 0;
    entry->uses = 1;
    names[name] = entry;
}

struct kernel_inode *kernel_walk(unsigned name)
{
    struct kernel_inode *inode;

    for (;;) {
        struct entry *entry = names[name];
        bool right;

        if (!entry) {
            schedule_lock(&folder_lock);
            if (names[name]) {
                schedule_unlock(&folder_lock);
                continue;
            }
            fill(name);
            inode = walked(names[name]);
            schedule_unlock(&folder_lock);
            return inode;
        }
        entry->uses++;
        right = entry->fresh || revalidate(name, entry);
        inode = right ? walked(entry) : NULL;
        if (!right)
            unhash(name, entry);
        entry_put(entry);
        if (right)
            return inode;
    }
}

static int name_number(uint64_t parent, const char *name)
{
    char text[8];

    for (unsigned i = 0; parent == folder && i < KERNEL_NAMES; i++) {
        name_of(i, text);
        if (!strcmp(text, name))
            return (int)i;
    }
    return -1;
}

int __wrap_fuse_lowlevel_notify_inval_entry(struct fuse_session *session, fuse_ino_t parent,
                                            const char *name, size_t size)
{
    const int number = name_number(parent, name);

    (void)session, (void)size;
    schedule_lock(&folder_lock);
    if (number >= 0)
        unhash((unsigned)number, NULL);
    schedule_unlock(&folder_lock);
    return 0;
}

int __wrap_fuse_lowlevel_notify_expire_entry(struct fuse_session *session, fuse_ino_t parent,
                                             const char *name, size_t size)
{
    const int number = name_number(parent, name);

    (void)session, (void)size;
    schedule_lock(&folder_lock);
    if (number >= 0 && names[number]) {
        names[number]->fresh = false;
        kernel_overheard |= names[number]->asking > 0;
    }
    schedule_unlock(&folder_lock);
    return 0;
}

/* --- files --- */

int kernel_open(const struct kernel_inode *inode, struct fuse_file_info *ret_file)
{
    struct request request = {.file = ret_file};

    *ret_file = (struct fuse_file_info){0};
    mount_ops.open(as_req(&request), inode->nodeid, ret_file);
    await(&request);
    return request.error;
}

void kernel_close(const struct kernel_inode *inode, struct fuse_file_info *file)
{
    struct request request = {0};

    mount_ops.release(as_req(&request), inode->nodeid, file);
    await(&request);
}

static void request_put(struct request *request)
{
    if (--request->uses == 0)
        free(request);
}

int kernel_read(const struct kernel_inode *inode, struct fuse_file_info *file, char *buffer,
                size_t size)
{
    struct request *request = calloc(1, sizeof(*request));
    unsigned place = 0;
    int r;

    request->uses = 1;
    request->buffer = buffer;
    while (waiting[place])
        schedule_check(++place < REQUESTS_MAX);
    waiting[place] = request;
    mount_ops.read(as_req(request), inode->nodeid, size, 0, file);
    await(request);
    waiting[place] = NULL;
    r = request->error ? -request->error : request->size;
    request_put(request);
    return r;
}

/* The kernel says so once a request (queue_interrupt in fs/fuse/dev.c), and libfuse calls back under
 * the request's lock. */
void kernel_interrupt(void)
{
    struct request *request = waiting[schedule_random(REQUESTS_MAX)];

    if (!request || request->answered || request->signalled)
        return;
    request->signalled = true;
    request->uses++;
    schedule_lock(request);
    request->interrupted = true;
    if (request->on_interrupt)
        request->on_interrupt(as_req(request), request->on_interrupt_arg);
    schedule_unlock(request);
    request_put(request);
}

/* --- beginning and end --- */

void kernel_start(struct mount *of)
{
    struct request data = {0}, p = {0};

    mount = of;
    kernel_overheard = false;
    look_up(FUSE_ROOT_ID, "data", &data);
    look_up(data.entry.ino, "p", &p);
    folder = p.entry.ino;
    schedule_check(folder);
    forget(data.entry.ino, 1);
}

void kernel_stop(void)
{
    for (unsigned i = 0; i < KERNEL_NAMES; i++)
        unhash(i, NULL);
    for (unsigned i = 0; i < INODES_MAX; i++)
        schedule_check(!inodes[i]);
    forget(folder, 1);
}
