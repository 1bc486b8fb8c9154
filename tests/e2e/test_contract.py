"""What tests/CONTRACT.md asks of a client and no other file tests."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lib.agnes_server import Item
from tests.lib.agnesfs import wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

ORDERS = "data/sales/orders.parquet"
FINANCE = "memory/finance/bundle.md"


# --- all of a stack ---

@pytest.mark.parametrize("mode", ["app", "caddy"])
def test_a_first_sync_fetches_each_table_once_and_a_second_one_nothing(agnes, instance, mode):
    instance.mode = mode
    slugs = ["sales", *(instance.add_package(slug).slug for slug in ("marketing", "events"))]
    for number in range(15):
        instance.add_table(f"t{number}", raw(b"%d" % number), packages=[slugs[number % 3]],
                           source_type="keboola")
    for name in ("shared", "common"):
        instance.add_table(name, raw(name.encode()), packages=slugs)
    instance.add_domain("finance", items=["Revenue is net."])
    report = agnes.sync(instance.url)
    assert report.counts("data_packages") == {"added": 1 + 15 + 2 * 3}
    assert report.counts("memory_domains") == {"added": 1}
    assert instance.count("/api/data/*") == 1 + 15 + 2
    assert len(agnes.cache().contents()) == 1 + 15 + 2 + 1
    instance.clear()
    report = agnes.sync(instance.url)
    assert (report.total("unchanged"), report.bytes) == (23, 0)
    assert sum(report.total(count) for count in ("added", "updated", "removed")) == 0
    assert [request.path for request in instance.matching()] == ["/api/sync/manifest"]


def test_a_materialized_table_is_a_table_and_waits_for_its_reader(agnes, instance):
    instance.add_table("totals", raw(b"totals"), packages=["sales"], query_mode="materialized")
    with agnes.mount(instance.url, "prefetch=none") as mount:
        path = mount / "data/sales/totals.parquet"
        assert path.stat().st_size == len(raw(b"totals"))
        assert instance.count("/api/data/*") == 0
        assert path.read_bytes() == raw(b"totals")
    agnes.sync(instance.url)
    assert agnes.cache().contents() == sorted([raw(b"orders"), raw(b"totals")])


def test_content_that_is_gone_from_the_cache_is_fetched_again_without_news(agnes, instance):
    agnes.sync(instance.url)
    agnes.cache().blob(raw(b"orders")).unlink()
    agnes.sync(instance.url)
    assert agnes.cache().contents() == [raw(b"orders")]


def test_an_open_bundle_keeps_its_bytes_while_its_domain_changes(agnes, instance):
    domain = instance.add_domain("finance", items=[Item("i1", "Revenue", "Is net.")])
    with agnes.mount(instance.url) as mount, open(mount / FINANCE, "rb", buffering=0) as file:
        old = domain.bundle().encode()
        assert file.read(10) == old[:10]
        domain.items[0].content = "Is gross, and this is a longer text than it was before."
        mount.refresh()
        assert (mount / FINANCE).read_bytes() == domain.bundle().encode()
        assert old[:10] + file.read() == old


# --- parts ---

PARTS = {"month=2026-06/data.parquet": raw(b"june"), "month=2026-07/data.parquet": raw(b"july")}
CLICKS = {f"data/sales/clicks/{path}": content for path, content in PARTS.items()}
JULY = "/api/data/clicks/download?part=*2026-07*"


def test_a_part_that_leaves_is_gone_and_the_others_are_not_fetched_again(agnes, instance):
    instance.add_table("clicks", parts=PARTS, packages=["sales"])
    with agnes.mount(instance.url) as mount:
        assert mount.files() == {ORDERS: raw(b"orders")} | CLICKS
        june, july = PARTS
        instance.publish("clicks", parts={july: PARTS[july]}, touch=False)
        instance.clear()
        mount.refresh()
        assert mount.names() >= {f"data/sales/clicks/{july}"}
        assert not (mount / "data/sales/clicks/month=2026-06").exists()
        assert instance.count("/api/data/*") == 0
        assert agnes.cache().contents() == sorted([raw(b"orders"), PARTS[july]])


def test_a_part_that_comes_wrong_once_is_asked_for_once_more(agnes, instance):
    instance.add_table("clicks", parts=PARTS, packages=["sales"])
    instance.script(JULY, Fault(flip=5))
    assert agnes.sync(instance.url).errors == []
    assert instance.count(JULY) == 2
    with agnes.mount(instance.url) as mount:
        assert mount.files() == {ORDERS: raw(b"orders")} | CLICKS


# --- what is never fetched ---

def test_what_will_never_be_fetched_is_no_error_again_and_again(agnes, instance):
    instance.add_table("Agnes audit log", raw(b"1"), id="agnes_audit_log", packages=["sales"],
                       query_mode="internal")
    instance.add_table("far", raw(b"2"), packages=["sales"], query_mode="remote")
    instance.add_table("late", packages=["sales"])
    instance.add_table("failed", packages=["sales"], failed=True)
    instance.add_table("kept", packages=["sales"], server_only=True)
    for _ in range(3):
        report = agnes.sync(instance.url)
        assert report.errors == []
        assert {line.name for line in report.skipped} == {"Agnes audit log", "far", "late",
                                                          "failed", "kept"}
        assert all(line.reason for line in report.skipped)
        assert "add" not in {line.name: line.reason for line in report.skipped}["kept"]
    assert instance.count("/api/data/*") == 1


def test_tables_of_no_package_of_mine_are_not_listed_though_the_manifest_has_them(agnes,
                                                                                  instance):
    instance.user.admin = True
    instance.add_table("payroll", raw(b"payroll"))
    agnes.sync(instance.url)
    assert instance.count("/api/data/payroll/*") == 0
    with agnes.mount(instance.url) as mount:
        assert mount.files() == {ORDERS: raw(b"orders")}


def test_a_manifest_of_memory_alone_takes_no_table_away(agnes, instance):
    instance.add_domain("finance", items=["Revenue is net."])
    with agnes.mount(instance.url) as mount:
        before = mount.files()
        instance.omitted = {"tables", "data_packages", "direct_tables", "knowledge_artifacts"}
        for _ in range(3):
            assert mount.refresh().total("removed") == 0
        assert mount.files() == before


# --- names ---

def test_a_path_that_passes_to_another_table_says_so(agnes, instance):
    instance.add_table("a_b", raw(b"first"), packages=["sales"])
    with agnes.mount(instance.url) as mount:
        path = "data/sales/a_b.parquet"
        assert mount.xattr(path, "table_id") == "a_b"
        assert (mount / path).read_bytes() == raw(b"first")
        instance.add_table("a b", raw(b"second"), id="smaller", stored_by="id", packages=["sales"])
        report = mount.refresh(expect=1)
        assert [line.name for line in report.errors] == ["a_b"]
        assert "a b" in report.errors[0].reason
        assert mount.xattr(path, "table_id") == "smaller"
        assert (mount / path).read_bytes() == raw(b"second")


def test_names_that_differ_in_case_and_names_of_devices_are_names(agnes, instance):
    names = ["Orders", "ORDERS", "CON", "nul", "trailing."]
    for number, name in enumerate(names):
        instance.add_table(name, raw(b"%d" % number), packages=["sales"])
    with agnes.mount(instance.url) as mount:
        assert mount.files() == {ORDERS: raw(b"orders")} | {
            f"data/sales/{name}.parquet": raw(b"%d" % number) for number, name in enumerate(names)}


# --- servers ---

def test_a_manifest_of_the_first_servers_with_packages_is_understood(agnes, instance):
    instance.shape = "v49"
    with agnes.mount(instance.url) as mount:
        assert mount.files() == {ORDERS: raw(b"orders")}
        instance.shape = "now"
        report = mount.refresh()
        assert report.counts("data_packages") == {"unchanged": 1}


def test_where_membership_is_classic_a_package_comes_with_the_subscription(agnes, instance):
    instance.auto_membership = False
    package = instance.add_package("extra", requirement="available")
    instance.add_table("offered", raw(b"offered"), packages=["extra"])
    with agnes.mount(instance.url) as mount:
        assert mount.files() == {ORDERS: raw(b"orders")}
        instance.user.subscriptions.add(package.id)
        mount.refresh()
        assert (mount / "data/extra/offered.parquet").read_bytes() == raw(b"offered")


def test_a_revoked_package_is_gone_with_its_bytes(agnes, instance):
    package = instance.add_package("extra")
    instance.add_table("secret", raw(b"secret"), packages=["extra"])
    with agnes.mount(instance.url) as mount:
        assert (mount / "data/extra/secret.parquet").read_bytes() == raw(b"secret")
        instance.revoke(package)
        assert mount.refresh().counts("data_packages") == {"removed": 1, "unchanged": 1}
        assert not (mount / "data/extra").exists()
        assert agnes.cache().contents() == [raw(b"orders")]


# --- output ---

def test_an_empty_stack_is_explained(agnes, instance):
    instance.packages.clear()
    assert "agnesfs stack list" in agnes.run("sync", instance.url).out
    instance.add_package("sales")
    instance.add_table("first", raw(b"1"), packages=["sales"])
    assert "agnesfs stack list" not in agnes.run("sync", instance.url).out


def test_the_exit_code_is_the_same_in_every_output_mode(agnes, instance):
    instance.always("/api/data/orders/download", Fault(status=404))
    for mode in ([], ["--json"], ["--quiet"], ["--verbose"]):
        result = agnes.run("sync", instance.url, *mode, expect=1)
        assert "orders" in result.out + result.err
    instance.forget()
    for mode in ([], ["--json"], ["--quiet"], ["--verbose"]):
        agnes.run("sync", instance.url, *mode, expect=0)


def test_status_says_which_server_and_how_far_the_fetching_is(agnes, instance):
    with agnes.mount(instance.url, "prefetch=none") as mount:
        before = mount.status()
        assert (before["source"], before["mountpoint"]) == (instance.url, str(mount.path))
        assert before["transfers"]["waiting"] == before["resident_files"] == 0
        instance.always("/api/data/orders/download", Fault(delay=3))
        with ThreadPoolExecutor() as pool:
            reader = pool.submit((mount / ORDERS).read_bytes)
            wait_for(lambda: mount.status()["transfers"]["running"] == 1, what="under way")
            assert reader.result(10) == raw(b"orders")
        assert mount.status()["resident_files"] == 1


def test_a_report_says_which_server_it_is_of(agnes, instance):
    assert agnes.sync(instance.url).document["source"] == instance.url
    with agnes.mount(instance.url) as mount:
        assert mount.refresh().document["source"] == instance.url


def test_status_says_what_is_not_here_and_why(agnes, instance):
    instance.add_table("remote", raw(b"1"), packages=["sales"], query_mode="remote")
    for number in range(25):
        instance.add_table(f"unsynced{number:02}", packages=["sales"])
    with agnes.mount(instance.url) as mount:
        status = mount.status()
        assert status["sections"]["data_packages"]["withheld"] == 26
        assert len(status["withheld"]) == 20
        assert status["withheld"][0] == {"section": "data_packages", "package": "sales",
                                         "name": "remote", "reason": status["withheld"][0]["reason"]}
        text = agnes.run("status", mount.path).out
        assert f"not here    sales/remote: {status['withheld'][0]['reason']}" in text
        assert "not here    6 more: agnesfs ls" in text


def test_only_text_is_asked_for_in_gzip(agnes, instance):
    instance.add_domain("finance", items=["Revenue is net."])
    instance.add_table("clicks", parts=PARTS, packages=["sales"])
    agnes.sync(instance.url)
    gzip = {request.path for request in instance.matching() if request.method == "GET"
            and "gzip" in request.headers.get("accept-encoding", "")}
    assert gzip == {"/api/sync/manifest", "/api/memory/bundle"}
    plain = instance.matching("/api/data/*")
    assert len(plain) == 3 and all("gzip" not in request.headers.get("accept-encoding", "")
                                   for request in plain)
