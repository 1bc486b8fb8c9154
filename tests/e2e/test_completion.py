"""What Tab offers in bash, zsh and fish: all that the tables have, and what is here, at once."""

import os
import re
import signal
import time

import pytest

from tests.lib.agnesfs import ROOT, wait_for
from tests.lib.manual import tables, taken_by
from tests.lib.shells import Shell, fish_words
from tests.lib.stack import raw

SAMPLE = ROOT / "tests/data/sample"
VERBS = [verb for verb in tables()["verbs"] if verb not in ("help", "version")]


@pytest.fixture(params=["bash", "zsh"])
def shell(request, agnes):
    with Shell(request.param, agnes) as shell:
        yield shell


@pytest.fixture
def stack(stack):
    stack.add_package("sales", stack.add_table("orders", raw(b"orders")),
                      stack.add_table("order_lines", raw(b"lines")))
    stack.add_package("service", stack.add_table("calls", raw(b"calls")))
    stack.add_domain("finance", "# Finance\n")
    return stack.write()


def offered(agnes, *words):
    """{candidate: description}; what is left to the shell as {"": (what, prefix)}."""
    found = {}
    for line in agnes.run("complete-words", *words).out.splitlines():
        word, *rest = line.split("\t")
        found[word] = rest[0] if word else tuple(rest)
    return found


# --- all that is in the tables, and nothing else ---

