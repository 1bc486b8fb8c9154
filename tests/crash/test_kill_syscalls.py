"""kill -9 of a real mount at each of its system calls, in a first sync and in a later one.

mount -> sync -> switch -> unmount, with a reader in between; tests/crash/kill_syscalls.c kills. After
each kill the cache is looked at as it lies there; then it is mounted again without its source, and
shows one whole generation; then with it, and everything is as if nothing had been.

The standard run kills at every call that anybody else could notice, and here and there at others; the
long one at all of them.
"""

import errno
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import time

import pytest

from tests.crash.lives import SECONDS, TOOLS
from tests.lib.agnesfs import BINARY, KEY, files_below
from tests.lib.effort import LONG, seed
from tests.lib.places import cache_in_memory
from tests.lib.stack import Stack, raw

ENDED = 3  # what kill_syscalls says when the program was there no more
BEYOND = 3  # so many times in a row: there are no more calls
SAMPLE = 20
AROUND = 12  # so many calls earlier or later the state is written in another run
OPTIONS = "refresh=off,report=off"
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT, errno.EIO)


class Site:
    """A stack of versions, and what a mount of each shows."""

    def __init__(self, folder):
        self.stack = Stack(folder / "stack")
        self.hidden = folder / "hidden"
        self.version = 0
        self.expected = {}
        self.contents = {}  # md5, or size of a bundle -> bytes
        self.serve(0)

    def serve(self, version):
        """Tables change, come and go; one is in two packages, one has parts, one never changes."""
        stack, self.version = self.stack, version
        stack.packages.clear()
        stack.direct_tables.clear()
        orders = raw(b"orders %d" % version * 900)
        parts = {"m=1/data.parquet": raw(b"june" * 50),
                 "m=2/data.parquet": raw(b"july %d" % (version // 2) * 300)}
        prices, more = raw(b"prices" * 500), raw(b"more %d" % version)
        finance = f"# Finance {version}\n" + "text\n" * (version % 40)
        files = {"data/sales/orders.parquet": orders, "data/marketing/orders.parquet": orders,
                 "data/_direct/prices.parquet": prices, "memory/finance/bundle.md": finance.encode(),
                 **{f"data/sales/clicks/{path}": bytes for path, bytes in parts.items()}}
        rows = [stack.add_table("orders", orders), stack.add_table("clicks", parts)]
        stack.add_package("marketing", rows[0])
        if version % 2:
            rows.append(stack.add_table("more", more))
            files["data/sales/more.parquet"] = more
        stack.add_package("sales", *rows)
        stack.add_direct(stack.add_table("prices", prices))
        stack.add_domain("finance", finance)
        stack.write()
        self.expected[version] = files
        self.contents |= {hashlib.md5(content).hexdigest(): content for content in files.values()}

    def hide(self):
        os.rename(self.stack.folder, self.hidden)

    def show(self):
        os.rename(self.hidden, self.stack.folder)


class Trial:
    def __init__(self, agnes, folder):
        self.agnes = agnes
        self.site = Site(folder)
        self.mountpoint = folder / "agnes"
        self.mountpoint.mkdir()
        self.odd = []

    # --- the life that is killed ---

    def live(self, which, at, env=()):
        """True if it was killed. Afterwards the stack is one version on, wherever that was."""
        before = self.site.version
        process = subprocess.Popen(
            [TOOLS / "kill_syscalls", which, str(at), BINARY, "mount", self.site.stack.url,
             self.mountpoint, "-o", OPTIONS, "--foreground"],
            env=self.agnes.env | dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 20
        while process.poll() is None and not os.path.ismount(self.mountpoint):
            assert time.monotonic() < end, "neither mounted nor dead"
            time.sleep(0.002)
        self.read(process, before, before)
        self.site.serve(before + 1)
        self.verb(process, "refresh")
        self.read(process, before, before + 1)
        self.verb(process, "umount")
        err = process.communicate(timeout=20)[1]
        self.calls = [int(number) for number in err.split()[-3:]]
        assert process.returncode in (0, ENDED), err
        return process.returncode != ENDED

    def verb(self, process, *args):
        if process.poll() is None:
            self.agnes.run(*args, self.mountpoint, expect=None, timeout=20)

    def read(self, process, *versions):
        """Whatever can be read of a mount that is being killed is right."""
        for name, content in {name: content for version in versions
                              for name, content in self.site.expected[version].items()}.items():
            if process.poll() is not None:
                return
            try:
                found = (self.mountpoint / name).read_bytes()
            except OSError as error:
                if error.errno not in GONE:
                    raise
                continue
            right = [self.site.expected[version].get(name) for version in versions]
            assert found in right, f"{name}: wrong bytes"

    # --- what is left of it ---

    def look(self, *versions):
        """The cache as it lies there. Returns the version that its state is of, or None."""
        caches = self.agnes.caches()
        if not caches:
            return None
        for key, path in caches[0].blobs().items():
            kind, digest, size = KEY.fullmatch(key)[1], key[4:36], int(key.rsplit("-", 1)[1])
            content = path.read_bytes()
            assert len(content) == size, f"{key}: torn"
            assert kind == "xxh" or hashlib.md5(content).hexdigest() == digest, f"{key}: torn"
            assert hashlib.md5(content).hexdigest() in self.site.contents, f"{key}: whose?"
        if not caches[0].state_file.exists():
            return None
        try:
            state = json.loads(caches[0].state_file.read_text())
        except ValueError as error:
            raise AssertionError(f"the state is torn: {error}") from None
        md5 = state["direct_tables"] and state["data_packages"]["sales"]["orders"]["md5"]
        found = [version for version in versions
                 if hashlib.md5(self.site.expected[version]["data/sales/orders.parquet"])
                 .hexdigest() == md5]
        assert found, "the state is neither the old nor the new one"
        return found[0]

    def blobs(self):
        """Of which contents are the whole bytes in the cache?"""
        return {path.read_bytes() for cache in self.agnes.caches() for path in
                cache.blobs().values()}

    def check_offline(self, version):
        """One whole generation is there, and all of its bytes that were in the cache."""
        here = self.blobs()
        expected = self.site.expected[version]
        mount = self.agnes.mount(self.site.stack.url, "report=off", path=self.mountpoint)
        assert {name for name in mount.names() if not name.endswith("/")} == set(expected)
        for name, content in expected.items():
            try:
                found = (mount / name).read_bytes()
            except OSError as error:
                assert content not in here, f"{name}: lost, though it was committed"
                assert error.errno in (errno.EIO, errno.ESTALE)
                continue
            assert found == content, f"{name}: wrong bytes"
        return mount

    def detach(self):
        if str(self.mountpoint) in self.agnes.mountpoints():
            self.agnes.run("umount", "--lazy", self.mountpoint)

    def check(self, *versions):
        old = self.look(*versions)
        self.detach()
        if old is None:
            mount = self.agnes.mount(self.site.stack.url, "report=off", path=self.mountpoint)
        else:
            self.site.hide()
            mount = self.check_offline(old)
            self.site.show()
            mount.refresh()
        assert mount.files() == self.site.expected[self.site.version]
        mount.umount()
        assert self.blobs() == set(self.site.expected[self.site.version].values())
        assert self.agnes.cache().partials() == []

    def forget(self):
        for path in self.agnes.cache_home.iterdir():
            shutil.rmtree(path)
        shutil.rmtree(self.agnes.state_home, ignore_errors=True)


@pytest.fixture
def trial(agnes, tmp_path):
    """A kill leaves what was written, on a disk as in memory, which is faster."""
    with cache_in_memory(agnes):
        yield Trial(agnes, tmp_path)


def kill_at(trial, which, at, first, env=()):
    if first:
        trial.forget()
    before = trial.site.version
    killed = trial.live(which, at, env)
    try:
        trial.check(before, before + 1)
    except AssertionError as error:
        raise AssertionError(f"killed at call {at} ({which}): {error}") from error
    return killed


def kill_everywhere(trial, which, first):
    """Returns how many points there were."""
    at = missed = 0
    while missed < BEYOND:
        at += 1
        missed = 0 if kill_at(trial, which, at, first) else missed + 1
    return at - missed


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("first", [True, False], ids=["first sync", "later sync"])
def test_a_kill_at_any_call(trial, first):
    kill_at(trial, "every", 0, first=True)
    calls, changing, _ = trial.calls
    points = kill_everywhere(trial, "every" if LONG else "changing", first)
    assert points > 60
    chosen = random.Random(seed())
    for _ in range(SAMPLE):
        kill_at(trial, "every", chosen.randrange(calls), first)
    print(f"{points} of {changing} that change something, {calls} calls in all")


def test_a_state_that_is_written_in_place_is_noticed(trial):
    """The control: between the first byte and the last there is neither the old nor the new one."""
    lies = {"LD_PRELOAD": str(TOOLS / "liblie.so"), "AGNESFS_LIE": "in-place"}
    kill_at(trial, "changing", 0, first=True)
    link = trial.calls[2]
    with pytest.raises(AssertionError, match="torn|neither"):
        for at in 6 * list(range(link - AROUND, link + AROUND)):
            kill_at(trial, "changing", at, first=True, env=lies)
    trial.detach()
