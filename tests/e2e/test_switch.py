"""What readers see of a switch from one generation to the next: one or the other, never a mix."""

import errno
import hashlib
import mmap
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.control import Control
from tests.lib.stack import raw

BLOCK = 4096
ORDERS = "data/sales/orders.parquet"


def content(name, generation, blocks=4):
    """Every block says whose it is, of which generation, and ends in a digest of that."""
    made = []
    for index in range(blocks):
        text = f"PAR1 {name} {generation:08} {index:04} ".encode()
        body = (text * (BLOCK // len(text) + 1))[:BLOCK - 20]
        made.append(body + hashlib.md5(body).digest() + b"PAR1")
    return b"".join(made)


def generation_of(name, found, blocks=4):
    """The one generation that all of these bytes are of; an error if there is no such one."""
    generation = int(found.split(b" ", 3)[2])
    if found != content(name, generation, blocks):
        wrong = {found[at:at + 30] for at in range(0, len(found), BLOCK)}
        raise AssertionError(f"{name}: {len(found)} bytes of {generation} and others: {wrong}")
    return generation


@pytest.fixture
def stack(stack):
    orders = stack.add_table("orders", content("orders", 1))
    stack.add_package("sales", orders, stack.add_table("customers", raw(b"customers")))
    stack.add_package("marketing", orders)
    stack.add_package("archive", orders, stack.add_table("old", raw(b"old" * 4000)))
    return stack.write()


@pytest.fixture
def mount(agnes, stack):
    with agnes.mount(stack.url) as mount:
        assert mount.files()
        yield mount


@pytest.fixture
def switch(mount, stack):
    """Makes the mount show the stack as it is now."""
    control = Control(mount)

    def switch():
        stack.write()
        return control.refresh()

    return switch


@pytest.fixture
def start_inside(mount):
    """Starts a process that has gone into a folder; it answers one expression a line."""
    children = []

    def start(path):
        code = ("import os, sys\nos.chdir(sys.argv[1])\nprint('inside', flush=True)\n"
                "for line in sys.stdin:\n"
                "    try: found = eval(line)\n"
                "    except OSError as error: found = error.errno\n"
                "    print(repr(found), flush=True)\n")
        child = subprocess.Popen([sys.executable, "-c", code, mount / path], text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        children.append(child)
        assert child.stdout.readline() == "inside\n"

        def ask(expression):
            child.stdin.write(expression + "\n")
            child.stdin.flush()
            return eval(child.stdout.readline())

        return ask

    yield start
    for child in children:
        child.kill()
        child.communicate(timeout=10)


# --- open files ---

def test_an_open_file_and_its_map_keep_their_bytes_while_the_table_changes(mount, stack, switch):
    with open(mount / ORDERS, "rb", buffering=0) as file, \
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped, \
            open(mount / ORDERS, "rb", buffering=0) as unread:
        assert file.read(100) == content("orders", 1)[:100]
        stack.add_table("orders", content("orders", 2, blocks=7))
        switch()
        assert (mount / ORDERS).read_bytes() == content("orders", 2, blocks=7)
        assert os.pread(file.fileno(), 1 << 20, 0) == content("orders", 1)
        assert os.pread(unread.fileno(), 1 << 20, 0) == content("orders", 1)
        assert mapped[:] == content("orders", 1)
        assert os.fstat(file.fileno()).st_size == len(content("orders", 1))
        with open(mount / "data/marketing/orders.parquet", "rb") as new:
            assert new.read() == content("orders", 2, blocks=7)


def test_an_open_file_and_its_map_keep_their_bytes_when_the_table_is_withdrawn(
        agnes, mount, stack, switch):
    with open(mount / "data/archive/old.parquet", "rb", buffering=0) as file, \
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        del stack.packages["archive"]
        switch()
        assert not (mount / "data/archive/old.parquet").exists()
        assert not (mount / "data/archive").exists()
        wait_for(lambda: not agnes.cache().blob(raw(b"old" * 4000)).exists(), what="blob gone")
        assert file.read() == mapped[:] == raw(b"old" * 4000)
        assert os.fstat(file.fileno()).st_nlink == 0


def test_a_cold_file_that_was_only_opened_fails_at_once_when_its_table_is_withdrawn(agnes, stack):
    with agnes.mount(stack.url, "prefetch=none") as mount, \
            open(mount / "data/archive/old.parquet", "rb", buffering=0) as file:
        del stack.packages["archive"]
        stack.write()
        mount.refresh()
        begin = time.monotonic()
        with pytest.raises(OSError) as gone:
            file.read(10)
        assert gone.value.errno in (errno.ESTALE, errno.EIO)
        assert time.monotonic() - begin < 5


def test_unchanged_files_stay_in_the_page_cache_over_a_switch(mount, stack, switch):
    path = mount / "data/archive/old.parquet"
    assert path.read_bytes() and (mount / "data/sales/customers.parquet").read_bytes()
    before = path.stat()
    reads = mount.status()["mount"]["reads"]
    for generation in range(2, 6):
        stack.add_table("orders", content("orders", generation))
        switch()
        assert path.read_bytes() == raw(b"old" * 4000)
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    again = mount.status()["mount"]["reads"] - reads
    assert again < 4, "one for each switch; the kernel may drop a page once for reasons of its own"


# --- counts and names ---

def test_link_counts_fall_and_rise_at_once_on_paths_and_on_open_handles(mount, stack, switch):
    sales = mount / ORDERS
    with open(sales, "rb", buffering=0) as file:
        def counts():
            return sales.stat().st_nlink, os.fstat(file.fileno()).st_nlink

        assert counts() == (3, 3)
        marketing = stack.packages.pop("marketing")
        switch()
        assert counts() == (2, 2)
        assert mount.xattr(ORDERS, "references") == "2"
        del stack.packages["archive"]
        switch()
        assert counts() == (1, 1)
        stack.packages["marketing"] = marketing
        switch()
        assert counts() == (2, 2)
        stack.packages.clear()
        stack.add_package("other", stack.rows["customers"])
        switch()
        assert os.fstat(file.fileno()).st_nlink == 0
        assert not sales.exists()
        stack.add_package("sales", stack.rows["orders"])
        switch()
        assert counts() == (1, 1)
        assert file.read() == sales.read_bytes() == content("orders", 1)


def test_the_hangup_signal_refreshes(agnes, mount, stack):
    generation = mount.status()["generation"]
    stack.add_package("new", stack.add_table("new", raw(b"new")))
    stack.write()
    (pid,) = agnes.processes()
    os.kill(pid, signal.SIGHUP)
    wait_for(lambda: mount.status()["generation"] == generation + 1, what="a new generation")
    assert (mount / "data/new/new.parquet").read_bytes() == raw(b"new")


def test_a_listing_after_a_refresh_is_the_new_one(mount, stack, switch):
    kept = set(os.listdir(mount / "data"))
    for step in range(1, 31):
        for _ in range(2):  # the second one comes from the kernel
            os.listdir(mount / "data"), os.listdir(mount / "data/sales")
        stack.packages.pop(f"p{step - 1}", None)
        stack.add_package(f"p{step}", stack.add_table(f"t{step}", raw(b"%d" % step)))
        stack.packages["sales"]["tables"] = [stack.rows["orders"], stack.rows[f"t{step}"]]
        switch()
        assert set(os.listdir(mount / "data")) == kept | {f"p{step}"}
        names = {name for name in os.listdir(mount / "data/sales") if name != "README.md"}
        assert names == {"orders.parquet", f"t{step}.parquet"}
        assert mount.nlink("data") == 2 + len([name for name in kept if "." not in name]) + 1


def test_an_added_name_is_visible_although_it_was_looked_up_in_vain(mount, stack, switch):
    for step in range(10):
        names = [f"data/new{step}", f"data/new{step}/t{step}.parquet",
                 f"data/sales/t{step}.parquet", "data/_direct/t0.parquet"][:4 if step == 0 else 3]
        for name in names * 2:
            assert not (mount / name).exists()
        row = stack.add_table(f"t{step}", raw(b"%d" % step))
        stack.add_package(f"new{step}", row)
        stack.packages["sales"]["tables"].append(row)
        if step == 0:
            stack.add_direct(row)
        switch()
        for name in names:
            assert (mount / name).exists(), name
        assert (mount / names[1]).read_bytes() == raw(b"%d" % step)


def test_a_table_that_becomes_partitioned_is_a_folder_and_back(mount, stack, switch):
    stack.add_table("customers", {"month=2026-06/data.parquet": raw(b"june")})
    switch()
    assert mount.files()["data/sales/customers/month=2026-06/data.parquet"] == raw(b"june")
    assert not (mount / "data/sales/customers.parquet").exists()
    stack.add_table("customers", raw(b"one file again"))
    switch()
    assert (mount / "data/sales/customers.parquet").read_bytes() == raw(b"one file again")
    assert not (mount / "data/sales/customers").exists()


def test_the_generation_counts_up_by_one_a_change_and_not_without_one(mount, stack, switch):
    first = mount.status()["generation"]
    for step in range(1, 4):
        stack.add_table("orders", content("orders", step + 1))
        assert switch()["generation"] == first + step
        assert (mount / ".agnes/generation").read_text() == f"{first + step}\n"
        stack.server_time = f"2026-08-23T00:00:0{step}+00:00"
        assert switch()["generation"] == first + step
        assert mount.xattr(".", "generation") == str(first + step)


# --- folders ---

def test_a_process_inside_a_folder_that_stays_notices_nothing_of_50_switches(
        mount, stack, switch, start_inside):
    ask = start_inside("data/sales")
    here = str(mount / "data/sales")
    for generation in range(2, 52):
        stack.add_table("orders", content("orders", generation))
        extra = [stack.add_table("extra", raw(b"extra"))] if generation % 2 else []
        stack.packages["sales"]["tables"] = [stack.rows["orders"], stack.rows["customers"], *extra]
        switch()
        assert ask("os.getcwd()") == here
        assert ask("open('orders.parquet', 'rb').read()") == content("orders", generation)
        assert ("extra.parquet" in ask("os.listdir('.')")) == bool(extra)
    assert ask("os.chdir('../marketing')") is None
    assert ask("os.getcwd()") == str(mount / "data/marketing")


def test_a_process_inside_a_withdrawn_folder_finds_it_empty(mount, stack, switch, start_inside):
    ask = start_inside("data/archive")
    assert "old.parquet" in ask("os.listdir('.')")
    del stack.packages["archive"]
    switch()
    assert ask("os.listdir('.')") in ([], errno.ENOENT, errno.ESTALE)
    assert ask("os.stat('old.parquet')") in (errno.ENOENT, errno.ESTALE)
    assert ask("open('old.parquet')") in (errno.ENOENT, errno.ESTALE)
    stack.add_package("archive", stack.rows["old"])
    switch()
    assert ask(f"os.chdir({str(mount / 'data/archive')!r})") is None
    assert "old.parquet" in ask("os.listdir('.')")


def test_a_folder_that_comes_back_does_not_bring_what_was_open_in_it(mount, stack, switch,
                                                                     start_inside):
    ask = start_inside("data/archive")
    with open(mount / "data/archive/old.parquet", "rb") as old:
        assert old.read(4) == b"PAR1"
        del stack.packages["archive"]
        switch()
        assert ask("os.stat('old.parquet')") in (errno.ENOENT, errno.ESTALE)
        stack.add_package("archive", stack.rows["orders"])
        switch()
        assert not (mount / "data/archive/old.parquet").exists()
        assert (mount / "data/archive/orders.parquet").stat().st_nlink == 3
        assert os.fstat(old.fileno()).st_nlink == 0
        assert old.read() == stack.files["tables/old.parquet"][4:]


@pytest.mark.parametrize("begun", [True, False], ids=["read from", "only opened"])
def test_a_folder_opened_before_a_switch_lists_one_generation_and_the_next_listing_is_new(
        mount, stack, switch, begun):
    old, new = set(os.listdir(mount / "data")), None
    with os.scandir(mount / "data") as listing:
        seen = {next(listing).name} if begun else set()
        stack.packages.pop("archive")
        stack.add_package("zebra", stack.rows["old"])
        switch()
        os.stat(mount / "data")
        new = old - {"archive"} | {"zebra"}
        seen |= {entry.name for entry in listing}
        assert seen in ([old] if begun else [old, new])
        assert set(os.listdir(mount / "data")) == new
    assert set(os.listdir(mount / "data")) == new


def test_a_listing_that_began_before_a_switch_brings_no_old_file_back(mount, stack, switch):
    for generation in range(2, 5):
        with os.scandir(mount / "data/sales") as listing:  # open, and not read yet
            stack.add_table("orders", content("orders", generation, blocks=generation))
            switch()
            new = (mount / ORDERS).stat()
            assert new.st_size == generation * BLOCK
            assert "orders.parquet" in {entry.name for entry in listing}
        assert (mount / ORDERS).stat().st_ino == new.st_ino
        assert (mount / ORDERS).read_bytes() == content("orders", generation, blocks=generation)


def look_around_at_random(root, names, stop, answers):
    newest, looks = 0, 0
    while not stop.is_set():
        random.shuffle(names)
        for name in names:
            generation = os.stat(f"{root}/{name}.parquet").st_size - len(raw())
            if generation < newest:
                answers.put(f"{name} of {generation} after one of {newest}")
                return
            newest, looks = generation, looks + 1
    answers.put((newest, looks))


def test_all_names_switch_at_the_same_instant(agnes, stack):
    """Whoever has seen one new file finds no old one any more, in whatever order they look."""
    names = [f"t{number:03}" for number in range(400)]

    def make(generation):
        # not the same bytes under all names: those would be one inode
        rows = [stack.add_table(name, raw(name.encode()[:generation].ljust(generation, b".")))
                for name in names]
        stack.packages.clear()
        stack.add_package("many", *rows)
        stack.write()

    make(10)
    context = multiprocessing.get_context("fork")
    stop, answers = context.Event(), context.Queue()
    with agnes.mount(stack.url, "prefetch=none") as mount:
        lookers = [context.Process(target=look_around_at_random, daemon=True, args=(
            str(mount / "data/many"), names, stop, answers)) for _ in range(2)]
        for looker in lookers:
            looker.start()
        for generation in range(11, 16):
            make(generation)
            mount.refresh()
        stop.set()
        found = [answers.get(timeout=20) for _ in lookers]
        for looker in lookers:
            looker.join(5)
    assert all(entry[0] == 15 and entry[1] > 400 for entry in found), found


# --- many switches ---

TABLES = {"orders": 4, "events": 40}  # blocks; the larger one takes several reads
CHANGING = [("orders", "data/sales/orders.parquet"), ("orders", "data/marketing/orders.parquet"),
            ("events", "data/sales/events.parquet")]
BLINKING = ("blink", "data/blink/blink.parquet")


def read_whole(root, stop, seen):
    for name, path in CHANGING:
        with open(f"{root}/{path}", "rb", buffering=0) as file:
            found = file.read(os.fstat(file.fileno()).st_size + 1)
            seen(path, generation_of(name, found, TABLES[name]))
            assert file.read(1) == b""


def read_slowly(root, stop, seen):
    """Holds a file open over some switches, and reads it in pieces and through a map."""
    for name, path in CHANGING:
        with open(f"{root}/{path}", "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapped:
                found = b""
                while len(found) < size:
                    found += os.pread(file.fileno(), size // 3 + 1, len(found))
                    stop.wait(0.01)
                assert mapped[:] == found
                seen(path, generation_of(name, found, TABLES[name]))
                assert os.fstat(file.fileno()).st_size == size


def read_relative(root, stop, seen):
    """By descriptors of folders that are opened once and stay."""
    folders = {path: os.open(f"{root}/{os.path.dirname(path)}", os.O_RDONLY)
               for _, path in CHANGING}
    while not stop.is_set():
        for name, path in CHANGING:
            file = os.open(os.path.basename(path), os.O_RDONLY, dir_fd=folders[path])
            try:
                found = os.pread(file, 1 << 20, 0)
                seen(path, generation_of(name, found, TABLES[name]))
            finally:
                os.close(file)
        assert os.stat("customers.parquet", dir_fd=folders[CHANGING[0][1]]).st_size == 17


def look_around(root, stop, seen):
    listed = set(os.listdir(f"{root}/data"))
    assert {"sales", "marketing", "archive"} <= listed, listed
    for name, path in CHANGING:
        found = os.stat(f"{root}/{path}")
        assert found.st_size == TABLES[name] * BLOCK and found.st_ino > 1
        assert found.st_nlink in (0, 1, 2, 3), found
    assert {"orders.parquet", "customers.parquet", "events.parquet"} <= \
        set(os.listdir(f"{root}/data/sales"))
    name, path = BLINKING
    try:
        with open(f"{root}/{path}", "rb", buffering=0) as file:
            assert generation_of(name, file.read()) % 2 == 0
        seen(path, 0)
    except FileNotFoundError:
        pass
    except OSError as error:  # it came new, so nobody had its bytes, and its source has dropped it
        assert error.errno == errno.ESTALE and error.filename is None, error


def loop(kind, root, stop, answers, pause=0):
    """In a process of its own: what it read, and what went wrong."""
    newest, generations, reads = {}, set(), 0

    def seen(path, generation):
        nonlocal reads
        assert generation >= newest.get(path, 0), f"{path}: {generation} after {newest[path]}"
        newest[path] = generation
        generations.add(generation)
        reads += 1

    problem = None
    try:
        while not stop.is_set():
            kind(root, stop, seen)
            if pause:
                time.sleep(pause / 4)
    except Exception as error:
        problem = f"{kind.__name__}: {type(error).__name__}: {error}"
    answers.put((kind.__name__, reads, len(generations), problem))


def make_generation(stack, generation):
    for name, blocks in TABLES.items():
        stack.add_table(name, content(name, generation, blocks))
    stack.packages.pop("blink", None)
    if generation % 2 == 0:
        stack.add_package("blink", stack.add_table("blink", content("blink", generation)))


def test_readers_looping_over_500_switches_each_see_one_generation_and_no_error(agnes, stack):
    switch_under(agnes, stack, [read_whole, read_whole, read_slowly, read_relative, look_around],
                 switches=500, pause=0)


@pytest.mark.timeout(150)
def test_2000_switches_at_50_a_second_under_8_readers_of_old_and_new_handles(agnes, stack):
    switch_under(agnes, stack, [read_whole, read_whole, read_whole, read_slowly, read_slowly,
                                read_slowly, read_relative, look_around],
                 switches=2000, pause=0.02)


def switch_under(agnes, stack, kinds, switches, pause):
    make_generation(stack, 1)
    stack.packages["sales"]["tables"].append(stack.rows["events"])
    stack.packages["archive"]["tables"] = [stack.rows["old"]]
    stack.write()
    context = multiprocessing.get_context("fork")
    stop, answers = context.Event(), context.Queue()
    with agnes.mount(stack.url) as mount:
        control = Control(mount)
        readers = [context.Process(target=loop, daemon=True,
                                   args=(kind, str(mount.path), stop, answers, pause))
                   for kind in kinds]
        try:
            for reader in readers:
                reader.start()
            begin = time.monotonic()
            for generation in range(2, switches + 2):
                due = time.monotonic() + pause
                make_generation(stack, generation)
                stack.write()
                report = control.refresh()
                assert report["generation"] == generation, report
                time.sleep(max(0, due - time.monotonic()))
            seconds = time.monotonic() - begin
            stop.set()
            found = [answers.get(timeout=20) for _ in readers]
        finally:
            stop.set()
            for reader in readers:
                reader.join(5)
                reader.kill()
        assert [] == [problem for *_, problem in found if problem], found
        print(f"{switches} switches in {seconds:.1f} s")
        for kind, reads, generations, _ in found:
            assert reads > 50, found
            assert generations > 50 or kind == "look_around", found

        last = switches + 1
        assert mount.status()["generation"] == last
        assert mount.nlink(ORDERS) == 2
        for name, path in CHANGING:
            assert (mount / path).read_bytes() == content(name, last, TABLES[name])
        assert mount.status()["problems"] == []
        assert mount.status()["mount"]["open_files"] == 0
        current = {hashlib.md5(file).hexdigest() for file in mount.files().values()}
        wait_for(lambda: {key.split("-")[1] for key in agnes.cache().blobs()} == current,
                 what="old blobs gone")
