"""Bytes that are newer than the manifest that lists them (contract B28): nothing wrong is shown,
what was there stays, and the newer ones are taken up as soon as the server can say what they are."""

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.stack import raw

ORDERS, DOWNLOAD = "data/sales/orders.parquet", "/api/data/orders/download"
MANIFEST = "/api/sync/manifest"
JUNE, JULY = "month=2026-06/data.parquet", "month=2026-07/data.parquet"
CLICKS = {JUNE: raw(b"june"), JULY: raw(b"july")}
PART = "/api/data/clicks/download?part=*2026-07*"


def rehash_after_a_manifest(instance, table):
    """The publisher's second step falls between the manifest and the download."""
    def edit(manifest):
        instance.rehash(table)
        instance.edit = lambda manifest: manifest
        return manifest
    instance.edit = edit


def parts_shown(mount):
    return {path: (mount / "data/sales/clicks" / path).read_bytes() for path in CLICKS}


# --- whole tables: nobody vouches for their bytes ---

def test_a_refresh_takes_up_what_was_published_meanwhile(agnes, instance):
    with agnes.mount(instance.url, "report=off") as mount:
        assert (mount / ORDERS).read_bytes() == raw(b"orders")
        instance.publish("orders", raw(b"second"))
        instance.publish("orders", raw(b"the third"), hashed=False)
        rehash_after_a_manifest(instance, "orders")
        instance.clear()
        report = mount.refresh()
        assert (mount / ORDERS).read_bytes() == raw(b"the third")
        assert (report.errors, report.bytes) == ([], len(raw(b"the third")))
        assert report.counts("data_packages") == {"updated": 1}
        assert instance.count(MANIFEST) == 2
        instance.clear()
        mount.refresh()
        assert instance.count() == 1


def test_a_manifest_that_stays_behind_costs_no_second_download(agnes, instance):
    with agnes.mount(instance.url, "report=off") as mount:
        assert (mount / ORDERS).read_bytes() == raw(b"orders")
        instance.publish("orders", raw(b"second"))
        instance.publish("orders", raw(b"third!"), hashed=False)
        instance.clear()
        report = mount.refresh(expect=9)
        assert [error.name for error in report.errors] == ["orders"]
        assert (mount / ORDERS).read_bytes() == raw(b"orders")
        assert instance.count(MANIFEST) == 2
        assert instance.count(DOWNLOAD) == 2, "once, and once more past any cache on the way"


def test_a_sync_takes_up_what_was_published_meanwhile(agnes, instance):
    """A table that is new has no old content to be kept: it is listed before it is fetched."""
    instance.publish("orders", raw(b"the third"), hashed=False)
    rehash_after_a_manifest(instance, "orders")
    report = agnes.sync(instance.url)
    assert report.errors == [] and report.counts("data_packages")["added"] == 1
    assert agnes.cache().contents() == [raw(b"the third")]


def test_a_reader_who_meets_other_bytes_makes_the_mount_look_within_a_minute(agnes, instance):
    instance.publish("orders", raw(b"the third"), hashed=False)
    with agnes.mount(instance.url, "prefetch=none", "refresh=3600") as mount:
        assert mount.seconds_to_refresh() > 3000
        with pytest.raises(OSError):
            (mount / ORDERS).read_bytes()
        wait_for(lambda: 0 < mount.seconds_to_refresh() < 61, what="a sooner refresh")
        instance.rehash("orders")
        mount.refresh()
        assert (mount / ORDERS).read_bytes() == raw(b"the third")


# --- parts: the server says what it sends ---

@pytest.fixture
def parted(instance):
    instance.add_table("clicks", parts=CLICKS, packages=["sales"])
    return instance


def test_a_part_is_what_the_server_vouches_for(agnes, parted):
    new = CLICKS | {JULY: raw(b"july, newer")}
    with agnes.mount(parted.url, "report=off") as mount:
        assert parts_shown(mount) == CLICKS
        parted.publish("clicks", parts=CLICKS | {JULY: raw(b"july, new")})
        parted.publish("clicks", parts=new, hashed=False)
        parted.clear()
        report = mount.refresh()
        assert parts_shown(mount) == new
        assert (report.bytes, report.errors) == (len(new[JULY]), [])
        assert parted.count(PART) == 2


def test_the_manifest_that_lags_behind_is_asked_about_and_nothing_is_fetched(agnes, parted):
    new = CLICKS | {JULY: raw(b"july, newer")}
    with agnes.mount(parted.url, "report=off") as mount:
        assert parts_shown(mount) == CLICKS
        parted.publish("clicks", parts=CLICKS | {JULY: raw(b"july, new")})
        parted.publish("clicks", parts=new, hashed=False)
        generation = mount.refresh().generation
        parted.clear()
        report = mount.refresh()
        assert (report.generation, report.bytes, report.errors) == (generation, 0, [])
        assert parted.count(PART) == 1
        parted.rehash("clicks")
        mount.refresh()
        parted.clear()
        assert parts_shown(mount) == new
        assert mount.refresh().bytes == 0
        assert parted.count() == 1


def test_a_new_part_is_what_the_server_vouches_for(agnes, parted):
    new = {JUNE: CLICKS[JUNE], JULY: raw(b"july, newer")}
    parted.publish("clicks", parts=new, hashed=False)
    report = agnes.sync(parted.url)
    assert report.errors == []
    assert agnes.cache().contents() == sorted([raw(b"orders"), *new.values()])
    with agnes.mount(parted.url) as mount:
        assert parts_shown(mount) == new
