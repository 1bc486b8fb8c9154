"""What a manifest does not say, or says suddenly, is no reason to take anything away."""

import pytest

from tests.lib.faultd import Fault
from tests.lib.stack import DROP, raw

SECTIONS = ["direct_tables", "data_packages", "memory_domains", "knowledge_artifacts"]
FILES = {"data/_direct/prices.parquet": raw(b"prices"), "data/sales/orders.parquet": raw(b"orders"),
         "memory/finance/bundle.md": b"# Finance\n", "knowledge/handbook.duckdb": b"chunks"}
OF_SECTION = dict(zip(SECTIONS, FILES))


def fill(stack):
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    stack.add_package("sales", stack.add_table("orders", raw(b"orders")))
    stack.add_domain("finance", "# Finance\n")
    stack.add_chunks("handbook", b"chunks")
    return stack.write()


@pytest.mark.parametrize("value", [DROP, None, {}, "", 5], ids=["missing", "null", "object",
                                                               "string", "number"])
@pytest.mark.parametrize("section", SECTIONS)
def test_missing_or_broken_section_is_held(agnes, stack, section, value):
    fill(stack)
    agnes.sync(stack.url)
    stack.add_table("orders" if section == "direct_tables" else "prices", raw(b"news"))
    stack.write(**{section: value})
    for _ in range(3):
        report = agnes.sync(stack.url)
    assert [held for held in SECTIONS if report.held(held)] == [section]
    assert report.counts(section) == {"unchanged": 1}
    assert report.total("removed") == 0
    with agnes.mount(stack.url) as mount:
        files = mount.files()
    assert files.keys() == FILES.keys()
    assert files[OF_SECTION[section]] == FILES[OF_SECTION[section]]
    assert raw(b"news") in files.values(), "the other sections go on"


@pytest.mark.parametrize("section", SECTIONS)
def test_sudden_empty_section_is_believed_on_the_second_manifest_in_a_row(agnes, stack, section):
    fill(stack)
    agnes.sync(stack.url)
    stack.write(**{section: []})
    report = agnes.sync(stack.url)
    assert report.held(section)
    assert report.counts(section) == {"unchanged": 1}
    assert agnes.cache().contents() == sorted(FILES.values())
    report = agnes.sync(stack.url)
    assert not report.held(section)
    assert report.counts(section) == {"removed": 1}
    with agnes.mount(stack.url) as mount:
        assert mount.files() == {path: content for path, content in FILES.items()
                                 if path != OF_SECTION[section]}


def test_doubt_ends_when_the_rows_are_back(agnes, stack):
    fill(stack)
    agnes.sync(stack.url)
    for _ in range(3):
        stack.write(data_packages=[])
        assert agnes.sync(stack.url).held("data_packages")
        stack.write()
        report = agnes.sync(stack.url)
        assert not report.held("data_packages")
        assert report.counts("data_packages") == {"unchanged": 1}


def test_sudden_empty_section_is_held_in_a_mount_too(agnes, stack):
    fill(stack)
    with agnes.mount(stack.url) as mount:
        stack.write(data_packages=[])
        assert mount.refresh().held("data_packages")
        assert mount.files() == FILES
        assert mount.refresh().counts("data_packages") == {"removed": 1}
        assert not (mount / "data/sales").exists()


TYPES = {"data_packages": "data_package", "memory_domains": "memory_domain"}


@pytest.mark.parametrize("section", TYPES)
def test_server_that_still_lists_the_stack_is_not_believed(agnes, stack, agnes_server, section):
    """Its manifest says [] when it could not build the section."""
    fill(stack)
    agnes.write_token("a-token")
    agnes.sync(agnes_server.url)
    agnes_server.site.edit = lambda manifest: manifest | {section: []}
    for number in range(1, 4):
        report = agnes.sync(agnes_server.url)
        assert report.held(section)
        assert report.total("removed") == 0
        assert agnes_server.count(f"/api/stack?type={TYPES[section]}") == number
    assert agnes.cache().contents() == sorted(FILES.values())


@pytest.mark.parametrize("section", TYPES)
def test_server_whose_stack_is_empty_too_is_believed(agnes, stack, agnes_server, section):
    fill(stack)
    agnes.write_token("a-token")
    agnes.sync(agnes_server.url)
    agnes_server.clear()
    agnes_server.site.edit = lambda manifest: manifest | {section: []}
    agnes_server.site.listed = lambda type, items: [] if type == TYPES[section] else items
    report = agnes.sync(agnes_server.url)
    assert not report.held(section)
    assert report.counts(section) == {"removed": 1}
    assert agnes_server.count("/api/stack?type=*") == 1


@pytest.mark.parametrize("fault", [Fault(status=404), Fault(html=True), Fault(body=b"{")],
                         ids=["404", "html", "half"])
def test_server_that_can_not_confirm_is_not_believed(agnes, stack, agnes_server, fault):
    fill(stack)
    agnes.write_token("a-token")
    agnes.sync(agnes_server.url)
    agnes_server.site.edit = lambda manifest: manifest | {"data_packages": []}
    agnes_server.always("/api/stack?type=*", fault)
    for _ in range(2):
        assert agnes.sync(agnes_server.url, expect=None).held("data_packages")
    assert agnes.cache().contents() == sorted(FILES.values())


NO_MANIFEST = {
    "401": (Fault(status=401), 3),
    "403": (Fault(status=403), 3),
    "404": (Fault(status=404), 1),
    "login page": (Fault(html=True), 1),
    "half a manifest": (Fault(cut=100, headers={"Content-Length": "100"}), 1),
    "nothing": (Fault(body=b""), 1),
    "null": (Fault(body=b"null"), 1),
    "empty object": (Fault(body=b"{}"), 1),
    "100,000 brackets": (Fault(body=b"[" * 100_000), 1),
    "rubbish after it": (Fault(body=b'{"data_packages": []} {}'), 1),
}


@pytest.mark.parametrize("what", NO_MANIFEST)
def test_answer_that_is_no_manifest_changes_nothing(agnes, stack, server, what):
    fill(stack)
    with agnes.mount(server.url) as mount:
        assert mount.files() == FILES
        state = agnes.cache().state_file.read_bytes()
        fault, code = NO_MANIFEST[what]
        server.always("/manifest.json", fault)
        result = agnes.run("refresh", mount.path, expect=code)
        assert "agnesfs: " in result.err
        assert mount.files() == FILES
        assert agnes.cache().contents() == sorted(FILES.values())
        assert agnes.cache().state_file.read_bytes() == state
        server.forget()
        assert mount.refresh().total("unchanged") == len(FILES)
