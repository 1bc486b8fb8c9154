"""Knowledge artifacts: databases of text chunks, which are files, and digests, which are made so."""

import errno
import subprocess
import sys

import duckdb
import pytest

from tests.lib.agnes_server import AgnesServer
from tests.lib.agnesfs import wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

SECTION = "knowledge_artifacts"
HANDBOOK = "knowledge/handbook.duckdb"
WEEKLY = "knowledge/weekly.md"
DOWNLOAD = "/api/knowledge/artifacts/handbook/download"
CONTENT = "/api/knowledge/digests/kd_weekly/content"
BODY = "## Revenue\n\nIs net, and *žluťoučký*.\n"


def page(digest):
    """What becomes of a digest."""
    stale = ""
    if digest.status == "stale":
        reason = digest.status_reason or "it could not be made anew"
        stale = f"> **STALE**: {reason}. What follows is the last one that could be made.\n\n"
    text = (f"# {digest.title}\n\n_A digest that the Agnes server maintains. Generated "
            f"{digest.generated_at}, status {digest.status}._\n\n{stale}{digest.output_md}")
    return (text if text.endswith("\n") else text + "\n").encode()


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    """What the server packs: chunks with the name of their file."""
    path = tmp_path_factory.mktemp("knowledge") / "built.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE chunks (id VARCHAR PRIMARY KEY, filename VARCHAR, "
                           "ordinal INTEGER, text VARCHAR)")
        connection.execute("INSERT INTO chunks SELECT 'c' || i, 'handbook.pdf', i, 'chunk ' || i || "
                           "' ' || repeat(md5(i::VARCHAR), 20) FROM range(3000) t(i)")
    return path.read_bytes()


@pytest.fixture
def instance(agnes):
    agnes.write_token("a-token")
    with AgnesServer() as server:
        yield server


@pytest.fixture
def both(instance, database):
    """A database and a digest."""
    instance.add_chunks("handbook", database, name="Staff handbook", chunks=3000)
    instance.add_digest("weekly", BODY)
    return instance


def drop_from_cache(agnes, content):
    [path] = [path for path in agnes.cache().blobs().values() if path.read_bytes() == content]
    path.unlink()


def knowledge(mount):
    return {path: content for path, content in mount.files().items() if path.startswith("know")}


# --- what there is ---

def test_chunks_and_digests_are_files_of_one_folder(agnes, both, database):
    with agnes.mount(both.url) as mount:
        assert knowledge(mount) == {HANDBOOK: database, WEEKLY: page(both.digests["kd_weekly"])}
        assert (mount / HANDBOOK).stat().st_size == len(database)
        assert mount.xattr(HANDBOOK, "table_id") == "handbook"
        assert mount.xattr(HANDBOOK, "rows") == "3000"
        assert mount.xattr(WEEKLY, "updated") == both.digests["kd_weekly"].generated_at


def test_a_database_is_attached_read_only_through_the_mount(agnes, both):
    with agnes.mount(both.url, "prefetch=none") as mount:
        assert both.count(DOWNLOAD) == 0
        connection = duckdb.connect()
        connection.execute(f"ATTACH '{mount / HANDBOOK}' AS handbook (READ_ONLY)")
        query = "SELECT count(*), sum(ordinal), min(text[:7]) FROM handbook.chunks"
        assert connection.execute(query).fetchone() == (3000, 2999 * 1500, "chunk 0")
        with pytest.raises(duckdb.Error):
            connection.execute("DELETE FROM handbook.chunks")
        connection.close()


def test_what_the_readme_says_works(agnes, both):
    with agnes.mount(both.url, "prefetch=none") as mount:
        readme = (mount / "README.md").read_text()
        assert HANDBOOK in readme and WEEKLY in readme and "Staff handbook" in readme
        lines = [line.strip() for line in readme.splitlines() if line.startswith("    ")]
        attach = next(line for line in lines if line.startswith("ATTACH"))
        query = next(line for line in lines if "chunks" in line).replace("%word%", "%chunk 17 %")
        code = f"import duckdb; duckdb.sql({attach!r}); print(duckdb.sql({query!r}).fetchall())"
        out = subprocess.run([sys.executable, "-c", code], cwd=mount.path, capture_output=True,
                             text=True, timeout=30, check=True).stdout
        assert out.startswith("[('handbook.pdf', 'chunk 17 ")


