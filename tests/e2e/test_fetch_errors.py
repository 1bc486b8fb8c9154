"""One table that can not be had is the trouble of that table alone."""

import pytest

from tests.lib.faultd import Fault
from tests.lib.stack import raw

OLD, NEW = raw(b"old orders"), raw(b"new orders, and more of them")
PATH = "/tables/orders.parquet"
ORDERS = "data/sales/orders.parquet"


@pytest.fixture
def source(agnes, stack, server):
    """A stack that was synced once, and now has news that can not be fetched."""
    stack.add_package("sales", stack.add_table("orders", OLD))
    stack.add_package("events", stack.add_table("clicks", raw(b"old clicks")))
    stack.add_domain("finance", "# Finance\n")
    stack.write()
    agnes.sync(server.url)
    stack.add_table("orders", NEW)
    stack.add_table("clicks", raw(b"new clicks"))
    stack.write()
    server.always(PATH, Fault(status=404))
    server.clear()
    return server


def test_failed_table_keeps_its_last_good_content_and_others_sync(agnes, source):
    report = agnes.sync(source.url, expect=1)
    assert [(line.group, line.name) for line in report.errors] == [("sales", "orders")]
    assert report.counts("data_packages") == {"updated": 1, "unchanged": 1}
    assert agnes.cache().contents() == sorted([OLD, raw(b"new clicks"), b"# Finance\n"])
    assert "orders" in agnes.cache().state()["data_packages"]["sales"]
    with agnes.mount(source.url) as mount:
        assert (mount / ORDERS).read_bytes() == OLD
        assert (mount / "data/events/clicks.parquet").read_bytes() == raw(b"new clicks")


def test_failed_table_withdrawn_later_goes(agnes, stack, source):
    agnes.sync(source.url, expect=1)
    del stack.packages["sales"]
    stack.write()
    report = agnes.sync(source.url)
    assert report.counts("data_packages") == {"removed": 1, "unchanged": 1}
    assert OLD not in agnes.cache().contents()
    with agnes.mount(source.url) as mount:
        assert not (mount / ORDERS).exists()


def test_failed_bundle_keeps_its_content_and_goes_when_withdrawn(agnes, stack, source):
    source.forget()
    stack.add_domain("finance", "# Finance, new\n")
    stack.add_domain("support", "# Support\n")
    stack.write()
    source.always("/memory/finance.md", Fault(status=404))
    report = agnes.sync(source.url, expect=1)
    assert [line.name for line in report.errors] == ["finance"]
    assert report.counts("memory_domains") == {"added": 1, "unchanged": 1}
    assert b"# Finance\n" in agnes.cache().contents()
    del stack.domains["finance"]
    stack.write()
    assert agnes.sync(source.url).counts("memory_domains") == {"removed": 1, "unchanged": 1}
    assert b"# Finance\n" not in agnes.cache().contents()


def test_failed_table_that_recovers_is_updated_not_added(agnes, source):
    agnes.sync(source.url, expect=1)
    source.forget()
    report = agnes.sync(source.url)
    assert report.counts("data_packages") == {"updated": 1, "unchanged": 1}
    assert NEW in agnes.cache().contents()
    assert OLD not in agnes.cache().contents()


def test_new_table_that_fails_is_reported_and_tried_again(agnes, stack, source):
    source.forget()
    stack.packages["sales"]["tables"].append(stack.add_table("refunds", raw(b"refunds")))
    stack.write()
    source.always("/tables/refunds.parquet", Fault(status=404))
    report = agnes.sync(source.url, expect=1)
    assert [line.name for line in report.errors] == ["refunds"]
    assert NEW in agnes.cache().contents()
    source.forget()
    assert agnes.sync(source.url).errors == []
    assert raw(b"refunds") in agnes.cache().contents()


def test_partitioned_table_switches_all_its_parts_or_none(agnes, stack, server):
    stack.add_package("events", stack.add_table("clicks", {"a.parquet": raw(b"1"),
                                                           "b.parquet": raw(b"1 too")}))
    stack.write()
    agnes.sync(server.url)
    stack.add_table("clicks", {"a.parquet": raw(b"2"), "b.parquet": raw(b"2 too")})
    stack.write()
    server.always("/tables/clicks/b.parquet", Fault(status=404))
    report = agnes.sync(server.url, expect=1)
    assert [line.name for line in report.errors] == ["clicks"]
    with agnes.mount(server.url) as mount:
        assert mount.files() == {"data/events/clicks/a.parquet": raw(b"1"),
                                 "data/events/clicks/b.parquet": raw(b"1 too")}


PASSING = {
    "status 503": Fault(status=503),
    "connection reset": Fault(reset=True),
    "reset in the middle": Fault(cut=9, reset=True),
    "cut short": Fault(cut=9),
    "length too long": Fault(length=5),
}


@pytest.mark.parametrize("what", PASSING)
def test_trouble_that_passes_is_no_error(agnes, source, what):
    source.forget()
    source.script(PATH, PASSING[what])
    report = agnes.sync(source.url)
    assert report.errors == []
    assert report.counts("data_packages") == {"updated": 2}
    assert source.count(PATH) == 2
    assert NEW in agnes.cache().contents()


def test_cut_transfer_resumes_where_it_ended(agnes, source):
    source.forget()
    source.script(PATH, Fault(cut=9))
    agnes.sync(source.url)
    first, second = source.matching(PATH)
    assert (first.sent, second.range, second.status) == (9, "bytes=9-", 206)
    assert second.headers["if-range"].startswith('"')
    assert source.sent(PATH) == len(NEW)


LASTING = {
    "login page": Fault(html=True),
    "compressed": Fault(gzip=True),
    "redirect": Fault(redirect="/tables/clicks.parquet"),
    "too long": Fault(body=NEW + NEW),
    "forbidden": Fault(status=403),
}


@pytest.mark.parametrize("what", LASTING)
def test_wrong_answer_changes_nothing_readable(agnes, source, what):
    source.forget()
    source.always(PATH, LASTING[what])
    report = agnes.sync(source.url, expect=None)
    assert [line.name for line in report.errors] == ["orders"]
    assert agnes.cache().contents() == sorted([OLD, raw(b"new clicks"), b"# Finance\n"])
