"""pin, unpin, and what ls says of both."""

import random

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.stack import raw

MIB = 1 << 20
TABLES = {f"t{index}": raw(random.Random(index).randbytes(MIB)) for index in range(10)}
BOUND = f"cache-size={5 * MIB}"


@pytest.fixture
def stack(stack):
    stack.add_package("many", *(stack.add_table(name, content) for name, content in TABLES.items()))
    stack.add_package("other", stack.add_table("small", raw(b"small")))
    return stack.write()


def path_of(name):
    return f"data/many/{name}.parquet"


def read_all(mount):
    for name, content in TABLES.items():
        assert (mount / path_of(name)).read_bytes() == content


def listed(agnes, *args):
    return {row["path"]: row for row in agnes.run("ls", *args, "--json").json()["rows"]}


def test_what_is_pinned_is_fetched_and_stays(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none", BOUND, "min-free=0") as mount:
        agnes.run("pin", "many/t[12]", mount.path)
        assert server.count("/tables/*") == 2
        for name in ("t1", "t2"):
            assert mount.xattr(path_of(name), "state") == "resident"
        read_all(mount)
        read_all(mount)
        assert server.count("/tables/t1.parquet") == 1
        assert server.count("/tables/t2.parquet") == 1
        rows = listed(agnes, mount.path)
        assert rows[path_of("t1")]["pinned"] and not rows[path_of("t3")]["pinned"]
        text = agnes.run("ls", mount.path).out
        assert any("t1.parquet" in line and "pinned" in line for line in text.splitlines())


def test_unpinned_it_goes_like_the_others(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none", BOUND, "min-free=0") as mount:
        agnes.run("pin", path_of("t1"), mount.path)
        agnes.run("unpin", path_of("t1"), mount.path)
        read_all(mount)
        read_all(mount)
        assert server.count("/tables/t1.parquet") > 1
        assert not listed(agnes, mount.path)[path_of("t1")]["pinned"]


def test_pins_outlive_the_mount_and_the_cache(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none") as mount:
        agnes.run("pin", "many/t3", mount.path)
    with agnes.mount(server.url, "prefetch=pinned") as mount:
        stack.add_table("t3", raw(b"newer"))
        stack.write()
        mount.refresh()
        wait_for(lambda: mount.xattr(path_of("t3"), "state") == "resident", what="fetched unasked")
        assert mount.xattr(path_of("t4"), "state") == "cold"


def test_without_a_mount_too(agnes, stack, server):
    agnes.sync(server.url, "--dry-run")
    agnes.run("pin", "other/*", "--server", server.url)
    assert agnes.cache().contents() == [raw(b"small")]
    assert listed(agnes, "--server", server.url)["data/other/small.parquet"]["pinned"]
    agnes.run("unpin", "other/*", "--server", server.url)
    assert not listed(agnes, "--server", server.url)["data/other/small.parquet"]["pinned"]


@pytest.mark.parametrize("mounted", [True, False], ids=["by the mount", "without one"])
def test_what_can_not_be_pinned_is_said(agnes, stack, server, mounted):
    where = ["--server", server.url]
    if mounted:
        mount = agnes.mount(server.url, "prefetch=none")
        where = [mount.path]
    else:
        agnes.sync(server.url)
    result = agnes.run("pin", "nothing/*", *where, expect=1)
    assert result.err == ("agnesfs: nothing/*: nothing listed matches it\n"
                          "hint: agnesfs ls shows what there is\n")
    result = agnes.run("unpin", "many/t1", *where, expect=1)
    assert "was not pinned" in result.err
    assert "GLOB is missing" in agnes.run("pin", expect=2).err
    if mounted:
        mount.umount()


def test_pinned_data_is_there_offline(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none") as mount:
        agnes.run("pin", "many/t5", mount.path)
        server.close()
        assert (mount / path_of("t5")).read_bytes() == TABLES["t5"]
