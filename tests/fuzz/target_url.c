/* SPDX-License-Identifier: MIT */
/* target_url.c - where a manifest can send this machine: to the source's own origin, or, where it
 * says that the address is signed, to a public one in https; and what a user may call a source.
 *
 * The first byte says of what kind the source is, the second how the rest is used. What host a URL
 * has is found here by hand, in what is handed to libcurl. */
#include "sync/address.h"
#include "sync/fetch.h"
#include "sync/source.h"
#include "tests/fuzz/fuzz.h"

enum { SOURCES = 5 };

static const char *const sources[SOURCES] = {
    "https://agnes.example.com",           "http://127.0.0.1:8000/base",
    "https://stacks.example.com/t/m.json", "file:///srv/stack/manifest.json",
    "https://[2001:db8::1]:8443",
};

static const char *const starts[SOURCES] = {
    "https://agnes.example.com/",  "http://127.0.0.1:8000/",
    "https://stacks.example.com/", "file:///",
    "https://[2001:db8::1]:8443/",
};

/* libcurl may have left the scheme's own port where it was said. */
static bool begins_at_origin(const char *url, const char *start)
{
    static const char port[] = ":443/";
    size_t size = strlen(start) - 1;

    return strncmp(url, start, size + 1) == 0 ||
           (strncmp(url, start, size) == 0 && strncmp(url + size, port, strlen(port)) == 0);
}

static void check_urls(const struct source *source, const char *start, const char *text,
                       uint8_t choice)
{
    static const char *const parts[] = {NULL, "month=1/data.parquet"};
    struct tree_row row = {
        .name = choice & 8 ? text : "orders",
        .table_id = choice & 16   ? text
                    : choice & 32 ? ""
                                  : "o-1",
        .url = choice & 24 ? "" : text,
    };
    scoped_free char **urls = NULL;

    if (source_urls(source, &row, (enum tree_form)(choice & 3), parts[choice >> 2 & 1], &urls) < 0)
        return;
    require(urls[0]);
    for (char **url = urls; *url; url++) {
        require(begins_at_origin(*url, start));
        require(is_printable(*url) && !strpbrk(*url, " \\"));
    }
}

static void check_signed(const struct source *source, const char *text)
{
    scoped_free char *url = NULL;
    scoped_free char *host = NULL;
    const char *start;

    if (source_signed_url(source, text, &url) < 0)
        return;
    require(strncmp(url, "https://", 8) == 0 || !source_is_foreign(source, url));
    start = strstr(url, "://") + 3;
    host = strndup(start, strcspn(start, "/?#"));
    require(host && !strchr(host, '@'));
    host[host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":")] = '\0';
    require(!source_is_foreign(source, url) || !address_is_private_host(host));
}

/* What a user types, or the configuration says. */
static void check_source(const char *text)
{
    scoped(source_freep) struct source *source = NULL;

    if (source_parse(text, &source) < 0)
        return;
    require(is_printable(source_text(source)));
    require(*source_host(source) && *source_manifest_url(source));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct source *parsed[SOURCES];

    for (size_t i = 0; i < SOURCES && !parsed[i]; i++)
        require(source_parse(sources[i], &parsed[i]) == 0);
    if (size < 2)
        return 0;

    scoped_free char *text = fuzz_text(data + 2, size - 2);
    size_t source = data[0] % SOURCES;

    switch (data[1] >> 6) {
    case 0: check_signed(parsed[source], text); break;
    case 1: check_source(text); break;
    default: check_urls(parsed[source], starts[source], text, data[1]);
    }
    return 0;
}
