/* SPDX-License-Identifier: MIT */
/* Random histories of manifests against a naive model of what each must lead to.
 *
 * A history is six manifests in which packages, tables, domains and direct tables come and go,
 * change their content, are withheld, broken or hidden behind one name; sections vanish or are
 * suddenly empty; fetches fail; blobs are evicted. The model keeps a flat list of what is listed
 * and works out the next one with loops over all of it. After every step
 *
 *   (a) the tree's reference counts are what counting its nodes gives
 *   (b) its names and their content are the model's
 *   (c) no name lost its content through a failure, and nothing readable became unreadable
 *   (d) held sections kept their rows
 *   (e) two names share a blob if and only if they have the same content
 *
 * A failure prints the seed; HISTORY_SEED=<seed> runs that one history alone. */
#include "tests/unit/sync/stack_fixture.h"

#define HISTORIES 1200
#define STEPS 6
#define CLAIMS 48
#define FILES 3
#define VERSIONS 6

enum kind {
    GOOD,
    PARTS,
    UNVERIFIED,
    WITHHELD,
    BAD,
    KINDS,
};

enum package_kind {
    PACKAGE_ABSENT,
    PACKAGE_GOOD,
    PACKAGE_BROKEN, /* no list of tables */
};

/* One row that a manifest states. */
struct claim {
    enum tree_section section;
    enum kind kind;
    const char *slug, *name;
    unsigned version;
};

struct stated {
    struct claim claims[CLAIMS];
    size_t count;
    enum package_kind packages[4];
    enum { THERE, MISSING, EMPTY } sections[TREE_SECTIONS];
};

struct file {
    char part[8]; /* "" for a row that is one file */
    struct blob_key key;
};

/* One row that is listed. */
struct entry {
    enum tree_section section;
    const char *slug, *name;
    char path[64], token[16];
    struct file files[FILES];
    size_t file_count;
};

struct listing {
    struct entry entries[2 * CLAIMS];
    size_t count;
};

struct history {
    uint64_t seed, random;
    unsigned step;
    struct world world;
    struct stated stated;
    struct listing now; /* the model */
};

static const char *const slugs[] = {"sales", "a b", "a_b", "mkt"};
static const char *const tables[] = {"orders", "x y", "x_y", "x_y.parquet", "z"};
static const char *const bundles[] = {"fin", "f n", "f_n"};
static const char *const artifact_kinds[] = {"chunks", "digest"};

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static unsigned pick(struct history *history, unsigned below)
{
    history->random += UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned)(mix(history->random) % below);
}

/* What the server does to one file in one step is the same for the model and for the program. */
static unsigned fate(const struct history *history, const char *path, const char *part)
{
    struct blob_key key;
    char text[256];
    int size = snprintf(text, sizeof(text), "%s/%s", path, part);

    blob_key_of_bytes(text, (size_t)size, &key);
    return (unsigned)(mix(blob_key_hash(&key) ^ history->seed ^ history->step) >> 8);
}

static bool fetch_fails(const struct history *history, const char *path, const char *part)
{
    return fate(history, path, part) % 3 == 0;
}

/* --- stating --- */

static void state_row(struct history *history, enum tree_section section, const char *slug,
                      const char *name)
{
    static const enum kind often[] = {GOOD, GOOD, GOOD, GOOD, PARTS, UNVERIFIED, WITHHELD, BAD};
    struct stated *stated = &history->stated;

    if (pick(history, 3) == 0)
        return;
    stated->claims[stated->count++] = (struct claim){
        .section = section,
        .kind = section == TREE_MEMORY || !strcmp(slug, "digest")
                    ? (pick(history, 6) ? UNVERIFIED : BAD)
                : section == TREE_KNOWLEDGE ? (pick(history, 4) ? GOOD : BAD)
                                            : often[pick(history, 8)],
        .slug = slug,
        .name = name,
        .version = pick(history, VERSIONS),
    };
}

