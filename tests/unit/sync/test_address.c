/* SPDX-License-Identifier: MIT */
/* What is public: each closed block by its first and last address, and the neighbours outside. */
#include "sync/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

struct spelling {
    const char *text;
    bool public;
};

static const struct spelling addresses[] = {
    /* this network, private use, shared address space of carriers, loopback, link-local */
    {"0.0.0.0", false},
    {"0.0.0.1", false},
    {"0.255.255.255", false},
    {"1.0.0.0", true},
    {"9.255.255.255", true},
    {"10.0.0.0", false},
    {"10.1.2.3", false},
    {"10.255.255.255", false},
    {"11.0.0.0", true},
    {"100.63.255.255", true},
    {"100.64.0.0", false},
    {"100.100.100.200", false},
    {"100.127.255.255", false},
    {"100.128.0.0", true},
    {"126.255.255.255", true},
    {"127.0.0.0", false},
    {"127.0.0.1", false},
    {"127.0.0.2", false},
    {"127.255.255.255", false},
    {"128.0.0.0", true},
    {"168.63.129.15", true},
    {"168.63.129.16", false},
    {"168.63.129.17", true},
    {"169.253.255.255", true},
    {"169.254.0.0", false},
    {"169.254.169.254", false},
    {"169.254.255.255", false},
    {"169.255.0.0", true},
    {"172.15.255.255", true},
    {"172.16.0.0", false},
    {"172.17.0.1", false},
    {"172.31.255.255", false},
    {"172.32.0.0", true},
    /* protocol assignments, documentation, 6to4 relays, benchmarks */
    {"191.255.255.255", true},
    {"192.0.0.0", false},
    {"192.0.0.192", false},
    {"192.0.0.255", false},
    {"192.0.1.0", true},
    {"192.0.2.0", false},
    {"192.0.2.255", false},
    {"192.0.3.0", true},
    {"192.88.98.255", true},
    {"192.88.99.0", false},
    {"192.88.99.255", false},
    {"192.88.100.0", true},
    {"192.167.255.255", true},
    {"192.168.0.0", false},
    {"192.168.255.255", false},
    {"192.169.0.0", true},
    {"198.17.255.255", true},
    {"198.18.0.0", false},
    {"198.19.255.255", false},
    {"198.20.0.0", true},
    {"198.51.99.255", true},
    {"198.51.100.0", false},
    {"198.51.100.255", false},
    {"198.51.101.0", true},
    {"203.0.112.255", true},
    {"203.0.113.0", false},
    {"203.0.113.255", false},
    {"203.0.114.0", true},
    /* multicast, reserved, broadcast */
    {"223.255.255.255", true},
    {"224.0.0.0", false},
    {"239.255.255.255", false},
    {"240.0.0.0", false},
    {"255.255.255.254", false},
    {"255.255.255.255", false},
    /* of IPv6 what is global unicast, but for its special blocks */
    {"::", false},
    {"::1", false},
    {"::2", false},
    {"100::1", false},
    {"1fff:ffff::", false},
    {"2000::", true},
    {"2000:ffff::1", true},
    {"2001::1", false},
    {"2001:2::1", false},
    {"2001:10::1", false},
    {"2001:1ff:ffff::", false},
    {"2001:200::", true},
    {"2001:4860:4860::8888", true},
    {"2001:db7:ffff::", true},
    {"2001:db8::", false},
    {"2001:db8:ffff::1", false},
    {"2001:db9::", true},
    {"2002::", false},
    {"2002:7f00:1::", false},
    {"2002:808:808::", false},
    {"2003::", true},
    {"2600:1f14::1", true},
    {"3ffe:ffff::", true},
    {"3fff::", false},
    {"3fff:fff::1", false},
    {"3fff:1000::", true},
    {"4000::", false},
    {"5f00::1", false},
    {"fbff::1", false},
    {"fc00::1", false},
    {"fd00:ec2::254", false},
    {"fdff::1", false},
    {"fe80::1", false},
    {"febf::1", false},
    {"fec0::1", false},
    {"ff02::1", false},
    {"ff0e::1", false},
    /* IPv4 inside of IPv6 */
    {"::127.0.0.1", false},
    {"::8.8.8.8", false},
    {"::ffff:127.0.0.1", false},
    {"::ffff:10.0.0.1", false},
    {"::ffff:169.254.169.254", false},
    {"::ffff:8.8.8.8", true},
    {"::ffff:0:8.8.8.8", false},
    {"64:ff9b::127.0.0.1", false},
    {"64:ff9b::192.168.1.1", false},
    {"64:ff9b::a9fe:a9fe", false},
    {"64:ff9b::8.8.8.8", true},
    {"64:ff9b:0:0:0:1:808:808", false},
    {"64:ff9b:1::8.8.8.8", false},
};

static bool is_public(const char *text)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    assert_int_equal(getaddrinfo(text, "443", &hints, &found), 0);
    bool public = address_is_public(found->ai_addr);

    freeaddrinfo(found);
    return public;
}

static void addresses_are_public_or_not(void **state)
{
    for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
        if (is_public(addresses[i].text) != addresses[i].public)
            fail_msg("%s", addresses[i].text);
    }
}

static void other_families_are_not_public(void **state)
{
    const struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/run/socket"};
    const struct sockaddr_storage none = {.ss_family = AF_UNSPEC};

    assert_false(address_is_public((const struct sockaddr *)&local));
    assert_false(address_is_public((const struct sockaddr *)&none));
}

static void hosts_that_show_what_they_are(void **state)
{
    static const struct spelling hosts[] = {
        {"127.0.0.1", false},
        {"127.0.0.1.", false},
        {"127.1", false},
        {"127.0.1", false},
        {"0", false},
        {"0.0.0.0", false},
        {"2130706433", false},
        {"017700000001", false},
        {"0x7f000001", false},
        {"0x7f.1", false},
        {"0177.0.0.1", false},
        {"0X7F.0x0.0x0.0x1", false},
        {"10.1", false},
        {"0xa9fea9fe", false},
        {"169.254.169.254", false},
        {"192.168.257", false},
        {"[::1]", false},
        {"[::]", false},
        {"[0:0:0:0:0:0:0:1]", false},
        {"[::ffff:7f00:1]", false},
        {"[::ffff:127.0.0.1]", false},
        {"[fd00:ec2::254]", false},
        {"[fe80::1]", false},
        {"[64:ff9b::7f00:1]", false},
        {"[no address]", false},
        {"[", false},
        {"[]", false},
        {"localhost", false},
        {"LocalHost", false},
        {"localhost.", false},
        {"store.localhost", false},
        {"8.8.8.8", true},
        {"134744072", true},
        {"0x8.8.8.8", true},
        {"[2001:4860:4860::8888]", true},
        {"[2A00:1450:4001:0::1]", true},
        {"s3.eu-central-1.amazonaws.com", true},
        {"storage.googleapis.com", true},
        {"notlocalhost", true},
        {"localhost.example.com", true},
        {"127.0.0.1.example.com", true},
        {"10.example.com", true},
        {"256.1.1.1", true},
    };

    for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
        if (address_is_private_host(hosts[i].text) == hosts[i].public)
            fail_msg("%s", hosts[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_public_or_not),
        cmocka_unit_test(other_families_are_not_public),
        cmocka_unit_test(hosts_that_show_what_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
