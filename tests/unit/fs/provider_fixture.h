/* SPDX-License-Identifier: MIT */
/* provider_fixture.h - the part of a provider (fs/provider.h) that tests of mounts have no use for:
 * nothing is here in part, and nothing is fetched ahead. */
#pragma once

#include <errno.h>

#include "fs/provider.h"

static inline int fixture_find(void *arg, const struct blob_key *key, struct partial **ret_partial)
{
    return -ENOENT;
}

static inline void fixture_ahead(void *arg, const struct blob_key *key, uint64_t offset,
                                 uint64_t size, bool rest)
{
}
