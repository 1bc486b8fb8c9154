/* SPDX-License-Identifier: MIT */
/* The manifest of last time. Most refreshes bring the very words of the one before, and to read a
 * million rows again in order to learn nothing is what a refresh would cost then. So the digest of
 * the words is kept, with the report on them; only `server_time` does not count, which is another one
 * in every manifest (contract 1.1) and of which nothing depends but when signed addresses end: where
 * these are the same, so is that.
 *
 * Why nothing is missed: words are kept only if they came to nothing when they were read in full,
 * beside the generation that is shown now. Then reading them again would ask the very same
 * questions, and all but one of the answers are still those:
 *
 *   what the rows say         the words and the generation are the same
 *   rows that failed          their words are not kept: they are tried at every refresh
 *   sudden emptiness          likewise: each refresh asks the second witness
 *   bytes of another version  all is read while any are known
 *   is a bundle still here?   asked again below; if one is not, all is read and it is fetched
 *
 * What a refresh does beyond that is done in any case: it writes a state that is torn, sweeps what
 * is due, and fetches what was asked for or is to be fetched ahead, whatever became of it. */
#include <errno.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"

#define SERVER_TIME_MAX 40

/* Where the manifest says when it was made; NULL if it does not. The needle ends in a quote that is
 * not escaped, so it is the end of a key or of nothing that is followed by a colon; whatever that key
 * is, nobody reads a string under a key that ends so but this one. */
static char *find_server_time(char *text, size_t size)
{
    static const char key[] = "\"server_time\"";
    char *at = memmem(text, size, key, strlen(key));

    if (!at)
        return NULL;
    at += strlen(key);
    at += strspn(at, " \t\r\n:");
    return *at == '"' ? at + 1 : NULL;
}

/* The digest of the text with zeros for the digits of server_time, which is given back as it was. */
static void find_words(char *text, size_t size, struct blob_key *ret_words)
{
    char *time = find_server_time(text, size);
    char original[SERVER_TIME_MAX];
    size_t length = time ? strspn(time, "0123456789-:.+TZ ") : 0;

    length = length < sizeof(original) ? length : sizeof(original);
    memcpy(original, time ? time : "", length);
    for (size_t i = 0; i < length; i++)
        time[i] = time[i] >= '0' && time[i] <= '9' ? '0' : time[i];
    blob_key_of_bytes(text, size, ret_words);
    if (time)
        memcpy(time, original, length);
}

/* Bytes of which the manifest does not say what they are can only be asked for while they last. */
static bool bundles_are_here(const struct refresh *refresh)
{
    const struct tree *tree = refresh->last;

    for (size_t i = tree_blob_count(tree); i > 0; i--) {
        const struct blob_key *key = &tree_blob(tree, (uint32_t)(i - 1))->key;

        if (key->kind != BLOB_XXH) /* those are the last ones */
            return true;
        if (!store_holds(refresh->engine->conf.store, key))
            return false;
    }
    return true;
}

static void forget(struct known_words *known)
{
    tree_unref(known->tree);
    report_free(known->report);
    *known = (struct known_words){.tree = NULL};
}

bool refresh_recall(struct refresh *refresh, char *text, size_t size)
{
    struct known_words *known = &refresh->engine->known;
    struct report *report = refresh->report;
    struct report *said = NULL;

    find_words(text, size, &refresh->words);
    if (!known->tree || known->tree != refresh->last || refresh->refutations.count > 0 ||
        !blob_key_equal(&known->words, &refresh->words) || !bundles_are_here(refresh) ||
        engine_copy_report(known->report, &said) < 0) {
        forget(known);
        return false;
    }
    said->requests = report->requests;
    said->dry_run = report->dry_run;
    report_free(report);
    refresh->report = said;
    refresh->next = tree_ref(refresh->last);
    return true;
}

void refresh_remember(struct refresh *refresh)
{
    struct known_words *known = &refresh->engine->known;
    size_t items;

    if (refresh->refutations.count > 0 || !refresh->plan || refresh->next != refresh->last)
        return;
    plan_items(refresh->plan, &items);
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++)
        items += plan_section_suddenly_empty(refresh->plan, section);
    if (items > 0 || engine_copy_report(refresh->report, &known->report) < 0)
        return;
    known->words = refresh->words;
    known->tree = tree_ref(refresh->next);
}

void engine_forget_words(struct engine *engine)
{
    forget(&engine->known);
}
