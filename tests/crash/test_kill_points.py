"""kill -9 at points in store, state and sync: what was promised is there, and nothing is wrong.

Points are the system calls that change a cache; tests/crash/points.h says how they are counted, and
world.h what is promised. One life after the other works on the same cache, so each recovers from
what the last one left, and is killed while it does.
"""

import pytest

from tests.crash.lives import SECONDS, live
from tests.lib.effort import amount, seed

POINTS = amount(standard=5_000, long=500_000)  # of each kind
CONTROL_POINTS = 300

# Between what and what a kill must have been seen to be harmless.
EVERYWHERE = """
    create lock, mkdirat _shared, mkdirat partial/, unlink clean, fsync root,
    create draft, pwrite draft, fchmod draft, fdatasync draft, rename draft, mkdirat shard,
    create partial, ftruncate partial, pwrite partial, fchmod partial, fdatasync partial,
    rename partial, create map, pwrite map, unlink map, unlink blob, fsync shard, fsync _shared,
    create trust.new, pwrite trust.new, fsync trust.new, rename trust.new, create clean
"""
IN_SYNC = """
    create state.tmp, write state.tmp, fsync state.tmp, unlink state.prev, link state.prev,
    rename state.tmp, create image.new, pwrite image.new, fsync image.new, rename image.new,
    create first_seen.new, fsync first_seen.new, rename first_seen.new,
    create pins.tmp, fsync pins.tmp, rename pins.tmp
"""


def words(text):
    return [word.strip() for word in text.split(",")]


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("kind, places", [("store", EVERYWHERE), ("sync", EVERYWHERE + "," + IN_SYNC)])
def test_a_kill_loses_nothing_and_tears_nothing(memory, kind, places):
    found = live("kill_points", memory, kind, POINTS, seed())
    assert found.failure is None, found
    assert found.points == POINTS
    missed = [place for place in words(places) if found.last(place) < 2]
    assert not missed, f"never killed there: {missed}\n{found}"


@pytest.mark.parametrize("kind", ["store", "sync"])
def test_writes_that_are_torn_are_noticed(memory, kind):
    found = live("kill_points", memory, kind, CONTROL_POINTS, seed(), lie="torn")
    assert found.failure, "the control was not found"


def test_files_that_are_written_in_place_are_noticed(memory):
    found = live("kill_points", memory, "sync", CONTROL_POINTS, seed(), lie="in-place")
    assert found.failure, "the control was not found"
