"""Everything at once, for as long as it takes to see what grows.

Readers of all kinds, a server that fails in one of twenty requests, new generations, a cache that is
too small, a process that is stopped and goes on, a wall clock that jumps: no wrong byte, and at the
end as many descriptors, as much memory and as many look-ups as there should be.
"""

import collections
import errno
import itertools
import mmap
import os
import random
import re
import signal
import struct
import threading
import time
from pathlib import Path

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.effort import amount, seed
from tests.lib.faultd import Fault
from tests.lib.places import cache_in_memory
from tests.lib.shims import preload
from tests.lib.stack import raw

SECONDS = amount(standard=180, long=3600)
GROWTH = 2  # MiB
FAULTY = 0.05  # of all requests
READERS = 5
MIB = 1 << 20
YEAR = 365 * 86400
JUMPS = [-YEAR, YEAR, 100 * YEAR, -3600, 3600, 0]
SIZES = [2_000 * number for number in range(1, 40)] + [MIB] * 5 + [10 * MIB] * 2
VARIANTS = 3  # of each table; what changes goes round
REFUSED = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT}

pytestmark = pytest.mark.timeout(SECONDS + 240)


def variant(name, number):
    pick = random.Random(f"{name} {number}")
    return raw(pick.randbytes(SIZES[int(name[1:])]) + b"\xff" * 4)


TABLES = {f"t{index}": [variant(f"t{index}", number) for number in range(VARIANTS)]
          for index in range(len(SIZES))}


class Worker(threading.Thread):
    """Does something again and again until it is told to stop; an exception ends it, and counts."""

    stop = None  # an Event of the test

    def __init__(self, turn, pause):
        super().__init__(daemon=True)
        self.turn, self.pause, self.error, self.turns = turn, pause, None, 0
        self.pick = random.Random(random.random())
        self.start()

    def run(self):
        try:
            while not Worker.stop.wait(self.pause * 2 * self.pick.random()):
                self.turn(self.pick)
                self.turns += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            self.error = error


def misbehave(server, hit):
    """One request of twenty meets a fault; each kind comes once before one comes again."""
    pick = random.Random(random.random())
    kinds = {
        "503": lambda: Fault(status=503), "500": lambda: Fault(status=500),
        "reset": lambda: Fault(reset=True), "cut": lambda: Fault(cut=pick.randrange(4000)),
        "flip": lambda: Fault(flip=pick.randrange(1000)), "html": lambda: Fault(html=True),
        "slow": lambda: Fault(delay=0.3), "long": lambda: Fault(length=100),
        "cut late": lambda: Fault(cut=pick.randrange(MIB), reset=True),
        "gzip": lambda: Fault(gzip=True),
    }
    turns = itertools.cycle(pick.sample(sorted(kinds), len(kinds)))
    honest = server.note

    def note(request):
        fault = honest(request)
        if pick.random() >= FAULTY:
            return fault
        kind = next(turns)
        hit[kind] += 1
        return kinds[kind]()

    server.note = note


class Reading:
    """What readers do; all of it is counted, and none of it may be wrong."""

    def __init__(self, mount):
        self.folder = Path(mount.path, "data/sales")
        self.counts = collections.Counter()
        self.refused = collections.Counter()

    def whole(self, path, pick):
        return path.read_bytes(), 0

    def piece(self, path, pick):
        with open(path, "rb", buffering=0) as file:
            offset = pick.randrange(os.fstat(file.fileno()).st_size)
            return os.pread(file.fileno(), 5000, offset), offset

    def mapped(self, path, pick):
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            os.pread(file.fileno(), size, 0)  # an error here is an errno, there it is a signal
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return view[:], 0

    def held(self, path, pick):
        """Over a switch or two."""
        with open(path, "rb", buffering=0) as file:
            first = os.pread(file.fileno(), 3000, 0)
            time.sleep(pick.random() * 2)
            again = os.pread(file.fileno(), 3000, 0)
            assert first == again
            return first, 0

    def look(self, path, pick):
        assert path.name in os.listdir(self.folder)
        path.stat()
        os.getxattr(path, "user.agnes.state")
        return b"", 0

    def turn(self, pick):
        name = pick.choice(sorted(TABLES))
        how = pick.choice([self.whole, self.piece, self.mapped, self.held, self.look])
        if len(TABLES[name][0]) > MIB and how != self.look:
            how = self.piece
        self.counts[how.__name__] += 1
        try:
            found, offset = how(self.folder / f"{name}.parquet", pick)
        except OSError as error:
            assert error.errno in REFUSED, (name, how.__name__, error)
            self.refused[error.errno] += 1
            return
        assert any(content[offset:offset + len(found)] == found for content in TABLES[name]), (
            f"{name}: {how.__name__} at {offset} brought bytes of no version")


