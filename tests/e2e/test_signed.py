"""Addresses that the server has signed for its object store: preferred, never trusted, never shown."""

import ipaddress
import os
import random
import socket
import time

import pytest

from tests.lib.agnes_server import AgnesServer
from tests.lib.agnesfs import files_below, wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

MIB = 1 << 20
ONE, TWO = raw(b"orders"), raw(b"leads")
BIG = raw(random.Random(7).randbytes(12 * MIB + 777))
ORDERS = "data/sales/orders.parquet"
LEADS = "data/sales/leads.parquet"
LARGE = "data/sales/big.parquet"
AT_STORE = "/agnes/parquet/*"
AT_APP = "/api/data/*"


@pytest.fixture
def instance(agnes):
    agnes.write_token("a-token")
    with AgnesServer() as server:
        server.add_package("sales")
        server.add_table("orders", ONE, packages=["sales"])
        server.open_store().mirror()
        yield server


@pytest.fixture
def big(instance):
    instance.add_table("big", BIG, packages=["sales"])
    instance.store.mirror()
    return instance


def pread(path, size, offset):
    with open(path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), size, offset)


def edit_entry(instance, name="orders", **fields):
    """Fields of the flat entry: instead of what the server says."""
    def edit(manifest):
        manifest["tables"][name] |= fields
        return manifest

    instance.edit = edit


# --- preferred ---

def test_what_is_mirrored_comes_from_the_store_alone(agnes, instance):
    report = agnes.sync(instance.url)
    assert agnes.cache().contents() == [ONE]
    assert (instance.store.count(), instance.store.sent()) == (1, len(ONE))
    assert instance.count(AT_APP) == 0
    assert report.bytes == len(ONE)


def test_the_report_says_how_many_came_so(agnes, instance):
    instance.add_table("leads", TWO, packages=["sales"])  # and is not mirrored
    report = agnes.sync(instance.url).document
    assert (report["fetched"], report["fetched_by_signed_url"]) == (2, 1)
    report = agnes.sync(instance.url).document
    assert (report["fetched"], report["fetched_by_signed_url"]) == (0, 0)
    with agnes.mount(instance.url) as mount:
        instance.publish("orders", raw(b"new"))
        instance.store.mirror()
        report = mount.refresh().document
        assert (report["fetched"], report["fetched_by_signed_url"]) == (1, 1)
        assert mount.status()["transfers"]["by_signed_url"] == 1


def test_a_reader_is_served_by_the_store(agnes, instance):
    with agnes.mount(instance.url, "prefetch=none") as mount:
        assert instance.store.count() == 0
        assert (mount / ORDERS).read_bytes() == ONE
        assert (instance.store.count(), instance.count(AT_APP)) == (1, 0)


def test_prefetch_and_new_content_come_from_the_store(agnes, instance):
    with agnes.mount(instance.url) as mount:
        wait_for(lambda: mount.xattr(ORDERS, "state") == "resident", what="the table")
        instance.publish("orders", raw(b"new"))
        instance.store.mirror()
        mount.refresh()
        assert (mount / ORDERS).read_bytes() == raw(b"new")
    assert (instance.store.count(), instance.count(AT_APP)) == (2, 0)


def test_nothing_that_is_the_servers_goes_to_the_store(agnes, big):
    with agnes.mount(big.url, "prefetch=none") as mount:
        assert (mount / ORDERS).read_bytes() == ONE
        for offset in (0, 5 * MIB, 11 * MIB):
            assert pread(mount / LARGE, 4096, offset) == BIG[offset:offset + 4096]
    tag = f'"{big.tables["big"].state["hash"]}"'
    for request in big.store.matching():
        names = set(request.headers)
        assert not names & {"authorization", "cookie", "referer", "if-match", "if-none-match",
                            "if-modified-since", "if-unmodified-since"}
        assert not [name for name in names if name.startswith("x-agnes")]
        assert request.headers.get("if-range", tag) == tag
        assert "a-token" not in repr(request)


def test_ranges_come_from_the_store(agnes, big):
    with agnes.mount(big.url, "prefetch=none") as mount:
        assert pread(mount / LARGE, 4096, 7 * MIB) == BIG[7 * MIB:7 * MIB + 4096]
        assert [request.range for request in big.store.matching()] == ["bytes=7340032-8388607"]
        assert (mount / LARGE).read_bytes() == BIG
        wait_for(lambda: mount.xattr(LARGE, "state") == "resident", what="the rest")
    assert big.count(AT_APP) == 0
    assert all(request.status == 206 for request in big.store.matching())


