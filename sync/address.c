/* SPDX-License-Identifier: MIT */
/* Why nothing slips through by its spelling: what counts is the address that is about to be
 * connected to, as the system has it. Names and spellings are looked at only where somebody else
 * connects, a proxy. */
#include "sync/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

struct block4 {
    uint32_t prefix;
    unsigned bits;
};

struct block6 {
    uint8_t prefix[16];
    unsigned bits;
};

#define IPV4(a, b, c, d)                                                                           \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const struct block4 closed4[] = {
    {IPV4(0, 0, 0, 0), 8},       {IPV4(10, 0, 0, 0), 8},       {IPV4(100, 64, 0, 0), 10},
    {IPV4(127, 0, 0, 0), 8},     {IPV4(168, 63, 129, 16), 32}, {IPV4(169, 254, 0, 0), 16},
    {IPV4(172, 16, 0, 0), 12},   {IPV4(192, 0, 0, 0), 24},     {IPV4(192, 0, 2, 0), 24},
    {IPV4(192, 88, 99, 0), 24},  {IPV4(192, 168, 0, 0), 16},   {IPV4(198, 18, 0, 0), 15},
    {IPV4(198, 51, 100, 0), 24}, {IPV4(203, 0, 113, 0), 24},   {IPV4(224, 0, 0, 0), 3},
};

static const struct block6 open6 = {{0x20}, 3};
static const struct block6 mapped = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96};
static const struct block6 nat64 = {{0x00, 0x64, 0xff, 0x9b}, 96};
static const struct block6 closed6[] = {
    {{0x20, 0x01, 0x00}, 23},
    {{0x20, 0x01, 0x0d, 0xb8}, 32},
    {{0x20, 0x02}, 16},
    {{0x3f, 0xff}, 20},
};

static bool is_public4(uint32_t address)
{
    for (size_t i = 0; i < sizeof(closed4) / sizeof(*closed4); i++) {
        if (((address ^ closed4[i].prefix) >> (32 - closed4[i].bits)) == 0)
            return false;
    }
    return true;
}

static bool lies_in(const uint8_t address[static 16], const struct block6 *block)
{
    unsigned bytes = block->bits / 8, rest = block->bits % 8;

    return memcmp(address, block->prefix, bytes) == 0 &&
           (rest == 0 || (address[bytes] ^ block->prefix[bytes]) >> (8 - rest) == 0);
}

static bool is_public6(const uint8_t address[static 16])
{
    if (lies_in(address, &mapped) || lies_in(address, &nat64))
        return is_public4(IPV4(address[12], address[13], address[14], address[15]));
    for (size_t i = 0; i < sizeof(closed6) / sizeof(*closed6); i++) {
        if (lies_in(address, &closed6[i]))
            return false;
    }
    return lies_in(address, &open6);
}

bool address_is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return is_public4(
            ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr));
    if (address->sa_family == AF_INET6)
        return is_public6(((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr);
    return false;
}

/* "localhost", "a.localhost": this machine by definition (RFC 6761). */
static bool is_local_name(const char *host, size_t size)
{
    static const char local[] = "localhost";
    size_t local_size = strlen(local);

    return size >= local_size && strncasecmp(host + size - local_size, local, local_size) == 0 &&
           (size == local_size || host[size - local_size - 1] == '.');
}

bool address_is_private_host(const char *host)
{
    char text[256]; /* of a name: no resolver takes a longer one */
    struct in6_addr six;
    struct in_addr four;
    size_t size = strlen(host);
    bool bracketed = host[0] == '[';

    host += bracketed;
    size -= bracketed;
    if (size > 1 && host[size - 1] == (bracketed ? ']' : '.'))
        size--;
    if (size >= sizeof(text))
        return bracketed;
    snprintf(text, sizeof(text), "%.*s", (int)size, host);
    if (bracketed)
        return inet_pton(AF_INET6, text, &six) != 1 || !is_public6(six.s6_addr);
    if (inet_aton(text, &four) != 0)
        return !is_public4(ntohl(four.s_addr));
    return is_local_name(text, size);
}
