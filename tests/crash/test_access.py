"""Who may look into a mount, and who may command it: the exact errno of every cell.

Rows are mounts, columns are people: the owner, root, another user, and that user as root of a user
namespace of their own. A cell is what each of the calls below answers.
"""

import contextlib
import ctypes
import errno
import functools
import json
import os
import pwd
import shutil
import socket
from pathlib import Path

import pytest

from tests.e2e.test_users import agnes, as_user, folder, place, stack, users  # noqa: F401
from tests.lib import agnesfs
from tests.lib.agnesfs import Agnesfs

OK = 0
CLONE_NEWUSER = 0x10000000
TABLE = "data/sales/orders.parquet"


def calls(root):
    """{call: a function that makes it}; each returns nothing of interest."""
    table, live = os.path.join(root, TABLE), os.path.join(root, ".agnes/status.json")

    def read(path):
        with open(path, "rb") as file:
            file.read()

    return {
        "stat /": lambda: os.stat(root),
        "statfs /": lambda: os.statvfs(root),
        "list /": lambda: os.listdir(root),
        "list data": lambda: os.listdir(os.path.join(root, "data")),
        "stat table": lambda: os.stat(table),
        "read table": lambda: read(table),
        "access table": lambda: os.access(table, os.R_OK) or fail(errno.EACCES),
        "xattr table": lambda: os.getxattr(table, "user.agnes.state"),
        "read status": lambda: read(live),
        "absent": lambda: os.stat(os.path.join(root, "data/absent")),
        "write table": lambda: os.open(table, os.O_WRONLY),
        "make": lambda: os.mkdir(os.path.join(root, "new")),
    }


def fail(number):
    raise OSError(number, os.strerror(number))


def answers(root):
    """{call: its errno}, made by whoever calls this."""
    found = {}
    for name, call in calls(root).items():
        try:
            call()
            found[name] = OK
        except OSError as error:
            found[name] = error.errno
    return found


def answers_in_a_user_namespace(root):
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) < 0:
        fail(ctypes.get_errno())
    return answers(root)


def column(person, root):
    name, inside = person
    function = answers_in_a_user_namespace if inside else answers
    return as_user(name, functools.partial(function, str(root)))


ALLOWED = {**dict.fromkeys(("stat /", "statfs /", "list /", "list data", "stat table", "read table",
                            "access table", "xattr table", "read status"), OK),
           "absent": errno.ENOENT, "write table": errno.EROFS, "make": errno.EROFS}
# The kernel asks nobody; statfs, which whoever lists mounts calls, gets zeros from itself.
SHUT_OUT = dict.fromkeys(ALLOWED, errno.EACCES) | {"statfs /": OK}
# allow-other, but no bits for them: the folder can be seen, and nothing in it
SEES_THE_ROOT = {**SHUT_OUT, "stat /": OK}


def as_root(place, folder, monkeypatch):  # noqa: F811
    monkeypatch.setattr(agnesfs, "BINARY", str(place / "agnesfs"))
    home = folder / "root"
    home.mkdir()
    home.chmod(0o755)
    return Agnesfs(home)


@pytest.fixture
def root_agnes(users, place, folder, monkeypatch):  # noqa: F811
    mine = as_root(place, folder, monkeypatch)
    yield mine
    left = mine.clean_up()
    assert not left, f"left behind: {left}"


def people(users):  # noqa: F811
    return {"first": (users[0], False), "root": ("root", False), "second": (users[1], False),
            "second as root of a namespace": (users[1], True)}


def check(mount, users, wanted):  # noqa: F811
    found = {who: column(person, mount.path) for who, person in people(users).items()}
    wanted = {who: dict(cells) for who, cells in wanted.items()}
    assert found == wanted, {
        (who, call): (errno.errorcode.get(number, number), wanted[who][call])
        for who, cells in found.items() for call, number in cells.items()
        if number != wanted[who][call]}


def test_a_users_mount_is_theirs_alone(agnes, users, stack):  # noqa: F811
    with agnes.mount(stack.url) as mount:
        check(mount, users, {"first": ALLOWED, "root": SHUT_OUT, "second": SHUT_OUT,
                             "second as root of a namespace": SHUT_OUT})


def test_who_is_shut_out_does_not_even_learn_how_much_there_is(agnes, users, stack):  # noqa: F811
    with agnes.mount(stack.url) as mount:
        def sizes():
            found = os.statvfs(mount.path)
            return [found.f_blocks, found.f_files]

        assert all(as_user(users[0], sizes))
        assert as_user("root", sizes) == as_user(users[1], sizes) == [0, 0]


def test_roots_mount_is_roots_alone(root_agnes, users, stack):  # noqa: F811
    with root_agnes.mount(stack.url) as mount:
        check(mount, users, {"first": SHUT_OUT, "root": ALLOWED, "second": SHUT_OUT,
                             "second as root of a namespace": SHUT_OUT})


def test_allow_other_lets_all_read(root_agnes, users, stack):  # noqa: F811
    with root_agnes.mount(stack.url, "allow-other") as mount:
        check(mount, users, dict.fromkeys(people(users), ALLOWED))


