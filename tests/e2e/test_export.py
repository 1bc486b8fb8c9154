"""agnesfs export: the folder that a mount shows, as ordinary files, and nobody else's touched.

Needs root, for file systems of its own.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess

import pytest

from tests.lib.agnesfs import BINARY, Agnesfs, files_below, wait_for
from tests.lib.stack import raw

ORDERS = "data/sales/orders.parquet"
AGAIN = "data/marketing/orders.parquet"
PRICES = "data/_direct/prices.parquet"
MAY = "data/events/clicks/month=2026-05/data.parquet"


@pytest.fixture
def stack(stack):
    orders = stack.add_table("orders", raw(b"orders" * 1000))
    stack.add_package("sales", orders, stack.add_table("customers", raw(b"customers")))
    stack.add_package("marketing", orders)
    stack.add_package("events", stack.add_table(
        "clicks", {f"month=2026-0{i}/data.parquet": raw(b"clicks %d" % i) for i in (5, 6)}))
    stack.add_package("empty")
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    stack.add_domain("finance", "# Finance\n")
    return stack.write()


@pytest.fixture
def target(agnes):
    return agnes.folder / "target"


def export(agnes, stack, target, *args, expect=0):
    return agnes.run("export", stack.url, target, "--json", *args, expect=expect).json()


def exported(target):
    """{path: bytes} without our own."""
    return {path: content for path, content in files_below(target).items()
            if path not in (".agnes/export.json", ".agnes/export.lock")}


def tables(target):
    return {path: content for path, content in exported(target).items() if not is_generated(path)}


def is_generated(path):
    return path == ".agnes/duckdb.sql" or path.endswith("README.md")


def folders(target):
    return {os.path.relpath(os.path.join(where, name), target)
            for where, names, _ in os.walk(target) for name in names} - {".agnes"}


def stamps(target):
    """What any write would change, of everything that is there."""
    found = {}
    for path in [target, *target.rglob("*")]:
        stat = path.lstat()
        found[path] = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size)
    return found


def record(target):
    return json.loads((target / ".agnes/export.json").read_text())


def lines(target):
    """{path: its line}; at rest, each path has one."""
    found = {line["path"]: line for line in record(target)["files"]}
    assert len(found) == len(record(target)["files"])
    return found


@contextlib.contextmanager
def file_system(folder, *make, size, options="loop"):
    """A file system of our own in an image."""
    folder.mkdir()
    image = folder.with_suffix(".image")
    with open(image, "wb") as file:
        file.truncate(size)
    subprocess.run([*make, image], check=True, capture_output=True, timeout=60)
    subprocess.run(["mount", "-o", options, image, folder], check=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True, timeout=30)
        image.unlink()


@contextlib.contextmanager
def tmpfs(folder, options="size=64m"):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True, timeout=30)


# --- the same as a mount --------------------------------------------------------------------------

def test_the_same_names_bytes_and_times_as_the_mount(agnes, stack, target):
    result = export(agnes, stack, target)
    assert result["written"] == len(exported(target)) and not result["skipped"]
    with agnes.mount(stack.url) as mount:
        shown = {path: content for path, content in files_below(mount).items()
                 if not path.startswith((".agnes/", ".xdg-"))}
        for path in mount.files():
            assert (target / path).stat().st_mtime_ns == (mount / path).stat().st_mtime_ns
            assert (target / path).stat().st_nlink == mount.nlink(path)
            assert (target / path).stat().st_mode & 0o777 == 0o444 & ~current_umask()
        assert {f"{folder}/" for folder in folders(target)} == {
            name for name in mount.names() if name.endswith("/") and name != ".agnes/"}
    assert exported(target).keys() >= {ORDERS, AGAIN, PRICES, MAY, "memory/finance/bundle.md"}
    assert {path: exported(target).get(path) for path in shown} == shown


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_again_it_writes_nothing_and_says_so(agnes, stack, target):
    export(agnes, stack, target)
    before = stamps(target)
    result = export(agnes, stack, target)
    assert (result["written"], result["removed"]) == (0, 0)
    assert result["unchanged"] == len(exported(target))
    assert "nothing to do" in agnes.run("export", stack.url, target).out
    assert stamps(target) == before


def test_what_changed_is_replaced_alone_and_who_has_the_old_one_open_keeps_it(
        agnes, stack, target):
    export(agnes, stack, target)
    before = stamps(target)
    stack.add_table("orders", raw(b"new orders"))
    stack.write()
    with open(target / ORDERS, "rb") as old:
        result = export(agnes, stack, target)
        assert old.read() == raw(b"orders" * 1000)
    assert (target / ORDERS).read_bytes() == (target / AGAIN).read_bytes() == raw(b"new orders")
    changed = {path for path, stamp in stamps(target).items()
               if stamp != before[path] and path.is_file()}
    assert {path for path in changed if not path.name == "README.md"} == {
        target / ORDERS, target / AGAIN, target / ".agnes/export.json"}
    assert {target / "data/sales/README.md", target / "data/marketing/README.md"} <= changed
    assert result["written"] == len(changed) - 1 and not result["skipped"]
    assert lines(target).keys() == exported(target).keys()


def test_what_is_withdrawn_goes_with_its_folders(agnes, stack, target):
    export(agnes, stack, target)
    del stack.packages["events"], stack.packages["empty"], stack.packages["marketing"]
    stack.write()
    result = export(agnes, stack, target)
    assert result["removed"] == 3 + 3, "files and the READMEs of three packages"
    assert folders(target) == {"data", "data/sales", "data/_direct", "memory", "memory/finance"}
    assert lines(target).keys() == exported(target).keys()
    assert (target / ORDERS).read_bytes() == raw(b"orders" * 1000)


def test_the_cache_is_as_good_as_before(agnes, stack, target):
    agnes.sync(stack.url)
    for strategy in ("auto", "hardlink", "copy"):
        target.mkdir(exist_ok=True)
        export(agnes, stack, target / strategy, f"--strategy={strategy}")
    assert all(path.stat().st_nlink == 1 for path in agnes.cache().blobs().values())
    assert not agnes.verify(stack.url).findings
    path = target / "hardlink" / ORDERS
    path.chmod(0o644)
    path.write_bytes(b"scribbled over")
    assert not agnes.verify(stack.url).findings


# --- what is not ours -----------------------------------------------------------------------------

def test_what_is_not_ours_stays(agnes, stack, target):
    (target / "data/sales").mkdir(parents=True)
    (target / ORDERS).write_bytes(b"mine")
    (target / "notes.txt").write_text("mine")
    result = export(agnes, stack, target, expect=1)
    assert [line["path"] for line in result["skipped"]] == [ORDERS]
    assert (target / ORDERS).read_bytes() == b"mine"
    assert (target / AGAIN).read_bytes() == raw(b"orders" * 1000)
    before = stamps(target)
    assert [line["path"] for line in export(agnes, stack, target, expect=1)["skipped"]] == [ORDERS]
    assert stamps(target) == before
    assert "skipped: there already" in agnes.run("export", stack.url, target, expect=1).err

    del stack.packages["sales"], stack.packages["marketing"]
    stack.write()
    export(agnes, stack, target)
    assert (target / ORDERS).read_bytes() == b"mine"
    assert (target / "notes.txt").read_text() == "mine"
    assert not (target / "data/marketing").exists()


def test_a_file_of_ours_that_was_changed_is_not_ours_any_more(agnes, stack, target):
    export(agnes, stack, target)
    for path in (PRICES, MAY):
        (target / path).chmod(0o644)
        (target / path).write_bytes(b"edited")
    stack.add_table("prices", raw(b"new prices"))
    del stack.packages["events"]
    stack.write()
    result = export(agnes, stack, target, expect=1)
    assert {line["path"]: line["reason"] for line in result["skipped"]} == {
        PRICES: "changed since it was written",
        MAY: "not listed any more, but changed since it was written"}
    assert (target / PRICES).read_bytes() == (target / MAY).read_bytes() == b"edited"
    assert PRICES not in lines(target)
    (target / PRICES).unlink()
    export(agnes, stack, target)
    assert (target / PRICES).read_bytes() == raw(b"new prices")
    assert (target / MAY).read_bytes() == b"edited"


def test_links_are_not_followed(agnes, stack, target):
    outside = agnes.folder / "outside"
    (outside / "sales").mkdir(parents=True)
    (outside / "precious").write_text("precious")
    (target / "data").mkdir(parents=True)
    (target / "data/sales").symlink_to(outside / "sales")
    (target / "memory").symlink_to("../outside")
    (target / "data/_direct").mkdir()
    (target / PRICES).symlink_to(outside / "precious")
    result = export(agnes, stack, target, expect=1)
    assert {line["path"] for line in result["skipped"]} == {
        ORDERS, "data/sales/customers.parquet", "data/sales/README.md", PRICES,
        "memory/finance/bundle.md"}
    assert files_below(outside) == {"precious": b"precious"}
    before = stamps(target)
    export(agnes, stack, target, expect=1)
    assert stamps(target) == before


def test_a_folder_swapped_for_a_link_saves_what_is_behind_it(agnes, stack, target):
    export(agnes, stack, target)
    outside = agnes.folder / "outside"
    (target / "data/events").rename(outside)
    (target / "data/events").symlink_to(outside)
    del stack.packages["events"]
    stack.write()
    export(agnes, stack, target, expect=1)
    assert len(files_below(outside)) == 3
    assert (target / "data/events").is_symlink()


@pytest.mark.parametrize("name", [".agnes", ".agnes/export.json", ".agnes/export.lock"])
def test_our_own_names_are_no_links_either(agnes, stack, target, name):
    outside = agnes.folder / "outside"
    outside.mkdir()
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    (target / name).symlink_to(outside)
    assert agnes.run("export", stack.url, target, expect=8).err
    assert list(outside.iterdir()) == []
    assert exported(target) == {}


def test_a_record_that_is_none_is_not_replaced(agnes, stack, target):
    (target / ".agnes").mkdir(parents=True)
    (target / ".agnes/export.json").write_text("mine")
    assert "no record of ours" in agnes.run("export", stack.url, target, expect=8).err
    assert (target / ".agnes/export.json").read_text() == "mine"
    assert exported(target) == {}


# --- where it goes --------------------------------------------------------------------------------

def test_places_that_are_refused(agnes, stack, target):
    agnes.sync(stack.url)
    cache = agnes.cache().root
    before = stamps(cache)
    assert "inside the cache" in agnes.run("export", stack.url, cache / "x", expect=2).err
    assert not (cache / "x").exists()
    assert before.keys() == stamps(cache).keys()
    with agnes.mount(stack.url) as mount:
        for path in (mount.path, mount / "data", mount / "data/new"):
            assert "inside a mount" in agnes.run("export", stack.url, path, expect=2).err
    target.write_text("a file")
    assert "not a folder" in agnes.run("export", stack.url, target, expect=8).err
    assert "mkdir -p" in agnes.run("export", stack.url, agnes.folder / "a/b/c", expect=8).err
    assert agnes.run("export", expect=2).err


def test_another_source_is_refused(agnes, stack, target, tmp_path):
    export(agnes, stack, target)
    before = stamps(target)
    other = type(stack)(tmp_path / "other")
    other.add_direct(other.add_table("x", raw(b"x")))
    other.write()
    assert "holds an export of" in agnes.run("export", other.url, target, expect=1).err
    assert stamps(target) == before


def test_one_at_a_time(agnes, stack, target):
    export(agnes, stack, target)
    with open(target / ".agnes/export.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another export" in agnes.run("export", stack.url, target, expect=6).err
    export(agnes, stack, target)


def test_read_only(agnes, stack, target):
    with tmpfs(target):
        export(agnes, stack, target)
        subprocess.run(["mount", "-o", "remount,ro", target], check=True, timeout=30)
        assert "Read-only" in agnes.run("export", stack.url, target, expect=8).err


def test_no_room_is_said_and_made_good_later(agnes, stack, target):
    stack.add_table("prices", raw(b"p" * (3 << 20)))
    stack.write()
    with tmpfs(target, "size=1m"):
        assert "No space left" in agnes.run("export", stack.url, target, expect=8).err
        assert all(content == raw(b"p" * (3 << 20)) or len(content) < 10000
                   for content in exported(target).values())
        assert not (target / ".agnes/export.tmp").exists()
        assert lines(target).keys() == exported(target).keys()
        subprocess.run(["mount", "-o", "remount,size=8m", target], check=True, timeout=30)
        assert not export(agnes, stack, target)["errors"]
        assert (target / PRICES).read_bytes() == raw(b"p" * (3 << 20))


def test_the_server_is_away(agnes, stack, target, server):
    agnes.run("export", server.url, target)
    before = stamps(target)
    server.close()
    assert "hint:" in agnes.run("export", server.url, target, expect=4).err
    assert stamps(target) == before


def test_a_table_that_can_not_be_had_keeps_its_old_bytes(agnes, stack, target):
    export(agnes, stack, target)
    stack.add_table("prices", raw(b"new prices"), md5="0" * 32)
    stack.write()
    agnes.run("export", stack.url, target, "--json", expect=9)
    assert (target / PRICES).read_bytes() == raw(b"prices")
    assert PRICES in lines(target)


# --- strategies -----------------------------------------------------------------------------------

def strategies(target):
    return {path: line["strategy"] for path, line in lines(target).items()}


def test_copy_and_hardlink(agnes, stack, tmp_path):
    export(agnes, stack, tmp_path / "copy", "--strategy=copy")
    assert set(strategies(tmp_path / "copy").values()) == {"copy"}
    assert (tmp_path / "copy" / ORDERS).stat().st_nlink == 1

    result = export(agnes, stack, tmp_path / "link", "--strategy=hardlink")
    assert result["strategies"]["hardlink"] == 1
    assert os.path.samefile(tmp_path / "link" / ORDERS, tmp_path / "link" / AGAIN)
    assert tables(tmp_path / "link") == tables(tmp_path / "copy")
    agnes.run("export", stack.url, tmp_path / "x", "--strategy=magic", expect=2)


def test_a_new_name_is_linked_to_the_one_that_is_there(agnes, stack, target):
    export(agnes, stack, target, "--strategy=hardlink")
    stack.add_package("finance", stack.rows["orders"])
    stack.write()
    assert export(agnes, stack, target, "--strategy=hardlink")["strategies"]["hardlink"] == 1
    assert os.path.samefile(target / "data/finance/orders.parquet", target / ORDERS)


def test_reflinks_share_the_disk_and_nothing_else(stack, tmp_path):
    with file_system(tmp_path / "btrfs", "mkfs.btrfs", "-q", size=160 << 20) as disk:
        (disk / "agnes").mkdir()
        agnes = Agnesfs(disk / "agnes")
        target = disk / "target"
        result = export(agnes, stack, target)
        blobs = {path: how for path, how in strategies(target).items() if not is_generated(path)}
        assert result["strategies"]["reflink"] == len(blobs) > 0
        assert set(blobs.values()) == {"reflink"}
        assert not os.path.samefile(target / ORDERS, target / AGAIN)
        (target / ORDERS).chmod(0o644)
        (target / ORDERS).write_bytes(b"scribbled over")
        assert (target / AGAIN).read_bytes() == raw(b"orders" * 1000)
        assert not agnes.verify(stack.url).findings
        before = stamps(target)
        export(agnes, stack, target, expect=1)
        (target / ORDERS).unlink()
        result = export(agnes, stack, target)
        assert result["written"] == 1 and before.keys() == stamps(target).keys()
        assert not agnes.clean_up()


def test_no_reflinks_to_another_file_system(agnes, stack, target):
    with tmpfs(target):
        result = export(agnes, stack, target, "--strategy=reflink", expect=1)
        assert result["written"] == len(exported(target)) and all(map(is_generated, exported(target)))
        assert {line["error"] for line in result["errors"]} == {
            "this strategy is not possible here"}
        assert tables(target) == {}
        assert export(agnes, stack, target)["strategies"]["reflink"] == 0
        assert (target / ORDERS).read_bytes() == raw(b"orders" * 1000)


# --- whenever it dies -----------------------------------------------------------------------------

def kill_at(agnes, stack, target, call, number):
    """Ends an export by SIGKILL at its number-th such call; whether it got that far."""
    # Leaks can not be looked for in a process that is traced.
    options = f"{agnes.env.get('ASAN_OPTIONS', '')}:detect_leaks=0"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
         "-e", f"inject={call}:signal=KILL:when={number}", BINARY, "export", stack.url, target],
        env=agnes.env | {"ASAN_OPTIONS": options}, capture_output=True, text=True, timeout=60,
        check=False)
    assert done.returncode in (0, -signal.SIGKILL), done
    return done.returncode != 0


def expect_whole(agnes, stack, target):
    """It ends as if nothing had happened, and leaves nothing of the past."""
    export(agnes, stack, target)
    assert lines(target).keys() == exported(target).keys() - {"mine"}
    for path, line in lines(target).items():
        stat = (target / path).stat()
        assert (str(stat.st_ino), str(stat.st_mtime_ns)) == (line["ino"], line["mtime_ns"])
    assert {path.name for path in (target / ".agnes").iterdir()} <= {
        "export.json", "export.lock", "duckdb.sql"}
    return tables(target)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("call", ["mkdirat", "renameat,renameat2", "unlinkat", "fsync", "linkat"])
def test_killed_at_any_moment_it_owns_what_it_wrote_and_nothing_else(agnes, stack, tmp_path, call):
    agnes.sync(stack.url)
    whole = None
    # Under a tracer each run takes a moment, so not every call, but some of every kind.
    for number in (1, 2, 3, 4, 5, 7, 9, 12, 15):
        stack.add_table("orders", raw(b"orders" * 1000))
        stack.packages.pop("late", None)
        stack.write()
        target = tmp_path / f"target-{number}"
        target.mkdir()
        (target / "mine").write_text("mine")
        first = kill_at(agnes, stack, target, call, number)
        found = expect_whole(agnes, stack, target)
        assert whole in (None, found)
        whole = found

        stack.add_table("orders", raw(b"new orders"))
        stack.add_package("late", stack.rows["customers"])
        events = stack.packages.pop("events")
        stack.write()
        second = kill_at(agnes, stack, target, call, number)
        found = expect_whole(agnes, stack, target)
        assert found[ORDERS] == raw(b"new orders") and found["mine"] == b"mine"
        assert MAY not in found and not (target / "data/events").exists()
        assert "data/late/customers.parquet" in found
        stack.packages["events"] = events
        if not first and not second:
            break
    assert number > 1, "it never died"


def test_interrupted_it_ends_in_order(agnes, stack, target):
    for i in range(200):
        stack.add_direct(stack.add_table(f"t{i}", raw(b"%d" % i * 200000)))
    stack.write()
    agnes.sync(stack.url)
    process = agnes.start("export", stack.url, target)
    wait_for(lambda: len(list((target / ".agnes/export.tmp").glob("*"))) > 3, what="at work")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "interrupted" in err, (process.returncode, out, err)
    assert lines(target).keys() == exported(target).keys()
    assert 0 < len(exported(target)) < 200
    before = stamps(target)
    export(agnes, stack, target)
    assert len(exported(target)) > 200
    after = stamps(target)
    assert all(after[target / path] == before[target / path] for path in lines(target)
               if target / path in before), "what was done is not done again"
