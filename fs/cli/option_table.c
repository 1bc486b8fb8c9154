/* SPDX-License-Identifier: MIT */
/* option_table.c - the table itself. It names only what works: a key whose feature is not built yet
 * is an error for whoever uses it, rather than a promise that nobody keeps. */
#include "fs/cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define FETCHERS (VERB_MOUNT | VERB_SYNC | VERB_VERIFY | VERB_PIN | VERB_EXPORT)
#define ASKERS (FETCHERS | VERB_STACK)
#define CACHERS (ASKERS | VERB_LS | VERB_UNPIN | VERB_PRUNE | VERB_DOCTOR)

static const struct option_spec keys[OPTION_KEYS] = {
    [OPTION_SERVER] = {.name = "server",
                       .type = OPTION_STRING,
                       .argument = "SOURCE",
                       .help = "server or static stack when none is given",
                       .description = "An Agnes server (https://...), or a static stack: a folder "
                                      "with a manifest.json, or a URL that ends in .json. Without "
                                      "it, what the agnes CLI is logged in to.",
                       .group = "source",
                       .verbs = CACHERS},
    [OPTION_TOKEN_FILE] = {.name = "token-file",
                           .type = OPTION_PATH,
                           .argument = "FILE",
                           .help = "token, else that of the agnes CLI",
                           .description = "A file with the bare token, or JSON with an "
                                          "access_token. It must be yours; a token is never an "
                                          "argument. It is read anew each time, so a new login "
                                          "counts at once.",
                           .group = "source",
                           .verbs = ASKERS | VERB_DOCTOR},
    [OPTION_CA_FILE] = {.name = "ca-file",
                        .type = OPTION_PATH,
                        .argument = "FILE",
                        .help = "certificates to trust, else the system's",
                        .help_with_next = "certificates and proxy, else the system's",
                        .description = "In PEM form.",
                        .group = "network",
                        .verbs = ASKERS | VERB_DOCTOR},
    [OPTION_PROXY] = {.name = "proxy",
                      .type = OPTION_STRING,
                      .argument = "URL",
                      .help = "proxy, else as the environment says",
                      .description = "Given here, it also names the object stores that a server "
                                     "refers to; one that only the environment names is used for "
                                     "the server alone.",
                      .group = "network",
                      .verbs = ASKERS | VERB_DOCTOR},
    [OPTION_CACHE_DIR] = {.name = "cache-dir",
                          .type = OPTION_PATH,
                          .argument = "DIR",
                          .help = "folder of all caches, else ~/.cache/agnesfs",
                          .description = "Below it, each source has a folder of its own. It must "
                                         "be on a local file system.",
                          .group = "cache",
                          .verbs = VERB_ALL},
    [OPTION_CACHE_SIZE] = {.name = "cache-size",
                           .type = OPTION_SIZE,
                           .max = INT64_MAX,
                           .zero_word = "unlimited",
                           .argument = "SIZE",
                           .help = "most it may hold, else 20 GiB or 1/4 of the disk",
                           .description = "Tables that were opened longest ago go first; what is "
                                          "pinned or open stays. Without it, the smaller of 20 GiB "
                                          "and a quarter of the disk.",
                           .group = "cache",
                           .verbs = FETCHERS | VERB_PRUNE},
    [OPTION_MIN_FREE] = {.name = "min-free",
                         .type = OPTION_SIZE,
                         .max = INT64_MAX,
                         .argument = "SIZE",
                         .help = "what stays free, else 1 GiB or 1/20 of the disk",
                         .description = "What the cache leaves free for others, whatever cache-"
                                        "size says. Without it, the smaller of 1 GiB and a "
                                        "twentieth of the disk.",
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
                        .description = "How often a mount asks the source for a new manifest by "
                                       "itself; agnesfs refresh asks at any time.",
                        .group = "network",
                        .verbs = VERB_MOUNT},
    [OPTION_PREFETCH] = {.name = "prefetch",
                         .type = OPTION_CHOICE,
                         .value = "all",
                         .choices = "all|pinned|none",
                         .argument = "WHAT",
                         .help = "all, pinned or none: what to fetch unasked",
                         .description = "What is fetched before anybody reads it: everything, what "
                                        "is pinned, or nothing. What is not fetched is listed all "
                                        "the same, and comes when it is read.",
                         .group = "cache",
                         .verbs = VERB_MOUNT | VERB_VERIFY},
    [OPTION_ONLY] = {.name = "only",
                     .type = OPTION_STRING,
                     .argument = "GLOBS",
                     .help = "GLOB:GLOB: show and fetch just these",
                     .help_with_next = "show these (GLOB:GLOB), or all but these",
                     .description =
                         "Globs with a colon between them (a backslash in front makes one "
                         "part of a glob), of paths or of PACKAGE/TABLE. What none of "
                         "them matches is listed as left out, has no name and costs no "
                         "request.",
                     .group = "source",
                     .verbs = FETCHERS | VERB_LS},
    [OPTION_EXCEPT] = {.name = "except",
                       .type = OPTION_STRING,
                       .argument = "GLOBS",
                       .help = "GLOB:GLOB: all but these",
                       .description = "As only, of what is left out. Where both are given, what is "
                                      "shown is in only and not in except.",
                       .group = "source",
                       .verbs = FETCHERS | VERB_LS},
    [OPTION_VERIFY] = {.name = "verify",
                       .type = OPTION_CHOICE,
                       .value = "auto",
                       .choices = "auto|strict",
                       .argument = "HOW",
                       .help = "auto: big files by block; strict: whole first",
                       .description = "auto serves files above 8 MiB by block while they arrive, "
                                      "each block pinned to one ETag, and checks the md5 when the "
                                      "file is whole. strict serves no byte before that.",
                       .group = "cache",
                       .verbs = VERB_MOUNT},
    [OPTION_JOBS] = {.name = "jobs",
                     .type = OPTION_NUMBER,
                     .value = "8",
                     .min = 1,
                     .max = 64,
                     .argument = "N",
                     .help = "transfers at once",
                     .description = "Of files, or of ranges of a large one.",
                     .group = "network",
                     .verbs = FETCHERS},
    [OPTION_TIMEOUT] = {.name = "timeout",
                        .type = OPTION_DURATION,
                        .value = "60s",
                        .min = 1,
                        .max = 3600,
                        .argument = "TIME",
                        .help = "give up after this long without progress",
                        .description = "Ends a transfer, and a read that waits for one.",
                        .group = "network",
                        .verbs = ASKERS},
    [OPTION_UID] = {.name = "uid",
                    .type = OPTION_NUMBER,
                    .max = UINT32_MAX - 1,
                    .argument = "N",
                    .help = "owner of the files, else you",
                    .help_with_next = "owner and group of the files, else yours",
                    .description = "As stat shows it.",
                    .group = "mount",
                    .verbs = VERB_MOUNT},
    [OPTION_GID] = {.name = "gid",
                    .type = OPTION_NUMBER,
                    .max = UINT32_MAX - 1,
                    .argument = "N",
                    .help = "group of the files, else yours",
                    .description = "As stat shows it.",
                    .group = "mount",
                    .verbs = VERB_MOUNT},
    [OPTION_UMASK] = {.name = "umask",
                      .type = OPTION_MODE,
                      .value = "000",
                      .max = 0777,
                      .argument = "OCTAL",
                      .help = "bits taken from 0444 and 0555",
                      .description = "Files are shown with mode 0444 and folders with 0555, "
                                     "without these bits.",
                      .group = "mount",
                      .verbs = VERB_MOUNT},
    [OPTION_ALLOW_OTHER] = {.name = "allow-other",
                            .type = OPTION_BOOL,
                            .value = "no",
                            .help = "other users may read",
                            .description = "Unless you are root, /etc/fuse.conf must have "
                                           "user_allow_other. Then umask says who may read.",
                            .group = "mount",
                            .verbs = VERB_MOUNT},
    [OPTION_IO_URING] = {.name = "io-uring",
                         .type = OPTION_BOOL,
                         .value = "no",
                         .help = "requests by io_uring: waiting reads can not be interrupted",
                         .description = "Takes the requests of the kernel by io_uring: needs "
                                        "libfuse 3.18, Linux 6.14 and fuse.enable_uring=1. A read "
                                        "that waits can not be interrupted then.",
                         .group = "mount",
                         .verbs = VERB_MOUNT,
                         .rare = true},
    [OPTION_SANDBOX] = {.name = "sandbox",
                        .type = OPTION_BOOL,
                        .value = "on",
                        .help = "give up what serving does not need (on); =off: keep it",
                        .description = "The process of a mount gives up privileges, files and "
                                       "system calls that serving does not need. Off keeps them, "
                                       "should a name service or a certificate in an unusual place "
                                       "need it.",
                        .group = "mount",
                        .verbs = VERB_MOUNT,
                        .rare = true},
    [OPTION_REPORT] = {.name = "report",
                       .type = OPTION_BOOL,
                       .value = "on",
                       .help = "tell the server what changed (on); =off: do not",
                       .description = "After a refresh that changed something, an Agnes server is "
                                      "told how many rows of each kind changed, once, as the agnes "
                                      "CLI does.",
                       .group = "network",
                       .verbs = FETCHERS},
    [OPTION_LOG_LEVEL] = {.name = "log-level",
                          .type = OPTION_CHOICE,
                          .value = "info",
                          .choices = "error|warning|info|debug",
                          .argument = "LEVEL",
                          .help = "error, warning, info or debug",
                          .description = "What is logged: to the journal or stderr in the "
                                         "foreground, else to a file in the state folder. "
                                         "As a flag of refresh: from now on, for that mount.",
                          .group = "log",
                          .verbs = VERB_MOUNT | VERB_REFRESH},
    [OPTION_LOG_FORMAT] = {.name = "log-format",
                           .type = OPTION_CHOICE,
                           .choices = "text|json|journal",
                           .argument = "HOW",
                           .help = "text, json or journal, else what stderr is",
                           .description =
                               "json is an object a line; journal is systemd's, with fields "
                               "AGNESFS_*. Left out, it is the journal where stderr leads "
                               "there and the mount stays in the foreground, else text.",
                           .group = "log",
                           .verbs = VERB_MOUNT,
                           .rare = true},
    [OPTION_METRICS_FILE] = {.name = "metrics-file",
                             .type = OPTION_PATH,
                             .argument = "FILE",
                             .help = "numbers for node_exporter, anew each 15 s",
                             .description =
                                 "Prometheus text, for its textfile collector, which reads what is "
                                 "called *.prom. Readable for everybody; removed at the end; one "
                                 "file for each mount. The mount can write to the folder of it.",
                             .group = "log",
                             .verbs = VERB_MOUNT,
                             .rare = true},
    [OPTION_STRATEGY] = {.name = "strategy",
                         .type = OPTION_CHOICE,
                         .value = "auto",
                         .choices = "auto|reflink|hardlink|copy",
                         .argument = "HOW",
                         .help = "reflink, hardlink, copy; auto: in this order",
                         .description = "How the files of an export come to be: sharing their "
                                        "blocks with the cache, as further names of its files, or "
                                        "as copies of their own.",
                         .group = "export",
                         .verbs = VERB_EXPORT},
};

