"""Power cuts at points in store, state and sync, on an ext4 that loses what was not synced.

tests/crash/disk.h says how the power is cut, and what that can not show.
"""

import os

import pytest

from tests.crash.lives import SECONDS, live
from tests.lib.effort import amount, seed

CUTS = amount(standard=500, long=25_000)  # of each kind
CONTROL_CUTS = 5
CONTROLS = 4


@pytest.fixture(autouse=True)
def root():
    assert os.geteuid() == 0, "these tests mount an image: run them as root"


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("kind", ["store", "sync"])
def test_a_power_cut_loses_nothing_that_was_flushed(memory, kind):
    found = live("power_cut", memory, kind, CUTS, seed())
    assert found.failure is None, found
    assert found.points == CUTS


@pytest.mark.parametrize("kind", ["store", "sync"])
def test_without_syncs_a_few_power_cuts_are_enough(memory, kind):
    """A cut before anything was promised can break no promise."""
    first = seed()
    for number in range(first, first + CONTROLS):
        found = live("power_cut", memory, kind, 100, number, lie="no-sync")
        assert found.failure, f"the control was not found: {found}"
        assert found.armed <= CONTROL_CUTS, found
