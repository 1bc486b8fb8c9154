"""Random histories against a model of a dictionary's size: what is seen is what the model says.

2,000 histories of 50 operations: look-ups, listings, attributes, opens, reads, maps, forgets, changed
stacks, evictions, lost files, restarts and kills. What fails is shrunk and printed as literals:

    AGNESFS_HISTORY='[("sync", [("list", "p0", "t0")]), ...]' scripts/test -k fuzz/histories

runs it alone. A history that found a defect stays in FOUND.
"""

import ast
import os
import random
import shlex
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.fuzz.world import Mismatch, World
from tests.lib import agnesfs
from tests.lib.effort import LONG, amount, seed
from tests.lib.histories import OPERATIONS, Model, make_history, shrink

HISTORIES = amount(standard=2_000, long=100_000)
LENGTH = amount(standard=50, long=200)
BALANCE_EVERY = 25
FOUND = [
    # An open file kept its name in a folder that was withdrawn, and showed it when there was one again.
    [("sync", [("list", "p2", "t3")]), ("open", 0, "data/p2/t3.parquet"), ("sync", [("withdraw", "p2")]),
     ("sync", [("list", "p2", "t1")]), ("stat", "data/p2/t3.parquet"), ("stat", "data/p2/t1.parquet")],
    # The same, for somebody who is still in that folder.
    [("sync", [("list", "p1", "t0")]), ("open_folder", 1, "data/p1"), ("open", 0, "data/p1/t0.parquet"),
     ("sync", [("withdraw", "p1")]), ("stat_at", 1, "t0.parquet"), ("list_open", 1)],
]

pytestmark = pytest.mark.timeout(14_400 if LONG else 600)


@pytest.fixture
def agnes(tmp_path):
    """In memory: what a disk does with its time is not the point here."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))
    agnes = agnesfs.Agnesfs(folder)
    try:
        yield agnes
        left = agnes.clean_up()
        assert not left, f"left behind: {left}"
    finally:
        agnes.clean_up()
        shutil.rmtree(folder)


def mismatch(agnes, history, model=Model):
    """What goes wrong when this happens to a fresh mount; None if nothing does."""
    world = World(agnes, model)
    try:
        return world.mismatch(history)
    finally:
        world.end()


def find(agnes, histories, model=Model):
    """The first history that the model does not agree with, and why; what was done until then.

    With the history before it, in which the reason may lie.
    """
    world = World(agnes, model)
    last = []
    try:
        for number, history in enumerate(histories):
            try:
                world.run(history)
                if number % BALANCE_EVERY == 0:
                    world.balance()
            except Mismatch as error:
                return [*last, ("begin",), *history], error, world.counts
            last = history
    finally:
        world.end()
    return None, None, world.counts


def shrunk(agnes, history, model=Model):
    """Tried on one mount, which is faster; what comes of it must fail on a fresh one too."""
    world = World(agnes, model)
    try:
        shorter = shrink(history, world.mismatch) if world.mismatch(history) else history
    finally:
        world.end()
    if not mismatch(agnes, shorter, model):
        if not mismatch(agnes, history, model):
            return history, "only after the histories before it; repeat them with their seed"
        shorter = shrink(history, lambda some: mismatch(agnes, some, model))
    return shorter, mismatch(agnes, shorter, model)


def random_histories(number, value):
    return (make_history(random.Random(f"{value} {index}"), LENGTH) for index in range(number))


def test_histories(agnes):
    if "AGNESFS_HISTORY" in os.environ:
        histories = [ast.literal_eval(os.environ["AGNESFS_HISTORY"])]
    else:
        histories = random_histories(HISTORIES, seed())
    history, error, counts = find(agnes, histories)
    if history:
        shorter, why = shrunk(agnes, history)
        pytest.fail(f"{error}\nshrunk: {why}\nAGNESFS_HISTORY={shlex.quote(repr(shorter))}")
    print(f"{sum(counts.values())} operations: {counts}")
    assert "AGNESFS_HISTORY" in os.environ or counts.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("number", range(len(FOUND)))
def test_a_history_that_found_something(agnes, number):
    assert mismatch(agnes, FOUND[number]) is None


# --- what must be found, or all of the above proves nothing ---

class CountsFolders(Model):
    """A wrong rule: it counts the folders that a blob is in, not its names."""

    def references(self, key):
        return len({path.rsplit("/", 1)[0] for path, other in self.names.items() if other == key})


class FollowsNames(Model):
    """A wrong rule: an open file goes on with the new bytes of its name."""

    def seen_by_handle(self, path, key):
        return self.names.get(path, key)


@pytest.mark.parametrize("model, most", [(CountsFolders, 4), (FollowsNames, 6)])
def test_a_wrong_rule_is_found_and_shrunk(agnes, model, most):
    history, error, _ = find(agnes, random_histories(2_000, seed()), model)
    assert error, "not found"
    history, error = shrunk(agnes, history, model)
    print(f"{error}\n{history}")
    assert len(history) <= most, history


def test_a_mount_that_does_not_tell_the_kernel_is_found_and_shrunk(agnes, monkeypatch):
    monkeypatch.setattr(agnesfs, "BINARY", os.environ["AGNESFS_BUILD"] + "/tests/fuzz/agnesfs_silent")
    history, error, _ = find(agnes, random_histories(2_000, seed()))
    assert error, "not found"
    history, error = shrunk(agnes, history)
    print(f"{error}\n{history}")
    assert len(history) <= 6, history
