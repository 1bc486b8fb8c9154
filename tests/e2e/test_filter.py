"""`only` and `except`: what is left out is withheld, costs nothing, and is nobody else's loss."""

import json
from pathlib import Path

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.stack import raw

ORDERS, CLICKS, WAGES = raw(b"orders"), raw(b"clicks"), raw(b"wages")
LEFT_OUT = {"left out: not in only", "left out: in except"}


@pytest.fixture
def many(stack):
    """Two packages that share a table, one in parts, a direct table without md5, two domains."""
    orders = stack.add_table("orders", ORDERS)
    stack.add_package("sales", orders, stack.add_table("clicks", {"a.parquet": CLICKS}))
    stack.add_package("hr", orders, stack.add_table("wages", WAGES))
    stack.add_direct(stack.add_table("prices", raw(b"prices"), md5="", hash=""))
    stack.add_domain("finance", "# Finance\n")
    stack.add_domain("law", "# Law\n")
    return stack.write()


def shown(mount):
    return {name for name in mount.names() if not name.endswith("/")}


def left_out(rows):
    return {row["name"] for row in rows if row.get("withheld") in LEFT_OUT}


def asked(server):
    return {request.path for request in server.requests}


# --- what it matches, and where it is said ---

@pytest.mark.parametrize("options,names", [
    (["only=sales/*"], {"data/sales/orders.parquet", "data/sales/clicks/a.parquet"}),
    (["only=*/orders"], {"data/sales/orders.parquet", "data/hr/orders.parquet"}),
    (["only=data/hr/*:finance/*"], {"data/hr/orders.parquet", "data/hr/wages.parquet",
                                    "memory/finance/bundle.md"}),
    (["except=*/wages:memory/*:_direct/*:sales/*"], {"data/hr/orders.parquet"}),
    (["only=data/*", "except=data/_direct/*:hr/*"], {"data/sales/orders.parquet",
                                                     "data/sales/clicks/a.parquet"}),
    (["only=no/such"], set()),
])
def test_what_is_shown(agnes, many, options, names):
    with agnes.mount(many.url, *options) as mount:
        assert shown(mount) == names
        status = mount.status()
        assert status["files"] == len({(mount / name).read_bytes() for name in names})
        assert [status["only"], status["except"]] == [
            next((option.split("=")[1] for option in options if option.startswith(key)), None)
            for key in ("only=", "except=")]
        for name in names:
            assert mount.nlink(name) == sum(Path(name).name == Path(other).name for other in names)
        assert (mount / "data/hr").is_dir(), "a package stays, and says what is left out"
        assert ("left out: " in (mount / "data/hr/README.md").read_text()) == (
            "data/hr/wages.parquet" not in names or "data/hr/orders.parquet" not in names)
        document = json.loads((mount / ".agnes/manifest.json").read_text())
        rows = [row for package in document["data_packages"] for row in package["tables"]]
        rows += document["direct_tables"] + document["memory_domains"]
        assert sum("withheld" not in row for row in rows) == len(names)
        views = (mount / ".agnes/duckdb.sql").read_text()
        assert ("wages" in views) == ("data/hr/wages.parquet" in names)


def test_flag_environment_and_file(agnes, many):
    def rows(*args):
        listed = agnes.run("ls", "--server", many.url, "--json", *args).json()["rows"]
        return {row["path"] for row in listed if row["path"]}

    agnes.sync(many.url)
    everything = rows()
    assert len(everything) == 7
    assert rows("--only", "law/*") == {"memory/law/bundle.md"}
    agnes.env["AGNESFS_EXCEPT"] = "*/*"
    assert rows() == set()
    agnes.env.pop("AGNESFS_EXCEPT")
    (agnes.config_home / "agnesfs").mkdir(parents=True)
    (agnes.config_home / "agnesfs/config").write_text("only = law/*:hr/*\n")
    assert rows() == {"memory/law/bundle.md", "data/hr/orders.parquet", "data/hr/wages.parquet"}
    assert rows("--only", "*") == everything


@pytest.mark.parametrize("list", [":", "a::b", "a:", "a" * 1025, ":".join("a" * 101)])
def test_what_is_no_list(agnes, many, list):
    result = agnes.run("sync", many.url, "--only", list, expect=2)
    assert "agnesfs: only and except: not at most 100 globs of at most 1024 bytes" in result.err
    assert "\nhint: --only 'sales/*:events/clicks'" in result.err


# --- what it costs ---

