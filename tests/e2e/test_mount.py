"""A mount from its first line to its end, the unkind ends included."""

import errno
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.lib import agnesfs
from tests.lib.agnesfs import Mount, wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

TABLES = "/tables/*"


@pytest.fixture
def stack(stack):
    orders = stack.add_table("orders", raw(b"orders" * 5000))
    stack.add_package("sales", orders, stack.add_table("customers", raw(b"customers")))
    stack.add_package("marketing", orders)
    stack.add_domain("finance", "# Finance\n")
    return stack.write()


@pytest.fixture
def folder(agnes):
    path = agnes.folder / "agnes"
    path.mkdir()
    return path


def expected_files(stack):
    return {
        "data/sales/orders.parquet": stack.files["tables/orders.parquet"],
        "data/sales/customers.parquet": stack.files["tables/customers.parquet"],
        "data/marketing/orders.parquet": stack.files["tables/orders.parquet"],
        "memory/finance/bundle.md": stack.files["memory/finance.md"],
    }


def pid_of_daemon(agnes):
    processes = agnes.processes()
    assert len(processes) == 1, processes
    return next(iter(processes))


def names_of_files(mount):
    return [name for name in mount.names() if not name.endswith("/")]


def wait_until_all_is_here(mount):
    for path in names_of_files(mount):
        wait_for(lambda path=path: mount.xattr(path, "state") == "resident", what=path)


