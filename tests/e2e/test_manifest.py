"""`.agnes/manifest.json`: what the folder shows, as the manifest of a static stack."""

import json
import os
from pathlib import Path

import pytest

from tests.lib.agnes_server import AgnesServer
from tests.lib.agnesfs import BINARY, Agnesfs, wait_for
from tests.lib.stack import Stack, raw

SAMPLE = Path(__file__).resolve().parents[1] / "data/sample"
MANIFEST = ".agnes/manifest.json"
ROW_KEYS = ("id", "name", "rows", "updated", "query_mode")


@pytest.fixture
def other(tmp_path):
    """A second user, as it were: another home, another cache."""
    folder = tmp_path / "other"
    folder.mkdir()
    agnes = Agnesfs(folder)
    yield agnes
    left = agnes.clean_up()
    assert not left, f"left behind: {left}"


def manifest(mount):
    return json.loads((mount / MANIFEST).read_text())


def rows(document):
    """{(section, package, name): row} of all there is."""
    found = {("data_packages", package["slug"], row["name"]): row
             for package in document["data_packages"] for row in package["tables"]}
    found |= {("direct_tables", "", row["name"]): row for row in document["direct_tables"]}
    found |= {("memory_domains", "", row["slug"]): row for row in document["memory_domains"]}
    return found | {("knowledge_artifacts", row["kind"], row.get("corpus_id") or row["slug"]): row
                    for row in document["knowledge_artifacts"]}


def facts(mount):
    """What stat and the attributes say of each table, and the withheld rows with their reasons."""
    names = ("md5", "table_id", "rows", "updated", "query_mode", "references")
    found = {}
    for path in mount.files():
        stat = (mount / path).stat()
        values = {}
        for name in names:
            try:
                values[name] = mount.xattr(path, name)
            except OSError:
                values[name] = None
        found[path] = (stat.st_ino, stat.st_size, stat.st_nlink, values)
    return found, sorted(map(str, mount.status(expect=None)["withheld"]))


def assert_is_the_same_stack(one, two):
    assert two.names() == one.names()
    assert two.files() == one.files()
    assert facts(two) == facts(one)
    for readme in one.path.glob("data/*/README.md"):
        assert (two / readme.relative_to(one.path)).read_text() == readme.read_text()
    again = manifest(two) | {"source": manifest(one)["source"]}
    assert again == manifest(one)


@pytest.fixture
def everything(stack):
    """Tables in parts, without md5, shared, with odd names, withheld; bundles; a database."""
    orders = stack.add_table("orders", raw(b"orders"), access_policy=True)
    clicks = stack.add_table("clicks", {"month=2026-06/data.parquet": raw(b"june"),
                                        "month=2026-07/data.parquet": raw(b"july")})
    odd = stack.add_table("Umsätze & mehr 100%", raw(b"odd"), id="t_odd", updated=None)
    stack.add_package("sales", orders, clicks, odd, description="Who *bought* what")
    stack.add_package("marketing", orders, requirement="available")
    stack.add_package("hr", stack.add_table("wages", raw(), server_only=True),
                      stack.add_table("never"), stack.add_table("far", raw(), query_mode="remote"))
    stack.add_package("empty")
    stack.add_direct(stack.add_table("prices", raw(b"prices"), md5="", hash=""))
    stack.add_domain("finance", "# Finance\n", description="How we count")
    stack.add_domain("R&D notes", "# Notes\n", bundle_url="memory/R%26D%20notes.md")
    stack.add_chunks("handbook", b"\0" * 8 + b"DUCK" + b"\0" * 64)
    return stack.write()


# --- what it says ---

def test_it_has_every_row_and_where_it_lies(agnes, everything):
    with agnes.mount(everything.url) as mount:
        document = manifest(mount)
        assert document["version"] == 1
        assert document["generation"] == mount.status()["generation"]
        assert document["source"] == everything.url
        found = rows(document)
        for key, row in rows(everything.manifest()).items():
            assert key in found
            for name in ROW_KEYS:
                assert found[key].get(name) == row.get(name) or not row.get(name), (key, name)
        orders = found["data_packages", "sales", "orders"]
        assert orders["md5"] == everything.rows["orders"]["md5"]
        assert orders["size_bytes"] == len(raw(b"orders"))
        assert orders["access_policy"] is True
        assert (mount / ".agnes" / orders["parquet_url"]).read_bytes() == raw(b"orders")
        clicks = found["data_packages", "sales", "clicks"]
        assert clicks["parts"] == everything.rows["clicks"]["parts"]
        assert found["data_packages", "hr", "wages"]["withheld"].startswith("kept on the server")
        assert "parquet_url" not in found["data_packages", "hr", "wages"]
        assert found["data_packages", "hr", "never"]["withheld"] == "never synced on the server"
        assert "md5" not in found["direct_tables", "", "prices"]


