/* SPDX-License-Identifier: MIT */
/* option_table.c - the table itself. It names only what works: a key whose feature is not built yet
 * is an error for whoever uses it, rather than a promise that nobody keeps. */
#include "fs/cli/options.h"

#include <errno.h>
#include <string.h>

#define FETCHERS (VERB_MOUNT | VERB_SYNC | VERB_VERIFY | VERB_PIN | VERB_EXPORT)
#define ASKERS (FETCHERS | VERB_STACK)
#define CACHERS (ASKERS | VERB_LS | VERB_UNPIN | VERB_PRUNE)

static const struct option_spec keys[OPTION_KEYS] = {
    [OPTION_SERVER] = {.name = "server",
                       .type = OPTION_STRING,
                       .argument = "SOURCE",
                       .help = "server or static stack when none is given",
                       .group = "where from",
                       .verbs = CACHERS},
    [OPTION_TOKEN_FILE] = {.name = "token-file",
                           .type = OPTION_PATH,
                           .argument = "FILE",
                           .help = "token, else that of the agnes CLI",
                           .group = "where from",
                           .verbs = ASKERS},
    [OPTION_CA_FILE] = {.name = "ca-file",
                        .type = OPTION_PATH,
                        .argument = "FILE",
                        .help = "certificates to trust, else the system's",
                        .group = "network",
                        .verbs = ASKERS},
    [OPTION_PROXY] = {.name = "proxy",
                      .type = OPTION_STRING,
                      .argument = "URL",
                      .help = "proxy, else as the environment says",
                      .group = "network",
                      .verbs = ASKERS},
    [OPTION_CACHE_DIR] = {.name = "cache-dir",
                          .type = OPTION_PATH,
                          .argument = "DIR",
                          .help = "folder of all caches, else ~/.cache/agnesfs",
                          .group = "cache",
                          .verbs = VERB_ALL},
    [OPTION_CACHE_SIZE] = {.name = "cache-size",
                           .type = OPTION_SIZE,
                           .max = INT64_MAX,
                           .zero_word = "unlimited",
                           .argument = "SIZE",
                           .help = "most it may hold, else 20 GiB or 1/4 of the disk",
                           .group = "cache",
                           .verbs = FETCHERS | VERB_PRUNE},
    [OPTION_MIN_FREE] = {.name = "min-free",
                         .type = OPTION_SIZE,
                         .max = INT64_MAX,
                         .argument = "SIZE",
                         .help = "what stays free, else 1 GiB or 1/20 of the disk",
                         .group = "cache",
                         .verbs = FETCHERS | VERB_PRUNE},
    [OPTION_REFRESH] = {.name = "refresh",
                        .type = OPTION_DURATION,
                        .value = "5m",
                        .min = 60,
                        .max = 365UL * 24 * 3600,
                        .zero_word = "off",
                        .argument = "TIME",
                        .help = "look for news this often, 1m or more, or off",
                        .group = "network",
                        .verbs = VERB_MOUNT},
    [OPTION_PREFETCH] = {.name = "prefetch",
                         .type = OPTION_CHOICE,
                         .value = "all",
                         .choices = "all|pinned|none",
                         .argument = "WHAT",
                         .help = "all, pinned or none: what to fetch unasked",
                         .group = "cache",
                         .verbs = VERB_MOUNT | VERB_VERIFY},
    [OPTION_VERIFY] = {.name = "verify",
                       .type = OPTION_CHOICE,
                       .value = "auto",
                       .choices = "auto|strict",
                       .argument = "HOW",
                       .help = "auto: big files by block; strict: whole first",
                       .group = "cache",
                       .verbs = VERB_MOUNT},
    [OPTION_JOBS] = {.name = "jobs",
                     .type = OPTION_NUMBER,
                     .value = "8",
                     .min = 1,
                     .max = 64,
                     .argument = "N",
                     .help = "transfers at once",
                     .group = "network",
                     .verbs = FETCHERS},
    [OPTION_TIMEOUT] = {.name = "timeout",
                        .type = OPTION_DURATION,
                        .value = "60s",
                        .min = 1,
                        .max = 3600,
                        .argument = "TIME",
                        .help = "give up after this long without progress",
                        .group = "network",
                        .verbs = ASKERS},
    [OPTION_UID] = {.name = "uid",
                    .type = OPTION_NUMBER,
                    .max = UINT32_MAX - 1,
                    .argument = "N",
                    .help = "owner of the files, else you",
                    .group = "mount",
                    .verbs = VERB_MOUNT},
    [OPTION_GID] = {.name = "gid",
                    .type = OPTION_NUMBER,
                    .max = UINT32_MAX - 1,
                    .argument = "N",
                    .help = "group of the files, else yours",
                    .group = "mount",
                    .verbs = VERB_MOUNT},
    [OPTION_UMASK] = {.name = "umask",
                      .type = OPTION_MODE,
                      .value = "000",
                      .max = 0777,
                      .argument = "OCTAL",
                      .help = "bits taken from 0444 and 0555",
                      .group = "mount",
                      .verbs = VERB_MOUNT},
    [OPTION_ALLOW_OTHER] = {.name = "allow-other",
                            .type = OPTION_BOOL,
                            .value = "no",
                            .help = "other users may read",
                            .group = "mount",
                            .verbs = VERB_MOUNT},
    [OPTION_IO_URING] = {.name = "io-uring",
                         .type = OPTION_BOOL,
                         .value = "no",
                         .help = "requests by io_uring: waiting reads can not be interrupted",
                         .group = "mount",
                         .verbs = VERB_MOUNT,
                         .rare = true},
    [OPTION_SANDBOX] = {.name = "sandbox",
                        .type = OPTION_BOOL,
                        .value = "on",
                        .help = "give up what serving does not need (on); =off: keep it",
                        .group = "mount",
                        .verbs = VERB_MOUNT,
                        .rare = true},
    [OPTION_REPORT] = {.name = "report",
                       .type = OPTION_BOOL,
                       .value = "on",
                       .help = "tell the server what changed (on); =off: do not",
                       .group = "network",
                       .verbs = FETCHERS},
    [OPTION_LOG_LEVEL] = {.name = "log-level",
                          .type = OPTION_CHOICE,
                          .value = "info",
                          .choices = "error|warning|info|debug",
                          .argument = "LEVEL",
                          .help = "error, warning, info or debug",
                          .group = "log",
                          .verbs = VERB_MOUNT},
    [OPTION_STRATEGY] = {.name = "strategy",
                         .type = OPTION_CHOICE,
                         .value = "auto",
                         .choices = "auto|reflink|hardlink|copy",
                         .argument = "HOW",
                         .help = "reflink, hardlink, copy; auto: in this order",
                         .group = "export",
                         .verbs = VERB_EXPORT},
};

