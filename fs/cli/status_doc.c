/* SPDX-License-Identifier: MIT */
/* status_doc.c - writing can only fail for want of memory, so failures are added up and asked for
 * once at the end. */
#include "fs/cli/status_doc.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>

#include "cache/partial.h"
#include "cache/scoped.h"
#include "fs/cli/format.h"

void stack_count(const struct tree *tree, struct stack_counts *ret_counts)
{
    struct stack_counts counts = {0};

    for (uint32_t i = 0; tree && i < tree_group_count(tree); i++)
        counts.packages += tree_group(tree, i)->section == TREE_PACKAGES;
    for (uint32_t i = 0; tree && i < tree_row_count(tree); i++) {
        const struct tree_row *row = tree_row(tree, i);
        enum tree_section section = tree_group(tree, row->group)->section;

        if (row->withheld) {
            counts.sections[section].withheld++;
            continue;
        }
        counts.sections[section].listed++;
        counts.sections[section].bytes = tree_bytes_sum(counts.sections[section].bytes, row->size);
        if (tree_section(section)->has_tables)
            counts.tables++;
        else if (section == TREE_MEMORY)
            counts.domains++;
        else
            counts.artifacts++;
    }
    counts.bytes = tree ? tree_bytes(tree) : 0;
    *ret_counts = counts;
}

const char *status_state(const struct status_facts *facts)
{
    const struct engine_status *engine = facts->engine;
    uint64_t confirmed = engine->last_success_unix;
    uint64_t age = facts->now_unix > confirmed ? facts->now_unix - confirmed : 0;

    if (engine->error || !facts->tree || (facts->refresh_s && age > 2 * facts->refresh_s))
        return "stale";
    return engine->problem_count > 0 ? "degraded" : "ready";
}

static int add_time(struct json *object, const char *key, uint64_t unix_time)
{
    char text[FORMAT_SIZE];

    format_time(unix_time, text);
    return json_add_string(object, key, unix_time ? text : NULL);
}

static int add_death(struct json *root, const struct death *before)
{
    struct json *death;

    if (!before)
        return json_add_string(root, "last_death", NULL);
    death = json_add_object(root, "last_death");
    if (!death)
        return -ENOMEM;

    int r = json_add_u64(death, "pid", (uint64_t)before->pid);

    r |= json_add_string(death, "reason", before->reason);
    r |= add_time(death, "alive", before->alive_unix);
    return r;
}

static int add_identity(struct json *root, const struct status_facts *facts)
{
    int r = json_add_u64(root, "schema", STATUS_SCHEMA);

    r |= json_add_string(root, "version", AGNESFS_VERSION);
    r |= json_add_string(root, "state", status_state(facts));
    r |= json_add_string(root, "source", facts->source);
    r |= json_add_string(root, "source_from", facts->source_from);
    r |= json_add_string(root, "token_from", facts->token_from);
    r |= add_time(root, "token_ends", facts->token_ends_unix);
    r |= json_add_string(root, "only", facts->only);
    r |= json_add_string(root, "except", facts->except);
    r |= json_add_string(root, "mountpoint", facts->mountpoint);
    r |= json_add_u64(root, "pid", (uint64_t)facts->pid);
    r |= add_time(root, "started", facts->started_unix);
    r |= json_add_u64(root, "uptime_seconds", facts->now_unix - facts->started_unix);
    r |= add_death(root, facts->before);
    return r;
}

static int add_refresh(struct json *root, const struct status_facts *facts)
{
    const struct engine_status *engine = facts->engine;
    uint64_t confirmed = engine->last_success_unix;
    int r = json_add_u64(root, "generation", engine->generation);

    r |= add_time(root, "last_refresh", confirmed);
    r |= json_add_u64(root, "age_seconds",
                      confirmed && facts->now_unix > confirmed ? facts->now_unix - confirmed : 0);
    r |= add_time(root, "next_refresh", engine->next_refresh_unix);
    r |= json_add_bool(root, "refreshing", engine->refreshing);
    r |= json_add_string(root, "error",
                         !engine->error       ? NULL
                         : engine->message[0] ? engine->message
                                              : strerror(-engine->error));
    return r;
}

/* Of the refresh or fill that runs, or ran last. */
static int add_progress(struct json *root, const struct engine_status *engine)
{
    struct json *progress = json_add_object(root, "progress");

    if (!progress)
        return -ENOMEM;

    int r = json_add_u64(progress, "files_total", engine->files_total);

    r |= json_add_u64(progress, "files_done", engine->files_done);
    r |= json_add_u64(progress, "bytes_total", engine->bytes_total);
    r |= json_add_u64(progress, "bytes_done", engine->bytes_done);
    return r;
}

