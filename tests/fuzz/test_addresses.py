"""Where a server may not send this machine: every spelling of every closed address (tests/data/
addresses), written out, behind a name, behind a name that changes, behind a redirect, in a row: no
connection is made. In a network of the test's own, in which all addresses are this machine and
somebody listens on them, and which counts what is connected to at all.

The controls: the same addresses where the policy does not hold (the user gives them), and the same
names with the policy taken out of the client (open_sockets.c).
"""

import concurrent.futures
import contextlib
import datetime
import functools
import ipaddress
import itertools
import os
import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.lib.agnes_server import AgnesServer

from tests.lib.faultd import Fault, Server
from tests.lib.private_network import PrivateNetwork, run
from tests.lib.sites import Folder
from tests.lib.stack import raw

AT_ONCE = 4
PORT = 4443
SOURCE = "agnes.test"  # its own host is no other one: there it may send us to any port
PUBLIC = "93.184.216.34"  # and not to be reached, see network()
TABLE = Path(__file__).parents[1] / "data/addresses"
LINES = [line.split(" ", 2) for line in TABLE.read_text().splitlines()
         if line and not line.startswith("#")]
ADDRESSES = [text for kind, verdict, text in LINES if (kind, verdict) == ("address", "closed")]
HOSTS = [text for kind, verdict, text in LINES if (kind, verdict) == ("host", "closed")]


def bracketed(address):
    return f"[{address}]" if ":" in address else address


URLS = list(dict.fromkeys(
    [f"https://{bracketed(host)}:{PORT}/t" for host in ADDRESSES]
    + [f"https://{host}:{PORT}/t" for host in HOSTS if re.search(r"^[^\[]|]$", host)]
    + [text.format(port=PORT) for text in (
        "http://127.0.0.2:{port}/t", "https://127.0.0.2/t", "http://127.0.0.2/t",
        "https://user@127.0.0.2:{port}/t", "https://example.com@127.0.0.2:{port}/t",
        "https:\\\\127.0.0.2:{port}/t", "https:/\\127.0.0.2:{port}/t", "//127.0.0.2:{port}/t",
        "https:127.0.0.2:{port}/t", "https:///127.0.0.2:{port}/t", "HTTPS://127.0.0.2:{port}/t",
        "https://127.0.0.2:{port}/t#@example.com", "https://127.0.0.2 .example:{port}/t",
        "https://%31%32%37.0.0.2:{port}/t", "https://127。0。0。2:{port}/t",
        "https://①②⑦.0.0.2:{port}/t", "https://127.0.0.2%2eexample.com:{port}/t",
        "https://[::1%25lo]:{port}/t", "https://[::ffff:127.0.0.2]:{port}/t",
        "ftp://127.0.0.2:{port}/t", "gopher://127.0.0.2:{port}/t", "dict://127.0.0.2:{port}/t",
        "ldap://127.0.0.2:{port}/t", "file:///etc/passwd", "file://127.0.0.2/etc/passwd",
        "scp://127.0.0.2:{port}/t", "ws://127.0.0.2:{port}/t", "https://ip6-localhost:{port}/t",
        "https://localhost.localdomain:{port}/t")]))


def normal(address):
    address = ipaddress.ip_address(address)
    return str(getattr(address, "ipv4_mapped", None) or address)


class Listener(threading.Thread):
    """On all addresses; answers 404 in clear, and knows which address was meant."""

    def __init__(self):
        super().__init__()
        self.called = []
        self.ended = False
        self.sockets = [socket.create_server(("::", port), family=socket.AF_INET6,
                                             dualstack_ipv6=True, backlog=128)
                        for port in (80, 443, PORT)]

    def run(self):
        with contextlib.ExitStack() as stack:
            for listening in self.sockets:
                stack.enter_context(listening).settimeout(0.01)
            while not self.ended:
                for listening in self.sockets:
                    with contextlib.suppress(TimeoutError, OSError):
                        self.answer(listening.accept()[0])

    def answer(self, connection):
        with connection:
            self.called.append(normal(connection.getsockname()[0]))
            connection.settimeout(1)
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with PrivateNetwork(tmp_path_factory.mktemp("names")) as network:
        network.own_all_addresses()
        run("ip", "route", "add", "unreachable", PUBLIC)
        network.names |= {name: ["127.0.0.1"] for name in (SOURCE, "localhost.localdomain")}
        network.listener = Listener()
        network.listener.start()
        yield network
        network.listener.ended = True
        network.listener.join(5)


