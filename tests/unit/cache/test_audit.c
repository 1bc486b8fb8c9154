/* SPDX-License-Identifier: MIT */
#include <sys/stat.h>

#include "cache/sweep.h"
#include "tests/unit/cache/fixture.h"

enum { MAX_FOUND = 32 };

struct findings {
    size_t count;
    size_t mended;
    enum audit_kind kinds[MAX_FOUND];
    char paths[MAX_FOUND][192];
};

static void note(void *arg, const struct audit_finding *finding)
{
    struct findings *findings = arg;

    assert_true(findings->count < MAX_FOUND);
    findings->kinds[findings->count] = finding->kind;
    snprintf(findings->paths[findings->count], 192, "%s", finding->path);
    findings->count++;
    findings->mended += finding->mended;
}

static bool found(const struct findings *findings, enum audit_kind kind, const char *path)
{
    for (size_t i = 0; i < findings->count; i++) {
        if (findings->kinds[i] == kind && strcmp(findings->paths[i], path) == 0)
            return true;
    }
    return false;
}

static bool found_blob(const struct findings *findings, enum audit_kind kind,
                       const struct blob_key *key)
{
    scoped_free char *rel = blob_rel(key);

    return found(findings, kind, rel);
}

static int by_key(const void *a, const void *b)
{
    return blob_key_compare(a, b);
}

/* One store with everything that can be wrong. */
struct mess {
    struct blob_key good, orphan, missing, short_one, wrong, unexpected;
    struct blob_key kept[5];
    struct blob_key expected[4];
    struct store_keep keep;
    struct store_keep expect;
};

static void make_mess(struct fixture *fixture, struct mess *mess)
{
    mess->good = put(fixture->store, "good");
    mess->orphan = put(fixture->store, "orphan");
    mess->missing = text_key("missing");
    mess->short_one = put(fixture->store, "cut short");
    mess->wrong = put(fixture->store, "wrong");
    mess->unexpected = text_key("cold, and that is fine");

    scoped_free char *cut = blob_file(fixture, &mess->short_one);
    scoped_free char *changed = blob_file(fixture, &mess->wrong);

    make_writable(cut);
    assert_int_equal(truncate(cut, 3), 0);
    assert_int_equal(chmod(changed, 0600), 0);
    file_write("/", changed + 1, "wrung", 5);

    const struct blob_key expected[] = {mess->good, mess->missing, mess->short_one, mess->wrong};

    memcpy(mess->expected, expected, sizeof(expected));
    memcpy(mess->kept, expected, sizeof(expected));
    mess->kept[4] = mess->unexpected;
    qsort(mess->expected, 4, sizeof(*mess->expected), by_key);
    qsort(mess->kept, 5, sizeof(*mess->kept), by_key);
    mess->keep = (struct store_keep){.keys = mess->kept, .count = 5};
    mess->expect = (struct store_keep){.keys = mess->expected, .count = 4};
    file_write(fixture->dir, "_shared/README", "x", 1);
}

static struct findings audit(struct store *store, const struct mess *mess, bool deep, bool repair)
{
    const struct audit_options options = {.deep = deep, .repair = repair};
    struct findings findings = {0};

    assert_int_equal(store_audit(store, &mess->keep, &mess->expect, &options, note, &findings), 0);
    return findings;
}

static void assert_mess(const struct findings *findings, const struct mess *mess)
{
    assert_int_equal(findings->count, 5);
    assert_true(found_blob(findings, AUDIT_ORPHAN, &mess->orphan));
    assert_true(found_blob(findings, AUDIT_MISSING, &mess->missing));
    assert_true(found_blob(findings, AUDIT_WRONG_SIZE, &mess->short_one));
    assert_true(found_blob(findings, AUDIT_WRONG_BYTES, &mess->wrong));
    assert_true(found(findings, AUDIT_FOREIGN, "_shared/README"));
}

static void finds_each_kind(void **state)
{
    struct fixture *fixture = *state;
    struct mess mess;

    make_mess(fixture, &mess);
    struct findings findings = audit(fixture->store, &mess, true, false);

    assert_mess(&findings, &mess);
    assert_int_equal(findings.mended, 0);

    /* Looking changed nothing. */
    findings = audit(fixture->store, &mess, true, false);
    assert_mess(&findings, &mess);
    assert_int_equal(get(fixture->store, &mess.good), 0);
    assert_int_equal(get(fixture->store, &mess.wrong), -EUCLEAN);
}

