/* SPDX-License-Identifier: MIT */
/* A mount in many orders: three who walk, stat, open and read, two generations that come meanwhile,
 * bytes that arrive or fail, and signals. What must hold:
 *
 *   - who walks sees a generation that is not older than any that somebody had seen before;
 *   - bytes are those of the key that was opened;
 *   - each read is answered once, whatever comes first, bytes, failure or signal;
 *   - afterwards each name shows the last generation, counts included, and leads to the full face of
 *     a blob that is resident (unless the kernel overheard it: schedule_kernel.h);
 *   - in the end no look-up, open file or parked read is left. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "tests/fuzz/schedule_kernel.h"
#include "tests/fuzz/schedules.h"
#include "tests/unit/fs/provider_fixture.h"

#define GENERATIONS 3
#define CONTENTS 8
#define READERS 3
#define ROUNDS 4
#define WANTS_MAX 32
#define NONE CONTENTS

/* What each name is in each generation. The last two are one content in the end. */
static const unsigned shows[GENERATIONS][KERNEL_NAMES] = {
    {0, 1, 2, NONE},
    {0, 3, 2, 4},
    {0, 5, NONE, 5},
};

struct want {
    unsigned content;
    provider_done done;
    void *arg;
};

struct world {
    struct mount *mount;
    struct tree *trees[GENERATIONS];
    bool resident[CONTENTS];
    struct want wants[WANTS_MAX];
    unsigned want_count;
    unsigned newest; /* generation that somebody has seen */
    unsigned published;
    unsigned running;
    unsigned last_id;
};

static struct blob_key keys[CONTENTS];
static int files[CONTENTS]; /* memory files with their bytes, made once */

static size_t text_of(unsigned content, char text[static 32])
{
    return (size_t)snprintf(text, 32, "PAR1 content %u PAR1", content);
}

static void make_contents(void)
{
    char text[32];

    if (files[0])
        return;
    schedule_hush(true);
    for (unsigned i = 0; i < CONTENTS; i++) {
        const size_t size = text_of(i, text);

        blob_key_of_bytes(text, size, &keys[i]);
        files[i] = memfd_create("content", MFD_CLOEXEC);
        schedule_check(write(files[i], text, size) == (ssize_t)size);
    }
    schedule_hush(false);
}

static unsigned content_of(const struct blob_key *key)
{
    for (unsigned i = 0; i < CONTENTS; i++)
        if (blob_key_equal(&keys[i], key))
            return i;
    schedule_fail("a key that was never listed");
}

/* --- who has the bytes --- */

static bool fake_resident(void *arg, const struct blob_key *key)
{
    const struct world *world = arg;
    const bool resident = world->resident[content_of(key)];

    schedule_step();
    return resident;
}

static int fake_open(void *arg, const struct blob_key *key, int *ret_fd)
{
    if (!fake_resident(arg, key))
        return -ENOENT;
    *ret_fd = dup(files[content_of(key)]);
    return *ret_fd < 0 ? negative_errno() : 0;
}

static int fake_want(void *arg, const struct blob_key *key, uint64_t offset, uint64_t size,
                     pid_t reader, provider_done done, void *done_arg)
{
    struct world *world = arg;
    const struct want want = {content_of(key), done, done_arg};

    schedule_step();
    if (world->want_count == WANTS_MAX)
        return -EIO;
    world->wants[world->want_count++] = want;
    schedule_wake(&world->want_count);
    return 0;
}

static void fake_problem(void *arg, const struct blob_key *key, char ret_text[static 160])
{
    ret_text[0] = '\0';
}

static int fake_render(void *arg, const struct tree *tree, unsigned live, char **ret_text,
                       size_t *ret_size)
{
    return -ENOENT;
}

static int fake_register(void *arg, int fd)
{
    struct world *world = arg;

    schedule_step();
    return (int)++world->last_id;
}

static void fake_unregister(void *arg, int id)
{
    schedule_step();
}

/* --- the mount, without a session --- */

