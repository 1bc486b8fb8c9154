"""What is known between runs, and what happens when it can not be believed."""

import json
import shutil
import time

import pytest

from tests.lib.agnesfs import Agnesfs, wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

ORDERS, CLICKS = raw(b"orders"), raw(b"clicks")
FILES = {"data/sales/orders.parquet": ORDERS, "data/events/clicks.parquet": CLICKS,
         "memory/finance/bundle.md": b"# Finance\n"}


def fill(agnes, stack, server):
    stack.add_package("sales", stack.add_table("orders", ORDERS))
    stack.add_package("events", stack.add_table("clicks", CLICKS))
    stack.add_domain("finance", "# Finance\n")
    stack.write()
    agnes.sync(server.url)
    return agnes.cache()


def hand_edit(text):
    document = json.loads(text)
    del document["data_packages"]["sales"]
    return json.dumps(document, indent=2)


DAMAGES = {
    "empty": lambda text: "",
    "truncated": lambda text: text[:len(text) // 2],
    "torn": lambda text: text[:len(text) // 2] + "\0" * (len(text) - len(text) // 2),
    "hand-edited": hand_edit,
    "an empty object": lambda text: "{}\n",
    "another number": lambda text: text.replace(str(len(ORDERS)), str(len(ORDERS) + 1)),
    "one more blank": lambda text: text + " ",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_state_deletes_nothing_and_is_rebuilt(agnes, stack, server, damage):
    cache = fill(agnes, stack, server)
    good = cache.state()
    for file in (cache.state_file, cache.previous_file):
        if file.exists():
            file.write_text(DAMAGES[damage](file.read_text()))
    damaged = cache.state_file.read_text()

    server.always("/*", Fault(status=404))
    agnes.sync(server.url, expect=None)
    assert cache.contents() == sorted(FILES.values())
    assert cache.state_file.read_text() == damaged

    server.forget()
    server.clear()
    report = agnes.sync(server.url)
    assert report.errors == []
    assert cache.contents() == sorted(FILES.values())
    assert server.count("/tables/*") == 0
    rebuilt = cache.state()
    assert rebuilt["data_packages"].keys() == good["data_packages"].keys()
    with agnes.mount(server.url) as mount:
        assert mount.files() == FILES


def test_damaged_state_falls_back_to_the_one_before(agnes, stack, server):
    cache = fill(agnes, stack, server)
    stack.add_table("orders", raw(b"newer orders"))
    stack.write()
    agnes.sync(server.url)
    cache.state_file.write_text(cache.state_file.read_text()[:100])
    server.clear()
    report = agnes.sync(server.url)
    assert report.errors == []
    assert server.count("/tables/*") == 0
    with agnes.mount(server.url) as mount:
        assert mount.files() == FILES | {"data/sales/orders.parquet": raw(b"newer orders")}


def test_damaged_state_is_rebuilt_also_without_news(agnes, stack, server):
    """The one before it is what the manifest says again."""
    cache = fill(agnes, stack, server)
    stack.add_table("orders", raw(b"newer orders"))
    stack.write()
    agnes.sync(server.url)
    cache.state_file.write_text("{")
    stack.add_table("orders", ORDERS)
    stack.write()
    agnes.sync(server.url)
    assert cache.contents() == sorted(FILES.values())
    assert set(cache.state()["data_packages"]) == {"sales", "events"}
    assert agnes.verify(server.url).findings == set()


def test_withdrawn_data_still_goes_after_the_state_was_damaged(agnes, stack, server):
    cache = fill(agnes, stack, server)
    for file in (cache.state_file, cache.previous_file):
        if file.exists():
            file.write_text("{")
    del stack.packages["sales"]
    stack.write()
    agnes.sync(server.url)
    assert cache.contents() == sorted([CLICKS, b"# Finance\n"])


def test_state_that_names_foreign_files_deletes_none(agnes, stack, server, tmp_path):
    cache = fill(agnes, stack, server)
    victims = [tmp_path / "victim.parquet", cache.root / "victim.parquet",
               agnes.home / "victim.parquet"]
    for victim in victims:
        victim.write_bytes(b"precious")
    text = cache.state_file.read_text()
    for victim, known in zip(victims, ("data/sales/orders.parquet", "data/events/clicks.parquet",
                                       "memory/finance/bundle.md")):
        assert known in text
        text = text.replace(known, str(victim))
    cache.state_file.write_text(text)
    if cache.previous_file.exists():
        cache.previous_file.write_text(text)
    del stack.packages["sales"]
    stack.write()
    agnes.sync(server.url)
    assert [victim.read_bytes() for victim in victims] == [b"precious"] * 3


def test_copied_cache_leaves_the_original_alone(agnes, stack, server, tmp_path):
    cache = fill(agnes, stack, server)
    (tmp_path / "other").mkdir()
    other = Agnesfs(tmp_path / "other")
    shutil.copytree(agnes.cache_home, other.cache_home)
    del stack.packages["sales"]
    stack.write()
    server.clear()
    other.sync(server.url)
    assert other.cache().contents() == sorted([CLICKS, b"# Finance\n"])
    assert server.count("/tables/*") == 0, "copied bytes are checked, not fetched again"
    assert cache.contents() == sorted(FILES.values())
    assert other.clean_up() == []


def test_no_absolute_path_in_it(agnes, stack, server, tmp_path):
    cache = fill(agnes, stack, server)
    text = cache.state_file.read_text()
    assert str(tmp_path) not in text

    def strings(value):
        if isinstance(value, dict):
            value = [*value.keys(), *value.values()]
        if isinstance(value, list):
            return [text for item in value for text in strings(item)]
        return [value] if isinstance(value, str) else []

    assert [text for text in strings(json.loads(text)) if text.startswith(("/", "~"))] == []


def test_readable_by_a_human(agnes, stack, server):
    cache = fill(agnes, stack, server)
    lines = cache.state_file.read_text().splitlines()
    assert len(lines) > 20
    assert max(map(len, lines)) < 200
    state = cache.state()
    assert {"direct_tables", "data_packages", "memory_domains", "last_sync_unix"} <= state.keys()
    assert set(state["data_packages"]) == {"sales", "events"}
    assert "orders" in state["data_packages"]["sales"]
    assert "finance" in state["memory_domains"]
    assert abs(state["last_sync_unix"] - time.time()) < 60


def test_private_to_its_owner(agnes, stack, server):
    cache = fill(agnes, stack, server)
    assert cache.root.stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o777 for path in cache.blobs().values()} == {0o400}
    assert (cache.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f")


def test_killed_in_the_middle_everything_stays_tracked(agnes, stack, server):
    cache = fill(agnes, stack, server)
    stack.add_package("archive", stack.add_table("old", raw(b"o" * 100)),
                      stack.add_table("older", raw(b"older")))
    stack.write()
    server.always("/tables/old.parquet", Fault(stall=50))
    process = agnes.start("sync", server.url, "--json")
    wait_for(lambda: server.sent("/tables/old.parquet") == 50)
    process.kill()
    process.wait(5)
    assert set(cache.contents()) >= set(FILES.values())

    server.forget()
    del stack.packages["sales"]
    stack.write()
    report = agnes.sync(server.url)
    assert report.errors == []
    assert cache.contents() == sorted([CLICKS, b"# Finance\n", raw(b"o" * 100), raw(b"older")])
    assert cache.partials() == []
