/* SPDX-License-Identifier: MIT */
/* export_write.c - files in batches: made in export.tmp, written down with their inodes, put in
 * place. Between any two of these steps the record on disk covers all of ours that has a name in
 * TARGET, since a rename keeps the inode and lines of what is replaced are dropped only after. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/export_private.h"

/* What a death costs at most, against how often the record is written. */
enum { BATCH_FILES = 512 };
#define BATCH_BYTES (1ULL << 30)

struct batch {
    size_t
        wanted[BATCH_FILES];   /* indices into exporting->files; name in export.tmp: position + 1 */
    size_t lines[BATCH_FILES]; /* in the record */
    size_t count;
    uint64_t bytes;
};

struct staged_name {
    char text[16];
};

static struct staged_name name_of(size_t number)
{
    struct staged_name name;

    snprintf(name.text, sizeof(name.text), "%zu", number);
    return name;
}

/* --- making one --- */

static int tick(void *arg, uint64_t bytes)
{
    struct exporting *exporting = arg;
    const struct export_conf *conf = exporting->conf;

    exporting->progress.bytes_done += bytes;
    if (conf->progress)
        conf->progress(conf->arg, &exporting->progress);
    return atomic_load(conf->stop) ? -ECANCELED : 0;
}

static int open_blob(struct store *store, const struct blob_key *key, int *ret_fd)
{
    int r = store_get(store, key, ret_fd);

    if (r == -EUCLEAN && (r = store_verify(store, key)) == 0)
        r = store_get(store, key, ret_fd);
    return r;
}

static int link_donor(const struct exporting *exporting, const struct tree_node *node,
                      const char *name, struct export_identity *ret_identity)
{
    const struct export_donor *donor = &exporting->donors[node->blob];
    const struct export_wanted *file;

    if (donor->wanted == NO_INDEX)
        return -EOPNOTSUPP;
    file = &exporting->files[donor->wanted];
    *ret_identity = exporting->conf->record->files[file->line].identity;
    return export_target_link(exporting->conf->target, name,
                              donor->staged_as ? name_of(donor->staged_as).text : file->path,
                              donor->staged_as, ret_identity);
}

/* Each strategy that may be used, until one works. A hard link needs a first name to link to, which
 * is a copy. */
static int stage_blob(struct exporting *exporting, const struct tree_node *node, const char *name,
                      enum export_strategy *ret_strategy, struct export_identity *ret_identity)
{
    const struct export_conf *conf = exporting->conf;
    const struct tree_blob *blob = tree_blob(conf->tree, node->blob);
    const enum export_strategy asked = conf->strategy;
    scoped_fd int fd = -1;
    struct export_bytes bytes = {.size = blob->key.size, .mtime_ns = blob->mtime_ns};
    int r = open_blob(conf->store, &blob->key, &fd);

    if (r < 0)
        return r;
    bytes.fd = fd;
    *ret_strategy = EXPORT_REFLINK;
    r = -EOPNOTSUPP;
    if (asked == EXPORT_REFLINK || (asked == EXPORT_AUTO && !exporting->no_reflink)) {
        r = export_target_reflink(conf->target, name, &bytes, ret_identity);
        exporting->no_reflink = r == -EOPNOTSUPP;
    }
    if (r == -EOPNOTSUPP && (asked == EXPORT_AUTO || asked == EXPORT_HARDLINK)) {
        *ret_strategy = EXPORT_HARDLINK;
        r = link_donor(exporting, node, name, ret_identity);
    }
    if (r == 0)
        return tick(exporting, blob->key.size);
    if (r == -EOPNOTSUPP && asked != EXPORT_REFLINK) {
        *ret_strategy = EXPORT_COPY;
        r = export_target_copy(conf->target, name, &bytes, tick, exporting, ret_identity);
    }
    return r;
}

static int stage_text(struct exporting *exporting, const struct tree_node *node, const char *name,
                      enum export_strategy *ret_strategy, struct export_identity *ret_identity)
{
    const struct export_bytes bytes = {.fd = -1,
                                       .text = node->text.bytes,
                                       .size = node->text.size,
                                       .mtime_ns = INT64_MIN};

    *ret_strategy = EXPORT_COPY;
    return export_target_copy(exporting->conf->target, name, &bytes, tick, exporting, ret_identity);
}