static struct tree *make_tree(unsigned generation)
{
    struct tree_builder *builder;
    struct tree *tree;
    char path[32];

    schedule_check(tree_builder_new(generation + 1, &builder) == 0);
    for (unsigned i = 0; i < KERNEL_NAMES; i++) {
        const unsigned content = shows[generation][i];

        snprintf(path, sizeof(path), "data/p/t%u", i);
        if (content != NONE)
            schedule_check(tree_builder_add_blob(builder, path, TREE_NO_ROW, &keys[content],
                                                 1000LL * (content + 1)) == 0);
    }
    schedule_check(tree_builder_freeze(builder, &tree) == 0);
    return tree;
}

static void mount_make(struct world *world)
{
    struct mount *mount = calloc(1, sizeof(*mount));
    const struct passthrough_kernel kernel = {world, fake_register, fake_unregister};
    struct tree_diff diff;

    mount->conf.provider = (struct provider){
        .arg = world,
        .open = fake_open,
        .find = fixture_find,
        .want = fake_want,
        .ahead = fixture_ahead,
        .resident = fake_resident,
        .problem = fake_problem,
        .render = fake_render,
    };
    view_init(&mount->view, world->trees[0]);
    live_init(&mount->live);
    schedule_check(inode_table_new(&mount->table) == 0);
    schedule_check(tree_diff_make(NULL, world->trees[0], &diff) == 0);
    schedule_check(inode_publish(mount->table, &diff, world->trees[0]) == 0);
    mount->counted = tree_ref(world->trees[0]);
    tree_diff_release(&diff);
    schedule_check(passthrough_new(&kernel, &mount->passthrough) == 0);
    if (schedule_random(2))
        passthrough_allow(mount->passthrough, NULL);
    schedule_check(notifier_new(mount, &mount->notifier) == 0);
    world->mount = mount;
}

static void mount_end(struct world *world)
{
    struct mount *mount = world->mount;
    struct inode_census census;
    struct passthrough_facts facts;

    notifier_free(mount->notifier);
    inode_census(mount->table, &census);
    schedule_check(census.lookups == 1 && census.opens == 0);
    schedule_check(inode_audit(mount->table, world->trees[GENERATIONS - 1]) == 0);
    schedule_check(mount->open_files == 0 && mount->parked_reads == 0);
    passthrough_facts(mount->passthrough, &facts);
    schedule_check(facts.files == 0);
    passthrough_free(mount->passthrough);
    inode_table_free(mount->table);
    tree_unref(mount->counted);
    live_release(&mount->live);
    view_release(&mount->view);
    free(mount);
}

/* --- who does what --- */

static void ended(struct world *world)
{
    world->running--;
    schedule_wake(&world->running);
}

/* The content behind an inode that somebody holds. */
static unsigned content_at(struct world *world, const struct kernel_inode *inode)
{
    struct inode_facts facts;

    if (!inode)
        return NONE;
    schedule_check(inode_facts(world->mount->table, inode->nodeid, &facts) == 0);
    return content_of(&facts.key);
}

/* The oldest generation, from `from` on, that shows this. */
static unsigned generation_of(unsigned name, unsigned content, unsigned from)
{
    while (from < GENERATIONS && shows[from][name] != content)
        from++;
    return from;
}

static void read_file(const struct kernel_inode *inode, struct fuse_file_info *file,
                      unsigned content)
{
    char wanted[32], found[32] = "";
    const size_t size = text_of(content, wanted);
    const int r = kernel_read(inode, file, found, sizeof(found));

    schedule_check(r == (int)size || r == -EINTR || r == -EIO || r == -ESTALE);
    schedule_check(r < 0 || !memcmp(found, wanted, size));
}