static void shallow_does_not_read(void **state)
{
    struct fixture *fixture = *state;
    struct mess mess;

    make_mess(fixture, &mess);
    struct findings findings = audit(fixture->store, &mess, false, false);

    assert_int_equal(findings.count, 4);
    assert_false(found_blob(&findings, AUDIT_WRONG_BYTES, &mess.wrong));
}

static void repair_mends_all_but_missing(void **state)
{
    struct fixture *fixture = *state;
    struct mess mess;

    make_mess(fixture, &mess);
    struct findings findings = audit(fixture->store, &mess, true, true);

    assert_mess(&findings, &mess);
    assert_int_equal(findings.mended, 4);

    findings = audit(fixture->store, &mess, true, true);
    assert_int_equal(findings.count, 3); /* what was wrong is to be fetched again */
    assert_true(found_blob(&findings, AUDIT_MISSING, &mess.missing));
    assert_true(found_blob(&findings, AUDIT_MISSING, &mess.short_one));
    assert_true(found_blob(&findings, AUDIT_MISSING, &mess.wrong));
    assert_holds(fixture->store, &mess.good, "good");
}

static void reader_may_look(void **state)
{
    struct fixture *fixture = *state;
    const struct audit_options repair = {.repair = true};
    struct store *reader = NULL;
    struct mess mess;

    make_mess(fixture, &mess);
    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    struct findings findings = audit(reader, &mess, true, false);

    assert_mess(&findings, &mess);
    assert_int_equal(store_audit(reader, &mess.keep, NULL, &repair, note, &findings), -EROFS);
    store_close(reader);
}

/* Returns where it put a key into another key's shard; the caller frees it. */
static char *plant(struct fixture *fixture, const struct blob_key *blob)
{
    scoped_free char *here = blob_file(fixture, blob);
    char name[BLOB_KEY_TEXT_SIZE];
    scoped_free char *fifo = path_join(fixture->dir, "_shared/fifo");
    scoped_free char *link_file = path_join(fixture->dir, "_shared/ab");
    scoped_free char *second = path_join(fixture->dir, "partial/second-name");
    char *rel = NULL;

    blob_key_format(blob, name);
    assert_true(asprintf(&rel, "_shared/%s/%s", strncmp(name + 4, "00", 2) ? "00" : "01", name) >
                0);
    file_write(fixture->dir, rel, "good", 4);
    file_write(fixture->dir, "_shared/00/MD5-upper", "x", 1);
    file_write(fixture->dir, "_shared/AB/x", "x", 1); /* a folder with something in it */
    file_write(fixture->dir, "partial/with space", "x", 1);
    file_write(fixture->dir, "partial/.map", "x", 1);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink("/", link_file), 0);
    assert_int_equal(link(here, second), 0); /* makes the blob itself foreign, too */

    /* And what is as it should be. */
    file_write(fixture->dir, "partial/fine", "x", 1);
    file_write(fixture->dir, "partial/md5-00112233445566778899aabbccddeeff-1", "x", 1);
    file_write(fixture->dir, "partial/md5-00112233445566778899aabbccddeeff-1.map", "x", 1);
    return rel;
}

static void foreign_of_all_sorts(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key good = put(fixture->store, "good");
    const struct store_keep keep = {.keys = &good, .count = 1};
    const struct audit_options options = {.deep = true, .repair = true};
    struct findings findings = {0};

    scoped_free char *misplaced = plant(fixture, &good);

    assert_int_equal(store_audit(fixture->store, &keep, NULL, &options, note, &findings), 0);
    for (size_t i = 0; i < findings.count; i++)
        assert_int_equal(findings.kinds[i], AUDIT_FOREIGN);
    assert_true(found(&findings, AUDIT_FOREIGN, misplaced));
    assert_true(found(&findings, AUDIT_FOREIGN, "_shared/AB"));
    assert_true(found(&findings, AUDIT_FOREIGN, "_shared/ab"));
    assert_true(found(&findings, AUDIT_FOREIGN, "_shared/fifo"));
    assert_true(found(&findings, AUDIT_FOREIGN, "_shared/00/MD5-upper"));
    assert_true(found(&findings, AUDIT_FOREIGN, "partial/with space"));
    assert_true(found(&findings, AUDIT_FOREIGN, "partial/.map"));
    assert_true(exists(fixture, "_shared/AB/x")); /* nobody's work is thrown away */
    assert_true(exists(fixture, "partial/fine"));
    assert_true(exists(fixture, "partial/md5-00112233445566778899aabbccddeeff-1"));
    assert_true(exists(fixture, "partial/md5-00112233445566778899aabbccddeeff-1.map"));
    assert_false(exists(fixture, "_shared/fifo"));
    assert_false(exists(fixture, "_shared/ab"));

    /* What could not be mended the first time is all that is left, but for the blob: whichever of
     * its two names went first, the other one is then its only one. */
    memset(&findings, 0, sizeof(findings));
    assert_int_equal(store_audit(fixture->store, &keep, NULL, &options, note, &findings), 0);
    assert_int_equal(findings.count, 1);
    assert_true(found(&findings, AUDIT_FOREIGN, "_shared/AB"));
}

