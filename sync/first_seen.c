/* SPDX-License-Identifier: MIT */
/* A hash table of keys, and a text file of them. Why a crash costs at most the newest times: the
 * file is written beside the old one, made durable, and renamed over it. Lines that are not what
 * we write are passed over one by one, so a damaged file loses only what is damaged. */
#include "sync/first_seen.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/files.h"
#include "cache/scoped.h"

#define FIRST_SEEN_FILE "first_seen"
#define FIRST_SEEN_TEMP "first_seen.new"

struct sight {
    struct blob_key key; /* kind BLOB_NONE: free */
    int64_t ns;
};

struct first_seen {
    int dirfd;
    struct sight *table; /* open addressing, never more than half full */
    size_t size;         /* a power of two, or 0 */
    size_t count;
    bool changed;
};

static inline void close_file(FILE *const *file)
{
    if (*file)
        fclose(*file);
}

/* --- the table --- */

/* Where key is, or would be. */
static struct sight *find(const struct first_seen *seen, const struct blob_key *key)
{
    size_t at = (size_t)blob_key_hash(key) & (seen->size - 1);

    while (seen->table[at].key.kind != BLOB_NONE && !blob_key_equal(&seen->table[at].key, key))
        at = (at + 1) & (seen->size - 1);
    return &seen->table[at];
}

static int resize(struct first_seen *seen, size_t size)
{
    struct first_seen larger = *seen;

    larger.size = size;
    larger.table = calloc(size, sizeof(*larger.table));
    if (!larger.table)
        return -ENOMEM;
    for (size_t i = 0; i < seen->size; i++)
        if (seen->table[i].key.kind != BLOB_NONE)
            *find(&larger, &seen->table[i].key) = seen->table[i];
    free(seen->table);
    *seen = larger;
    return 0;
}

static int remember(struct first_seen *seen, const struct blob_key *key, int64_t ns)
{
    struct sight *sight;

    if (seen->count >= seen->size / 2) {
        int r = resize(seen, seen->size ? seen->size * 2 : 64);

        if (r < 0)
            return r;
    }
    sight = find(seen, key);
    seen->count += sight->key.kind == BLOB_NONE;
    *sight = (struct sight){*key, ns};
    return 0;
}

int64_t first_seen_ask(struct first_seen *seen, const struct blob_key *key, int64_t now_ns)
{
    const struct sight *sight = seen->size ? find(seen, key) : NULL;

    if (sight && sight->key.kind != BLOB_NONE)
        return sight->ns;
    if (remember(seen, key, now_ns) == 0)
        seen->changed = true;
    return now_ns;
}

/* --- the file --- */

/* "<key> <ns>\n" */
static bool parse_line(const char *line, struct blob_key *ret_key, int64_t *ret_ns)
{
    char text[BLOB_KEY_TEXT_SIZE];
    int end = 0;

    if (sscanf(line, "%57s %" SCNd64 "%n", text, ret_ns, &end) != 2 || strcmp(line + end, "\n"))
        return false;
    return *ret_ns >= 0 && blob_key_parse(text, ret_key) == 0;
}

static int load(struct first_seen *seen)
{
    scoped_fd int fd = openat(seen->dirfd, FIRST_SEEN_FILE,
                              O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    scoped(close_file) FILE *file = NULL;
    char line[128];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(file = fdopen(fd, "r")))
        return 0;
    fd = -1; /* the file's now */
    while (fgets(line, sizeof(line), file)) {
        struct blob_key key;
        int64_t ns;

        if (parse_line(line, &key, &ns) && remember(seen, &key, ns) < 0)
            return -ENOMEM;
    }
    return 0;
}

int first_seen_open(int dirfd, struct first_seen **ret_seen)
{
    scoped(first_seen_closep) struct first_seen *seen = calloc(1, sizeof(*seen));
    int r;

    if (!seen)
        return -ENOMEM;
    seen->dirfd = dirfd;
    r = load(seen);
    if (r == 0)
        *ret_seen = take_ptr(seen);
    return r;
}

/* A table of those that the tree lists. */
static int prune(struct first_seen *seen, const struct tree *keep)
{
    struct first_seen left = {.dirfd = seen->dirfd, .changed = seen->changed};

    for (size_t i = 0; i < seen->size; i++) {
        const struct sight *sight = &seen->table[i];

        if (sight->key.kind == BLOB_NONE)
            continue;
        if (!keep || !tree_blob_find(keep, &sight->key)) {
            left.changed = true;
        } else if (remember(&left, &sight->key, sight->ns) < 0) {
            free(left.table);
            return -ENOMEM;
        }
    }
    free(seen->table);
    *seen = left;
    return 0;
}

static int write_lines(const struct first_seen *seen)
{
    scoped(close_file) FILE *file = NULL;
    int r = name_clear(seen->dirfd, FIRST_SEEN_TEMP);

    /* A file of its own, whatever lay there under its name: a fifo, another name of a file. */
    if (r < 0)
        return r;

    scoped_fd int fd = openat(seen->dirfd, FIRST_SEEN_TEMP,
                              O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 || !(file = fdopen(fd, "w")))
        return negative_errno();
    fd = -1;
    for (size_t i = 0; i < seen->size; i++) {
        char text[BLOB_KEY_TEXT_SIZE];

        if (seen->table[i].key.kind == BLOB_NONE)
            continue;
        blob_key_format(&seen->table[i].key, text);
        if (fprintf(file, "%s %" PRId64 "\n", text, seen->table[i].ns) < 0)
            return negative_errno();
    }
    return fflush(file) != 0 || fsync(fileno(file)) < 0 ? negative_errno() : 0;
}

int first_seen_save(struct first_seen *seen, const struct tree *keep)
{
    int r = prune(seen, keep);

    if (r < 0 || !seen->changed)
        return r;
    r = write_lines(seen);
    if (r == 0 && renameat(seen->dirfd, FIRST_SEEN_TEMP, seen->dirfd, FIRST_SEEN_FILE) < 0)
        r = negative_errno();
    if (r < 0) {
        unlinkat(seen->dirfd, FIRST_SEEN_TEMP, 0);
        return r;
    }
    seen->changed = false;
    return fsync(seen->dirfd) < 0 ? negative_errno() : 0;
}

void first_seen_close(struct first_seen *seen)
{
    if (!seen)
        return;
    free(seen->table);
    free(seen);
}

void first_seen_closep(struct first_seen *const *seen)
{
    first_seen_close(*seen);
}
