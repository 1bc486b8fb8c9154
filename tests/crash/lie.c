/* SPDX-License-Identifier: MIT */
/* lie.c - the lies of points.h for any program: LD_PRELOAD this, and AGNESFS_LIE=in-place. */
#include <stdlib.h>
#include <string.h>

#include "tests/crash/points.h"

__attribute__((constructor)) static void begin(void)
{
    const char *lie = getenv("AGNESFS_LIE");
    struct points *points = points_share();

    points->lie = lie && strcmp(lie, "in-place") == 0 ? LIE_IN_PLACE : LIE_NONE;
    points_begin(points, &(struct point){.at = 0});
}
