"""From what a server calls things to names of files."""

import pytest

from tests.lib.stack import raw

FOLDED = {
    "orders": "orders",
    "orders-2025.v2_final": "orders-2025.v2_final",
    "_private": "_private",
    "Agnes audit log": "Agnes_audit_log",
    "  (Q1) revenue: net & gross!  ": "Q1_revenue_net_gross",
    "../../etc/passwd": "etc_passwd",
    "a/../b": "a_.._b",
    "Objednávky": "Objedn_vky",
    "trailing newline\n": "trailing_newline",
    "plain\n": "plain",
    "-rf": "rf",
    ".hidden": "hidden",
    "a\\b": "a_b",
}
UNUSABLE = ["..", ".", "", "注文", "---", "/", "x" * 300]


def tables(stack, names):
    """One package with a table of each name; every table has bytes of its own."""
    rows = [stack.add_table(name, raw(f"table {number}".encode()), id=f"t{number}")
            for number, name in enumerate(names)]
    stack.add_package("sales", *rows)
    return stack.write()


def names_below(mount, folder):
    return {name.removeprefix(f"{folder}/") for name in mount.names()
            if name.startswith(f"{folder}/") and name != f"{folder}/"}


def test_sanitising(agnes, stack):
    tables(stack, FOLDED)
    report = agnes.sync(stack.url)
    assert report.errors == []
    with agnes.mount(stack.url) as mount:
        assert names_below(mount, "data/sales") == {f"{name}.parquet" for name in FOLDED.values()}
        for number, name in enumerate(FOLDED.values()):
            content = (mount / f"data/sales/{name}.parquet").read_bytes()
            assert content == raw(f"table {number}".encode())


def test_label_without_a_usable_character_is_dropped_alone(agnes, stack):
    tables(stack, [*UNUSABLE, "orders"])
    report = agnes.sync(stack.url, expect=1)
    assert report.counts("data_packages") == {"added": 1}
    assert len(report.errors) == len(UNUSABLE)
    with agnes.mount(stack.url) as mount:
        assert names_below(mount, "data/sales") == {"orders.parquet"}


@pytest.mark.parametrize("order", [1, -1])
def test_collision_is_won_by_the_smaller_label_in_any_order(agnes, stack, order):
    labels = ["a b", "a/b", "a_b"]
    rows = {label: stack.add_table(label, raw(label.encode()), id=f"id{number}")
            for number, label in enumerate(labels)}
    stack.add_package("sales", *[rows[label] for label in labels[::order]])
    stack.write()
    report = agnes.sync(stack.url, expect=1)
    assert report.counts("data_packages") == {"added": 1}
    assert sorted(line.name for line in report.errors) == ["a/b", "a_b"]
    assert all("a b" in line.reason for line in report.errors)
    with agnes.mount(stack.url) as mount:
        assert mount.files() == {"data/sales/a_b.parquet": raw(b"a b")}


@pytest.mark.parametrize("order", [1, -1])
def test_collision_of_slugs_is_won_by_the_smaller_one_in_any_order(agnes, stack, order):
    for slug in ["R D", "R&D"][::order]:
        row = stack.add_table("notes", raw(slug.encode()), id=slug.encode().hex())
        stack.add_package(slug, row)
        stack.add_domain(slug, f"# {slug}\n", bundle_url=f"memory/{slug.encode().hex()}.md")
        stack.files[f"memory/{slug.encode().hex()}.md"] = f"# {slug}\n".encode()
    stack.write()
    report = agnes.sync(stack.url, expect=1)
    assert {line.section for line in report.errors} == {"data_packages", "memory_domains"}
    with agnes.mount(stack.url) as mount:
        assert mount.files() == {"data/R_D/notes.parquet": raw(b"R D"),
                                 "memory/R_D/bundle.md": b"# R D\n"}