struct tally {
    uint64_t last;
};

static void tell(void *arg, uint64_t bytes_done)
{
    struct tally *tally = arg;

    assert_true(bytes_done >= tally->last);
    tally->last = bytes_done;
}

static void progress_counts_bytes(void **state)
{
    struct fixture *fixture = *state;
    struct tally tally = {0};
    struct blob_key keys[2] = {put(fixture->store, "hello"), put(fixture->store, "world!")};
    const struct audit_options options = {.deep = true, .progress = tell, .progress_arg = &tally};
    struct findings findings = {0};

    qsort(keys, 2, sizeof(*keys), by_key);
    const struct store_keep keep = {.keys = keys, .count = 2};

    assert_int_equal(store_audit(fixture->store, &keep, &keep, &options, note, &findings), 0);
    assert_int_equal(findings.count, 0);
    assert_int_equal(tally.last, 11);
}

static void touch_while_read(void *arg, uint64_t bytes_done)
{
    assert_int_equal(utimensat(AT_FDCWD, arg, NULL, 0), 0);
}

/* Bytes that were right when read say nothing about a file that changed meanwhile. */
static void changed_while_read_is_not_trusted(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, "hello");
    const struct store_keep keep = {.keys = &key, .count = 1};
    scoped_free char *path = blob_file(fixture, &key);
    const struct audit_options options = {.deep = true,
                                          .progress = touch_while_read,
                                          .progress_arg = path};

    assert_int_equal(store_audit(fixture->store, &keep, NULL, &options, NULL, NULL), 0);
    assert_int_equal(get(fixture->store, &key), -EUCLEAN);
    assert_int_equal(store_verify(fixture->store, &key), 0);
    assert_int_equal(get(fixture->store, &key), 0);
}

struct swap {
    struct store *store;
    struct blob_key key;
};

static void replace_while_read(void *arg, uint64_t bytes_done)
{
    struct swap *swap = arg;

    assert_int_equal(store_drop(swap->store, &swap->key), 0);
    put(swap->store, "hello");
}

static void record_is_of_the_newer_file(void **state)
{
    struct fixture *fixture = *state;
    struct swap swap = {fixture->store, put(fixture->store, "hello")};
    const struct store_keep keep = {.keys = &swap.key, .count = 1};
    const struct audit_options options = {.deep = true,
                                          .progress = replace_while_read,
                                          .progress_arg = &swap};

    assert_int_equal(store_audit(fixture->store, &keep, NULL, &options, NULL, NULL), 0);
    assert_int_equal(get(fixture->store, &swap.key), 0);
}

/* After an unclean stop one deep audit gives every good blob its trust back. */
static void deep_audit_renews_trust(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, "hello");
    const struct store_keep keep = {.keys = &key, .count = 1};
    const struct audit_options options = {.deep = true};

    crash(fixture);
    assert_int_equal(get(fixture->store, &key), -EUCLEAN);
    assert_int_equal(store_audit(fixture->store, &keep, &keep, &options, NULL, NULL), 0);
    assert_int_equal(get(fixture->store, &key), 0);
}

static void kinds_have_names(void **state)
{
    assert_string_equal(audit_kind_name(AUDIT_ORPHAN), "orphan blob");
    assert_string_equal(audit_kind_name(AUDIT_MISSING), "missing blob");
    assert_string_equal(audit_kind_name(AUDIT_WRONG_SIZE), "wrong size");
    assert_string_equal(audit_kind_name(AUDIT_WRONG_BYTES), "wrong bytes");
    assert_string_equal(audit_kind_name(AUDIT_FOREIGN), "foreign file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(finds_each_kind),
        fixture_test(shallow_does_not_read),
        fixture_test(repair_mends_all_but_missing),
        fixture_test(reader_may_look),
        fixture_test(foreign_of_all_sorts),
        fixture_test(progress_counts_bytes),
        fixture_test(changed_while_read_is_not_trusted),
        fixture_test(record_is_of_the_newer_file),
        fixture_test(deep_audit_renews_trust),
        cmocka_unit_test(kinds_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
