"""Requests by io_uring: off unless it is asked for, and the same answers with it."""

import contextlib
import os
from pathlib import Path

import pytest

from tests.lib.stack import raw

SWITCH = Path("/sys/module/fuse/parameters/enable_uring")


@pytest.fixture
def stack(stack):
    stack.add_package("sales", *(stack.add_table(f"t{i}", raw(b"%d" % i * 200_000))
                                 for i in range(20)))
    return stack.write()


@contextlib.contextmanager
def kernel_offers_it(offered):
    if not offered and not SWITCH.exists():
        yield
        return
    if os.geteuid() != 0 or not SWITCH.exists():
        pytest.skip("root and Linux 6.14 or newer needed")
    before = SWITCH.read_text().strip()
    SWITCH.write_text("Y" if offered else "N")
    try:
        yield
    finally:
        SWITCH.write_text(before)


def facts(mount):
    found = mount.status()["mount"]
    return found["io_uring"], found["io_uring_why_not"]


def test_it_is_off_unless_asked_for(agnes, stack):
    with kernel_offers_it(True), agnes.mount(stack.url) as mount:
        assert facts(mount) == (False, "not asked for (-o io-uring)")


def test_all_is_the_same_with_it(agnes, stack):
    with kernel_offers_it(True), agnes.mount(stack.url, "io-uring,prefetch=none") as mount:
        assert facts(mount) == (True, None)
        for number in range(20):  # cold, then warm
            for _ in range(2):
                path = mount / f"data/sales/t{number}.parquet"
                assert path.read_bytes() == raw(b"%d" % number * 200_000)
        assert len(os.listdir(mount / "data/sales")) == 21
        assert "requests    by io_uring" in agnes.run("status", mount.path).out
        stack.add_table("t0", raw(b"newer"))
        stack.write()
        mount.refresh()
        assert (mount / "data/sales/t0.parquet").read_bytes() == raw(b"newer")


def test_where_the_kernel_does_not_offer_it_requests_come_the_usual_way(agnes, stack):
    with kernel_offers_it(False), agnes.mount(stack.url, "io-uring") as mount:
        assert facts(mount) == (
            False, "the kernel does not offer it (Linux 6.14, fuse.enable_uring=1)")
        assert (mount / "data/sales/t1.parquet").read_bytes() == raw(b"1" * 200_000)
