"""Forced schedules: the program's threads run one at a time, in 20,000 orders (schedule.h).

    build/dev/tests/fuzz/schedules WHAT 1 SEED      repeats one; a failure says which

The same with locks that keep nobody out must be found out, or it proves nothing.
"""

import json
import os
import subprocess

import pytest

from tests.lib.effort import LONG, amount, seed

SCHEDULES = {  # 20,000 together, or a million
    "inodes": amount(standard=8_000, long=400_000),
    "switch": amount(standard=12_000, long=600_000),
}
FOUND_WITHIN = 200

pytestmark = pytest.mark.timeout(7200 if LONG else 300)


def schedules(what, runs, *arguments):
    program = os.environ["AGNESFS_BUILD"] + "/tests/fuzz/schedules"
    return subprocess.run([program, what, str(runs), str(seed()), *arguments], capture_output=True,
                          text=True, errors="replace")


@pytest.mark.parametrize("what", SCHEDULES)
def test_schedules(what):
    result = schedules(what, SCHEDULES[what])
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    print(facts)
    assert facts["schedules"] == SCHEDULES[what]
    assert facts["orders"] > 0.9 * min(SCHEDULES[what], 60_000)  # it counts no more of them
    assert facts["switches"] > 10 * SCHEDULES[what]


@pytest.mark.parametrize("what", SCHEDULES)
def test_locks_that_keep_nobody_out_are_found_out(what):
    result = schedules(what, FOUND_WITHIN, "unlocked")
    assert result.returncode != 0, result.stdout
    assert "again with" in result.stderr, result.stderr
