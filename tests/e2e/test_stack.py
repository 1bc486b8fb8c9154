"""`agnesfs stack`, and what a server is told of a refresh (pull-confirm)."""

import time

import pytest

from tests.lib.agnes_server import AgnesServer
from tests.lib.agnesfs import wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

SUBSCRIBE, BROWSE = "/api/stack/subscribe", "/api/stack/browse?type=*"
MANIFEST, CONFIRM = "/api/sync/manifest", "/api/sync/pull-confirm"
ORDERS = "data/sales/orders.parquet"


@pytest.fixture
def hub(agnes):
    """A server where one package is required and one offered, and its user is logged in."""
    with AgnesServer(token="a-token") as hub:
        hub.add_package("core")
        hub.add_package("sales", requirement="available")
        hub.add_table("orders", raw(b"orders"), packages=["sales"])
        hub.add_domain("finance", "Finance", requirement="available", subscribed=True)
        agnes.write_token("a-token", server=hub.origin)
        yield hub


def states(agnes):
    return {entry["slug"] or entry["id"]: entry["state"]
            for entry in agnes.run("stack", "list", "--json").json()["entries"]}


def calls(hub):
    return [f"{request.method} {request.path}" for request in hub.requests]


# --- list ---


def test_list_says_what_is_required_added_and_available(agnes, hub):
    result = agnes.run("stack")
    assert result.out == agnes.run("stack", "list").out
    assert [line.split() for line in result.out.splitlines()] == [
        ["STATE", "SLUG", "NAME", "ID"],
        ["required", "data/core", "Core", "dp_core"],
        ["available", "data/sales", "Sales", "dp_sales"],
        ["added", "memory/finance", "Finance", "md_finance"]]
    assert calls(hub)[:3] == ["GET /api/stack/browse"] * 2 + ["GET /api/sync/manifest"]
    for request in hub.requests:
        assert request.headers["authorization"] == "Bearer a-token"
        assert request.headers["user-agent"].startswith("agnesfs/")


def test_list_as_json(agnes, hub):
    assert agnes.run("stack", "list", "--json").json()["entries"][1] == {
        "section": "data_packages", "slug": "sales", "id": "dp_sales", "name": "Sales",
        "description": "", "state": "available", "in_stack": True, "copied": False}
    assert not agnes.caches()


def test_list_of_nothing(agnes, hub):
    hub.user.grants.clear()
    assert agnes.run("stack").out == ""
    assert agnes.run("stack", "--json").json() == {"schema": 1, "entries": []}


def test_names_can_not_move_the_cursor(agnes, hub):
    hub.packages["sales"].name = "\x1b[2Jx"
    assert "\\x1b[2Jx" in agnes.run("stack").out


def test_quiet_list_prints_nothing(agnes, hub):
    assert agnes.run("stack", "list", "--quiet").out == ""


def test_entry_without_an_id_is_left_out_and_said(agnes, hub):
    hub.script(BROWSE, Fault(body=b'{"items": [{"name": "x"}, {"id": "dp_core"}]}'))
    result = agnes.run("stack", "list", "--json")
    assert [entry["slug"] for entry in result.json()["entries"]] == ["core", "finance"]
    assert "entries without an id are left out: 1" in result.err


# --- add, remove ---


def test_add_and_remove_by_id(agnes, hub):
    assert agnes.run("stack", "add", "sales").out == "data/sales: added\n"
    assert hub.matching(SUBSCRIBE)[0].body == (
        b'{"resource_type":"data_package","resource_id":"dp_sales"}')
    assert hub.matching(SUBSCRIBE)[0].headers["content-type"] == "application/json"
    assert states(agnes) == {"core": "required", "sales": "added", "finance": "added"}
    assert agnes.run("stack", "remove", "memory/finance/").out == "memory/finance: removed\n"
    assert calls(hub)[-1] == "DELETE /api/stack/subscription/memory_domain/md_finance"
    assert states(agnes) == {"core": "required", "sales": "added", "finance": "available"}
    assert not agnes.caches()


def test_add_and_remove_twice_is_no_error(agnes, hub):
    assert agnes.run("stack", "add", "finance").out == "memory/finance: was added already\n"
    assert agnes.run("stack", "remove", "sales").out == "data/sales: was not added\n"
    assert agnes.run("stack", "add", "finance", "--json").json()["changed"] is False
    assert agnes.run("stack", "remove", "finance", "--json").json() == {
        "schema": 1,
        "action": "remove", "changed": True, "section": "memory_domains", "slug": "finance",
        "id": "md_finance", "name": "Finance", "mount": None, "report": None}


def test_classic_server_shows_no_slug_of_what_is_not_in_the_stack(agnes, hub):
    """Only the manifest knows slugs, and there it lists what is in the stack."""
    hub.auto_membership = False
    assert states(agnes) == {"core": "required", "dp_sales": "available", "finance": "added"}
    assert agnes.run("stack", "add", "Sales").out == "dp_sales: added\n"
    assert states(agnes)["sales"] == "added"


