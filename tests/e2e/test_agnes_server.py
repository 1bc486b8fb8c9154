"""That tests/lib/agnes_server.py is the server the other tests take it for.

Each test pins one behaviour of a real Agnes instance; the number is the section of the contract
that describes it. Nothing here needs agnesfs.
"""

import gzip
import hashlib
import http.client
import json
import time
import urllib.parse

import pytest

from tests.lib.agnes_server import AgnesServer, Item
from tests.lib.faultd import Fault

MANIFEST, ORDERS = "/api/sync/manifest", "/api/data/orders/download"
ONE, TWO = b"PAR1" + bytes(range(92)) + b"PAR1", b"PAR1 two PAR1"
JUNE = "month=2026-06/data.parquet"


@pytest.fixture(scope="session")
def binary():
    """Nothing need be built."""


@pytest.fixture
def server():
    with AgnesServer() as server:
        yield server


@pytest.fixture
def sales(server):
    """One required package with one table."""
    server.add_package("sales")
    server.add_table("orders", ONE, packages=["sales"], rows=3)
    return server


class Reply:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.body)

    @property
    def detail(self):
        return self.json()["detail"]


def ask(server, target, method="GET", token="a-token", body=None, **headers):
    """Header names as arguments: if_none_match="..."."""
    url = urllib.parse.urlsplit(target if "://" in target else server.origin + target)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    try:
        path = url._replace(scheme="", netloc="").geturl()
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        return Reply(connection.getresponse())
    finally:
        connection.close()


def md5(content):
    return hashlib.md5(content.encode() if isinstance(content, str) else content).hexdigest()


def manifest(server, **how):
    return ask(server, MANIFEST, **how).json()


# --- the manifest ---


def test_manifest_has_all_seven_keys_even_when_there_is_nothing(server):
    """1.1"""
    found = manifest(server)
    assert found.pop("server_time")
    assert found == {"tables": {}, "assets": {}, "data_packages": [], "memory_domains": [],
                     "direct_tables": [], "knowledge_artifacts": []}


def test_server_time_differs_on_every_request(server):
    """1.1"""
    times = [manifest(server)["server_time"] for _ in range(3)]
    assert len(set(times)) == 3
    assert all(time.endswith("+00:00") and "." in time for time in times)


def test_flat_tables_are_keyed_by_name_and_have_no_id_and_no_md5(server):
    """1.2"""
    server.add_package("crm")
    server.add_table("leads", ONE, id="in_c-crm_leads", packages=["crm"])
    tables = manifest(server)["tables"]
    assert set(tables["leads"]) == {"hash", "updated", "size_bytes", "rows", "query_mode",
                                    "server_only", "source_type"}


def test_failed_table_is_a_row_of_nulls(server):
    """1.2"""
    server.add_package("sales")
    server.add_table("orders", failed=True, packages=["sales"])
    found = manifest(server)
    for row in (found["tables"]["orders"], found["data_packages"][0]["tables"][0]):
        assert [row[key] for key in ("hash", "size_bytes", "rows", "updated")] == [None] * 4


@pytest.mark.parametrize("naive", [True, False])
def test_updated_may_lack_the_offset(server, naive):
    """1.2"""
    server.naive_times = naive
    server.add_package("sales")
    server.add_table("orders", ONE, packages=["sales"])
    assert manifest(server)["tables"]["orders"]["updated"].endswith("+00:00") is not naive


def test_typed_entry_has_the_hash_twice_and_no_address(sales):
    """1.3"""
    package = manifest(sales)["data_packages"][0]
    assert set(package) == {"id", "slug", "name", "icon", "color", "description", "requirement",
                            "tables", "total_size_bytes"}
    row = package["tables"][0]
    assert set(row) == {"id", "name", "hash", "md5", "size_bytes", "rows", "query_mode",
                        "server_only", "access_policy", "access_policy_fingerprint",
                        "source_type", "updated"}
    assert row["hash"] == row["md5"] and row["size_bytes"] == len(ONE) and row["rows"] == 3


def test_table_that_was_never_synced_is_in_its_package_only(server):
    """1.3"""
    server.add_package("sales")
    server.add_table("orders", packages=["sales"])
    found = manifest(server)
    row = found["data_packages"][0]["tables"][0]
    assert (row["hash"], row["md5"], row["size_bytes"], row["rows"]) == ("", "", 0, 0)
    assert found["tables"] == {}
    assert ask(server, ORDERS).status == 404


def test_total_size_counts_what_is_withheld(sales):
    """1.3"""
    sales.add_table("refunds", TWO, server_only=True, packages=["sales"])
    assert manifest(sales)["data_packages"][0]["total_size_bytes"] == len(ONE) + len(TWO)


def test_unsubscribed_package_is_listed_as_server_only_and_served_all_the_same(server):
    """1.3"""
    server.add_package("sales", requirement="available")
    server.add_table("orders", ONE, packages=["sales"])
    assert manifest(server)["data_packages"][0]["tables"][0]["server_only"] is True
    assert ask(server, ORDERS).body == ONE


def test_flat_server_only_is_that_of_any_package_the_typed_one_its_own(sales):
    """1.3"""
    package = sales.add_package("more", requirement="available")
    package.tables.append("orders")
    found = manifest(sales)
    assert found["tables"]["orders"]["server_only"] is True
    assert [package["tables"][0]["server_only"] for package in found["data_packages"]] == [
        False, True]


def test_policy_fingerprint_is_per_caller(server):
    """1.3"""
    package = server.add_package("sales")
    server.grant(package, "required", server.add_user("b-token", email="b@example.com"))
    server.add_table("orders", ONE, packages=["sales"], access_policy=True)
    rows = [manifest(server, token=token)["data_packages"][0]["tables"][0]
            for token in ("a-token", "b-token")]
    assert rows[0]["access_policy"] is True
    assert rows[0]["access_policy_fingerprint"] != rows[1]["access_policy_fingerprint"]


def test_slug_is_not_validated_nor_encoded_in_the_bundle_url(server):
    """1.4"""
    server.add_package("_shared")
    server.add_domain("R&D notes")
    found = manifest(server)
    assert found["data_packages"][0]["slug"] == "_shared"
    assert found["memory_domains"][0]["bundle_url"] == "/api/memory/bundle?domain=R&D notes"


