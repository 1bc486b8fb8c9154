"""`agnesfs verify`: everything that is wrong with a cache is found, named and mended."""

import shutil

import pytest

from tests.lib.stack import md5, raw

ORDERS, CLICKS, BUNDLE = raw(b"orders"), raw(b"clicks"), b"# Finance\n"
FILES = {"data/sales/orders.parquet": ORDERS, "data/events/clicks.parquet": CLICKS,
         "memory/finance/bundle.md": BUNDLE}


@pytest.fixture
def cache(agnes, stack, server):
    stack.add_package("sales", stack.add_table("orders", ORDERS))
    stack.add_package("events", stack.add_table("clicks", CLICKS))
    stack.add_domain("finance", BUNDLE.decode())
    stack.write()
    agnes.sync(server.url)
    server.clear()
    return agnes.cache()


def replace(path, content):
    path.chmod(0o600)
    path.write_bytes(content)
    path.chmod(0o400)
    return path


# Each takes the cache and says which path it has spoilt.


def orphan_blob(cache):
    path = cache.blob(raw(b"nobody's"))
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(raw(b"nobody's"))
    path.chmod(0o400)
    return path


def missing_blob(cache):
    path = cache.blob(ORDERS)
    path.unlink()
    return path


def wrong_bytes(cache):
    return replace(cache.blob(ORDERS), ORDERS.replace(b"orders", b"0rders"))


def wrong_bytes_of_a_bundle(cache):
    path = next(path for key, path in cache.blobs().items() if key.startswith("xxh-"))
    return replace(path, b"# Finanza\n")


def wrong_size(cache):
    return replace(cache.blob(ORDERS), ORDERS[:-1])


def foreign_file(cache):
    path = cache.shared / "notes.txt"
    path.write_bytes(b"not ours")
    return path


def foreign_file_in_a_shard(cache):
    path = cache.blob(ORDERS).parent / "orders.parquet"
    path.write_bytes(ORDERS)
    return path


def blob_in_the_wrong_shard(cache):
    shard = cache.shared / ("00" if md5(ORDERS)[:2] != "00" else "11")
    shard.mkdir(exist_ok=True)
    return cache.blob(ORDERS).rename(shard / cache.blob(ORDERS).name)


def symbolic_link(cache):
    path = cache.blob(ORDERS)
    path.rename(cache.root / "moved")
    path.symlink_to(cache.root / "moved")
    return path


DAMAGES = {
    orphan_blob: "orphan blob",
    missing_blob: "missing blob",
    wrong_bytes: "wrong bytes",
    wrong_bytes_of_a_bundle: "wrong bytes",
    wrong_size: "wrong size",
    foreign_file: "foreign file",
    foreign_file_in_a_shard: "foreign file",
    blob_in_the_wrong_shard: "foreign file",
    symbolic_link: "foreign file",
}
each_damage = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)


def finding(kind, path, cache):
    return kind, str(path.relative_to(cache.root))


def listing(cache):
    return {path: path.lstat().st_ino for path in cache.shared.rglob("*")}


def assert_whole(agnes, cache, server):
    assert agnes.verify(server.url).findings == set()
    assert cache.contents() == sorted(FILES.values())
    with agnes.mount(server.url) as mount:
        assert mount.files() == FILES


def test_clean_cache_is_clean(agnes, cache, server):
    assert agnes.verify(server.url).findings == set()
    assert server.requests == []


@each_damage
def test_damage_is_found_and_named(agnes, cache, server, damage):
    path = damage(cache)
    before = listing(cache)
    audit = agnes.verify(server.url, expect=9)
    assert finding(DAMAGES[damage], path, cache) in audit.findings
    assert audit.mended == set()
    relative = str(path.relative_to(cache.root))
    text = agnes.run("verify", server.url, expect=9).out
    assert any(relative in line and DAMAGES[damage] in line for line in text.splitlines())
    assert listing(cache) == before, "without --repair nothing is touched"
    assert server.requests == []


@each_damage
def test_repair_mends_it_and_after_it_the_cache_is_clean(agnes, cache, server, damage):
    path = damage(cache)
    audit = agnes.verify(server.url, "--repair")
    assert finding(DAMAGES[damage], path, cache) in audit.mended
    assert audit.mended == audit.findings
    assert_whole(agnes, cache, server)


def test_all_of_it_at_once(agnes, cache, server):
    orphan, foreign, size = orphan_blob(cache), foreign_file(cache), wrong_size(cache)
    bundle = wrong_bytes_of_a_bundle(cache)
    missing = cache.blob(CLICKS)
    missing.unlink()
    assert agnes.verify(server.url, expect=9).findings == {
        finding("orphan blob", orphan, cache), finding("foreign file", foreign, cache),
        finding("wrong size", size, cache), finding("wrong bytes", bundle, cache),
        finding("missing blob", missing, cache)}
    agnes.verify(server.url, "--repair")
    assert server.count("/tables/*") == 2
    assert server.count("/memory/*") == 1
    assert_whole(agnes, cache, server)


def test_store_that_is_gone_is_filled_again(agnes, cache, server):
    shutil.rmtree(cache.shared)
    findings = agnes.verify(server.url, expect=9).findings
    assert [kind for kind, _ in findings] == ["missing blob"] * 3
    agnes.verify(server.url, "--repair")
    assert_whole(agnes, cache, server)


def test_what_can_not_be_fetched_remains_a_finding(agnes, cache, server):
    missing, orphan = missing_blob(cache), orphan_blob(cache)
    server.close()
    assert agnes.run("verify", server.url, "--repair", expect=None).code != 0
    assert not orphan.exists()
    assert cache.contents() == sorted([CLICKS, BUNDLE])
    remaining = agnes.verify(server.url, expect=9).findings
    assert remaining == {finding("missing blob", missing, cache)}


def test_unreadable_state_is_found_and_takes_no_blob_with_it(agnes, cache, server):
    cache.state_file.write_text("{")
    cache.previous_file.unlink(missing_ok=True)
    audit = agnes.verify(server.url, expect=9)
    assert [kind for kind, _ in audit.findings] == ["state file unreadable"]
    assert cache.contents() == sorted(FILES.values())
    server.clear()
    agnes.verify(server.url, "--repair")
    assert server.count("/tables/*") == 0
    assert_whole(agnes, cache, server)


def test_wrong_bytes_are_never_served(agnes, cache, server):
    wrong_bytes(cache)
    with agnes.mount(server.url) as mount:
        assert mount.files() == FILES
    assert agnes.verify(server.url).findings == set()


def test_cold_files_are_no_finding_where_nothing_is_prefetched(agnes, cache, server):
    missing_blob(cache)
    assert agnes.verify(server.url, "--prefetch", "none").findings == set()


def test_nothing_to_verify_is_said(agnes, stack):
    stack.add_domain("finance", "# Finance\n")
    stack.write()
    result = agnes.run("verify", stack.url, expect=1)
    assert result.err.startswith("agnesfs: ")
    assert "\nhint: " in result.err