def test_without_any_there_is_no_folder_and_nothing_is_held(agnes, instance):
    instance.add_package("sales")
    for shape in ("now", "v49"):
        instance.shape = shape
        report = agnes.sync(instance.url)
        assert not report.held(SECTION) and report.counts(SECTION) == {}
        assert "knowledge" not in agnes.run("sync", instance.url).out
        with agnes.mount(instance.url) as mount:
            assert not (mount / "knowledge").exists()
            assert "Knowledge" not in (mount / "README.md").read_text()
            assert mount.status()["artifacts"] == 0


def test_they_are_counted_listed_pinned_and_exported(agnes, both, database, tmp_path):
    report = agnes.sync(both.url)
    digest = page(both.digests["kd_weekly"])
    assert report.counts(SECTION) == {"added": 2}
    assert report.bytes == len(database) + len(digest)
    with agnes.mount(both.url, "prefetch=none") as mount:
        status = mount.status()
        assert (status["artifacts"], status["tables"], status["domains"]) == (2, 0, 0)
        assert status["sections"][SECTION] == {"listed": 2, "withheld": 0,
                                               "bytes": len(database) + len(digest)}
        assert "2 knowledge artifacts" in agnes.run("status", mount.path).out
        rows = agnes.run("ls", "digest/*", mount.path, "--json").json()["rows"]
        assert [(row["path"], row["section"]) for row in rows] == [(WEEKLY, SECTION)]
        agnes.run("pin", HANDBOOK, mount.path)
        [row] = agnes.run("ls", "chunks/*", mount.path, "--json").json()["rows"]
        assert (row["pinned"], row["rows"], row["state"]) == (True, 3000, "resident")
        assert row["title"] == "Staff handbook"
        assert f"-- ATTACH '{mount / HANDBOOK}'" in agnes.run("sql", mount.path).out
    assert agnes.verify(both.url).findings == set()
    drop_from_cache(agnes, digest)
    assert {what for what, _ in agnes.verify(both.url, expect=9).findings} == {"missing blob"}
    agnes.sync(both.url)
    agnes.run("export", both.url, tmp_path / "copy")
    assert (tmp_path / "copy" / HANDBOOK).read_bytes() == database
    assert (tmp_path / "copy" / WEEKLY).read_bytes() == digest


def test_a_static_stack_has_them_too(agnes, stack, server, database):
    stack.files |= {"k/handbook.duckdb": database,
                    "k/weekly.json": b'{"title": "W", "status": "fresh", "output_md": "Body"}'}
    chunks = {"kind": "chunks", "corpus_id": "handbook", "size_bytes": len(database),
              "url": "k/handbook.duckdb"}
    digest = {"kind": "digest", "slug": "weekly", "url": "k/weekly.json", "md5": "0" * 32}
    stack.write(knowledge_artifacts=[digest, chunks])
    for url in (server.url, stack.url):
        with agnes.mount(url) as mount:
            assert (mount / HANDBOOK).read_bytes() == database
            assert (mount / WEEKLY).read_text().endswith("\n\nBody\n")
            assert mount.xattr(HANDBOOK, "state") == "unverified"


# --- digests ---

def test_its_first_lines_say_that_a_digest_is_stale_and_why(agnes, both):
    digest = both.digests["kd_weekly"]
    with agnes.mount(both.url) as mount:
        assert "STALE" not in (mount / WEEKLY).read_text()
        digest.status, digest.status_reason = "stale", "the model is *away* [x](http://evil)"
        assert mount.refresh().counts(SECTION) == {"updated": 1, "unchanged": 1}
        lines = (mount / WEEKLY).read_text().splitlines()
        assert lines[:3:2] == ["# Weekly", f"_A digest that the Agnes server maintains. Generated "
                               f"{digest.generated_at}, status stale._"]
        assert lines[4].startswith("> **STALE**: the model is")
        assert "[x](" not in lines[4], "its words open no link"
        assert lines[-1] == BODY.splitlines()[-1]
        assert "stale: its first lines say why" in (mount / "README.md").read_text()


