"""Tables granted outside any package."""

import pytest

from tests.lib.stack import raw


def test_first_sync_adds(agnes, stack, server):
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    stack.add_direct(stack.add_table("rates", raw(b"rates")))
    stack.write()
    report = agnes.sync(server.url)
    assert report.counts("direct_tables") == {"added": 2}
    assert report.bytes == len(raw(b"prices")) + len(raw(b"rates"))
    assert agnes.cache().contents() == [raw(b"prices"), raw(b"rates")]
    assert set(agnes.cache().state()["direct_tables"]) == {"prices", "rates"}
    with agnes.mount(server.url) as mount:
        assert mount.files() == {"data/_direct/prices.parquet": raw(b"prices"),
                                 "data/_direct/rates.parquet": raw(b"rates")}


def test_same_manifest_again_fetches_nothing_and_reports_all_unchanged(agnes, stack, server):
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    stack.add_direct(stack.add_table("rates", raw(b"rates")))
    stack.write()
    agnes.sync(server.url)
    server.clear()
    report = agnes.sync(server.url)
    assert report.counts("direct_tables") == {"unchanged": 2}
    assert report.bytes == 0
    assert [request.path for request in server.requests] == ["/manifest.json"]


def test_changed_md5_refetches_and_counts_as_updated(agnes, stack, server):
    stack.add_direct(stack.add_table("prices", raw(b"old")))
    stack.add_direct(stack.add_table("rates", raw(b"rates")))
    stack.write()
    agnes.sync(server.url)
    stack.add_table("prices", raw(b"new"))
    stack.write()
    server.clear()
    report = agnes.sync(server.url)
    assert report.counts("direct_tables") == {"updated": 1, "unchanged": 1}
    assert report.bytes == len(raw(b"new"))
    assert server.count("/tables/*") == server.count("/tables/prices.parquet") == 1
    assert agnes.cache().contents() == [raw(b"new"), raw(b"rates")]


def test_row_that_leaves_is_removed_and_its_blob_goes(agnes, stack, server):
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    stack.add_direct(stack.add_table("rates", raw(b"rates")))
    stack.write()
    agnes.sync(server.url)
    stack.direct_tables.pop(0)
    stack.write()
    report = agnes.sync(server.url)
    assert report.counts("direct_tables") == {"removed": 1, "unchanged": 1}
    assert agnes.cache().contents() == [raw(b"rates")]
    with agnes.mount(server.url) as mount:
        assert mount.files() == {"data/_direct/rates.parquet": raw(b"rates")}


WITHHELD = {
    "remote": {"query_mode": "remote"},
    "internal": {"query_mode": "internal"},
    "server_only": {"server_only": True},
}


@pytest.mark.parametrize("why", WITHHELD)
def test_withheld_table_is_skipped_with_the_reason(agnes, stack, server, why):
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    stack.add_direct(stack.add_table("ledger", raw(b"ledger"), **WITHHELD[why]))
    stack.write()
    report = agnes.sync(server.url)
    assert report.counts("direct_tables") == {"added": 1, "skipped": 1}
    assert [line.name for line in report.skipped] == ["ledger"]
    assert why in report.skipped[0].reason
    assert report.errors == []
    assert server.count("/tables/ledger.parquet") == 0
    assert agnes.cache().contents() == [raw(b"prices")]
    with agnes.mount(server.url) as mount:
        assert mount.files() == {"data/_direct/prices.parquet": raw(b"prices")}


@pytest.mark.parametrize("why", WITHHELD)
def test_row_that_turns_withheld_loses_its_name_and_its_blob(agnes, stack, server, why):
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    ledger = stack.add_direct(stack.add_table("ledger", raw(b"ledger")))
    stack.write()
    with agnes.mount(server.url) as mount:
        assert (mount / "data/_direct/ledger.parquet").read_bytes() == raw(b"ledger")
        ledger.update(WITHHELD[why])
        stack.write()
        report = mount.refresh()
        assert report.counts("direct_tables") == {"removed": 1, "unchanged": 1, "skipped": 1}
        assert mount.files() == {"data/_direct/prices.parquet": raw(b"prices")}
        assert agnes.cache().contents() == [raw(b"prices")]


def test_row_that_turns_withheld_leaves_the_blob_to_other_names(agnes, stack, server):
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    orders = stack.add_table("orders", raw(b"orders"))
    stack.add_direct({**orders, "server_only": False})
    withheld = stack.add_package("sales", {**orders})["tables"][0]
    stack.write()
    agnes.sync(server.url)
    withheld["server_only"] = True
    stack.write()
    server.clear()
    report = agnes.sync(server.url)
    assert report.counts("data_packages") == {"removed": 1, "skipped": 1}
    assert server.count("/tables/*") == 0
    with agnes.mount(server.url) as mount:
        assert mount.files() == {"data/_direct/prices.parquet": raw(b"prices"),
                                 "data/_direct/orders.parquet": raw(b"orders")}
        assert mount.nlink("data/_direct/orders.parquet") == 1
