/* SPDX-License-Identifier: MIT */
/* export.c - what is to be done, and removing. Read export_run at the end first. */
#include "fs/cli/export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/export_private.h"

/* --- problems --- */

int export_complain(struct exporting *exporting, const char *path, bool skipped, const char *reason)
{
    struct export_result *result = exporting->result;
    struct export_problem *grown = reallocarray(result->problems, result->problem_count + 1,
                                                sizeof(*grown));
    char *copy = strdup(path);

    if (grown)
        result->problems = grown;
    if (!grown || !copy) {
        free(copy);
        return -ENOMEM;
    }
    grown[result->problem_count++] = (struct export_problem){copy, reason, skipped};
    return 0;
}

const char *export_reason(int error)
{
    switch (-error) {
    case ENOENT: return "not in the cache, or its folder is gone";
    case EUCLEAN:
    case EBADMSG:
    case ENODATA: return "the cache's copy is damaged; agnesfs verify --repair";
    case EOPNOTSUPP: return "this strategy is not possible here";
    case EEXIST: return "something else has its name";
    case ESTALE: return "changed since it was written";
    case ENOTDIR:
    case ELOOP: return "something else has the name of its folder";
    case EACCES:
    case EPERM: return "not permitted";
    case EFBIG: return "too large for this file system";
    case ENAMETOOLONG:
    case EINVAL:
    case EILSEQ: return "not a name for this file system";
    case EXDEV: return "its folder is another file system";
    default: return NULL;
    }
}

int export_excuse(struct exporting *exporting, const char *path, int error)
{
    const char *reason = export_reason(error);
    bool skipped = error == -EEXIST || error == -ESTALE || error == -ENOTDIR || error == -ELOOP;

    return reason ? export_complain(exporting, path, skipped, reason) : error;
}

void export_result_release(struct export_result *result)
{
    for (size_t i = 0; i < result->problem_count; i++)
        free(result->problems[i].path);
    free(result->problems);
    *result = (struct export_result){0};
}

/* --- what the tree has --- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct export_wanted *)a)->path, ((const struct export_wanted *)b)->path);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

const struct export_wanted *export_find_wanted(const struct exporting *exporting, const char *path)
{
    const struct export_wanted wanted = {.path = (char *)path};

    return exporting->file_count == 0
               ? NULL
               : bsearch(&wanted, exporting->files, exporting->file_count, sizeof(wanted), by_path);
}

bool export_wants_folder(const struct exporting *exporting, const char *path)
{
    return exporting->folder_count > 0 &&
           bsearch(&path, exporting->folders, exporting->folder_count, sizeof(path), by_text);
}

/* A folder that holds live documents only would be an empty one. */
static bool is_wanted_folder(const struct tree *tree, const struct tree_node *node)
{
    if (node->type != TREE_DIR || node == tree_root(tree))
        return false;
    for (uint32_t i = 0; i < node->dir.count; i++)
        if (tree_node(tree, node->dir.first + i)->type != TREE_LIVE)
            return true;
    return node->dir.count == 0;
}

static int collect(struct exporting *exporting)
{
    const struct tree *tree = exporting->conf->tree;
    size_t count = tree_node_count(tree);
    char path[TREE_PATH_MAX];

    exporting->files = calloc(count + 1, sizeof(*exporting->files));
    exporting->folders = calloc(count + 1, sizeof(*exporting->folders));
    exporting->donors = calloc(tree_blob_count(tree) + 1, sizeof(*exporting->donors));
    if (!exporting->files || !exporting->folders || !exporting->donors)
        return -ENOMEM;
    for (size_t i = 0; i < tree_blob_count(tree); i++)
        exporting->donors[i].wanted = NO_INDEX;
    for (uint32_t i = 0; i < count; i++) {
        const struct tree_node *node = tree_node(tree, i);
        bool folder = is_wanted_folder(tree, node);
        char *copy;

        if (!folder && node->type != TREE_BLOB && node->type != TREE_TEXT)
            continue;
        if (tree_path(tree, node, path, sizeof(path)) < 0 || !(copy = strdup(path)))
            return -ENOMEM;
        if (folder)
            exporting->folders[exporting->folder_count++] = copy;
        else
            exporting->files[exporting->file_count++] = (struct export_wanted){.path = copy,
                                                                               .node = node};
    }
    qsort(exporting->files, exporting->file_count, sizeof(*exporting->files), by_path);
    qsort(exporting->folders, exporting->folder_count, sizeof(*exporting->folders), by_text);
    return 0;
}

static void exporting_release(struct exporting *exporting)
{
    for (size_t i = 0; i < exporting->file_count; i++)
        free(exporting->files[i].path);
    for (size_t i = 0; i < exporting->folder_count; i++)
        free(exporting->folders[i]);
    free(exporting->files);
    free(exporting->folders);
    free(exporting->donors);
}

/* --- what is there --- */

static const struct blob_key *key_of(const struct exporting *exporting,
                                     const struct tree_node *node)
{
    return node->type == TREE_TEXT ? node->text.key
                                   : &tree_blob(exporting->conf->tree, node->blob)->key;
}

/* The line that says that what was found is ours; the path's other lines are out of date then. */
static size_t own_line(struct export_record *record, const char *path,
                       const struct export_identity *found, bool *ret_known)
{
    size_t count;
    size_t first = export_record_find(record, path, &count);
    size_t own = NO_INDEX;

    *ret_known = false;
    for (size_t i = first; i < first + count; i++) {
        if (record->files[i].gone)
            continue;
        *ret_known = true;
        if (own == NO_INDEX && found && export_identity_equal(&record->files[i].identity, found))
            own = i;
        else
            export_record_drop(record, i);
    }
    return own;
}