/* Stages a file and adds its line. What can not be had is a problem, not an error. */
static int stage(struct exporting *exporting, size_t index, struct batch *batch)
{
    struct export_record *record = exporting->conf->record;
    struct export_wanted *wanted = &exporting->files[index];
    const struct tree_node *node = wanted->node;
    bool is_text = node->type == TREE_TEXT;
    const struct blob_key *key = is_text ? node->text.key
                                         : &tree_blob(exporting->conf->tree, node->blob)->key;
    const struct staged_name name = name_of(batch->count + 1);
    struct export_identity identity;
    enum export_strategy strategy = EXPORT_COPY;
    int r = is_text ? stage_text(exporting, node, name.text, &strategy, &identity)
                    : stage_blob(exporting, node, name.text, &strategy, &identity);

    if (r < 0)
        return export_excuse(exporting, wanted->path, r);
    r = export_record_add(record, wanted->path, key, strategy, &identity);
    if (r < 0)
        return r;
    batch->wanted[batch->count] = index;
    batch->lines[batch->count] = record->file_count - 1;
    batch->count++;
    batch->bytes += strategy == EXPORT_COPY ? key->size : 0;
    if (!is_text && exporting->donors[node->blob].wanted == NO_INDEX) {
        exporting->donors[node->blob] = (struct export_donor){index, (unsigned)batch->count};
        wanted->line = record->file_count - 1;
    }
    return 0;
}

/* --- putting a batch in place --- */

static bool same_folder(const char *a, const char *b)
{
    size_t length = (size_t)(strrchr(a, '/') ? strrchr(a, '/') - a : 0);

    return strncmp(a, b, length) == 0 &&
           (size_t)(strrchr(b, '/') ? strrchr(b, '/') - b : 0) == length;
}

/* The folder that the last file was put into, to be made durable when the next is another one. */
struct folder {
    int fd;
    const char *path; /* of that file */
};

static int settle(struct folder *folder)
{
    int r = folder->fd >= 0 && fsync(folder->fd) < 0 ? negative_errno() : 0;

    if (folder->fd >= 0)
        close(take_fd(folder->fd));
    return r;
}

static int enter(struct folder *folder, int fd, const char *path)
{
    int r = 0;

    if (folder->fd >= 0 && same_folder(folder->path, path))
        close(fd);
    else if ((r = settle(folder)) == 0)
        folder->fd = fd;
    else
        close(fd);
    folder->path = path;
    return r;
}

static int put(struct exporting *exporting, const struct batch *batch, size_t i,
               struct folder *folder)
{
    const struct export_conf *conf = exporting->conf;
    struct export_result *result = exporting->result;
    struct export_wanted *wanted = &exporting->files[batch->wanted[i]];
    struct export_donor *donor = wanted->node->type == TREE_BLOB
                                     ? &exporting->donors[wanted->node->blob]
                                     : NULL;
    bool replace = wanted->deed == DEED_REPLACE;
    const struct export_file *file = &conf->record->files[batch->lines[i]];
    int fd = -1;
    int r = export_target_put(conf->target, name_of(i + 1).text, wanted->path,
                              replace ? &wanted->old : NULL, &fd);

    if (donor && donor->staged_as == i + 1)
        *donor = (struct export_donor){r < 0 ? NO_INDEX : donor->wanted, 0};
    if (r < 0) {
        export_record_drop(conf->record, batch->lines[i]);
        return export_excuse(exporting, wanted->path, r);
    }
    if (replace)
        export_record_drop(conf->record, wanted->old_line);
    exporting->progress.files_done++;
    result->written++;
    result->bytes += file->key.size;
    result->strategies[file->strategy]++;
    return enter(folder, fd, wanted->path);
}

/* Writes the lines down, then moves the files. Without the lines nothing may move. */
static int put_batch(struct exporting *exporting, const struct batch *batch)
{
    const struct export_conf *conf = exporting->conf;
    struct folder folder = {-1, NULL};
    size_t done = 0;
    int r = export_record_save(conf->target->own, conf->record);
    int settled;

    while (r == 0 && done < batch->count)
        r = put(exporting, batch, done++, &folder);
    while (done < batch->count)
        export_record_drop(conf->record, batch->lines[done++]);
    settled = settle(&folder);
    return r < 0 ? r : settled;
}

static bool is_to_do(const struct export_wanted *wanted)
{
    return wanted->deed == DEED_ADD || wanted->deed == DEED_REPLACE;
}

/* What was staged is put in place also when staging ends with an error: it is whole. */
static int write_batch(struct exporting *exporting, size_t *next)
{
    struct batch batch = {.count = 0};
    int r = export_target_begin(exporting->conf->target);
    int put_result;

    if (r < 0)
        return r;
    for (; r == 0 && *next < exporting->file_count && batch.count < BATCH_FILES &&
           batch.bytes < BATCH_BYTES;
         (*next)++)
        if (is_to_do(&exporting->files[*next]))
            r = stage(exporting, *next, &batch);
    put_result = put_batch(exporting, &batch);
    return r < 0 ? r : put_result;
}

int export_write(struct exporting *exporting)
{
    size_t next = 0;
    int r = 0;

    while (r == 0) {
        while (next < exporting->file_count && !is_to_do(&exporting->files[next]))
            next++;
        if (next == exporting->file_count)
            break;
        r = write_batch(exporting, &next);
    }
    return r;
}
