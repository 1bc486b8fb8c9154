"""Four mounts of one cache, and the one that has it is killed again and again.

Whoever has the cache is whoever may write to it. fanotify tells of each change below the cache which
process made it, in order; so "one writer at any time" is: who has written once and was followed by
another never writes again.
"""

import contextlib
import ctypes
import errno
import os
import random
import select
import signal
import struct
import threading
import time
from pathlib import Path

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.effort import amount, seed, within
from tests.lib.faultd import Fault
from tests.lib.places import cache_in_memory
from tests.lib.shims import preload
from tests.lib.stack import raw

KILLS = amount(standard=200, long=5000)
MOUNTS = 4
TABLES = {f"t{number}": raw(b"%d" % number * 9000) for number in range(40)}
ROOM = sum(map(len, TABLES.values())) // 2  # for half of it: whoever has the cache fetches and evicts
EVERY = 5  # kills from one new generation to the next
TAKEOVER_S = 2

pytestmark = pytest.mark.timeout(900)


class Watch(threading.Thread):
    """Who changes something below a folder: a list of pids, in order, without repetitions.

    The folder's file system is watched as a whole, so that shards that are made later are too.
    """

    FAN_MOVED_TO, FAN_CREATE, FAN_DELETE, FAN_ONDIR = 0x80, 0x100, 0x200, 0x40000000
    FAN_CLOEXEC, FAN_NONBLOCK, FAN_UNLIMITED_QUEUE, FAN_REPORT_DFID_NAME = 0x1, 0x2, 0x10, 0xc00
    FAN_MARK_ADD, FAN_MARK_FILESYSTEM, AT_FDCWD = 0x1, 0x100, -100
    EVENT = struct.Struct("=IBBHQii")

    def __init__(self, folder, ignored=()):
        super().__init__(daemon=True)
        self.ignored = {os.fsencode(name) for name in ignored}
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.fanotify_init(
            self.FAN_CLOEXEC | self.FAN_NONBLOCK | self.FAN_UNLIMITED_QUEUE |
            self.FAN_REPORT_DFID_NAME, os.O_RDONLY)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "fanotify_init")
        libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int,
                                       ctypes.c_char_p]
        mask = self.FAN_MOVED_TO | self.FAN_CREATE | self.FAN_DELETE | self.FAN_ONDIR
        if libc.fanotify_mark(self.descriptor, self.FAN_MARK_ADD | self.FAN_MARK_FILESYSTEM, mask,
                              self.AT_FDCWD, os.fsencode(folder)):
            raise OSError(ctypes.get_errno(), "fanotify_mark")
        self.writers, self.events, self.stopping = [], 0, False
        self.start()

    def run(self):
        while not self.stopping:
            if select.select([self.descriptor], [], [], 0.05)[0]:
                with contextlib.suppress(BlockingIOError):
                    self.take(os.read(self.descriptor, 1 << 18))

    def take(self, data):
        while data:
            size, _, _, meta, _, _, pid = self.EVENT.unpack_from(data)
            name = self.name_of(data[meta:size])
            if name not in self.ignored:
                self.note(pid, name)
            data = data[size:]

    @staticmethod
    def name_of(info):
        """Of a FAN_EVENT_INFO_TYPE_DFID_NAME: header, fsid, file handle, then the name."""
        handle = struct.unpack_from("=I", info, 12)[0]
        return info[12 + 8 + handle:].split(b"\0")[0]

    def note(self, pid, name):
        self.events += 1
        if not self.writers or self.writers[-1][0] != pid:
            self.writers.append((pid, name))

    def end(self):
        if not self.stopping:
            time.sleep(0.2)  # for the last events to come
            self.stopping = True
            self.join(5)
            os.close(self.descriptor)
        return self.writers


@contextlib.contextmanager
def watched(agnes):
    """The cache on a file system of its own, and who writes to it."""
    with cache_in_memory(agnes, size="64m"):
        watch = Watch(agnes.cache_home, ignored=("followers", "lock"))
        try:
            yield watch
        finally:
            watch.end()


class Member:
    """A mount, and a thread that reads through it as long as it lives."""

    def __init__(self, agnes, server, number, contents):
        self.path = agnes.folder / f"m{number}"
        self.path.mkdir(exist_ok=True)
        self.mount = agnes.mount(server.url, "prefetch=none", "timeout=30",
                                 f"cache-size={ROOM}", path=self.path)
        self.pid = self.mount.status(expect=None)["pid"]
        self.contents, self.doomed, self.reads, self.wrong = contents, False, 0, []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def shares(self):
        return self.mount.status(expect=None)["cache"]["shared"]

    def read(self):
        pick = random.Random(self.pid)
        while not self.doomed:
            name = pick.choice(sorted(TABLES))
            before = time.monotonic()
            try:
                found = (self.path / f"data/sales/{name}.parquet").read_bytes()
            except OSError as error:
                found = error
            if isinstance(found, OSError) and found.errno == errno.ESTALE:
                continue  # opened just before a switch; what it was is nowhere any more
            if self.doomed:
                return
            self.reads += 1
            if found not in self.contents[name]:
                self.wrong.append((name, found if isinstance(found, OSError) else found[:20],
                                   round(time.monotonic() - before, 2)))
            time.sleep(pick.random() * 0.03)

    def kill(self):
        self.doomed = True
        os.kill(self.pid, signal.SIGKILL)

    def end(self, agnes):
        self.doomed = True
        self.thread.join(5)
        if str(self.path) in agnes.mountpoints():
            agnes.run("umount", self.path, "--lazy")
        return self.wrong