def test_domain_counts_pending_items_but_requires_only_approved_ones(server):
    """1.4"""
    server.add_domain("finance", items=[Item("a", "A", "a", "pending"), Item("b", "B", "b"),
                                        Item("c", "C", "c", is_required=True),
                                        Item("d", "D", "d", "pending", is_required=True)])
    domain = manifest(server)["memory_domains"][0]
    assert (domain["items_count"], domain["required_count"]) == (4, 1)


def test_empty_domain_has_the_md5_of_nothing(server):
    """1.4"""
    server.add_domain("finance")
    assert manifest(server)["memory_domains"][0]["md5"] == "d41d8cd98f00b204e9800998ecf8427e"


def test_knowledge_artifacts_have_chunks_first_then_digests_by_slug(server):
    """1.5"""
    server.add_digest("weekly", "# Weekly\n", status="stale", status_reason="no source")
    server.add_digest("daily", "# Daily\n")
    server.add_chunks("handbook", b"duck", name="Handbook", chunks=7)
    server.add_digest("pending", "")
    rows = manifest(server)["knowledge_artifacts"]
    assert [row.get("slug", row["kind"]) for row in rows] == ["chunks", "daily", "weekly"]
    assert set(rows[0]) == {"kind", "corpus_id", "name", "md5", "size_bytes", "chunks", "built_at",
                            "url"}
    assert set(rows[2]) == {"kind", "id", "slug", "title", "status", "status_reason",
                            "generated_at", "md5", "url"}
    assert rows[0]["url"] == "/api/knowledge/artifacts/handbook/download"
    assert rows[2]["status"] == "stale"


def test_parts_are_sorted_and_the_hash_is_their_rollup(server):
    """1.6"""
    server.add_package("events")
    server.add_table("clicks", parts={"b.parquet": TWO, "a.parquet": ONE}, packages=["events"])
    row = manifest(server)["data_packages"][0]["tables"][0]
    assert [part["path"] for part in row["parts"]] == ["a.parquet", "b.parquet"]
    assert row["hash"] == md5(f"a.parquet:{md5(ONE)}\nb.parquet:{md5(TWO)}")
    assert row["size_bytes"] == len(ONE) + len(TWO)
    assert manifest(server)["tables"]["clicks"]["parts"] == row["parts"]


def test_table_without_parts_has_no_such_key(sales):
    """1.6"""
    assert "parts" not in manifest(sales)["data_packages"][0]["tables"][0]


def test_flat_file_wins_over_parts(server):
    """2, #1339"""
    server.add_package("events")
    server.add_table("clicks", ONE, parts={"a.parquet": TWO}, packages=["events"])
    row = manifest(server)["tables"]["clicks"]
    assert "parts" not in row and row["size_bytes"] == len(ONE)
    assert ask(server, "/api/data/clicks/download?part=a.parquet").body == TWO


def test_manifest_has_no_validators(sales):
    """1.8"""
    headers = ask(sales, MANIFEST).headers
    assert not {"ETag", "Last-Modified", "Cache-Control"} & set(headers)


def test_manifest_stamps_the_user_and_leaves_an_audit_row_and_an_event(sales):
    """1.8"""
    manifest(sales)
    first = sales.user.last_pull_at
    manifest(sales)
    assert sales.user.last_pull_at > first
    assert sales.effects("audit:manifest.fetch") == 2
    assert sales.effects("event:sync.pull_started") == 2


@pytest.mark.parametrize("section", ["data_packages", "memory_domains", "knowledge_artifacts"])
def test_failing_section_is_empty_with_status_200(sales, section):
    """1.8"""
    sales.add_domain("finance")
    sales.add_chunks("handbook", b"duck")
    assert manifest(sales)[section]
    sales.failing = {section}
    reply = ask(sales, MANIFEST)
    assert reply.status == 200 and reply.json()[section] == []


def test_failing_packages_section_leaves_the_stack_endpoint_alone(sales):
    """1.8"""
    sales.failing = {"data_packages"}
    assert len(ask(sales, "/api/stack?type=data_package").json()["items"]) == 1


def test_keys_can_be_left_out(sales):
    """6.3, B11"""
    sales.omitted = {"data_packages", "tables"}
    assert "data_packages" not in manifest(sales)


def test_manifest_may_be_cut_in_half(sales):
    """1.8"""
    sales.edit = lambda manifest: json.dumps(manifest)[:200]
    reply = ask(sales, MANIFEST)
    assert reply.status == 200 and len(reply.body) == 200
    with pytest.raises(ValueError):
        reply.json()


def test_v49_manifest_has_no_newer_fields(sales):
    """1.10"""
    sales.shape = "v49"
    found = manifest(sales)
    assert "knowledge_artifacts" not in found and "server_only" not in found["tables"]["orders"]
    assert set(found["data_packages"][0]["tables"][0]) == {
        "id", "name", "hash", "md5", "size_bytes", "rows", "query_mode", "source_type", "updated"}


def test_manifest_before_v49_has_three_keys(sales):
    """1.10"""
    sales.shape = "pre-v49"
    found = manifest(sales)
    assert set(found) == {"tables", "assets", "server_time"}
    assert "hash" in found["tables"]["orders"]


# --- who sees what ---


def test_what_is_not_granted_is_not_there(server):
    """1.9"""
    package = server.add_package("sales", requirement=None)
    server.add_table("orders", ONE, packages=["sales"])
    found = manifest(server)
    assert (found["tables"], found["data_packages"]) == ({}, [])
    server.grant(package)
    assert manifest(server)["data_packages"]
    server.revoke(package)
    assert manifest(server)["data_packages"] == []
    assert ask(server, ORDERS).status == 403


def test_classic_membership_leaves_out_what_is_not_subscribed_to(server):
    """1.9"""
    server.auto_membership = False
    server.add_package("sales", requirement="available")
    server.add_table("orders", ONE, packages=["sales"])
    assert manifest(server)["data_packages"] == []
    assert ask(server, ORDERS).status == 403
    server.user.subscriptions.add("dp_sales")
    assert manifest(server)["data_packages"][0]["tables"][0]["server_only"] is False