/* Most rows stay as they were; the rest is stated anew. */
static void state(struct history *history)
{
    struct stated before = history->stated;
    struct stated *stated = &history->stated;

    stated->count = 0;
    for (size_t p = 0; p < 4; p++) {
        unsigned die = pick(history, 12);

        stated->packages[p] = die < 2 ? PACKAGE_ABSENT : die == 2 ? PACKAGE_BROKEN : PACKAGE_GOOD;
        for (size_t t = 0; t < 5; t++)
            state_row(history, TREE_PACKAGES, slugs[p], tables[t]);
    }
    for (size_t t = 0; t < 5; t++)
        state_row(history, TREE_DIRECT, "_direct", tables[t]);
    for (size_t b = 0; b < 3; b++)
        state_row(history, TREE_MEMORY, bundles[b], bundles[b]);
    for (size_t b = 0; b < 6; b++)
        state_row(history, TREE_KNOWLEDGE, artifact_kinds[b / 3], bundles[b % 3]);
    for (size_t i = 0; i < stated->count; i++)
        for (size_t j = 0; j < before.count; j++)
            if (stated->claims[i].section == before.claims[j].section &&
                stated->claims[i].slug == before.claims[j].slug &&
                stated->claims[i].name == before.claims[j].name && pick(history, 2))
                stated->claims[i] = before.claims[j];
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++) {
        unsigned die = pick(history, 10);

        stated->sections[section] = die == 0 ? MISSING : die == 1 ? EMPTY : THERE;
        history->world.empty_confirmed[section] = pick(history, 2);
    }
}

static char letter(unsigned version)
{
    return (char)('a' + version % VERSIONS);
}

static void print_md5(FILE *out, const char *key, unsigned version)
{
    fprintf(out, ",'%s':'", key);
    for (int i = 0; i < 32; i++)
        fputc(letter(version), out);
    fprintf(out, "','size_bytes':%u", version % VERSIONS + 1);
}

static const char *label_key(const struct claim *claim)
{
    if (!strcmp(claim->slug, "chunks"))
        return "corpus_id";
    return claim->section == TREE_MEMORY || !strcmp(claim->slug, "digest") ? "slug" : "name";
}

static void print_claim(FILE *out, const struct claim *claim)
{
    fprintf(out, "{'%s':'%s'", label_key(claim), claim->name);
    if (claim->section == TREE_KNOWLEDGE)
        fprintf(out, ",'kind':'%s','id':'x'", claim->slug);
    if (claim->kind == BAD)
        fprintf(out, ",'md5':'bad'");
    else if (claim->section == TREE_MEMORY || !strcmp(claim->slug, "digest"))
        print_md5(out, "md5", claim->version);
    else if (claim->kind == GOOD || claim->kind == WITHHELD)
        print_md5(out, claim->version % 2 ? "hash" : "md5", claim->version);
    else if (claim->kind == UNVERIFIED)
        fprintf(out, ",'size_bytes':99,'updated':'2026-01-0%u'", claim->version + 1);
    if (claim->kind == WITHHELD)
        fprintf(out, ",'server_only':true");
    if (claim->kind == PARTS) {
        fprintf(out, ",'parts':[");
        for (unsigned part = 0; part <= claim->version % FILES; part++) {
            fprintf(out, "%s{'path':'k=%u/p'", part ? "," : "", part);
            print_md5(out, "hash", claim->version + part);
            fputc('}', out);
        }
        fputc(']', out);
    }
    fputc('}', out);
}

/* The claims of a section (and package), from a random one on. */
static void print_claims(struct history *history, FILE *out, enum tree_section section,
                         const char *slug)
{
    const struct stated *stated = &history->stated;
    size_t start = stated->count ? pick(history, (unsigned)stated->count) : 0;
    const char *comma = "";

    for (size_t i = 0; i < stated->count; i++) {
        const struct claim *claim = &stated->claims[(start + i) % stated->count];

        if (claim->section != section || (slug && claim->slug != slug))
            continue;
        fputs(comma, out);
        print_claim(out, claim);
        comma = ",";
    }
}

