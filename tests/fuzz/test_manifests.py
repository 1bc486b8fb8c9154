"""Hostile manifests: tests/data/manifests.txt, put to the program and to a mount.

What a manifest comes to is decided in one table, which stands in sync/manifest.h and in the README;
the unit test manifest_cases has the same cases.
"""

import re
from pathlib import Path

import pytest

from tests.lib.agnesfs import SECTIONS, Report
from tests.lib.faultd import Server
from tests.lib.manifest_cases import manifest_cases
from tests.lib.sites import Answer, refusal

ROOT = Path(__file__).resolve().parents[2]
CASES = manifest_cases()
PUT = [case for case in CASES if case.source != "https"]
PATHS = {"server": "", "static": "/team/manifest.json"}


class Manifests:
    """Serves one manifest at a time, and nothing else."""

    def __init__(self):
        self.text = b""

    def answer(self, request):
        if request.path in ("/api/sync/manifest", "/team/manifest.json"):
            return Answer(body=self.text, type="application/json")
        return refusal(404, "Not Found")


@pytest.fixture
def site():
    manifests = Manifests()
    with Server(manifests) as server:
        yield manifests, server.url


def lines(mark, rows):
    return [f"{mark} {row.group}{'/' if row.group else ''}{row.name}: {row.reason}" for row in rows]


def differences(case, result, report):
    """What the report says otherwise than the case's verdict."""
    document = report.document
    if case.rejected is not None:
        good = result.code == 1 and document["error"] == f"not a manifest: {case.rejected}"
        empty = report.generation == 0 and not report.errors and not report.total("added")
        return [] if good and empty else [document["error"]]
    added = [section for section in SECTIONS for _ in range(document[section]["added"])]
    held = [f"hold {section}" for section in SECTIONS if report.held(section)]
    found = []
    if document["error"]:
        found.append(document["error"])
    if not case.fits("hold ", held):
        found.append(held)
    if len(added) != len(case.of("+ ")):
        found.append(f"{len(added)} added")
    if not case.fits("- ", lines("-", report.errors)):
        found.append(report.errors)
    if not case.fits("~ ", lines("~", report.skipped)):
        found.append(report.skipped)
    if result.code != (1 if report.errors else 0):
        found.append(f"exit {result.code}")
    return found


@pytest.mark.timeout(300)
def test_the_program_says_the_same(agnes, site):
    manifests, url = site
    wrong = []
    for case in PUT:
        manifests.text = case.text(url)
        result = agnes.run("sync", url + PATHS[case.source], "--dry-run", "--json", expect=None)
        if found := differences(case, result, Report(result.json())):
            wrong.append(f"{case}\n  {case.verdict}\n  not {found}")
    assert not wrong, "\n".join(wrong)
    assert len(PUT) >= 300


def test_a_wrong_verdict_is_noticed(agnes, site):
    """The negative control: what is compared can differ."""
    manifests, url = site
    kinds = set()
    for case in PUT:
        kind = tuple(sorted({line[0] for line in case.verdict}))
        if kind in kinds or len(case.raw) > 200:
            continue
        kinds.add(kind)
        manifests.text = case.text(url)
        result = agnes.run("sync", url + PATHS[case.source], "--dry-run", "--json", expect=None)
        report = Report(result.json())
        for index, line in enumerate(case.verdict):
            if line[0] == "[":  # an empty package is in no report
                continue
            other = case.verdict[:index] + case.verdict[index + 1:] or ["hold direct_tables"]
            kept, case.verdict = case.verdict, other
            assert differences(case, result, report), f"{case}: {kept}"
            case.verdict = kept
    assert len(kinds) >= 6


# --- on a mount -----------------------------------------------------------------------------------

GOOD = b"""{"direct_tables": [], "memory_domains": [], "data_packages": [{"slug": "kept", "tables": [
    {"name": "orders", "md5": "0123456789abcdef0123456789abcdef", "size_bytes": 5}]}]}"""


def listing(mount):
    return {name for name in mount.names() if not name.endswith("/")}