static const struct flag_spec flags[FLAGS] = {
    [FLAG_JSON] = {.name = "json", .help = "JSON on stdout", .verbs = VERB_ALL},
    [FLAG_QUIET] = {.name = "quiet", .letter = 'q', .help = "only errors", .verbs = VERB_ALL},
    [FLAG_VERBOSE] = {.name = "verbose", .letter = 'v', .help = "more detail", .verbs = VERB_ALL},
    [FLAG_HELP] = {.name = "help",
                   .letter = 'h',
                   .help = "print the help of the verb",
                   .verbs = VERB_ALL},
    [FLAG_CONFIG] = {.name = "config",
                     .argument = "FILE",
                     .help = "read this configuration file and no other",
                     .verbs = VERB_ALL},
    [FLAG_OPTIONS] = {.letter = 'o',
                      .argument = "KEY=VALUE,...",
                      .help = "keys, as in fstab",
                      .verbs = VERB_MOUNT,
                      .rare = true},
    [FLAG_FOREGROUND] = {.name = "foreground",
                         .letter = 'f',
                         .help = "stay, and log to stderr",
                         .verbs = VERB_MOUNT},
    [FLAG_LAZY] = {.name = "lazy",
                   .letter = 'l',
                   .help = "detach at once, even if it is in use or dead",
                   .verbs = VERB_UMOUNT},
    [FLAG_DRY_RUN] = {.name = "dry-run",
                      .letter = 'n',
                      .help = "say what would change; change nothing",
                      .verbs = VERB_SYNC},
    [FLAG_REPAIR] = {.name = "repair",
                     .help = "mend what is found, fetch what is missing",
                     .verbs = VERB_VERIFY},
    [FLAG_REPORT] = {.name = "report",
                     .help = "write an archive for an issue, without secrets",
                     .verbs = VERB_DOCTOR},
    [FLAG_WATCH] = {.name = "watch",
                    .letter = 'w',
                    .help = "a live screen; elsewhere a line each 5 s",
                    .verbs = VERB_STATUS},
    [FLAG_PROMETHEUS] = {.name = "prometheus",
                         .help = "numbers for Prometheus, in OpenMetrics text",
                         .verbs = VERB_STATUS},
};

/* In the order in which they are told. */
static const char *const groups[] = {"source", "network", "cache", "mount", "log", "export", NULL};

const char *const *option_groups(void)
{
    return groups;
}

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

void option_variable(const struct option_spec *spec, char ret_name[static OPTION_VARIABLE_SIZE])
{
    size_t length = (size_t)snprintf(ret_name, OPTION_VARIABLE_SIZE, "AGNESFS_%s", spec->name);

    for (size_t i = 0; i < length; i++)
        ret_name[i] = (char)(ret_name[i] == '-' ? '_' : toupper((unsigned char)ret_name[i]));
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
        if (flags[flag].verbs & verbs && flags[flag].name)
            consider(name, flags[flag].name, &best, &nearest);
    return nearest;
}
