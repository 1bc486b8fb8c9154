/* SPDX-License-Identifier: MIT */
/* The stages. Nothing here allocates while the fault is armed, but what is under test. */
#include "tests/crash/fault_scene.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "cache/store.h"
#include "cache/sweep.h"
#include "fs/inode.h"
#include "sync/engine.h"
#include "sync/state.h"

#define PATIENCE_MS 20000

struct life {
    const struct scene *scene;
    struct outcome *outcome;
    char root[200];
    const struct source *source;
    struct store *store;
    struct engine *engine;
    bool started;
    struct inode_table *table;
    struct tree *shown; /* what the table counts */
    bool counted;       /* the store has counted before anything failed */
    struct report *report;
};

const char *stage_name(enum stage stage)
{
    static const char *const names[] = {"open", "sync", "read", "close", "check"};

    return names[stage];
}

#define SAY(life, ...)                                                                             \
    do {                                                                                           \
        if (!(life)->outcome->text[0])                                                             \
            snprintf((life)->outcome->text, sizeof((life)->outcome->text), __VA_ARGS__);           \
    } while (0)

/* --- a folder of files --- */

static int copy_file(const char *from, const char *to, mode_t mode)
{
    scoped_fd int in = open(from, O_RDONLY | O_CLOEXEC);
    scoped_fd int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    char bytes[65536];
    ssize_t n;

    if (in < 0 || out < 0)
        return -errno;
    while ((n = read(in, bytes, sizeof(bytes))) > 0)
        if (write(out, bytes, (size_t)n) != n)
            return -EIO;
    return fchmod(out, mode) < 0 ? -errno : 0;
}

static int copy_folder(const char *from, const char *to)
{
    scoped_dir DIR *dir = opendir(from);
    struct dirent *entry;
    int r = dir && mkdir(to, 0700) == 0 ? 0 : -errno;

    while (r == 0 && (entry = readdir(dir))) {
        char source[512], target[512];
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(source, sizeof(source), "%s/%s", from, entry->d_name);
        snprintf(target, sizeof(target), "%s/%s", to, entry->d_name);
        if (lstat(source, &st) < 0)
            return -errno;
        r = S_ISDIR(st.st_mode) ? copy_folder(source, target)
                                : copy_file(source, target, st.st_mode & 07777);
    }
    return r;
}

/* --- stages --- */

static struct engine_conf conf_of(const struct life *life)
{
    return (struct engine_conf){
        .store = life->store,
        .source = life->source,
        .jobs = 2,
        .timeout_s = 5,
        .prefetch = PREFETCH_NONE,
        .user_agent = "agnesfs/test",
        .proxy = "",
        .decoration = "as it is",
    };
}

static int open_all(struct life *life)
{
    int r = life->store ? 0 : store_open(life->root, STORE_WRITER, &life->store);

    if (r == 0 && !life->engine) {
        struct engine_conf conf = conf_of(life);

        r = engine_new(&conf, &life->engine);
    }
    if (r == 0 && !life->table)
        r = inode_table_new(&life->table);
    if (r == 0 && !life->started)
        r = engine_start(life->engine);
    life->started = life->started || (r == 0 && life->engine);
    return r;
}

/* An engine that could not be started is of no use. */
static void end_engine(struct life *life)
{
    engine_free(take_ptr(life->engine));
    life->started = false;
}

static void close_all(struct life *life)
{
    end_engine(life);
    inode_table_free(take_ptr(life->table));
    store_close(take_ptr(life->store));
    life->counted = false;
}

/* 0 only if the report says that all went well. */
static int refresh(struct life *life, unsigned flags)
{
    uint64_t ticket = 0;
    int r = engine_refresh(life->engine, flags, &ticket);

    report_free(take_ptr(life->report));
    if (r == 0)
        r = engine_wait(life->engine, ticket, PATIENCE_MS, &life->report);
    if (r == -ETIMEDOUT)
        SAY(life, "a refresh did not end");
    if (r < 0)
        return r;
    if (life->report->error < 0)
        return life->report->error;
    return life->report->error_count > 0 ? life->report->errors[0].error : 0;
}