def story(agnes, stack, server, kills, after_kill):
    """Kills the writer so many times; the seconds until there was another."""
    contents = {name: [content] for name, content in TABLES.items()}
    rows = [stack.add_table(name, content) for name, content in TABLES.items()]
    stack.add_package("sales", *rows)
    stack.write()
    alive = [Member(agnes, server, number, contents) for number in range(MOUNTS)]
    writer, wrong, reads, seconds = alive[0], [], 0, []
    for number in range(kills):
        alive.remove(writer)
        victim, begin = writer, time.monotonic()
        victim.kill()
        while not (found := [member for member in alive if not member.shares()]):
            assert time.monotonic() - begin < 10, "nobody took over"
        seconds.append(time.monotonic() - begin)
        assert len(found) == 1, "two say that they have the cache"
        writer = found[0]
        after_kill(victim, writer)
        wrong += victim.end(agnes)
        reads += victim.reads
        alive.append(Member(agnes, server, MOUNTS + number, contents))
        if number % EVERY == 0:
            name = random.choice(sorted(TABLES))
            contents[name].append(raw(b"%s %d" % (name.encode(), number) * 900))
            stack.add_table(name, contents[name][-1])
            stack.write()
            random.choice(alive).mount.refresh()
    for member in alive:
        wrong += member.end(agnes)
        reads += member.reads
    assert wrong == []
    return seconds, reads


def test_one_after_the_other_is_killed_and_nobody_misses_anything(agnes, stack, server):
    random.seed(seed())
    order = []
    with watched(agnes) as watch:
        def after_kill(victim, writer):
            order.append(victim.pid)

        seconds, reads = story(agnes, stack, server, KILLS, after_kill)
        with agnes.mount(server.url, "prefetch=none") as mount:
            mount.refresh()  # which clears up what a killed one could not
        assert agnes.verify(server.url, "--prefetch", "none").findings == set()
        writers = watch.end()
    pids = [pid for pid, _ in writers]
    seconds.sort()
    print(f"{len(order)} killed, {reads} reads, {watch.events} changes by {len(set(pids))}; "
          f"a successor within {seconds[len(seconds) // 2]:.2f} s, at most {seconds[-1]:.2f} s")
    assert len(order) == KILLS and reads > 3 * KILLS
    assert len(pids) == len(set(pids)), f"two wrote in turns: {writers}"
    assert [pid for pid in pids if pid in order] == [pid for pid in order if pid in pids]
    assert len(set(pids) & set(order)) > KILLS / 2, "those that were killed had written"
    assert seconds[-1] < within(TAKEOVER_S)


def test_control_without_the_lock_two_write_in_turns(agnes, stack, server):
    agnes.env |= preload("no_lock")
    contents = {name: [content] for name, content in TABLES.items()}
    stack.add_package("sales", *(stack.add_table(*table) for table in TABLES.items()))
    stack.write()
    with watched(agnes) as watch:
        members = [Member(agnes, server, number, contents) for number in range(2)]
        assert not any(member.shares() for member in members)
        wait_for(lambda: all(member.reads > 20 for member in members), 20)
        for member in members:
            member.end(agnes)
        pids = [pid for pid, _ in watch.end()]
    assert len(pids) > len(set(pids)), "and that is seen"


def test_the_one_that_has_the_cache_ends_and_nobody_who_waits_for_it_notices(agnes, stack, server):
    content = raw(b"slow" * 5000)
    stack.add_package("sales", stack.add_table("slow", content))
    stack.write()
    (agnes.folder / "a").mkdir()
    (agnes.folder / "b").mkdir()
    first = agnes.mount(server.url, "prefetch=none", path=agnes.folder / "a")
    second = agnes.mount(server.url, "prefetch=none", path=agnes.folder / "b")
    server.script("/tables/slow.parquet", Fault(delay=3))
    found = []
    reader = threading.Thread(target=lambda: found.append(
        (second / "data/sales/slow.parquet").read_bytes()))
    reader.start()
    wait_for(lambda: server.count("/tables/slow.parquet") == 1)
    first.umount()
    reader.join(10)
    assert found == [content]
    second.umount()
