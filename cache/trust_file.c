/* SPDX-License-Identifier: MIT */
/* trust_file.c - the trust table as text.
 *
 *     agnesfs-trust 2 <boot id>
 *     <key> <xxh key|-> <dev> <ino> <mtime ns> <ctime ns> <opened s> trusted|doubted    a record
 *     end <xxh key of everything above>
 *
 * The size column is not missing: it is in the key. The last line makes the file all or nothing: a
 * torn, truncated or edited file fails its checksum and is no file. Records are taken one by one
 * only after that, so a line that still makes no sense is from another version, and then the whole
 * file is not ours to interpret.
 *
 * The boot id says whether the machine has restarted since. A reader needs it: next to a running
 * writer the clean marker is absent by design, but a stop that can hurt files is one of the
 * machine, never one of a process. */
#include "cache/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/files.h"
#include "cache/scoped.h"
#include "cache/text.h"

#define HEADER "agnesfs-trust 2 "
#define TRAILER "end "
#define NO_XXH "-"
#define BOOT_ID_SIZE 40

/* Some 1.4 million blobs. A larger file is not one that we wrote. */
#define MAX_FILE_SIZE ((size_t)256 * 1024 * 1024)

static void read_boot_id(char ret_id[static BOOT_ID_SIZE])
{
    scoped_fd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret_id, BOOT_ID_SIZE - 1);

    ret_id[n > 0 ? n : 0] = '\0';
    ret_id[strcspn(ret_id, "\n")] = '\0';
    if (ret_id[0] == '\0')
        snprintf(ret_id, BOOT_ID_SIZE, "unknown");
}

static void xxh_text(const struct trust_record *record, char ret_text[static BLOB_KEY_TEXT_SIZE])
{
    struct blob_key key = {.kind = BLOB_XXH, .size = record->key.size};

    memcpy(key.digest, record->xxh, BLOB_DIGEST_SIZE);
    blob_key_format(&key, ret_text);
}

static void print_record(FILE *out, const struct trust_record *record)
{
    char key[BLOB_KEY_TEXT_SIZE];
    char xxh[BLOB_KEY_TEXT_SIZE];

    blob_key_format(&record->key, key);
    xxh_text(record, xxh);
    fprintf(out, "%s %s %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64 " %s\n", key,
            record->has_xxh ? xxh : NO_XXH, record->dev, record->ino, record->mtime_ns,
            record->ctime_ns, record->opened, record->doubted ? "doubted" : "trusted");
}

/* The XXH3 of the record's bytes, or the word for none. */
static int parse_xxh(const char *text, struct trust_record *record)
{
    struct blob_key xxh;

    if (strcmp(text, NO_XXH) == 0)
        return 0;
    if (blob_key_parse(text, &xxh) < 0 || xxh.kind != BLOB_XXH || xxh.size != record->key.size)
        return -EINVAL;
    memcpy(record->xxh, xxh.digest, BLOB_DIGEST_SIZE);
    record->has_xxh = true;
    return 0;
}

/* The next word, ended in place; "" where there is none. */
static char *take_word(char **line)
{
    char *word = *line;
    char *end = strchr(word, ' ');

    if (end)
        *end = '\0';
    *line = end ? end + 1 : word + strlen(word);
    return word;
}

/* Read by hand, as a start reads one for each blob: sscanf takes ten times as long. What strtoull is
 * too kind about was not written by us, so it would fail the checksum. */
static bool take_number(char **line, uint64_t *ret_number)
{
    const char *word = take_word(line);
    char *end;

    *ret_number = *word == '-' ? (uint64_t)strtoll(word, &end, 10) : strtoull(word, &end, 10);
    return *word && !*end;
}

static int parse_record(char *line, struct trust_record *ret_record)
{
    struct trust_record record = {0};
    uint64_t mtime, changed, opened;
    const char *key = take_word(&line);
    const char *xxh = take_word(&line);

    if (!take_number(&line, &record.dev) || !take_number(&line, &record.ino) ||
        !take_number(&line, &mtime) || !take_number(&line, &changed) ||
        !take_number(&line, &opened) || strchr(line, ' '))
        return -EINVAL;
    if (blob_key_parse(key, &record.key) < 0 || parse_xxh(xxh, &record) < 0)
        return -EINVAL;

    record.mtime_ns = (int64_t)mtime;
    record.ctime_ns = (int64_t)changed;
    record.opened = (int64_t)opened;
    record.doubted = strcmp(line, "trusted") != 0;
    *ret_record = record;
    return 0;
}