static void print_packages(struct history *history, FILE *out)
{
    const char *comma = "";
    unsigned start = pick(history, 4);

    for (unsigned i = 0; i < 4; i++) {
        unsigned p = (start + i) % 4;

        if (history->stated.packages[p] == PACKAGE_ABSENT)
            continue;
        fprintf(out, "%s{'slug':'%s'", comma, slugs[p]);
        if (p == 2)
            fprintf(out, ",'name':5"); /* for people only: no reason to lose anything */
        if (history->stated.packages[p] != PACKAGE_BROKEN) {
            fprintf(out, ",'tables':[");
            print_claims(history, out, TREE_PACKAGES, slugs[p]);
            fputc(']', out);
        }
        fputc('}', out);
        comma = ",";
    }
}

static char *print_manifest(struct history *history)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    fprintf(out, "{'tables':{}");
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++) {
        if (history->stated.sections[section] == MISSING)
            continue;
        fprintf(out, ",'%s':[", tree_section_name(section));
        if (history->stated.sections[section] == THERE && section == TREE_PACKAGES)
            print_packages(history, out);
        else if (history->stated.sections[section] == THERE)
            print_claims(history, out, section, NULL);
        fputc(']', out);
    }
    fputc('}', out);
    fclose(out);
    return text;
}

/* --- the model --- */

static void fold(const char *label, char *ret_folded)
{
    strcpy(ret_folded, label); /* the labels of this test need no more than this */
    for (char *c = ret_folded; *c; c++)
        *c = *c == ' ' ? '_' : *c;
}

static bool same_folder(const char *one, const char *other)
{
    char a[16], b[16];

    fold(one, a);
    fold(other, b);
    return !strcmp(a, b);
}

static void path_of(const struct claim *claim, char *ret_path)
{
    char slug[16], name[16];

    fold(claim->slug, slug);
    fold(claim->name, name);
    if (claim->section == TREE_MEMORY)
        sprintf(ret_path, "memory/%s/bundle.md", slug);
    else if (claim->section == TREE_KNOWLEDGE)
        sprintf(ret_path, "knowledge/%s.%s", name, !strcmp(slug, "digest") ? "md" : "duckdb");
    else
        sprintf(ret_path, "data/%s/%s%s", slug, name, claim->kind == PARTS ? "" : ".parquet");
}

static const struct entry *find_entry(const struct listing *listing, enum tree_section section,
                                      const char *slug, const char *name)
{
    for (size_t i = 0; i < listing->count; i++) {
        const struct entry *entry = &listing->entries[i];

        if (entry->section == section && !strcmp(entry->slug, slug) && !strcmp(entry->name, name))
            return entry;
    }
    return NULL;
}

static bool path_is_listed(const struct listing *listing, const char *path)
{
    for (size_t i = 0; i < listing->count; i++)
        if (!strcmp(listing->entries[i].path, path))
            return true;
    return false;
}

static bool has_section(const struct listing *listing, enum tree_section section)
{
    for (size_t i = 0; i < listing->count; i++)
        if (listing->entries[i].section == section)
            return true;
    return false;
}

/* Is the array of that section in the text empty? */
static bool is_empty(const struct stated *stated, enum tree_section section)
{
    if (stated->sections[section] == EMPTY)
        return true;
    for (size_t p = 0; section == TREE_PACKAGES && p < 4; p++)
        if (stated->packages[p] != PACKAGE_ABSENT)
            return false;
    for (size_t i = 0; section != TREE_PACKAGES && i < stated->count; i++)
        if (stated->claims[i].section == section)
            return false;
    return true;
}

