/* SPDX-License-Identifier: MIT */
/* token.c - the file is judged by its descriptor, not by its name, each time it is read. What it
 * holds goes into a header line, so anything but visible ASCII makes it no token at all. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/agnes_config.h"
#include "fs/cli/discovery.h"
#include "fs/cli/format.h"
#include "fs/cli/token_expiry.h"
#include "sync/json.h"

enum { TOKEN_FILE_MAX = 64 << 10 };

struct token {
    char *path;          /* of a file to read; NULL: none */
    char *fixed;         /* AGNES_TOKEN; NULL: none */
    bool json_only;      /* token.json: the bare token is not expected there */
    bool may_be_gone;    /* token.json: that there is none is an answer */
    _Atomic bool warned; /* of bits for others */
    _Atomic bool held;   /* there was one when last asked */
    _Atomic uint64_t ends;
};

static bool is_token(const char *text)
{
    for (const char *at = text; *at; at++)
        if (*at <= ' ' || *at >= 0x7f)
            return false;
    return *text != '\0';
}

static int read_whole(int fd, char *ret_text, size_t size)
{
    size_t used = 0;

    while (used < size - 1) {
        ssize_t n = read(fd, ret_text + used, size - 1 - used);

        if (n < 0 && errno != EINTR)
            return negative_errno();
        if (n == 0)
            break;
        used += n > 0 ? (size_t)n : 0;
    }
    ret_text[used] = '\0';
    return used == size - 1 || strlen(ret_text) != used ? -EFBIG : 0;
}

/* Checks the open file; ret_why says what is wrong with it. */
static int check_file(struct token *token, int fd, const char **ret_why)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return negative_errno();
    if (!S_ISREG(st.st_mode)) {
        *ret_why = "not a regular file";
        return -EPERM;
    }
    if (st.st_uid != geteuid()) {
        *ret_why = "belongs to somebody else";
        return -EPERM;
    }
    if (st.st_mode & 077 && !token->warned) {
        token->warned = true;
        warn(token->path, "others can read this token: chmod 600 it");
    }
    return 0;
}

/* The token in the file's text: access_token of a JSON object, else the text itself. */
static int token_in(const struct token *token, char *text, char **ret_token, const char **ret_why)
{
    scoped(json_freep) struct json *root = NULL;
    struct json_error error;
    const struct json_limits limits = {.bytes = TOKEN_FILE_MAX, .depth = 16};
    char *start = text + strspn(text, " \t\r\n");
    size_t length = strcspn(start, "\r\n");

    if (*start == '{' || token->json_only) {
        *ret_why = "not JSON with an access_token";
        if (json_parse(start, strlen(start), &limits, &root, &error) < 0 ||
            json_type(root) != JSON_OBJECT)
            return -EINVAL;
        if (!json_string(json_get(root, "access_token")))
            return token->json_only ? -ENODATA : -EINVAL;
        start = (char *)json_string(json_get(root, "access_token"));
    } else {
        if (start[length + strspn(start + length, "\r\n\t ")]) {
            *ret_why = "more than one line";
            return -EINVAL;
        }
        while (length > 0 && (start[length - 1] == ' ' || start[length - 1] == '\t'))
            length--;
        start[length] = '\0';
    }
    *ret_why = "holds no token";
    if (!is_token(start))
        return -EINVAL;
    *ret_token = strdup(start);
    return *ret_token ? 0 : -ENOMEM;
}

