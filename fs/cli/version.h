/* SPDX-License-Identifier: MIT */
/* version.h - which agnesfs this is, what it runs with, and what it was built with.
 *
 *     agnesfs 0.1.0 (x86_64) libfuse/3.18.2 libcurl/7.88.1 (OpenSSL/3.0.17) cJSON/1.7.15 ...
 *     Features: io_uring landlock passthrough seccomp systemd
 *
 * Libraries are those of the running process, which may be newer than those that it was built with;
 * but libsystemd and inih do not tell theirs: libsystemd's is that of the build, inih is left out.
 * A feature is what this binary has, not what this kernel offers: `agnesfs status` says that.
 *
 * As JSON: {"version", "machine", "libraries": {name: version}, "features": ["..."]}. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

void version_print(bool json, FILE *file);
