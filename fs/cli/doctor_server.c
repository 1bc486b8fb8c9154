/* SPDX-License-Identifier: MIT */
/* doctor_server.c - one request, by which everything on the way to the server is judged: of a server
 * the list of my packages, which wants a token, changes nothing and is cheap (contract 2); of a static
 * source the head of its manifest. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/doctor.h"
#include "fs/cli/format.h"
#include "fs/cli/session.h"
#include "sync/caller.h"
#include "sync/manifest.h"

#define LOGIN "agnes auth login"
#define CLOCK_FIX "sudo timedatectl set-ntp true"

enum { DAY_S = 24 * 3600, CERTIFICATE_WARN_DAYS = 14, CLOCK_WARN_S = 30, CLOCK_FAIL_S = 300 };

struct inquiry {
    const struct doctor *doctor;
    struct findings *findings;
    struct discovery discovery;
    struct token *token;
    const char *proxy; /* "" for none */
    const char *proxy_from;
    int64_t until_ms;
    int error;
    struct caller_answer answer;
};

static void inquiry_release(struct inquiry *inquiry)
{
    caller_answer_release(&inquiry->answer);
    token_free(inquiry->token);
    discovery_release(&inquiry->discovery);
}

static const struct source *source_of(const struct inquiry *inquiry)
{
    return inquiry->discovery.source;
}

