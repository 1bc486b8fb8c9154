"""Bundles of corporate memory. Their md5 is a token of change, not of the bytes."""

import pytest

from tests.lib.faultd import Fault
from tests.lib.stack import md5

FINANCE = "memory/finance/bundle.md"
OLD = "# Finance\n\n## Required\n\n### Revenue\n\nIs net.\n"
NEW = "# Finance\n\n## Required\n\n### Revenue\n\nIs gross.\n"


@pytest.fixture
def source(agnes, stack, agnes_server):
    """An Agnes server with two domains, and its user."""
    agnes.write_token("a-token")
    stack.add_domain("finance", OLD)
    stack.add_domain("support", "# Support\n")
    return agnes_server


def bundles(server):
    return [request.target for request in server.matching("/api/memory/bundle")]


def test_first_sync_writes_the_bundle(agnes, source):
    report = agnes.sync(source.url)
    assert report.counts("memory_domains") == {"added": 2}
    assert report.bytes == len(OLD) + len("# Support\n")
    assert agnes.cache().contents() == sorted([OLD.encode(), b"# Support\n"])
    with agnes.mount(source.url) as mount:
        assert mount.files() == {FINANCE: OLD.encode(), "memory/support/bundle.md": b"# Support\n"}
        assert (mount / FINANCE).stat().st_size == len(OLD)


def test_unchanged_token_fetches_nothing(agnes, stack, source):
    agnes.sync(source.url)
    stack.files["memory/finance.md"] = NEW.encode()  # but the manifest says the same
    source.clear()
    report = agnes.sync(source.url)
    assert report.counts("memory_domains") == {"unchanged": 2}
    assert bundles(source) == []
    assert report.bytes == 0


CHANGES = {
    "token": {},
    "name": {"md5": md5(b"change token of " + OLD.encode()), "name": "Finance & Tax"},
    "description": {"md5": md5(b"change token of " + OLD.encode()), "description": "Now with tax."},
}


@pytest.mark.parametrize("what", CHANGES)
def test_changed_token_name_or_description_refetches(agnes, stack, source, what):
    agnes.sync(source.url)
    stack.add_domain("finance", NEW, **CHANGES[what])
    source.clear()
    report = agnes.sync(source.url)
    assert report.counts("memory_domains") == {"updated": 1, "unchanged": 1}
    assert bundles(source) == ["/api/memory/bundle?domain=finance"]
    assert agnes.cache().contents() == sorted([NEW.encode(), b"# Support\n"])
    with agnes.mount(source.url) as mount:
        assert (mount / FINANCE).read_text() == NEW


def test_withdrawn_bundle_goes(agnes, stack, source):
    with agnes.mount(source.url) as mount:
        assert (mount / FINANCE).read_text() == OLD
        del stack.domains["finance"]
        report = mount.refresh()
        assert report.counts("memory_domains") == {"removed": 1, "unchanged": 1}
        assert mount.names() == {"data/", "memory/", "memory/support/", "memory/support/bundle.md"}
        assert agnes.cache().contents() == [b"# Support\n"]


NOT_MARKDOWN = {
    "login page": Fault(html=True),
    "html type": Fault(headers={"Content-Type": "text/html; charset=utf-8"}),
    "json": Fault(body=b'{"detail": "?"}', headers={"Content-Type": "application/json"}),
    "no type": Fault(headers={"Content-Type": None}),
}


@pytest.mark.parametrize("what", NOT_MARKDOWN)
def test_body_that_is_not_markdown_is_refused(agnes, stack, source, what):
    agnes.sync(source.url)
    stack.add_domain("finance", NEW)
    source.always("/api/memory/bundle?domain=finance", NOT_MARKDOWN[what])
    report = agnes.sync(source.url, expect=1)
    assert [line.name for line in report.errors] == ["finance"]
    assert report.counts("memory_domains") == {"unchanged": 2}
    with agnes.mount(source.url) as mount:
        assert (mount / FINANCE).read_text() == OLD
    source.forget()
    assert agnes.sync(source.url).counts("memory_domains") == {"updated": 1, "unchanged": 1}


def test_refused_on_the_first_sync_it_has_no_name(agnes, source):
    source.always("/api/memory/bundle?domain=finance", Fault(html=True))
    report = agnes.sync(source.url, expect=1)
    assert [line.name for line in report.errors] == ["finance"]
    assert report.counts("memory_domains") == {"added": 1}
    assert agnes.cache().contents() == [b"# Support\n"]


def test_slug_goes_to_the_server_as_it_is(agnes, stack, source):
    stack.add_domain("R&D notes", "# R&D\n")
    report = agnes.sync(source.url)
    assert report.counts("memory_domains") == {"added": 3}
    assert any("R%26D" in target for target in bundles(source))
    with agnes.mount(source.url) as mount:
        assert (mount / "memory/R_D_notes/bundle.md").read_text() == "# R&D\n"


def test_compressed_bundle_is_the_same_bundle(agnes, stack, source):
    text = "# Finance\n" + "Revenue is net.\n" * 500
    stack.add_domain("finance", text)
    agnes.sync(source.url)
    with agnes.mount(source.url) as mount:
        assert (mount / FINANCE).read_text() == text
