/* SPDX-License-Identifier: MIT */
/* partials.h (private to cache/) - which partials are in use in this process: one key, one object.
 *
 *     partials_enter -> somebody else's entry, with a reference
 *                    -> ours, busy: open the files -> partials_open -> partials_put...
 *                                                  -> partials_leave, it came to nothing
 *
 * An entry is busy while somebody changes what its files are: opens, publishes, removes or puts
 * them aside. Whoever asks for the key meanwhile waits, for as long as a few small system calls
 * take. So the mutex guards the list and the counts and is never held over I/O, and no two objects
 * ever work on one file.
 *
 * An entry that has left lives on for those who hold it; its key is free for the next one.
 * Threads: any. */
#pragma once

#include "cache/key.h"

struct partials;

enum presence {
    PRESENCE_BUSY,
    PRESENCE_OPEN,
    PRESENCE_NONE, /* has left the list */
};

/* The first member of what is listed. The list's lock guards all but the key. */
struct listed {
    struct blob_key key;
    struct listed *next;
    enum presence presence;
    uint32_t references;
};

int partials_new(struct partials **ret_partials);
void partials_free(struct partials *partials);

/* The key's open entry, with one reference more. NULL: there is none; mine, unless NULL itself, is
 * listed then, busy, with one reference. */
struct listed *partials_enter(struct partials *partials, const struct blob_key *key,
                              struct listed *mine);

/* The same without waiting or sharing: false when the key has an entry, whatever it is doing. */
bool partials_enter_alone(struct partials *partials, struct listed *mine);

/* What the key's entry is doing at this moment. */
enum presence partials_look(struct partials *partials, const struct blob_key *key);

/* Of an open entry of which one holds a reference: nobody gets it until it is open again. */
void partials_make_busy(struct partials *partials, struct listed *entry);

/* Ends being busy: to be had, or gone from the list. */
void partials_open(struct partials *partials, struct listed *entry);
void partials_leave(struct partials *partials, struct listed *entry);

/* Empties the list, but for what is busy. */
void partials_leave_all(struct partials *partials);

/* At most max of those that are open, each with one reference more. */
size_t partials_list(struct partials *partials, struct listed **ret_entries, size_t max);

void partials_ref(struct partials *partials, struct listed *entry);

/* True: that was the last reference. The entry, if still listed, is busy now and has to leave. */
bool partials_put(struct partials *partials, struct listed *entry);