def test_a_new_title_or_text_is_a_new_page_and_nothing_else_is_fetched(agnes, both):
    agnes.sync(both.url)
    for change in ({"title": "Each week"}, {"output_md": "## New\n"}):
        for key, value in change.items():
            setattr(both.digests["kd_weekly"], key, value)
        both.clear()
        assert agnes.sync(both.url).counts(SECTION) == {"updated": 1, "unchanged": 1}
        assert [request.path for request in both.matching("/api/knowledge/*")] == [CONTENT]
        assert page(both.digests["kd_weekly"]) in agnes.cache().contents()


NO_DIGEST = {
    "login page": Fault(html=True),
    "markdown": Fault(body=b"# Weekly\n", headers={"Content-Type": "text/markdown"}),
    "other json": Fault(body=b'{"detail": "?"}', headers={"Content-Type": "application/json"}),
    "half": Fault(body=b'{"output_md": "x', headers={"Content-Type": "application/json"}),
    "blank": Fault(body=b'{"output_md": " \\n"}', headers={"Content-Type": "application/json"}),
    "NUL": Fault(body=b'{"output_md": "a\\u0000b"}', headers={"Content-Type": "application/json"}),
    "403": Fault(status=403),
}


@pytest.mark.parametrize("what", NO_DIGEST)
def test_a_body_that_is_no_digest_is_refused(agnes, both, what):
    agnes.sync(both.url)
    before = page(both.digests["kd_weekly"])
    both.digests["kd_weekly"].output_md = "## New\n"
    both.always(CONTENT, NO_DIGEST[what])
    report = agnes.sync(both.url, expect=None)
    assert [(line.name, bool(line.reason)) for line in report.errors] == [("weekly", True)]
    assert report.counts(SECTION) == {"unchanged": 2}
    with agnes.mount(both.url) as mount:
        assert (mount / WEEKLY).read_bytes() == before
    both.forget()
    assert agnes.sync(both.url).counts(SECTION) == {"updated": 1, "unchanged": 1}


def test_a_digest_that_left_the_cache_is_made_again_for_its_reader(agnes, both):
    with agnes.mount(both.url, "prefetch=none") as mount:
        before = page(both.digests["kd_weekly"])
        (mount / HANDBOOK).read_bytes()
        drop_from_cache(agnes, before)
        both.clear()
        assert (mount / WEEKLY).read_bytes() == before
        assert both.count(CONTENT) == 1
        assert before in agnes.cache().contents()
    assert agnes.verify(both.url).findings == set()


def test_a_digest_that_has_changed_meanwhile_is_no_longer_what_was_listed(agnes, both):
    with agnes.mount(both.url, "prefetch=none") as mount:
        drop_from_cache(agnes, page(both.digests["kd_weekly"]))
        both.digests["kd_weekly"].output_md = "## Newer\n"
        with pytest.raises(OSError) as error:
            (mount / WEEKLY).read_bytes()
        assert error.value.errno == errno.EIO
        mount.refresh()
        assert (mount / WEEKLY).read_bytes() == page(both.digests["kd_weekly"])


# --- chunks ---

def test_wrong_bytes_of_a_database_never_replace_good_ones(agnes, both, database):
    agnes.sync(both.url)
    newer = database + bytes(4096)
    both.add_chunks("handbook", newer)
    both.always(DOWNLOAD, Fault(flip=100))
    report = agnes.sync(both.url, expect=9)
    assert [line.name for line in report.errors] == ["handbook"]
    assert both.count(DOWNLOAD) == 3, "once before, then twice"
    with agnes.mount(both.url, "prefetch=none") as mount:
        assert (mount / HANDBOOK).read_bytes() == database
    both.forget()
    assert agnes.sync(both.url).counts(SECTION) == {"updated": 1, "unchanged": 1}
    assert newer in agnes.cache().contents()


