"""What goes wrong before there is a mount: which words, which exit code, nothing left behind."""

import json
import os
import subprocess
import time

import pytest

from tests.lib.agnesfs import BINARY, wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

OK, FAILED, USAGE, AUTHENTICATION, UNREACHABLE, MOUNT, BUSY = 0, 1, 2, 3, 4, 5, 6


@pytest.fixture
def stack(stack):
    stack.add_package("sales", stack.add_table("orders", raw(b"orders")))
    return stack.write()


@pytest.fixture
def folder(agnes):
    path = agnes.folder / "agnes"
    path.mkdir()
    return path


def assert_clear(result, *words, hint=True):
    """Errors begin with our name and say why; a hint is a line of its own; there is no noise."""
    lines = result.err.splitlines()
    assert lines and lines[0].startswith("agnesfs: "), result
    assert lines[0].count(": ") >= 2, f"what: why expected\n{result!r}"
    assert all(line.startswith(("agnesfs: ", "hint: ")) for line in lines), result
    assert not hint or any(line.startswith("hint: ") for line in lines), result
    for word in words:
        assert word.lower() in result.err.lower(), f"{word!r} expected\n{result!r}"
    assert result.out == "", result


def fail_to_mount(agnes, source, folder, code, *args, **keywords):
    operands = [source, folder] if source else [folder]
    result = agnes.run("mount", *operands, "-o", "refresh=off", *args, expect=code, **keywords)
    assert agnes.mountpoints() == []
    wait_for(lambda: agnes.processes() == {}, 30, "whoever told us so has ended")
    return result


