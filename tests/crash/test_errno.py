"""Every call of the file system may fail: nothing crashes, and what was readable stays so.

A cache is filled from one stack and lives on with another, in a process that links the libraries;
in five stages of that life each call fails at each moment, in each of the ways a call can, once and
from then on (fault_scene.h says what must hold).
"""

import pytest

from tests.lib.effort import amount, seed

POINTS = amount(standard=2_200, long=100_000)
CALLS = {"open", "close", "read", "pread", "write", "pwrite", "stat", "fstat", "access", "fsync",
         "fdatasync", "ftruncate", "fchmod", "rename", "link", "unlink", "mkdir", "opendir",
         "readdir", "statvfs", "flock", "descriptor"}


@pytest.mark.timeout(3000)
def test_every_call_may_fail(tool):
    result = tool.run("errno", POINTS, seed(), timeout=3000)
    assert result.failed == 0, result
    assert result.hit >= min(POINTS, 2_000), result
    assert set(result.calls) >= CALLS, f"never hit: {CALLS - set(result.calls)}"


def test_a_write_that_is_lost_is_seen(tool):
    """The control: what no program can notice must not escape the test."""
    result = tool.only("sync", "pwrite", "lost", 1, "persistent")
    assert result.hit == 1 and result.failed == 1, result


def test_a_life_without_a_fault_is_a_good_one(tool):
    for stage in ("open", "sync", "read", "close", "check"):
        result = tool.only(stage, "none", "none", 0, "once")
        assert result.failed == 0 and result.hit == 0, result
