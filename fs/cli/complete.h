/* SPDX-License-Identifier: MIT */
/* complete.h - what may come next on a command line: bash, zsh and fish ask, each with a few lines of
 * scripts/install, and all knowledge is here, in the tables that parse.
 *
 *     agnesfs complete-words WORD... CURRENT      the words after "agnesfs"; CURRENT may be empty
 *
 * Answers with lines CANDIDATE<tab>DESCRIPTION, of which each begins with CURRENT; one that ends in
 * '=', '/' or ',' wants to be gone on with. Where the shell knows better, a line says so instead:
 * <tab>files<tab>PREFIX or <tab>folders<tab>PREFIX, for what follows PREFIX in CURRENT.
 *
 * It is silent about everything that goes wrong, asks no server, touches no mount, and where it has to
 * read a cache, the process ends without an answer after COMPLETE_MS: a shell waits for it. Tables and packages are those of the generation that
 * the cache has. */
#pragma once

#include <stdio.h>

#define COMPLETE_WORD "complete-words"

enum { COMPLETE_MS = 700 };

/* words: count of them, at least one, CURRENT the last. May end the process. */
void complete_print(int count, char *const *words, FILE *file);
