/* SPDX-License-Identifier: MIT */
/* tree.h - one generation of the folder, and the vocabulary everybody shares.
 *
 * A tree is built once, frozen, and from then on never changes. That is the whole trick of this
 * program: readers need no locks, and an update is a different tree, not a different state of this
 * one.
 *
 *     tree_builder_new -> add_* in any order -> tree_builder_freeze -> tree
 *
 * What is in it:
 *   row    one line of the manifest (a table, a bundle), withheld ones included. It says what
 *          people want to know; a listed row has a path in the tree.
 *   node   one name: a directory, a blob, a text that travels inside the tree (a generated
 *          README.md), or a live document that is rendered when somebody looks at it.
 *   blob   bytes that names point to. The number of names is its reference count: what `stat`
 *          shows as st_nlink.
 *
 * Lifetime: freeze returns one reference; tree_ref and tree_unref from any thread. Nodes, rows,
 * blobs and their strings live exactly as long as the tree.
 * Order: children of a directory are a contiguous slice sorted by strcmp; blobs are sorted by
 * blob_key_compare. Lookups cost log n.
 * Errors: -EINVAL bad path, -EEXIST a name twice, -ENOTDIR a file used as directory, -ENOENT,
 * -ENOMEM. Paths are relative to the root, without leading or trailing slash, without empty, "."
 * or ".." segments, segments of at most 255 bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/key.h"

struct tree;
struct tree_builder;

enum tree_section {
    TREE_DIRECT,    /* tables granted outside any package */
    TREE_PACKAGES,  /* tables of data packages */
    TREE_MEMORY,    /* corporate-memory bundles */
    TREE_KNOWLEDGE, /* databases of text chunks, and digests */
    TREE_SECTIONS,
};

/* All that tells the sections apart. Whoever treats them differently asks here. */
struct tree_section_facts {
    const char *name;       /* "data_packages": the manifest's and the state file's word */
    const char *folder;     /* its rows lie below it: "data" */
    const char *group_key;  /* what reports call a row's group; NULL: its name alone says which */
    const char *name_key;   /* what they call its name */
    const char *stack_type; /* the word for it in the server's list of my stack; NULL: not in it */
    bool has_tables;        /* its rows are tables */
    bool is_lasting;        /* its groups are listed, as folders, even without a row */
    bool is_alone;          /* each of its rows is a group of its own */
    bool is_optional;       /* there are servers that have no such section */
};

const struct tree_section_facts *tree_section(enum tree_section section);

static inline const char *tree_section_name(enum tree_section section)
{
    return tree_section(section)->name;
}

/* What the bytes of a row are: where they are asked for, and what they have to look like. */
enum tree_form {
    FORM_PARQUET,
    FORM_BUNDLE,   /* Markdown, as it comes */
    FORM_DATABASE, /* a DuckDB file */
    FORM_DIGEST,   /* comes as JSON, is kept as the Markdown page made of it (digest_page.h) */
};

/* Its md5 is a token of change and not of the bytes, which only tell themselves what they are. They
 * are small, and may come compressed. */
static inline bool tree_form_is_text(enum tree_form form)
{
    return form == FORM_BUNDLE || form == FORM_DIGEST;
}

/* The groups of TREE_KNOWLEDGE: the manifest's words for its two kinds. */
#define TREE_KIND_CHUNKS "chunks"
#define TREE_KIND_DIGEST "digest"

/* How a group came into the stack (contract 1.3). */
enum tree_requirement {
    REQUIREMENT_UNKNOWN,
    REQUIREMENT_REQUIRED,  /* everybody who may have it has it */
    REQUIREMENT_AVAILABLE, /* the user may take it, and leave it */
    REQUIREMENTS,
};

/* The server's word, and that of the state file: "required", "available"; NULL for unknown. */
const char *tree_requirement_name(enum tree_requirement requirement);
enum tree_requirement tree_requirement_from_name(const char *name); /* NULL is allowed */

/* What holds rows together: a data package, the direct tables, one memory domain, one kind of
 * knowledge. */
struct tree_group {
    enum tree_section section;
    const char *slug;        /* as the server says it */
    const char *folder;      /* as a name in the tree: "sales", "_direct", "finance"; of knowledge,
                              * which has one folder for all, the kind */
    const char *name;        /* for people; may be "" */
    const char *description; /* may be "" */
    enum tree_requirement requirement;
};

enum tree_form tree_group_form(const struct tree_group *group);

enum tree_row_flags {
    TREE_ROW_PARTS = 1,      /* the path is a directory of parts */
    TREE_ROW_UNVERIFIED = 2, /* the manifest gives no md5: size and PAR1 marks are all we know */
    TREE_ROW_KEPT = 4,       /* shows older content: the newer could not be had yet */
    TREE_ROW_POLICY = 8,     /* an access policy decides which rows and columns it has for us */
    TREE_ROW_STALE = 16,     /* a digest that could not be made anew since its sources changed */
};

struct tree_row {
    uint32_t group;         /* index into the tree's groups */
    uint32_t flags;         /* enum tree_row_flags */
    const char *name;       /* as the server says it */
    const char *title;      /* for people, of knowledge artifacts; "" otherwise */
    const char *path;       /* where in the tree; NULL when withheld */
    const char *table_id;   /* the server's id; "" if it gave none */
    const char *token;      /* what the manifest says of the content; unequal means refetch */
    const char *md5;        /* the manifest's md5 or hash; "" if none. Not always of the bytes */
    const char *url;        /* as the manifest gives it; "" if the source derives it */
    const char *updated;    /* as the manifest gives it; "" if none */
    const char *query_mode; /* "local", "remote"...; "" for bundles */
    const char *withheld;   /* why it is not for local use; NULL when listed */
    int64_t rows;           /* of a database its chunks; -1 when unknown */
    uint64_t size;          /* bytes of all its files */
};