def test_admin_of_the_whole_surface_has_every_flat_table_but_only_the_stack_typed(server):
    """1.9"""
    server.user.admin = True
    server.add_table("orders", ONE)
    found = manifest(server)
    assert list(found["tables"]) == ["orders"] and found["data_packages"] == []


def test_admin_of_the_stack_surface_is_an_analyst(server):
    """1.9"""
    server.user.admin, server.user.surface = True, "stack"
    server.add_table("orders", ONE)
    assert manifest(server)["tables"] == {}
    assert ask(server, ORDERS).status == 403


# --- headers, tokens, outages ---


def test_api_answers_carry_the_versions_and_nothing_else_does(server):
    """1.8"""
    server.min_version = "9.0.0"
    for path in (MANIFEST, "/api/nothing", ORDERS):
        headers = ask(server, path).headers
        assert headers["X-Agnes-Latest-Version"] == "0.84.8"
        assert headers["X-Agnes-Min-Version"] == "9.0.0"
        assert headers["X-Agnes-Accepts"] == "session-gzip"
        assert headers["X-Request-ID"]
    assert "X-Agnes-Latest-Version" not in ask(server, "/cli/latest").headers


def test_large_answers_are_compressed_for_who_accepts_it(sales):
    """1.8"""
    small = ask(sales, MANIFEST, accept_encoding="gzip")
    assert len(small.body) < 1024 and "Content-Encoding" not in small.headers
    for index in range(9):
        sales.add_domain(f"domain{index}", items=["text " * 1000])
    for path in (MANIFEST, "/api/memory/bundle?domain=domain0"):
        plain, packed = ask(sales, path), ask(sales, path, accept_encoding="gzip, br")
        assert "Content-Encoding" not in plain.headers and len(plain.body) >= 1024
        assert packed.headers["Content-Encoding"] == "gzip"
        assert len(gzip.decompress(packed.body)) == len(plain.body)


def test_tables_are_never_compressed(server):
    """1.8"""
    server.add_package("sales")
    server.add_table("orders", bytes(5000), packages=["sales"])
    reply = ask(server, ORDERS, accept_encoding="gzip")
    assert "Content-Encoding" not in reply.headers and reply.body == bytes(5000)


@pytest.mark.parametrize("header", [None, "", "bearer a-token", "Basic YTpi", "Bearer "])
def test_missing_token_is_401(server, header):
    """1.8, 4: the prefix is compared as it is written"""
    headers = {"authorization": header} if header is not None else {}
    reply = ask(server, MANIFEST, token=None, **headers)
    assert (reply.status, reply.detail) == (401, "Missing or invalid Authorization header")


def test_unknown_token_is_401(server):
    """1.8"""
    reply = ask(server, MANIFEST, token="x")
    assert (reply.status, reply.detail) == (401, "Invalid or expired token")


@pytest.mark.parametrize("detail", ["Token expired", "Token revoked", "Token unknown",
                                    "Token mismatch", "Account deactivated", "User not found"])
def test_refused_token_is_401_and_says_why(sales, detail):
    """1.8"""
    sales.user.refused = detail
    for path in (MANIFEST, ORDERS, "/api/stack?type=data_package"):
        reply = ask(sales, path)
        assert (reply.status, reply.detail) == (401, detail)
    assert sales.effects("audit:manifest.fetch") == 0


def test_cookie_serves_where_there_is_no_bearer(server):
    """4"""
    assert ask(server, MANIFEST, token=None, cookie="a=b; access_token=a-token").status == 200


def test_every_accepted_token_costs_a_write(sales):
    """2"""
    for _ in range(3):
        ask(sales, ORDERS, range="bytes=0-0")
    assert sales.effects("token.mark_used") == 3


def test_unknown_path_is_404_without_a_token(server):
    """1.8"""
    reply = ask(server, "/api/nothing", token=None)
    assert (reply.status, reply.detail) == (404, "Not Found")


@pytest.mark.parametrize("status", [502, 503])
def test_maintenance_is_a_page_for_every_path(sales, status):
    """1.8"""
    sales.maintenance = status
    for path in (MANIFEST, ORDERS, "/api/health"):
        reply = ask(sales, path)
        assert reply.status == status
        assert reply.headers["Content-Type"].startswith("text/html")
        assert "X-Agnes-Latest-Version" not in reply.headers
    assert sales.effects("last_pull_at") == 0
    sales.maintenance = 0
    assert ask(sales, MANIFEST).status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_moved_server_redirects_every_path(sales, status):
    """5"""
    sales.moved, sales.moved_status = "https://new.example.com", status
    reply = ask(sales, f"{ORDERS}?part=a")
    assert reply.status == status
    assert reply.headers["Location"] == f"https://new.example.com{ORDERS}?part=a"


def test_faults_go_on_top(sales):
    """5: what proxies and networks do"""
    sales.script(ORDERS, Fault(status=503), Fault(flip=10), Fault(cut=5))
    assert ask(sales, ORDERS).status == 503
    damaged = ask(sales, ORDERS, range="bytes=8-11")
    assert damaged.status == 206 and damaged.body[2] == ONE[10] ^ 1
    with pytest.raises(http.client.IncompleteRead):
        ask(sales, ORDERS)
    sales.script(ORDERS, Fault(reset=True))
    with pytest.raises(OSError):
        ask(sales, ORDERS)
    sales.script(ORDERS, Fault(delay=0.2))
    start = time.monotonic()
    assert ask(sales, ORDERS).body == ONE
    assert time.monotonic() - start >= 0.2


def test_fault_replaces_what_would_have_been_compressed(sales):
    """1.8"""
    sales.edit = lambda manifest: manifest | {"more": "text " * 1000}
    sales.script(MANIFEST, Fault(status=500), Fault(body=b"{}"))
    for body in (b"status 500\n", b"{}"):
        reply = ask(sales, MANIFEST, accept_encoding="gzip")
        assert reply.body == body and "Content-Encoding" not in reply.headers
    assert ask(sales, MANIFEST, accept_encoding="gzip").headers["Content-Encoding"] == "gzip"


# --- downloads ---


def test_download_is_the_file(sales):
    """2"""
    reply = ask(sales, ORDERS)
    mtime = sales.tables["orders"].file.mtime_ns
    assert (reply.status, reply.body) == (200, ONE)
    assert reply.headers["ETag"] == f'"{mtime}"'
    assert reply.headers["Last-Modified"].endswith("GMT")
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers["Content-Disposition"] == 'attachment; filename="orders.parquet"'


