"""Forced schedules: the program's threads run one at a time, in 20,000 orders (schedule.h).

    build/dev/tests/fuzz/schedules WHAT 1 SEED      repeats one; a failure says which

The same with locks that keep nobody out must be found out, or it proves nothing; and so must wants of
one blob that do not find each other.
"""

import json
import os
import subprocess
import tempfile

import pytest

from tests.lib.effort import LONG, amount, seed

SCHEDULES = {  # 20,000 together, or a million
    "inodes": amount(standard=6_000, long=300_000),
    "switch": amount(standard=8_000, long=400_000),
    "flight": amount(standard=6_000, long=300_000),
}
FOUND_WITHIN = 200

pytestmark = pytest.mark.timeout(7200 if LONG else 300)


@pytest.fixture
def schedules():
    """Runs them, with a place in memory for what they cache. Their sanitizer tells us, and leaves no
    report for all of the tests: that of a control is no finding."""
    program = os.environ["AGNESFS_BUILD"] + "/tests/fuzz/schedules"
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as place:
        yield lambda what, runs, *arguments: subprocess.run(
            [program, what, str(runs), str(seed()), *arguments], capture_output=True,
            env={**os.environ, "TMPDIR": place, "ASAN_OPTIONS": ""}, text=True, errors="replace")


@pytest.mark.parametrize("what", SCHEDULES)
def test_schedules(schedules, what):
    result = schedules(what, SCHEDULES[what])
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    print(facts)
    assert facts["schedules"] == SCHEDULES[what]
    assert facts["orders"] > 0.9 * min(SCHEDULES[what], 60_000)  # it counts no more of them
    assert facts["switches"] > 10 * SCHEDULES[what]


def assert_found_out(result):
    assert result.returncode != 0, result.stdout
    assert "again with" in result.stderr, result.stderr


@pytest.mark.parametrize("what", SCHEDULES)
def test_locks_that_keep_nobody_out_are_found_out(schedules, what):
    assert_found_out(schedules(what, FOUND_WITHIN, "unlocked"))


def test_wants_that_do_not_find_the_flight_of_their_blob_are_found_out(schedules):
    assert_found_out(schedules("flight", FOUND_WITHIN, "apart"))
