"""Packages, and the tables that they share."""

from tests.lib.stack import raw

ORDERS = raw(b"orders")
SALES = "data/sales/orders.parquet"
MARKETING = "data/marketing/orders.parquet"


def two_packages_sharing_a_table(stack):
    orders = stack.add_table("orders", ORDERS)
    stack.add_package("sales", orders)
    stack.add_package("marketing", orders)
    stack.add_package("events", stack.add_table("clicks", raw(b"clicks")))
    return stack.write()


def withdraw(stack, *slugs):
    for slug in slugs:
        del stack.packages[slug]
    stack.write()


def test_shared_table_is_one_fetch_one_blob_and_two_links(agnes, stack, server):
    two_packages_sharing_a_table(stack)
    report = agnes.sync(server.url)
    assert report.counts("data_packages") == {"added": 3}
    assert report.bytes == len(ORDERS) + len(raw(b"clicks"))
    assert server.count("/tables/orders.parquet") == 1
    assert agnes.cache().contents() == [raw(b"clicks"), ORDERS]
    with agnes.mount(server.url) as mount:
        assert mount.nlink(SALES) == mount.nlink(MARKETING) == 2
        assert (mount / SALES).samefile(mount / MARKETING)
        assert (mount / SALES).read_bytes() == (mount / MARKETING).read_bytes() == ORDERS


def test_same_packages_again_fetch_nothing(agnes, stack, server):
    two_packages_sharing_a_table(stack)
    agnes.sync(server.url)
    server.clear()
    report = agnes.sync(server.url)
    assert report.counts("data_packages") == {"unchanged": 3}
    assert report.bytes == server.count("/tables/*") == 0


def test_after_one_is_withdrawn_the_other_name_reads_on(agnes, stack, server):
    two_packages_sharing_a_table(stack)
    with agnes.mount(server.url) as mount:
        assert mount.nlink(MARKETING) == 2
        withdraw(stack, "sales")
        report = mount.refresh()
        assert report.counts("data_packages") == {"removed": 1, "unchanged": 2}
        assert not (mount / "data/sales").exists()
        assert mount.nlink(MARKETING) == 1
        assert (mount / MARKETING).read_bytes() == ORDERS
        assert agnes.cache().blob(ORDERS).is_file()


def test_after_both_are_withdrawn_blob_and_folders_are_gone(agnes, stack, server):
    two_packages_sharing_a_table(stack)
    with agnes.mount(server.url) as mount:
        assert (mount / SALES).read_bytes() == ORDERS
        withdraw(stack, "sales", "marketing")
        report = mount.refresh()
        assert report.counts("data_packages") == {"removed": 2, "unchanged": 1}
        assert mount.names() == {"data/", "memory/", "data/events/", "data/events/clicks.parquet"}
        assert agnes.cache().contents() == [raw(b"clicks")]


def test_after_both_are_withdrawn_sync_removes_the_blob_too(agnes, stack, server):
    two_packages_sharing_a_table(stack)
    agnes.sync(server.url)
    withdraw(stack, "sales", "marketing")
    agnes.sync(server.url)
    assert agnes.cache().contents() == [raw(b"clicks")]
    assert set(agnes.cache().state()["data_packages"]) == {"events"}


def test_table_that_leaves_its_package_goes(agnes, stack, server):
    orders, refunds = stack.add_table("orders", ORDERS), stack.add_table("refunds", raw(b"refunds"))
    stack.add_package("sales", orders, refunds)
    stack.write()
    agnes.sync(server.url)
    stack.add_package("sales", orders)
    stack.write()
    report = agnes.sync(server.url)
    assert report.counts("data_packages") == {"removed": 1, "unchanged": 1}
    assert agnes.cache().contents() == [ORDERS]


def test_table_moving_between_packages_costs_nothing(agnes, stack, server):
    orders = stack.add_table("orders", ORDERS)
    stack.add_package("sales", orders)
    stack.add_package("archive", stack.add_table("old", raw(b"old")))
    stack.write()
    agnes.sync(server.url)
    stack.add_package("sales", stack.add_table("leads", raw(b"leads")))
    stack.packages["archive"]["tables"].append(orders)
    stack.write()
    server.clear()
    report = agnes.sync(server.url)
    assert report.counts("data_packages") == {"added": 2, "removed": 1, "unchanged": 1}
    assert report.bytes == len(raw(b"leads"))
    assert server.count("/tables/orders.parquet") == 0
    with agnes.mount(server.url) as mount:
        assert (mount / "data/archive/orders.parquet").read_bytes() == ORDERS
        assert not (mount / SALES).exists()
        assert mount.nlink("data/archive/orders.parquet") == 1


def test_direct_table_moving_into_a_package_costs_nothing(agnes, stack, server):
    orders = stack.add_table("orders", ORDERS)
    stack.add_direct(orders)
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    stack.add_package("archive", stack.add_table("old", raw(b"old")))
    stack.write()
    agnes.sync(server.url)
    stack.direct_tables.remove(orders)
    stack.packages["archive"]["tables"].append(orders)
    stack.write()
    server.clear()
    report = agnes.sync(server.url)
    assert report.counts("direct_tables") == {"removed": 1, "unchanged": 1}
    assert report.counts("data_packages") == {"added": 1, "unchanged": 1}
    assert report.bytes == server.count("/tables/*") == 0


def test_partitioned_table_is_a_folder_and_fetches_only_changed_parts(agnes, stack, server):
    parts = {"month=2026-06/data.parquet": raw(b"june"), "month=2026-07/data.parquet": raw(b"july")}
    stack.add_package("events", stack.add_table("clicks", parts))
    stack.write()
    with agnes.mount(server.url) as mount:
        assert mount.files() == {f"data/events/clicks/{path}": content
                                 for path, content in parts.items()}
        parts["month=2026-07/data.parquet"] = raw(b"july, corrected")
        stack.add_table("clicks", parts)
        stack.write()
        server.clear()
        report = mount.refresh()
        assert report.counts("data_packages") == {"updated": 1}
        assert mount.files() == {f"data/events/clicks/{path}": content
                                 for path, content in parts.items()}
        assert server.count("*month=2026-07*") == 1
        assert server.count("*month=2026-06*") == 0