/* The table follows the engine, as the mount's does. */
static void show(struct life *life)
{
    struct tree *tree = engine_tree(life->engine);
    struct tree_diff diff;

    if (tree && tree != life->shown && tree_diff_make(life->shown, tree, &diff) == 0) {
        int r = inode_publish(life->table, &diff, tree);

        tree_diff_release(&diff);
        if (r == 0) {
            struct tree *old = life->shown;

            life->shown = tree;
            tree = old;
        }
    }
    tree_unref(tree);
}

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended;
    int error;
};

static void on_bytes(void *arg, const struct want_result *result)
{
    struct waiting *waiting = arg;

    scoped_lock(&waiting->lock);
    waiting->ended = true;
    waiting->error = result->error;
    pthread_cond_signal(&waiting->changed);
}

static int await_bytes(struct life *life, const struct blob_key *key)
{
    struct waiting waiting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};
    struct timespec until;
    int r = engine_want(life->engine, key, 0, 0, on_bytes, &waiting);

    if (r < 0)
        return r;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    scoped_lock(&waiting.lock);
    while (!waiting.ended)
        if (pthread_cond_timedwait(&waiting.changed, &waiting.lock, &until) == ETIMEDOUT) {
            SAY(life, "a want did not end");
            _exit(0);
        }
    return waiting.error;
}

static void read_blob(struct life *life, const struct tree_blob *blob)
{
    struct inode_facts facts;
    struct inode_open open = {.next = NULL};
    unsigned char bytes[512];
    int fd = -1;

    if (inode_lookup_blob(life->table, blob, FACE_LAZY, &facts) < 0)
        return;
    if (inode_open(life->table, facts.nodeid, &open, &facts) == 0) {
        int r = store_get(life->store, &blob->key, &fd);

        if (r == -ENOENT || r == -EUCLEAN)
            r = await_bytes(life, &blob->key);
        if (r == 0 && fd < 0)
            r = store_get(life->store, &blob->key, &fd);
        if (r == 0 && pread(fd, bytes, 4, 0) == 4 && blob->key.kind == BLOB_MD5 &&
            memcmp(bytes, "PAR1", 4) != 0)
            SAY(life, "wrong bytes were read");
        if (fd >= 0)
            close(fd);
        inode_close(life->table, &open);
    }
    inode_forget(life->table, facts.nodeid, 1);
}

static void read_all(struct life *life)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(life->engine);
    struct inode_facts facts;

    show(life);
    for (uint32_t i = 0; tree && i < tree_blob_count(tree); i++)
        read_blob(life, tree_blob(tree, i));
    if (inode_lookup_dir(life->table, "data/sales", 1, &facts) == 0)
        inode_forget(life->table, facts.nodeid, 1);
    if (inode_lookup_text(life->table, "text", 4, &(struct blob_key){.kind = BLOB_XXH, .size = 4},
                          1, &facts) == 0)
        inode_forget(life->table, facts.nodeid, 1);
    if (engine_pin(life->engine, "sales/*") == 0 && engine_unpin(life->engine, "sales/*") < 0)
        engine_unpin(life->engine, "sales/*");
}

static void on_finding(void *arg, const struct audit_finding *finding)
{
    unsigned *findings = arg;

    (void)finding;
    ++*findings;
}

static int audit(struct life *life, unsigned *ret_findings)
{
    const struct audit_options deep = {.deep = true};
    scoped(tree_unrefp) struct tree *tree = engine_tree(life->engine);
    struct blob_key keys[64];
    uint32_t count = tree ? (uint32_t)tree_blob_count(tree) : 0;

    *ret_findings = 0;
    if (count > 64)
        abort();
    for (uint32_t i = 0; i < count; i++)
        keys[i] = tree_blob(tree, i)->key;
    return store_audit(life->store, &(struct store_keep){keys, count},
                       &(struct store_keep){keys, count}, &deep, on_finding, ret_findings);
}