@pytest.mark.timeout(300)
def test_a_mount_lives_through_all_of_them(agnes, site):
    """Each is the next refresh of one mount: what is rejected changes nothing, what is listed is
    there, and the mount answers."""
    manifests, url = site
    manifests.text = GOOD
    refused = 0
    with agnes.mount(url, "prefetch=none", "report=off", "timeout=5") as mount:
        assert listing(mount) == {"data/kept/orders.parquet"}
        before = listing(mount), mount.status()["generation"]
        for case in PUT:
            if case.source != "server" or len(case.text(url)) > 1 << 22:
                continue
            manifests.text = case.text(url)
            agnes.run("refresh", mount.path, "--quiet", expect=None)
            status = mount.status(expect=None)
            now = listing(mount), status["generation"]
            if case.rejected is not None:
                assert now == before, case
                assert status["error"] == f"not a manifest: {case.rejected}", case
                refused += 1
            for line in case.of("+ "):
                path, *what = line[2:].split()
                if path.startswith("data/_tables/"):
                    continue  # a server that has packages is not believed to have lost them
                if what[0].startswith("md5-"):
                    assert path in now[0], case
                elif len(what) > 1 and what[1].startswith("md5-"):
                    assert any(name.startswith(f"{path}/") for name in now[0]), case
            before = now
        assert refused >= 100


# --- the table ------------------------------------------------------------------------------------

# What the cases of each row of the table must have in their verdicts.
ROWS = {
    "not JSON": "^reject: ",
    "a section missing": "^hold ",
    "[]": None,  # what was there before decides: tests/e2e/test_held_sections.py
    "knowledge_artifacts missing": None,  # the same
    "only \"tables\"": r"^\+ data/_tables/",
    "a row that is no object": "^- .*not an object",
    "a package without a list": "^- .*/: no list of tables",
    "two rows for one name": "^- .*its name belongs to",
    "one label twice": "^- .*listed twice",
    "one package twice": r"^\+ data/s/u.parquet",
    "query_mode remote": "^~ .*(query mode remote|server_only|never synced)",
    "withheld: a reason": "^~ .*left out",
    "query_mode, or kind": "^~ .*unknown (query mode|kind)",
    "an artifact without kind": r"^\+ knowledge/c.duckdb",
    "no md5": r"^\+ .*unverified",
    "signed_url": r"^\+ data/_direct/orders.parquet",
    "anything else": r"^\+ ",
}


def table(text):
    """Its rows, each as one line, whatever the lines are broken to."""
    rows = []
    for line in text.splitlines():
        cells = re.fullmatch(r"(?: \* )?\| ?(.*?) *\| ?(.*?) *\|", line)
        if not cells or (cells[1] and set(cells[1]) <= {"-"}):
            continue
        if rows and cells[1].startswith("  ") or rows and not cells[1]:
            rows[-1] = [f"{a} {b.strip()}".strip() for a, b in zip(rows[-1], cells.groups())]
        else:
            rows.append([cell.strip() for cell in cells.groups()])
    return rows


def test_the_readme_has_the_table_of_the_code():
    header = (ROOT / "sync/manifest.h").read_text()
    readme = (ROOT / "README.md").read_text()
    section = readme[readme.index("## What is believed of a manifest"):].split("\n## ")[0]
    assert table(section) == table(header)


def test_every_row_of_the_table_has_cases():
    rows = table((ROOT / "sync/manifest.h").read_text())[1:]
    assert len(rows) == len(ROWS)
    for says, _ in rows:
        row = next(key for key in ROWS if says.startswith(key))
        assert ROWS[row] is None or any(re.search(ROWS[row], line)
                                        for case in CASES for line in case.verdict), says


def test_every_reason_has_a_case():
    """Whatever the code can say of a manifest, somebody has made it say."""
    calls = re.compile(r"""(?:row_drop\(reader,|reject\([^,"]*,|fail(?:_at)?\(cursor,(?:[^",]*,)?|"""
                       r"""withheld\ =|reason\ =|\[[A-Z_]+\]\ =)\s*"((?:[^"\\]|\\.)*)\"""", re.X)
    files = [*ROOT.glob("sync/manifest*.c"), ROOT / "sync/json_text.c"]
    reasons = {reason for file in files for reason in calls.findall(file.read_text())}
    assert len(reasons) >= 40
    said = [line for case in CASES for line in case.verdict]
    for reason in sorted(reasons - {""}):
        pattern = re.escape(reason.replace('\\"', '"').replace("\\\\", "\\"))
        pattern = re.sub(r"%l*[sdu]|%zu", ".*", pattern)
        assert any(re.search(pattern, line) for line in said), f"no case says: {reason}"


