"""Every allocation may fail: no crash, no lie, no leak, and the daemon lives on.

SQLite's way: the first one fails, then the second, ... until a run meets no fault any more; then the
same with all that follow failing too. The scene is that of test_errno.py.
"""

import pytest

from tests.lib.effort import seed


@pytest.mark.timeout(3000)
def test_every_allocation_may_fail(tool):
    result = tool.run("malloc", 1, seed(), timeout=3000)
    assert result.failed == 0, result
    assert result.hit >= 5_000, result


@pytest.mark.parametrize("sabotage", ["crash", "leak"])
def test_a_careless_program_is_seen(tool, sabotage):
    """The control: it uses what it did not get, or forgets what it got."""
    at = 1 if sabotage == "crash" else 100_000
    result = tool.only("read", "malloc", "ENOMEM", at, "once", sabotage)
    assert result.failed == 1, result