static int add_contents(struct json *root, const struct status_facts *facts)
{
    struct stack_counts counts;
    struct json *sections;

    stack_count(facts->tree, &counts);

    int r = json_add_u64(root, "tables", counts.tables);

    r |= json_add_u64(root, "packages", counts.packages);
    r |= json_add_u64(root, "domains", counts.domains);
    r |= json_add_u64(root, "artifacts", counts.artifacts);
    r |= json_add_u64(root, "files", facts->tree ? tree_blob_count(facts->tree) : 0);
    r |= json_add_u64(root, "bytes", counts.bytes);
    r |= json_add_u64(root, "resident_files", facts->resident_files);
    r |= json_add_u64(root, "resident_bytes", facts->resident_bytes);
    sections = json_add_object(root, "sections");
    for (unsigned i = 0; sections && i < TREE_SECTIONS; i++) {
        struct json *section = json_add_object(sections, tree_section_name((enum tree_section)i));

        if (!section)
            return -ENOMEM;
        r |= json_add_u64(section, "listed", counts.sections[i].listed);
        r |= json_add_u64(section, "withheld", counts.sections[i].withheld);
        r |= json_add_u64(section, "bytes", counts.sections[i].bytes);
    }
    return sections ? r : -ENOMEM;
}

static int add_withheld(struct json *root, const struct tree *tree)
{
    struct json *list = json_add_array(root, "withheld");
    unsigned count = 0;
    int r = list ? 0 : -ENOMEM;

    for (uint32_t i = 0; r == 0 && tree && i < tree_row_count(tree); i++) {
        const struct tree_row *row = tree_row(tree, i);
        const struct tree_group *group = tree_group(tree, row->group);
        struct json *line;

        if (!row->withheld || count++ >= STATUS_WITHHELD)
            continue;
        line = json_add_object(list, NULL);
        if (!line)
            return -ENOMEM;
        r |= json_add_string(line, "section", tree_section_name(group->section));
        r |= json_add_string(line, "package",
                             tree_section(group->section)->group_key ? group->slug : "");
        r |= json_add_string(line, "name", row->name);
        r |= json_add_string(line, "reason", row->withheld);
    }
    return r;
}

/* cache_size null: no bound. */
static int add_cache(struct json *root, const struct status_facts *facts)
{
    const struct budget_facts *budget = facts->budget;
    struct json *cache = json_add_object(root, "cache");

    if (!cache)
        return -ENOMEM;

    int r = json_add_string(root, "cache_dir", facts->cache_dir);

    r |= json_add_string(root, "state_dir", facts->state_dir);
    r |= json_add_bool(cache, "shared", facts->follows);
    r |= json_add_u64(cache, "used", budget->used);
    r |= budget->cache_size ? json_add_u64(cache, "size", budget->cache_size)
                            : json_add_string(cache, "size", NULL);
    r |= json_add_u64(cache, "min_free", budget->min_free);
    r |= json_add_u64(cache, "disk_free", budget->disk_free);
    r |= json_add_u64(cache, "evicted_files", budget->evicted_blobs);
    r |= json_add_u64(cache, "evicted_bytes", budget->evicted_bytes);
    return r;
}

void status_name_of(const struct tree *tree, const struct blob_key *key,
                    char ret_path[static TREE_PATH_MAX])
{
    const struct tree_blob *blob = tree ? tree_blob_find(tree, key) : NULL;

    if (!blob || blob->references == 0 ||
        tree_path(tree, tree_reference(tree, blob->first), ret_path, TREE_PATH_MAX) < 0)
        blob_key_format(key, ret_path);
}

/* How far the files are that are coming in. */
static int add_coming(struct json *transfers, const struct status_facts *facts)
{
    struct json *list = json_add_array(transfers, "files");
    struct partial *partials[STATUS_TRANSFERS];
    size_t count = partial_list(facts->store, partials, STATUS_TRANSFERS);
    char path[TREE_PATH_MAX];
    int r = list ? 0 : -ENOMEM;

    for (size_t i = 0; i < count; i++) {
        const struct blob_key *key = partial_key(partials[i]);
        struct json *file = r == 0 ? json_add_object(list, NULL) : NULL;

        if (file) {
            status_name_of(facts->tree, key, path);
            r = json_add_string(file, "path", path);
            r |= json_add_u64(file, "size", key->size);
            r |= json_add_u64(file, "bytes", partial_bytes(partials[i]));
        }
        partial_put(partials[i]);
    }
    return r;
}

static int add_transfers(struct json *root, const struct status_facts *facts)
{
    const struct transfers_stats *stats = &facts->engine->transfers;
    struct json *transfers = json_add_object(root, "transfers");

    if (!transfers)
        return -ENOMEM;

    int r = json_add_u64(transfers, "running", stats->running);

    r |= json_add_u64(transfers, "waiting", stats->wants_waiting);
    r |= json_add_u64(transfers, "done", stats->wants_done);
    r |= json_add_u64(transfers, "failed", stats->wants_failed);
    r |= json_add_u64(transfers, "bytes", stats->bytes);
    r |= json_add_u64(transfers, "requests", stats->requests);
    r |= json_add_u64(transfers, "by_signed_url", stats->by_signed);
    r |= json_add_u64(transfers, "signed_urls_failed", stats->signed_failed);
    return r < 0 ? r : add_coming(transfers, facts);
}

