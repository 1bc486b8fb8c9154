"""What an Agnes instance says no to, or keeps to itself, and what the user is told of it."""

import errno
import os

import pytest

from tests.lib.agnes_server import AgnesServer
from tests.lib.agnesfs import wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

ORDERS = "data/sales/orders.parquet"


def stack_requests(instance):
    return instance.count("/api/stack*")


# --- the whole server ---

@pytest.mark.parametrize("detail", ["Token expired", "Token revoked", "Account deactivated"])
def test_the_servers_own_reason_for_refusing_the_token_is_told(agnes, instance, detail):
    instance.user.refused = detail
    result = agnes.run("sync", instance.url, expect=3)
    assert f"the server refused the token (401): {detail}\n" in result.err
    assert "/setup" in result.err


def test_a_reason_can_not_write_on_the_terminal(agnes, instance):
    instance.user.refused = "go\x1b[31m away\n" + 300 * "x"
    result = agnes.run("sync", instance.url, expect=3)
    assert "\x1b" not in result.err and "go\\" in result.err
    assert all(len(line) < 300 for line in result.err.splitlines())


@pytest.mark.parametrize("status", [301, 308])
def test_a_server_that_has_moved_is_not_followed_and_its_new_address_is_told(agnes, instance,
                                                                             status):
    with AgnesServer() as new:
        instance.moved, instance.moved_status = new.url, status
        result = agnes.run("sync", instance.url, expect=1)
        assert f"moved to {new.url}" in result.err and str(status) in result.err
        assert "use that address" in result.err
        assert new.count() == 0


def test_a_server_that_wants_newer_clients_is_obeyed(agnes, instance):
    with agnes.mount(instance.url) as mount:
        instance.min_version = "0.84.8"
        mount.refresh()
        instance.min_version = "0.84.9"
        result = agnes.run("refresh", mount.path, expect=1)
        assert "0.84.9" in result.err and "upgrade agnesfs" in result.err
        assert (mount / ORDERS).read_bytes() == raw(b"orders")
        for nonsense in ("", "soon", "0.0.0", "0.9"):
            instance.min_version = nonsense
            mount.refresh()


# --- ids and names ---

def test_a_table_that_is_stored_by_its_name_is_found_and_that_is_remembered(agnes, instance):
    instance.user.admin = True
    instance.add_table("leads", raw(b"1"), id="in_c-crm_leads", packages=["sales"])
    by_id, by_name = "/api/data/in_c-crm_leads/download", "/api/data/leads/download"
    with agnes.mount(instance.url, "prefetch=none") as mount:
        path = mount / "data/sales/leads.parquet"
        assert path.read_bytes() == raw(b"1")
        assert (instance.count(by_id), instance.count(by_name)) == (1, 1)
        for content in (b"2", b"3"):
            instance.publish("in_c-crm_leads", raw(content))
            mount.refresh()
            assert path.read_bytes() == raw(content)
        assert (instance.count(by_id), instance.count(by_name)) == (1, 3)


def test_when_it_is_stored_by_its_id_after_all_it_is_found_again(agnes, instance):
    instance.user.admin = True
    table = instance.add_table("leads", raw(b"1"), id="in_c-crm_leads", packages=["sales"])
    with agnes.mount(instance.url, "prefetch=none") as mount:
        path = mount / "data/sales/leads.parquet"
        assert path.read_bytes() == raw(b"1")
        table.stored_as = table.id
        instance.publish(table.id, raw(b"2"))
        mount.refresh()
        assert path.read_bytes() == raw(b"2")


def test_a_table_that_neither_its_id_nor_its_name_can_fetch_says_so(agnes, instance):
    instance.add_table("leads", raw(b"1"), id="in_c-crm_leads", packages=["sales"])
    with agnes.mount(instance.url, "prefetch=none") as mount:
        path = mount / "data/sales/leads.parquet"
        with pytest.raises(OSError) as caught:
            path.read_bytes()
        assert caught.value.errno == errno.EACCES
        reason = mount.xattr("data/sales/leads.parquet", "error")
        assert "not there under its id (404)" in reason and "by its name" in reason
        assert "refused access (403)" in reason
        assert (mount / ORDERS).read_bytes() == raw(b"orders")


def test_a_name_that_the_server_can_not_take_is_not_asked_for(agnes, instance):
    instance.add_table("My table", raw(b"1"), id="my_table", stored_by="id", packages=["sales"])
    agnes.sync(instance.url)
    assert instance.count("/api/data/my_table/download") == 1
    instance.unpublish("my_table")
    instance.add_table("Other table", id="other_table", packages=["sales"]).state = \
        instance.tables["my_table"].state | {"hash": "0" * 32}
    agnes.run("sync", instance.url, expect=1)
    assert instance.count("/api/data/other_table/download") == 1
    assert instance.count("/api/data/Other*") == 0