/* Decides what is to be done about one file. */
static int judge(struct exporting *exporting, struct export_wanted *wanted)
{
    struct export_record *record = exporting->conf->record;
    const struct blob_key *key = key_of(exporting, wanted->node);
    struct export_identity found;
    bool known;
    int r = export_target_look(exporting->conf->target, wanted->path, &found);
    size_t own;

    if (r < 0 && r != -ENOENT && r != -EEXIST)
        return export_excuse(exporting, wanted->path, r);
    own = own_line(record, wanted->path, r == 0 ? &found : NULL, &known);
    if (r == -ENOENT) {
        wanted->deed = DEED_ADD;
    } else if (own == NO_INDEX) {
        return export_complain(exporting, wanted->path, true,
                               known ? export_reason(-ESTALE)
                                     : "there already, and not by agnesfs export");
    } else if (blob_key_equal(&record->files[own].key, key)) {
        wanted->line = own;
        exporting->result->unchanged++;
        if (wanted->node->type == TREE_BLOB)
            exporting->donors[wanted->node->blob].wanted = (size_t)(wanted - exporting->files);
        return 0;
    } else {
        wanted->deed = DEED_REPLACE;
        wanted->old = found;
        wanted->old_line = own;
    }
    exporting->progress.files_total++;
    exporting->progress.bytes_total += key->size;
    return 0;
}

/* --- removing --- */

/* Is the path, or a folder above it, a file of the tree? */
static bool is_below_wanted(const struct exporting *exporting, const char *path)
{
    char above[TREE_PATH_MAX];

    for (size_t i = 0; i < sizeof(above) - 1 && path[i]; i++) {
        above[i] = path[i];
        above[i + 1] = '\0';
        if ((path[i + 1] == '/' || !path[i + 1]) && export_find_wanted(exporting, above))
            return true;
    }
    return false;
}

static bool is_in_the_way(const struct exporting *exporting, const char *path)
{
    return export_wants_folder(exporting, path) || is_below_wanted(exporting, path);
}

static int remove_file(struct exporting *exporting, size_t index)
{
    struct export_record *record = exporting->conf->record;
    const struct export_file *file = &record->files[index];
    bool there = export_target_has(exporting->conf->target, file->path) > 0;
    int r = export_target_remove(exporting->conf->target, file->path, &file->identity);

    if (r == -ESTALE) /* or it is what another line of that path says */
        r = index + 1 < record->file_sorted &&
                    strcmp(record->files[index + 1].path, file->path) == 0
                ? 0
                : export_complain(exporting, file->path, true,
                                  "not listed any more, but changed since it was written");
    else if (r == 0)
        exporting->result->removed += there;
    else
        return export_excuse(exporting, file->path, r); /* still ours */
    export_record_drop(record, index);
    return r;
}

/* Files, then folders from the deepest up. obstacles: only what is in the way of something. */
static int remove_withdrawn(struct exporting *exporting, bool obstacles)
{
    struct export_record *record = exporting->conf->record;
    int r = 0;

    for (size_t i = 0; r == 0 && i < record->file_sorted; i++) {
        const char *path = record->files[i].path;

        if (!record->files[i].gone && !export_find_wanted(exporting, path) &&
            (!obstacles || is_in_the_way(exporting, path)))
            r = remove_file(exporting, i);
    }
    for (size_t i = record->folder_count; r == 0 && i-- > 0;) {
        const char *path = record->folders[i];

        if (!path || export_wants_folder(exporting, path) ||
            (obstacles && !is_below_wanted(exporting, path)))
            continue;
        if ((r = export_target_remove_folder(exporting->conf->target, path)) == 0)
            export_record_drop_folder(record, i);
        else
            r = r == -ENOTEMPTY || r == -EEXIST || export_reason(r) ? 0 : r;
    }
    return r;
}

/* --- folders --- */

/* Written down before they are made: what was made and never written down would stay for ever. */
static int make_folders(struct exporting *exporting)
{
    const struct export_conf *conf = exporting->conf;
    int r = 0;

    for (size_t i = 0; r == 0 && i < exporting->folder_count; i++)
        if (export_target_has(conf->target, exporting->folders[i]) == 0)
            r = export_record_add_folder(conf->record, exporting->folders[i]);
    if (r == 0)
        r = export_record_save(conf->target->own, conf->record);
    for (size_t i = 0; r >= 0 && i < exporting->folder_count; i++) {
        r = export_target_make_folder(conf->target, exporting->folders[i]);
        if (r < 0 && export_reason(r)) /* the files in it will say so */
            r = 0;
    }
    return r < 0 ? r : 0;
}

/* --- all of it --- */

static int run(struct exporting *exporting)
{
    int r = collect(exporting);

    if (r == 0)
        r = remove_withdrawn(exporting, true);
    for (size_t i = 0; r == 0 && i < exporting->file_count; i++)
        r = judge(exporting, &exporting->files[i]);
    if (r == 0)
        r = make_folders(exporting);
    if (r == 0)
        r = export_write(exporting);
    if (r == 0)
        r = atomic_load(exporting->conf->stop) ? -ECANCELED : remove_withdrawn(exporting, false);
    return r;
}

int export_run(const struct export_conf *conf, struct export_result *ret_result)
{
    scoped(exporting_release) struct exporting exporting = {.conf = conf, .result = ret_result};
    int saved;
    int r;

    *ret_result = (struct export_result){0};
    r = run(&exporting);
    export_target_end(conf->target);
    export_record_sort(conf->record);
    saved = export_record_save(conf->target->own, conf->record);
    return r < 0 ? r : saved;
}