def connects():
    """How many connections were begun in this network, whatever became of them."""
    names, numbers = [line.split() for line in Path("/proc/thread-self/net/snmp").read_text()
                      .splitlines() if line.startswith("Tcp:")]
    return int(numbers[names.index("ActiveOpens")])


def signed(urls):
    """A server that says it has mirrored its tables there."""
    server = AgnesServer()
    server.add_package("sales")
    for number, _ in enumerate(urls):
        server.add_table(f"t{number}", raw(str(number).encode()), packages=["sales"])

    def edit(manifest):
        made = datetime.datetime.fromisoformat(manifest["server_time"])
        for number, url in enumerate(urls):
            manifest["tables"][f"t{number}"] |= {
                "signed_url": url,
                "signed_url_expires_at": (made + datetime.timedelta(minutes=15)).isoformat()}
        return manifest

    server.edit = edit
    return server


def at_source(server):
    return server.url.replace("127.0.0.1", SOURCE)


class Client:
    """Runs of `agnesfs sync`, each with a cache of its own."""

    def __init__(self, agnes):
        self.agnes, self.numbers = agnes, itertools.count()
        agnes.write_token("a-token")

    def sync(self, source, expect=None):
        cache = self.agnes.folder / f"cache{next(self.numbers)}"
        return self.agnes.run("sync", source, "--json", "--cache-dir", cache, "--timeout", "5s",
                              "--report=off", expect=expect)

    def sync_signed(self, urls):
        with signed(urls) as server:
            report = self.sync(at_source(server), expect=0).json()
            assert (report["fetched"], report["fetched_by_signed_url"]) == (len(urls), 0)
            assert server.count("/api/data/*") == len(urls)
            return server.connected


@pytest.fixture
def client(agnes):
    return Client(agnes)


def in_pairs(items):
    """After three failures in a row no other signed address is asked."""
    return [items[start:start + 2] for start in range(0, len(items), 2)]


def all_at_once(function, items):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(function, items))


def assert_no_other_connects(network, function, items):
    """function makes connections only to its own server, and says how many."""
    network.listener.called.clear()
    before = connects()
    own = sum(all_at_once(function, items))
    assert network.listener.called == []
    assert connects() - before == own


def named(network, kind, answers):
    """Names that lead there; one for each."""
    names = [f"{kind}{number}.test" for number, _ in enumerate(answers)]
    for name, answer in zip(names, answers):
        network.names[name] = answer
    return names


def urls_of(names):
    return [f"https://{name}:{PORT}/t" for name in names]


def test_the_table_is_long_enough():
    assert len(ADDRESSES) + len(HOSTS) >= 80 and len(set(URLS)) >= 120


def test_an_address_that_is_written_out(network, client):
    assert_no_other_connects(network, client.sync_signed, in_pairs(URLS))


def test_a_name(network, client):
    names = named(network, "name", [[address] for address in ADDRESSES])
    assert_no_other_connects(network, client.sync_signed, in_pairs(urls_of(names)))
    assert all(network.asked[name] for name in names)


def test_a_name_with_a_good_address_before_and_behind_it(network, client):
    """The good one can not be reached, so the next is tried."""
    names = named(network, "mixed", [[PUBLIC, address, PUBLIC] for address in ADDRESSES])
    network.listener.called.clear()
    all_at_once(client.sync_signed, in_pairs(urls_of(names)))
    assert network.listener.called == []
    assert all(network.asked[name] for name in names)