def run_in_namespace(agnes, script, *args, options=("-m",)):
    """A shell script as root where /dev or the network is not what it was; $1... are args."""
    done = subprocess.run(
        ["unshare", *options, "sh", "-ec", script, "sh", *map(str, args)], env=agnes.env,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    done.code, done.out, done.err = done.returncode, done.stdout, done.stderr
    return done


# --- sources ---

def test_without_any_source_the_default_server_is_tried_and_the_message_says_where_it_came_from(
        agnes, folder):
    result = run_in_namespace(agnes, 'exec "$1" mount "$2"', BINARY, folder, options=("-n",))
    assert result.code == UNREACHABLE, result
    assert_clear(result, "localhost:8000", "unreachable")


def test_a_server_that_refuses_the_connection_is_unreachable(agnes, server, folder):
    server.close()
    result = fail_to_mount(agnes, server.origin, folder, UNREACHABLE)
    assert_clear(result, server.origin, "unreachable")


def test_a_host_without_an_address_is_unreachable(agnes, folder):
    result = fail_to_mount(agnes, "http://no-such-host.invalid", folder, UNREACHABLE)
    assert_clear(result, "no-such-host.invalid")


def test_a_server_that_never_answers_is_unreachable_after_the_timeout(agnes, server, folder):
    server.always("*", Fault(delay=30))
    begin = time.monotonic()
    result = fail_to_mount(agnes, server.url, folder, UNREACHABLE, "-o", "timeout=1s")
    assert time.monotonic() - begin < 15
    assert_clear(result, "unreachable")


def test_a_missing_stack_folder_says_that_no_manifest_is_there(agnes, folder):
    result = fail_to_mount(agnes, agnes.folder / "nowhere", folder, FAILED)
    assert_clear(result, "no manifest")


def test_a_404_says_that_no_manifest_is_there(agnes, server, folder):
    result = fail_to_mount(agnes, f"{server.origin}/other.json", folder, FAILED)
    assert_clear(result, "no manifest")


def test_a_source_of_no_known_kind_is_a_usage_error(agnes, folder):
    result = fail_to_mount(agnes, "ftp://example.com/manifest.json", folder, USAGE)
    assert_clear(result, "ftp://example.com/manifest.json")


# --- authentication ---

def test_401_without_a_token_says_that_none_was_found(agnes, agnes_server, folder):
    result = fail_to_mount(agnes, agnes_server.url, folder, AUTHENTICATION)
    assert_clear(result, "no token", "agnes CLI")


def test_401_with_a_token_says_that_it_is_not_accepted_and_never_shows_it(
        agnes, agnes_server, folder):
    agnes.write_token("an-old-token")
    result = fail_to_mount(agnes, agnes_server.url, folder, AUTHENTICATION)
    assert_clear(result, "expired", "/setup")
    assert "an-old-token" not in result.err
    sent = {request.headers.get("authorization") for request in agnes_server.requests}
    assert sent == {"Bearer an-old-token"}


def test_a_token_file_that_is_missing_is_an_authentication_error(agnes, agnes_server, folder):
    missing = agnes.folder / "no-token"
    result = fail_to_mount(agnes, agnes_server.url, folder, AUTHENTICATION, "--token-file", missing)
    assert_clear(result, str(missing), hint=False)
    assert agnes_server.count() == 0


# --- manifests ---

def test_a_login_page_instead_of_a_manifest_is_named_as_such(agnes, agnes_server, folder):
    agnes.write_token("a-token")
    agnes_server.always("/api/sync/manifest", Fault(html=True))
    result = fail_to_mount(agnes, agnes_server.url, folder, FAILED)
    assert_clear(result, "html", "login page")


def test_a_login_page_instead_of_a_static_manifest_is_refused(agnes, server, folder):
    server.always("/manifest.json", Fault(html=True))
    result = fail_to_mount(agnes, server.url, folder, FAILED)
    assert_clear(result, "manifest")


@pytest.mark.parametrize("text", [
    '{"data_packages":' + "[" * 100_000,
    '{"data_packages":' + "[" * 100_000 + "]" * 100_000 + "}",
    "[" * 100_000,
    '{"a":' * 100_000,
], ids=["open", "closed", "bare", "objects"])
def test_a_manifest_of_100000_nested_brackets_is_refused_quickly(agnes, stack, folder, text):
    stack.write_manifest(text)
    begin = time.monotonic()
    result = fail_to_mount(agnes, stack.url, folder, FAILED)
    assert time.monotonic() - begin < 3
    assert_clear(result, "manifest", "nested")


@pytest.mark.parametrize("text", ["", "{", "null", '{"data_packages": []', "PAR1", "{} {}"],
                         ids=["empty", "brace", "null", "cut", "parquet", "trailing"])
def test_what_is_no_manifest_is_refused(agnes, stack, folder, text):
    stack.write_manifest(text)
    assert_clear(fail_to_mount(agnes, stack.url, folder, FAILED), "manifest")


# --- mount points ---

def test_a_missing_mount_point_is_named_with_the_way_to_make_it(agnes, stack):
    missing = agnes.folder / "missing"
    result = fail_to_mount(agnes, stack.url, missing, MOUNT)
    assert_clear(result, f"{missing}: no such folder", f"mkdir -p {missing}")


def test_a_file_as_mount_point_is_refused(agnes, stack):
    file = agnes.folder / "file"
    file.write_text("mine")
    result = fail_to_mount(agnes, stack.url, file, MOUNT)
    assert_clear(result, f"{file}: not a folder", hint=False)
    assert file.read_text() == "mine"


def test_a_mount_point_that_is_not_empty_is_refused(agnes, stack, folder):
    (folder / "notes").write_text("mine")
    result = fail_to_mount(agnes, stack.url, folder, MOUNT)
    assert_clear(result, f"{folder}: folder is not empty")
    assert (folder / "notes").read_text() == "mine"


def test_a_mount_point_that_is_mounted_already_is_refused_and_stays(agnes, stack, tmp_path):
    other = tmp_path / "other-stack"
    other.mkdir()
    (other / "manifest.json").write_text((stack.folder / "manifest.json").read_text())
    with agnes.mount(stack.url) as mount:
        for source in (stack.url, other):
            result = agnes.run("mount", source, mount.path, "-o", "refresh=off", expect=MOUNT)
            assert_clear(result, "mounted there already", f"umount {mount.path}")
        assert agnes.mountpoints() == [str(mount.path)]
        assert (mount / "data/sales/orders.parquet").read_bytes() == raw(b"orders")


def test_a_mount_point_with_something_else_mounted_is_refused(agnes, stack, folder):
    result = run_in_namespace(
        agnes, 'mount -t tmpfs none "$3"; exec "$1" mount "$2" "$3"', BINARY, stack.url, folder)
    assert result.code == MOUNT, result
    assert_clear(result, "mounted there already")


def test_the_mount_point_is_checked_before_anything_is_fetched(agnes, stack, server):
    fail_to_mount(agnes, server.url, agnes.folder / "missing", MOUNT)
    assert server.count() == 0
    assert agnes.caches() == []


# --- the machine ---

EMPTY_DEV = 'mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; exec "$1" mount "$2" "$3"'


def test_without_dev_fuse_the_message_says_so(agnes, stack, folder):
    result = run_in_namespace(agnes, EMPTY_DEV, BINARY, stack.url, folder)
    assert result.code == MOUNT, result
    assert_clear(result, "no /dev/fuse", "modprobe fuse")
    wait_for(lambda: agnes.processes() == {}, 30, "whoever told us so has ended")


def test_a_cache_folder_that_is_a_file_is_a_disk_error(agnes, stack, folder):
    file = agnes.folder / "file"
    file.write_text("mine")
    result = fail_to_mount(agnes, stack.url, folder, 8, "--cache-dir", file)
    assert_clear(result, str(file), hint=False)
    assert file.read_text() == "mine"


def test_a_cache_folder_that_is_open_to_others_is_refused(agnes, stack, folder):
    agnes.sync(stack.url)
    root = agnes.cache().root
    root.chmod(0o755)
    result = fail_to_mount(agnes, stack.url, folder, 8)
    assert_clear(result, str(root), "chmod 700")


# --- usage ---

@pytest.mark.parametrize("args, words", [
    (["mnt"], ["mnt", "no such verb"]),
    (["mount"], ["DIR"]),
    (["mount", "a", "b", "c"], ["c"]),
    (["mount", "a", "b", "--prefech=all"], ["prefech", "prefetch"]),
    (["mount", "a", "b", "-o", "prefech=all"], ["prefech", "prefetch"]),
    (["mount", "a", "b", "-o", "cache-dri=x"], ["cache-dri", "cache-dir"]),
    (["umount"], ["DIR"]),
    (["umount", "a", "--foreground"], ["foreground"]),
    (["status", "a", "b"], ["b"]),
], ids=" ".join)
def test_a_wrong_command_line_is_a_usage_error_with_a_hint(agnes, args, words):
    assert_clear(agnes.run(*args, expect=USAGE), *words)


def test_without_a_verb_the_usage_is_printed_as_an_error(agnes):
    result = agnes.run(expect=USAGE)
    assert result.out == "" and result.err.startswith("usage: agnesfs VERB")


@pytest.mark.parametrize("option, why", [
    ("prefetch=some", "all|pinned|none"),
    ("jobs=0", "1"),
    ("jobs=many", "number"),
    ("refresh=10s", "60"),
    ("timeout=soon", "soon"),
    ("umask=9", "octal"),
    ("prefetch", "value"),
])
def test_a_wrong_value_is_a_usage_error_that_says_what_is_right(agnes, stack, folder, option, why):
    key, _, value = option.partition("=")
    for args in (["-o", option], [f"--{option}"]):
        result = fail_to_mount(agnes, stack.url, folder, USAGE, *args)
        assert_clear(result, key, value, why, hint=False)


def test_a_wrong_key_in_the_environment_value_names_the_variable(agnes, stack, folder):
    agnes.env["AGNESFS_PREFETCH"] = "some"
    assert_clear(fail_to_mount(agnes, stack.url, folder, USAGE), "AGNESFS_PREFETCH", "some",
                 hint=False)


def test_a_wrong_key_in_the_configuration_names_the_file_and_the_nearest_key(agnes, stack, folder):
    file = agnes.config_home / "agnesfs/config"
    file.parent.mkdir(parents=True)
    file.write_text("prefech = none\n")
    assert_clear(fail_to_mount(agnes, stack.url, folder, USAGE), str(file), "prefech", "prefetch")


def test_a_token_is_never_an_argument(agnes, stack, folder):
    for args in (["--token", "s3cret"], ["--token=s3cret"], ["-o", "token=s3cret"]):
        result = fail_to_mount(agnes, stack.url, folder, USAGE, *args)
        assert_clear(result, "token")
        assert "s3cret" not in result.err


# --- the other verbs ---

@pytest.mark.parametrize("verb", ["status", "refresh", "umount"])
def test_a_verb_on_a_folder_that_is_no_mount_says_so(agnes, folder, verb):
    result = agnes.run(verb, folder, expect=FAILED)
    assert_clear(result, str(folder), hint=False)


@pytest.mark.parametrize("verb", ["status", "refresh"])
def test_a_verb_on_a_missing_folder_says_so(agnes, verb):
    missing = agnes.folder / "missing/folder"
    result = agnes.run(verb, missing, expect=FAILED)
    assert_clear(result, str(missing), hint=False)


def test_sync_of_an_unreachable_server_and_without_rights_have_their_exit_codes(
        agnes, server, agnes_server):
    assert_clear(agnes.run("sync", agnes_server.url, expect=AUTHENTICATION), "token")
    server.close()
    assert_clear(agnes.run("sync", server.url, expect=UNREACHABLE), "unreachable")


# --- JSON ---

def test_with_json_an_error_is_a_document_on_stdout(agnes, stack, server, folder):
    missing = agnes.folder / "missing"
    server.close()
    for args, code in ((["mount", stack.url, missing], MOUNT),
                       (["mount", server.url, folder], UNREACHABLE),
                       (["sync", server.url], UNREACHABLE),
                       (["status", folder], FAILED),
                       (["refresh", folder], FAILED),
                       (["umount", folder], FAILED)):
        result = agnes.run(*args, "--json", expect=code)
        document = json.loads(result.out)
        assert document["error"], result
        assert all(line.startswith(("agnesfs: ", "hint: ")) for line in result.err.splitlines())


def test_an_error_from_the_server_can_not_write_on_the_terminal(agnes, server, folder):
    server.always("/manifest.json", Fault(body=b'{"\x1b]0;owned\x07'))
    result = fail_to_mount(agnes, server.url, folder, FAILED)
    assert not any(byte < 32 and byte != 10 for byte in os.fsencode(result.err)), result