def test_what_was_begun_goes_on_at_the_store_with_the_address_of_the_next_manifest(agnes, big):
    with agnes.mount(big.url, "prefetch=none") as mount:
        assert pread(mount / LARGE, 4096, 0) == BIG[:4096]
    big.store.clear()
    time.sleep(1.1)  # what is signed in another second is signed otherwise
    agnes.sync(big.url)
    assert big.store.sent("*big*") < len(BIG)
    assert big.count("/api/data/big*") == 0


def test_a_table_whose_id_is_not_its_name_can_be_had(agnes, instance):
    instance.add_table("leads", TWO, id="in_c-crm_leads", packages=["sales"])
    instance.add_table("My table", raw(b"3"), id="my_table", packages=["sales"])
    instance.store.mirror()
    report = agnes.sync(instance.url)
    assert report.errors == [] and instance.count(AT_APP) == 0
    with agnes.mount(instance.url) as mount:
        assert (mount / LEADS).read_bytes() == TWO
        assert (mount / "data/sales/My_table.parquet").read_bytes() == raw(b"3")


def test_parts_come_from_the_server(agnes, instance):
    instance.add_table("clicks", parts={"m=1/data.parquet": TWO}, packages=["sales"])
    instance.store.mirror()
    agnes.sync(instance.url)
    assert (instance.store.count(), instance.count(AT_APP)) == (1, 1)


def test_tables_of_a_server_from_before_packages_have_them_too(agnes, instance):
    instance.omitted = {"data_packages", "memory_domains", "direct_tables", "knowledge_artifacts"}
    agnes.sync(instance.url)
    assert (instance.store.count(), instance.count(AT_APP)) == (1, 0)


# --- only for the very bytes, only for a time ---

@pytest.mark.parametrize("hash", ["0" * 32, "", None, 5])
def test_it_is_not_asked_when_the_two_entries_mean_other_bytes(agnes, instance, hash):
    edit_entry(instance, hash=hash)
    agnes.sync(instance.url)
    assert (instance.store.count(), instance.count(AT_APP)) == (0, 1)


def test_the_hash_may_be_written_in_capitals(agnes, instance):
    edit_entry(instance, hash=instance.tables["orders"].state["hash"].upper())
    agnes.sync(instance.url)
    assert instance.count(AT_APP) == 0


def test_one_that_has_expired_is_not_asked_and_the_next_manifest_brings_another(agnes, instance):
    instance.add_table("leads", TWO, packages=["sales"])
    instance.store.mirror().clock = -880  # good for 20 s, by everybody's clock
    with agnes.mount(instance.url, "prefetch=none", "report=off", "refresh=3600") as mount:
        assert mount.seconds_to_refresh() > 3000
        assert (mount / ORDERS).read_bytes() == ONE
        wait_for(lambda: 0 < mount.seconds_to_refresh() < 61, what="a sooner refresh")
        assert (instance.store.count(), instance.count(AT_APP)) == (0, 1)
        instance.store.clock = 0
        mount.refresh()
        assert (mount / LEADS).read_bytes() == TWO
        assert (instance.store.count(), instance.count(AT_APP)) == (1, 1)


@pytest.mark.parametrize("expires", [None, "", "soon", 5, "2026-08-22T10:00:00"])
def test_one_that_says_no_time_or_a_past_one_is_not_asked(agnes, instance, expires):
    edit_entry(instance, signed_url_expires_at=expires)
    agnes.sync(instance.url)
    assert (instance.store.count(), instance.count(AT_APP)) == (0, 1)


@pytest.mark.parametrize("made, asked", [("2001-03-15T12:00:00+00:00", 1),
                                         ("2001-03-15T12:14:40+00:00", 0),
                                         ("2001-03-15T12:15:00+00:00", 0), (None, 0), ("today", 0)])
def test_how_long_it_is_good_is_told_by_the_servers_times_alone(agnes, instance, made, asked):
    def edit(manifest):
        manifest["tables"]["orders"]["signed_url_expires_at"] = "2001-03-15T12:15:00+00:00"
        return manifest | {"server_time": made}

    instance.edit = edit
    agnes.sync(instance.url)
    assert (instance.store.count(), instance.count(AT_APP)) == (asked, 1 - asked)