def test_a_name_that_changes(network, client):
    """Good when it is asked for first, in one run; not so in the next."""
    names = named(network, "changing", [[[PUBLIC], [address]] for address in ADDRESSES])
    network.listener.called.clear()
    for _ in range(2):
        all_at_once(client.sync_signed, in_pairs(urls_of(names)))
    assert network.listener.called == []
    assert all(network.asked[name] >= 2 for name in names)


REDIRECTED = {"a manifest": "/api/sync/manifest", "a table": "/api/data/*",
              "a bundle": "/api/memory/*", "a list": "/api/stack*"}


@pytest.mark.parametrize("what", REDIRECTED)
def test_a_redirect(network, client, what):
    statuses = itertools.cycle((301, 302, 303, 307, 308))
    codes = dict(zip(URLS, statuses))

    def follow(urls):
        count = len(urls) if what == "a table" else 1
        with signed([None] * count) as server:
            server.add_domain("finance", "Finance", None, ["one"])
            server.omitted = {"memory_domains"} if what == "a list" else set()
            for number, url in enumerate(urls):
                pattern = f"/api/data/t{number}/*" if what == "a table" else REDIRECTED[what]
                location = url.encode("ascii", "ignore").decode()
                server.script(pattern, Fault(code=codes[url], headers={"Location": location}))
            if what == "a list":
                client.agnes.run("stack", "list", "--server", at_source(server), expect=1)
            else:
                client.sync(at_source(server), expect=1)
            assert server.hits() == (count if what == "a table" else 1)
            return server.connected

    tables = [URLS[start:start + 20] for start in range(0, len(URLS), 20)]
    assert_no_other_connects(network, follow, tables if what == "a table" else
                             [[url] for url in URLS[::4]])


def test_a_row(network, client, stack):
    """Of a static stack: what is listed at another origin is not asked for."""
    rows = [stack.add_table(f"t{number}", raw(b"1"), parquet_url=url)
            for number, url in enumerate(URLS)]
    stack.add_package("sales", *rows)
    stack.write()
    with Server(Folder(stack.folder), "/manifest.json") as server:
        def sync(_):
            report = client.sync(at_source(server)).json()
            assert report["fetched"] == 0
            return server.connected

        assert_no_other_connects(network, sync, [None])
        assert server.count("/tables/*") == 0


# --- the controls: with no policy in between, all of them are reached ---

@functools.cache
def reachable(host):
    """Can this machine connect to it at all? Not to groups, for example."""
    with contextlib.suppress(OSError):
        with socket.create_connection((host.strip("[]"), PORT), timeout=0.5):
            return True
    return False


def test_where_the_policy_does_not_hold_the_same_addresses_are_reached(network, client):
    """The user may name any source, so these are asked for their manifests."""
    hosts = [host for host in dict.fromkeys([*map(bracketed, ADDRESSES), *HOSTS])
             if reachable(host)]
    assert len(hosts) >= 60, hosts
    network.listener.called.clear()
    all_at_once(lambda host: client.sync(f"http://{host}:{PORT}/manifest.json", expect=1), hosts)
    assert len(network.listener.called) >= len(hosts)


@pytest.mark.parametrize("before", [[], [PUBLIC]], ids=["name", "mixed"])
def test_a_client_without_the_policy_connects(network, client, before):
    client.agnes.env["LD_PRELOAD"] = str(
        next(Path(os.environ["AGNESFS_BUILD"]).glob("tests/fuzz/*open_sockets*")))
    addresses = [address for address in ADDRESSES if reachable(bracketed(address))]
    names = named(network, f"open{len(before)}-", [[*before, address] for address in addresses])
    network.listener.called.clear()
    all_at_once(client.sync_signed, in_pairs(urls_of(names)))
    missing = set(map(normal, addresses)) - set(network.listener.called)
    assert missing <= {"0.0.0.0", "::"}, "which are other words for this machine"


def test_a_client_that_follows_redirects_connects(network):
    network.listener.called.clear()
    with signed([]) as server:
        server.always("*", Fault(code=302, headers={"Location": f"http://127.0.0.2:{PORT}/t"}))
        subprocess.run(["curl", "-sL", server.url], check=True, capture_output=True, timeout=60)
    assert network.listener.called == ["127.0.0.2"]