def test_what_is_left_out_is_never_asked_for(agnes, many, server):
    with agnes.mount(server.url, "only=sales/*", "prefetch=all") as mount:
        wait_for(lambda: mount.status()["resident_files"] == 2, 30, "it is prefetched")
        assert asked(server) == {"/manifest.json", "/tables/orders.parquet",
                                 "/tables/clicks/a.parquet"}
        assert not mount.refresh().document["changed"]
        many.add_table("wages", raw(b"other wages"))
        many.add_domain("law", "# Other law\n")
        many.write()
        report = mount.refresh()
        assert not any(report.counts(section).get("updated") for section in report.document
                       if isinstance(report.document[section], dict))
        assert len(asked(server)) == 3
        assert {line.reason for line in report.skipped} == {"left out: not in only"}
        assert {(line.section, line.group, line.name) for line in report.skipped} == {
            ("data_packages", "hr", "orders"), ("data_packages", "hr", "wages"),
            ("direct_tables", "", "prices"), ("memory_domains", "", "finance"),
            ("memory_domains", "", "law")}


def test_what_is_left_out_is_not_staged_when_it_changes(agnes, many, server):
    agnes.sync(server.url)
    with agnes.mount(server.url, "only=sales/*", "prefetch=none") as mount:
        mount.refresh()
        before = len(server.requests)
        many.add_table("wages", raw(b"other wages"))
        many.add_table("prices", raw(b"other prices"), md5="", hash="")
        many.write()
        mount.refresh()
        assert {request.path for request in server.requests[before:]} == {"/manifest.json"}
        assert mount.status()["generation"] == 3


def test_sync_verify_pin_and_export_follow(agnes, many, server, tmp_path):
    report = agnes.sync(server.url, "--only", "hr/wages")
    assert report.counts("data_packages") == {"added": 1, "skipped": 3}
    assert agnes.cache().contents() == [WAGES]
    assert agnes.verify(server.url, "--only", "hr/*", expect=9).findings == {
        ("missing blob", str(agnes.cache().blob(ORDERS).relative_to(agnes.cache().root)))}
    assert agnes.verify(server.url, "--only", "hr/wages").findings == set()
    agnes.run("export", server.url, tmp_path / "copy", "--only", "hr/wages", "--quiet")
    assert (tmp_path / "copy/data/hr/wages.parquet").read_bytes() == WAGES
    assert not (tmp_path / "copy/data/sales/orders.parquet").exists()
    result = agnes.run("pin", "sales/*", "--server", server.url, "--only", "hr/wages", expect=1)
    assert "nothing listed matches it" in result.err
    agnes.run("pin", "hr/*", "--server", server.url, "--only", "hr/wages")
    assert agnes.cache().contents() == [WAGES]


# --- others who look ---

def test_a_changed_filter_withdraws_nothing_and_fetches_nothing_again(agnes, many, server):
    agnes.sync(server.url)
    before = agnes.cache().blobs()
    asked_before = len(server.requests)
    with agnes.mount(server.url, "only=hr/*", "prefetch=none") as mount:
        mount.refresh()
        assert len(shown(mount)) == 2
        assert set(agnes.cache().blobs()) >= {key for key in before if key.startswith("md5")}
    with agnes.mount(server.url, "prefetch=none") as mount:
        wait_for(lambda: len(shown(mount)) == 7, 30, "all is shown again")
        tables = {request.path for request in server.requests[asked_before:]
                  if request.path.endswith(".parquet")}
        assert tables <= {"/tables/prices.parquet"}, "of that one only the bytes tell what it is"


@pytest.mark.parametrize("first,second", [("only=sales/*", "except=sales/*"),
                                          ("except=sales/*", "only=sales/*")])
def test_two_mounts_of_one_cache_each_show_their_own(agnes, many, server, tmp_path, first, second):
    other = tmp_path / "second"
    other.mkdir()
    with agnes.mount(server.url, first, "prefetch=none") as one:
        with agnes.mount(server.url, second, "prefetch=none", path=other) as two:
            tables = {"only=sales/*": {"data/sales/orders.parquet", "data/sales/clicks/a.parquet"},
                      "except=sales/*": {"data/hr/orders.parquet", "data/hr/wages.parquet"}}
            for mount, options in ((one, first), (two, second)):
                found = {name for name in shown(mount) if name.startswith("data/")}
                assert found - {"data/_direct/prices.parquet"} == tables[options]
                for name in found:
                    assert (mount / name).read_bytes()
            many.add_table("wages", raw(b"other wages"))
            many.add_table("clicks", {"a.parquet": raw(b"other clicks")})
            many.write()
            one.refresh()
            wait_for(lambda: two.status()["generation"] == one.status()["generation"], 30,
                     "the other one follows")
            contents = one.files() | two.files()
            assert contents["data/hr/wages.parquet"] == raw(b"other wages")
            assert contents["data/sales/clicks/a.parquet"] == raw(b"other clicks")
            assert len(agnes.caches()) == 1


def test_ls_of_a_mount_lists_what_it_shows(agnes, many):
    with agnes.mount(many.url, "only=sales/*") as mount:
        rows = agnes.run("ls", mount.path, "--json").json()["rows"]
        assert {row["path"] for row in rows if row["path"]} == {"data/sales/orders.parquet",
                                                               "data/sales/clicks"}
        assert left_out(rows) == {"orders", "wages", "prices", "finance", "law"}
