"""What a table's bytes must be before they count."""

import pytest

from tests.lib.faultd import Fault
from tests.lib.stack import DROP, md5, raw

OLD, NEW = raw(b"the old content"), raw(b"the new content, and longer")
PATH = "/tables/orders.parquet"
ORDERS = "data/sales/orders.parquet"


def publish(stack, content, **fields):
    stack.packages.setdefault("sales", stack.add_package("sales"))
    row = stack.add_table("orders", content, **fields)
    stack.packages["sales"]["tables"] = [row]
    return stack.write()


@pytest.mark.parametrize("fields", [{}, {"md5": DROP}, {"hash": DROP}, {"md5": ""}, {"md5": None},
                                    {"md5": md5(OLD).upper()}])
def test_md5_or_hash(agnes, stack, server, fields):
    publish(stack, OLD, **fields)
    agnes.sync(server.url)
    assert agnes.cache().blob(OLD).read_bytes() == OLD


def test_mismatch_never_replaces_the_last_good_copy(agnes, stack, server):
    publish(stack, OLD)
    with agnes.mount(server.url) as mount:
        assert (mount / ORDERS).read_bytes() == OLD
        publish(stack, NEW)
        server.always(PATH, Fault(flip=7))
        server.clear()
        report = mount.refresh(expect=9)
        assert [(line.group, line.name) for line in report.errors] == [("sales", "orders")]
        assert report.counts("data_packages") == {"unchanged": 1}
        assert server.count(PATH) == 2, "it is retried, once"
        assert (mount / ORDERS).read_bytes() == OLD
        assert agnes.cache().contents() == [OLD]
        server.forget()
        report = mount.refresh()
        assert report.counts("data_packages") == {"updated": 1}
        assert (mount / ORDERS).read_bytes() == NEW


def test_mismatch_in_sync_keeps_the_last_good_copy(agnes, stack, server):
    publish(stack, OLD)
    agnes.sync(server.url)
    publish(stack, NEW)
    server.always(PATH, Fault(flip=7))
    report = agnes.sync(server.url, expect=9)
    assert [line.name for line in report.errors] == ["orders"]
    assert agnes.cache().contents() == [OLD]
    assert agnes.cache().partials() == []


def test_mismatch_that_passes_is_no_error(agnes, stack, server):
    publish(stack, OLD)
    server.script(PATH, Fault(flip=7))
    report = agnes.sync(server.url)
    assert report.errors == []
    assert server.count(PATH) == 2
    assert agnes.cache().contents() == [OLD]


def test_mismatch_of_a_new_table_leaves_nothing(agnes, stack, server):
    publish(stack, OLD)
    server.always(PATH, Fault(flip=7))
    report = agnes.sync(server.url, expect=9)
    assert [line.name for line in report.errors] == ["orders"]
    assert agnes.cache().contents() == []


def test_without_md5_it_is_accepted_and_marked_unverified(agnes, stack, server):
    publish(stack, OLD, md5="", hash="")
    report = agnes.sync(server.url)
    assert report.counts("data_packages") == {"added": 1}
    assert agnes.cache().contents() == [OLD]
    assert "unverified" in agnes.cache().state_file.read_text()
    with agnes.mount(server.url) as mount:
        assert (mount / ORDERS).read_bytes() == OLD
        assert "unverified" in mount.xattr(ORDERS, "state")


BAD = {
    "head": b"X" + OLD[1:],
    "tail": OLD[:-1] + b"X",
    "shorter": OLD[:-5] + b"PAR1",
    "longer": OLD + b"PAR1",
}


@pytest.mark.parametrize("what", BAD)
def test_without_md5_head_tail_and_length_must_fit(agnes, stack, server, what):
    publish(stack, OLD, md5="", hash="")
    server.always(PATH, Fault(body=BAD[what]))
    report = agnes.sync(server.url, expect=None)
    assert [line.name for line in report.errors] == ["orders"]
    assert agnes.cache().contents() == []


@pytest.mark.parametrize("what", ["size_bytes", "updated"])
def test_without_md5_it_is_refreshed_when_size_or_updated_changes(agnes, stack, server, what):
    publish(stack, OLD, md5="", hash="")
    agnes.sync(server.url)
    server.clear()
    assert agnes.sync(server.url).counts("data_packages") == {"unchanged": 1}
    assert server.count(PATH) == 0

    new = NEW if what == "size_bytes" else OLD.replace(b"old", b"NEW")
    fields = {"updated": "2026-08-23T10:00:00+00:00"} if what == "updated" else {}
    publish(stack, new, md5="", hash="", **fields)
    report = agnes.sync(server.url)
    assert report.counts("data_packages") == {"updated": 1}
    assert server.count(PATH) == 1
    assert agnes.cache().contents() == [new]


def test_never_synced_table_is_skipped_not_an_error(agnes, stack, server):
    publish(stack, None)
    report = agnes.sync(server.url)
    assert report.counts("data_packages") == {"skipped": 1}
    assert report.errors == []