static void reader(void *arg)
{
    struct world *world = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        const unsigned name = (unsigned)schedule_random(KERNEL_NAMES);
        const unsigned from = world->newest;
        struct kernel_inode *inode = kernel_walk(name);
        const unsigned content = content_at(world, inode);
        const unsigned seen = generation_of(name, content, from);
        struct fuse_file_info file;
        struct stat attr;

        if (seen > world->published)
            schedule_fail("t%u shows %u after generation %u was seen, of %u", name, content, from,
                          world->published);
        if (seen > world->newest)
            world->newest = seen;
        if (!inode)
            continue;
        kernel_stat(inode, &attr);
        schedule_check((uint64_t)attr.st_size == keys[content].size && attr.st_nlink <= 2);
        if (kernel_open(inode, &file) == 0) {
            if (!file.backing_id)
                read_file(inode, &file, content);
            kernel_close(inode, &file);
        }
        kernel_drop(inode);
    }
    ended(world);
}

static void publisher(void *arg)
{
    struct world *world = arg;

    for (unsigned i = 1; i < GENERATIONS; i++) {
        world->published = i;
        mount_publish(world->mount, world->trees[i]);
        world->newest = i;
    }
    ended(world);
}

static void end_want(struct world *world)
{
    const size_t which = schedule_random(world->want_count);
    const struct want want = world->wants[which];
    const bool well = schedule_random(4) > 0;

    world->wants[which] = world->wants[--world->want_count];
    schedule_step();
    if (well && !world->resident[want.content]) {
        world->resident[want.content] = true;
        schedule_step();
        mount_arrived(world->mount, &keys[want.content]);
    }
    want.done(want.arg, well ? 0 : -EIO);
}

/* The transfers' thread: to the end, since whoever waits must get an answer. */
static void carrier(void *arg)
{
    struct world *world = arg;

    while (world->running > 0 || world->want_count > 0) {
        if (world->want_count > 0)
            end_want(world);
        else
            schedule_wait(&world->want_count);
    }
}

/* A prefetch: bytes that nobody has asked for. */
static void prefetcher(void *arg)
{
    struct world *world = arg;

    for (unsigned i = 0; i < 3; i++) {
        const unsigned content = (unsigned)schedule_random(CONTENTS);

        schedule_step();
        if (world->resident[content])
            continue;
        world->resident[content] = true;
        schedule_step();
        mount_arrived(world->mount, &keys[content]);
    }
    ended(world);
}

static void killer(void *arg)
{
    for (unsigned i = 0; i < 80; i++) {
        schedule_step();
        kernel_interrupt();
    }
    ended(arg);
}

/* --- and what is left --- */

static void check_name(struct world *world, unsigned name)
{
    const unsigned wanted = shows[GENERATIONS - 1][name];
    struct kernel_inode *inode = kernel_walk(name);
    struct stat attr;
    unsigned links = 0;

    schedule_check(content_at(world, inode) == wanted);
    if (!inode)
        return;
    for (unsigned i = 0; i < KERNEL_NAMES; i++)
        links += shows[GENERATIONS - 1][i] == wanted;
    kernel_stat(inode, &attr);
    schedule_check(attr.st_nlink == links);
    if (world->resident[wanted] != (inode->nodeid & 1) && !kernel_overheard)
        schedule_fail("t%u leads to the %s face", name, inode->nodeid & 1 ? "full" : "lazy");
    kernel_drop(inode);
}

void try_switch(void *arg)
{
    struct world world = {.running = READERS + 3};

    make_contents();
    for (unsigned i = 0; i < GENERATIONS; i++)
        world.trees[i] = make_tree(i);
    mount_make(&world);
    kernel_start(world.mount);
    for (unsigned i = 0; i < READERS; i++)
        schedule_spawn(reader, &world);
    schedule_spawn(publisher, &world);
    schedule_spawn(prefetcher, &world);
    schedule_spawn(killer, &world);
    schedule_spawn(carrier, &world);
    while (world.running > 0)
        schedule_wait(&world.running);
    schedule_wake(&world.want_count);
    schedule_settle();
    for (unsigned i = 0; i < KERNEL_NAMES; i++)
        check_name(&world, i);
    kernel_stop();
    mount_end(&world);
    for (unsigned i = 0; i < GENERATIONS; i++)
        tree_unref(world.trees[i]);
}