/* -ENOENT no file, -ENODATA a token.json that says there is none. */
static int read_file(struct token *token, char **ret_token, const char **ret_why)
{
    scoped_fd int fd = open(token->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    scoped_free char *text = malloc(TOKEN_FILE_MAX);
    int r;

    *ret_why = NULL;
    if (fd < 0)
        return negative_errno();
    if (!text)
        return -ENOMEM;
    if ((r = check_file(token, fd, ret_why)) == 0 &&
        (r = read_whole(fd, text, TOKEN_FILE_MAX)) == 0)
        r = token_in(token, text, ret_token, ret_why);
    explicit_bzero(text, TOKEN_FILE_MAX);
    return r;
}

void token_leave_environment(void)
{
    char *value = getenv("AGNES_TOKEN");

    if (value)
        explicit_bzero(value, strlen(value));
    unsetenv("AGNES_TOKEN");
}

static int take_environment(char **ret_token)
{
    const char *value = getenv("AGNES_TOKEN");

    if (value && *value && !(*ret_token = strdup(value)))
        return -ENOMEM;
    token_leave_environment();
    return 0;
}

static void wipe(char *const *text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
}

/* The agnes CLI's order: token.json, if it is there, is the only one who is asked, unless this is a
 * session that brings its own token. */
static int find_agnes(struct token *token, const char *environment)
{
    const char *session = getenv("AGNES_SESSION_ID");
    int r = agnes_config_path("token.json", &token->path);

    if (r < 0 && r != -ENOENT)
        return r;
    token->json_only = token->may_be_gone = true;
    if (environment && ((session && *session) || !token->path || access(token->path, F_OK) < 0)) {
        free(token->path);
        token->path = NULL;
        token->fixed = strdup(environment);
        return token->fixed ? 0 : -ENOMEM;
    }
    return 0;
}

void token_free(struct token *token)
{
    if (!token)
        return;
    wipe(&token->fixed);
    free(token->path);
    free(token);
}

/* Whoever holds a secret leaves no core behind, and lets nobody look into it but root. */
static void note(struct token *token, const char *text)
{
    if (text)
        prctl(PR_SET_DUMPABLE, 0);
    token->held = text != NULL;
    token->ends = text ? token_expiry(text) : 0;
}

/* While there is time to do something about it. */
static void warn_of_the_end(const struct token *token)
{
    uint64_t now = (uint64_t)time(NULL), ends = token->ends;
    char span[FORMAT_SIZE];

    if (ends == 0 || ends > now + TOKEN_HINT_S)
        return;
    format_duration(ends > now ? ends - now : now - ends, span);
    warn(token_origin(token),
         ends > now ? "the token expires in %s: log in again with the agnes CLI"
                    : "the token expired %s ago: log in again with the agnes CLI",
         span);
}

static int check(struct token *token, struct complaint *ret_complaint)
{
    scoped_free char *text = NULL;
    const char *why = NULL;
    int r;

    if (token->fixed && !is_token(token->fixed))
        return complain(ret_complaint, EXIT_AUTHENTICATION, "AGNES_TOKEN",
                        "not a token: blanks or control characters in it");
    note(token, token->fixed);
    if (!token->path) {
        warn_of_the_end(token);
        return 0;
    }
    r = read_file(token, &text, &why);
    note(token, r == 0 ? text : NULL);
    warn_of_the_end(token);
    if (text)
        explicit_bzero(text, strlen(text));
    if (r == 0 || r == -ENODATA || (token->may_be_gone && (r == -ENOENT || r == -ENOTDIR)))
        return 0;
    return complain(ret_complaint, EXIT_AUTHENTICATION, token->path, "%s",
                    why ? why : strerror(-r));
}

int token_new(const struct options *options, const struct source *source, struct token **ret_token,
              struct complaint *ret_complaint)
{
    scoped(wipe) char *environment = NULL;
    struct token *token = calloc(1, sizeof(*token));
    const char *path = options_text(options, OPTION_TOKEN_FILE);
    int r = 0;

    if (!token || take_environment(&environment) < 0) {
        free(token);
        return complain(ret_complaint, EXIT_FAILED, "token", "out of memory");
    }
    if (source_kind(source) == SOURCE_SERVER) {
        if (path)
            r = (token->path = strdup(path)) ? 0 : -ENOMEM;
        else
            r = find_agnes(token, environment);
        if (r < 0)
            r = complain(ret_complaint, EXIT_FAILED, "token", "%s", strerror(-r));
        else
            r = check(token, ret_complaint);
    }
    if (r < 0) {
        token_free(token);
        return r;
    }
    *ret_token = token;
    return 0;
}

char *token_read(void *arg)
{
    struct token *token = arg;
    char *text = NULL;
    const char *why;

    if (token->path && read_file(token, &text, &why) < 0)
        text = NULL;
    else if (token->fixed)
        text = strdup(token->fixed);
    note(token, text);
    return text;
}

const char *token_origin(const struct token *token)
{
    return token->path ? token->path : token->fixed ? "AGNES_TOKEN" : "";
}

uint64_t token_ends(const struct token *token)
{
    return token->ends;
}

bool token_present(const struct token *token)
{
    return token->held;
}
