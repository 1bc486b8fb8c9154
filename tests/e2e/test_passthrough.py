"""Files that the kernel reads by itself, straight from the cache: the same bytes, and nobody is asked.

As root on Linux 6.9 or newer. What an ordinary user gets is in test_users.py.
"""

import contextlib
import functools
import hashlib
import mmap
import os
import random
import shutil
import subprocess
import threading

import pytest

from tests.lib import agnesfs
from tests.lib.agnesfs import wait_for
from tests.lib.stack import raw

MIB = 1 << 20
ORDERS = "data/sales/orders.parquet"
AGAIN = "data/marketing/orders.parquet"


def content(seed, size=3 * MIB + 5):
    return raw(random.Random(seed).randbytes(size))


@pytest.fixture
def stack(stack):
    orders = stack.add_table("orders", content(1))
    stack.add_package("sales", orders, stack.add_table("customers", content(2, 1000)))
    stack.add_package("marketing", orders)
    return stack.write()


@pytest.fixture
def mount(agnes, stack):
    with agnes.mount(stack.url) as mount:
        wait_for(lambda: mount.xattr(ORDERS, "state") == "resident", what="fetched")
        yield mount


def facts(mount):
    return mount.status()["mount"]


def is_handed_over(mount, path):
    """That it is resident is known a moment before the kernel is told to look it up anew."""
    with open(mount / path, "rb"):
        return facts(mount)["passthrough_files"] == 1


def change(mount, stack, seed, size=2 * MIB):
    stack.add_table("orders", content(seed, size))
    stack.write()
    mount.refresh()
    return content(seed, size)