static bool is_held(const struct history *history, enum tree_section section)
{
    if (history->stated.sections[section] == MISSING)
        return section != TREE_KNOWLEDGE || has_section(&history->now, section);
    return is_empty(&history->stated, section) && has_section(&history->now, section) &&
           !history->world.empty_confirmed[section];
}

static enum package_kind package_kind(const struct stated *stated, const char *slug)
{
    for (size_t p = 0; p < 4; p++)
        if (!strcmp(slugs[p], slug))
            return stated->packages[p];
    return PACKAGE_ABSENT;
}

/* The package of the smallest slug among those that share the folder. */
static const char *folder_owner(const struct stated *stated, const char *slug)
{
    const char *owner = slug;

    for (size_t p = 0; p < 4; p++)
        if (stated->packages[p] != PACKAGE_ABSENT && same_folder(slugs[p], slug) &&
            strcmp(slugs[p], owner) < 0)
            owner = slugs[p];
    return owner;
}

static bool is_believed(const struct stated *stated, const struct claim *claim)
{
    if (claim->kind == BAD || claim->kind == WITHHELD)
        return false;
    return claim->section != TREE_PACKAGES ||
           (package_kind(stated, claim->slug) == PACKAGE_GOOD &&
            !strcmp(folder_owner(stated, claim->slug), claim->slug));
}

/* Is the claim in the text, believed, and the first of those that want its path? */
static bool wins(const struct stated *stated, const struct claim *claim)
{
    char path[64], other[64];

    if (!is_believed(stated, claim))
        return false;
    path_of(claim, path);
    for (size_t i = 0; i < stated->count; i++) {
        const struct claim *rival = &stated->claims[i];

        path_of(rival, other);
        if (rival->section == claim->section && is_believed(stated, rival) &&
            !strcmp(path, other) && strcmp(rival->name, claim->name) < 0)
            return false;
    }
    return true;
}

/* May what the last tree had of this group still be shown? */
static bool folder_is_lost(const struct stated *stated, enum tree_section section, const char *slug)
{
    if (section == TREE_PACKAGES)
        for (size_t p = 0; p < 4; p++)
            if (stated->packages[p] == PACKAGE_GOOD && strcmp(slugs[p], slug) != 0 &&
                same_folder(slugs[p], slug) && !strcmp(folder_owner(stated, slugs[p]), slugs[p]))
                return true;
    for (size_t i = 0; section == TREE_MEMORY && i < stated->count; i++)
        if (stated->claims[i].section == TREE_MEMORY && wins(stated, &stated->claims[i]) &&
            strcmp(stated->claims[i].slug, slug) != 0 && same_folder(stated->claims[i].slug, slug))
            return true;
    return false;
}

static struct blob_key letter_key(unsigned version)
{
    char md5[33];

    memset(md5, letter(version), 32);
    md5[32] = '\0';
    return md5_key(md5, version % VERSIONS + 1);
}

/* What a fetch of a row brings of which only the bytes tell what it is. */
static struct blob_key fetched_key(const struct history *history, const char *path,
                                   unsigned version)
{
    char bytes[128];

    snprintf(bytes, sizeof(bytes), "%s version %u.%u", path, version,
             fate(history, path, "drift") % 4 == 0);
    return bytes_key(bytes);
}

static const struct file *find_file(const struct entry *entry, const char *part)
{
    for (size_t i = 0; entry && i < entry->file_count; i++)
        if (!strcmp(entry->files[i].part, part))
            return &entry->files[i];
    return NULL;
}