@pytest.mark.parametrize("key", ["my table", "\u6ce8\u6587", "-rf", ".hidden", "a" * 129, "a+b"])
def test_key_of_another_syntax_is_404_for_everybody(server, key):
    """2"""
    server.user.admin = True
    server.add_table(key, ONE)
    reply = ask(server, f"/api/data/{urllib.parse.quote(key)}/download")
    assert (reply.status, reply.detail) == (404, "Table not found")


def test_table_of_no_package_of_mine_is_403(sales):
    """2"""
    sales.add_table("secret", ONE)
    reply = ask(sales, "/api/data/secret/download")
    assert reply.status == 403
    assert reply.detail.startswith("Table 'secret' is not in your stack.")


def test_table_whose_id_is_not_its_name_is_got_by_neither(server):
    """2: access is by id, files are named by name"""
    server.add_package("crm")
    server.add_table("leads", ONE, id="in_c-crm_leads", packages=["crm"])
    by_id = ask(server, "/api/data/in_c-crm_leads/download")
    assert (by_id.status, by_id.detail) == (404, "Table 'in_c-crm_leads' not found")
    assert ask(server, "/api/data/leads/download").status == 403


def test_admin_of_the_whole_surface_gets_it_by_name(server):
    """2"""
    server.user.admin = True
    server.add_table("leads", ONE, id="in_c-crm_leads")
    assert ask(server, "/api/data/in_c-crm_leads/download").status == 404
    assert ask(server, "/api/data/leads/download").body == ONE
    server.user.surface = "stack"
    assert ask(server, "/api/data/leads/download").status == 403


def test_old_upload_is_stored_by_its_id(server):
    """2"""
    server.add_package("uploads")
    server.add_table("My upload", ONE, id="up_1", stored_by="id", packages=["uploads"])
    assert ask(server, "/api/data/up_1/download").body == ONE


@pytest.mark.parametrize("mode", ["remote", "internal"])
def test_query_mode_that_is_not_distributed_is_403(server, mode):
    """2"""
    server.user.admin = True
    server.add_table("orders", ONE, query_mode=mode)
    reply = ask(server, ORDERS)
    assert reply.status == 403 and f"query_mode='{mode}'" in reply.detail


def test_materialized_table_is_served(server):
    """2"""
    server.add_package("sales")
    server.add_table("orders", ONE, query_mode="materialized", packages=["sales"])
    assert ask(server, ORDERS).body == ONE


def test_registry_flag_server_only_is_403_for_everybody(server):
    """1.3, 2"""
    server.user.admin = True
    server.add_table("orders", ONE, server_only=True)
    reply = ask(server, ORDERS)
    assert reply.status == 403 and "server_only" in reply.detail


def test_who_may_not_read_learns_nothing_of_distribution(sales):
    """2: the order of the checks"""
    sales.add_table("secret", ONE, server_only=True)
    assert "not in your stack" in ask(sales, "/api/data/secret/download").detail


def test_unreadable_registry_is_503(sales):
    """2"""
    sales.registry_fails = True
    for path in (ORDERS, "/api/data/orders/check-access"):
        reply = ask(sales, path)
        assert reply.status == 503
        assert reply.detail["code"] == "distribution_check_unavailable"


def test_unpublished_file_is_404_while_listed(sales):
    """2"""
    sales.unpublish("orders")
    assert manifest(sales)["data_packages"][0]["tables"][0]["hash"]
    reply = ask(sales, ORDERS)
    assert (reply.status, reply.detail) == (404, "Table 'orders' not found")


def test_unregistered_table_is_nowhere(sales):
    """2"""
    sales.unregister("orders")
    assert manifest(sales)["data_packages"][0]["tables"] == []
    assert ask(sales, ORDERS).status == 403


@pytest.mark.parametrize("path", [ORDERS, MANIFEST])
def test_head_is_405_on_the_app(sales, path):
    """2"""
    reply = ask(sales, path, "HEAD", token=None)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("asked, first, last", [
    ("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=90-", 90, 99), ("bytes=-7", 93, 99),
    ("bytes=50-5000", 50, 99), ("bytes=-5000", 0, 99), ("BYTES=1-2", 1, 2)])
def test_range(sales, asked, first, last):
    """2"""
    reply = ask(sales, ORDERS, range=asked)
    assert (reply.status, reply.body) == (206, ONE[first:last + 1])
    assert reply.headers["Content-Range"] == f"bytes {first}-{last}/100"
    assert reply.headers["ETag"] == f'"{sales.tables["orders"].file.mtime_ns}"'


def test_several_ranges_are_several_parts_and_overlaps_are_merged(sales):
    """2"""
    reply = ask(sales, ORDERS, range="bytes=50-59,0-9,5-14")
    kind, _, boundary = reply.headers["Content-Type"].partition("; boundary=")
    assert (reply.status, kind) == (206, "multipart/byteranges")
    parts = reply.body.split(f"--{boundary}".encode())
    heads = [part.partition(b"\r\n\r\n") for part in parts[1:-1]]
    assert [body for _, _, body in heads] == [ONE[:15] + b"\r\n", ONE[50:60] + b"\r\n"]
    assert b"Content-Range: bytes 0-14/100" in heads[0][0]


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=0-1,200-"])
def test_range_behind_the_end_is_416(sales, asked):
    """2"""
    reply = ask(sales, ORDERS, range=asked)
    assert (reply.status, reply.body) == (416, b"")
    assert reply.headers["Content-Range"] == "bytes */100"
    assert "ETag" not in reply.headers


def test_any_range_of_an_empty_file_is_416(server):
    """2"""
    server.add_package("sales")
    server.add_table("orders", b"", packages=["sales"])
    assert ask(server, ORDERS).status == 200
    assert ask(server, ORDERS, range="bytes=0-").status == 416


@pytest.mark.parametrize("asked", ["bytes", "bytes=", "bytes=-", "bytes=a-b", "items=0-1",
                                   "bytes=20-10"])
def test_malformed_range_is_400_in_plain_text(sales, asked):
    """2"""
    reply = ask(sales, ORDERS, range=asked)
    assert reply.status == 400 and reply.body
    assert reply.headers["Content-Type"].startswith("text/plain")


