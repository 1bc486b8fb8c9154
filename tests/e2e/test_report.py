"""What one refresh did, for people and for programs."""

import re

import pytest

from tests.lib.agnesfs import COUNTS, SECTIONS
from tests.lib.faultd import Fault
from tests.lib.stack import raw

TITLES = {"direct_tables": "tables", "data_packages": "packages", "memory_domains": "memory",
          "knowledge_artifacts": "knowledge"}
SIGNS = {"added": r"\+", "updated": "~", "removed": "-", "unchanged": "=", "skipped": "skipped "}


def before(stack):
    for name in ("prices", "rates", "leaves"):
        stack.add_direct(stack.add_table(name, raw(name.encode())))
    stack.add_package("sales", stack.add_table("orders", raw(b"old orders")),
                      stack.add_table("fails", raw(b"old fails")),
                      stack.add_table("stays", raw(b"stays")))
    stack.add_domain("finance", "# Finance\n")
    stack.add_domain("support", "# Support\n")
    stack.add_chunks("handbook", b"old chunks")
    stack.write()


def after(stack, server):
    stack.direct_tables.pop()
    for number, mode in enumerate(("remote", "internal")):
        stack.add_direct(stack.add_table(f"kept {number}", None, query_mode=mode))
    stack.packages["sales"]["tables"] += [stack.add_table("new", raw(b"new " * 50)),
                                          stack.add_table("secret", raw(), server_only=True),
                                          stack.add_table("..", raw())]
    stack.add_table("orders", raw(b"new orders"))
    stack.add_table("fails", raw(b"new fails"))
    stack.add_domain("finance", "# Finance, new\n")
    stack.add_chunks("handbook", b"new chunks")
    stack.artifacts.append({"kind": "graph", "id": "g"})
    stack.write()
    server.always("/tables/fails.parquet", Fault(status=404))


EXPECTED = {
    "direct_tables": {"unchanged": 2, "removed": 1, "skipped": 2},
    "data_packages": {"added": 1, "updated": 1, "unchanged": 2, "skipped": 1},
    "memory_domains": {"updated": 1, "unchanged": 1},
    "knowledge_artifacts": {"updated": 1, "skipped": 1},
}
BYTES = {"direct_tables": 0, "data_packages": len(raw(b"new " * 50)) + len(raw(b"new orders")),
         "memory_domains": len("# Finance, new\n"), "knowledge_artifacts": len(b"new chunks")}


def assert_is_expected(report):
    assert {section: report.counts(section) for section in SECTIONS} == EXPECTED
    assert {section: report.document[section]["bytes"] for section in SECTIONS} == BYTES
    assert [(line.section, line.group, line.name) for line in report.skipped] == [
        ("direct_tables", "", "kept 0"), ("direct_tables", "", "kept 1"),
        ("data_packages", "sales", "secret"), ("knowledge_artifacts", "graph", "g")]
    for line, reason in zip(report.skipped, ("remote", "internal", "server_only", "graph")):
        assert reason in line.reason
    assert [(line.group, line.name) for line in report.errors] == [("sales", ".."),
                                                                   ("sales", "fails")]
    assert all(line.reason for line in report.errors)
    assert report.violations == []


@pytest.fixture
def source(stack, server):
    before(stack)
    return server


def test_sync_reports_everything_in_json(agnes, stack, source):
    first = agnes.sync(source.url)
    assert first.total("added") == 9
    after(stack, source)
    report = agnes.sync(source.url, expect=1)
    assert_is_expected(report)
    assert report.generation == first.generation + 1


def test_refresh_of_a_mount_reports_the_same(agnes, stack, source):
    agnes.sync(source.url)
    with agnes.mount(source.url, "prefetch=none") as mount:
        after(stack, source)
        report = mount.refresh(expect=1)
        counts = {section: report.counts(section) for section in SECTIONS}
        assert counts == EXPECTED
        assert len(report.errors) == 2
        assert len(report.skipped) == 4


def test_text_has_the_same_numbers_as_json(agnes, stack, source):
    agnes.sync(source.url)
    after(stack, source)
    text = agnes.run("sync", source.url, "--verbose", expect=1).out
    lines = {line.split()[0]: line for line in text.splitlines()}
    for section in SECTIONS:
        line = lines[TITLES[section]]
        found = {count: re.search(f"{SIGNS[count]}([0-9]+)", line) for count in COUNTS}
        numbers = {count: int(match[1]) for count, match in found.items() if match}
        assert {count: number for count, number in numbers.items() if number} == EXPECTED[section]
        size = re.search("([0-9]+) B", line)
        assert int(size[1] if size else 0) == BYTES[section]
    for name, reason in (("kept 0", "remote"), ("kept 1", "internal"), ("secret", "server_only")):
        assert re.search(f"^skipped .*{name}: .*{reason}", text, re.MULTILINE)
    for name in (r"\.\.", "fails"):
        assert re.search(f"^error .*sales/{name}: .", text, re.MULTILINE)


def test_bytes_are_those_that_came_over_the_wire(agnes, source):
    report = agnes.sync(source.url)
    assert report.bytes == source.sent("/tables/*") + source.sent("/memory/*") + source.sent("/knowledge/*")
    assert agnes.sync(source.url).bytes == 0


def test_dry_run_says_what_would_change_and_changes_nothing(agnes, stack, source):
    agnes.sync(source.url)
    contents, state = agnes.cache().contents(), agnes.cache().state()
    after(stack, source)
    source.clear()
    report = agnes.sync(source.url, "--dry-run", expect=None)
    assert report.counts("direct_tables") == EXPECTED["direct_tables"]
    assert report.counts("data_packages") == {"added": 1, "updated": 2, "unchanged": 1,
                                              "skipped": 1}
    assert report.counts("memory_domains") == EXPECTED["memory_domains"]
    assert source.count() == 1
    assert (agnes.cache().contents(), agnes.cache().state()) == (contents, state)


def test_quiet_says_nothing_when_all_is_well(agnes, source):
    result = agnes.run("sync", source.url, "--quiet")
    assert (result.out, result.err) == ("", "")


def test_sizes_add_up_when_two_packages_share(agnes, stack, server):
    orders = stack.add_table("orders", raw(b"o" * 1000))
    stack.add_package("sales", orders)
    stack.add_package("marketing", orders)
    stack.write()
    assert agnes.sync(server.url).document["data_packages"]["bytes"] == 1008