def test_allow_other_with_a_umask_lets_the_owner_read(root_agnes, users, stack):  # noqa: F811
    owner = pwd.getpwnam(users[0])
    options = (f"uid={owner.pw_uid}", f"gid={owner.pw_gid}", "umask=077")
    with root_agnes.mount(stack.url, "allow-other", *options) as mount:
        check(mount, users, {"first": ALLOWED, "root": ALLOWED, "second": SEES_THE_ROOT,
                             "second as root of a namespace": SEES_THE_ROOT})


def test_without_allow_other_a_generous_umask_lets_nobody_in(root_agnes, users, stack):  # noqa: F811
    with root_agnes.mount(stack.url, "umask=000") as mount:
        check(mount, users, {"first": SHUT_OUT, "root": ALLOWED, "second": SHUT_OUT,
                             "second as root of a namespace": SHUT_OUT})


def test_a_user_can_not_allow_others_unless_root_allows_that(agnes, users, stack):  # noqa: F811
    config = Path("/etc/fuse.conf")
    allowed = config.exists() and any(line.strip() == "user_allow_other"
                                      for line in config.read_text().splitlines())
    if not allowed:
        result = agnes.run("mount", stack.url, make_folder(agnes), "-o", "allow-other", expect=5)
        assert "user_allow_other" in result.err and agnes.mountpoints() == []
        return
    with agnes.mount(stack.url, "allow-other") as mount:
        check(mount, users, dict.fromkeys(people(users), ALLOWED))


def make_folder(agnes):  # noqa: F811
    path = agnes.folder / "agnes"
    path.mkdir()
    shutil.chown(path, agnes.user)
    return path


# --- commands ---

VERBS = {"status": ["status", "{}"], "refresh": ["refresh", "{}"], "pin": ["pin", "data/*", "{}"],
         "unpin": ["unpin", "data/*", "{}"], "umount": ["umount", "{}"]}


def test_verbs_of_others_find_nothing_to_command(agnes, users, folder, stack):  # noqa: F811
    """Their own runtime folder has no such mount; the owner's commands work."""
    with agnes.mount(stack.url) as mount:
        home = folder / "second"
        home.mkdir()
        home.chmod(0o755)
        other = Agnesfs(home, user=users[1])
        try:
            for verb, args in VERBS.items():
                result = other.run(*[arg.format(mount.path) for arg in args], expect=1)
                assert result.err.startswith("agnesfs: "), (verb, result)
        finally:
            other.clean_up()
        for verb, args in VERBS.items():
            if verb != "umount":
                agnes.run(*[arg.format(mount.path) for arg in args])


def talk(path, line):
    """What the control socket answers; the errno of the connection."""
    number = os.open(os.path.dirname(path), os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(f"/proc/self/fd/{number}/{os.path.basename(path)}")
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(line + b"\n")
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while part := client.recv(65536):
                    answer += part
    finally:
        os.close(number)
    return answer.decode()


def test_the_control_socket_knows_who_asks(agnes, users, stack):  # noqa: F811
    with agnes.mount(stack.url) as mount:
        (path,) = (agnes.runtime / "agnesfs").glob("*.sock")
        ask = functools.partial(talk, str(path), b'{"verb":"status"}')
        stop = functools.partial(talk, str(path), b'{"verb":"stop"}')
        for part in (agnes.runtime, path.parent):
            assert part.stat().st_mode & 0o777 == 0o700
        assert as_user(users[1], ask) == errno.EACCES  # the folder is shut
        assert as_user(users[1], stop) == errno.EACCES
        assert json.loads(as_user("root", ask))["state"] == "ready"

        # Opened wide by mistake, the process itself still looks at who it is.
        for part in (agnes.runtime, path.parent, path):
            part.chmod(0o777)
        try:
            assert as_user(users[1], ask) == ""
            assert as_user(users[1], stop) == ""
            assert json.loads(as_user(users[0], ask))["state"] == "ready"
            assert json.loads(as_user("root", ask))["state"] == "ready"
        finally:
            for part in (agnes.runtime, path.parent):
                part.chmod(0o700)
        assert mount.status()["state"] == "ready"


@pytest.mark.parametrize("line, answer", [
    (b"", "error"), (b"{", "error"), (b"[]", "error"), (b'{"verb":5}', "error"),
    (b'{"verb":"format"}', "error"), (b'{"verb":"want"}', "error"),
    (b'{"verb":"want","argument":"../../etc/passwd 0 1"}', "error"),
    (b'{"verb":"want","argument":"md5-00000000000000000000000000000000-5 0 5"}', "message"),
    (b'{"verb":"pin"}', "error"), (b'{"verb":"unpin","argument":"never pinned"}', "error"),
    (b'{"verb":"status","verb":"stop"}', "error"), (b"x" * 100_000, None),
    (b'{"verb":"' + b"[" * 4000 + b'"}', "error"), (b"[" * 4000, "error")])
def test_nonsense_is_answered_and_changes_nothing(agnes, users, stack, line, answer):  # noqa: F811
    with agnes.mount(stack.url) as mount:
        (path,) = (agnes.runtime / "agnesfs").glob("*.sock")
        found = as_user(users[0], functools.partial(talk, str(path), line))
        assert (found == "") if answer is None else (answer in json.loads(found)), found
        assert mount.status()["state"] == "ready"
