/* SPDX-License-Identifier: MIT */
/* option_files.c - the two places where keys stand as text: configuration files and -o lists. inih
 * reads on after a line that its handler refused, so the first complaint is kept, not the last. */
#include "fs/cli/options.h"

#include <errno.h>
#include <fnmatch.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"

static int unknown_key(const char *where, const char *name, struct complaint *ret_complaint)
{
    const char *nearest = option_nearest(name, 0);
    int r = complain(ret_complaint, EXIT_USAGE, where, "unknown key \"%s\"", name);

    if (nearest)
        complaint_hint(ret_complaint, "did you mean %s?", nearest);
    else
        complaint_hint(ret_complaint, "agnesfs mount --help lists the keys");
    return r;
}

/* --- files --- */

char *option_file_path(const char *config)
{
    const char *base = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    char *path = NULL;
    int r = -1;

    if (config)
        return strdup(config);
    if (base && *base == '/')
        r = asprintf(&path, "%s/agnesfs/config", base);
    else if (home && *home == '/')
        r = asprintf(&path, "%s/.config/agnesfs/config", home);
    return r < 0 ? NULL : path;
}

struct reading {
    struct options *options;
    const char *path;
    enum option_origin origin;
    struct complaint *complaint;
    bool refused;
};

static int take_line(void *arg, const char *section, const char *name, const char *text)
{
    struct reading *reading = arg;
    enum option_key key;
    int r;

    if (reading->refused)
        return 1;
    if (*section)
        r = complain(reading->complaint, EXIT_USAGE, reading->path,
                     "section [%s]: there are no sections here", section);
    else if (option_find(name, &key) < 0)
        r = unknown_key(reading->path, name, reading->complaint);
    else
        r = options_set(reading->options, key, text, reading->origin, reading->path, false,
                        reading->complaint);
    reading->refused = r < 0;
    return r == 0;
}

int options_read_file(struct options *options, const char *path, enum option_origin origin,
                      bool optional, struct complaint *ret_complaint)
{
    scoped_file FILE *file = fopen(path, "re");
    struct reading reading = {options, path, origin, ret_complaint, false};

    if (!file && optional && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (!file)
        return complain(ret_complaint, EXIT_USAGE, path, "%s", strerror(errno));

    int line = ini_parse_file(file, take_line, &reading);

    if (line == 0 && !ferror(file))
        return 0;
    if (line <= 0)
        return complain(ret_complaint, EXIT_USAGE, path, "could not be read");
    if (!reading.refused)
        return complain(ret_complaint, EXIT_USAGE, path, "line %d: not KEY = VALUE", line);

    char why[sizeof(ret_complaint->why)];

    memcpy(why, ret_complaint->why, sizeof(why));
    snprintf(ret_complaint->why, sizeof(ret_complaint->why), "line %d: %.450s", line, why);
    return -EINVAL;
}

/* --- -o lists --- */

/* Words of mount(8) and fstab(5) that are not for us, or say what an agnesfs mount is anyway. */
static const char *const mount_words[] = {"ro",     "nosuid", "suid",      "nodev",      "dev",
                                          "noexec", "exec",   "noatime",   "_netdev",    "nofail",
                                          "auto",   "noauto", "user",      "nouser",     "users",
                                          "owner",  "group",  "async",     "relatime",   "defaults",
                                          "x-*",    "X-*",    "comment=*", "nodiratime", NULL};

const char *const *option_mount_words(void)
{
    return mount_words;
}

static bool is_mount_word(const char *word)
{
    for (const char *const *at = mount_words; *at; at++)
        if (fnmatch(*at, word, 0) == 0)
            return true;
    return false;
}

static int take_word(struct options *options, char *word, struct complaint *ret_complaint)
{
    enum option_key key;
    char where[64];

    if (!*word || is_mount_word(word))
        return 0;
    if (strcmp(word, "rw") == 0)
        return complain(ret_complaint, EXIT_USAGE, "-o rw", "an agnesfs mount is read-only");

    char *text = strchr(word, '=');

    if (text)
        *text++ = '\0';
    if (option_find(word, &key) < 0)
        return unknown_key("-o", word, ret_complaint);
    snprintf(where, sizeof(where), "-o %s", option_spec(key)->name);
    if (!text && option_spec(key)->type != OPTION_BOOL)
        return complain(ret_complaint, EXIT_USAGE, where, "needs a value");
    return options_set(options, key, text ? text : "yes", ORIGIN_MOUNT_OPTION, where, true,
                       ret_complaint);
}

int options_read_list(struct options *options, const char *list, struct complaint *ret_complaint)
{
    scoped_free char *word = malloc(strlen(list) + 1);
    size_t length = 0;

    if (!word)
        return complain(ret_complaint, EXIT_FAILED, "options", "out of memory");
    for (const char *at = list;; at++) {
        if (*at == '\\' && at[1]) {
            word[length++] = *++at;
        } else if (*at && *at != ',') {
            word[length++] = *at;
        } else {
            word[length] = '\0';
            length = 0;

            int r = take_word(options, word, ret_complaint);

            if (r < 0 || !*at)
                return r;
        }
    }
}
