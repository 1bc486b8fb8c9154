"""Help, manual and README say what the tables say: no more, no less, of any key, flag, verb or code."""

import os
import re
import subprocess

import pytest

from tests.lib.agnesfs import ROOT
from tests.lib.manual import BUILD, PAGES, Page, names, tables, taken_by

README = (ROOT / "README.md").read_text()
LONG = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")
KEYS = names(tables()["keys"])
FLAGS = names(tables()["flags"])


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_are_clean(page):
    path = str(Page(page).path)
    for command in (["groff", "-ww", "-man", "-T", "utf8", "-z", path],
                    ["mandoc", "-T", "lint", "-W", "warning", path]):
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (run.returncode, run.stdout + run.stderr) == (0, ""), command


def test_every_verb_is_told_of_everywhere(agnes):
    verbs = tables()["verbs"]
    main = agnes.run("help").out
    assert re.findall(r"^  (\w+) ", main, re.M) == verbs
    assert [label.split()[0] for label in Page("agnesfs.1").labels("VERBS")] == verbs
    synopsis = Page("agnesfs.1").section("SYNOPSIS")
    assert re.findall(r"^\\fBagnesfs (\w+)", synopsis, re.M) == verbs
    told = set(re.findall(r"`(?:agnesfs )?([a-z]+)[^|`]*`", README.split("| command | does |")[1]
                          .split("\n\n")[0]))
    assert set(verbs) - {"help", "version"} <= told


@pytest.mark.parametrize("verb", tables()["verbs"])
def test_help_has_what_the_verb_takes(agnes, verb):
    text = agnes.run("help", verb).out
    if verb in ("help", "version"):
        assert set(LONG.findall(text)) <= {"json"}
        return
    assert text == agnes.run(verb, "--help").out
    assert set(LONG.findall(text)) == taken_by(verb, rare=False)


def test_the_manual_has_every_key_and_flag_and_no_other():
    labels = Page("agnesfs.1").labels("OPTIONS")
    letters = {flag["letter"] for flag in tables()["flags"] if flag["letter"]}
    assert {name for label in labels for name in LONG.findall(label)} == KEYS | FLAGS
    assert {letter for label in labels for letter in re.findall(r"^-(\w)", label)} == letters
    assert len(labels) == len(tables()["keys"]) + len(tables()["flags"])
    found = [label.split(" = ")[0] for label in Page("agnesfs.5").labels("KEYS")]
    assert sorted(found) == sorted(KEYS)
    found = [re.split(r"[=\[]", label)[0] for label in Page("mount.agnesfs.8").labels("OPTIONS")]
    assert found == [key["name"] for key in tables()["keys"] if "mount" in key["verbs"]]
    for page in PAGES:
        assert set(LONG.findall(Page(page).text.replace("\\fB", ""))) <= KEYS | FLAGS, page


def test_the_manual_has_every_variable_and_no_other():
    variables = {key["variable"] for key in tables()["keys"]}
    found = re.findall(r"AGNESFS_[A-Z_]+", Page("agnesfs.1").section("ENVIRONMENT"))
    assert sorted(found) == sorted(variables)
    for page in PAGES:
        assert set(re.findall(r"AGNESFS_[A-Z_]+", Page(page).text)) <= variables


def test_the_manual_has_every_code_error_and_attribute():
    codes, errors = tables()["exit_codes"], tables()["errors"]
    for page in ("agnesfs.1", "agnesfs.5"):
        assert Page(page).labels("EXIT STATUS") == list(codes)
    assert Page("mount.agnesfs.8").labels("EXIT STATUS") == ["0", "1", "2", "32"]
    assert Page("agnesfs.5").labels("ERRORS") == list(errors)
    assert Page("agnesfs.5").labels("EXTENDED ATTRIBUTES") == list(tables()["xattrs"])


def test_the_manual_tells_of_what_a_mount_has(agnes):
    with agnes.mount(ROOT / "tests/data/sample") as mount:
        found = sorted(path.name for path in (mount / ".agnes").iterdir())
    assert sorted(Page("agnesfs.5").labels("DOCUMENTS")) == [f".I {name}" for name in found]


def test_the_readme_has_the_same_codes_and_errors():
    told = re.search(r"^Exit codes: (.*?)\.\n\n", README, re.M | re.S)[1].replace("\n", " ")
    assert told == ", ".join(f"{code} {words}" for code, words in tables()["exit_codes"].items())
    assert re.findall(r"^\| (E[A-Z]+) \|", README, re.M) == list(tables()["errors"])


def test_the_readme_knows_no_key_or_flag_that_is_not():
    common = re.search(r"^Every verb takes (.*?)\.$", README, re.M)[1]
    everywhere = names(row for row in tables()["keys"] + tables()["flags"]
                       if set(row["verbs"]) == set(tables()["verbs"]) - {"help", "version"})
    assert set(LONG.findall(common)) == everywhere
    for command in re.findall(r"agnesfs [^`\n]*", README):
        assert set(LONG.findall(command)) <= KEYS | FLAGS, command
    for found in re.findall(r"-o ([a-z][a-z=,0-9A-Z|-]*)", README):
        for word in found.split(","):
            assert word.split("=")[0] in KEYS | set(tables()["mount_words"]), found


def test_the_configuration_that_is_installed_has_every_key_with_its_default(agnes):
    text = (BUILD / "agnesfs.conf").read_text()
    lines = re.findall(r"^# ([a-z-]+) =(?: (.+))?$", text, re.M)
    assert dict(lines) == {key["name"]: key["default"] or "" for key in tables()["keys"]}
    assert not re.search(r"^[^#\n]", text, re.M), "all of it is a comment"
    path = agnes.folder / "agnesfs.conf"
    path.write_text("".join(f"{name} = {value}\n" for name, value in lines if value))
    agnes.run("status", "--config", path)


def test_everything_is_installed_where_it_is_looked_for(tmp_path):
    run = subprocess.run(["cmake", "--install", BUILD], capture_output=True, text=True, timeout=60,
                         env=dict(os.environ, DESTDIR=str(tmp_path)), check=False)
    assert run.returncode == 0, run.stderr
    [root] = {path.parent.parent for path in tmp_path.rglob("bin/agnesfs")}
    for path in ("bin/agnesfs", "sbin/mount.agnesfs", "share/man/man1/agnesfs.1",
                 "share/man/man5/agnesfs.5", "share/man/man8/mount.agnesfs.8",
                 "share/bash-completion/completions/agnesfs",
                 "share/zsh/site-functions/_agnesfs",
                 "share/fish/vendor_completions.d/agnesfs.fish"):
        assert os.path.lexists(root / path), path
    assert not (root / "bin/agnesfs-docs").exists()
