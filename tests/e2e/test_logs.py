"""What a mount logs: as objects, into the journal, and more of it while it runs."""

import json
import os
import shlex
import signal
import socket
import subprocess

import pytest

from tests.lib.agnesfs import BINARY, wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

JOURNAL = "/run/systemd/journal"


@pytest.fixture
def sales(stack, server):
    stack.add_package("sales", stack.add_table("orders", raw(b"orders")))
    stack.write()
    return server


def objects(agnes):
    return [json.loads(line) for line in agnes.logs().splitlines()]


def test_each_event_is_an_object_with_what_is_known(agnes, sales):
    sales.always("/tables/orders.parquet", Fault(flip=5))
    with agnes.mount(sales.url, "prefetch=none", "log-format=json", "timeout=1s") as mount:
        reader = subprocess.Popen(["cat", mount / "data/sales/orders.parquet"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert reader.wait(30) != 0
        wait_for(lambda: any("could not be read" in found["message"] for found in objects(agnes)), 30)
        sales.close()
        agnes.run("refresh", mount.path, expect=4)
        found = objects(agnes)
    assert all({"time", "level", "message"} <= set(line) for line in found)
    assert all(line["mountpoint"] == str(mount.path) for line in found)
    mounted, = [line for line in found if line["message"].startswith("mounted ")]
    assert mounted["level"] == "info" and mounted["url"] == sales.url
    failed = next(line for line in found if line["message"].startswith("could not be read"))
    assert failed["level"] == "warning" and failed["errno"] == "EBADMSG"
    assert failed["path"] == "data/sales/orders.parquet" and failed["key"].startswith("md5-")
    assert failed["reader_pid"] == reader.pid
    refused, = [line for line in found if line["message"].startswith("refresh failed")]
    assert refused["level"] == "error" and refused["errno"] in ("EHOSTUNREACH", "ETIMEDOUT")


def test_the_last_words_are_an_object_too(agnes, sales):
    with agnes.mount(sales.url, "prefetch=none", "log-format=json") as mount:
        pid = mount.status()["pid"]
        os.kill(pid, signal.SIGABRT)
        wait_for(lambda: pid not in agnes.processes(), 30)
        line = next(line for line in agnes.logs().splitlines() if "killed by" in line)
        assert json.loads(line) | {"time": ""} == {"time": "", "level": "error",
                                                  "message": "killed by SIGABRT"}
        agnes.run("umount", "--lazy", mount.path, expect=None)


def test_the_level_changes_while_it_runs(agnes, sales, tmp_path):
    quiet = "refresh: nothing changed"
    with agnes.mount(sales.url, "prefetch=none") as mount:
        mount.refresh()
        assert mount.status()["log_level"] == "info" and quiet not in agnes.logs()
        agnes.run("refresh", mount.path, "--log-level", "debug")
        assert mount.status()["log_level"] == "debug" and f" debug {quiet}" in agnes.logs()
        agnes.config_home.joinpath("agnesfs").mkdir(parents=True)
        agnes.config_home.joinpath("agnesfs/config").write_text("log-level = error\n")
        mount.refresh()
        assert mount.status()["log_level"] == "debug"  # a file speaks of mounts to come
        agnes.run("refresh", mount.path, "--log-level=error")
        before = agnes.logs()
        stack_changes(sales)
        mount.refresh()
        assert agnes.logs() == before
        agnes.run("refresh", mount.path, "--log-level=loud", expect=2)


def stack_changes(server):
    manifest = server.site.folder / "manifest.json"
    document = json.loads(manifest.read_text())
    document["data_packages"] = []
    manifest.write_text(json.dumps(document))


class Journal:
    """A journal's socket, and programs that find it where systemd's is."""

    def __init__(self, folder):
        self.path = folder / "journal"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(30)

    def wrap(self, command):
        """Seen only by the command: it gets a /run of its own."""
        script = (f"mount -t tmpfs none /run && mkdir -p {JOURNAL} && touch {JOURNAL}/socket && "
                  f"mount --bind {shlex.quote(str(self.path))} {JOURNAL}/socket && "
                  f"exec {shlex.join(map(str, command))}")
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]

    def receive(self, text):
        """The fields of the first entry whose message begins so."""
        while True:
            fields = dict(line.split("=", 1)
                          for line in self.socket.recv(65536).decode().splitlines())
            if fields["MESSAGE"].startswith(text):
                return fields


@pytest.mark.parametrize("how", ["asked for", "found out"])
def test_the_journal_gets_fields_from_inside_the_sandbox(agnes, sales, tmp_path, how):
    folder = tmp_path / "agnes"
    folder.mkdir()
    journal = Journal(tmp_path)
    errors = open(tmp_path / "errors", "w")
    stat = os.fstat(errors.fileno())
    extra = ["--log-format", "journal"] if how == "asked for" else []
    command = [BINARY, "mount", sales.url, folder, "--foreground", "--refresh", "off",
               "--prefetch", "none", *extra]
    process = subprocess.Popen(
        journal.wrap(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
        env=agnes.env | {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"})
    try:
        fields = journal.receive("mounted ")
        assert fields["PRIORITY"] == "6" and fields["SYSLOG_IDENTIFIER"] == "agnesfs"
        assert fields["AGNESFS_MOUNTPOINT"] == str(folder)
        assert fields["AGNESFS_URL"] == sales.url
        agnes.run("refresh", folder, "--log-level", "debug")
        assert journal.receive("refresh: nothing changed")["PRIORITY"] == "7"
        stack_changes(sales)
        agnes.run("refresh", folder)
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert (tmp_path / "errors").read_text() == ""


def test_no_journal_where_one_is_asked_for_is_said(agnes, sales, tmp_path):
    (tmp_path / "agnes").mkdir()
    command = [BINARY, "mount", sales.url, tmp_path / "agnes", "--log-format", "journal"]
    result = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c",
         f"mount -t tmpfs none /run && exec {shlex.join(map(str, command))}"],
        env=agnes.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert result.returncode == 8
    assert result.stderr.startswith(f"agnesfs: {JOURNAL}/socket: No such file")
    assert "hint: without systemd's journal: --log-format text or json\n" in result.stderr
