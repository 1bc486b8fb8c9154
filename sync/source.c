/* SPDX-License-Identifier: MIT */
/* Why a token and a manifest stay at home: every URL that leaves this file went through
 * url_list_add, which compares its origin with the source's, both as libcurl itself understands
 * them. There is no other way out of source_urls; what is signed has source_signed.c. */
#include "sync/source.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "cache/scoped.h"
#include "sync/fetch.h"

struct source {
    enum source_kind kind;
    char *text;
    char *origin;
    char *host;
    char *base; /* a server's, without a slash at its end */
    char *manifest_url;
};

/* --- parsing --- */

static bool ends_with(const char *text, size_t size, const char *end)
{
    size_t end_size = strlen(end);

    return size >= end_size && strncasecmp(text + size - end_size, end, end_size) == 0;
}

static bool has_scheme(const char *text)
{
    return strstr(text, "://") != NULL;
}

static int print_to(char **ret_text, const char *a, const char *b, const char *c)
{
    char *text = malloc(strlen(a) + strlen(b) + strlen(c) + 1);

    if (!text)
        return -ENOMEM;
    stpcpy(stpcpy(stpcpy(text, a), b), c);
    *ret_text = text;
    return 0;
}

/* "https://[::1]:8000" -> "::1" */
static int host_of_origin(const char *origin, char **ret_host)
{
    size_t size;
    const char *start = fetch_origin_host(origin, &size);

    if (size == 0) {
        *ret_host = strdup("local");
    } else if (start[0] == '[' && size > 2) {
        *ret_host = strndup(start + 1, size - 2);
    } else {
        *ret_host = strndup(start, size);
    }
    return *ret_host ? 0 : -ENOMEM;
}

static int parse_server(struct source *source, const char *url)
{
    size_t size = strlen(url);

    if (strchr(url, '?'))
        return -EINVAL;
    while (size > 0 && url[size - 1] == '/')
        size--;
    source->kind = SOURCE_SERVER;
    source->base = strndup(url, size);
    source->text = strndup(url, size);
    if (!source->base || !source->text)
        return -ENOMEM;
    return print_to(&source->manifest_url, source->base, "/api/sync/manifest", "");
}

static int parse_static(struct source *source, const char *url)
{
    source->kind = SOURCE_STATIC;
    source->text = strdup(url);
    source->manifest_url = strdup(url);
    return source->text && source->manifest_url ? 0 : -ENOMEM;
}

/* A path as the file: URL of a manifest: of the file itself, or of the one in that folder. What can
 * not be looked at today (an unmounted disk) is judged by its name. */
static int url_of_path(const char *path, char **ret_url)
{
    scoped_free char *escaped = NULL;
    scoped_free char *url = NULL;
    size_t size = strlen(path);
    bool folder;
    struct stat st;
    int r;

    folder = stat(path, &st) == 0 ? S_ISDIR(st.st_mode) : !ends_with(path, size, ".json");
    r = fetch_url_escape(path, true, &escaped);
    if (r == 0)
        r = print_to(&url, "file://", escaped, folder ? "/manifest.json" : "");
    if (r == 0)
        r = fetch_url_resolve(NULL, url, ret_url);
    return r;
}

static bool is_path(const char *text)
{
    struct stat st;

    if (text[0] == '/' || strncmp(text, "./", 2) == 0 || strncmp(text, "../", 3) == 0)
        return true;
    return stat(text, &st) == 0;
}

static int parse_path(struct source *source, const char *text)
{
    scoped_free char *folder = NULL;
    scoped_free char *path = NULL;
    scoped_free char *url = NULL;
    size_t size;
    int r;

    if (text[0] == '/') {
        r = print_to(&path, text, "", "");
    } else {
        folder = getcwd(NULL, 0);
        r = folder ? print_to(&path, folder, "/", text) : -EINVAL;
    }
    if (r < 0)
        return r;
    for (size = strlen(path); size > 1 && path[size - 1] == '/'; size--)
        path[size - 1] = '\0';
    r = url_of_path(path, &url);
    return r ? r : parse_static(source, url);
}

static int parse_file_url(struct source *source, const char *url)
{
    scoped_free char *folder = NULL;
    scoped_free char *manifest = NULL;
    size_t size = strlen(url);
    int r;

    if (strchr(url, '?'))
        return -EINVAL;
    if (ends_with(url, size, ".json"))
        return parse_static(source, url);
    while (size > strlen("file:///") && url[size - 1] == '/')
        size--;
    folder = strndup(url, size);
    r = folder ? print_to(&manifest, folder, "/manifest.json", "") : -ENOMEM;
    return r ? r : parse_static(source, manifest);
}

