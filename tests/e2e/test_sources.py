"""Where a stack may come from, and what leaves this machine on the way."""

import base64
import calendar
import json
import os
import time

import pytest

from tests.lib.faultd import Fault, Server
from tests.lib.sites import Agnes, Folder
from tests.lib.stack import raw

FILES = {"data/sales/orders.parquet": raw(b"orders"),
         "data/events/clicks/month=2026-06/data.parquet": raw(b"june"),
         "memory/finance/bundle.md": b"# Finance\n"}


@pytest.fixture
def stack(stack):
    stack.add_package("sales", stack.add_table("orders", raw(b"orders")))
    stack.add_package("events", stack.add_table("clicks", {"month=2026-06/data.parquet":
                                                           raw(b"june")}))
    stack.add_domain("finance", "# Finance\n")
    return stack.write()


@pytest.fixture
def elsewhere(stack):
    """Another origin with the same files. Nobody may ask it anything."""
    with Server(Folder(stack.folder)) as server:
        yield server
        assert server.requests == []


def assert_synced(agnes, source):
    assert agnes.sync(source).total("added") == 3
    with agnes.mount(source) as mount:
        assert mount.files() == FILES


def test_path_of_a_folder(agnes, stack):
    assert_synced(agnes, stack.folder)


def test_path_of_a_manifest(agnes, stack):
    assert_synced(agnes, stack.folder / "manifest.json")


def test_relative_path(agnes, stack):
    assert_synced(agnes, os.path.relpath(stack.folder, agnes.home))


def test_file_url_of_a_folder(agnes, stack):
    assert_synced(agnes, stack.folder.as_uri())


def test_file_url_of_a_manifest(agnes, stack):
    assert_synced(agnes, stack.url)


def test_folder_with_odd_characters(agnes, stack, tmp_path):
    odd = tmp_path / "my stack, 100% \u00e9"
    stack.folder.rename(odd)
    assert_synced(agnes, odd)


def test_http_url_of_a_manifest(agnes, server):
    assert_synced(agnes, server.url)
    assert all("authorization" not in request.headers for request in server.requests)


def test_server_without_ranges(agnes, stack):
    with Server(Folder(stack.folder, ranges=False), "/manifest.json") as server:
        assert_synced(agnes, server.url)


def test_http_stack_below_a_folder(agnes, stack, tmp_path):
    with Server(Folder(tmp_path), "/stack/manifest.json?v=1") as server:
        assert_synced(agnes, server.url)


def test_all_spellings_of_a_folder_are_one_cache(agnes, stack):
    for source in (stack.folder, f"{stack.folder}/", stack.folder / "manifest.json", stack.url,
                   stack.folder.as_uri()):
        agnes.sync(source)
    assert len(agnes.caches()) == 1


def test_two_sources_are_two_caches(agnes, stack, server):
    agnes.sync(stack.url)
    agnes.sync(server.url)
    assert len(agnes.caches()) == 2


# --- an Agnes server ---


def test_agnes_server_with_a_token(agnes, agnes_server):
    agnes.write_token("a-token")
    assert_synced(agnes, agnes_server.url)
    for request in agnes_server.requests:
        assert request.headers["authorization"] == "Bearer a-token"


def test_agnes_server_as_the_agnes_cli_knows_it(agnes, agnes_server):
    agnes.write_token("a-token", server=agnes_server.url)
    assert agnes.run("sync", "--json").json()["data_packages"]["added"] == 2


def test_token_from_the_environment(agnes, agnes_server):
    agnes.env |= {"AGNES_SERVER": agnes_server.url, "AGNES_TOKEN": "a-token"}
    agnes.run("sync")
    assert agnes.cache().contents() == sorted(FILES.values())


def test_token_from_a_file(agnes, agnes_server, tmp_path):
    (tmp_path / "token").write_text("a-token\n")
    (tmp_path / "token").chmod(0o600)
    agnes.sync(agnes_server.url, "--token-file", tmp_path / "token")


def test_requests_are_few(agnes, agnes_server):
    agnes.write_token("a-token")
    agnes.sync(agnes_server.url)
    assert agnes_server.count() == 5  # manifest, three files, pull-confirm
    agnes_server.clear()
    agnes.sync(agnes_server.url)
    assert [request.path for request in agnes_server.requests] == ["/api/sync/manifest"]


@pytest.mark.parametrize("token", [None, "another-token"])
def test_refused_token_is_said_with_exit_code_3(agnes, agnes_server, token):
    if token:
        agnes.write_token(token)
    result = agnes.run("sync", agnes_server.url, expect=3)
    assert result.err.startswith("agnesfs: ")
    assert "\nhint: " in result.err
    assert token is None or token not in result.err
    assert agnes_server.count("/api/data/*") == 0


def test_unreachable_server_is_said_with_exit_code_4(agnes, agnes_server):
    agnes_server.close()
    result = agnes.run("sync", agnes_server.url, expect=4)
    assert "\nhint: " in result.err


def test_what_is_no_source_is_a_usage_error(agnes):
    for source in ("ftp://example.com/stack", "no such thing", "https://"):
        agnes.run("sync", source, expect=2)


def test_table_is_asked_for_by_id_then_by_name(agnes, stack):
    stack.add_package("crm", stack.add_table("leads", raw(b"leads"), id="in_c-crm_leads"))
    with Server(Agnes(stack, admin=True)) as server:
        agnes.sync(server.url)
        assert [request.path for request in server.matching("/api/data/*leads*")] == [
            "/api/data/in_c-crm_leads/download", "/api/data/leads/download"]