# --- kept on the server ---

def withheld(agnes, instance):
    return {line.name: line.reason for line in agnes.sync(instance.url).skipped}


def test_the_two_meanings_of_server_only_are_told_apart(agnes, instance):
    instance.add_package("extra", requirement="available")
    instance.add_table("offered", raw(b"1"), packages=["extra"])
    instance.add_package("taken", requirement="available", subscribed=True)
    instance.add_table("secret", raw(b"2"), packages=["taken"], server_only=True)
    instance.add_table("flagged", raw(b"3"), packages=["sales"], server_only=True)
    assert withheld(agnes, instance) == {
        "offered": "not copied to your stack (server_only): agnesfs stack add extra",
        "secret": "kept on the server (server_only)",
        "flagged": "kept on the server (server_only)",
    }
    assert stack_requests(instance) == 1


def test_that_costs_one_request_once(agnes, instance):
    instance.add_package("extra", requirement="available")
    instance.add_table("offered", raw(b"1"), packages=["extra"])
    agnes.sync(instance.url)
    instance.clear()
    report = agnes.sync(instance.url)
    assert instance.count() == 1
    assert "agnesfs stack add extra" in report.skipped[0].reason
    instance.add_package("more", requirement="available")
    instance.add_table("also", raw(b"2"), packages=["more"])
    agnes.sync(instance.url)
    assert stack_requests(instance) == 1


def test_what_is_not_explained_is_withheld_all_the_same(agnes, instance):
    instance.add_package("extra", requirement="available")
    instance.add_table("offered", raw(b"1"), packages=["extra"])
    instance.always("/api/stack*", Fault(status=500))
    assert "which did not say why" in withheld(agnes, instance)["offered"]
    instance.forget()
    instance.clear()
    agnes.sync(instance.url)
    assert instance.count() == 1, "a server that does not say is not asked again and again"


def test_a_table_that_is_subscribed_to_comes_and_goes(agnes, instance):
    package = instance.add_package("extra", requirement="available")
    instance.add_table("offered", raw(b"1"), packages=["extra"])
    with agnes.mount(instance.url) as mount:
        path = mount / "data/extra/offered.parquet"
        assert not path.exists()
        instance.user.subscriptions.add(package.id)
        mount.refresh()
        assert path.read_bytes() == raw(b"1")
        instance.user.subscriptions.clear()
        mount.refresh()
        assert not path.exists()
        assert "agnesfs stack add extra" in agnes.run("ls", mount.path).out


# --- servers of another age ---

def test_tables_of_a_server_from_before_packages_have_a_folder_of_their_own(agnes, instance):
    instance.shape = "pre-v49"
    instance.user.admin = True
    with agnes.mount(instance.url, "report=off") as mount:
        assert mount.files() == {"data/_tables/orders.parquet": raw(b"orders")}
        instance.publish("orders", raw(b"new"))
        mount.refresh()
        assert mount.files() == {"data/_tables/orders.parquet": raw(b"new")}
        instance.clear()
        generation = mount.refresh().generation
        assert instance.count() == 1
        assert mount.refresh().generation == generation


def test_a_server_that_learns_of_packages_loses_nothing(agnes, instance):
    instance.shape = "pre-v49"
    instance.user.admin = True
    agnes.sync(instance.url)  # so that nothing is fetched ahead meanwhile
    with agnes.mount(instance.url) as mount:
        table = "data/_tables/orders.parquet"
        wait_for(lambda: mount.xattr(table, "state") == "resident", what="the table")
        inode = os.stat(mount / table).st_ino
        instance.shape = "now"
        instance.clear()
        mount.refresh()
        assert os.stat(mount / ORDERS).st_ino == inode
        assert instance.count("/api/data/*") == 0
        mount.refresh()
        wait_for(lambda: mount.names() >= {"data/sales/orders.parquet"}, what="the package")
        assert not (mount / "data/_tables").exists()


def test_half_a_manifest_is_no_server_from_before_packages(agnes, instance):
    with agnes.mount(instance.url) as mount:
        instance.shape = "pre-v49"
        report = mount.refresh()
        assert report.held("data_packages") and report.held("direct_tables")
        assert mount.files() == {ORDERS: raw(b"orders")}


def test_a_package_whose_display_name_is_no_text_is_a_package(agnes, instance):
    def edit(manifest):
        manifest["data_packages"][0]["name"] = 5
        return manifest

    instance.edit = edit
    with agnes.mount(instance.url) as mount:
        assert (mount / ORDERS).read_bytes() == raw(b"orders")