def test_a_database_without_md5_must_look_like_one(agnes, instance, database):
    instance.add_chunks("handbook", database)
    instance.add_chunks("other", raw(b"not what it should be"))
    instance.edit = lambda manifest: manifest | {SECTION: [
        row | {"md5": ""} for row in manifest[SECTION]]}
    report = agnes.sync(instance.url, expect=9)
    assert report.counts(SECTION) == {"added": 1}
    assert [(line.name, line.reason) for line in report.errors] == [
        ("other", "the bytes are no DuckDB file of the length that the manifest says")]
    assert agnes.cache().contents() == [database]
    [key] = agnes.cache().blobs()
    assert key.startswith("xxh-")


def test_only_digests_may_come_compressed(agnes, both):
    """The server compresses databases too if asked to, a range of one even: so nobody asks."""
    both.digests["kd_weekly"].output_md = "word " * 1000
    both.add_chunks("large", bytes(8) + b"DUCK" + bytes(9 << 20))
    with agnes.mount(both.url, "prefetch=none") as mount:
        with open(mount / "knowledge/large.duckdb", "rb", buffering=0) as file:
            file.seek(5 << 20)
            assert file.read(4096) == bytes(4096)
        assert (mount / HANDBOOK).read_bytes() == both.chunks["handbook"].file.content
        assert (mount / WEEKLY).read_bytes() == page(both.digests["kd_weekly"])
        asked = {request.path: request.headers.get("accept-encoding")
                 for request in both.matching("/api/knowledge/*")}
        assert any(request.range for request in both.matching("/api/knowledge/artifacts/large/*"))
    assert asked == {DOWNLOAD: None, "/api/knowledge/artifacts/large/download": None,
                     CONTENT: "gzip"}


def test_a_cold_database_that_is_not_granted_any_more_says_so(agnes, both):
    with agnes.mount(both.url, "prefetch=none") as mount:
        both.revoke(both.chunks["handbook"])
        with pytest.raises(PermissionError):
            (mount / HANDBOOK).read_bytes()
        assert mount.refresh().counts(SECTION) == {"removed": 1, "unchanged": 1}


# --- refreshes ---

def test_without_news_a_refresh_is_one_request(agnes, both):
    with agnes.mount(both.url, "report=off") as mount:
        knowledge(mount)
        both.clear()
        for _ in range(3):
            report = mount.refresh()
            assert report.counts(SECTION) == {"unchanged": 2}
        assert [request.path for request in both.matching()] == ["/api/sync/manifest"] * 3


def test_what_is_withdrawn_goes_and_the_folder_with_the_last(agnes, both, database):
    with agnes.mount(both.url) as mount:
        knowledge(mount)
        both.revoke(both.digests["kd_weekly"])
        assert mount.refresh().counts(SECTION) == {"removed": 1, "unchanged": 1}
        assert knowledge(mount) == {HANDBOOK: database}
        wait_for(lambda: agnes.cache().contents() == [database], what="the page has gone")
        both.revoke(both.chunks["handbook"])
        assert mount.refresh().held(SECTION)
        assert mount.refresh().counts(SECTION) == {"removed": 1}
        assert not (mount / "knowledge").exists()


@pytest.mark.parametrize("how", ["missing", "null", "object", "empty once", "fails"])
def test_a_section_that_had_rows_is_held(agnes, both, database, how):
    values = {"null": None, "object": {}, "empty once": []}
    before = {HANDBOOK: database, WEEKLY: page(both.digests["kd_weekly"])}
    with agnes.mount(both.url) as mount:
        assert knowledge(mount) == before
        if how == "missing":
            both.omitted = {SECTION}
        elif how == "fails":
            both.failing = {SECTION}
        else:
            both.edit = lambda manifest: manifest | {SECTION: values[how]}
        report = mount.refresh()
        assert report.held(SECTION) and report.counts(SECTION) == {"unchanged": 2}
        assert both.count("/api/stack*") == 0, "the server's list of my stack does not know them"
        assert knowledge(mount) == before
        both.omitted, both.failing, both.edit = set(), set(), lambda manifest: manifest
        report = mount.refresh()
        assert not report.held(SECTION) and report.counts(SECTION) == {"unchanged": 2}


