/* SPDX-License-Identifier: MIT */
/* address.h - is that a place on the public internet?
 *
 * Asked before a connection is made to a host that a server named and the user did not: such a name
 * must not lead this machine to itself, to its neighbours or to the metadata of its cloud. Public is
 * what is globally reachable by the IANA's special-purpose registries (RFC 6890) and none of these:
 *
 *   IPv4   0/8, 10/8, 100.64/10, 127/8, 169.254/16, 172.16/12, 192.0.0/24, 192.0.2/24, 192.88.99/24,
 *          192.168/16, 198.18/15, 198.51.100/24, 203.0.113/24, 224/3, and 168.63.129.16, by which a
 *          guest of Azure reaches its host
 *   IPv6   all but 2000::/3; of that, 2001::/23 (Teredo, benchmarks, ORCHID), 2001:db8::/32,
 *          2002::/16 (6to4), 3fff::/20
 *   mixed  ::ffff:a.b.c.d and 64:ff9b::a.b.c.d are what a.b.c.d is: by the latter a network that has
 *          IPv6 only (DNS64) reaches the rest
 *
 * Any other family is not public. Pure. */
#pragma once

#include <stdbool.h>

struct sockaddr;

bool address_is_public(const struct sockaddr *address);

/* A host as it stands in a URL, that need not be resolved to see that it is not public: an address
 * in any spelling that resolvers take ("0x7f.1", "2130706433", "[::1]"), or localhost. */
bool address_is_private_host(const char *host);