/* What a claim that has won its name will show; false if nothing. */
static bool model_claim(struct history *history, const struct claim *claim, struct entry *next)
{
    const struct entry *old = find_entry(&history->now, claim->section, claim->slug, claim->name);
    bool failed = false;

    *next = (struct entry){.section = claim->section, .slug = claim->slug, .name = claim->name};
    path_of(claim, next->path);
    sprintf(next->token, "%d:%u", (int)claim->kind, claim->version);
    if (old && strcmp(old->path, next->path) != 0)
        old = NULL;
    if (claim->kind == UNVERIFIED) {
        bool same = old && !strcmp(old->token, next->token);

        next->file_count = 1;
        if (same && world_has(&history->world, &old->files[0].key)) {
            next->files[0] = old->files[0];
        } else if (!fetch_fails(history, next->path, "")) {
            next->files[0].key = fetched_key(history, next->path, claim->version);
        } else {
            if (old)
                *next = *old;
            return old != NULL;
        }
        return true;
    }
    next->file_count = claim->kind == PARTS ? claim->version % FILES + 1 : 1;
    for (unsigned i = 0; i < next->file_count; i++) {
        struct file *file = &next->files[i];

        if (claim->kind == PARTS)
            sprintf(file->part, "k=%u/p", i);
        file->key = letter_key(claim->version + i);

        const struct file *shown = find_file(old, file->part);

        if (shown && !blob_key_equal(&shown->key, &file->key) &&
            world_has(&history->world, &shown->key) && !world_has(&history->world, &file->key))
            failed |= fetch_fails(history, next->path, file->part);
    }
    if (failed)
        *next = *old;
    return true;
}

/* Did the text drop the row, rather than leave it out? */
static bool is_dropped(const struct stated *stated, const struct entry *entry)
{
    bool any_row = false;
    enum package_kind kind = package_kind(stated, entry->slug);

    for (size_t i = 0; i < stated->count; i++) {
        const struct claim *claim = &stated->claims[i];

        if (claim->section != entry->section || strcmp(claim->slug, entry->slug) != 0)
            continue;
        any_row = true;
        if (strcmp(claim->name, entry->name) != 0)
            continue;
        if (entry->section == TREE_PACKAGES && kind != PACKAGE_BROKEN &&
            strcmp(folder_owner(stated, entry->slug), entry->slug) != 0)
            return kind != PACKAGE_ABSENT;
        if (entry->section != TREE_PACKAGES || kind == PACKAGE_GOOD)
            return claim->kind != WITHHELD && !wins(stated, claim);
    }
    if (entry->section != TREE_PACKAGES)
        return false;
    if (kind == PACKAGE_BROKEN)
        return true;
    return !any_row && kind == PACKAGE_GOOD &&
           strcmp(folder_owner(stated, entry->slug), entry->slug) != 0;
}

static void model_next(struct history *history, struct listing *next)
{
    const struct stated *stated = &history->stated;

    next->count = 0;
    for (size_t i = 0; i < stated->count; i++) {
        const struct claim *claim = &stated->claims[i];

        if (stated->sections[claim->section] == THERE && wins(stated, claim) &&
            model_claim(history, claim, &next->entries[next->count]))
            next->count++;
    }
    for (size_t i = 0; i < history->now.count; i++) {
        const struct entry *old = &history->now.entries[i];
        bool keep = is_held(history, old->section) ||
                    (stated->sections[old->section] == THERE && is_dropped(stated, old) &&
                     !folder_is_lost(stated, old->section, old->slug) &&
                     !path_is_listed(next, old->path));

        if (keep)
            next->entries[next->count++] = *old;
    }
}

/* --- comparing --- */

struct line {
    char path[96];
    struct blob_key key;
    uint32_t blob;
};

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct line *)a)->path, ((const struct line *)b)->path);
}

static size_t model_lines(const struct listing *listing, struct line *lines)
{
    size_t count = 0;

    for (size_t i = 0; i < listing->count; i++)
        for (size_t f = 0; f < listing->entries[i].file_count; f++) {
            const struct entry *entry = &listing->entries[i];
            const char *part = entry->files[f].part;

            sprintf(lines[count].path, "%s%s%s", entry->path, *part ? "/" : "", part);
            lines[count++].key = entry->files[f].key;
        }
    qsort(lines, count, sizeof(*lines), by_path);
    return count;
}

