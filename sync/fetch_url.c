/* SPDX-License-Identifier: MIT */
/* Why this comes before the parser: two parsers that read one URL differently are how a token ends
 * at the wrong host. What is refused here, no parser has to interpret. Pure, no locale. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cache/scoped.h"
#include "sync/fetch_private.h"

#define URL_BYTES 8192

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(char c)
{
    return is_alpha(c) || (c >= '0' && c <= '9');
}

/* The length of "scheme:" at the front, 0 if there is none. */
static size_t scheme_size(const char *text)
{
    size_t size = 0;

    if (!is_alpha(text[0]))
        return 0;
    while (is_alnum(text[size]) || (text[size] && strchr("+-.", text[size])))
        size++;
    return text[size] == ':' ? size + 1 : 0;
}

static bool bytes_plausible(const char *text)
{
    size_t size = 0;

    for (; text[size]; size++) {
        unsigned char c = (unsigned char)text[size];

        if (c <= ' ' || c == 0x7f || c == '\\' || size == URL_BYTES)
            return false;
    }
    return size > 0;
}

/* False for what parsers are known to disagree about or to repair: control characters, blanks,
 * backslashes, userinfo, a scheme without "//", an authority that is empty or missing, more than
 * 8 KiB. A reference without a scheme is fine. */
static bool url_plausible(const char *text)
{
    size_t scheme = scheme_size(text);
    const char *authority = text + scheme;
    size_t size;

    if (!bytes_plausible(text))
        return false;
    if (strncmp(authority, "//", 2) != 0)
        return scheme == 0;
    authority += 2;
    size = strcspn(authority, "/?#");
    if (memchr(authority, '@', size))
        return false;
    return size > 0 || strncasecmp(text, "file:", 5) == 0;
}

/* Letters, digits, ".-_", or an address in brackets. */
static bool host_plausible(const char *host)
{
    size_t size = strlen(host);

    if (size > 2 && host[0] == '[')
        return strspn(host + 1, "0123456789abcdefABCDEF:.") == size - 2 && host[size - 1] == ']';
    for (size_t i = 0; i < size; i++) {
        if (!is_alnum(host[i]) && !strchr(".-_", host[i]))
            return false;
    }
    return size > 0;
}

/* libcurl would take bytes above 0x7f as they are; the wire has them percent-encoded. */
static int encode_high_bytes(const char *text, char **ret_text)
{
    char *encoded = malloc(3 * strlen(text) + 1);
    char *out = encoded;

    if (!encoded)
        return -ENOMEM;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x80)
            *out++ = *text;
        else
            out += sprintf(out, "%%%02X", c);
    }
    *out = '\0';
    *ret_text = encoded;
    return 0;
}

static void scoped_curlu_at(CURLU *const *url)
{
    curl_url_cleanup(*url);
}

static void scoped_curl_free_at(char *const *text)
{
    curl_free(*text);
}

#define scoped_curlu scoped(scoped_curlu_at)
#define scoped_curl_free scoped(scoped_curl_free_at)

static int url_set(CURLU *url, const char *text)
{
    scoped_free char *encoded = NULL;
    CURLUcode code;
    int r;

    if (!url_plausible(text))
        return -EINVAL;
    r = encode_high_bytes(text, &encoded);
    if (r < 0)
        return r;
    code = curl_url_set(url, CURLUPART_URL, encoded, CURLU_DISALLOW_USER);
    return code == CURLUE_OK ? 0 : code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
}

static bool is_file_url(CURLU *url)
{
    scoped_curl_free char *scheme = NULL;

    return curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
           strcmp(scheme, "file") == 0;
}

/* Names compare as bytes from here on. A zone is an address on this machine's links alone. */
static int host_lower(CURLU *url)
{
    scoped_curl_free char *host = NULL;
    scoped_curl_free char *zone = NULL;

    if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK || !host_plausible(host) ||
        curl_url_get(url, CURLUPART_ZONEID, &zone, 0) != CURLUE_NO_ZONEID)
        return -EINVAL;
    for (char *c = host; *c; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    }
    return curl_url_set(url, CURLUPART_HOST, host, 0) == CURLUE_OK ? 0 : -ENOMEM;
}

static int check_scheme(CURLU *url)
{
    scoped_curl_free char *scheme = NULL;

    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        return -EINVAL;
    return strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0 ? 0 : -EINVAL;
}

int fetch_url_resolve(const char *base, const char *reference, char **ret_url)
{
    scoped_curlu CURLU *url = curl_url();
    scoped_curl_free char *text = NULL;
    int r = 0;

    if (!url)
        return -ENOMEM;
    if (base)
        r = url_set(url, base);
    if (r == 0)
        r = url_set(url, reference);
    if (r == 0 && !is_file_url(url)) {
        r = check_scheme(url);
        if (r == 0)
            r = host_lower(url);
    }
    if (r < 0)
        return r;
    curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    if (curl_url_get(url, CURLUPART_URL, &text, CURLU_NO_DEFAULT_PORT) != CURLUE_OK)
        return -EINVAL;
    *ret_url = strdup(text);
    return *ret_url ? 0 : -ENOMEM;
}

int fetch_url_origin(const char *text, char **ret_origin)
{
    scoped_free char *resolved = NULL;
    scoped_curlu CURLU *url = curl_url();
    scoped_curl_free char *scheme = NULL;
    scoped_curl_free char *host = NULL;
    scoped_curl_free char *port = NULL;
    int r = url ? fetch_url_resolve(NULL, text, &resolved) : -ENOMEM;

    if (r == 0)
        r = url_set(url, resolved);
    if (r < 0)
        return r;
    if (is_file_url(url)) {
        *ret_origin = strdup("file://");
        return *ret_origin ? 0 : -ENOMEM;
    }
    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return -EINVAL;
    return asprintf(ret_origin, "%s://%s:%s", scheme, host, port) < 0 ? -ENOMEM : 0;
}

const char *fetch_origin_host(const char *origin, size_t *ret_size)
{
    const char *start = strstr(origin, "://") + 3;
    const char *end = strrchr(start, ':');

    *ret_size = end ? (size_t)(end - start) : strlen(start);
    return start;
}

int fetch_url_to_path(const char *text, char **ret_path)
{
    scoped_curlu CURLU *url = curl_url();
    scoped_curl_free char *path = NULL;
    int r = url ? url_set(url, text) : -ENOMEM;

    if (r < 0)
        return r;
    if (curl_url_get(url, CURLUPART_PATH, &path, CURLU_URLDECODE) != CURLUE_OK)
        return -EINVAL;
    *ret_path = strdup(path);
    return *ret_path ? 0 : -ENOMEM;
}

int fetch_url_escape(const char *text, bool keep_slash, char **ret_text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *escaped = malloc(3 * strlen(text) + 1);
    char *out = escaped;

    if (!escaped)
        return -ENOMEM;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (is_alnum(*text) || strchr("-._~", c) || (c == '/' && keep_slash)) {
            *out++ = *text;
        } else {
            *out++ = '%';
            *out++ = digits[c >> 4];
            *out++ = digits[c & 15];
        }
    }
    *out = '\0';
    *ret_text = escaped;
    return 0;
}
