"""Where a token is not to be found, of processes that have one: their environment, their command
line, their core. For messages, files and other hosts see test_network.py.
"""

import os
import resource
import secrets
import signal
import subprocess

import pytest

from tests.lib.agnes_server import AgnesServer
from tests.lib.agnesfs import wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

TOKEN = f"canary-{secrets.token_hex(16)}"


@pytest.fixture
def server():
    with AgnesServer(token=TOKEN) as server:
        server.add_package("sales")
        server.add_table("orders", raw(b"orders"), packages=["sales"])
        yield server


@pytest.fixture(params=["file", "environment"])
def given(agnes, request):
    """The token, by the two ways that there are."""
    if request.param == "file":
        agnes.write_token(TOKEN)
    else:
        agnes.env["AGNES_TOKEN"] = TOKEN
    return request.param


@pytest.fixture
def cores():
    """As many as anybody likes."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


def seen(pid):
    """What everybody of the same user may see of a process."""
    found = b""
    for name in ("environ", "cmdline", "comm", "status", "maps"):
        with open(f"/proc/{pid}/{name}", "rb") as file:
            found += file.read()
    return found


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(text) for text in file.read().split()]


def dumps_core(process):
    process.send_signal(signal.SIGABRT)
    status = os.waitpid(process.pid, 0)[1]
    process.returncode = -os.WTERMSIG(status)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status)


def test_a_mount_does_not_show_it(agnes, server, given):
    with agnes.mount(server.url, "prefetch=none") as mount:
        assert (mount / "data/sales/orders.parquet").read_bytes() == raw(b"orders")
        [daemon] = agnes.processes()
        assert TOKEN.encode() not in seen(daemon)
        mount.refresh()
    sent = {request.headers["authorization"] for request in server.requests}
    assert sent == {f"Bearer {TOKEN}"}, "it was the token"


@pytest.mark.parametrize("verb", [["sync", "{url}"], ["mount", "{url}", "{folder}"],
                                  ["stack", "list", "--server", "{url}"]], ids=lambda verb: verb[0])
def test_nor_does_a_verb_that_waits(agnes, server, given, verb):
    server.always("*", Fault(delay=30))
    folder = agnes.folder / "agnes"
    folder.mkdir()
    process = agnes.start(*[word.format(url=server.url, folder=folder) for word in verb])
    wait_for(lambda: server.count() > 0, what="its request")
    for pid in [process.pid, *children_of(process.pid)]:
        assert TOKEN.encode() not in seen(pid)
    agnes.run("umount", folder, expect=None)
    process.terminate()
    process.wait(5)


def test_a_core_is_not_left_behind(agnes, server, given, cores):
    server.always("*", Fault(delay=30))
    process = agnes.start("sync", server.url)
    wait_for(lambda: server.count() > 0, what="its request")
    assert not dumps_core(process)


def test_nor_by_a_mount(agnes, server, given, cores):
    folder = agnes.folder / "agnes"
    folder.mkdir()
    process = agnes.start("mount", server.url, folder, "--foreground", "-o", "refresh=off")
    wait_for(lambda: str(folder) in agnes.mountpoints(), what="the mount")
    assert not dumps_core(process)
    agnes.clean_up()
    assert not list(agnes.home.glob("core*"))


def test_of_a_client_that_takes_no_care_all_of_that_is_found(agnes, cores):
    """The control."""
    process = subprocess.Popen(["sleep", "60"], cwd=agnes.home, env={"AGNES_TOKEN": TOKEN})
    wait_for(lambda: TOKEN.encode() in seen(process.pid), what="a token in what is seen of sleep")
    assert dumps_core(process)
    for core in agnes.home.glob("core*"):
        assert TOKEN.encode() in core.read_bytes()