/* (a) on the way. */
static size_t tree_lines(const struct tree *tree, struct line *lines)
{
    uint32_t counted[512] = {0};
    size_t count = 0;

    assert_true(tree_blob_count(tree) < 512);
    for (uint32_t i = 0; i < tree_node_count(tree); i++) {
        const struct tree_node *node = tree_node(tree, i);

        if (node->type != TREE_BLOB)
            continue;
        assert_int_equal(tree_path(tree, node, lines[count].path, sizeof(lines->path)), 0);
        lines[count].blob = node->blob;
        lines[count++].key = tree_blob(tree, node->blob)->key;
        counted[node->blob]++;
    }
    for (uint32_t i = 0; i < tree_blob_count(tree); i++) {
        const struct tree_blob *blob = tree_blob(tree, i);

        assert_int_equal(blob->references, counted[i]);
        for (uint32_t r = 0; r < blob->references; r++)
            assert_int_equal(tree_reference(tree, blob->first + r)->blob, i);
    }
    qsort(lines, count, sizeof(*lines), by_path);
    return count;
}

static void compare_names(const struct history *history, const struct listing *expected)
{
    struct line model[2 * CLAIMS * FILES], found[2 * CLAIMS * FILES];
    size_t count = model_lines(expected, model);

    assert_int_equal(tree_lines(history->world.last, found), count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(found[i].path, model[i].path);
        if (!blob_key_equal(&found[i].key, &model[i].key))
            fail_msg("%s has other content", found[i].path);
        for (size_t j = 0; j < i; j++) /* (e) */
            assert_int_equal(found[i].blob == found[j].blob,
                             blob_key_equal(&model[i].key, &model[j].key));
    }
}

/* Do two nodes of two trees belong to one row? */
static bool same_row(const struct tree *a, const struct tree_node *one, const struct tree *b,
                     const struct tree_node *other)
{
    const struct tree_row *row = tree_row(a, one->row), *other_row = tree_row(b, other->row);

    return !strcmp(row->name, other_row->name) &&
           !strcmp(tree_group(a, row->group)->slug, tree_group(b, other_row->group)->slug);
}

/* (c) from the trees and the plan alone, without the model. */
static void check_nothing_lost(const struct history *history, const struct tree *before,
                               const struct blob_key *resident, size_t resident_count)
{
    const struct tree *after = history->world.last;
    size_t count;
    const struct tree_group *groups = manifest_groups(history->world.manifest, &count);
    const struct plan_item *items = plan_items(history->world.plan, &count);

    for (size_t i = 0; before && i < count; i++) {
        const struct tree_row *row = &items[i].row->row;
        const struct tree_node *old = tree_find(before, row->path);
        bool same = old && !strcmp(tree_row(before, old->row)->name, row->name) &&
                    !strcmp(tree_group(before, tree_row(before, old->row)->group)->slug,
                            groups[row->group].slug);

        if (items[i].outcome == PLAN_FAILED && same && !tree_find(after, row->path))
            fail_msg("%s lost its content", row->path);
    }
    for (uint32_t i = 0; before && i < tree_node_count(before); i++) {
        const struct tree_node *old = tree_node(before, i);
        char path[TREE_PATH_MAX];
        bool readable = false;

        for (size_t r = 0; old->type == TREE_BLOB && r < resident_count; r++)
            readable |= blob_key_equal(&resident[r], &tree_blob(before, old->blob)->key);
        if (!readable)
            continue;
        tree_path(before, old, path, sizeof(path));

        const struct tree_node *new = tree_find(after, path);

        if (!new || !same_row(before, old, after, new))
            continue;
        if (!world_has((void *)&history->world, &tree_blob(after, new->blob)->key))
            fail_msg("%s was readable", path);
    }
}

static size_t rows_of(const struct tree *tree, enum tree_section section)
{
    size_t count = 0;

    for (uint32_t i = 0; tree && i < tree_row_count(tree); i++)
        count += tree_group(tree, tree_row(tree, i)->group)->section == section;
    return count;
}