@contextlib.contextmanager
def mounted(kind, place, options):
    """Some other file system, for the time of a test."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", kind, "-o", options, kind, place], check=True, timeout=60)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True, timeout=60)


@pytest.fixture
def overlay(tmp_path):
    """An empty overlayfs, as below most containers; on a tmpfs, which takes it everywhere."""
    with mounted("tmpfs", tmp_path / "tmpfs", "size=64m,mode=700") as below:
        for name in ("lower", "upper", "work"):
            (below / name).mkdir()
        layers = ",".join(f"{name}dir={below / name}" for name in ("lower", "upper", "work"))
        with mounted("overlay", tmp_path / "overlay", layers) as place:
            yield place


# --- who reads ---

def test_the_kernel_reads_complete_files_and_the_daemon_is_not_asked(mount):
    for path in (ORDERS, AGAIN):
        wait_for(functools.partial(is_handed_over, mount, path), what=f"{path} handed over")
    for path in (ORDERS, AGAIN, ORDERS):
        assert (mount / path).read_bytes() == content(1)
    with open(mount / ORDERS, "rb", buffering=0) as file:
        assert facts(mount)["passthrough_files"] == 1
        assert os.pread(file.fileno(), 100, 2 * MIB) == content(1)[2 * MIB:2 * MIB + 100]
        assert os.pread(file.fileno(), 100, len(content(1))) == b""
        assert os.sendfile(os.open(os.devnull, os.O_WRONLY), file.fileno(), 0, MIB) == MIB
        assert os.fstat(file.fileno()).st_nlink == 2
    wait_for(lambda: facts(mount)["passthrough_files"] == 0, what="given back")
    assert facts(mount)["reads"] == 0
    assert facts(mount)["bytes_read"] == 0


def test_status_says_how_files_are_read(agnes, mount):
    assert facts(mount)["passthrough"] is True
    assert facts(mount)["passthrough_why_not"] is None
    assert "passthrough" in agnes.run("status", mount.path).out


def test_the_daemon_keeps_no_descriptor_of_what_the_kernel_reads(agnes, mount):
    (pid,) = agnes.processes()

    def blobs():
        links = (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
        return [link for link in links if "/_shared/" in link]

    with contextlib.ExitStack() as files:
        for _ in range(20):
            files.enter_context(open(mount / ORDERS, "rb"))
        assert facts(mount)["passthrough_files"] == 1
        assert blobs() == []


def test_maps_of_two_opens_are_right_and_ask_nobody(mount):
    with open(mount / ORDERS, "rb") as one, open(mount / AGAIN, "rb") as two, \
            mmap.mmap(one.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ) as shared, \
            mmap.mmap(two.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as private:
        assert facts(mount)["passthrough_files"] == 1, "one file, one inode"
        one.close()
        assert shared[:] == private[:] == content(1)
    assert facts(mount)["reads"] == 0


def test_a_cold_file_is_read_through_the_daemon_and_by_the_kernel_once_it_is_here(
        agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none") as mount:
        with open(mount / ORDERS, "rb", buffering=0) as cold:
            assert os.pread(cold.fileno(), 10, 0) == content(1)[:10]
            assert facts(mount)["passthrough_files"] == 0
            wait_for(lambda: mount.xattr(ORDERS, "state") == "resident", what="complete")
            wait_for(lambda: opened_by_the_kernel(mount, ORDERS), what="of the full face")
            # the one that was cold goes on beside it
            assert os.pread(cold.fileno(), 4 * MIB, 0) == content(1)
        reads = facts(mount)["reads"]
        assert (mount / AGAIN).read_bytes() == content(1)
        assert facts(mount)["reads"] == reads


def opened_by_the_kernel(mount, path):
    with open(mount / path, "rb") as file:
        assert file.read() == content(1)
        return facts(mount)["passthrough_files"] == 1


# --- what must not be read ---

def test_open_files_and_maps_keep_their_bytes_over_a_switch(mount, stack):
    with open(mount / ORDERS, "rb", buffering=0) as old, \
            mmap.mmap(old.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        for seed in range(3, 8):
            new = change(mount, stack, seed)
            assert (mount / ORDERS).read_bytes() == new
            with open(mount / AGAIN, "rb") as file:
                assert facts(mount)["passthrough_files"] == 2
                assert file.read() == new
        assert os.pread(old.fileno(), 4 * MIB, 0) == mapped[:] == content(1)
        assert os.fstat(old.fileno()).st_size == len(content(1))
    assert facts(mount)["reads"] == 0


def test_withdrawn_bytes_stay_for_who_has_them_open_and_then_leave_the_disk(agnes, mount, stack):
    with open(mount / ORDERS, "rb", buffering=0) as file:
        stack.packages.clear()
        stack.add_package("sales", stack.rows["customers"])
        stack.write()
        mount.refresh()
        blob = agnes.cache().blob(content(1))
        wait_for(lambda: not blob.exists(), what="blob gone")
        assert file.read() == content(1)


def test_what_is_open_is_never_evicted(agnes, server, stack):
    tables = [stack.add_table(f"t{number}", content(100 + number, MIB)) for number in range(8)]
    stack.add_package("many", *tables)
    stack.write()
    with agnes.mount(server.url, "prefetch=none", f"cache-size={6 * MIB}", "min-free=0") as mount:
        assert (mount / ORDERS).read_bytes() == content(1)
        wait_for(lambda: opened_by_the_kernel(mount, ORDERS), what="of the full face")
        with open(mount / ORDERS, "rb", buffering=0) as file:
            for number in range(8):
                found = (mount / f"data/many/t{number}.parquet").read_bytes()
                assert found == content(100 + number, MIB)
            assert mount.status()["cache"]["evicted_files"] >= 4
            assert agnes.cache().blob(content(1)).exists()
            assert file.read() == content(1)
        wait_for(lambda: facts(mount)["open_files"] == 0, what="closed")
        agnes.run("prune", server.url, "--cache-size", "1MiB")
        assert not agnes.cache().blob(content(1)).exists()
        assert (mount / ORDERS).read_bytes() == content(1)


def test_a_blob_that_somebody_changed_is_not_handed_out_although_it_is_open(
        agnes, mount, server, stack):
    """The kernel reads the file that it was given for earlier opens, so new ones may not join."""
    blob = agnes.cache().blob(content(1))
    with open(mount / ORDERS, "rb", buffering=0) as before:
        assert before.read(100) == content(1)[:100]
        blob.chmod(0o600)
        with open(blob, "r+b") as file:
            file.seek(MIB)
            file.write(b"something else")
        blob.chmod(0o400)
        for path in (ORDERS, AGAIN, ORDERS):
            assert (mount / path).read_bytes() == content(1), path
            with open(mount / path, "rb") as file:
                assert file.read() == content(1), path
        wait_for(lambda: mount.xattr(ORDERS, "state") == "resident", what="fetched anew")
        assert (mount / AGAIN).read_bytes() == content(1)
        assert hashlib.md5(blob.read_bytes()).digest() == hashlib.md5(content(1)).digest()
    assert (mount / ORDERS).read_bytes() == content(1)
    assert mount.status()["problems"] == []


def test_readers_that_open_and_close_over_switches_never_fail(mount, stack):
    stop, failures, reads = threading.Event(), [], []

    def read(path):
        try:
            while not stop.is_set():
                with open(mount / path, "rb", buffering=0) as file:
                    found = file.read(1 << 30)
                    assert found[:4] == found[-4:] == b"PAR1"
                    assert len(found) == os.fstat(file.fileno()).st_size
                    reads.append(path)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(path,)) for path in (ORDERS, AGAIN) * 3]
    for thread in threads:
        thread.start()
    try:
        for seed in range(10, 40):
            change(mount, stack, seed, size=10_000 + seed)
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert failures == [] and len(reads) > 100
    assert facts(mount)["reads"] == 0


# --- where the cache lies, and who serves ---

def test_a_cache_on_overlayfs_is_read_by_the_kernel_too(agnes, stack, overlay):
    with agnes.mount(stack.url, f"cache-dir={overlay / 'cache'}") as mount:
        wait_for(lambda: mount.xattr(ORDERS, "state") == "resident", what="fetched")
        assert (mount / ORDERS).read_bytes() == content(1)
        with open(mount / ORDERS, "rb") as file, \
                mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert facts(mount)["passthrough_files"] == 1
            assert mapped[:] == content(1)
        assert facts(mount)["reads"] == 0


def test_an_overlay_may_have_the_mount_as_its_lower_layer(mount, tmp_path):
    for name in ("upper", "inner"):
        (tmp_path / name).mkdir()
    with mounted("tmpfs", tmp_path / "tmpfs", "size=64m") as below:
        for name in ("upper", "work"):
            (below / name).mkdir()
        layers = f"lowerdir={mount.path},upperdir={below / 'upper'},workdir={below / 'work'}"
        with mounted("overlay", tmp_path / "over", layers) as over:
            assert (over / ORDERS).read_bytes() == content(1)


def test_where_the_kernel_refuses_it_is_said_and_files_are_read_all_the_same(agnes, stack):
    """Root of a user namespace has every capability, but not where the kernel wants it."""
    path = agnes.folder / "inside"
    path.mkdir()
    script = (f'"$0" mount {stack.url} {path} -o refresh=off && for n in 1 2 3; do'
              f' cmp {path}/{ORDERS} {path}/{AGAIN}; md5sum <{path}/{ORDERS}; done;'
              f' "$0" status {path}; "$0" umount {path}')
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script,
                           shutil.which(agnesfs.BINARY) or agnesfs.BINARY], env=agnes.env,
                          capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done
    assert done.stdout.count(hashlib.md5(content(1)).hexdigest()) == 3, done
    assert "no passthrough: the kernel refused: Operation not permitted" in done.stdout, done


def test_two_mounts_of_one_cache_each_read_by_the_kernel(agnes, stack, mount):
    second = agnes.folder / "second"
    second.mkdir()
    with agnes.mount(stack.url, path=second) as other:
        assert (other / ORDERS).read_bytes() == content(1)
        wait_for(lambda: opened_by_the_kernel(other, ORDERS), what="of the full face")
        reads = [facts(where)["reads"] for where in (mount, other)]
        with open(mount / ORDERS, "rb") as one, open(other / ORDERS, "rb") as two:
            assert one.read() == two.read() == content(1)
            assert [facts(where)["passthrough_files"] for where in (mount, other)] == [1, 1]
        assert [facts(where)["reads"] for where in (mount, other)] == reads