class Reader(threading.Thread):
    """Reads a file whole; says what came of it and when."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.content, self.error, self.ended = path, None, None, None
        self.start()

    def run(self):
        try:
            self.content = self.path.read_bytes()
        except OSError as error:
            self.error = error
        self.ended = time.monotonic()


# --- sources ---

@pytest.mark.parametrize("spelling", ["folder", "folder with slash", "relative folder",
                                      "file URL of the folder", "file URL of the manifest"])
def test_a_static_stack_on_disk_mounts_by_its(agnes, stack, spelling):
    source = {
        "folder": str(stack.folder),
        "folder with slash": f"{stack.folder}/",
        "relative folder": os.path.relpath(stack.folder, agnes.home),
        "file URL of the folder": stack.folder.as_uri(),
        "file URL of the manifest": stack.url,
    }[spelling]
    with agnes.mount(source) as mount:
        assert mount.files() == expected_files(stack)


def test_a_static_stack_behind_a_web_server_mounts_by_the_url_of_its_manifest(
        agnes, stack, server):
    with agnes.mount(server.url) as mount:
        assert mount.files() == expected_files(stack)


def test_an_agnes_server_mounts_with_the_token_of_the_agnes_cli(agnes, stack, agnes_server):
    agnes.write_token("a-token")
    with agnes.mount(agnes_server.url) as mount:
        assert mount.files() == expected_files(stack)


def test_without_a_source_the_server_of_the_agnes_cli_is_mounted(agnes, stack, agnes_server):
    agnes.write_token("a-token", server=agnes_server.url)
    with agnes.mount(None) as mount:
        assert mount.files() == expected_files(stack)


def test_the_mount_table_names_the_source_and_the_type(agnes, stack):
    with agnes.mount(stack.url) as mount:
        line = next(line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()
                    if line.split()[4] == str(mount.path))
        kind, source, options = line[line.index("-") + 1:][:3]
        assert kind == "fuse.agnesfs"
        assert stack.folder.name in source
        assert "ro" in options.split(",") and {"nosuid", "nodev"} <= set(line[5].split(","))


# --- begin ---

def test_mount_prints_one_line_with_tables_packages_bytes_and_its_log(agnes, stack, folder):
    result = agnes.run("mount", stack.url, folder, "-o", "refresh=off")
    with Mount(agnes, folder):
        assert result.err == ""
        assert result.out.count("\n") == 1, result
        assert re.search(r"\b\d+ tables?\b", result.out), result
        assert re.search(r"\b2 packages\b", result.out), result
        assert re.search(r"\b\d[\d.]* (B|kB|MB)\b", result.out), result
        log = re.search(r"(/\S+?)[,;.)]?\s*$", result.out)
        assert log and Path(log[1]).is_file(), result
        assert "mount" in Path(log[1]).read_text()


def test_mount_with_quiet_prints_nothing(agnes, stack, folder):
    result = agnes.run("mount", stack.url, folder, "-o", "refresh=off", "--quiet")
    with Mount(agnes, folder):
        assert result.out == result.err == ""


def test_mount_returns_only_when_the_mount_answers(agnes, stack, server, folder):
    server.script("/manifest.json", Fault(delay=0.7))
    begin = time.monotonic()
    agnes.run("mount", server.url, folder, "-o", "refresh=off,prefetch=none")
    assert (folder / "data/sales/orders.parquet").stat().st_nlink == 2
    with Mount(agnes, folder):
        assert time.monotonic() - begin > 0.7
        assert {"marketing", "sales"} <= set(os.listdir(folder / "data"))


def test_mount_leaves_the_shell_its_output(agnes, stack, folder):
    """The daemon holds none of the descriptors that it was started with."""
    with agnes.mount(stack.url) as mount:
        descriptors = Path(f"/proc/{pid_of_daemon(agnes)}/fd")
        assert {os.readlink(descriptors / number) for number in "012"} == {"/dev/null"}
        assert os.readlink(descriptors.parent / "cwd") == "/"
        assert mount.files() == expected_files(stack)


def test_mount_8_and_fstab_call_it_by_its_other_name(agnes, stack, folder, monkeypatch):
    helper = agnes.folder / "mount.agnesfs"
    helper.symlink_to(agnesfs.BINARY)
    with monkeypatch.context() as patch:
        patch.setattr(agnesfs, "BINARY", str(helper))
        agnes.run(stack.url, folder, "-o", "rw,noauto,nofail,_netdev,x-gvfs-show,refresh=off")
        with Mount(agnes, folder) as mount:
            assert mount.files() == expected_files(stack)
            assert agnes.run(stack.url, folder, "-o", "rw", expect=32).err
            patch.undo()
    assert agnes.mountpoints() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_foreground_stays_and_ends_in_order_on(agnes, stack, folder, number):
    process = agnes.start("mount", stack.url, folder, "--foreground", "-o", "refresh=off")
    wait_for(lambda: str(folder) in agnes.mountpoints(), what="mounted")
    assert Mount(agnes, folder).files() == expected_files(stack)
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(5) == 0
    assert agnes.mountpoints() == []
    assert os.listdir(folder) == []


def test_foreground_ends_with_its_mount(agnes, stack, folder):
    process = agnes.start("mount", stack.url, folder, "--foreground", "-o", "refresh=off")
    wait_for(lambda: str(folder) in agnes.mountpoints(), what="mounted")
    wait_for(lambda: (folder / "data").exists(), what="answers")
    Mount(agnes, folder).umount()
    assert process.wait(5) == 0


# --- end ---

def test_umount_returns_when_the_daemon_has_let_go_of_everything(agnes, stack):
    mount = agnes.mount(stack.url)
    mount.umount()
    assert agnes.mountpoints() == []
    agnes.sync(stack.url)  # would be busy
    wait_for(lambda: not agnes.processes(), seconds=2, what="daemon gone")


@pytest.mark.parametrize("command", [["umount"], ["fusermount3", "-u"]], ids=" ".join)
def test_the_daemon_ends_when_somebody_else_unmounts(agnes, stack, command):
    with agnes.mount(stack.url) as mount:
        subprocess.run([*command, mount.path], check=True, timeout=60)
        wait_for(lambda: not agnes.processes(), what="daemon gone")


def test_mounting_again_at_once_works_and_fetches_nothing(agnes, stack, server):
    with agnes.mount(server.url) as mount:
        wait_until_all_is_here(mount)
    server.clear()
    for _ in range(5):
        with agnes.mount(server.url) as mount:
            assert mount.files() == expected_files(stack)
    assert server.count(TABLES) == 0
    assert server.count("/memory/*") == 0


def test_umount_of_a_busy_mount_is_refused_and_changes_nothing(agnes, stack):
    with agnes.mount(stack.url) as mount:
        with open(mount / "data/sales/orders.parquet", "rb") as file:
            result = mount.umount(expect=6)
            assert result.err.startswith("agnesfs: ")
            assert "--lazy" in result.err
            assert file.read() == stack.files["tables/orders.parquet"]
        assert mount.files() == expected_files(stack)


def test_umount_lazy_detaches_at_once_and_lets_a_reader_finish(agnes, stack):
    with agnes.mount(stack.url) as mount:
        with open(mount / "data/sales/orders.parquet", "rb", buffering=0) as file:
            head = file.read(100)
            begin = time.monotonic()
            mount.umount("--lazy")
            assert time.monotonic() - begin < 5
            assert agnes.mountpoints() == []
            assert os.listdir(mount.path) == []
            rest = b"".join(iter(lambda: file.read(65536), b""))
            assert head + rest == stack.files["tables/orders.parquet"]
        wait_for(lambda: not agnes.processes(), what="daemon gone")


def test_umount_of_what_is_not_mounted_fails(agnes, folder):
    result = agnes.run("umount", folder, expect=1)
    assert result.err.startswith("agnesfs: ") and str(folder) in result.err


def test_two_sources_are_mounted_side_by_side(agnes, stack):
    other = shutil.copytree(stack.folder, agnes.folder / "copy")
    beside = agnes.folder / "beside"
    beside.mkdir()
    with agnes.mount(stack.url) as first, agnes.mount(other, path=beside) as second:
        assert first.files() == second.files() == expected_files(stack)
        assert len(agnes.caches()) == 2


# --- without the source ---

def assert_stale(mount):
    document = mount.status(expect=7)
    assert document["state"] == "stale", document


def test_the_last_generation_is_served_when_the_server_is_gone(agnes, stack, server):
    with agnes.mount(server.url) as mount:
        wait_until_all_is_here(mount)
        before = {name: mount.xattr(name, "generation") for name in names_of_files(mount)}
    server.close()
    with agnes.mount(server.url) as mount:
        assert mount.files() == expected_files(stack)
        assert {name: mount.xattr(name, "generation") for name in names_of_files(mount)} == before
        wait_for(lambda: agnes.run("status", mount.path, expect=None).code == 7, what="stale")
        assert_stale(mount)
        refresh = agnes.run("refresh", mount.path, expect=None)
        assert refresh.code == 4, refresh
        assert mount.files() == expected_files(stack)


def test_the_last_generation_is_served_when_the_folder_is_gone_and_heals(agnes, stack):
    with agnes.mount(stack.url) as mount:
        wait_until_all_is_here(mount)
    away = stack.folder.rename(stack.folder.with_name("away"))
    with agnes.mount(stack.url) as mount:
        assert mount.files() == expected_files(stack)
        wait_for(lambda: agnes.run("status", mount.path, expect=None).code == 7, what="stale")
        assert_stale(mount)
        away.rename(stack.folder)
        mount.refresh()
        assert mount.status()["state"] == "ready"
        assert mount.files() == expected_files(stack)


# --- signals and crashes ---

def test_sigterm_ends_within_two_seconds_and_fails_waiting_reads(agnes, stack, server):
    server.always("/tables/orders.parquet", Fault(stall=100))
    with agnes.mount(server.url, "prefetch=none") as mount:
        pid = pid_of_daemon(agnes)
        names = ["data/sales/orders.parquet", "data/marketing/orders.parquet"] * 2
        readers = [Reader(mount / name) for name in names]
        wait_for(lambda: server.count("/tables/orders.parquet") == 1, what="asked for")
        time.sleep(0.1)  # for the other readers to join it
        begin = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        for reader in readers:
            reader.join(5)
        wait_for(lambda: not agnes.processes(), what="daemon gone")
        ended = time.monotonic()
        assert all(reader.content is None and reader.ended for reader in readers)
        assert {reader.error.errno for reader in readers} <= {errno.EIO, errno.ENOTCONN,
                                                              errno.ECONNABORTED, errno.EINTR}
        assert max(reader.ended for reader in readers) - begin < 2
        assert ended - begin < 2
        assert agnes.mountpoints() == []


def test_umount_ends_it_though_another_mount_namespace_has_a_copy(agnes, stack):
    """As a container has that was started while it was mounted: the kernel does not tell its process."""
    mount = agnes.mount(stack.url)
    holder = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                               "echo ready; read line"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"ready\n"
        mount.umount()
        assert agnes.mountpoints() == []
        wait_for(lambda: not agnes.processes(), 30, what="daemon gone")
        with agnes.mount(stack.url) as again:
            assert again.files()
            again.umount()
    finally:
        holder.communicate(b"\n")


def error_of_listing(mount):
    try:
        os.listdir(mount.path)
    except OSError as error:
        return error.errno
    return None


def kill_daemon(agnes, mount):
    os.kill(pid_of_daemon(agnes), signal.SIGKILL)
    wait_for(lambda: not agnes.processes(), what="daemon gone")
    wait_for(lambda: error_of_listing(mount) == errno.ENOTCONN, what="dead")


def test_after_sigkill_a_lazy_umount_clears_the_dead_mount_and_all_data_is_still_there(
        agnes, stack, server):
    with agnes.mount(server.url) as mount:
        wait_until_all_is_here(mount)
        kill_daemon(agnes, mount)
        assert "umount --lazy" in agnes.run("status", mount.path, expect=1).err
        mount.umount("--lazy")
        assert agnes.mountpoints() == []
    server.clear()
    with agnes.mount(server.url) as mount:
        assert mount.files() == expected_files(stack)
        assert server.count(TABLES) == 0, "verified again from disk, not from the server"
        assert server.count("/memory/*") == 0


def test_after_sigkill_what_was_damaged_on_disk_is_fetched_again(agnes, stack, server):
    with agnes.mount(server.url) as mount:
        wait_until_all_is_here(mount)
        content = stack.files["tables/orders.parquet"]
        blob = agnes.cache().blob(content)
        kill_daemon(agnes, mount)
        mount.umount("--lazy")
    blob.chmod(0o600)
    blob.write_bytes(content[:1000] + b"\0" + content[1001:])
    blob.chmod(0o400)
    server.clear()
    with agnes.mount(server.url) as mount:
        assert mount.files() == expected_files(stack)
        assert server.count("/tables/orders.parquet") == 1
        assert server.count("/tables/customers.parquet") == 0


def test_sigkill_in_the_middle_of_a_fetch_leaves_nothing_wrong(agnes, stack, server):
    server.script("/tables/orders.parquet", Fault(stall=10_000))
    with agnes.mount(server.url) as mount:
        wait_for(lambda: server.count("/tables/orders.parquet") == 1, what="asked for")
        kill_daemon(agnes, mount)
        mount.umount("--lazy")
    with agnes.mount(server.url) as mount:
        assert mount.files() == expected_files(stack)
