/* SPDX-License-Identifier: MIT */
/* schedules.h - what is run in many orders (schedules.c). Each is the first thread of a schedule: it
 * makes what is tried, spawns those that use it, and checks what is left when they are done. */
#pragma once

#include "tests/fuzz/schedule.h"

void try_inodes(void *arg); /* the inode table, by its own functions */
void try_switch(void *arg); /* a mount and a kernel: look-ups, reads, interrupts, new generations */
void try_flight(void *arg); /* transfers: wants of the same blobs, disk threads, a failing source */

extern bool flight_apart; /* no want finds a flight to join: for the test of the tests */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