def test_size_and_bytes_are_of_one_generation(agnes, everything):
    with agnes.mount(everything.url) as mount:
        with open(mount / MANIFEST, "rb") as old:
            before = os.fstat(old.fileno())
            everything.add_package("more", everything.add_table("new", raw(b"new")))
            everything.write()
            mount.refresh()
            after = (mount / MANIFEST).stat()
            text = (mount / MANIFEST).read_bytes()
            assert after.st_size == len(text) > before.st_size
            assert b'"more"' in text
            first = old.read()
        assert len(first) == before.st_size
        assert b'"more"' not in first


def test_it_is_the_same_text_until_there_is_news(agnes, everything):
    with agnes.mount(everything.url) as mount:
        before = (mount / MANIFEST).stat()
        text = (mount / MANIFEST).read_text()
        mount.refresh()
        after = (mount / MANIFEST).stat()
        assert (mount / MANIFEST).read_text() == text
        assert (after.st_ino, after.st_size, after.st_mtime) == (
            before.st_ino, before.st_size, before.st_mtime)


# --- the folder is a static stack ---

def test_what_is_mounted_from_it_is_the_same_stack(agnes, other, everything):
    with agnes.mount(everything.url) as mount:
        with other.mount(mount / MANIFEST) as again:
            assert_is_the_same_stack(mount, again)


def test_the_sample_mounted_from_a_mount_and_that_once_more(agnes, other, tmp_path):
    with agnes.mount(SAMPLE) as mount:
        with other.mount(f"file://{mount.path}/{MANIFEST}") as again:
            assert_is_the_same_stack(mount, again)
            third = tmp_path / "third"
            third.mkdir()
            with agnes.mount(again / MANIFEST, path=third) as last:
                assert_is_the_same_stack(again, last)


def test_it_can_be_synced_and_exported(agnes, other, everything, tmp_path):
    with agnes.mount(everything.url) as mount:
        report = other.sync(f"file://{mount.path}/{MANIFEST}")
        assert report.errors == []
        other.run("export", mount / MANIFEST, tmp_path / "copy", "--quiet")
        assert (tmp_path / "copy/data/sales/orders.parquet").read_bytes() == raw(b"orders")


def test_a_servers_bundles_and_digests_are_taken_as_they_are(agnes, other):
    agnes.write_token("a-token")
    with AgnesServer() as server:
        server.add_package("sales")
        server.add_table("orders", raw(b"orders"), packages=["sales"])
        server.add_domain("finance")
        server.add_digest("weekly", "## Revenue\n\nIs net.\n", status="stale")
        with agnes.mount(server.url, "report=off") as mount:
            assert "knowledge/weekly.md" in mount.names()
            with other.mount(mount / MANIFEST) as again:
                assert_is_the_same_stack(mount, again)


def test_a_server_from_before_packages(agnes, other, stack):
    stack.add_table("orders", raw(b"orders"))
    stack.add_table("clicks", raw(b"clicks"))
    stack.write(data_packages=None, direct_tables=None, memory_domains=None,
                knowledge_artifacts=None)
    flat = json.loads((stack.folder / "manifest.json").read_text())
    for name, row in flat["tables"].items():
        row["parquet_url"] = f"tables/{name}.parquet"
    stack.write_manifest({"tables": flat["tables"]})
    with agnes.mount(stack.url) as mount, other.mount(mount / MANIFEST) as again:
        assert mount.names() >= {"data/_tables/orders.parquet", "data/_tables/clicks.parquet"}
        assert again.files() == mount.files()


# --- what it costs ---

def memory(mount):
    """KiB that are the process's alone; under ASan, which keeps what was freed, that says nothing."""
    if "asan" in str(BINARY):
        return 0
    status = Path(f"/proc/{mount.status()['pid']}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


def test_a_large_one_costs_memory_only_while_it_is_open(agnes, tmp_path):
    stack = Stack(tmp_path / "stack")
    row = stack.add_table("orders", raw(b"orders"))
    tables = [row | {"id": f"t{i}", "name": f"table {i:05}"} for i in range(20_000)]
    stack.add_package("big", *tables)
    stack.write(tables={})
    with agnes.mount(stack.url, "prefetch=none") as mount:
        (mount / ".agnes/generation").read_text()
        before = memory(mount)
        size = (mount / MANIFEST).stat().st_size
        assert size > 4_000_000
        opened = [open(mount / MANIFEST, "rb") for _ in range(20)]
        texts = {file.read() for file in opened}
        held = memory(mount)
        for file in opened:
            file.close()
        wait_for(lambda: memory(mount) < before + size // 1024 // 2, 30, "it is given back")
        assert len(texts) == 1
        assert len(texts.pop()) == size
        assert held < before + 4 * size // 1024, "one text for all of them"