static const struct flag_spec flags[FLAGS] = {
    [FLAG_JSON] = {"json", 0, "JSON on stdout", VERB_ALL},
    [FLAG_QUIET] = {"quiet", 'q', "only errors", VERB_ALL},
    [FLAG_VERBOSE] = {"verbose", 'v', "more detail", VERB_ALL},
    [FLAG_HELP] = {"help", 'h', "this", VERB_ALL},
    [FLAG_FOREGROUND] = {"foreground", 'f', "stay, and log to stderr", VERB_MOUNT},
    [FLAG_LAZY] = {"lazy", 'l', "detach at once, even if it is in use or dead", VERB_UMOUNT},
    [FLAG_DRY_RUN] = {"dry-run", 'n', "say what would change; change nothing", VERB_SYNC},
    [FLAG_REPAIR] = {"repair", 0, "mend what is found, fetch what is missing", VERB_VERIFY},
};

const struct option_spec *option_spec(enum option_key key)
{
    return &keys[key];
}

const struct flag_spec *flag_spec(enum option_flag flag)
{
    return &flags[flag];
}

static bool same_name(const char *name, const char *other)
{
    for (; *name || *other; name++, other++)
        if ((*name == '_' ? '-' : *name) != *other)
            return false;
    return true;
}

int option_find(const char *name, enum option_key *ret_key)
{
    for (unsigned key = 0; key < OPTION_KEYS; key++) {
        if (same_name(name, keys[key].name)) {
            *ret_key = (enum option_key)key;
            return 0;
        }
    }
    return -ENOENT;
}

size_t option_distance(const char *a, const char *b)
{
    enum { LONGEST = 32 };
    size_t row[LONGEST + 1];
    size_t length = strlen(b);

    if (strlen(a) > LONGEST || length > LONGEST)
        return SIZE_MAX;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            size_t insert = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

            diagonal = row[j];
            row[j] = replace < insert ? replace : insert;
        }
    }
    return row[length];
}

static void consider(const char *name, const char *candidate, size_t *best, const char **ret_name)
{
    size_t away = option_distance(name, candidate);

    if (away < *best) {
        *best = away;
        *ret_name = candidate;
    }
}

const char *option_nearest(const char *name, unsigned verbs)
{
    const char *nearest = NULL;
    size_t best = strlen(name) / 2 + 1; /* farther than half the name is no likeness */

    for (unsigned key = 0; key < OPTION_KEYS; key++)
        if (!verbs || keys[key].verbs & verbs)
            consider(name, keys[key].name, &best, &nearest);
    for (unsigned flag = 0; verbs && flag < FLAGS; flag++)
        if (flags[flag].verbs & verbs)
            consider(name, flags[flag].name, &best, &nearest);
    return nearest;
}
