/* SPDX-License-Identifier: MIT */
/* redact.h - a text without what must not leave this machine.
 *
 *     redactor_new -> redactor_secret, redactor_name ... -> redact... -> redactor_free
 *
 * | what                                                              | becomes                  |
 * |-------------------------------------------------------------------|--------------------------|
 * | a secret that is known                                            | [secret]                 |
 * | what stands behind Authorization: and Bearer                      | [secret]                 |
 * | the value of token=, "password": and their like                   | [secret]                 |
 * | a JSON Web Token; a word of 32 and more small, capital and digits | [secret]                 |
 * | the query of an address, with a scheme or without                 | ?[query]                 |
 * | what stands before an @: users, passwords, senders                | [user]@                  |
 * | the home folder; other people's                                   | ~; /home/[user]          |
 * | the name of this user, as a word                                  | [user]                   |
 * | names of packages, tables, domains that are known                 | name-<8 hex>             |
 *
 * The hex digits are those of an XXH3 with a salt of this redactor's own: the same name is the same
 * word in one report, and can not be guessed from another. Hosts stay: what can not be reached has to
 * be known. Pure but for its beginning, which asks for the user and the salt.
 *
 * Limits: a secret of a form that is none of these, and that nobody has named, stays. */
#pragma once

struct redactor;

/* -ENOMEM, else the system's. */
int redactor_new(struct redactor **ret_redactor);
void redactor_free(struct redactor *redactor);
void redactor_freep(struct redactor *const *redactor);

/* Copied. Too short to be told from other words (8, 3 bytes): left out. -ENOMEM. */
int redactor_secret(struct redactor *redactor, const char *secret);
int redactor_name(struct redactor *redactor, const char *name);

/* malloc'd; NULL without memory. */
char *redact(const struct redactor *redactor, const char *text);