static int add_programs(struct json *root, const struct status_facts *facts)
{
    struct json *list = json_add_array(root, "programs");
    struct json *before = json_add_object(root, "programs_before");
    char path[TREE_PATH_MAX];
    int r = list && before ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < facts->reader_count; i++) {
        const struct reader_facts *reader = &facts->readers[i];
        struct json *program = json_add_object(list, NULL);

        if (!program)
            return -ENOMEM;
        status_name_of(facts->tree, &reader->key, path);
        r |= json_add_u64(program, "pid", (uint64_t)reader->pid);
        r |= json_add_string(program, "name", reader->name[0] ? reader->name : NULL);
        r |= json_add_u64(program, "waiting", reader->waiting);
        r |= json_add_u64(program, "reads", reader->reads);
        r |= json_add_u64(program, "bytes", reader->bytes);
        r |= json_add_string(program, "path", path);
        r |= add_time(program, "last", reader->last_unix);
    }
    if (r == 0) {
        r |= json_add_u64(before, "reads", facts->others->reads);
        r |= json_add_u64(before, "bytes", facts->others->bytes);
    }
    return r;
}

static int add_problems(struct json *root, const struct status_facts *facts)
{
    struct json *problems = json_add_array(root, "problems");
    char path[TREE_PATH_MAX];
    int r = problems ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < facts->problem_count; i++) {
        const struct engine_problem *from = &facts->problems[i];
        struct json *problem = json_add_object(problems, NULL);

        if (!problem)
            return -ENOMEM;
        status_name_of(facts->tree, &from->key, path);
        r |= json_add_string(problem, "path", path);
        r |= json_add_string(problem, "error", from->message);
        r |= add_time(problem, "since", from->since_unix);
    }
    return r;
}

static int add_mount(struct json *root, const struct mount_facts *facts)
{
    struct json *mount = json_add_object(root, "mount");

    if (!mount)
        return -ENOMEM;

    int r = json_add_u64(mount, "inodes", facts->inodes);

    r |= json_add_u64(mount, "lookups", facts->lookups);
    r |= json_add_u64(mount, "open_files", facts->open_files);
    r |= json_add_u64(mount, "parked_reads", facts->parked_reads);
    r |= json_add_u64(mount, "reads", facts->reads);
    r |= json_add_u64(mount, "bytes_read", facts->bytes_read);
    r |= json_add_bool(mount, "passthrough", facts->passthrough.allowed);
    r |= json_add_string(mount, "passthrough_why_not",
                         facts->passthrough.allowed ? NULL : facts->passthrough.why_not);
    r |= json_add_u64(mount, "passthrough_files", facts->passthrough.files);
    r |= json_add_bool(mount, "io_uring", !facts->uring_why_not);
    r |= json_add_string(mount, "io_uring_why_not", facts->uring_why_not);
    return r;
}

/* The two that may be left have names. */
static int add_capabilities(struct json *sandbox, uint64_t capabilities)
{
    struct json *list = json_add_array(sandbox, "capabilities");
    char number[8];
    int r = list ? 0 : -ENOMEM;

    for (unsigned i = 0; r == 0 && i < 64; i++) {
        if (!(capabilities >> i & 1))
            continue;
        snprintf(number, sizeof(number), "%u", i);
        r = json_add_string(list, NULL,
                            i == CAP_SYS_ADMIN         ? "CAP_SYS_ADMIN"
                            : i == CAP_DAC_READ_SEARCH ? "CAP_DAC_READ_SEARCH"
                                                       : number);
    }
    return r;
}

static int add_sandbox(struct json *root, const struct harden_facts *facts)
{
    struct json *sandbox = json_add_object(root, "sandbox");

    if (!sandbox)
        return -ENOMEM;

    int r = json_add_bool(sandbox, "no_new_privs", facts->no_new_privs);

    r |= json_add_u64(sandbox, "landlock", (uint64_t)facts->landlock);
    r |= json_add_bool(sandbox, "seccomp", facts->seccomp);
    r |= add_capabilities(sandbox, facts->capabilities);
    r |= json_add_string(sandbox, "why_not", facts->why_not[0] ? facts->why_not : NULL);
    return r;
}

int status_doc_make(const struct status_facts *facts, struct json **ret_root)
{
    scoped(json_freep) struct json *root = json_new_object();
    int r = root ? 0 : -ENOMEM;

    if (r == 0)
        r = add_identity(root, facts);
    if (r == 0)
        r = add_refresh(root, facts);
    if (r == 0)
        r = add_progress(root, facts->engine);
    if (r == 0)
        r = add_contents(root, facts);
    if (r == 0)
        r = add_withheld(root, facts->tree);
    if (r == 0)
        r = add_cache(root, facts);
    if (r == 0)
        r = json_add_string(root, "log", facts->log);
    if (r == 0)
        r = json_add_string(root, "log_level", log_level_name(facts->log_level));
    if (r == 0)
        r = add_transfers(root, facts);
    if (r == 0)
        r = add_programs(root, facts);
    if (r == 0)
        r = add_problems(root, facts);
    if (r == 0)
        r = add_mount(root, facts->mount);
    if (r == 0)
        r = add_sandbox(root, facts->hardened);
    if (r < 0)
        return -ENOMEM;
    *ret_root = take_ptr(root);
    return 0;
}