@pytest.mark.parametrize("change, mounted", [("add", True), ("remove", False)])
def test_mount_shows_the_change_when_the_verb_returns(agnes, hub, change, mounted):
    if change == "remove":
        hub.user.subscriptions.add("dp_sales")
    with agnes.mount(hub.origin) as mount:
        assert (mount / ORDERS).exists() is not mounted
        result = agnes.run("stack", change, "sales")
        assert (mount / ORDERS).exists() is mounted
        first, *report = result.out.splitlines()
        assert first == f"data/sales: {'added' if mounted else 'removed'}"
        assert any(("+1" if mounted else "-1") in line for line in report if "packages" in line)


def test_change_with_a_mount_as_json(agnes, hub):
    with agnes.mount(hub.origin) as mount:
        document = agnes.run("stack", "add", "sales", "--json").json()
        assert document["mount"] == str(mount.path)
        assert document["report"]["data_packages"]["added"] == 1
        assert (mount / ORDERS).read_bytes() == raw(b"orders")


def test_mount_that_can_not_be_refreshed_is_said_after_the_change(agnes, hub):
    with agnes.mount(hub.origin):
        hub.script(MANIFEST, Fault(), *[Fault(status=503)] * 10)
        result = agnes.run("stack", "add", "sales", expect=4)
        assert result.out == "data/sales: added\n" and "503" in result.err
        hub.script(MANIFEST, Fault(), *[Fault(status=503)] * 10)
        assert agnes.run("stack", "remove", "sales", "--json", expect=4).json()["changed"] is True
    assert hub.user.subscriptions == {"md_finance"}


# --- refusals ---


@pytest.mark.parametrize("change, words", [("add", "nothing to add"),
                                           ("remove", "can not be removed")])
def test_what_is_required_is_refused(agnes, hub, change, words):
    result = agnes.run("stack", change, "core", expect=1)
    assert "data/core: required" in result.err and words in result.err
    document = agnes.run("stack", change, "core", "--json", expect=1).json()
    assert words in document["error"] and document["exit"] == 1


def test_grant_that_has_just_been_revoked(agnes, hub):
    def revoke(manifest):
        hub.revoke(hub.packages["sales"])
        return manifest
    hub.edit = revoke  # between the list and the change
    result = agnes.run("stack", "add", "sales", expect=1)
    assert "data/sales: not granted to you" in result.err and "hint: " in result.err
    assert calls(hub)[-1] == f"POST {SUBSCRIBE}"


def test_shared_session_may_not(agnes, hub):
    def share(manifest):
        hub.user.co_session = True
        return manifest
    hub.edit = share
    assert "shared session" in agnes.run("stack", "add", "sales", expect=1).err
    assert "co_session" in agnes.run("stack", "list", expect=3).err


def test_unknown_slug_names_the_nearest(agnes, hub):
    hub.add_package("sale", requirement="available")
    result = agnes.run("stack", "add", "slaes", expect=1)
    assert "hint: did you mean data/sales?" in result.err
    result = agnes.run("stack", "add", "data/salex", expect=1)
    assert "hint: did you mean data/sale, data/sales?" in result.err
    for name in "quite-something-else", "x" * 80, "/":
        result = agnes.run("stack", "remove", name, expect=1)
        assert "hint: agnesfs stack list" in result.err
    assert hub.count(SUBSCRIBE) == hub.count("/api/stack/subscription/*") == 0


def test_name_of_two_is_a_question(agnes, hub):
    hub.add_domain("sales", requirement="available")
    result = agnes.run("stack", "add", "sales", expect=2)
    assert "data/sales, memory/sales" in result.err
    agnes.run("stack", "add", "memory/sales")
    assert "md_sales" in hub.user.subscriptions and "dp_sales" not in hub.user.subscriptions


@pytest.mark.parametrize("args", [("add",), ("remove",), ("add", ""), ("list", "x"), ("drop", "x")])
def test_usage(agnes, hub, args):
    assert "usage: agnesfs stack" in agnes.run("stack", *args, expect=2).err
    assert hub.count() == 0


def test_static_stack_has_no_such_thing(agnes, stack):
    for args in ("list",), ("add", "sales"):
        result = agnes.run("stack", *args, "--server", stack.write().url, expect=2)
        assert "static stack" in result.err


# --- no answer ---


@pytest.mark.parametrize("token", [None, "another"])
@pytest.mark.parametrize("args", [("list",), ("add", "sales")])
def test_refused_token_is_exit_code_3(agnes, hub, args, token):
    if token:
        agnes.write_token(token, server=hub.origin)
    else:
        (agnes.config_home / "agnes/token.json").unlink()
    result = agnes.run("stack", *args, expect=3)
    assert ("refused the token" if token else "no token was found") in result.err
    assert token is None or token not in result.err.split()
    assert len(calls(hub)) == 1


def test_token_refused_at_the_change(agnes, hub):
    hub.script(SUBSCRIBE, Fault(status=401))
    assert "token" in agnes.run("stack", "add", "sales", expect=3).err


