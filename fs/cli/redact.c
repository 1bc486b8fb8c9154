/* SPDX-License-Identifier: MIT */
/* redact.c - one pass; at each place the first rule that takes something says what stands there
 * instead. A rule that took too much would cost a word, one that takes too little a secret. */
#include "fs/cli/redact.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "fs/cli/paths.h"

enum { SECRET_MIN = 8, NAME_MIN = 3, USER_MIN = 3, LONG_WORD = 32, DIGITS = 8, SALT = 8 };

#define SECRET "[secret]"
#define ENDS " \t\r\n\"'<>"

struct words {
    char **list;
    size_t count;
};

struct redactor {
    struct words secrets;
    struct words names; /* the longest first */
    char *home;
    char *user;
    unsigned char salt[SALT];
};

static void words_release(struct words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        explicit_bzero(words->list[i], strlen(words->list[i]));
        free(words->list[i]);
    }
    free(words->list);
}

void redactor_free(struct redactor *redactor)
{
    if (!redactor)
        return;
    words_release(&redactor->secrets);
    words_release(&redactor->names);
    free(redactor->home);
    free(redactor->user);
    free(redactor);
}

void redactor_freep(struct redactor *const *redactor)
{
    redactor_free(*redactor);
}

static int add_word(struct words *words, const char *text)
{
    char **grown;
    size_t at = words->count;
    char *copy;

    for (size_t i = 0; i < words->count; i++)
        if (strcmp(words->list[i], text) == 0)
            return 0;
    grown = reallocarray(words->list, words->count + 1, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    words->list = grown;
    if (!(copy = strdup(text)))
        return -ENOMEM;
    for (; at > 0 && strlen(grown[at - 1]) < strlen(text); at--)
        grown[at] = grown[at - 1];
    grown[at] = copy;
    words->count++;
    return 0;
}

int redactor_secret(struct redactor *redactor, const char *secret)
{
    return strlen(secret) < SECRET_MIN ? 0 : add_word(&redactor->secrets, secret);
}

int redactor_name(struct redactor *redactor, const char *name)
{
    return strlen(name) < NAME_MIN ? 0 : add_word(&redactor->names, name);
}

int redactor_new(struct redactor **ret_redactor)
{
    scoped(redactor_freep) struct redactor *redactor = calloc(1, sizeof(*redactor));
    const struct passwd *user = getpwuid(geteuid());
    const char *home = getenv("HOME");

    if (!redactor)
        return -ENOMEM;
    if (getrandom(redactor->salt, SALT, 0) != SALT)
        return negative_errno();
    if (!(redactor->home = strdup(home && *home == '/' && home[1] ? home : "")) ||
        !(redactor->user = strdup(user && user->pw_uid != 0 ? user->pw_name : "")))
        return -ENOMEM;
    *ret_redactor = take_ptr(redactor);
    return 0;
}

/* --- the rules: how many bytes they take at this place, 0 for none --- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool begins(const char *text, const char *at)
{
    return at == text || !is_word(at[-1]);
}

static size_t take_known(const struct words *words, const char *at)
{
    for (size_t i = 0; i < words->count; i++) {
        size_t length = strlen(words->list[i]);

        if (strncmp(at, words->list[i], length) == 0)
            return length;
    }
    return 0;
}

/* The value behind such a word; ret_kept: so much of it is the word, and stays. */
static size_t take_header(const char *at, size_t *ret_kept)
{
    static const char *const words[] = {"authorization:", "bearer ", "cookie:"};

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        size_t word = strlen(words[i]);

        if (strncasecmp(at, words[i], word) != 0)
            continue;

        const char *value = at + word + strspn(at + word, " ");
        bool header = words[i][word - 1] == ':'; /* whose value is the rest of its line */

        *ret_kept = word;
        return (size_t)(value - at) + strcspn(value, header ? "\r\n\"" : ENDS);
    }
    return 0;
}

static size_t take_named_value(const char *at, size_t *ret_kept)
{
    static const char *const words[] = {"token",     "secret",  "password",   "passwd",
                                        "signature", "api_key", "credential", "sig"};
    size_t length = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    size_t between;

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        size_t size = strlen(words[i]);

        if (length < size || strncasecmp(at + length - size, words[i], size) != 0)
            continue;
        if (at[length] == '=' || strncmp(at + length, " = ", 3) == 0)
            between = strspn(at + length, "= \"'");
        else if (strncmp(at + length, "\":", 2) == 0 && strspn(at + length + 2, " \"") > 0)
            between = 2 + strspn(at + length + 2, " \"");
        else
            return 0;
        *ret_kept = length + between;
        size = strcspn(at + *ret_kept, ENDS ",&");
        return size > 0 ? *ret_kept + size : 0;
    }
    return 0;
}