/* (d), withheld rows included. */
static void check_held(const struct history *history, const struct tree *before)
{
    const struct tree *after = history->world.last;

    for (enum tree_section section = 0; section < TREE_SECTIONS; section++) {
        bool held = plan_section_held(history->world.plan, section);

        assert_int_equal(held, is_held(history, section));
        if (held)
            assert_int_equal(rows_of(before, section), rows_of(after, section));
    }
}

/* --- running --- */

static void settle_items(struct history *history)
{
    size_t count;
    const struct plan_item *items = plan_items(history->world.plan, &count);

    for (size_t i = 0; i < count; i++) {
        const char *path = items[i].row->row.path;
        const char *part = items[i].file->part ? items[i].file->part : "";
        struct blob_key key = items[i].key;
        const char *name = items[i].row->row.name;
        unsigned version = 0;

        if (fetch_fails(history, path, part)) {
            world_failed(&history->world, i);
            continue;
        }
        for (size_t c = 0; c < history->stated.count && key.kind == BLOB_NONE; c++) {
            char other[64];

            path_of(&history->stated.claims[c], other);
            if (!strcmp(other, path) && !strcmp(history->stated.claims[c].name, name) &&
                wins(&history->stated, &history->stated.claims[c]))
                version = history->stated.claims[c].version;
        }
        if (key.kind == BLOB_NONE)
            key = fetched_key(history, path, version);
        world_done(&history->world, i, key);
    }
}

/* The cache loses some blobs and gains some that are listed. */
static void stir_cache(struct history *history)
{
    struct world *world = &history->world;
    size_t kept = 0;

    for (size_t i = 0; i < world->resident_count; i++)
        if (pick(history, 5))
            world->resident[kept++] = world->resident[i];
    world->resident_count = kept;
    for (uint32_t i = 0; world->last && i < tree_blob_count(world->last); i++)
        if (pick(history, 2) && !world_has(world, &tree_blob(world->last, i)->key))
            world_add(world, tree_blob(world->last, i)->key);
}

static void run_step(struct history *history)
{
    struct world *world = &history->world;
    struct blob_key resident[WORLD_KEYS];
    struct tree *before = NULL;
    struct listing next;

    stir_cache(history);
    state(history);
    size_t resident_count = world->resident_count;
    memcpy(resident, world->resident, resident_count * sizeof(*resident));
    model_next(history, &next);

    char *text = print_manifest(history);

    if (getenv("HISTORY_SEED"))
        print_message("step %u: %s\n", history->step, text);
    world->now_ns += 1000000000;
    world_plan(world, text);
    settle_items(history);
    world_publish(world, &before);
    compare_names(history, &next);
    check_nothing_lost(history, before, resident, resident_count);
    check_held(history, before);
    tree_unref(before);
    free(text);
    history->now = next;
}

/* cmocka leaves a test by longjmp, so the seed is printed by whoever comes back here first. */
static uint64_t running_seed;

static int print_seed_if_failed(void **state)
{
    (void)state;
    if (running_seed)
        print_error("HISTORY_SEED=%llu\n", (unsigned long long)running_seed);
    return 0;
}

static void run_history(uint64_t seed)
{
    static struct history history;

    running_seed = seed;
    history = (struct history){.seed = mix(seed), .random = mix(~seed)};
    world_open(&history.world);
    for (history.step = 0; history.step < STEPS; history.step++)
        run_step(&history);
    world_close(&history.world);
    running_seed = 0;
}

static void histories(void **state)
{
    const char *one = getenv("HISTORY_SEED");

    for (uint64_t seed = one ? strtoull(one, NULL, 10) : 1; seed <= HISTORIES || one; seed++) {
        run_history(seed);
        if (one)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(histories, print_seed_if_failed),
    };

    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