def test_if_range_is_compared_as_a_string_with_either_validator(sales):
    """2"""
    whole = ask(sales, ORDERS).headers
    for validator in (whole["ETag"], whole["Last-Modified"]):
        assert ask(sales, ORDERS, range="bytes=0-9", if_range=validator).status == 206
    for validator in ('"other"', f"W/{whole['ETag']}", "Sat, 01 Jan 2000 00:00:00 GMT"):
        reply = ask(sales, ORDERS, range="bytes=0-9", if_range=validator)
        assert (reply.status, reply.body) == (200, ONE)


def test_if_none_match_comes_before_the_range_and_echoes_nothing(sales):
    """2"""
    tag = ask(sales, ORDERS).headers["ETag"]
    reply = ask(sales, ORDERS, if_none_match=tag, range="bytes=0-9")
    assert (reply.status, reply.body) == (304, b"")
    assert "ETag" not in reply.headers and "Content-Length" not in reply.headers
    for other in ('"x"', f"W/{tag}", f'"x", {tag}', "*"):
        assert ask(sales, ORDERS, if_none_match=other).status == 200


def test_new_content_has_a_new_etag_and_hash(sales):
    """2"""
    old, hash = ask(sales, ORDERS).headers["ETag"], manifest(sales)["tables"]["orders"]["hash"]
    sales.publish("orders", TWO)
    reply = ask(sales, ORDERS, range="bytes=0-9", if_range=old)
    assert (reply.status, reply.body) == (200, TWO) and reply.headers["ETag"] != old
    assert manifest(sales)["tables"]["orders"]["hash"] != hash


def test_manifest_may_lag_behind_the_file(sales):
    """6.3, B28"""
    old = manifest(sales)["tables"]["orders"]
    sales.publish("orders", TWO, hashed=False)
    assert ask(sales, ORDERS).body == TWO
    assert manifest(sales)["tables"]["orders"] == old
    sales.rehash("orders")
    assert manifest(sales)["tables"]["orders"]["size_bytes"] == len(TWO)


def test_old_etag_may_come_with_new_bytes(sales):
    """2: the window between two stats"""
    tag = ask(sales, ORDERS).headers["ETag"]
    sales.publish("orders", TWO, touch=False)
    reply = ask(sales, ORDERS)
    assert (reply.headers["ETag"], reply.body) == (tag, TWO)


def test_each_range_is_an_audit_row(sales):
    """2: cost"""
    tag = ask(sales, ORDERS).headers["ETag"]
    for start in range(3):
        ask(sales, ORDERS, range=f"bytes={start}-")
    ask(sales, ORDERS, if_none_match=tag)
    assert sales.effects("audit:data.download") == 4


# --- parts ---


@pytest.fixture
def clicks(server):
    server.add_package("events")
    server.add_table("clicks", parts={JUNE: ONE, "2025_11.parquet": TWO}, packages=["events"])
    return server


@pytest.mark.parametrize("part, content", [(JUNE, ONE), ("2025_11.parquet", TWO)])
def test_part(clicks, part, content):
    """2"""
    reply = ask(clicks, f"/api/data/clicks/download?part={urllib.parse.quote(part)}")
    assert (reply.status, reply.body) == (200, content)
    name = part.rpartition("/")[2]
    assert reply.headers["Content-Disposition"] == f'attachment; filename="{name}"'


@pytest.mark.parametrize("part", ["", "nothing", "../orders.parquet", "/etc/passwd", "a//b",
                                  "month=2026-06", "month=2026-06/", ".hidden", "-x", "a\\b",
                                  "a b.parquet", "\u6ce8.parquet"])
def test_other_part_is_404(clicks, part):
    """2"""
    clicks.publish("clicks", parts={JUNE: ONE, "a b.parquet": ONE, ".hidden": ONE})
    reply = ask(clicks, f"/api/data/clicks/download?part={urllib.parse.quote(part)}")
    assert (reply.status, reply.detail) == (404, "Part not found")


def test_partitioned_table_has_no_whole_file(clicks):
    """2"""
    assert ask(clicks, "/api/data/clicks/download").status == 404


def test_part_comes_with_the_md5_of_its_bytes(clicks):
    """2"""
    path = f"/api/data/clicks/download?part={JUNE}"
    row = manifest(clicks)["tables"]["clicks"]["parts"][1]
    assert ask(clicks, path).headers["X-Agnes-Content-MD5"] == row["hash"]
    clicks.publish("clicks", parts={JUNE: TWO}, hashed=False)
    assert ask(clicks, path).headers["X-Agnes-Content-MD5"] != row["hash"]


def test_neither_ranges_nor_large_parts_nor_whole_tables_have_that_md5(clicks):
    """2"""
    path = f"/api/data/clicks/download?part={JUNE}"
    assert "X-Agnes-Content-MD5" not in ask(clicks, path, range="bytes=0-9").headers
    clicks.publish("clicks", parts={JUNE: bytes((8 << 20) + 1), "a.parquet": bytes(8 << 20)})
    assert "X-Agnes-Content-MD5" not in ask(clicks, path).headers
    limit = ask(clicks, "/api/data/clicks/download?part=a.parquet")
    assert "X-Agnes-Content-MD5" in limit.headers
    clicks.add_table("orders", ONE, packages=["events"])
    assert "X-Agnes-Content-MD5" not in ask(clicks, ORDERS).headers


# --- check-access ---


def test_check_access_has_no_body(sales):
    """2"""
    reply = ask(sales, "/api/data/orders/check-access")
    assert (reply.status, reply.body) == (204, b"")
    assert sales.effects("audit:data.access_check") == 1


def test_check_access_refuses_what_download_refuses(sales):
    """2"""
    sales.add_table("secret", ONE)
    sales.add_table("remote", query_mode="remote", packages=["sales"])
    statuses = {key: ask(sales, f"/api/data/{key}/check-access").status
                for key in ("secret", "remote", "a%20b")}
    assert statuses == {"secret": 403, "remote": 403, "a%20b": 404}


def test_check_access_does_not_look_for_the_file(sales):
    """2"""
    sales.unpublish("orders")
    assert ask(sales, "/api/data/orders/check-access").status == 204


