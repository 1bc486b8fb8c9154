"""Messages that no other test reaches: what went wrong, why, and what to do. See tests/MESSAGES.md."""

import fcntl
import os
import signal
import subprocess

import pytest

from tests.lib.agnesfs import BINARY, wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw


@pytest.fixture
def folder(agnes):
    path = agnes.folder / "agnes"
    path.mkdir()
    return path


@pytest.fixture
def sales(stack):
    stack.add_package("sales", stack.add_table("orders", raw(b"orders")))
    return stack.write()


def assert_says(result, message, hint=None):
    """One sentence `agnesfs: what: why`, then the hint, if there is one; nothing else, no colour."""
    lines = result.err.splitlines()
    assert lines[0].startswith("agnesfs: ") and message in lines[0], result
    assert [line[:6] for line in lines[1:]] == ([] if hint is None else ["hint: "]), result
    assert hint is None or hint in lines[1], result
    assert "\x1b" not in result.out + result.err


# --- the command line, files, folders ---

def test_a_key_that_the_verb_has_no_use_for(agnes):
    assert_says(agnes.run("sync", "--umask", "022", expect=2), "--umask: unknown option of sync",
                "a key that sync has no use for")


@pytest.mark.parametrize("text,message", [
    ("[mount]\njobs = 2\n", "line 2: section [mount]: there are no sections here"),
    ("jobs\n", "line 1: not KEY = VALUE"),
    ("cache-dir = here\n", 'line 1: cache-dir "here": a path here must begin with / or ~/'),
    (None, "could not be read"),
])
def test_a_configuration_file(agnes, text, message):
    path = agnes.folder / "config"
    path.write_text(text) if text else path.mkdir()
    assert_says(agnes.run("sync", "--config", path, expect=2), f"{path}: {message}")


def test_a_flag_that_takes_no_value_and_a_mount_that_is_to_be_written(agnes, folder):
    assert_says(agnes.run("sync", "--json=yes", expect=2), "--json=yes: takes no value")
    assert_says(agnes.run("mount", folder, "-o", "rw", expect=2),
                "-o rw: an agnesfs mount is read-only")


def test_no_private_folder(agnes, folder, sales):
    (agnes.runtime / "agnesfs").write_text("mine")
    for args, code in ((["mount", sales.url, folder], 5), (["status"], 1),
                       (["umount", folder], 1)):
        result = agnes.run(*args, expect=code)
        assert_says(result, "control socket: ")
    assert "no private folder for it" in agnes.run("umount", folder, expect=1).err


# --- which mount ---

def test_which_mount(agnes, sales, tmp_path):
    assert_says(agnes.run("refresh", expect=1), "DIR: nothing is mounted")
    assert_says(agnes.run("umount", "/proc", expect=1), "/proc: not an agnesfs mount (proc)")
    other = tmp_path / "other"
    other.mkdir()
    with agnes.mount(sales.url) as one, agnes.mount(sales.url, path=other) as two:
        result = agnes.run("refresh", expect=2)
        assert_says(result, "DIR: there are several mounts; say which", str(one.path))
        assert str(two.path) in result.err


def test_a_process_that_can_not_be_asked(agnes, sales):
    with agnes.mount(sales.url) as mount:
        pid = mount.status()["pid"]
        sockets = [path for path in agnes.runtime.rglob("*") if path.is_socket()]
        assert sockets
        for path in sockets:
            path.unlink()
        assert_says(agnes.run("status", mount.path, expect=1), f"process {pid} does not answer",
                    "agnesfs umount --lazy")


def mount_until_it_warns(agnes, source, mount, warning):
    """A mount waits for its first refresh, but not for long."""
    def warned():
        result = agnes.run("mount", source, mount.path, "-o", "refresh=off")
        agnes.run("umount", mount.path)
        return warning in result.err
    wait_for(warned, 50, warning)