static int parse_url(struct source *source, const char *text)
{
    scoped_free char *url = NULL;
    int r = fetch_url_resolve(NULL, text, &url);

    if (r < 0)
        return r;
    if (strncmp(url, "file:", 5) == 0)
        return parse_file_url(source, url);
    if (ends_with(url, strcspn(url, "?"), ".json"))
        return parse_static(source, url);
    return parse_server(source, url);
}

int source_parse(const char *text, struct source **ret_source)
{
    scoped(source_freep) struct source *source = calloc(1, sizeof(*source));
    int r;

    if (!source)
        return -ENOMEM;
    if (has_scheme(text))
        r = parse_url(source, text);
    else
        r = is_path(text) ? parse_path(source, text) : -EINVAL;
    if (r == 0)
        r = fetch_url_origin(source->manifest_url, &source->origin);
    if (r == 0)
        r = host_of_origin(source->origin, &source->host);
    if (r < 0)
        return r;
    *ret_source = take_ptr(source);
    return 0;
}

void source_free(struct source *source)
{
    if (!source)
        return;
    free(source->text);
    free(source->origin);
    free(source->host);
    free(source->base);
    free(source->manifest_url);
    free(source);
}

void source_freep(struct source *const *source)
{
    source_free(*source);
}

enum source_kind source_kind(const struct source *source)
{
    return source->kind;
}

const char *source_text(const struct source *source)
{
    return source->text;
}

const char *source_origin(const struct source *source)
{
    return source->origin;
}

const char *source_host(const struct source *source)
{
    return source->host;
}

const char *source_manifest_url(const struct source *source)
{
    return source->manifest_url;
}

/* --- where bytes are --- */

#define URLS_MAX 3

struct url_list {
    char *urls[URLS_MAX];
    size_t count;
};

static void url_list_release(struct url_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->urls[i]);
}

/* Consumes url. Another origin is -EACCES; one that is there already is enough. */
static int url_list_add(struct url_list *list, const struct source *source, char *url)
{
    scoped_free char *owned = url;
    scoped_free char *origin = NULL;
    int r = fetch_url_origin(url, &origin);

    if (r < 0)
        return r;
    if (strcmp(origin, source->origin) != 0)
        return -EACCES;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->urls[i], url) == 0)
            return 0;
    }
    list->urls[list->count++] = take_ptr(owned);
    return 0;
}

static int url_list_pack(const struct url_list *list, char ***ret_urls)
{
    size_t size = (list->count + 1) * sizeof(char *);
    char **urls;
    char *text;

    for (size_t i = 0; i < list->count; i++)
        size += strlen(list->urls[i]) + 1;
    urls = malloc(size);
    if (!urls)
        return -ENOMEM;
    text = (char *)(urls + list->count + 1);
    for (size_t i = 0; i < list->count; i++) {
        urls[i] = text;
        text = stpcpy(text, list->urls[i]) + 1;
    }
    urls[list->count] = NULL;
    *ret_urls = urls;
    return 0;
}

/* What a row's own url means. A server gives paths that begin at its base, wherever a proxy has put
 * that; a static stack gives references relative to its manifest. */
static int resolve_own(const struct source *source, const char *url, char **ret_url)
{
    scoped_free char *full = NULL;
    int r;

    if (source->kind == SOURCE_STATIC)
        return fetch_url_resolve(source->manifest_url, url, ret_url);
    if (url[0] != '/' || url[1] == '/')
        return has_scheme(url) ? fetch_url_resolve(NULL, url, ret_url) : -EINVAL;
    r = print_to(&full, source->base, url, "");
    return r ? r : fetch_url_resolve(NULL, full, ret_url);
}

/* A server takes the part as a parameter; a static stack has the parts below the row. Consumes
 * url. */
static int add_part(const struct source *source, char *url, const char *part, char **ret_url)
{
    scoped_free char *owned = url;
    scoped_free char *escaped = NULL;
    bool server = source->kind == SOURCE_SERVER;
    int r;

    if (!part) {
        *ret_url = take_ptr(owned);
        return 0;
    }
    r = fetch_url_escape(part, !server, &escaped);
    if (r < 0)
        return r;
    return print_to(ret_url, url, !server ? "/" : strchr(url, '?') ? "&part=" : "?part=", escaped);
}

static int add_own(const struct source *source, const char *url, const char *part,
                   struct url_list *list)
{
    char *resolved = NULL;
    char *full = NULL;
    int r = resolve_own(source, url, &resolved);