def test_table_that_neither_gets_is_one_clear_error(agnes, stack, agnes_server):
    stack.add_package("crm", stack.add_table("leads", raw(b"leads"), id="in_c-crm_leads"))
    agnes.write_token("a-token")
    report = agnes.sync(agnes_server.url, expect=1)
    assert [(line.group, line.name) for line in report.errors] == [("crm", "leads")]
    assert agnes.cache().contents() == sorted(FILES.values())
    assert agnes_server.count("/api/data/*leads*") <= 2


# --- what must not leave ---


def test_redirect_of_the_manifest_is_not_followed(agnes, agnes_server, elsewhere):
    agnes.write_token("a-token")
    agnes_server.always("/api/sync/manifest", Fault(redirect=f"{elsewhere.url}/manifest.json"))
    result = agnes.run("sync", agnes_server.url, expect=1)
    assert "redirect" in result.err or "302" in result.err


def test_redirect_of_a_table_is_not_followed(agnes, agnes_server, elsewhere):
    agnes.write_token("a-token")
    agnes_server.always("/api/data/orders/download",
                        Fault(redirect=f"{elsewhere.url}/tables/orders.parquet"))
    report = agnes.sync(agnes_server.url, expect=1)
    assert [line.name for line in report.errors] == ["orders"]


def test_redirect_within_the_origin_is_not_followed_either(agnes, server):
    server.always("/tables/orders.parquet", Fault(redirect="/tables/other.parquet"))
    agnes.sync(server.url, expect=1)
    assert server.count("/tables/other.parquet") == 0


@pytest.mark.parametrize("kind", ["server", "static"])
def test_table_at_another_origin_is_refused_unasked(agnes, stack, elsewhere, kind):
    stack.rows["orders"]["parquet_url"] = f"{elsewhere.url}/tables/orders.parquet"
    stack.write()
    site = Agnes(stack, token="a-token") if kind == "server" else Folder(stack.folder)
    if kind == "server":
        site.edit = lambda manifest: stack.manifest() | {"memory_domains": []}
    agnes.write_token("a-token")
    with Server(site, "" if kind == "server" else "/manifest.json") as server:
        report = agnes.sync(server.url, expect=1)
    assert "orders" in [line.name for line in report.errors]
    assert raw(b"orders") not in agnes.cache().contents()


def test_bundle_at_another_origin_is_refused_unasked(agnes, stack, agnes_server, elsewhere):
    address = f"{elsewhere.url}/memory/finance.md"
    agnes_server.site.edit = lambda manifest: manifest | {
        "memory_domains": [manifest["memory_domains"][0] | {"bundle_url": address}]}
    agnes.write_token("a-token")
    report = agnes.sync(agnes_server.url, expect=1)
    assert [line.name for line in report.errors] == ["finance"]


@pytest.mark.parametrize("address", ["../secret.parquet", "/etc/passwd", "file:///etc/passwd"])
def test_static_stack_on_disk_gives_nothing_but_parquet(agnes, stack, address):
    """A manifest may point anywhere on its own disk; the bytes must still be those it promises."""
    (stack.folder.parent / "secret.parquet").write_bytes(b"no parquet at all")
    stack.rows["orders"] |= {"parquet_url": address, "md5": "", "hash": ""}
    del stack.rows["orders"]["size_bytes"]
    stack.write()
    report = agnes.sync(stack.url, expect=None)
    assert [line.name for line in report.errors] == ["orders"]


def test_token_never_goes_to_a_static_source(agnes, server):
    agnes.write_token("a-token", server=server.url)
    agnes.env["AGNES_TOKEN"] = "a-token"
    agnes.sync(server.url)
    agnes.run("sync")
    assert server.requests
    assert all("a-token" not in str(request.headers) for request in server.requests)


def test_token_is_nowhere_on_disk_nor_in_any_output(agnes, agnes_server):
    agnes.env["AGNES_TOKEN"] = "a-token"
    result = agnes.run("sync", agnes_server.url, "--verbose")
    assert "a-token" not in result.out + result.err
    with agnes.mount(agnes_server.url) as mount:
        mount.refresh()
        assert "a-token" not in str(mount.status())
    for path in [*agnes.home.rglob("*"), *agnes.runtime.rglob("*")]:
        assert not path.is_file() or b"a-token" not in path.read_bytes(), path


# --- where the token comes from, and when it ends ---

def jwt(seconds):
    claims = json.dumps({"typ": "pat", "exp": int(time.time() + seconds)}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


@pytest.mark.parametrize("days, said", [(30, None), (6.5, "expires in 6 d"), (-2.5, "expired 2 d")])
def test_a_token_that_ends_soon_is_told_of_in_time(agnes, stack, days, said):
    token = jwt(days * 86400 + 60)
    agnes.write_token(token)
    with Server(Agnes(stack, token=token)) as server, agnes.mount(server.url) as mount:
        result = agnes.run("sync", server.url, "--dry-run", expect=None)
        line = agnes.run("status", mount.path, expect=None).out
        ends = mount.status(expect=None)["token_ends"]
        assert abs(calendar.timegm(time.strptime(ends, "%Y-%m-%dT%H:%M:%SZ"))
                   - time.time() - days * 86400) < 120
        if said:
            assert said in result.err and "log in again" in result.err
            assert f"ends {ends}" in line
        else:
            assert "expire" not in result.err and "log in" not in line


def test_status_says_which_source_and_token_won(agnes, agnes_server):
    agnes.write_token("a-token", server=agnes_server.url)
    with agnes.mount(None) as mount:
        document = mount.status()
        assert document["source_from"].endswith("config.yaml")
        assert document["token_from"].endswith("token.json")
        assert document["token_ends"] is None
        assert "token.json" in agnes.run("status", mount.path, "-v").out