class Sampler:
    def __init__(self, pid):
        self.process = Path(f"/proc/{pid}")
        self.memory, self.descriptors = [], []

    def turn(self, pick=None):
        status = (self.process / "status").read_text()
        self.memory.append(int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) / 1024)
        self.descriptors.append(len(os.listdir(self.process / "fd")))


def lookups_at_rest(mount):
    """When the kernel has given back what it remembers of names: that of the root is left."""
    Path("/proc/sys/vm/drop_caches").write_text("2\n")
    return mount.status(expect=None)["mount"]["lookups"]


def switcher(agnes, stack, mount):
    def turn(pick):
        for name in pick.sample(sorted(TABLES), 4):
            stack.add_table(name, pick.choice(TABLES[name]))
        stack.write()
        agnes.run("refresh", mount.path, "--quiet", expect=None)
    return turn


def suspender(pid):
    def turn(pick):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.2 + pick.random())
        os.kill(pid, signal.SIGCONT)
    return turn


def shift(path, seconds):
    """In place: the file is mapped, so it must not be short for a moment."""
    with open(path, "r+b") as file:
        file.write(struct.pack("=q", seconds))


def jumper(path):
    return lambda pick: shift(path, pick.choice(JUMPS))


def growth(samples):
    """Of the least there was in the last third, over that of the one before: what transfers hold for
    a moment lies above it, and the first third is for warming up."""
    third = len(samples) // 3
    return min(samples[-third:]) - min(samples[third:-third])


def test_nothing_grows_and_nothing_is_wrong(agnes, stack, server, tmp_path):
    random.seed(seed())
    clock = tmp_path / "clock"
    clock.write_bytes(bytes(8))
    agnes.env |= preload("shifted_clock", SHIFTED_CLOCK=clock)
    for name, contents in TABLES.items():
        stack.add_table(name, contents[0])
    stack.add_package("sales", *stack.rows.values())
    stack.write()
    hit = collections.Counter()
    Worker.stop = threading.Event()
    with cache_in_memory(agnes):
        mount = agnes.mount(server.url, "timeout=10", f"cache-size={sum(SIZES) * 6 // 10}",
                            "min-free=0")
        at_rest = lookups_at_rest(mount)
        misbehave(server, hit)
        pid = mount.status(expect=None)["pid"]
        reading, sampler = Reading(mount), Sampler(pid)
        readers = [Worker(reading.turn, 0.02) for _ in range(READERS)]
        switches = Worker(switcher(agnes, stack, mount), 1)
        stops, jumps = Worker(suspender(pid), 6), Worker(jumper(clock), 4)
        samples = Worker(sampler.turn, 0.5)
        Worker.stop.wait(SECONDS)
        Worker.stop.set()
        workers = [*readers, switches, stops, jumps, samples]
        for worker in workers:
            worker.join(40)
        errors = [worker.error for worker in workers if worker.error]
        assert errors == [], agnes.logs()[-3000:]
        assert not any(worker.is_alive() for worker in workers)

        shift(clock, 0)
        del server.note
        # What was sent before the faults ended may still be one.
        wait_for(lambda: agnes.run("refresh", mount.path, expect=None).code == 0, 60, "in order")
        wait_for(lambda: mount.status(expect=None)["transfers"]["running"] == 0)
        wait_for(lambda: lookups_at_rest(mount) == at_rest, what="look-ups balance")
        status = mount.status(expect=None)
        sampler.turn()
        print(f"{dict(reading.counts)} read, {dict(reading.refused)} refused; faults {dict(hit)}; "
              f"{switches.turns} switches, {stops.turns} stops, {jumps.turns} jumps, "
              f"{status['cache']['evicted_files']} evicted\n"
              f"memory +{growth(sampler.memory):.1f}: {sampler.memory[::30]} MiB, descriptors {sampler.descriptors[::30]}\n"
              f"{status['mount']}")
        assert status["mount"]["open_files"] == status["mount"]["parked_reads"] == 0
        assert pid == status["pid"] and status["last_death"] is None
        assert growth(sampler.memory) < GROWTH
        third = len(sampler.descriptors) // 3
        assert sampler.descriptors[-1] <= max(sampler.descriptors[:third])
        total, refused = sum(reading.counts.values()), sum(reading.refused.values())
        assert total > 10 * SECONDS and refused < total / 5
        assert len(hit) == 10 and min(hit.values()) >= 2
        assert min(switches.turns, 3 * stops.turns, 2 * jumps.turns) > SECONDS / 4
        assert status["cache"]["evicted_files"] > SECONDS / 10
        mount.umount()
        assert agnes.verify(server.url, "--prefetch", "none").findings == set()