@pytest.mark.parametrize("slug", ["_shared", "_direct", "_shared\n"])
def test_reserved_slug_is_refused(agnes, stack, slug):
    orders = stack.add_direct(stack.add_table("orders", raw(b"direct")))
    stack.add_package("sales", orders)
    stack.add_package(slug, stack.add_table("orders", raw(b"impostor"), id="impostor"))
    stack.write()
    agnes.sync(stack.url, expect=None)
    with agnes.mount(stack.url) as mount:
        files = mount.files()
        assert files["data/_direct/orders.parquet"] == raw(b"direct")
        assert files["data/sales/orders.parquet"] == raw(b"direct")
        assert not (mount / "data/_shared").exists()
        assert mount.nlink("data/sales/orders.parquet") == 2


@pytest.mark.parametrize("slug", ["_shared", "_direct"])
def test_reserved_slug_is_reported(agnes, stack, slug):
    orders = stack.add_table("orders", raw(b"orders"))
    stack.add_package("sales", orders)
    stack.add_package(slug, orders)
    stack.write()
    report = agnes.sync(stack.url, expect=1)
    assert [line.group for line in report.errors] == [slug]
    assert report.counts("data_packages") == {"added": 1}


ODD_ROWS = {
    "number": {"name": 5},
    "null": {"name": None},
    "list": {"name": ["orders"]},
    "NUL": {"name": "a\0b"},
    "300 bytes": {"name": "n" * 300},
    "number as id": {"id": 7},
}


@pytest.mark.parametrize("what", ODD_ROWS)
def test_odd_row_fails_alone(agnes, stack, what):
    good = stack.add_table("orders", raw(b"orders"))
    odd = {**stack.add_table("odd", raw(b"odd")), **ODD_ROWS[what]}
    stack.add_package("sales", odd, good)
    stack.add_direct(odd)
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    stack.write()
    report = agnes.sync(stack.url, expect=1)
    assert len(report.errors) == 2
    assert report.counts("data_packages") == report.counts("direct_tables") == {"added": 1}
    assert agnes.cache().contents() == [raw(b"orders"), raw(b"prices")]


@pytest.mark.parametrize("row", [None, 5, "orders", []])
def test_row_that_is_no_object_fails_alone(agnes, stack, row):
    stack.add_package("sales", row, stack.add_table("orders", raw(b"orders")))
    stack.packages["sales"]["tables"] = [row, stack.rows["orders"]]
    packages = [*stack.packages.values(), row]
    stack.write_manifest({"data_packages": packages, "direct_tables": [], "memory_domains": []})
    for path, content in stack.files.items():
        target = stack.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    report = agnes.sync(stack.url, expect=1)
    assert len(report.errors) == 2
    assert report.counts("data_packages") == {"added": 1}


def test_slug_of_300_bytes_fails_alone(agnes, stack):
    stack.add_domain("finance", "# Finance\n")
    stack.add_domain("s" * 300, "# Long\n", bundle_url="memory/finance.md")
    stack.files.pop(f"memory/{'s' * 300}.md")
    orders = stack.add_table("orders", raw(b"orders"))
    stack.add_package("sales", orders)
    stack.add_package("s" * 300, orders)
    stack.write()
    report = agnes.sync(stack.url, expect=1)
    assert sorted(line.section for line in report.errors) == ["data_packages", "memory_domains"]
    assert report.counts("memory_domains") == report.counts("data_packages") == {"added": 1}


def test_two_ids_never_share_bytes(agnes, stack):
    one, other = raw(b"bytes of a/b"), raw(b"bytes of a_b")
    stack.add_package("sales", stack.add_table("x", one, id="a/b"),
                      stack.add_table("y", other, id="a_b"))
    stack.write()
    assert agnes.sync(stack.url).counts("data_packages") == {"added": 2}
    with agnes.mount(stack.url) as mount:
        assert mount.files() == {"data/sales/x.parquet": one, "data/sales/y.parquet": other}
    assert agnes.sync(stack.url).bytes == 0
