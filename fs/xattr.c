/* SPDX-License-Identifier: MIT */
/* user.agnes.*: what the manifest and the cache say of a file, one value each, as text.
 *
 * A file is a blob, and a blob may be listed by several rows; the row of its first name in path
 * order speaks for it. Listed on the root only, though readable everywhere: otherwise cp -a,
 * rsync -X and tar --xattrs would carry them along, or stumble over them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/mount_private.h"

#define PREFIX "user.agnes."

/* All that a value can be made of. row and blob are NULL where there is none. */
struct subject {
    struct mount *mount;
    const struct tree *tree;
    const struct inode_facts *facts;
    const struct tree_blob *blob;
    const struct tree_row *row;
};

#define VALUE_SIZE 1024

/* Each writes a text and returns its length, or -ENODATA. */
typedef int value_fn(const struct subject *subject, char text[static VALUE_SIZE]);

static int print_string(const char *string, char text[static VALUE_SIZE])
{
    if (!string || !*string)
        return -ENODATA;
    return snprintf(text, VALUE_SIZE, "%.*s", VALUE_SIZE - 1, string);
}

static bool is_partial(const struct provider *provider, const struct blob_key *key)
{
    scoped(partial_putp) struct partial *partial = NULL;

    return provider->find(provider->arg, key, &partial) == 0 && partial_bytes(partial) > 0;
}

static int value_state(const struct subject *subject, char text[static VALUE_SIZE])
{
    const struct provider *provider = &subject->mount->conf.provider;
    char problem[160] = "";

    if (subject->facts->type != INODE_BLOB)
        return -ENODATA;
    if (provider->present(provider->arg, &subject->facts->key))
        return print_string(subject->row && subject->row->flags & TREE_ROW_UNVERIFIED ? "unverified"
                                                                                      : "resident",
                            text);
    provider->problem(provider->arg, &subject->facts->key, problem);
    return print_string(*problem                                     ? "error"
                        : is_partial(provider, &subject->facts->key) ? "partial"
                                                                     : "cold",
                        text);
}

static int value_md5(const struct subject *subject, char text[static VALUE_SIZE])
{
    char key[BLOB_KEY_TEXT_SIZE];

    if (subject->facts->type != INODE_BLOB || subject->facts->key.kind != BLOB_MD5)
        return -ENODATA;
    blob_key_format(&subject->facts->key, key);
    return snprintf(text, VALUE_SIZE, "%.32s", key + strlen("md5-"));
}

static int value_table_id(const struct subject *subject, char text[static VALUE_SIZE])
{
    return print_string(subject->row ? subject->row->table_id : NULL, text);
}

static int value_rows(const struct subject *subject, char text[static VALUE_SIZE])
{
    if (!subject->row || subject->row->rows < 0)
        return -ENODATA;
    return snprintf(text, VALUE_SIZE, "%" PRId64, subject->row->rows);
}

static int value_updated(const struct subject *subject, char text[static VALUE_SIZE])
{
    return print_string(subject->row ? subject->row->updated : NULL, text);
}

static int value_query_mode(const struct subject *subject, char text[static VALUE_SIZE])
{
    return print_string(subject->row ? subject->row->query_mode : NULL, text);
}

static int value_references(const struct subject *subject, char text[static VALUE_SIZE])
{
    if (subject->facts->type != INODE_BLOB)
        return -ENODATA;
    return snprintf(text, VALUE_SIZE, "%" PRIu32, subject->blob ? subject->blob->references : 0);
}

static int value_generation(const struct subject *subject, char text[static VALUE_SIZE])
{
    return snprintf(text, VALUE_SIZE, "%" PRIu64, tree_generation(subject->tree));
}

static int value_source(const struct subject *subject, char text[static VALUE_SIZE])
{
    return print_string(subject->mount->source, text);
}