# --- Caddy ---


@pytest.fixture
def caddy(server):
    server.mode = "caddy"
    server.add_package("sales")
    server.add_table("orders", ONE, source_type="keboola", packages=["sales"])
    return server


def test_caddy_serves_the_file_with_an_etag_of_its_own(caddy):
    """2"""
    app = f'"{caddy.tables["orders"].file.mtime_ns}"'
    reply = ask(caddy, ORDERS)
    assert (reply.status, reply.body) == (200, ONE)
    assert reply.headers["ETag"] != app and reply.headers["ETag"].startswith('"')
    assert "Content-Type" not in reply.headers
    assert "X-Agnes-Latest-Version" not in reply.headers


def test_caddy_answers_head(caddy):
    """2"""
    reply = ask(caddy, ORDERS, "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Length"] == "100"


def test_each_request_to_caddy_is_an_access_check_and_no_download(caddy):
    """2: cost"""
    for _ in range(3):
        ask(caddy, ORDERS, range="bytes=0-9")
    assert caddy.effects("audit:data.access_check") == 3
    assert caddy.effects("audit:data.download") == 0


def test_caddy_passes_a_refusal_on_as_it_is(caddy):
    """2"""
    caddy.add_table("secret", ONE, source_type="keboola")
    reply = ask(caddy, "/api/data/secret/download")
    assert reply.status == 403 and "not in your stack" in reply.detail
    assert ask(caddy, ORDERS, token="x").status == 401


@pytest.mark.parametrize("source", ["snowflake", "databricks", "mcp", "local"])
def test_other_sources_fall_through_to_the_app(caddy, source):
    """2"""
    caddy.tables["orders"].source_type = source
    reply = ask(caddy, ORDERS)
    assert reply.headers["ETag"] == f'"{caddy.tables["orders"].file.mtime_ns}"'
    assert ask(caddy, ORDERS, "HEAD").status == 405
    assert caddy.effects("audit:data.access_check") == 2
    assert caddy.effects("audit:data.download") == 1


def test_parts_always_go_to_the_app(caddy):
    """2"""
    caddy.add_table("clicks", parts={JUNE: ONE}, source_type="keboola", packages=["sales"])
    reply = ask(caddy, f"/api/data/clicks/download?part={JUNE}")
    assert reply.body == ONE and "X-Agnes-Content-MD5" in reply.headers
    assert caddy.effects("audit:data.access_check") == 0


def test_ranges_of_caddy(caddy):
    """2: Go's http.ServeContent"""
    tag = ask(caddy, ORDERS).headers["ETag"]
    reply = ask(caddy, ORDERS, range="bytes=90-", if_range=tag)
    assert (reply.status, reply.body) == (206, ONE[90:])
    assert reply.headers["Content-Range"] == "bytes 90-99/100"
    assert ask(caddy, ORDERS, range="bytes=0-9", if_range='"x"').status == 200
    assert ask(caddy, ORDERS, range="bytes=100-").headers["Content-Range"] == "bytes */100"
    assert ask(caddy, ORDERS, range="bytes=a-").status == 416
    assert ask(caddy, ORDERS, range="bytes=0-9,200-").body == ONE[:10]
    assert b"Content-Range: bytes 5-9/100" in ask(caddy, ORDERS, range="bytes=0-1,5-9").body
    assert ask(caddy, ORDERS, range="bytes=0-,0-").status == 200


def test_if_none_match_of_caddy_is_a_list_and_echoes_the_etag(caddy):
    """2"""
    tag = ask(caddy, ORDERS).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        reply = ask(caddy, ORDERS, if_none_match=known)
        assert (reply.status, reply.headers["ETag"]) == (304, tag)


# --- memory ---


def test_bundle(server):
    """3"""
    server.add_domain("finance", "Finance", "What we know.", [
        Item("b", "B", "bb"), Item("a", "A", "aa"), Item("p", "P", "pp", "pending"),
        Item("r", "R", None, "pending", is_required=True)])
    reply = ask(server, "/api/memory/bundle?domain=finance")
    assert reply.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert reply.body.decode() == (
        "# Finance\n\nWhat we know.\n\n## Required\n\n### R\n\n\n\n"
        "## Approved\n\n### A\n\naa\n\n### B\n\nbb\n")
    assert not {"ETag", "Last-Modified", "Accept-Ranges"} & set(reply.headers)
    assert ask(server, "/api/memory/bundle?domain=finance", range="bytes=0-1").status == 200
    assert server.effects("audit:memory.bundle_download") == 2


def test_bundle_of_an_empty_domain(server):
    """3"""
    server.add_domain("finance")
    reply = ask(server, "/api/memory/bundle?domain=finance")
    assert reply.body == b"# Finance\n\n_No items in this domain yet._\n"


@pytest.mark.parametrize("slug", ["R&D notes", "\u6ce8\u6587", "a+b", "50%", "a/b"])
def test_bundle_of_a_slug_that_needs_encoding(server, slug):
    """3; 6.3, B21"""
    server.add_domain(slug, "Odd")
    encoded = urllib.parse.quote(slug, safe="")
    assert ask(server, f"/api/memory/bundle?domain={encoded}").body.startswith(b"# Odd\n")


def test_unknown_domain_is_404(server):
    """3"""
    reply = ask(server, "/api/memory/bundle?domain=nothing")
    assert (reply.status, reply.detail) == (404, "memory_domain_not_found")


def test_domain_that_is_not_granted_is_403_but_not_for_an_admin(server):
    """3"""
    server.add_domain("finance", requirement=None)
    reply = ask(server, "/api/memory/bundle?domain=finance")
    assert (reply.status, reply.detail) == (403, "no_grant")
    server.user.admin = True
    assert ask(server, "/api/memory/bundle?domain=finance").status == 200


def test_bundle_without_a_domain_is_json(server):
    """3"""
    assert set(ask(server, "/api/memory/bundle").json()) == {
        "mandatory", "approved", "token_estimate", "token_budget"}