/* What the store thinks that it holds, and what it does. */
static void check_account(struct life *life)
{
    struct budget_facts facts;
    struct store_usage usage;

    store_budget(life->store, &facts);
    if (!facts.exact) {
        store_recount(life->store);
        store_budget(life->store, &facts);
    }
    if (store_usage(life->store, &usage) < 0 || facts.used != usage.bytes + usage.partial_bytes)
        SAY(life, "the account says %llu bytes, there are %llu", (unsigned long long)facts.used,
            (unsigned long long)(usage.bytes + usage.partial_bytes));
}

static void check_all(struct life *life)
{
    const struct tree *first = life->scene->trees[0];
    struct state state = {.tree = NULL};
    char message[200];
    bool previous;
    unsigned findings;
    int fd;

    for (uint32_t i = 0; i < tree_blob_count(first); i++) {
        const struct blob_key *key = &tree_blob(first, i)->key;

        if (store_verify(life->store, key) == -EBADMSG)
            SAY(life, "a blob that is right was called wrong");
        if (store_get(life->store, key, &fd) == 0)
            close(fd);
    }
    if (audit(life, &findings) == 0 && findings > 0)
        SAY(life, "%u findings in a cache that is right", findings);
    store_recount(life->store);
    if (state_load(store_dirfd(life->store), NULL, NULL, &state, &previous, message) == 0)
        tree_unref(state.tree);
    store_flush(life->store);
    store_save_trust(life->store);
}

/* --- a life --- */

/* Everything before the stage, without a fault. */
static void lead_up(struct life *life, enum stage stage)
{
    if (stage == STAGE_CHECK) {
        char marker[256];

        snprintf(marker, sizeof(marker), "%s/clean", life->root);
        unlink(marker);
    }
    if (stage != STAGE_OPEN && open_all(life) < 0)
        SAY(life, "it does not even open");
    life->counted = life->store && store_recount(life->store) == 0;
    if (stage == STAGE_OPEN || stage == STAGE_SYNC || stage == STAGE_CHECK)
        return;
    if (stage == STAGE_READ && refresh(life, 0) < 0)
        SAY(life, "it does not even refresh");
    else if (stage == STAGE_CLOSE && refresh(life, REFRESH_FILL) < 0)
        SAY(life, "it does not even fill");
}

/* What is not checked, and what is not freed. */
static void sabotage(const char *how)
{
    volatile char *block = *how ? malloc(16) : NULL;

    if (strcmp(how, "crash") == 0)
        block[0] = 1;
}

static void go(struct life *life, enum stage stage)
{
    switch (stage) {
    case STAGE_OPEN: open_all(life); break;
    case STAGE_SYNC: refresh(life, REFRESH_FILL); break;
    case STAGE_READ: read_all(life); break;
    case STAGE_CLOSE: close_all(life); break;
    case STAGE_CHECK:
    default: check_all(life); break;
    }
}

/* The same process, if it came up at all. A key that failed rests for two seconds at most. */
static void heal(struct life *life)
{
    const struct timespec moment = {.tv_nsec = 20000000};
    unsigned findings = 0;
    int r = -EAGAIN;

    if (!life->started)
        end_engine(life);
    r = open_all(life);
    if (r < 0) {
        SAY(life, "it does not open afterwards: %s", strerror(-r));
        return;
    }
    for (int round = 0; round < 200 && (r = refresh(life, REFRESH_FILL)) < 0; round++)
        nanosleep(&moment, NULL);
    if (r < 0)
        SAY(life, "it does not refresh afterwards: %s; %.150s", strerror(-r),
            !life->report               ? ""
            : life->report->error_count ? life->report->errors[0].reason
                                        : life->report->message);
    if (life->report && life->report->invariant_count)
        SAY(life, "an invariant is violated: %.200s", life->report->invariant_violations[0]);
    read_all(life);
    if (life->shown && inode_audit(life->table, life->shown) < 0)
        SAY(life, "references are counted wrong");
    r = audit(life, &findings);
    if (r < 0 || findings > 0)
        SAY(life, "an audit finds %u: %s", findings, strerror(-r));
    if (life->counted)
        check_account(life);
}

