"""A refresh without news is one request, and leaves nothing undone that one with news would do."""

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

ORDERS = "data/sales/orders.parquet"
FAILED = 1
BUNDLE = "memory/finance/bundle.md"


@pytest.fixture
def stack(stack):
    stack.add_package("sales", stack.add_table("orders", raw(b"orders" * 100)),
                      stack.add_table("items", raw(b"items" * 100)))
    stack.add_domain("finance", "# Finance\n")
    return stack


@pytest.fixture
def url(agnes, agnes_server):
    agnes.write_token("a-token", server=agnes_server.url)
    return agnes_server.url


def withdraw(stack, name):
    tables = stack.packages["sales"]["tables"]
    tables[:] = [row for row in tables if row["name"] != name]


def asked(server, mount, expect=0):
    """What a refresh reports, and the paths that it asked for."""
    before = len(server.requests)
    report = mount.refresh(expect=expect)
    return report, [request.path for request in server.requests[before:]]


def test_a_refresh_without_news_is_one_request(agnes, agnes_server, url):
    agnes.sync(url)
    with agnes.mount(url, "report=off") as mount:
        for _ in range(4):
            report, paths = asked(agnes_server, mount)
            assert paths == ["/api/sync/manifest"]
            assert report.document["requests"] == 1
            assert not report.document["changed"]
            assert report.total("unchanged") == 3 and not report.errors


def test_news_are_seen_after_many_refreshes_without(agnes, agnes_server, stack, url):
    agnes.sync(url)
    with agnes.mount(url, "report=off") as mount:
        for number in range(3):
            for _ in range(3):
                mount.refresh()
            stack.add_table("orders", raw(b"%d" % number))
            assert mount.refresh().total("updated") == 1
            assert (mount / ORDERS).read_bytes() == raw(b"%d" % number)


def test_what_failed_is_tried_again_at_each_refresh(agnes, agnes_server, stack, url):
    agnes.sync(url)
    with agnes.mount(url, "report=off") as mount:
        mount.refresh()
        stack.add_table("orders", raw(b"new"))
        agnes_server.always("/api/data/*", Fault(status=404))
        for _ in range(3):
            report, paths = asked(agnes_server, mount, expect=FAILED)
            assert [line.name for line in report.errors] == ["orders"]
            assert len(paths) > 1
            assert (mount / ORDERS).read_bytes() == raw(b"orders" * 100)
        agnes_server.forget()
        assert mount.refresh().total("updated") == 1
        assert (mount / ORDERS).read_bytes() == raw(b"new")


def test_what_is_missing_comes_back_without_news(agnes, agnes_server, url):
    agnes.sync(url)
    with agnes.mount(url, "report=off", "prefetch=all") as mount:
        for _ in range(2):
            mount.refresh()
        blobs = agnes.cache().blobs()
        for path in blobs.values():
            path.unlink()
        report, paths = asked(agnes_server, mount)
        assert paths[0] == "/api/sync/manifest" and not report.errors
        wait_for(lambda: agnes.cache().blobs().keys() == blobs.keys(), what="all of it is back")
        assert (mount / ORDERS).read_bytes() == raw(b"orders" * 100)
        assert (mount / BUNDLE).read_bytes()


def test_a_row_that_can_not_be_believed_is_told_each_time(agnes, agnes_server, stack, url):
    def spoil(manifest):
        manifest["data_packages"][0]["tables"][0]["md5"] = "?"
        return manifest

    agnes.sync(url)
    with agnes.mount(url, "report=off") as mount:
        agnes_server.site.edit = spoil
        for _ in range(4):
            report, paths = asked(agnes_server, mount, expect=FAILED)
            assert len(report.errors) == 1 and len(paths) == 1
        assert (mount / ORDERS).read_bytes() == raw(b"orders" * 100)


def test_withdrawn_bytes_go_after_the_answer_and_before_the_end_of_sync(agnes, agnes_server,
                                                                         stack, url):
    agnes.sync(url)
    withdraw(stack, "items")
    agnes.sync(url)
    assert not agnes.cache().blob(raw(b"items" * 100)).exists()
    with agnes.mount(url, "report=off") as mount:
        mount.settle()
        withdraw(stack, "orders")
        agnes.run("refresh", mount.path)
        assert not (mount / ORDERS).exists()
        wait_for(lambda: not agnes.cache().blob(raw(b"orders" * 100)).exists(), what="it is gone")
