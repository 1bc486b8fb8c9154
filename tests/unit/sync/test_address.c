/* SPDX-License-Identifier: MIT */
/* What is public: the table is tests/data/addresses. */
#include "sync/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

/* Calls check with each line of that kind of the table; returns how many there were. */
static unsigned each(const char *kind, void (*check)(const char *text, bool public))
{
    FILE *file = fopen(TEST_DATA_DIR "/addresses", "r");
    char line[256], found[16], verdict[16], text[128];
    unsigned count = 0;

    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        assert_int_equal(sscanf(line, "%15s %15s %127[^\n]", found, verdict, text), 3);
        assert_true(strcmp(verdict, "public") == 0 || strcmp(verdict, "closed") == 0);
        if (strcmp(found, kind) != 0)
            continue;
        check(text, verdict[0] == 'p');
        count++;
    }
    fclose(file);
    return count;
}

static bool is_public(const char *text)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    assert_int_equal(getaddrinfo(text, "443", &hints, &found), 0);
    bool public = address_is_public(found->ai_addr);

    freeaddrinfo(found);
    return public;
}

static void check_address(const char *text, bool public)
{
    if (is_public(text) != public)
        fail_msg("%s", text);
}

static void addresses_are_public_or_not(void **state)
{
    assert_true(each("address", check_address) >= 117);
}

static void other_families_are_not_public(void **state)
{
    const struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/run/socket"};
    const struct sockaddr_storage none = {.ss_family = AF_UNSPEC};

    assert_false(address_is_public((const struct sockaddr *)&local));
    assert_false(address_is_public((const struct sockaddr *)&none));
}

static void check_host(const char *text, bool public)
{
    if (address_is_private_host(text) == public)
        fail_msg("%s", text);
}

static void hosts_that_show_what_they_are(void **state)
{
    assert_true(each("host", check_host) >= 40);
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
