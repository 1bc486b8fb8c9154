/* SPDX-License-Identifier: MIT */
/* source.h - where a stack comes from.
 *
 *   server   https://agnes.example.com              an Agnes server; the manifest is
 *            http://localhost:8000                  <base>/api/sync/manifest; with a token
 *   static   /srv/stack, file:///srv/stack          a folder with a manifest.json
 *            https://host/path/manifest.json        any URL that ends in .json; what the manifest
 *            file:///srv/stack/manifest.json        refers to is relative to it; never a token
 *
 * A source is immutable and may be shared between threads.
 * Origin = scheme, host and port. Everything a row refers to must lie at the source's own origin:
 * a token can not leave it, and a manifest can not point this machine at its neighbours. The one
 * exception is an address that a server has signed for a store of its own (source_signed_url).
 * Errors: -EINVAL not a source we know, -EACCES URL at another origin, -ENOMEM. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "sync/tree.h"

/* The version of Agnes whose contract we keep. */
#define SOURCE_CONTRACT "0.84.8"

struct source;

enum source_kind {
    SOURCE_SERVER,
    SOURCE_STATIC,
};

/* text as the user gave it; relative paths are resolved against the working directory. */
int source_parse(const char *text, struct source **ret_source);
void source_free(struct source *source);
void source_freep(struct source *const *source);

enum source_kind source_kind(const struct source *source);

/* The canonical form, for people and for naming the cache: no token, no userinfo. */
const char *source_text(const struct source *source);
const char *source_origin(const struct source *source); /* "https://host:443", "file://" */
const char *source_host(const struct source *source);   /* "agnes.example.com", "local" for files */

const char *source_manifest_url(const struct source *source);

/* Where the bytes of one file of a row can be had, best first: the row's own url, else by id, else
 * by name (contract section 2: which of the two a server wants can not be known beforehand); of
 * knowledge by its id alone.
 * part: the part's path below the row, NULL for a row that is one file. The result is a
 * NULL-terminated array of one allocation; free() it. */
int source_urls(const struct source *source, const struct tree_row *row, enum tree_form form,
                const char *part, char ***ret_urls);

/* What a server has signed, normalised: no token goes there, and the bytes are nothing without their
 * digest. Taken is https, and at the server's own host also http if the server itself speaks that.
 * Another host must not be one that can be seen to be near (address.h); the rest is seen when it is
 * connected to (fetch.h). -EACCES: not taken. */
int source_signed_url(const struct source *source, const char *text, char **ret_url);

/* At another host than the source's own, or who knows where. */
bool source_is_foreign(const struct source *source, const char *url);

/* Does a row's own url, whatever the source, lead to the source's own origin? True for a plain path,
 * which nearly all are: without a colon there is no scheme, without two slashes in front no host.
 * False says nothing: then source_urls has to tell. */
static inline bool source_is_plain_path(const char *url)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-";
    size_t size = strspn(url, plain);

    return size > 0 && size < 1024 && url[size] == '\0' && strncmp(url, "//", 2) != 0;
}

/* An endpoint of the server's, path and query as given: "/api/stack/browse?type=...". -ENOTSUP for a
 * static source. */
int source_endpoint_url(const struct source *source, const char *path, char **ret_url);

/* <base>/api/stack?type=..., to cross-check an empty section. -ENOTSUP for a static source. */
int source_stack_url(const struct source *source, enum tree_section section, char **ret_url);