def test_every_verb(agnes):
    assert list(offered(agnes, "")) == tables()["verbs"]
    assert set(offered(agnes, "-")) == {"--help", "--version"}
    assert list(offered(agnes, "help", "")) == tables()["verbs"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_key_and_flag_of_a_verb(agnes, verb):
    found = offered(agnes, verb, "-")
    assert {word[2:] for word in found if word.startswith("--")} == taken_by(verb)
    letters = {flag["letter"] for flag in tables()["flags"] if verb in flag["verbs"]} - {None}
    assert {word[1:] for word in found if not word.startswith("--")} == letters
    assert all(found.values()), "each with a description"


def test_every_key_of_a_list_and_its_values(agnes):
    keys = [key for key in tables()["keys"] if "mount" in key["verbs"]]
    found = offered(agnes, "mount", "-o", "allow-other,")
    assert list(found) == [f"allow-other,{key['name']}{'=' if key['argument'] else ''}"
                           for key in keys]
    for key in tables()["keys"]:
        verb = key["verbs"][0]
        expected = (key["choices"] or "" if key["argument"] else "yes|no").split("|")
        attached = offered(agnes, verb, f"--{key['name']}=")
        if expected != [""]:
            assert list(attached) == [f"--{key['name']}={word}" for word in expected]
        if key["argument"] in ("FILE", "DIR"):
            what = "files" if key["argument"] == "FILE" else "folders"
            assert attached == {"": (what, f"--{key['name']}=")}
        if key["argument"]:
            assert list(offered(agnes, verb, f"--{key['name']}", "")) == [
                word.removeprefix(f"--{key['name']}=") for word in attached]
        if verb == "mount":
            assert list(offered(agnes, "mount", "-o", f"jobs=2,{key['name']}=")) == [
                word and f"jobs=2,{word[2:]}" for word in attached]


def test_nonsense_is_met_with_silence(agnes):
    for words in (["nonsense", ""], ["mount", "--nonsense="], ["ls", "--jobs=3", "--verify="],
                  ["umount", "--", "/x"], ["mount", "-o", "nonsense="], ["status", "x", ""]):
        result = agnes.run("complete-words", *words)
        assert (result.out, result.err) == ("", ""), words
    agnes.run("complete-words", expect=2)


# --- in the shells ---

def test_words_in_a_shell(agnes, shell):
    folder = agnes.home / "some folder"
    folder.mkdir()
    (folder / "token file").touch()
    for line, completed in {
        "agnesfs mo": "agnesfs mount ",
        "agnesfs mount --cache-d": "agnesfs mount --cache-dir ",
        "agnesfs mount --verify=st": "agnesfs mount --verify=strict ",
        "agnesfs mount --verify st": "agnesfs mount --verify strict ",
        "agnesfs mount -o jobs=3,umas": "agnesfs mount -o jobs=3,umask=",
        "agnesfs mount -o jobs=3,prefetch=pi": "agnesfs mount -o jobs=3,prefetch=pinned ",
        "agnesfs mount some": "agnesfs mount some\\ folder/",
        "agnesfs mount ~/som": "agnesfs mount ~/some\\ folder/",
        "agnesfs mount -o token-file=some\\ folder/tok":
            "agnesfs mount -o token-file=some\\ folder/token\\ file",
        "agnesfs stack rem": "agnesfs stack remove ",
        "agnesfs nonsense fo": "agnesfs nonsense fo",
    }.items():
        found = shell.complete(line)
        assert found.rstrip() == completed.rstrip(), line
        assert found.endswith(" ") or not completed.endswith(" "), line


def test_all_options_in_a_shell(shell):
    found = set(re.findall(r"^--([a-z-]+)|\s--([a-z-]+)", shell.choices("agnesfs mount --")))
    assert {first or second for first, second in found} == taken_by("mount")


def test_words_in_fish(agnes):
    for verb in VERBS:
        found = fish_words(agnes, f"agnesfs {verb} --")
        assert {word[2:] for word in found} == taken_by(verb), verb
    assert fish_words(agnes, "agnesfs mount -o jobs=3,prefetch=pi") == {
        "jobs=3,prefetch=pinned": ""}
    (agnes.home / "folder").mkdir()
    (agnes.home / "file").touch()
    assert set(fish_words(agnes, "agnesfs mount fo")) == {"folder/"}
    assert set(fish_words(agnes, "agnesfs mount --token-file=fi")) == {"--token-file=file"}


# --- what is here: on a busy machine it may find no time to answer, which is no error ---

def settles(look, expected):
    wait_for(lambda: look() == expected, 40, f"it gives {expected}")


def test_tables_packages_and_pins(agnes, server):
    agnes.sync(server.url)
    before = len(server.requests)
    source = ("--server", server.url)
    settles(lambda: set(offered(agnes, "pin", *source, "")),
            {"sales/", "service/", "finance/", "data/", "memory/"})
    settles(lambda: set(offered(agnes, "ls", *source, "sales/")),
            {"sales/orders", "sales/order_lines"})
    settles(lambda: list(offered(agnes, "pin", *source, "data/sales/order_")),
            ["data/sales/order_lines.parquet"])
    settles(lambda: set(offered(agnes, "stack", *source, "remove", "s")), {"sales", "service"})
    assert len(server.requests) == before, "nobody was asked"
    agnes.run("pin", *source, "sales/*")
    agnes.run("pin", *source, "service/calls")
    settles(lambda: offered(agnes, "unpin", *source, ""),
            {"sales/*": "pinned", "service/calls": "pinned"})


def test_tables_in_the_shells(agnes, stack, shell):
    agnes.sync(stack.url)
    (agnes.config_home / "agnesfs").mkdir(parents=True)
    (agnes.config_home / "agnesfs/config").write_text(f"server = {stack.url}\n")
    agnes.run("pin", "sales/order?")
    for line, completed in {
        "agnesfs pin serv": "agnesfs pin service/",
        "agnesfs pin service/c": "agnesfs pin service/calls ",
        "agnesfs stack add fin": "agnesfs stack add finance ",
        "agnesfs unpin sal": "agnesfs unpin sales/order\\? ",
    }.items():
        settles(lambda: shell.complete(line), completed)  # pylint: disable=cell-var-from-loop
    settles(lambda: set(fish_words(agnes, "agnesfs pin sales/")),
            {"sales/orders", "sales/order_lines"})


def test_mounted_folders(agnes, shell):
    folder = agnes.home / "my stack"
    folder.mkdir()
    typed = str(folder)[:-3].replace(" ", "\\ ")
    with agnes.mount(SAMPLE, path=folder):
        settles(lambda: shell.complete("agnesfs umount my"), "agnesfs umount my\\ stack ")
        settles(lambda: shell.complete("agnesfs status my"), "agnesfs status my\\ stack ")
        settles(lambda: shell.complete("agnesfs refresh ~/m").replace("~", str(agnes.home)),
                f"agnesfs refresh {agnes.home}/my\\ stack ")
        settles(lambda: shell.complete(f"agnesfs sql {typed}"),
                f"agnesfs sql {agnes.home}/my\\ stack ")
        settles(lambda: fish_words(agnes, "agnesfs umount my"), {"my stack": "mount"})


def test_a_mount_that_hangs_holds_nobody_up(agnes, stack):
    """Neither its folder nor its process is waited for."""
    with agnes.mount(stack.url) as mount:
        begun, whole = str(mount.path)[:-2], {str(mount.path): "mount"}
        settles(lambda: "sales/" in offered(agnes, "pin", ""), True)
        pid = mount.status()["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            settles(lambda: offered(agnes, "umount", begun), whole)
            assert offered(agnes, "pin", "") == {}
            assert time.monotonic() - started < 30
        finally:
            os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: agnes.run("status", mount.path, expect=None).code, 30, "it is dead")
        settles(lambda: offered(agnes, "umount", begun), whole)
        agnes.run("umount", "--lazy", mount.path)


def test_what_takes_too_long_is_given_up(agnes):
    """A file that can not even be opened, as on a file system that does not answer."""
    path = agnes.home / "config"
    os.mkfifo(path)
    result = agnes.run("complete-words", "pin", "--config", path, "")
    assert (result.out, result.err) == ("", "")