def test_md5_of_a_domain_is_of_its_items_and_not_of_the_bundle(server):
    """3"""
    domain = server.add_domain("finance", items=[Item("1", "T", "text")])
    token = manifest(server)["memory_domains"][0]["md5"]
    assert token == md5("1|T|approved|False|text|")
    domain.name, domain.description = "Money", "New."
    assert manifest(server)["memory_domains"][0]["md5"] == token
    domain.items.append(Item("2", "P", "p", "pending"))
    assert manifest(server)["memory_domains"][0]["md5"] == token
    domain.items[0].content = "news"
    assert manifest(server)["memory_domains"][0]["md5"] != token


# --- knowledge artifacts ---


def test_chunks_are_a_file_like_a_table(server):
    """1.5"""
    server.add_chunks("handbook", ONE)
    row = manifest(server)["knowledge_artifacts"][0]
    reply = ask(server, row["url"])
    tag = reply.headers["ETag"]
    assert reply.body == ONE and tag == f'"{server.chunks["handbook"].file.mtime_ns}"'
    assert ask(server, row["url"], range="bytes=5-9", if_range=tag).body == ONE[5:10]
    assert ask(server, row["url"], if_none_match=tag).status == 304
    assert server.effects("audit:knowledge.artifact_download") == 2


def test_chunks_are_compressed_even_in_ranges(server):
    """1.8: only /api/data/ is spared"""
    server.add_chunks("handbook", bytes(5000))
    reply = ask(server, "/api/knowledge/artifacts/handbook/download", range="bytes=1000-3999",
                accept_encoding="gzip")
    assert (reply.status, reply.headers["Content-Encoding"]) == (206, "gzip")
    assert reply.headers["Content-Range"] == "bytes 1000-3999/5000"
    assert gzip.decompress(reply.body) == bytes(3000)


def test_artifacts_that_are_not_granted_are_neither_listed_nor_served(server):
    """1.5"""
    server.add_chunks("handbook", ONE, granted=False)
    server.add_digest("weekly", "# W\n", granted=False)
    assert manifest(server)["knowledge_artifacts"] == []
    assert ask(server, "/api/knowledge/artifacts/handbook/download").status == 403
    assert ask(server, "/api/knowledge/digests/kd_weekly/content").status == 403


def test_digest_is_json(server):
    """1.5"""
    server.add_digest("weekly", "# Weekly\n", status="stale", status_reason="old")
    reply = ask(server, "/api/knowledge/digests/kd_weekly/content")
    assert set(reply.json()) == {"id", "slug", "title", "output_md", "status", "status_reason",
                                 "generated_at"}
    assert reply.json()["output_md"] == "# Weekly\n"


def test_md5_of_a_digest_changes_with_its_status(server):
    """1.5"""
    digest = server.add_digest("weekly", "# Weekly\n")
    before = manifest(server)["knowledge_artifacts"][0]["md5"]
    digest.status = "stale"
    assert manifest(server)["knowledge_artifacts"][0]["md5"] != before


def test_artifact_that_was_never_made_is_404(server):
    """1.5"""
    server.user.admin = True
    server.add_digest("weekly", "")
    for path in ("artifacts/handbook/download", "digests/kd_weekly/content"):
        assert ask(server, f"/api/knowledge/{path}").status == 404


# --- signed addresses ---


@pytest.fixture
def signed(sales):
    sales.open_store().mirror()
    return sales


def test_signed_url_is_in_the_flat_tables_only(signed):
    """1.3, 2"""
    found = manifest(signed)
    row = found["tables"]["orders"]
    assert row["signed_url"].startswith(signed.store.origin) and row["signed_url_expires_at"]
    assert "signed_url" not in found["data_packages"][0]["tables"][0]


def test_signed_url_is_the_file_without_a_token(signed):
    """2"""
    row = manifest(signed)["tables"]["orders"]
    reply = ask(signed, row["signed_url"], token=None)
    assert (reply.status, reply.body) == (200, ONE)
    assert reply.headers["x-amz-meta-md5"] == row["hash"]
    assert (signed.store.count(), signed.store.sent()) == (1, len(ONE))
    assert signed.effects("audit:data.download") == 0


def test_signed_url_with_a_token_is_refused(signed):
    """2"""
    reply = ask(signed, manifest(signed)["tables"]["orders"]["signed_url"])
    assert reply.status == 400 and b"Only one auth mechanism" in reply.body


def test_signed_url_expires_and_the_next_manifest_has_a_new_one(signed):
    """2"""
    old = manifest(signed)["tables"]["orders"]["signed_url"]
    signed.store.advance(901)
    assert ask(signed, old, token=None).status == 403
    new = manifest(signed)["tables"]["orders"]["signed_url"]
    assert ask(signed, new, token=None).body == ONE


@pytest.mark.parametrize("change", ["method", "path", "expires", "unsigned"])
def test_signature_covers_the_whole_request(signed, change):
    """2"""
    url = manifest(signed)["tables"]["orders"]["signed_url"]
    if change == "path":
        url = url.replace("orders", "others")
    elif change == "expires":
        url = url.replace("Expires=900", "Expires=999999")
    elif change == "unsigned":
        url = url.partition("?")[0]
    method = "HEAD" if change == "method" else "GET"
    assert ask(signed, url, method, token=None).status == 403


def test_signed_url_answers_ranges(signed):
    """2"""
    url = manifest(signed)["tables"]["orders"]["signed_url"]
    reply = ask(signed, url, token=None, range="bytes=90-")
    assert (reply.status, reply.body) == (206, ONE[90:])
    assert ask(signed, url, token=None, range="bytes=100-").status == 416
    assert ask(signed, url, token=None, range="bytes=0-1,5-6").body == ONE


def test_no_signed_url_when_the_mirror_has_another_version(signed):
    """2"""
    signed.publish("orders", TWO)
    assert "signed_url" not in manifest(signed)["tables"]["orders"]
    signed.store.mirror("orders")
    assert "signed_url" in manifest(signed)["tables"]["orders"]


@pytest.mark.parametrize("table", [{"server_only": True}, {"query_mode": "remote"},
                                   {"query_mode": "internal"}, {"parts": {JUNE: ONE}}])
def test_no_signed_url_for_what_is_not_distributed_nor_for_parts(signed, table):
    """2"""
    content = None if "parts" in table else TWO
    signed.add_table("other", content, packages=["sales"], **table)
    signed.store.mirror()
    assert "signed_url" not in manifest(signed)["tables"]["other"]