def test_hostile_rows_fail_alone_each_with_a_reason(agnes, both, database):
    odd = [
        {"kind": "chunks", "corpus_id": "../../escape", "md5": "0" * 32, "size_bytes": 5},
        {"kind": "chunks", "corpus_id": "a" * 300, "md5": "0" * 32, "size_bytes": 5},
        {"kind": "chunks", "corpus_id": "...", "md5": "0" * 32, "size_bytes": 5},
        {"kind": "chunks", "corpus_id": "bad", "md5": "x", "size_bytes": 5},
        {"kind": "digest", "slug": None, "id": "x"},
        {"kind": "digest", "slug": "far", "id": "x", "url": "http://127.0.0.1:1/x"},
        {"kind": "graph", "id": "g"},
        {"kind": 5, "slug": "five", "id": "x"},
        None, 5, [],
    ]
    both.edit = lambda manifest: manifest | {SECTION: odd + manifest[SECTION]}
    report = agnes.sync(both.url, expect=None)
    assert all(line.reason for line in report.errors + report.skipped)
    assert [line.name for line in report.skipped] == ["g"]
    assert len(report.errors) == len(odd) - 1
    with agnes.mount(both.url, "prefetch=none") as mount:
        assert {name for name in mount.names() if name.startswith("knowledge/")} == {
            "knowledge/", "knowledge/escape.duckdb", HANDBOOK, WEEKLY}
        assert (mount / HANDBOOK).read_bytes() == database


def test_slugs_that_fold_to_one_name_are_settled_whatever_the_order(agnes, instance):
    instance.add_digest("R&D notes", "# one\n", title="one")
    instance.add_digest("R_D_notes", "# two\n", title="two")
    for turn in (1, -1):
        instance.edit = lambda manifest, turn=turn: manifest | {SECTION: manifest[SECTION][::turn]}
        report = agnes.sync(instance.url, expect=None)
        assert [(line.name, line.reason) for line in report.errors] == [
            ("R_D_notes", 'its name belongs to "R&D notes"')]
        with agnes.mount(instance.url) as mount:
            assert (mount / "knowledge/R_D_notes.md").read_text().startswith("# one\n")
    assert instance.count("/api/knowledge/digests/kd_R%26D%20notes/content") == 1


# --- restarts ---

def test_after_a_restart_without_a_server_all_of_it_is_there(agnes, both, database):
    digest = page(both.digests["kd_weekly"])
    agnes.sync(both.url)
    url = both.url
    with agnes.mount(url, "prefetch=none") as mount:
        before = {path: (mount / path).stat().st_mtime_ns for path in (HANDBOOK, WEEKLY)}
        inodes = {path: (mount / path).stat().st_ino for path in (HANDBOOK, WEEKLY)}
    both.close()
    with agnes.mount(url, "prefetch=none") as mount:
        assert knowledge(mount) == {HANDBOOK: database, WEEKLY: digest}
        assert {path: (mount / path).stat().st_mtime_ns for path in before} == before
        assert {path: (mount / path).stat().st_ino for path in before} == inodes
        assert "Staff handbook" in (mount / "README.md").read_text()


def test_its_rows_stand_in_the_state_file_under_their_kind(agnes, both):
    agnes.sync(both.url)
    rows = agnes.cache().state()[SECTION]
    assert set(rows) == {"chunks", "digest"}
    assert rows["chunks"]["handbook"]["title"] == "Staff handbook"
    assert rows["digest"]["weekly"]["path"] == WEEKLY
