"""A start shows what the last mount showed, from an image where that fits, else from the state."""

import os

import pytest

from tests.lib.stack import raw

ORDERS = "data/sales/orders.parquet"
README = "data/sales/README.md"


@pytest.fixture
def stack(stack):
    stack.add_package("sales", stack.add_table("orders", raw(b"orders" * 100)),
                      stack.add_table("clicks", {"month=1/data.parquet": raw(b"clicks")}))
    stack.add_domain("finance", "# Finance\n")
    return stack.write()


def look(mount):
    """All that a reader sees; of tables and bundles the times too."""
    found = {}
    for where, folders, names in os.walk(mount.path):
        for name in folders + names:
            path = os.path.join(where, name)
            if os.path.relpath(path, mount.path).startswith(".agnes/status"):
                continue
            stat = os.stat(path)
            found[os.path.relpath(path, mount.path)] = (
                stat.st_ino, stat.st_size, stat.st_nlink,
                stat.st_mtime_ns if name.endswith((".parquet", "bundle.md")) else None,
                open(path, "rb").read() if name in names else None)
    return found


def image(agnes):
    return agnes.cache().root / "sync_state.image"


@pytest.fixture
def seen(agnes, stack, server):
    """What was there when it was mounted last; the server is gone."""
    with agnes.mount(server.url, "report=off") as mount:
        mount.settle()
        for path in (ORDERS, "data/sales/clicks/month=1/data.parquet"):
            (mount / path).read_bytes()
        seen = look(mount)
    server.close()
    assert image(agnes).is_file()
    return seen


def test_a_start_shows_what_was_there(agnes, server, seen):
    for _ in range(2):
        with agnes.mount(server.url) as mount:
            assert look(mount) == seen


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "flipped"])
def test_without_a_sound_image_it_shows_the_same(agnes, server, seen, damage):
    content = image(agnes).read_bytes()
    image(agnes).unlink()
    if damage == "empty":
        image(agnes).touch()
    elif damage == "cut":
        image(agnes).write_bytes(content[:-100])
    elif damage == "flipped":
        image(agnes).write_bytes(content.replace(b"orders", b"Orders"))
    with agnes.mount(server.url) as mount:
        assert look(mount) == seen
        mount.settle()
    assert image(agnes).read_bytes()[:13] == content[:13], "and there is a new one"
    with agnes.mount(server.url) as mount:
        assert look(mount) == seen


def test_the_state_is_not_read_where_the_image_fits(agnes, server, seen):
    """Seen by damage that leaves the state's size, time and last line as they were."""
    file = agnes.cache().state_file
    stat = file.stat()
    text = file.read_bytes()
    agnes.cache().previous_file.unlink(missing_ok=True)
    file.write_bytes(text.replace(b"orders", b"ORDERS"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with agnes.mount(server.url) as mount:
        assert look(mount) == seen


def test_a_state_that_was_edited_is_read(agnes, server, seen):
    file = agnes.cache().state_file
    agnes.cache().previous_file.unlink(missing_ok=True)
    file.write_bytes(file.read_bytes().replace(b"orders", b"ORDERS"))
    agnes.mount(server.url, expect=4)  # no state to be believed, and no server


def test_another_place_has_texts_of_its_own(agnes, server, seen):
    folder = agnes.folder / "elsewhere"
    folder.mkdir()
    with agnes.mount(server.url, path=folder) as mount:
        sql = (mount / ".agnes/duckdb.sql").read_text()
        assert str(folder) in sql
        assert sql.encode() != seen[".agnes/duckdb.sql"][-1]
        assert (mount / ORDERS).read_bytes() == seen[ORDERS][-1]


def test_an_image_of_before_the_last_sync_is_not_shown(agnes, stack, seen):
    """`sync` writes the state, and no image."""
    with agnes.mount(stack.url, "report=off") as mount:
        mount.settle()
    stack.add_table("orders", raw(b"newer"))
    stack.write()
    agnes.sync(stack.url)
    with agnes.mount(stack.url) as mount:
        assert (mount / ORDERS).read_bytes() == raw(b"newer")
