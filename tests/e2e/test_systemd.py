"""The units under a real systemd: started, told of, reloaded, killed, stopped."""

import os
import re
from pathlib import Path

import pytest

from tests.lib.agnesfs import BINARY, ROOT, wait_for
from tests.lib.machine import HOME, UID, Machine

SAMPLE = ROOT / "tests/data/sample"
BUILD = Path(os.environ.get("AGNESFS_BUILD", ROOT / "build/dev"))
TABLE = f"{HOME}/agnes/data/sales/orders.parquet"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def machine():
    with Machine(BINARY, SAMPLE) as machine:
        for name, manager in (("agnesfs@.service", "system"), ("agnesfs.service", "user")):
            text = re.sub(r"=(-?)\S*/bin/agnesfs ", r"=\1/usr/bin/agnesfs ",
                          (BUILD / name).read_text())
            machine.add_unit(name, text, manager)
        # PAM's part of a login, which takes a module that is not everywhere.
        machine.add_unit(f"user@{UID}.service.d/trial.conf", "[Service]\nPAMName=\n"
                         f"Environment=XDG_RUNTIME_DIR=/run/user/{UID}\n")
        machine.write(f"{HOME}/.config/agnesfs/config", "server = /srv/stack\n")
        machine.run("chown", "-R", f"{UID}:{UID}", HOME)
        yield machine


def is_mounted(machine):
    return " fuse.agnesfs " in machine.run("cat", "/proc/mounts").stdout


def is_again(machine, unit, user, before):
    return (machine.show(unit, "ActiveState", user) == "active" and
            machine.show(unit, "MainPID", user) not in ("0", before))


@pytest.mark.parametrize("user", [False, True], ids=["of the machine", "of a user"])
def test_a_unit(machine, user):
    unit = "agnesfs" if user else f"agnesfs@{UID}"
    if user:
        machine.systemctl("start", f"user@{UID}")
    machine.systemctl("start", unit, user=user)
    assert machine.show(unit, "ActiveState", user) == "active", "it has said READY"
    assert re.match(r"6 tables \(.*\), generation \d+$", machine.show(unit, "StatusText", user))
    assert machine.show(unit, "WatchdogTimestamp", user), "systemd waits for its signs of life"
    table = (SAMPLE / "tables/orders.parquet").stat().st_size
    assert machine.run("wc", "-c", TABLE, user=True).stdout.split()[0] == str(table)
    assert "ready" in machine.run("agnesfs", "status", user=True).stdout.lower()

    machine.systemctl("reload", unit, user=user)
    pid = machine.show(unit, "MainPID", user)
    machine.run("kill", "-9", pid)
    wait_for(lambda: is_again(machine, unit, user, pid), 60, "started again")
    assert machine.run("wc", "-c", TABLE, user=True).stdout.split()[0] == str(table)
    assert "SIGKILL" in machine.run("agnesfs", "status", user=True).stdout

    machine.systemctl("stop", unit, user=user)
    assert machine.show(unit, "ActiveState", user) == "inactive"
    assert not is_mounted(machine)


def test_a_wrong_option_is_not_tried_again(machine):
    unit = f"agnesfs@{UID}"
    machine.write(f"{HOME}/.config/agnesfs/config", "no-such-key = 1\n")
    try:
        assert machine.systemctl("start", unit, check=False).returncode != 0
        assert machine.show(unit, "ActiveState") == "failed"
        assert machine.show(unit, "NRestarts") == "0"
    finally:
        machine.write(f"{HOME}/.config/agnesfs/config", "server = /srv/stack\n")
        machine.systemctl("reset-failed")
