/* SPDX-License-Identifier: MIT */
/* agnes_config.h - the agnes CLI's files, as far as they concern us.
 *
 * Strings are malloc'd. Errors: -ENOENT there is none, -EINVAL not what the agnes CLI writes
 * (ret_why: one phrase), -ENOMEM. */
#pragma once

/* $AGNES_CONFIG_DIR/name, else ~/.config/agnes/name. */
int agnes_config_path(const char *name, char **ret_path);

/* The scalar `server:` at the top level of a YAML mapping. */
int agnes_config_server(const char *path, char **ret_server, char ret_why[static 160]);