enum tree_type {
    TREE_DIR,
    TREE_BLOB,
    TREE_TEXT,
    TREE_LIVE,
};

#define TREE_NO_ROW UINT32_MAX

struct tree_node {
    const char *name;
    uint32_t parent; /* index of the directory; the root is its own parent */
    enum tree_type type;
    uint32_t row; /* TREE_NO_ROW for directories that are no table, texts and live documents */
    union {
        struct {
            uint32_t first; /* children are nodes [first, first + count) */
            uint32_t count;
        } dir;
        uint32_t blob; /* index into the tree's blobs */
        struct {
            const char *bytes;
            size_t size;
            const struct blob_key *key; /* xxh key of the bytes: what they are */
        } text;
        unsigned live; /* which document; the number given to tree_builder_add_live */
    };
};

struct tree_blob {
    struct blob_key key;
    int64_t mtime_ns;    /* of this content; the same wherever the blob appears */
    uint32_t references; /* names that point here */
    uint32_t first;      /* they are tree_reference(tree, first + i), in path order */
};

/* Is it a path as described above? "" is none. */
bool tree_path_is_valid(const char *path);

/* --- building --- */

int tree_builder_new(uint64_t generation, struct tree_builder **ret_builder);
void tree_builder_free(struct tree_builder *builder);
void tree_builder_freep(struct tree_builder *const *builder);

/* Copies the group, the row and their strings; ret_index is what rows and nodes refer to. */
int tree_builder_add_group(struct tree_builder *builder, const struct tree_group *group,
                           uint32_t *ret_index);
int tree_builder_add_row(struct tree_builder *builder, const struct tree_row *row,
                         uint32_t *ret_index);

/* Directories above a path appear by themselves; an explicit one may be empty, and twice. */
int tree_builder_add_dir(struct tree_builder *builder, const char *path, uint32_t row);

/* Equal keys given with different times end with the earliest. */
int tree_builder_add_blob(struct tree_builder *builder, const char *path, uint32_t row,
                          const struct blob_key *key, int64_t mtime_ns);
int tree_builder_add_text(struct tree_builder *builder, const char *path, const char *bytes,
                          size_t size);
int tree_builder_add_live(struct tree_builder *builder, const char *path, unsigned live);

/* What was added so far; the arrays stay until the next group or row is added. */
const struct tree_group *tree_builder_groups(const struct tree_builder *builder, size_t *ret_count);
const struct tree_row *tree_builder_rows(const struct tree_builder *builder, size_t *ret_count);

/* Consumes the builder on success. Duplicates are found here: -EEXIST, -ENOTDIR. After a failure
 * the builder is good for nothing but tree_builder_free. */
int tree_builder_freeze(struct tree_builder *builder, struct tree **ret_tree);

/* --- reading --- */

struct tree *tree_ref(struct tree *tree);
void tree_unref(struct tree *tree); /* NULL is allowed */
void tree_unrefp(struct tree *const *tree);

uint64_t tree_generation(const struct tree *tree);

const struct tree_node *tree_root(const struct tree *tree);
const struct tree_node *tree_node(const struct tree *tree, uint32_t index);
uint32_t tree_node_index(const struct tree *tree, const struct tree_node *node);
size_t tree_node_count(const struct tree *tree);

/* "" is the root. NULL if there is no such path. */
const struct tree_node *tree_find(const struct tree *tree, const char *path);
const struct tree_node *tree_child(const struct tree *tree, const struct tree_node *dir,
                                   const char *name);

/* Writes the node's path ("" for the root). -ENAMETOOLONG if size is too small. */
int tree_path(const struct tree *tree, const struct tree_node *node, char *ret_path, size_t size);
#define TREE_PATH_MAX 4096

const struct tree_group *tree_group(const struct tree *tree, uint32_t index);
size_t tree_group_count(const struct tree *tree);
const struct tree_row *tree_row(const struct tree *tree, uint32_t index);
size_t tree_row_count(const struct tree *tree);
const struct tree_blob *tree_blob(const struct tree *tree, uint32_t index);
size_t tree_blob_count(const struct tree *tree);
const struct tree_blob *tree_blob_find(const struct tree *tree, const struct blob_key *key);

/* The node of a blob's reference number first + i. Path order: depth first, siblings by strcmp. */
const struct tree_node *tree_reference(const struct tree *tree, uint32_t index);

/* Bytes of all blobs, each counted once. */
uint64_t tree_bytes(const struct tree *tree);

/* A sum of sizes that somebody has said, and so may be anything, ends where JSON's numbers do. */
#define TREE_BYTES_MAX (((uint64_t)1 << 53) - 1)

static inline uint64_t tree_bytes_sum(uint64_t sum, uint64_t size)
{
    return size < TREE_BYTES_MAX - sum ? sum + size : TREE_BYTES_MAX;
}

/* The same content at the same time: what `stat` and `read` would show. Names do not count, and any
 * two directories are equal. */
bool tree_node_equal(const struct tree *a_tree, const struct tree_node *a,
                     const struct tree *b_tree, const struct tree_node *b);

/* The same names, contents, times, rows and groups. The generation does not count, nor does the
 * order in which rows and groups were added. */
bool tree_equal(const struct tree *a, const struct tree *b);

/* For debug builds: counts references, parents and orders all over again. -EUCLEAN if anything is
 * not as it says, -ENOMEM. */
int tree_check(const struct tree *tree);
