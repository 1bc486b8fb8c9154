"""Numbers for Prometheus, read by Prometheus's own parsers."""

import json
import os
import re
import signal
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_parse
from prometheus_client.parser import text_string_to_metric_families as text_parse

from tests.lib.agnesfs import ROOT, wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import noise, raw

SIZE = 500_000


@pytest.fixture
def sales(stack, server):
    stack.add_package("sales", stack.add_table("orders", noise(SIZE)),
                      stack.add_table("ledger", raw(b"ledger")))
    stack.write()
    return server


def metrics(agnes, *args):
    return list(open_parse(agnes.run("status", "--prometheus", *args).out))


def value(families, name, **labels):
    """The only sample of that name that has these labels."""
    found = [sample for family in families for sample in family.samples
             if sample.name == name and labels.items() <= sample.labels.items()]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0].value


def test_every_number_is_that_of_the_status(agnes, sales):
    with agnes.mount(sales.url, "prefetch=none", "cache-size=1G") as mount:
        subprocess.run(["cat", mount / "data/sales/orders.parquet"], check=True,
                       stdout=subprocess.DEVNULL)
        families, status = metrics(agnes), mount.status()
        for name, expected in {
            "up": 1, "generation": status["generation"], "listed_files": 2,
            "listed_bytes": status["bytes"], "resident_files": 1, "resident_bytes": SIZE,
            "cache_limit_bytes": 10**9, "cache_used_bytes": status["cache"]["used"],
            "fetched_bytes_total": status["transfers"]["bytes"],
            "requests_total": status["transfers"]["requests"], "problems": 0,
            "reads_total": status["mount"]["reads"], "parked_reads": 0,
        }.items():
            assert value(families, f"agnesfs_{name}", mountpoint=str(mount.path),
                         source=status["source"]) == expected, name
        assert value(families, "agnesfs_program_fetched_bytes_total", program="cat") == SIZE
        assert value(families, "agnesfs_program_fetched_bytes_total", program="") == 0
        assert value(families, "agnesfs_state", state="ready") == 1
        assert value(families, "agnesfs_state", state="stale") == 0
        assert value(families, "agnesfs_build", version=status["version"]) == 1
        for family in families:
            assert family.documentation and family.type in ("counter", "gauge")
            assert not family.unit or family.name.endswith("_" + family.unit)
            for unit in ("bytes", "seconds"):
                assert unit not in family.name or family.unit == unit, family.name


def test_all_mounts_are_told_and_one_that_does_not_answer(agnes, sales, tmp_path):
    other = tmp_path / 'an "other"\\place'
    other.mkdir()
    with agnes.mount(sales.url, "prefetch=none") as mount, \
            agnes.mount(sales.url, "prefetch=none", path=other):
        assert value(metrics(agnes), "agnesfs_up", mountpoint=str(other)) == 1
        assert len([family for family in metrics(agnes, other) if family.name == "agnesfs_up"
                    for _ in family.samples]) == 1
    families = metrics(agnes)
    assert all(family.samples == [] for family in families) and families
    with agnes.mount(sales.url, "prefetch=none") as mount:
        pid = mount.status()["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            families = metrics(agnes)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert value(families, "agnesfs_up", mountpoint=str(mount.path)) == 0


def test_a_problem_is_counted(agnes, sales):
    sales.always("/tables/ledger.parquet", Fault(flip=5))
    with agnes.mount(sales.url, "prefetch=none") as mount:
        with pytest.raises(OSError):
            (mount / "data/sales/ledger.parquet").read_bytes()
        families = metrics(agnes, mount.path)
        assert value(families, "agnesfs_problems") == 1
        assert value(families, "agnesfs_state", state="degraded") == 1
        assert value(families, "agnesfs_transfers_failed_total") >= 1


def test_the_file_is_there_for_others_while_the_mount_is(agnes, sales, tmp_path):
    """In a sandbox, which lets the mount write there."""
    folder = tmp_path / "node exporter"
    folder.mkdir()
    path = folder / "agnesfs.prom"
    with agnes.mount(sales.url, "prefetch=none", f"metrics-file={path}") as mount:
        wait_for(path.exists, 30)
        assert path.stat().st_mode & 0o777 == 0o644
        text = path.read_text()
        families = list(text_parse(text))
        assert value(families, "agnesfs_up", mountpoint=str(mount.path)) == 1
        assert {family.name: family.type for family in families} == {
            family.name: family.type for family in metrics(agnes)}
        assert "# UNIT" not in text and "# EOF" not in text
        assert [entry.name for entry in folder.iterdir()] == [path.name]
    wait_for(lambda: not list(folder.iterdir()), 30, "it is removed")
    assert "metrics-file" not in agnes.logs()


def test_a_file_without_a_place_is_refused(agnes, sales, tmp_path):
    (tmp_path / "agnes").mkdir()
    result = agnes.run("mount", sales.url, tmp_path / "agnes", "--metrics-file",
                       tmp_path / "nowhere/agnesfs.prom", expect=8)
    assert result.err.startswith(f"agnesfs: {tmp_path}/nowhere: no place for metrics-file: ")
    assert "\nhint: " in result.err


def test_the_dashboard_names_only_what_there_is(agnes, sales):
    dashboard = json.loads((ROOT / "scripts/install/grafana.json").read_text())
    with agnes.mount(sales.url, "prefetch=none", "cache-size=1G"):
        families = metrics(agnes)
    samples = {sample.name for family in families for sample in family.samples}
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [variable["query"]["query"] for variable in dashboard["templating"]["list"]
                    if variable["type"] == "query"]
    assert len(expressions) > 10
    for expression in expressions:
        named = re.findall(r"agnesfs_\w+", expression)
        assert named and set(named) <= samples, expression
        for label in re.findall(r"[{,](\w+)=~?", expression) + re.findall(r"by \((\w+)\)",
                                                                         expression):
            assert label in labels, expression
        assert "rate(" not in expression or all(
            name.endswith("_total") for name in named), expression


def test_it_is_not_watched(agnes):
    assert agnes.run("status", "--prometheus", "--watch", expect=2).err.startswith(
        "agnesfs: --prometheus: not together with --watch")