def test_signed_url_serves_a_table_whose_id_is_not_its_name(signed):
    """2"""
    signed.add_table("leads", TWO, id="in_c-crm_leads", packages=["sales"])
    signed.store.mirror()
    url = manifest(signed)["tables"]["leads"]["signed_url"]
    assert ask(signed, url, token=None).body == TWO


# --- the stack ---


def test_stack_has_no_slugs_and_says_what_is_copied(server):
    """7"""
    server.add_package("sales", requirement="available")
    server.add_package("crm", requirement="available", subscribed=True)
    server.add_domain("finance", description="Money.")
    items = ask(server, "/api/stack?type=data_package").json()["items"]
    assert set(items[0]) == {"id", "name", "description", "icon", "color", "requirement",
                             "in_stack", "materialized"}
    assert [(item["in_stack"], item["materialized"]) for item in items] == [
        (True, False), (True, True)]
    domain = ask(server, "/api/stack?type=memory_domain").json()["items"][0]
    assert (domain["description"], domain["requirement"]) == ("Money.", "required")


def test_browse_has_what_the_classic_stack_has_not(server):
    """7"""
    server.auto_membership = False
    server.add_package("sales", requirement="available")
    assert ask(server, "/api/stack?type=data_package").json()["items"] == []
    items = ask(server, "/api/stack/browse?type=data_package").json()["items"]
    assert [item["in_stack"] for item in items] == [False]


@pytest.mark.parametrize("path", ["/api/stack", "/api/stack/browse"])
def test_errors_of_the_stack(server, path):
    """7"""
    assert ask(server, path).status == 422
    reply = ask(server, f"{path}?type=x")
    assert (reply.status, reply.detail) == (400, "unknown_resource_type:x")
    reply = ask(server, f"{path}?type=table")
    assert (reply.status, reply.detail) == (400, "unsupported_stack_type:table")
    server.user.co_session = True
    reply = ask(server, f"{path}?type=data_package")
    assert reply.status == 403 and reply.detail.startswith("co_session")


def subscribe(server, id, type="data_package"):
    return ask(server, "/api/stack/subscribe", "POST",
               body={"resource_type": type, "resource_id": id})


def test_subscribing_by_id_asks_for_a_copy_and_unsubscribing_drops_it(server):
    """7"""
    server.add_package("sales", requirement="available")
    server.add_table("orders", ONE, packages=["sales"])
    withheld = []
    for act in (lambda: subscribe(server, "dp_sales"),
                lambda: ask(server, "/api/stack/subscription/data_package/dp_sales", "DELETE")):
        reply = act()
        withheld.append((reply.status, reply.body,
                         manifest(server)["data_packages"][0]["tables"][0]["server_only"]))
    assert withheld == [(200, b'{"subscribed": true}', False), (204, b"", True)]
    assert server.effects("event:stack.subscribe") == 1
    assert server.effects("event:stack.unsubscribe") == 1


def test_what_is_required_can_neither_be_subscribed_to_nor_left(sales):
    """7"""
    reply = subscribe(sales, "dp_sales")
    assert (reply.status, reply.detail) == (400, "already_required")
    reply = ask(sales, "/api/stack/subscription/data_package/dp_sales", "DELETE")
    assert (reply.status, reply.detail) == (400, "cannot_remove_required")


def test_subscribing_without_a_grant_is_403(sales):
    """7: a slug is no id"""
    for id in ("sales", "dp_other"):
        reply = subscribe(sales, id)
        assert (reply.status, reply.detail) == (403, "no_grant")
    assert subscribe(sales, "x", "marketplace_plugin").detail == (
        "unsupported_stack_type:marketplace_plugin")


def test_subscribing_with_half_a_body_is_422(server):
    """7"""
    assert ask(server, "/api/stack/subscribe", "POST", body={"resource_id": "x"}).status == 422
    assert ask(server, "/api/stack/subscribe", "POST").status == 422


# --- the rest ---


def test_pull_confirm_is_recorded(server):
    """5"""
    body = {"duration_ms": 12, "errors": 0,
            "data_packages": {"added": 1, "updated": 0, "removed": 0},
            "direct_tables": None, "memory_domains": {}}
    reply = ask(server, "/api/sync/pull-confirm", "POST", body=body)
    assert (reply.status, reply.json()) == (200, {"recorded": True})
    assert server.confirmed == [body]
    assert server.effects("event:sync.pull_completed") == 1
    assert ask(server, "/api/sync/pull-confirm", "POST", body={}).status == 200


@pytest.mark.parametrize("body", [None, [], {"errors": "many"}, {"data_packages": 3},
                                  {"memory_domains": {"added": "x"}}])
def test_pull_confirm_of_another_shape_is_422(server, body):
    """5"""
    assert ask(server, "/api/sync/pull-confirm", "POST", body=body).status == 422
    assert server.confirmed == []


def test_connection_is_kept_after_a_body(server):
    """5: clients keep their connections"""
    connection = http.client.HTTPConnection("127.0.0.1", urllib.parse.urlsplit(server.origin).port)
    for _ in range(2):
        connection.request("POST", "/api/sync/pull-confirm", "{}",
                           {"Authorization": "Bearer a-token"})
        response = connection.getresponse()
        assert response.status == 200 and response.read()
    connection.close()


def test_health_and_latest_need_no_token(server):
    """7"""
    assert ask(server, "/api/health", token=None).json()["status"] == "ok"
    assert ask(server, "/api/sync/status", token=None).json() == {"locked": False}
    latest = ask(server, "/cli/latest", token=None).json()
    assert set(latest) == {"version", "wheel_filename", "download_url_path"}


def test_tally_counts_by_endpoint_and_by_path(sales):
    """Requests, bytes and side effects; clear() forgets them."""
    ask(sales, ORDERS)
    ask(sales, ORDERS, range="bytes=0-9")
    size = len(ask(sales, MANIFEST).body)
    tally = sales.tally()
    assert (tally["download"].requests, tally["download"].sent) == (2, 110)
    assert tally["download"].effects == {"token.mark_used": 2, "audit:data.download": 2}
    assert sales.tally(by="path")[MANIFEST].sent == size == tally["manifest"].sent
    assert sales.count("/api/data/*") == 2
    sales.clear()
    assert sales.tally() == {}
