"""--json: every verb prints one document, as its schema says, and on an error that of errors."""

import json
import os
from pathlib import Path

import jsonschema
import pytest

from tests.lib.faultd import Fault
from tests.lib.schema import assert_valid, schema
from tests.lib.stack import raw

SAMPLE = Path(__file__).resolve().parents[1] / "data/sample"
VERBS = ("mount", "umount", "status", "sync", "refresh", "ls", "verify", "pin", "unpin", "prune",
         "sql", "stack", "export")


def document(agnes, name, *args, expect=0):
    """stdout is that document and nothing else."""
    found = agnes.run(*args, "--json", expect=expect).json()
    assert_valid(name, found)
    return found


@pytest.fixture
def odd(stack):
    """Rows of every kind, some of which fail."""
    orders = stack.add_table("orders", raw(b"orders"))
    stack.add_package("sales", orders, stack.add_table("clicks", {"a.parquet": raw(b"clicks")}),
                      stack.add_table("wages", raw(), server_only=True),
                      stack.add_table("bad", raw(b"bad"), md5="0" * 32))
    stack.add_direct(stack.add_table("prices", raw(b"prices"), md5="", hash=""))
    stack.add_direct(stack.add_table("broken", raw(b"x"), size_bytes=-1))
    stack.add_domain("finance", "# Finance\n")
    stack.add_chunks("handbook", b"\0" * 8 + b"DUCK" + b"\0" * 64)
    return stack.write()


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(schema())


# --- what goes well ---

def test_of_a_mount(agnes, odd):
    path = agnes.folder / "agnes"
    path.mkdir()
    document(agnes, "mount", "mount", odd.url, path, "-o", "refresh=off")
    for name, args, code in (("report", ["refresh", path], None), ("status", ["status", path], None),
                             ("ls", ["ls", path], 0), ("sql", ["sql", path], 0),
                             ("report", ["pin", "sales/orders", path], None),
                             ("unpin", ["unpin", "sales/orders", path], 0)):
        document(agnes, name, *args, expect=code)
    assert_valid("status", json.loads((path / ".agnes/status.json").read_text()))
    assert_valid("manifest", json.loads((path / ".agnes/manifest.json").read_text()))
    assert document(agnes, "umount", "umount", path)["ended"]
    assert document(agnes, "mounts", "status")["mounts"] == []


def test_of_several_mounts_and_of_one_that_is_detached(agnes, odd, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    with agnes.mount(odd.url, "only=sales/orders") as mount, agnes.mount(SAMPLE, path=other):
        assert len(document(agnes, "mounts", "status", expect=None)["mounts"]) == 2
        with open(mount / "data/sales/orders.parquet", "rb") as held:
            assert not document(agnes, "umount", "umount", mount.path, "--lazy")["ended"]
            assert held.read() == raw(b"orders")


def test_of_a_mount_that_is_busy(agnes, odd):
    with agnes.mount(odd.url) as mount:
        with open(mount / "data/sales/orders.parquet", "rb"):
            found = document(agnes, "busy", "umount", mount.path, expect=6)
            assert [holder["path"] for holder in found["holders"]] == ["data/sales/orders.parquet"]


def test_of_a_mount_that_made_somebody_wait(agnes, server, odd):
    with agnes.mount(server.url, "prefetch=none") as mount:
        assert (mount / "data/sales/orders.parquet").read_bytes() == raw(b"orders")
        programs = document(agnes, "status", "status", mount.path, expect=None)["programs"]
        assert [program["pid"] for program in programs] == [os.getpid()]


def test_of_the_machine(agnes, odd):
    with agnes.mount(odd.url) as mount:
        document(agnes, "doctor", "doctor", mount.path, expect=None)


def test_of_a_cache(agnes, odd, tmp_path):
    report = document(agnes, "report", "sync", odd.url, expect=9)
    assert report["data_packages"]["errors"] and report["data_packages"]["skipped_rows"]
    document(agnes, "report", "sync", odd.url, "--dry-run", expect=None)
    source = ("--server", odd.url)
    states = {row["state"] for row in document(agnes, "ls", "ls", *source)["rows"]}
    assert states >= {"resident", "cold", "withheld", "unverified"}
    assert document(agnes, "verify", "verify", odd.url, expect=9)["findings"]
    document(agnes, "report", "pin", "sales/orders", *source, expect=None)
    document(agnes, "unpin", "unpin", "sales/orders", *source)
    document(agnes, "prune", "prune", odd.url, "--cache-size", "1")
    document(agnes, "export", "export", odd.url, tmp_path / "copy", expect=None)


def test_of_the_program(agnes):
    document(agnes, "version", "version")


def test_of_a_stack_on_a_server(agnes, instance):
    instance.add_package("more", requirement="available")
    source = ("--server", instance.url)
    assert len(document(agnes, "stack_list", "stack", "list", *source)["entries"]) == 2
    assert document(agnes, "stack_change", "stack", "add", "more", *source)["report"] is None
    with agnes.mount(instance.url):
        change = document(agnes, "stack_change", "stack", "remove", "more", *source)
        assert change["changed"] and change["report"]["error"] is None


# --- what does not ---

def test_every_verb_has_one_document_for_errors(agnes):
    for verb in VERBS:
        found = document(agnes, "error", verb, "--no-such-flag", expect=2)
        assert found["exit"] == 2 and found["error"].startswith("--no-such-flag: ")


@pytest.mark.parametrize("code,args", [
    (1, ["mount", "/no/such/stack", "{dir}"]), (5, ["mount", "{source}", "/no/such/folder"]),
    (1, ["umount", "{dir}"]), (1, ["status", "{dir}"]), (1, ["refresh", "{dir}"]),
    (1, ["sql", "{dir}"]), (1, ["ls", "*", "{dir}"]), (1, ["ls", "--server", "{source}"]),
    (1, ["verify", "{source}"]), (1, ["unpin", "x", "--server", "{source}"]),
    (1, ["pin", "x", "{dir}"]), (2, ["prune", "--cache-size", "1", "ftp://x"]),
    (2, ["stack", "list", "--server", "{source}"]), (8, ["export", "{source}", "/proc/x/y"]),
])
def test_what_fails_says_so(agnes, odd, code, args):
    folder = agnes.folder / "folder"
    folder.mkdir()
    args = [arg.format(dir=folder, source=odd.url) for arg in args]
    result = agnes.run(*args, "--json", expect=None)
    found = result.json()
    if found.get("exit") is None:
        pytest.fail(repr(result))
    assert_valid("error", found)
    assert found["exit"] == result.code == code, result
    assert result.err.startswith(f"agnesfs: {found['error'].split(chr(10))[0]}")


def test_a_refresh_that_fails_says_so_in_its_report(agnes, server, stack):
    stack.write()
    server.always("/manifest.json", Fault(status=401))
    for verb in (["sync", server.url], ["pin", "*", "--server", server.url]):
        found = document(agnes, "report", *verb, expect=3)
        assert found["error"]