def test_unreachable_server_is_exit_code_4(agnes, hub):
    hub.close()
    for args in ("list",), ("add", "sales"), ("remove", "sales"):
        assert "unreachable" in agnes.run("stack", *args, expect=4).err


def test_server_that_says_nothing_is_given_up(agnes, hub):
    hub.script(SUBSCRIBE, Fault(delay=30))
    began = time.monotonic()
    agnes.run("stack", "add", "sales", "--timeout", "1s", expect=4)
    assert time.monotonic() - began < 10


def test_server_that_moved_names_its_new_address_and_is_not_followed(agnes, hub):
    with AgnesServer() as new:
        hub.moved = new.origin
        result = agnes.run("stack", "list", expect=1)
        assert f"moved to {new.origin}/api/stack/browse, not followed" in result.err
        assert new.count() == 0


@pytest.mark.parametrize("fault", [Fault(html=True), Fault(body=b"{}"), Fault(body=b"[1"),
                                   Fault(status=404)])
def test_answer_that_is_none_is_exit_code_1(agnes, hub, fault):
    hub.always(BROWSE, fault)
    assert "no usable answer" in agnes.run("stack", "list", expect=1).err


# --- pull-confirm ---


CONFIRMED = ("direct_tables", "data_packages", "memory_domains")  # what the server has words for


def counts(hub):
    """Of the confirmations that came: {section: counts that are not zero}."""
    assert all(set(body) == {*CONFIRMED, "errors", "duration_ms"} for body in hub.confirmed)
    return [{section: {name: number for name, number in body[section].items() if number}
             for section in CONFIRMED if any(body[section].values())} for body in hub.confirmed]


def await_confirmation(hub, number=1):
    wait_for(lambda: len(hub.confirmed) >= number, what="a confirmation")


def test_changing_refresh_is_confirmed_once_and_another_is_not(agnes, hub):
    with agnes.mount(hub.origin, "prefetch=none") as mount:
        await_confirmation(hub)
        assert counts(hub) == [{"memory_domains": {"added": 1}}]
        hub.clear()
        mount.refresh()
        mount.refresh()
        hub.user.subscriptions.add("dp_sales")
        assert calls(hub) == [f"GET {MANIFEST}"] * 2
        mount.refresh()
        await_confirmation(hub, 2)
        assert counts(hub)[1:] == [{"data_packages": {"added": 1}}]
        assert hub.confirmed[1]["errors"] == 0 and hub.confirmed[1]["duration_ms"] >= 0
        mount.refresh()
    assert calls(hub) == [f"GET {MANIFEST}"] * 3 + [f"POST {CONFIRM}", f"GET {MANIFEST}"]


def test_sync_confirms_before_it_ends(agnes, hub):
    agnes.sync(hub.origin)
    assert counts(hub) == [{"memory_domains": {"added": 1}}]
    agnes.sync(hub.origin)
    assert hub.count(CONFIRM) == 1


def test_dry_run_confirms_nothing(agnes, hub):
    agnes.run("sync", hub.origin, "--dry-run")
    assert calls(hub)[0] == f"GET {MANIFEST}" and hub.count(CONFIRM) == 0


def test_report_off_confirms_nothing(agnes, hub):
    agnes.sync(hub.origin, "--report=off")
    hub.user.subscriptions.add("dp_sales")
    with agnes.mount(hub.origin, "report=off") as mount:
        assert (mount / ORDERS).read_bytes() == raw(b"orders")
    assert hub.count(CONFIRM) == 0


def test_second_mount_of_the_cache_confirms_nothing(agnes, hub):
    (agnes.folder / "second").mkdir()
    with agnes.mount(hub.origin) as mount, agnes.mount(hub.origin, path=agnes.folder / "second"):
        await_confirmation(hub)
        hub.user.subscriptions.add("dp_sales")
        mount.refresh()
        wait_for((agnes.folder / "second" / ORDERS).exists)
        await_confirmation(hub, 2)
    assert hub.count(CONFIRM) == 2


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(status=404), Fault(reset=True),
                                   Fault(html=True), Fault(redirect="http://127.0.0.1:9/")])
def test_failed_confirmation_harms_nothing_and_is_not_repeated(agnes, hub, fault):
    hub.always(CONFIRM, fault)
    report = agnes.sync(hub.origin)
    assert report.total("added") == 1 and report.document["error"] is None
    agnes.sync(hub.origin)
    assert hub.count(CONFIRM) == 1


def test_confirmation_that_hangs_delays_no_refresh(agnes, hub):
    hub.always(CONFIRM, Fault(delay=30))
    with agnes.mount(hub.origin) as mount:
        for add in (True, False, True):
            (hub.user.subscriptions.add if add else hub.user.subscriptions.discard)("dp_sales")
            began = time.monotonic()
            report = mount.refresh()
            assert report.document["error"] is None
            assert time.monotonic() - began < 1.5
            assert (mount / ORDERS).exists() is add
        began = time.monotonic()
    assert time.monotonic() - began < 5
