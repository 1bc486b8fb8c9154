"""doctor: every check in each of its states, the fix for what is not ok, and an answer in time."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time
from email.utils import formatdate

import pytest

from tests.lib.agnes_server import AgnesServer
from tests.lib.agnesfs import wait_for
from tests.lib.certificates import Authority
from tests.lib.faultd import Fault, Server
from tests.lib.sites import Folder
from tests.lib.stack import raw

LIST = "/api/stack*"
VERBS = {"mount", "umount", "status", "doctor", "prune", "refresh"}
DAY = 24 * 3600


def is_command(fix):
    """The first word of it, or what sudo is to run, is something that can be typed."""
    words = fix.split()
    words = words[1:] if words[0] == "sudo" else words
    if words[0] == "agnesfs":
        return words[1] in VERBS
    return words[0] in ("agnes", "unset", "${EDITOR:-vi}", "xdg-mime", "apt", "cmake", "modprobe") \
        or shutil.which(words[0])


class Found:
    def __init__(self, result):
        self.document = result.json()
        self.code = result.code
        assert self.document["schema"] == 1
        self.checks = self.document["checks"]
        states = [check["state"] for check in self.checks]
        worst = "FAIL" if "FAIL" in states else "warn" if "warn" in states else "ok"
        assert self.document["state"] == worst
        assert self.code == (7 if worst == "FAIL" else 0)
        for check in self.checks:
            assert set(check) == {"id", "state", "message", "fix"}
            assert (check["fix"] is None) == (check["state"] == "ok"), check
            assert check["fix"] is None or is_command(check["fix"]), check

    def __getitem__(self, name):
        [check] = [check for check in self.checks if check["id"] == name]
        return check

    def __contains__(self, name):
        return name in [check["id"] for check in self.checks]

    def expect(self, name, state, *words, fix=None):
        check = self[name]
        assert check["state"] == state, check
        for word in words:
            assert word in check["message"], check
        if fix:
            assert fix in check["fix"], check
        return check


@pytest.fixture
def doctor(agnes):
    """Asks about a folder that nothing is mounted on, so that other mounts of the machine do not
    count; or about a mount."""
    def run(*args, at=None):
        at = at or agnes.folder
        return Found(agnes.run("doctor", at, *args, "--json", expect=None))
    return run


@pytest.fixture
def server(instance, agnes):
    agnes.env["AGNES_SERVER"] = instance.url
    return instance


def jwt(ends):
    part = base64.urlsafe_b64encode(json.dumps({"exp": int(ends)}).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{part}.c2lnbmF0dXJl"


# --- all is well ---

def test_a_machine_and_a_mount_that_are_well(agnes, server, doctor):
    with agnes.mount(server.url, "prefetch=none") as mount:
        found = doctor(at=mount.path)
        assert [check for check in found.checks if check["state"] == "FAIL"] == []
        found.expect("fuse-device", "ok", "/dev/fuse")
        found.expect("fusermount", "ok", "fusermount3 3.", "setuid root")
        found.expect("allow-other", "ok", "not wanted")
        found.expect("config", "ok", "no files")
        found.expect("source", "ok", server.url, "AGNES_SERVER")
        found.expect("server", "ok", "127.0.0.1 answers 200 in ")
        found.expect("tls", "ok", "http to this machine")
        found.expect("proxy", "ok", "none")
        found.expect("token", "ok", "token.json", "accepted")
        found.expect("clock", "ok", "0 s")
        found.expect("cache-dir", "ok", str(agnes.cache().root))
        found.expect("cache-space", "ok", "free; cache-size")
        found.expect("mount", "ok", str(mount.path), "ready, generation ")
        found.expect("io-uring", "ok", "not asked for")
        assert "passthrough" in found and "sandbox" in found


def test_it_costs_the_server_one_request_that_leaves_nothing(server, doctor):
    doctor()
    [request] = server.requests
    assert request.path == "/api/stack" and request.effects == ["token.mark_used"]
    assert request.headers["authorization"] == "Bearer a-token"


def test_text_has_a_line_for_each_and_fits_the_screen(agnes, server):
    server.always(LIST, Fault(status=503))
    result = agnes.run("doctor", "/usr", expect=7)
    lines = result.out.splitlines()
    assert any(re.match("FAIL  server: 127.0.0.1 answers 503", line) for line in lines)
    assert lines[lines.index(next(line for line in lines if line.startswith("FAIL"))):][2] \
        .startswith("      fix: ")
    for line in lines:
        assert re.match("(ok    |warn  |FAIL  |      )[^ ]", line), line
        assert len(line) <= 80 or "/" in line, line
    quiet = agnes.run("doctor", "/usr", "--quiet", expect=7).out
    assert "FAIL  server" in quiet and "\nok" not in f"\n{quiet}"


def test_a_static_source_is_judged_by_its_manifest(agnes, stack, doctor):
    found = doctor("--server", stack.write().url)
    found.expect("server", "ok", "manifest: file://", "can be read")
    found.expect("token", "ok", "never gets one")
    assert "tls" not in found and "clock" not in found
    found = doctor("--server", agnes.folder / "nothing/manifest.json")
    found.expect("server", "FAIL", "no such file", fix="ls -l ")
    with Server(Folder(stack.folder), "/manifest.json") as server:
        doctor("--server", server.url).expect("server", "ok", "answers 200")
        assert all("authorization" not in request.headers for request in server.requests)


# --- the server ---

@pytest.mark.parametrize("fault, words", [
    (Fault(status=503), "answers 503"),
    (Fault(status=404), "answers 404"),
    (Fault(html=True), "text/html"),
    (Fault(redirect="https://new.example/x?sig=secret"), "moved to https://new.example/x"),
    (Fault(delay=60), "connected, but no answer"),
    (Fault(raw=b"nonsense"), "127.0.0.1"),
], ids=["503", "404", "html", "moved", "silent", "babble"])
def test_a_server_that_does_not_do_its_part(server, doctor, fault, words):
    server.always(LIST, fault)
    check = doctor().expect("server", "FAIL", words)
    assert "secret" not in check["message"]


def test_nobody_listens(server, doctor):
    server.close()
    found = doctor()
    found.expect("server", "FAIL", "connection refused")
    found.expect("token", "ok", "not tried")


def test_a_name_that_is_none(doctor):
    found = doctor("--server", "https://no-such-host.invalid")
    found.expect("server", "FAIL", "its name is not resolved", fix="getent hosts no-such-host.invalid")
    assert "tls" not in found


@pytest.mark.parametrize("certificate, trusted, state, words", [
    ({"days": 300}, True, "ok", "is good for "),
    ({"days": 5}, True, "warn", "the certificate ends in "),
    ({"days": 300}, False, "FAIL", "certificate"),
    ({"days": -1}, True, "FAIL", "expired"),
    ({"names": "DNS:other.example"}, True, "FAIL", "127.0.0.1"),
], ids=["good", "ends soon", "untrusted", "expired", "of another"])
def test_certificates(agnes, tmp_path, doctor, certificate, trusted, state, words):
    authority = Authority(tmp_path / "authority")
    agnes.write_token("a-token")
    with AgnesServer() as server:
        server.tls = authority.context(**certificate)
        url = server.origin.replace("http:", "https:")
        found = doctor("--server", url, *(["--ca-file", authority.file] if trusted else []))
        found.expect("tls", state, words)
        if state == "FAIL":
            found.expect("server", "FAIL", "no TLS")
            assert server.requests == []
        else:
            found.expect("server", "ok", "answers 200")


@pytest.mark.parametrize("apart, state", [(0, "ok"), (120, "warn"), (-120, "warn"), (7200, "FAIL")])
def test_the_clock(server, doctor, apart, state):
    server.always(LIST, Fault(headers={"Date": formatdate(time.time() - apart, usegmt=True)}))
    doctor().expect("clock", state, *([] if not apart else ["ahead of" if apart > 0 else "behind"]))


def test_proxies(agnes, server, doctor):
    secret = "canary-of-the-proxy"
    with Server(Folder(agnes.folder), "/") as proxy:
        at = proxy.origin.replace("http://", f"http://eva:{secret}@")
        found = doctor("--proxy", at, "--server", "http://agnes.invalid")
        found.expect("proxy", "ok", proxy.origin.removeprefix("http://"), "--proxy")
        assert secret not in json.dumps(found.document)
        agnes.env["http_proxy"] = at
        doctor().expect("proxy", "ok", "http_proxy")
        agnes.env["no_proxy"] = "localhost, 127.0.0.1"
        doctor().expect("proxy", "ok", "none")
        doctor().expect("server", "ok")
        del agnes.env["no_proxy"]
    found = doctor()
    found.expect("proxy", "FAIL", "http_proxy", "is not reached", fix="--proxy ''")
    assert secret not in json.dumps(found.document)


# --- the token ---

def test_a_token_that_is_refused(agnes, server, doctor):
    agnes.write_token("another-token-altogether")
    found = doctor()
    found.expect("server", "ok", "answers 401")
    check = found.expect("token", "FAIL", "the server refused the token", fix="agnes auth login")
    assert "another-token" not in check["message"]


def test_no_token(agnes, server, doctor):
    (agnes.config_home / "agnes/token.json").unlink()
    doctor().expect("token", "FAIL", "none, and the server wants one", fix="agnes auth login")
    server.close()
    doctor().expect("token", "warn", "none")


@pytest.mark.parametrize("left, state, words", [
    (60 * DAY, "ok", "expires in "), (3 * DAY, "warn", "expires in "), (-DAY, "FAIL", "expired ")])
def test_the_end_of_a_token(agnes, doctor, left, state, words):
    token = jwt(time.time() + left)
    agnes.write_token(token)
    with AgnesServer(token=token) as server:
        doctor("--server", server.url).expect("token", state, "accepted", words)


def test_files_of_tokens(agnes, server, doctor):
    path = agnes.config_home / "agnes/token.json"
    path.chmod(0o644)
    found = doctor()
    found.expect("token-file", "warn", "644", fix=f"chmod 600 {path}")
    found.expect("token", "ok", "accepted")
    file = agnes.folder / "token"
    file.write_text("two\nlines\n")
    file.chmod(0o600)
    doctor("--token-file", file).expect("token", "FAIL", "more than one line", fix=str(file))


# --- configuration ---

def test_configuration(agnes, server, doctor):
    path = agnes.config_home / "agnesfs/config"
    path.parent.mkdir(parents=True)
    path.write_text("jobs = 3\n")
    doctor().expect("config", "ok", str(path), "1 key set")
    path.write_text("jobs = 3\ncach-size = 1G\n")
    found = doctor()
    found.expect("config", "FAIL", "line 2", "cach-size", fix=str(path))
    found.expect("server", "ok")  # the rest is judged all the same
    path.unlink()
    agnes.env["AGNESFS_JOBS"] = "many"
    doctor().expect("config", "FAIL", "many", fix="unset AGNESFS_JOBS")
    agnes.run("status", expect=2)  # as every other verb does


def test_sources(agnes, doctor):
    doctor("--server", "nonsense:").expect("source", "FAIL", "nonsense", fix="--server https://")
    doctor().expect("source", "warn", "http://localhost:8000", fix="agnes auth login")


def test_allow_other_where_it_is_wanted(agnes, doctor):
    agnes.env["AGNESFS_ALLOW_OTHER"] = "yes"
    doctor().expect("allow-other", "ok", "root may")


# --- machine ---

def test_without_fusermount(agnes, doctor):
    agnes.env["PATH"] = str(agnes.folder)
    doctor().expect("fusermount", "warn", "not found", fix="install fuse3")


def test_the_database_of_types(agnes, doctor):
    agnes.env["XDG_DATA_HOME"] = agnes.env["XDG_DATA_DIRS"] = str(agnes.folder / "share")
    doctor().expect("mime", "ok", "no database")
    folder = agnes.folder / "share/mime"
    folder.mkdir(parents=True)
    (folder / "globs2").write_text("50:text/csv:*.csv\n")
    doctor().expect("mime", "warn", "open every table", fix="cmake --install")
    (folder / "packages").mkdir()
    (folder / "packages/agnesfs.xml").write_text("<mime-info/>")
    doctor().expect("mime", "warn", fix=f"update-mime-database {folder}")
    (folder / "globs2").write_text("50:application/vnd.apache.parquet:*.parquet\n")
    doctor().expect("mime", "ok", "is known")


# --- the cache ---

def test_the_folder_of_the_cache(agnes, server, doctor):
    doctor().expect("cache-dir", "ok", "to be made")
    agnes.run("sync")
    root = agnes.cache().root
    root.chmod(0o755)
    doctor().expect("cache-dir", "FAIL", "others may enter it", fix=f"chmod 700 {root}")
    root.chmod(0o700)
    shutil.chown(root, 65534)
    doctor().expect("cache-dir", "FAIL", "somebody else", fix=f"chown -R $(id -u) {root}")
    shutil.chown(root, os.getuid())
    file = agnes.folder / "file"
    file.touch()
    doctor("--cache-dir", file).expect("cache-dir", "FAIL", fix="ls -ld")
    doctor("--cache-dir", "/dev/shm/agnesfs-nothing").expect("cache-dir", "warn", "tmpfs",
                                                             fix="--cache-dir DIR")


def test_the_space_of_the_cache(agnes, server, doctor):
    agnes.env["AGNESFS_MIN_FREE"] = "1000T"
    doctor().expect("cache-space", "FAIL", "less than min-free", fix="agnesfs prune")
    agnes.env |= {"AGNESFS_MIN_FREE": "1", "AGNESFS_CACHE_SIZE": "1000T"}
    doctor().expect("cache-space", "warn", "more than the disk", fix="cache-size=")


# --- mounts ---

def test_a_folder_that_nothing_is_mounted_on(agnes, doctor):
    doctor().expect("mount", "warn", "nothing is mounted there", fix=f"agnesfs mount {agnes.folder}")
    at = agnes.folder / "none"
    doctor(at=at).expect("mount", "warn", "no such folder", fix=f"mkdir -p {at}")
    at.touch()
    doctor(at=at).expect("mount", "warn", "not a folder")
    doctor(at="/proc").expect("mount", "FAIL", "something else is mounted there (proc)",
                              fix="findmnt /proc")


def test_mounts_that_are_stale_or_degraded(agnes, server, doctor):
    with agnes.mount(server.url, "prefetch=none") as mount:
        server.always("/api/data/*", Fault(status=404))
        with pytest.raises(OSError):
            (mount / "data/sales/orders.parquet").read_bytes()
        doctor(at=mount.path).expect("mount", "warn", "degraded, 1 problem", "orders.parquet",
                                     fix=f"agnesfs status {mount.path}")
        server.close()
        mount.agnes.run("refresh", mount.path, expect=None)
        doctor(at=mount.path).expect("mount", "warn", "stale: ", fix=f"agnesfs refresh {mount.path}")


def test_mounts_are_found_without_being_named(agnes, stack):
    with agnes.mount(stack.write().url) as mount:
        found = Found(agnes.run("doctor", "--json", expect=None))
        [line] = [check for check in found.checks if check["message"].startswith(f"{mount.path}: ")]
        assert (line["id"], line["state"]) == ("mount", "ok")
        other = agnes.env | {"XDG_RUNTIME_DIR": str(agnes.home)}
        agnes.env, own = other, agnes.env
        found = Found(agnes.run("doctor", mount.path, "--json", expect=None))
        agnes.env = own
        found.expect("mount", "ok", "of another session")


def daemon_of(agnes):
    [pid] = [pid for pid, line in agnes.processes().items() if " mount " in line]
    return pid


def test_a_dead_mount_is_told_and_its_fix_works(agnes, stack, doctor):
    mount = agnes.mount(stack.write().url)
    pid = daemon_of(agnes)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not agnes.processes(), what="daemon gone")
    for found in (doctor(at=mount.path), Found(agnes.run("doctor", "--json", expect=7))):
        [dead] = [check for check in found.checks if str(mount.path) in check["message"]]
        assert (dead["id"], dead["state"]) == ("mount", "FAIL")
        assert f"a dead mount: its process {pid} was killed" in dead["message"]
    assert dead["fix"] == f"agnesfs umount --lazy {mount.path}"
    agnes.run(*dead["fix"].split()[1:])
    assert agnes.mountpoints() == []


def test_a_hung_mount_does_not_hang_doctor(agnes, server, doctor):
    with agnes.mount(server.url, "prefetch=none") as mount:
        daemon = daemon_of(agnes)
        os.kill(daemon, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            found = doctor(at=mount.path)
            assert time.monotonic() - begin < 10  # in itself 1.1 s
            found.expect("mount", "FAIL", f"its process {daemon} is stopped",
                         fix=f"kill -CONT {daemon}")
            found.expect("server", "ok")
        finally:
            os.kill(daemon, signal.SIGCONT)


# --- the report ---

def members(path):
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read().decode()
                for member in archive.getmembers()}


def test_a_report_has_what_an_issue_needs(agnes, server):
    path = agnes.folder / "report.tar.gz"
    with agnes.mount(server.url, "prefetch=none") as mount:
        assert agnes.run("doctor", "--report", path).out == f"{path}\n"
        found = members(path)
        assert path.stat().st_mode & 0o777 == 0o600
        document = json.loads(found["agnesfs-report/doctor.json"])
        assert document["schema"] == 1
        number = next(name for name, text in found.items() if "status-" in name
                      and str(mount.path.name) in text and text and json.loads(text)["source"])
        assert json.loads(found[number])["source"] == server.url
        assert "mounted" in found[number.replace("status-", "log-").replace(".json", ".txt")]
        assert "refresh = 5m   # default" in found["agnesfs-report/config.txt"]
        assert "fuse.agnesfs" in found["agnesfs-report/mounts.txt"]
        for word in ("agnesfs ", "kernel: Linux", "libcurl/", "libfuse/"):
            assert word in found["agnesfs-report/system.txt"]
        assert "Please look through it" in found["agnesfs-report/README.txt"]
    assert agnes.run("doctor", "--report", path, expect=1).err.startswith(f"agnesfs: {path}: ")


def test_a_report_has_a_name_of_its_own(agnes, doctor):
    name = agnes.run("doctor", "--report").out.strip()
    assert re.fullmatch(r"agnesfs-report-[0-9-]+\.tar\.gz", name) and (agnes.home / name).is_file()


def test_nothing_secret_is_in_a_report(agnes, doctor):
    """Canaries in all places that a report is made from, none of which looks like a token."""
    plain, session, signed, url_user, word = (
        f"canary{number}{os.urandom(16).hex()}" for number in range(5))
    ticket = jwt(time.time() + 99) + "canary"
    agnes.write_token(plain)
    agnes.env |= {"AGNES_TOKEN": session, "HTTPS_PROXY": f"http://eva:{url_user}@127.0.0.1:9",
                  "AGNESFS_PROXY": f"http://eva:{url_user}@127.0.0.1:9/?x={signed}"}
    config = agnes.config_home / "agnesfs/config"
    config.parent.mkdir(parents=True)
    config.write_text(f"token-file = ~/.config/agnes/token.json\nserver = http://127.0.0.1:9\n"
                      f"token = {word}\n")
    source = agnes.run("doctor", "--json", expect=None).json()
    [state] = [check["message"] for check in source["checks"] if check["id"] == "cache-dir"]
    log = agnes.state_home / "agnesfs" / os.path.basename(state.split()[1]) / "log"
    log.parent.mkdir(parents=True)
    log.write_text(f"2026-07-01T12:00:00Z info GET https://store.example/a?X-Amz-Signature={signed}&b=1\n"
                   f"2026-07-01T12:00:00Z info /api/x?sig={signed}\n"
                   f"2026-07-01T12:00:00Z info Authorization: Bearer {plain}\n"
                   f"2026-07-01T12:00:00Z info bearer {word}\n"
                   f"2026-07-01T12:00:00Z info http://eva:{url_user}@host/ {ticket} {session} {plain}\n"
                   f'2026-07-01T12:00:00Z info {{"access_token": "{word}", "password":"{word}"}}\n'
                   f"2026-07-01T12:00:00Z info secret={word} {agnes.home}/x /home/somebody/y\n"
                   "2026-07-01T12:00:00Z info the last line\n")
    path = agnes.folder / "report.tar.gz"
    agnes.run("doctor", "--report", path)
    found = members(path)
    assert any("the last line" in text for text in found.values()), "the log is in it"
    for name, text in found.items():
        for canary in (plain, session, signed, url_user, word, ticket, "somebody", str(agnes.home)):
            assert canary not in text, (name, canary)
    raw_bytes = subprocess.run(["zcat", path], capture_output=True, check=True, timeout=30).stdout
    assert b"canary" not in raw_bytes


def test_names_of_tables_are_hidden_and_the_same_throughout(agnes, instance):
    agnes.env["AGNES_SERVER"] = instance.url
    instance.add_table("pay_of_the_board", raw(b"x"), packages=["sales"])
    with agnes.mount(instance.url, "prefetch=none") as mount:
        instance.always("/api/data/*", Fault(status=404))
        with pytest.raises(OSError):
            (mount / "data/sales/pay_of_the_board.parquet").read_bytes()
        path = agnes.folder / "report.tar.gz"
        agnes.run("doctor", "--report", path)
        found = members(path)
    assert not [name for name, text in found.items() if "pay_of_the_board" in text]
    names = {name: set(re.findall(r"name-[0-9a-f]{8}\.parquet", text))
             for name, text in found.items()}
    seen = [one for one in names.values() if one]
    assert len(seen) >= 2 and set.union(*seen) == set.intersection(*seen)