static void tell(struct life *life, const char *when, const char *wrong)
{
    if (wrong)
        SAY(life, "%s: %s", when, wrong);
}

static void live(struct life *life, enum stage stage, enum fault_call call, int error, unsigned at,
                 int persistent)
{
    struct outcome *outcome = life->outcome;
    char marker[256];
    bool well;

    lead_up(life, stage);
    outcome->step = 1;
    fault_arm(&outcome->fault, call, error, at, persistent);
    sabotage(life->scene->sabotage);
    if (stage == STAGE_SYNC)
        well = refresh(life, REFRESH_FILL) == 0;
    else
        well = (go(life, stage), false);
    atomic_store(&outcome->fault.armed, 0);
    outcome->step = 2;
    tell(life, well ? "right after a success" : "right after it",
         check_disk(life->scene, life->root,
                    error == EDQUOT ? DUE_NOTHING
                    : well          ? DUE_EVERYTHING
                                    : DUE_LAST_GOOD));
    outcome->step = 3;
    heal(life);
    outcome->step = 4;
    close_all(life);
    outcome->step = 5;
    tell(life, "in the end", check_disk(life->scene, life->root, DUE_EVERYTHING));
    snprintf(marker, sizeof(marker), "%s/clean", life->root);
    if (access(marker, F_OK) < 0)
        SAY(life, "the end was not orderly");
    report_free(take_ptr(life->report));
    tree_unref(take_ptr(life->shown));
}

void scene_play(const struct scene *scene, const char *folder, enum stage stage,
                enum fault_call call, int error, unsigned at, int persistent,
                struct outcome *outcome)
{
    struct life life = {.scene = scene, .outcome = outcome};
    scoped(source_freep) struct source *source = NULL;
    char gold[256];
    unsigned descriptors = check_descriptors();

    snprintf(gold, sizeof(gold), "%s/gold", scene->folder);
    snprintf(life.root, sizeof(life.root), "%s", folder);
    if (copy_folder(gold, life.root) < 0 || source_parse(scene->second, &source) < 0) {
        SAY(&life, "no copy: %s", strerror(errno));
        return;
    }
    life.source = source;
    fault_use(&outcome->fault);
    fault_track();
    live(&life, stage, call, error, at, persistent);
    outcome->step = 6;
    if (!outcome->text[0] && check_descriptors() != descriptors)
        SAY(&life, "%u descriptors, %u before", check_descriptors(), descriptors);
    unsigned leaks = fault_leaks();

    if (leaks > 0)
        SAY(&life, "%u blocks of memory are left", leaks);
    outcome->step = 7;
}

/* --- the beginning --- */

static int learn(const struct scene *scene, const char *manifest, const char *name,
                 struct tree **ret_tree)
{
    struct outcome outcome = {.step = 0};
    struct life life = {.scene = scene, .outcome = &outcome};
    scoped(source_freep) struct source *source = NULL;
    int r = source_parse(manifest, &source);

    life.source = source;
    snprintf(life.root, sizeof(life.root), "%s/%s", scene->folder, name);
    if (r == 0)
        r = open_all(&life);
    if (r == 0)
        r = refresh(&life, REFRESH_FILL);
    if (r == 0)
        *ret_tree = engine_tree(life.engine);
    close_all(&life);
    report_free(life.report);
    return r;
}

int scene_prepare(struct scene *scene)
{
    int r = learn(scene, scene->first, "gold", &scene->trees[0]);

    return r < 0 ? r : learn(scene, scene->second, "other", &scene->trees[1]);
}