static int value_error(const struct subject *subject, char text[static VALUE_SIZE])
{
    const struct provider *provider = &subject->mount->conf.provider;
    char problem[160] = "";

    if (subject->facts->type != INODE_BLOB)
        return -ENODATA;
    provider->problem(provider->arg, &subject->facts->key, problem);
    return print_string(problem, text);
}

static const struct {
    const char *name;
    value_fn *value;
    const char *meaning; /* for the manual */
} values[] = {
    {PREFIX "state", value_state,
     "resident, partial, cold, error, or unverified: resident, but no md5 was ever given"},
    {PREFIX "md5", value_md5, "of the content, as the manifest says"},
    {PREFIX "table_id", value_table_id, "what the server calls the table"},
    {PREFIX "rows", value_rows, "how many rows the table has"},
    {PREFIX "updated", value_updated, "when the content last changed, as the manifest says"},
    {PREFIX "query_mode", value_query_mode, "local, and the like, as the manifest says"},
    {PREFIX "references", value_references, "how many names the content has: st_nlink"},
    {PREFIX "generation", value_generation, "the generation that is shown"},
    {PREFIX "source", value_source, "where the stack comes from"},
    {PREFIX "error", value_error, "why the content can not be had, after a read of it has failed"},
};

#define VALUES (sizeof(values) / sizeof(values[0]))

const char *mount_xattr(size_t index, const char **ret_meaning)
{
    if (index >= VALUES)
        return NULL;
    *ret_meaning = values[index].meaning;
    return values[index].name;
}

static value_fn *find_value(const char *name)
{
    for (size_t i = 0; i < VALUES; i++)
        if (!strcmp(values[i].name, name))
            return values[i].value;
    return NULL;
}

/* A folder that is a partitioned table has a row of its own. */
static const struct tree_row *row_of(const struct subject *subject)
{
    const struct tree_node *node = NULL;

    if (subject->blob)
        node = tree_reference(subject->tree, subject->blob->first);
    else if (subject->facts->type == INODE_DIR)
        node = tree_find(subject->tree, subject->facts->path);
    return node && node->row != TREE_NO_ROW ? tree_row(subject->tree, node->row) : NULL;
}

static int value_of(struct mount *mount, fuse_ino_t nodeid, const char *name,
                    char text[static VALUE_SIZE])
{
    value_fn *value = find_value(name);
    scoped_view struct view_now now = {0};
    struct inode_facts facts;
    struct subject subject;
    int r;

    if (!value) /* of security.* and system.*, ls -l then asks for one file and no more */
        return strncmp(name, "user.", 5) ? -EOPNOTSUPP : -ENODATA;
    r = inode_facts(mount->table, nodeid, &facts);
    if (r < 0)
        return r;
    now = view_get(&mount->view);
    subject = (struct subject){.mount = mount, .tree = now.tree, .facts = &facts};
    if (facts.type == INODE_BLOB)
        subject.blob = tree_blob_find(now.tree, &facts.key);
    subject.row = row_of(&subject);
    return value(&subject, text);
}

static void reply_value(fuse_req_t req, const char *text, size_t length, size_t room)
{
    if (!room)
        fuse_reply_xattr(req, length);
    else if (room < length)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, text, length);
}

void serve_getxattr(fuse_req_t req, fuse_ino_t nodeid, const char *name, size_t size)
{
    char text[VALUE_SIZE];
    const int r = value_of(mount_of(req), nodeid, name, text);

    if (r < 0)
        fuse_reply_err(req, errno_for_reader(r));
    else
        reply_value(req, text, (size_t)r, size);
}

void serve_listxattr(fuse_req_t req, fuse_ino_t nodeid, size_t size)
{
    char names[VALUES * 64];
    char text[VALUE_SIZE];
    size_t used = 0;

    for (size_t i = 0; nodeid == INODE_ROOT && i < VALUES; i++) {
        if (value_of(mount_of(req), nodeid, values[i].name, text) < 0)
            continue;
        memcpy(names + used, values[i].name, strlen(values[i].name) + 1);
        used += strlen(values[i].name) + 1;
    }
    reply_value(req, names, used, size);
}