def test_what_a_mount_tells_on_the_way(agnes, server, sales):
    with agnes.mount(server.url) as mount:
        pid = mount.status()["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not agnes.processes(), 30, "it is dead")
        result = agnes.run("mount", server.url, mount.path, "-o", "refresh=off")
        assert f"agnesfs: warning: {mount.path}: the process before, {pid}, was " in result.err
    sales.add_package("odd", sales.add_table("bad", raw(b"bad"), size_bytes=-1))
    sales.write()
    mount_until_it_warns(agnes, server.url, mount, f"not all is well: agnesfs status {mount.path}")
    server.always("/manifest.json", Fault(status=403))
    mount_until_it_warns(agnes, server.url, mount, "; showing the last generation known")


# --- interrupted: 130 ---

@pytest.mark.parametrize("verb", ["sync", "mount"])
def test_interrupted(agnes, server, sales, folder, verb):
    server.always("/manifest.json", Fault(stall=0))
    args = ["sync", server.url] if verb == "sync" else ["mount", server.url, folder, "--foreground"]
    process = agnes.start(*args)
    wait_for(lambda: server.requests, 30, "it has asked")
    if verb == "mount":
        result = agnes.run("mount", server.url, folder, expect=5)
        assert_says(result, f"{folder}: process {process.pid} serves it already",
                    f"agnesfs status {folder}; agnesfs umount {folder}")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    message = "interrupted; what came so far is kept" if verb == "sync" else ": interrupted\n"
    assert message in err and out == ""


# --- tokens, pins, the cache ---

def test_tokens(agnes, instance):
    token = agnes.home / ".config/agnes/token.json"
    token.chmod(0o644)
    assert f"warning: {token}: others can read this token: chmod 600 it" in agnes.run(
        "sync", instance.url, "--quiet").err
    token.unlink()
    agnes.env["AGNES_TOKEN"] = "a b"
    assert_says(agnes.run("sync", instance.url, expect=3),
                "AGNES_TOKEN: not a token: blanks or control characters in it")


def test_pins(agnes, sales):
    agnes.sync(sales.url)
    source = ("--server", sales.url)
    assert_says(agnes.run("unpin", "x", *source, expect=1), "x: was not pinned",
                "agnesfs ls shows what is")
    assert_says(agnes.run("pin", f"sales/*{'*' * 2000}", *source, expect=2), "not a glob")
    [state] = agnes.state_home.glob("agnesfs/*-*")
    (state / "pins").write_text("".join(f"glob {i}\n" for i in range(1000)))
    assert_says(agnes.run("pin", "sales/*", *source, expect=1), "sales/*: too many pins")
    state.chmod(0o777)
    assert_says(agnes.run("sync", sales.url, expect=8), f"{state}: not ours alone: chmod 700 it")


def test_a_cache_without_a_generation_and_one_that_is_damaged(agnes, server, sales):
    server.script("/manifest.json", Fault(status=404))
    agnes.run("sync", server.url, expect=1)
    source = ("--server", server.url)
    assert_says(agnes.run("ls", *source, expect=1), "no generation is known yet", "agnesfs sync")
    agnes.sync(server.url)
    agnes.cache().state_file.write_text("{")
    agnes.cache().previous_file.unlink(missing_ok=True)
    assert_says(agnes.run("ls", *source, expect=9), "state file unreadable",
                "agnesfs verify --repair")


def test_a_cache_that_somebody_has_whom_we_can_not_see(agnes, sales):
    agnes.sync(sales.url)
    with open(agnes.cache().root / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["unshare", "-pf", "--mount-proc", BINARY, "sync", sales.url],
                              env=agnes.env, capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 6, done
    assert "the cache is in use by another process\nhint: agnesfs status names" in done.stderr


def test_a_target_whose_folder_is_not_of_our_making(agnes, sales, tmp_path):
    (tmp_path / "target/.agnes/export.tmp").mkdir(parents=True)
    assert_says(agnes.run("export", sales.url, tmp_path / "target", expect=8),
                ".agnes/export.tmp is not of our making")


def test_a_server_that_refuses_a_change_for_a_reason_of_its_own(agnes, instance):
    instance.add_package("more", requirement="available")
    instance.script("/api/stack/subscribe", Fault(
        status=400, headers={"Content-Type": "application/json"}, body=b'{"detail": "not today"}'))
    result = agnes.run("stack", "add", "more", "--server", instance.url, expect=1)
    assert_says(result, "data/more: the server refused: not today")
