/* SPDX-License-Identifier: MIT */
/* audit.c - each object gets one verdict, the first that fits:
 *
 *     foreign -> orphan -> wrong size -> wrong bytes (deep only) -> as it should be
 *
 * and what is left over among the expected keys is missing. An orphan is not read: whatever its
 * bytes are, it is not wanted. Without repair nothing is removed, wrong bytes included, which is
 * why this does not go through store_verify. */
#include <errno.h>
#include <string.h>

#include "cache/blob.h"
#include "cache/files.h"
#include "cache/keep.h"
#include "cache/walk.h"

struct audit {
    struct store *store;
    const struct store_keep *keep;
    const struct store_keep *expected;
    const struct audit_options *options;
    void (*found)(void *arg, const struct audit_finding *finding);
    void *arg;
    bool *seen; /* by index into expected */
    uint64_t bytes_done;
};

const char *audit_kind_name(enum audit_kind kind)
{
    switch (kind) {
    case AUDIT_ORPHAN: return "orphan blob";
    case AUDIT_MISSING: return "missing blob";
    case AUDIT_WRONG_SIZE: return "wrong size";
    case AUDIT_WRONG_BYTES: return "wrong bytes";
    case AUDIT_FOREIGN: return "foreign file";
    }
    return "unknown";
}

static void report(const struct audit *audit, enum audit_kind kind, const char *path, bool mended)
{
    const struct audit_finding finding = {.kind = kind, .path = path, .mended = mended};

    if (audit->found)
        audit->found(audit->arg, &finding);
}

/* A foreign directory with something in it stays: we do not know whose work that is. */
static int judge_foreign(struct audit *audit, const struct found_object *object)
{
    bool mended = audit->options->repair && name_clear(object->dir, object->name) == 0;

    report(audit, AUDIT_FOREIGN, object->path, mended);
    return 0;
}

static void blob_progress(void *arg, uint64_t bytes_read)
{
    struct audit *audit = arg;

    if (audit->options->progress)
        audit->options->progress(audit->options->progress_arg, audit->bytes_done + bytes_read);
}

/* 0: as it should be. 1: *ret_kind says what is wrong. */
static int find_fault(struct audit *audit, const struct found_object *object,
                      enum audit_kind *ret_kind)
{
    if (!keep_has(audit->keep, &object->key)) {
        *ret_kind = AUDIT_ORPHAN;
        return 1;
    }
    if ((uint64_t)object->st.st_size != object->key.size) {
        *ret_kind = AUDIT_WRONG_SIZE;
        return 1;
    }
    if (!audit->options->deep)
        return 0;

    int r = blob_check(audit->store, &object->key, blob_progress, audit);

    audit->bytes_done += object->key.size;
    if (r == -EBADMSG) {
        *ret_kind = AUDIT_WRONG_BYTES;
        return 1;
    }
    /* Removed or touched under our eyes by the running program: the next audit will see. */
    return r == -ENOENT || r == -EUCLEAN ? 0 : r;
}

static int judge_shared(void *arg, const struct found_object *object)
{
    struct audit *audit = arg;
    enum audit_kind kind = AUDIT_ORPHAN;

    if (object->kind != FOUND_BLOB)
        return judge_foreign(audit, object);

    const struct blob_key *expected = keep_find(audit->expected, &object->key);

    if (expected)
        audit->seen[expected - audit->expected->keys] = true;

    int r = find_fault(audit, object, &kind);

    if (r <= 0)
        return r;

    bool mended = audit->options->repair &&
                  blob_remove(audit->store, &object->key, &object->st, NULL) == 0;

    /* It stays, but not in good standing. */
    if (!mended && kind == AUDIT_WRONG_BYTES)
        trust_forget(audit->store->trust, &object->key);
    report(audit, kind, object->path, mended);
    return 0;
}

static int judge_partial(void *arg, const struct found_object *object)
{
    return object->kind == FOUND_FOREIGN ? judge_foreign(arg, object) : 0;
}

static void report_missing(const struct audit *audit)
{
    for (size_t i = 0; i < audit->expected->count; i++) {
        char path[sizeof("_shared/") + BLOB_PATH_SIZE] = "_shared/";

        if (audit->seen[i])
            continue;
        blob_path(&audit->expected->keys[i], path + strlen(path));
        report(audit, AUDIT_MISSING, path, false);
    }
}

int store_audit(struct store *store, const struct store_keep *keep,
                const struct store_keep *expected, const struct audit_options *options,
                void (*found)(void *arg, const struct audit_finding *finding), void *arg)
{
    const struct store_keep none = {0};
    struct audit audit = {
        .store = store,
        .keep = keep,
        .expected = expected ? expected : &none,
        .options = options,
        .found = found,
        .arg = arg,
    };

    if (options->repair && store_mode(store) != STORE_WRITER)
        return -EROFS;
    if (!keep)
        return -EINVAL;

    scoped_free bool *seen = calloc(audit.expected->count + 1, sizeof(*seen));

    if (!seen)
        return -ENOMEM;
    audit.seen = seen;
    int r = walk_shared(store, judge_shared, &audit);

    if (r == 0)
        r = walk_partial(store, judge_partial, &audit);
    if (r == 0)
        report_missing(&audit);
    return r;
}