/* Where the last line begins, provided that it is there and true. */
static const char *sound_end(const char *text, size_t size)
{
    const char *end = memrchr(text, '\n', size > 0 ? size - 1 : 0);
    struct blob_key sum;
    char line[sizeof(TRAILER) + BLOB_KEY_TEXT_SIZE + 1];
    char sum_text[BLOB_KEY_TEXT_SIZE];

    if (!end)
        return NULL;
    end++;
    blob_key_of_bytes(text, (size_t)(end - text), &sum);
    blob_key_format(&sum, sum_text);
    snprintf(line, sizeof(line), TRAILER "%s\n", sum_text);

    size_t rest = size - (size_t)(end - text);

    return rest == strlen(line) && memcmp(end, line, rest) == 0 ? end : NULL;
}

/* Takes the text apart in place. A NUL in it would end a line before its end. */
static int parse_table(char *text, size_t size, struct trust *trust, bool *ret_same_boot)
{
    const char *end = sound_end(text, size);
    char boot_id[BOOT_ID_SIZE];
    size_t lines = 0;
    int r;

    if (!end || strlen(text) != size || strncmp(text, HEADER, strlen(HEADER)) != 0)
        return -EBADMSG;
    for (const char *at = text; at < end; lines++)
        at = strchr(at, '\n') + 1;
    r = trust_reserve(trust, lines);
    if (r < 0)
        return r;
    for (char *line = text, *next; line < end; line = next) {
        struct trust_record record;

        next = strchr(line, '\n') + 1;
        next[-1] = '\0';
        if (line != text)
            r = parse_record(line, &record);
        if (r == 0 && line != text)
            r = trust_put_record(trust, &record);
        if (r < 0)
            return r;
    }
    read_boot_id(boot_id);
    *ret_same_boot = strcmp(text + strlen(HEADER), boot_id) == 0 && strcmp(boot_id, "unknown") != 0;
    return 0;
}

int trust_load(int dir, struct trust **ret_trust, bool *ret_same_boot)
{
    scoped(trust_freep) struct trust *trust = NULL;
    scoped_free char *text = NULL;
    size_t size = 0;
    bool same_boot = false;
    int r = trust_new(&trust);

    if (r < 0)
        return r;
    r = file_load(dir, "trust", MAX_FILE_SIZE, &text, &size);
    if (r == 0)
        r = parse_table(text, size, trust, &same_boot);
    if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
        return r;
    if (r < 0) {
        /* What was read before the bad line does not count either. */
        trust_retain(trust, NULL, 0);
        same_boot = false;
    }
    *ret_trust = take_ptr(trust);
    *ret_same_boot = same_boot;
    return 0;
}

static int print_table(struct trust *trust, char **ret_text, size_t *ret_size)
{
    scoped(text_freep) struct text *text = NULL;
    scoped_free struct trust_record *records = NULL;
    const char *above;
    size_t count = 0;
    size_t size = 0;
    struct blob_key sum;
    char word[BOOT_ID_SIZE > BLOB_KEY_TEXT_SIZE ? BOOT_ID_SIZE : BLOB_KEY_TEXT_SIZE];
    int r = trust_snapshot(trust, &records, &count);

    if (r == 0)
        r = text_open(&text);
    if (r < 0)
        return r;
    read_boot_id(word);
    fprintf(text_stream(text), HEADER "%s\n", word);
    for (size_t i = 0; i < count; i++)
        print_record(text_stream(text), &records[i]);
    r = text_look(text, &above, &size);
    if (r < 0)
        return r;
    blob_key_of_bytes(above, size, &sum);
    blob_key_format(&sum, word);
    fprintf(text_stream(text), TRAILER "%s\n", word);
    return text_close(take_ptr(text), ret_text, ret_size);
}

int trust_save(struct trust *trust, int dir)
{
    scoped_free char *text = NULL;
    size_t size = 0;
    int r = print_table(trust, &text, &size);

    return r < 0 ? r : file_save(dir, "trust", "trust.new", text, size);
}