    if (r == 0)
        r = add_part(source, resolved, part, &full);
    return r ? r : url_list_add(list, source, full);
}

/* Any other label is 404 today, whoever asks (contract 2): only tried where nothing else is left. */
static bool is_downloadable(const char *label)
{
    static const char others[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t size = strspn(label, others);

    return size > 0 && size <= 128 && label[size] == '\0' && label[0] != '.' && label[0] != '-';
}

static int add_route(const struct source *source, const char *route, const char *label,
                     const char *end, const char *part, struct url_list *list)
{
    scoped_free char *escaped = NULL;
    scoped_free char *stem = NULL;
    char *url = NULL, *full = NULL;
    int r = fetch_url_escape(label, false, &escaped);

    if (r == 0)
        r = print_to(&stem, source->base, route, escaped);
    if (r == 0)
        r = print_to(&url, stem, end, "");
    if (r == 0)
        r = add_part(source, url, part, &full);
    return r ? r : url_list_add(list, source, full);
}

/* An address that lies at another origin, even where another one would be asked. */
static bool is_foreign(const struct source *source, const char *url)
{
    struct url_list alone = {.count = 0};
    bool foreign = has_scheme(url) && add_own(source, url, NULL, &alone) == -EACCES;

    url_list_release(&alone);
    return foreign;
}

/* The server says "/api/memory/bundle?domain=R&D notes": the slug as it is, not encoded. Encoding
 * it is right today; should it one day come encoded, the URL as given is the second try. */
static int add_bundle(const struct source *source, const struct tree_row *row,
                      struct url_list *list)
{
    const char *found = strstr(row->url, "domain=");
    const char *slug = found ? found + strlen("domain=") : row->name;
    int r;

    if (is_foreign(source, row->url) && (!found || strstr(row->url, "://") < found))
        return -EACCES;
    r = add_route(source, "/api/memory/bundle?domain=", slug, "", NULL, list);
    if (r == 0 && found && strchr(slug, '%'))
        add_own(source, row->url, NULL, list);
    return r;
}

/* The server puts the id into its url as it is: one of other characters is better derived. */
static int add_artifact(const struct source *source, const struct tree_row *row, bool digest,
                        struct url_list *list)
{
    const char *route = digest ? "/api/knowledge/digests/" : "/api/knowledge/artifacts/";
    const char *id = row->table_id;
    int r = is_foreign(source, row->url) ? -EACCES : 0;

    if (r == 0 && row->url[0] && (!id[0] || is_downloadable(id)))
        r = add_own(source, row->url, NULL, list);
    if (r < 0 || !id[0])
        return r;
    return add_route(source, route, id, digest ? "/content" : "/download", NULL, list);
}

static int collect_urls(const struct source *source, const struct tree_row *row,
                        enum tree_form form, const char *part, struct url_list *list)
{
    int r = 0;

    if (source->kind == SOURCE_STATIC)
        return row->url[0] ? add_own(source, row->url, part, list) : -EINVAL;
    if (form == FORM_BUNDLE)
        return add_bundle(source, row, list);
    if (form == FORM_DATABASE || form == FORM_DIGEST)
        return add_artifact(source, row, form == FORM_DIGEST, list);

    bool by_id = is_downloadable(row->table_id), by_name = is_downloadable(row->name);

    if (row->url[0])
        r = add_own(source, row->url, part, list);
    if (r == 0 && row->table_id[0] && (by_id || !by_name))
        r = add_route(source, "/api/data/", row->table_id, "/download", part, list);
    if (r == 0 && row->name[0] && (by_name || !by_id))
        r = add_route(source, "/api/data/", row->name, "/download", part, list);
    return r;
}

int source_urls(const struct source *source, const struct tree_row *row, enum tree_form form,
                const char *part, char ***ret_urls)
{
    scoped(url_list_release) struct url_list list = {.count = 0};
    int r = collect_urls(source, row, form, part, &list);

    return r < 0 ? r : list.count == 0 ? -EINVAL : url_list_pack(&list, ret_urls);
}

int source_stack_url(const struct source *source, enum tree_section section, char **ret_url)
{
    const char *type = tree_section(section)->stack_type;

    if (source->kind != SOURCE_SERVER || !type)
        return -ENOTSUP;
    return print_to(ret_url, source->base, "/api/stack?type=", type);
}

int source_endpoint_url(const struct source *source, const char *path, char **ret_url)
{
    return source->kind == SOURCE_SERVER ? print_to(ret_url, source->base, path, "") : -ENOTSUP;
}