static size_t take_token(const char *at)
{
    size_t length = strspn(at,
                           "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.+=");
    bool small = false;
    bool capital = false;
    bool digit = false;

    if (strncmp(at, "eyJ", 3) == 0 && length > 20 && memchr(at, '.', length))
        return length;
    for (size_t i = 0; i < length; i++) {
        small = small || islower((unsigned char)at[i]);
        capital = capital || isupper((unsigned char)at[i]);
        digit = digit || isdigit((unsigned char)at[i]);
    }
    return length >= LONG_WORD && small && capital && digit ? length : 0;
}

static size_t take_query(const char *at)
{
    size_t length = strcspn(at, ENDS);

    return *at == '?' && memchr(at, '=', length) ? length : 0;
}

static size_t take_user(const char *at)
{
    size_t length = strcspn(at, ENDS "/@,;()[]");

    return length > 0 && at[length] == '@' ? length + 1 : 0;
}

static size_t take_home(const struct redactor *redactor, const char *at)
{
    size_t length = strlen(redactor->home);

    return length > 0 && strncmp(at, redactor->home, length) == 0 && !is_word(at[length]) ? length
                                                                                          : 0;
}

static size_t take_other_home(const char *at)
{
    size_t length = strncmp(at, "/home/", 6) == 0 ? strcspn(at + 6, ENDS "/:,") : 0;

    return length > 0 ? 6 + length : 0;
}

static size_t take_word(const char *word, size_t min, const char *at)
{
    size_t length = strlen(word);

    return length >= min && strncmp(at, word, length) == 0 && !is_word(at[length]) ? length : 0;
}

static const char *take_name(const struct redactor *redactor, const char *at)
{
    for (size_t i = 0; i < redactor->names.count; i++)
        if (take_word(redactor->names.list[i], NAME_MIN, at))
            return redactor->names.list[i];
    return NULL;
}

/* --- the pass --- */

static void write_name(const struct redactor *redactor, const char *name, FILE *out)
{
    char salted[SALT * 2 + 256];
    char hex[DIGITS + 1];
    size_t size = 0;

    for (; size < SALT * 2; size += 2)
        snprintf(salted + size, 3, "%02x", redactor->salt[size / 2]);
    snprintf(salted + size, sizeof(salted) - size, "%.255s", name);
    paths_hash(salted, DIGITS, hex);
    fprintf(out, "name-%s", hex);
}

/* The rules that may take something anywhere. How far to go on; 0: none took anything. */
static size_t apply(const struct redactor *redactor, const char *at, FILE *out)
{
    size_t taken;

    if ((taken = take_known(&redactor->secrets, at)))
        fputs(SECRET, out);
    else if ((taken = take_query(at)))
        fputs("?[query]", out);
    else if ((taken = take_home(redactor, at)))
        fputc('~', out);
    return taken;
}

/* Those that begin with a word. */
static size_t apply_to_word(const struct redactor *redactor, const char *at, FILE *out)
{
    size_t kept = 0;
    size_t taken;
    const char *name;

    if ((taken = take_header(at, &kept)) || (taken = take_named_value(at, &kept))) {
        fwrite(at, 1, kept, out);
        fputs(SECRET, out);
    } else if ((taken = take_other_home(at))) {
        fputs("/home/[user]", out);
    } else if ((taken = take_user(at))) {
        fputs("[user]@", out);
    } else if ((taken = take_token(at))) {
        fputs(SECRET, out);
    } else if ((taken = take_word(redactor->user, USER_MIN, at))) {
        fputs("[user]", out);
    } else if ((name = take_name(redactor, at))) {
        write_name(redactor, name, out);
        taken = strlen(name);
    }
    return taken;
}

char *redact(const struct redactor *redactor, const char *text)
{
    char *result = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&result, &size);

    if (!out)
        return NULL;
    for (const char *at = text; *at;) {
        size_t taken = apply(redactor, at, out);

        if (!taken && begins(text, at))
            taken = apply_to_word(redactor, at, out);
        if (!taken)
            fputc(*at++, out);
        at += taken;
    }

    bool whole = !ferror(out);

    if (fclose(out) != 0 || !whole) {
        free(result);
        return NULL;
    }
    return result;
}
