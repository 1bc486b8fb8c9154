"""The server is gone: what was here is here, what was not says so at once, and all comes back."""

import errno
import os
import threading
import time

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.faultd import Fault, Server
from tests.lib.sites import Folder
from tests.lib.stack import raw

WARM = "data/sales/warm.parquet"
COLD = "data/sales/cold.parquet"


@pytest.fixture
def stack(stack):
    stack.add_package("sales", stack.add_table("warm", raw(b"warm" * 1000)),
                      stack.add_table("cold", raw(b"cold" * 1000)))
    return stack.write()


def again(stack, server):
    """The same server at the same address."""
    site = Server(Folder(stack.folder), "/manifest.json")
    return site


def error_of(path):
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno
    return None


def test_a_mount_without_its_server_shows_the_last_generation_at_once(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none") as mount:
        assert (mount / WARM).read_bytes()
    server.close()
    begin = time.monotonic()
    with agnes.mount(server.url, "prefetch=none") as mount:
        assert time.monotonic() - begin < 4
        assert (mount / WARM).read_bytes() == raw(b"warm" * 1000)
        wait_for(lambda: mount.status(expect=None)["state"] == "stale", what="stale")
        status = mount.status(expect=7)
        assert status["last_refresh"] and status["error"]
        begin = time.monotonic()
        assert error_of(mount / COLD) == errno.EIO
        assert time.monotonic() - begin < 2, "no waiting for a server that is known to be away"
        assert "could not reach" in mount.xattr(COLD, "error")
        assert os.stat(mount / COLD).st_size == len(raw(b"cold" * 1000))
        assert "could not reach" in agnes.run("status", mount.path, expect=7).out


def test_it_comes_back_by_itself(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none") as mount:
        server.always("*", Fault(status=503))
        agnes.run("refresh", mount.path, expect=4)
        assert mount.status(expect=7)["state"] == "stale"
        assert error_of(mount / COLD) == errno.EIO
        server.forget()
        wait_for(lambda: error_of(mount / COLD) is None, what="read again")
        mount.refresh()
        assert mount.status()["state"] == "ready"


def test_readers_of_resident_data_notice_nothing_of_an_outage(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none") as mount:
        assert (mount / WARM).read_bytes()
        server.always("*", Fault(reset=True))
        worst = 0
        for _ in range(200):
            begin = time.monotonic()
            assert (mount / WARM).read_bytes() == raw(b"warm" * 1000)
            os.listdir(mount / "data/sales")
            os.statvfs(mount.path)
            worst = max(worst, time.monotonic() - begin)
        assert worst < 0.5


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(reset=True), Fault(status=502)],
                         ids=["503", "reset", "502"])
def test_a_cold_read_outlasts_an_outage_within_its_deadline(agnes, stack, server, fault):
    with agnes.mount(server.url, "prefetch=none", "timeout=30s") as mount:
        server.always("/tables/*", fault)
        threading.Timer(6, server.forget).start()
        begin = time.monotonic()
        assert (mount / COLD).read_bytes() == raw(b"cold" * 1000)
        assert 5 < time.monotonic() - begin < 15
        assert server.count("/tables/*") < 12, "asked with pauses"


def test_without_news_a_refresh_is_one_request_and_no_write(agnes, stack, server):
    with agnes.mount(server.url) as mount:
        wait_for(lambda: mount.status()["resident_files"] == 2, what="filled")
        time.sleep(3.5)  # what came in the background is made durable

        def files():
            return {path: (path.stat().st_mtime_ns, path.stat().st_ino)
                    for path in [agnes.cache().root, *agnes.cache().root.rglob("*")]}

        before = files()
        server.clear()
        for _ in range(3):
            mount.refresh()
        assert server.count() == 3
        assert files() == before


def test_the_generation_file_changes_its_time_with_each_switch(agnes, stack, server):
    with agnes.mount(server.url) as mount:
        path = mount / ".agnes/generation"
        before, number = path.stat().st_mtime_ns, int(path.read_text())
        mount.refresh()
        assert path.stat().st_mtime_ns == before
        stack.add_table("warm", raw(b"new"))
        stack.write()
        mount.refresh()
        assert path.stat().st_mtime_ns > before
        assert int(path.read_text()) == number + 1
