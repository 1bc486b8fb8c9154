/* SPDX-License-Identifier: MIT */
/* Which signed addresses are taken. Why a server can not use them to send this machine where it does
 * not want to go: another host is spoken to in https only, which whoever listens by chance does not
 * speak, only at a public address, and gets nothing that it did not sign. */
#include <errno.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/address.h"
#include "sync/fetch.h"
#include "sync/source.h"

static int compare_hosts(const struct source *source, const char *url, char **ret_host,
                         bool *ret_foreign)
{
    scoped_free char *origin = NULL;
    size_t own_size, size;
    const char *own = fetch_origin_host(source_origin(source), &own_size);
    const char *host;
    int r = fetch_url_origin(url, &origin);

    if (r < 0)
        return r;
    host = fetch_origin_host(origin, &size);
    *ret_foreign = own_size == 0 || own_size != size || memcmp(own, host, size) != 0;
    *ret_host = strndup(host, size);
    return *ret_host ? 0 : -ENOMEM;
}

bool source_is_foreign(const struct source *source, const char *url)
{
    scoped_free char *host = NULL;
    bool foreign = true;

    return compare_hosts(source, url, &host, &foreign) < 0 || foreign;
}

/* May it be asked in clear? Where the server itself is, nothing is lost by that. */
static bool speaks_well(const struct source *source, const char *url, bool foreign)
{
    static const char plain[] = "http:", tls[] = "https:";
    bool server_is_plain = strncmp(source_origin(source), plain, strlen(plain)) == 0;

    return strncmp(url, tls, strlen(tls)) == 0 ||
           (!foreign && server_is_plain && strncmp(url, plain, strlen(plain)) == 0);
}

int source_signed_url(const struct source *source, const char *text, char **ret_url)
{
    scoped_free char *url = NULL;
    scoped_free char *host = NULL;
    bool foreign = true;
    int r = -EACCES;

    if (source_kind(source) == SOURCE_SERVER)
        r = fetch_url_resolve(NULL, text, &url);
    if (r == 0)
        r = compare_hosts(source, url, &host, &foreign);
    if (r < 0)
        return r == -ENOMEM ? r : -EACCES;
    if (!speaks_well(source, url, foreign) || (foreign && address_is_private_host(host)))
        return -EACCES;
    *ret_url = take_ptr(url);
    return 0;
}