static bool is_scheme(const struct inquiry *inquiry, const char *scheme)
{
    return strncmp(source_origin(source_of(inquiry)), scheme, strlen(scheme)) == 0;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- the proxy --- */

/* "no_proxy" in short: names, of which each means its subdomains too. */
static bool is_exempt(const char *list, const char *host)
{
    size_t length = strlen(host);

    while (list && *list) {
        size_t size = strcspn(list, ", ");
        const char *name = *list == '.' ? list + 1 : list;
        size_t tail = (size_t)(list + size - name);

        if (size == 1 && *list == '*')
            return true;
        if (size > 0 && tail > 0 && tail <= length &&
            strncasecmp(host + length - tail, name, tail) == 0 &&
            (tail == length || host[length - tail - 1] == '.'))
            return true;
        list += size;
        list += strspn(list, ", ");
    }
    return false;
}

/* As libcurl takes it: HTTP_PROXY in capitals may come from a request's header, so it is none. */
static void find_proxy(struct inquiry *inquiry)
{
    static const char *const names[][4] = {
        {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"},
        {"http_proxy", "all_proxy", "ALL_PROXY", NULL},
    };
    const struct options *options = inquiry->doctor->options;
    const char *exempt = getenv("no_proxy");
    const char *key = options_text(options, OPTION_PROXY);

    inquiry->proxy = key ? key : "";
    inquiry->proxy_from = options_origin_text(options, OPTION_PROXY);
    exempt = exempt ? exempt : getenv("NO_PROXY");
    if (key || is_scheme(inquiry, "file:") || is_exempt(exempt, source_host(source_of(inquiry))))
        return;
    for (size_t i = 0; i < 4 && !*inquiry->proxy; i++) {
        const char *name = names[is_scheme(inquiry, "https:") ? 0 : 1][i];
        const char *value = name ? getenv(name) : NULL;

        if (value && *value) {
            inquiry->proxy = value;
            inquiry->proxy_from = name;
        }
    }
}

/* Without what stands before an @: it may be a password. */
static const char *proxy_name(const struct inquiry *inquiry)
{
    const char *scheme = strstr(inquiry->proxy, "://");
    const char *host = scheme ? scheme + 3 : inquiry->proxy;
    const char *at = strrchr(host, '@');

    return at ? at + 1 : host;
}

static void judge_proxy(const struct inquiry *inquiry)
{
    enum caller_stage stage = inquiry->answer.stage;

    if (!*inquiry->proxy)
        finding_add(inquiry->findings, "proxy", FINDING_OK, NULL, "proxy: none");
    else if (inquiry->error < 0 && stage <= CALLER_CONNECTION)
        finding_add(inquiry->findings, "proxy", FINDING_FAIL,
                    "agnesfs doctor --proxy ''   # is it needed at all?",
                    "proxy: %s (from %s) is not reached: %s", proxy_name(inquiry),
                    inquiry->proxy_from, inquiry->answer.message);
    else
        finding_add(inquiry->findings, "proxy", FINDING_OK, NULL, "proxy: %s (from %s)",
                    proxy_name(inquiry), inquiry->proxy_from);
}

/* --- the server --- */

static unsigned milliseconds(int64_t microseconds)
{
    return microseconds > 0 ? (unsigned)((microseconds + 999) / 1000) : 0;
}

static void tell_of_answer(const struct inquiry *inquiry, enum finding_state state, const char *fix)
{
    const struct caller_answer *answer = &inquiry->answer;

    finding_add(inquiry->findings, "server", state, fix,
                "server: %s answers %d in %u ms (name %u, connection %u, TLS %u)%s%s",
                source_host(source_of(inquiry)), answer->status, milliseconds(answer->times.answer),
                milliseconds(answer->times.name), milliseconds(answer->times.connection),
                milliseconds(answer->times.tls), state == FINDING_OK ? "" : ": ",
                state == FINDING_OK ? "" : answer->message);
}

static void tell_of_no_answer(const struct inquiry *inquiry)
{
    static const char *const stages[] = {"its name is not resolved", "no connection", "no TLS",
                                         "connected, but no answer", "no usable answer"};
    const struct caller_answer *answer = &inquiry->answer;
    const char *host = source_host(source_of(inquiry));
    scoped_free char *fix = NULL;
    bool late = inquiry->error == -ECANCELED || inquiry->error == -ETIMEDOUT;
    char within[64];
    int r;

    snprintf(within, sizeof(within), "nothing within %d ms", inquiry->doctor->timeout_ms);
    if (answer->stage == CALLER_NAME)
        r = asprintf(&fix, "getent hosts %s", host);
    else
        r = asprintf(&fix, "agnesfs doctor --server https://SERVER   # if this one is wrong");
    if (r < 0)
        fix = NULL;
    finding_add(inquiry->findings, "server", FINDING_FAIL, fix, "server: %s: %s: %s", host,
                stages[answer->stage], late ? within : answer->message);
}

static void judge_file(const struct inquiry *inquiry)
{
    const char *text = source_text(source_of(inquiry));
    scoped_free char *fix = NULL;

    if (inquiry->error == 0) {
        finding_add(inquiry->findings, "server", FINDING_OK, NULL, "manifest: %s can be read",
                    text);
        return;
    }
    if (asprintf(&fix, "ls -l %s", strncmp(text, "file://", 7) == 0 ? text + 7 : text) < 0)
        fix = NULL;
    finding_add(inquiry->findings, "server", FINDING_FAIL, fix, "manifest: %s: %s", text,
                inquiry->answer.message);
}

static void judge_server(const struct inquiry *inquiry)
{
    int status = inquiry->answer.status;

    if (status == 0)
        tell_of_no_answer(inquiry);
    else if (inquiry->error == 0 || status == 401 || status == 403)
        tell_of_answer(inquiry, FINDING_OK, NULL);
    else if (status >= 500 || status == 429)
        tell_of_answer(inquiry, FINDING_FAIL, "agnesfs doctor   # again; what is here can be read");
    else
        tell_of_answer(inquiry, FINDING_FAIL,
                       "agnesfs doctor --server https://SERVER   # is this an Agnes server?");
}

/* --- TLS --- */

static void judge_certificate(const struct inquiry *inquiry)
{
    int64_t ends = inquiry->answer.certificate_ends_unix;
    int64_t days = (ends - (int64_t)time(NULL)) / DAY_S;
    scoped_free char *fix = NULL;
    char end[FORMAT_SIZE];

    if (ends == 0) {
        finding_add(inquiry->findings, "tls", FINDING_OK, NULL, "TLS: accepted");
        return;
    }
    format_time((uint64_t)ends, end);
    if (days >= CERTIFICATE_WARN_DAYS) {
        finding_add(inquiry->findings, "tls", FINDING_OK, NULL,
                    "TLS: the certificate is good for %" PRId64 " days", days);
        return;
    }
    if (asprintf(&fix, "openssl s_client -connect %s:443   # tell who runs it",
                 source_host(source_of(inquiry))) < 0)
        fix = NULL;
    finding_add(inquiry->findings, "tls", FINDING_WARN, fix,
                "TLS: the certificate ends in %" PRId64 " days (%s)", days, end);
}

static void judge_tls(const struct inquiry *inquiry)
{
    const struct caller_answer *answer = &inquiry->answer;
    const char *host = source_host(source_of(inquiry));
    bool local = strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
                 strcmp(host, "::1") == 0;
    scoped_free char *fix = NULL;

    if (is_scheme(inquiry, "http:")) {
        if (asprintf(&fix, "agnesfs doctor --server https://%s", host) < 0)
            fix = NULL;
        if (local || !inquiry->token || !token_present(inquiry->token))
            finding_add(inquiry->findings, "tls", FINDING_OK, NULL, "TLS: none, this is http%s",
                        local ? " to this machine" : "");
        else
            finding_add(inquiry->findings, "tls", FINDING_WARN, fix,
                        "TLS: none, so everybody on the way can read the token");
    } else if (answer->stage == CALLER_TLS && inquiry->error < 0) {
        finding_add(inquiry->findings, "tls", FINDING_FAIL,
                    "agnesfs doctor --ca-file FILE   # the authority that signed it", "TLS: %s",
                    answer->message);
    } else if (answer->stage > CALLER_TLS) {
        judge_certificate(inquiry);
    }
}

/* --- the token --- */

/* Where it came from can be written to, or somebody has to log in again. */
static const char *new_token(const struct inquiry *inquiry, char ret_fix[static 512])
{
    const struct options *options = inquiry->doctor->options;

    if (!options_text(options, OPTION_TOKEN_FILE))
        return LOGIN;
    snprintf(ret_fix, 512, "${EDITOR:-vi} %s", options_text(options, OPTION_TOKEN_FILE));
    return ret_fix;
}

static void judge_mode(const struct inquiry *inquiry)
{
    const char *path = token_origin(inquiry->token);
    scoped_free char *fix = NULL;
    struct stat st;

    if (*path != '/' || stat(path, &st) < 0 || !(st.st_mode & 077))
        return;
    if (asprintf(&fix, "chmod 600 %s", path) < 0)
        fix = NULL;
    finding_add(inquiry->findings, "token-file", FINDING_WARN, fix,
                "token: others can read %s (mode %03o)", path, st.st_mode & 0777U);
}

/* "; expires in 12 d" */
static enum finding_state judge_end(const struct inquiry *inquiry, char *ret_words, size_t size)
{
    uint64_t ends = token_ends(inquiry->token);
    uint64_t now = (uint64_t)time(NULL);
    char span[FORMAT_SIZE];

    ret_words[0] = '\0';
    if (ends == 0)
        return FINDING_OK;
    format_duration(ends > now ? ends - now : now - ends, span);
    snprintf(ret_words, size, ends > now ? "; expires in %s" : "; expired %s ago", span);
    return ends <= now ? FINDING_FAIL : ends <= now + TOKEN_HINT_S ? FINDING_WARN : FINDING_OK;
}

static void judge_token(const struct inquiry *inquiry)
{
    const struct caller_answer *answer = &inquiry->answer;
    bool refused = answer->status == 401 || answer->status == 403;
    bool present = token_present(inquiry->token);
    char fix[512];
    char end[64];

    if (source_kind(source_of(inquiry)) == SOURCE_STATIC) {
        finding_add(inquiry->findings, "token", FINDING_OK, NULL,
                    "token: none, a static source never gets one");
        return;
    }
    if (!present) {
        finding_add(inquiry->findings, "token",
                    refused               ? FINDING_FAIL
                    : inquiry->error == 0 ? FINDING_OK
                                          : FINDING_WARN,
                    inquiry->error == 0 ? NULL : new_token(inquiry, fix), "token: none%s",
                    refused               ? ", and the server wants one"
                    : inquiry->error == 0 ? ", and none is wanted"
                                          : "");
        return;
    }
    judge_mode(inquiry);

    enum finding_state state = judge_end(inquiry, end, sizeof(end));

    if (refused)
        state = FINDING_FAIL;
    finding_add(inquiry->findings, "token", state,
                state == FINDING_OK ? NULL : new_token(inquiry, fix), "token: from %s%s%s%s",
                token_origin(inquiry->token),
                refused               ? ": "
                : inquiry->error == 0 ? ", accepted"
                                      : ", not tried",
                refused ? answer->message : "", end);
}

static void judge_clock(const struct inquiry *inquiry)
{
    int64_t date = inquiry->answer.date_unix;
    int64_t apart = (int64_t)time(NULL) - date;
    enum finding_state state;
    char span[FORMAT_SIZE];

    if (inquiry->answer.status == 0 || date < 0)
        return;
    format_duration((uint64_t)llabs(apart), span);
    state = llabs(apart) > CLOCK_FAIL_S   ? FINDING_FAIL
            : llabs(apart) > CLOCK_WARN_S ? FINDING_WARN
                                          : FINDING_OK;
    if (state == FINDING_OK)
        finding_add(inquiry->findings, "clock", state, NULL, "clock: that of the server, by %s",
                    span);
    else
        finding_add(inquiry->findings, "clock", state, CLOCK_FIX,
                    "clock: %s %s the server's, so tokens and signed addresses are misjudged", span,
                    apart > 0 ? "ahead of" : "behind");
}

/* --- the request --- */

static bool is_late(void *arg)
{
    const struct inquiry *inquiry = arg;

    return now_ms() >= inquiry->until_ms;
}

static int ask(struct inquiry *inquiry)
{
    const struct options *options = inquiry->doctor->options;
    const struct caller_conf conf = {
        .source = source_of(inquiry),
        .user_agent = SESSION_USER_AGENT,
        .ca_file = options_text(options, OPTION_CA_FILE),
        .proxy = options_text(options, OPTION_PROXY),
        .timeout_s = 60, /* is_late comes first */
        .token = token_read,
        .token_arg = inquiry->token,
    };
    const struct caller_request request = {
        .path = source_kind(source_of(inquiry)) == SOURCE_SERVER ? "/api/stack?type=data_package"
                                                                 : NULL,
        .limit = MANIFEST_BYTES_MAX,
        .head_only = true,
        .give_up = is_late,
        .arg = inquiry,
    };
    scoped(caller_freep) struct caller *caller = NULL;
    int r = caller_new(&conf, &caller);

    inquiry->until_ms = now_ms() + inquiry->doctor->timeout_ms;
    return r < 0 ? r : caller_call(caller, &request, &inquiry->answer);
}

void doctor_check_server(const struct doctor *doctor, struct findings *findings)
{
    scoped(inquiry_release) struct inquiry inquiry = {.doctor = doctor, .findings = findings};
    struct complaint complaint;
    char fix[512];

    if (discovery_find(NULL, doctor->options, &inquiry.discovery, &complaint) < 0)
        return; /* which doctor_check_source tells */
    if (token_new(doctor->options, source_of(&inquiry), &inquiry.token, &complaint) < 0) {
        finding_add(findings, "token", FINDING_FAIL, new_token(&inquiry, fix), "token: %s: %s",
                    complaint.what, complaint.why);
        return;
    }
    find_proxy(&inquiry);
    inquiry.error = ask(&inquiry);
    if (is_scheme(&inquiry, "file:")) {
        judge_file(&inquiry);
    } else {
        judge_server(&inquiry);
        judge_tls(&inquiry);
        judge_proxy(&inquiry);
        judge_clock(&inquiry);
    }
    judge_token(&inquiry);
}