# --- when it fails ---

FAULTS = {
    "403": Fault(status=403),
    "404": Fault(status=404),
    "500": Fault(status=500),
    "503": Fault(status=503, headers={"Retry-After": "3600"}),
    "reset": Fault(reset=True),
    "cut": Fault(cut=4),
    "page": Fault(html=True),
    "wrong byte": Fault(flip=5),
    "shorter": Fault(body=ONE[:-1]),
    "longer": Fault(body=ONE + b"x"),
    "compressed": Fault(gzip=True),
    "nothing": Fault(body=b""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_when_it_fails_the_server_is_asked_at_once(agnes, instance, fault):
    instance.store.always("*", FAULTS[fault])
    started = time.monotonic()
    report = agnes.sync(instance.url)
    assert time.monotonic() - started < 5
    assert report.errors == [] and agnes.cache().contents() == [ONE]
    assert 1 <= instance.store.count() <= 2 and instance.count(AT_APP) == 1
    agnes.verify(instance.url)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reader_does_not_notice_that_it_fails(agnes, instance, fault):
    instance.store.always("*", FAULTS[fault])
    with agnes.mount(instance.url, "prefetch=none") as mount:
        assert (mount / ORDERS).read_bytes() == ONE
        assert 1 <= instance.store.count() <= 2
        assert mount.status()["problems"] == []


@pytest.mark.parametrize("fault", ["403", "500", "reset", "page", "shorter", "nothing"])
def test_nor_does_a_reader_of_ranges(agnes, big, fault):
    big.store.always("*", FAULTS[fault])
    with agnes.mount(big.url, "prefetch=none") as mount:
        assert (mount / LARGE).read_bytes() == BIG
        assert big.store.count() > 0


def test_an_address_that_expired_too_early_is_one_request_in_vain(agnes, instance):
    with agnes.mount(instance.url, "prefetch=none") as mount:
        instance.store.advance(901)
        assert (mount / ORDERS).read_bytes() == ONE
        assert [request.status for request in instance.store.matching()] == [403]
        assert instance.count(AT_APP) == 1


def test_it_costs_none_of_the_attempts_of_the_server(agnes, instance):
    instance.store.always("*", Fault(status=500))
    instance.script(AT_APP, *[Fault(status=500)] * 3)
    agnes.sync(instance.url)
    assert (instance.store.count(), instance.count(AT_APP)) == (1, 4)


def test_a_redirect_is_not_followed(agnes, instance):
    with AgnesServer() as other:
        instance.store.always("*", Fault(redirect=other.url + "/elsewhere"))
        agnes.sync(instance.url)
        assert (instance.store.count(), instance.count(AT_APP), other.count()) == (1, 1, 0)


def test_its_404_says_nothing_of_id_and_name(agnes, instance):
    """What the server has by its name is found by its name, and that is remembered."""
    instance.user.admin = True
    instance.add_table("leads", TWO, id="in_c-crm_leads", packages=["sales"])
    instance.store.mirror()
    instance.store.always("*", Fault(status=404))
    by_id, by_name = "/api/data/in_c-crm_leads/download", "/api/data/leads/download"
    with agnes.mount(instance.url, "prefetch=none") as mount:
        assert (mount / LEADS).read_bytes() == TWO
        assert (instance.count(by_id), instance.count(by_name)) == (1, 1)
        instance.publish("in_c-crm_leads", raw(b"2"))
        mount.refresh()
        assert (mount / LEADS).read_bytes() == raw(b"2")
        assert (instance.count(by_id), instance.count(by_name)) == (1, 2)


def test_when_both_fail_the_reason_is_the_servers(agnes, instance):
    instance.add_table("leads", TWO, id="in_c-crm_leads", packages=["sales"])
    instance.store.mirror().always("*", Fault(status=500))
    report = agnes.sync(instance.url, expect=1)
    assert [line.name for line in report.errors] == ["leads"]
    assert "not there under its id (404)" in report.errors[0].reason


def test_a_store_that_fails_is_left_alone_until_the_next_refresh(agnes, instance):
    tables = {f"t{number:02}": raw(str(number).encode()) for number in range(20)}
    for name, content in tables.items():
        instance.add_table(name, content, packages=["sales"])
    instance.store.mirror().always("*", Fault(status=500))
    with agnes.mount(instance.url, "prefetch=none", "report=off") as mount:
        for name in list(tables)[:10]:
            assert (mount / f"data/sales/{name}.parquet").read_bytes() == tables[name]
        assert (instance.store.count(), instance.count(AT_APP)) == (3, 10)
        assert mount.status()["transfers"]["signed_urls_failed"] == 3
        instance.store.forget()
        mount.refresh()
        for name in list(tables)[10:]:
            assert (mount / f"data/sales/{name}.parquet").read_bytes() == tables[name]
        assert (instance.store.count(), instance.count(AT_APP)) == (13, 10)


def test_one_bad_object_is_no_bad_store(agnes, instance):
    tables = {f"t{number:02}": raw(str(number).encode()) for number in range(12)}
    for name, content in tables.items():
        instance.add_table(name, content, packages=["sales"])
    instance.store.mirror()
    for name in list(tables)[::2]:
        instance.store.always(f"*{name}*", Fault(status=404))
    with agnes.mount(instance.url, "prefetch=none") as mount:
        for name, content in tables.items():
            assert (mount / f"data/sales/{name}.parquet").read_bytes() == content
    assert (instance.store.count(), instance.count(AT_APP)) == (12, 6)


# --- in the middle ---

@pytest.mark.parametrize("fault", [Fault(status=503), Fault(reset=True), Fault(cut=1000)])
def test_a_hiccup_in_the_middle_is_got_over_at_the_store(agnes, big, fault):
    with agnes.mount(big.url, "prefetch=none") as mount, open(mount / LARGE, "rb") as file:
        assert os.pread(file.fileno(), 4096, 0) == BIG[:4096]
        big.store.script("*", fault)
        assert os.pread(file.fileno(), 4096, 9 * MIB) == BIG[9 * MIB:9 * MIB + 4096]
    assert big.count(AT_APP) == 0


def test_what_was_begun_there_begins_anew_at_the_server(agnes, big):
    """Bytes of the two are never mixed, nor is the server asked about the store's version."""
    with agnes.mount(big.url, "prefetch=none") as mount:
        assert pread(mount / LARGE, 4096, 9 * MIB) == BIG[9 * MIB:9 * MIB + 4096]
        big.store.always("*", Fault(status=403))
        assert pread(mount / LARGE, 4096, 0) == BIG[:4096]
        assert (mount / LARGE).read_bytes() == BIG
        wait_for(lambda: mount.xattr(LARGE, "state") == "resident", what="the rest")
    assert big.sent(AT_APP) >= len(BIG), "what came from the store is asked for again"
    store_tag = f'"{big.tables["big"].state["hash"]}"'
    assert all(request.headers.get("if-range") != store_tag for request in big.matching(AT_APP))


def test_what_was_begun_at_the_server_goes_on_there(agnes, big):
    big.store.clock = -901
    with agnes.mount(big.url, "prefetch=none") as mount:
        assert pread(mount / LARGE, 4096, 0) == BIG[:4096]
    big.store.clock = 0
    big.clear()
    agnes.sync(big.url)
    assert big.store.count("*big*") == 0 and big.sent(AT_APP) < len(BIG)


# --- forged ---

class Listener:
    """Something that listens where nobody should come."""

    def __init__(self, host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.create_server((host, 0), family=family)
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def called(self):
        try:
            self.socket.accept()[0].close()
            return True
        except BlockingIOError:
            return False


NEAR = ["https://127.0.0.2:{port}/t", "https://localhost:{port}/t", "https://LOCALHOST:{port}/t",
        "http://127.0.0.2:{port}/t", "http://localhost:{port}/t", "https://127.2:{port}/t",
        "https://0x7f000002:{port}/t", "https://2130706434:{port}/t", "https://0177.0.0.2:{port}/t",
        "https://[::ffff:127.0.0.2]:{port}/t", "https://[64:ff9b::127.0.0.2]:{port}/t",
        "https://0.0.0.0:{port}/t", "https://0:{port}/t", "https://ip6-localhost:{port}/t",
        "https://user@127.0.0.2:{port}/t", "https:\\\\127.0.0.2:{port}/t",
        "//127.0.0.2:{port}/t", "ftp://127.0.0.1:{port}/t", "gopher://127.0.0.1:{port}/t",
        "https://127.0.0.2:{port}/t#@127.0.0.1", "https://127.0.0.1 .example:{port}/t"]


def own_names():
    """What this machine calls itself, where that is no public address."""
    name = socket.gethostname()
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(name, 443)}
    except OSError:
        return []
    near = not any(ipaddress.ip_address(address).is_global for address in found)
    return [f"https://{name}:{{port}}/t"] if near else []


@pytest.mark.parametrize("address", NEAR + own_names())
def test_a_near_host_that_is_not_the_servers_own_is_not_connected_to(agnes, instance, address):
    with Listener("0.0.0.0") as listener:
        edit_entry(instance, signed_url=address.format(port=listener.port))
        report = agnes.sync(instance.url)
        assert report.errors == [] and agnes.cache().contents() == [ONE]
        assert instance.count(AT_APP) == 1
        assert not listener.called()


@pytest.mark.parametrize("address", ["https://[::1]:{port}/t", "https://[::]:{port}/t",
                                     "https://ip6-localhost:{port}/t", "https://localhost:{port}/t"])
def test_nor_is_one_of_the_newer_kind(agnes, instance, address):
    with Listener("::1") as listener:
        edit_entry(instance, signed_url=address.format(port=listener.port))
        agnes.sync(instance.url)
        assert instance.count(AT_APP) == 1 and not listener.called()


@pytest.mark.parametrize("url", ["", "orders.parquet", "file:///etc/passwd", "x" * 9000, "https://",
                                 "http://127.0.0.1:99999/", "\x1b[31m", 5, None, [], {}])
def test_what_is_no_address_is_ignored(agnes, instance, url):
    edit_entry(instance, signed_url=url)
    report = agnes.sync(instance.url)
    assert report.errors == [] and instance.count(AT_APP) == 1


def test_the_token_does_not_go_to_a_signed_address_of_the_server_itself(agnes, instance):
    edit_entry(instance, signed_url=f"{instance.url}/api/data/orders/download?sig=1")
    agnes.sync(instance.url)
    signed = instance.matching("*sig=1")
    assert [request.status for request in signed] == [401]
    assert "authorization" not in signed[0].headers
    assert agnes.cache().contents() == [ONE]


# --- no news, and a secret ---

def test_new_addresses_are_no_news(agnes, instance):
    with agnes.mount(instance.url) as mount:
        assert (mount / ORDERS).read_bytes() == ONE
        first = mount.refresh()
        state = agnes.cache().state_file
        before = (state.stat().st_ino, state.read_bytes())
        time.sleep(1.1)  # signed in another second, and otherwise
        instance.clear()
        again = mount.refresh()
        assert again.generation == first.generation and instance.count() == 1
        assert again.counts("data_packages") == {"unchanged": 1}
        assert (state.stat().st_ino, state.read_bytes()) == before


@pytest.mark.parametrize("fault", [None, Fault(status=500), Fault(flip=5), Fault(reset=True),
                                   Fault(redirect="http://127.0.0.1/x?X-Amz-Signature=1")])
def test_a_signed_address_is_nowhere_to_be_read(agnes, instance, fault):
    instance.add_table("leads", TWO, packages=["sales"])
    instance.store.mirror()
    instance.always("/api/data/leads*", Fault(status=404))
    if fault:
        instance.store.always("*", fault)
    said = []
    with agnes.mount(instance.url, "prefetch=none", "log-level=debug") as mount:
        if fault:
            with pytest.raises(OSError):
                (mount / LEADS).read_bytes()
        assert (mount / ORDERS).read_bytes() == ONE
        agnes.run("sync", instance.url, "--verbose", expect=None)
        for command in (["status", mount.path, "--json"], ["status", mount.path, "--prometheus"],
                        ["refresh", mount.path, "--json"], ["ls", mount.path, "--json"],
                        ["doctor", mount.path, "--json"]):
            result = agnes.run(*command, expect=None)
            said += [result.out, result.err]
        said += [content.decode(errors="replace")
                 for content in files_below(mount / ".agnes").values()]
        said += [os.getxattr(mount / ORDERS, name).decode() for name in os.listxattr(mount)]
    said += [content.decode(errors="replace") for content in files_below(agnes.home).values()]
    said += [agnes.logs()]
    assert not [text for text in said if "X-Amz" in text or AT_STORE[:-1] in text]
