/* SPDX-License-Identifier: MIT */
/* complete_live.c - what only this machine knows: its mounts, and what its caches list. The cache is
 * read as `ls` reads it, but without opening the store: a table's name is all that is wanted. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "fs/cli/catalogue.h"
#include "fs/cli/complete_private.h"
#include "fs/cli/control.h"
#include "fs/cli/discovery.h"
#include "fs/cli/mounts.h"
#include "fs/cli/options.h"
#include "fs/cli/paths.h"
#include "sync/json.h"
#include "sync/pins.h"
#include "sync/state.h"
#include "sync/state_image.h"

/* --- the deadline --- */

static void give_up(int signal)
{
    _exit(EXIT_SUCCESS);
}

/* From here on files are read that may be long, or lie on a disk that is slow. */
static void set_deadline(void)
{
    const struct sigaction action = {.sa_handler = give_up};
    const struct itimerval timer = {.it_value = {.tv_usec = COMPLETE_MS * 1000}};

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* --- mounts --- */

/* Spelled as the current word is: relative to the home folder, to this one, or absolute. */
static void offer_mount(const struct completion *completion, const char *path)
{
    const char *current = completion->current;
    const char *home = getenv("HOME");
    scoped_free char *folder = get_current_dir_name();
    bool from_home = strncmp(current, "~/", 2) == 0;
    const char *base = from_home ? home : folder;
    size_t length = base ? strlen(base) : 0;

    if (*current != '/' && length > 1 && strncmp(path, base, length) == 0 && path[length] == '/')
        complete_offer(completion, from_home ? "~/" : "", path + length + 1, "mount");
    else if (!from_home)
        complete_offer(completion, "", path, "mount");
}

void complete_mounts(const struct completion *completion)
{
    scoped(mounts_release) struct mounts mounts = {0};

    set_deadline();
    if (mounts_read("/proc/self/mountinfo", &mounts) < 0)
        return;
    for (size_t i = 0; i < mounts.count; i++) {
        const struct mounts_line *line = &mounts.lines[i];

        if (mounts_is_agnesfs(line) && (getuid() == 0 || line->user == getuid()))
            offer_mount(completion, line->point);
    }
}

/* --- the cache --- */

struct places {
    char *cache;
    char *state;
};

static void places_release(struct places *places)
{
    free(places->cache);
    free(places->state);
    *places = (struct places){0};
}

/* Those of the source that the verb would take, from what has been typed so far. */
static void find_configured(const struct completion *completion, struct places *ret_places)
{
    scoped(options_freep) struct options *options = NULL;
    scoped_free char **words = calloc((size_t)completion->count + 1, sizeof(*words));
    struct discovery discovery;
    struct complaint complaint;

    if (!words)
        return;
    memcpy(words, completion->words, (size_t)completion->count * sizeof(*words));
    words[completion->count - 1] = (char *)"x"; /* what is typed is no word yet */
    if (options_parse(completion->verb, completion->count, words, OPTIONS_SYSTEM_FILE, &options,
                      &complaint) < 0 ||
        discovery_find(NULL, options, &discovery, &complaint) < 0)
        return;
    if (paths_cache(options_text(options, OPTION_CACHE_DIR), discovery.source, &ret_places->cache) <
            0 ||
        paths_state(discovery.source, &ret_places->state) < 0)
        places_release(ret_places);
    discovery_release(&discovery);
}

/* Those of the only mount there is. Its process answers without asking anybody. */
static void find_mounted(struct places *ret_places)
{
    const struct control_request request = {.verb = "status"};
    const struct json_limits limits = {.bytes = 1 << 20, .depth = 32};
    scoped(control_list_freep) char **list = NULL;
    scoped(json_freep) struct json *root = NULL;
    scoped_free char *runtime = NULL;
    scoped_free char *text = NULL;
    struct json_error error;
    const char *cache;
    const char *state;
    size_t size;

    if (paths_runtime(&runtime) < 0 || control_list(runtime, &list) < 0 || !list[0] || list[1] ||
        control_ask(runtime, list[0], &request, COMPLETE_MS / 2, &text, &size) < 0 ||
        json_parse(text, size, &limits, &root, &error) < 0)
        return;
    cache = json_string(json_get(root, "cache_dir"));
    state = json_string(json_get(root, "state_dir"));
    ret_places->cache = cache ? strdup(cache) : NULL;
    ret_places->state = state ? strdup(state) : NULL;
}

static int load_from(const struct places *places, struct state *ret_state)
{
    scoped_fd int dirfd = places->cache ? open(places->cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                        : -1;
    char why[160];
    bool previous;

    if (dirfd < 0)
        return -ENOENT;
    if (state_image_load(dirfd, NULL, ret_state) ==
        0) /* many times as fast, but not always there */
        return 0;
    return state_load(dirfd, NULL, NULL, ret_state, &previous, why);
}

/* The tree that is known, NULL if none is; it is the state's. */
static const struct tree *load(const struct completion *completion, struct state *ret_state)
{
    scoped(places_release) struct places places = {0};

    set_deadline();
    find_configured(completion, &places);
    if (load_from(&places, ret_state) == 0)
        return ret_state->tree;
    places_release(&places);
    find_mounted(&places);
    return load_from(&places, ret_state) == 0 ? ret_state->tree : NULL;
}

/* --- tables --- */

struct steps {
    const struct completion *completion;
    char *last; /* neighbours share their folder: it is offered once */
};

/* The name, up to the first slash behind what is typed. */
static void offer_step(struct steps *steps, const char *name, const char *description)
{
    const char *current = steps->completion->current;
    size_t given = strlen(current);

    if (strncmp(name, current, given) != 0)
        return;

    size_t rest = strcspn(name + given, "/");
    bool folder = name[given + rest] == '/';
    scoped_free char *step = strndup(name, given + rest + folder);

    if (!step || (steps->last && strcmp(step, steps->last) == 0))
        return;
    complete_offer(steps->completion, "", step, folder ? NULL : description);
    free(steps->last);
    steps->last = take_ptr(step);
}

/* By name or by path: which of them says whether a path has been begun. */
static void offer_rows(const struct completion *completion, const struct tree *tree, bool by_path)
{
    struct steps steps = {completion, NULL};
    char name[1024];

    for (uint32_t i = 0; i < tree_row_count(tree); i++) {
        const struct tree_row *row = tree_row(tree, i);

        if (!row->path)
            continue;
        catalogue_name(tree, row, name, sizeof(name));
        offer_step(&steps, by_path ? row->path : name, row->title);
    }
    free(steps.last);
}

void complete_tables(const struct completion *completion)
{
    scoped(state_release) struct state state = {0};
    const struct tree *tree = load(completion, &state);

    if (!tree)
        return;
    offer_rows(completion, tree, false);
    offer_rows(completion, tree, true);
}

void complete_slugs(const struct completion *completion)
{
    scoped(state_release) struct state state = {0};
    const struct tree *tree = load(completion, &state);

    for (uint32_t i = 0; tree && i < tree_group_count(tree); i++) {
        const struct tree_group *group = tree_group(tree, i);

        if (*group->slug && tree_section(group->section)->stack_type)
            complete_offer(completion, "", group->slug, group->name);
    }
}

void complete_pins(const struct completion *completion)
{
    scoped(places_release) struct places places = {0};
    scoped(pins_closep) struct pins *pins = NULL;

    set_deadline();
    find_configured(completion, &places);
    if (!places.cache || access(places.cache, F_OK) < 0) {
        places_release(&places);
        find_mounted(&places);
    }

    scoped_fd int dirfd = places.state ? open(places.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                       : -1;

    if (dirfd < 0 || pins_open(dirfd, &pins) < 0)
        return;
    for (size_t i = 0; i < pins_count(pins); i++)
        complete_offer(completion, "", pins_glob(pins, i), "pinned");
}
