"""A storm over a mount that was built with ThreadSanitizer: not one race.

Look-ups, listings, reads, maps, forgets, interrupted reads, switches, evictions, questions, and a
second mount of the same cache, all at once. Suppressions: none.

The same storm over a build whose inode table has no lock must be found out, or it proves nothing.
"""

import collections
import contextlib
import errno
import mmap
import multiprocessing
import os
import random
import signal
import subprocess
import time

import pytest

from tests.fuzz.world import MS_REMOUNT_AS_IT_IS, libc
from tests.lib import agnesfs
from tests.lib.control import Control
from tests.lib.effort import LONG, amount, seed
from tests.lib.faultd import Server
from tests.lib.sites import Folder
from tests.lib.stack import raw

SECONDS = amount(standard=15, long=1800)
NAMES = 12  # tables in each package
BIG = 9 << 20  # such a file is read by block as it comes
MAY_HAPPEN = (errno.ENOENT, errno.ESTALE, errno.EINTR, errno.EIO, errno.ENODATA)
BUILD = agnesfs.ROOT / "build/tsan"

pytestmark = pytest.mark.timeout(7200 if LONG else 400)


@pytest.fixture(scope="module", autouse=True)
def build():
    for command in (["cmake", "--preset", "tsan"],
                    ["cmake", "--build", "--preset", "tsan", "--target", "agnesfs",
                     "agnesfs_unlocked"]):
        result = subprocess.run(command, cwd=agnesfs.ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr


# --- who is out in the storm; each a process, counting what it got ---

def paths(root, dice):
    return f"{root}/data/{dice.choice(['sales', 'events', 'gone'])}/t{dice.randrange(NAMES)}.parquet"


def look(root, dice):
    os.stat(paths(root, dice))
    os.getxattr(paths(root, dice), "user.agnes.state")
    with os.scandir(f"{root}/data/sales") as entries:
        for entry in entries:
            entry.stat()
    os.listdir(f"{root}/data/{dice.choice(['events', 'gone'])}")


def read(root, dice):
    fd = os.open(paths(root, dice), os.O_RDONLY)
    try:
        assert os.pread(fd, 4, 0) == b"PAR1"
        os.fstat(fd)
        if dice.random() < 0.2:
            time.sleep(0.05)  # open over a switch
            assert os.pread(fd, 100_000, 4096)[-4:] in (b"PAR1", b"")
    finally:
        os.close(fd)


def read_big(root, dice):
    fd = os.open(f"{root}/data/sales/big.parquet", os.O_RDONLY)
    try:
        for _ in range(4):
            os.pread(fd, 50_000, dice.randrange(BIG))
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[:4] == b"PAR1"
    finally:
        os.close(fd)


class Interrupted(Exception):
    pass


def interrupted(root, dice):
    """A read that a signal handler of the reader ends, mostly while it waits for bytes."""
    def ring(*_):
        raise Interrupted

    signal.signal(signal.SIGALRM, ring)
    fd = os.open(paths(root, dice), os.O_RDONLY)
    try:
        signal.setitimer(signal.ITIMER_REAL, dice.choice([0.0002, 0.001, 0.003]))
        os.pread(fd, 100_000, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.close(fd)


def forget(root, dice):
    if libc.mount(None, root.encode(), None, MS_REMOUNT_AS_IT_IS, None) < 0:
        raise AssertionError("the mount has gone")
    time.sleep(0.005)


def ask(root, dice):
    with open(f"{root}/.agnes/status.json") as file:
        file.read()
    with open(f"{root}/.agnes/generation") as file:
        file.read()
    os.statvfs(root)


def loop(kind, root, value, stop, answers):
    dice = random.Random(value)
    done, ended = 0, collections.Counter()
    problem = None
    while not stop.is_set():
        try:
            kind(root, dice)
            done += 1
        except Interrupted:
            ended["interrupted"] += 1
        except OSError as error:
            if error.errno not in MAY_HAPPEN:
                problem = f"{kind.__name__}: {error}"
                break
            ended[errno.errorcode[error.errno]] += 1
        except Exception as error:
            problem = f"{kind.__name__}: {type(error).__name__}: {error}"
            break
    answers.put((kind.__name__, done, dict(ended), problem))


# --- the weather ---

def change(stack, dice):
    for number in range(NAMES):
        if dice.random() < 0.3:
            stack.add_table(f"t{number}", raw(bytes([dice.randrange(65, 91)]) * dice.choice(
                [10, 5_000, 60_000])))
    rows = [stack.rows[f"t{number}"] for number in range(NAMES)]
    stack.packages.clear()
    stack.add_package("sales", stack.rows["big"], *dice.sample(rows, 8))
    stack.add_package("events", *dice.sample(rows, 8))
    if dice.random() < 0.5:
        stack.add_package("gone", *dice.sample(rows, 3))
    stack.write()


def first_stack(stack, dice):
    for number in range(NAMES):
        stack.add_table(f"t{number}", raw(b"first"))
    stack.add_table("big", raw(b"big " * (BIG // 4)))
    stack.add_domain("finance", "# finance\n")
    change(stack, dice)


def weather(controls, stack, dice, until, alive):
    switches = prunes = 0
    while time.monotonic() < until and alive():
        change(stack, dice)
        controls[dice.randrange(len(controls))].ask("refresh")
        switches += 1
        if switches % 4 == 0:
            controls[0].ask("prune", argument="1")
            prunes += 1
        controls[-1].status()
    return switches, prunes


def storm(agnes, stack, seconds, value):
    """What each of them did, and the reports of the sanitizer."""
    reports = agnes.folder / "report"
    agnes.env["TSAN_OPTIONS"] = f"halt_on_error=0:log_path={reports}"
    dice = random.Random(value)
    first_stack(stack, dice)
    context = multiprocessing.get_context("fork")
    stop, answers = context.Event(), context.Queue()
    kinds = [look, read, read, read_big, interrupted, interrupted, forget, ask]

    def found():
        return [path.read_text() for path in sorted(reports.parent.glob("report.*"))]

    with Server(Folder(stack.folder), "/manifest.json") as server, contextlib.ExitStack() as undo:
        mounts = []
        for name in ("one", "two"):
            path = agnes.folder / name
            path.mkdir()
            mounts.append(agnes.mount(server.url, "prefetch=none", path=path))
        controls = [Control(mount) for mount in mounts]
        people = [context.Process(target=loop, daemon=True, args=(
                      kind, str(mounts[number % 4 == 3].path), value + number, stop, answers))
                  for number, kind in enumerate(kinds)]
        undo.callback(lambda: [person.kill() for person in people])
        for person in people:
            person.start()
        try:
            done = weather(controls, stack, dice, time.monotonic() + seconds, lambda: not found())
        except (OSError, ValueError, AssertionError):
            if not found():
                raise
            done = 0, 0
        stop.set()
        if not found():
            counts = [answers.get(timeout=30) for _ in people]
            for mount in mounts:
                mount.umount()
            return done, counts, found()
    return done, [], found()


def test_no_race(agnes, stack, monkeypatch):
    monkeypatch.setattr(agnesfs, "BINARY", str(BUILD / "agnesfs"))
    (switches, prunes), counts, reports = storm(agnes, stack, SECONDS, seed())
    assert not reports, reports[0][:8000]
    print(f"{switches} switches, {prunes} evictions, {counts}")
    assert [] == [problem for *_, problem in counts if problem]
    assert switches > SECONDS and prunes > 2
    for kind, done, ended, _ in counts:
        assert done > 20, counts
        assert kind != "interrupted" or ended["interrupted"] > 5, counts


def test_without_the_lock_of_the_inode_table_it_is_found(agnes, stack, monkeypatch):
    monkeypatch.setattr(agnesfs, "BINARY", str(BUILD / "tests/fuzz/agnesfs_unlocked"))
    *_, reports = storm(agnes, stack, 20, seed())
    agnes.clean_up()
    assert any("data race" in report and "inode" in report for report in reports)
