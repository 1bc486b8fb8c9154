"""A look at a cold stack in a file manager costs no byte: types are known by name.

AGNESFS_PICTURES=DIR keeps what the file managers showed.
"""

import configparser
import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.lib.agnes_server import AgnesServer
from tests.lib.desktop import Desktop, Opens
from tests.lib.stack import raw

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "scripts/install/agnesfs.xml"
TABLES = 200
FEW = 20  # where each is fetched
FOLDER = "data/sales"

# Where the system knows the types already, it forgets them.
WITHOUT = """<?xml version="1.0" encoding="UTF-8"?>
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type="application/vnd.apache.parquet"><glob-deleteall/></mime-type>
</mime-info>
"""

PCMANFM = "[ui]\nwin_width=640\nwin_height=480\nview_mode=list\n"


@contextlib.contextmanager
def cold(agnes, tables):
    """A mount of a server with that many tables, of which it has no byte; nobody asks for any."""
    agnes.write_token("a-token")
    with AgnesServer() as server:
        server.add_package("sales")
        for number in range(tables):
            server.add_table(f"orders_{number:03}", raw(b"orders %d" % number * 1000),
                             packages=["sales"])
        server.add_chunks("handbook", b"chunks" * 1000)
        with agnes.mount(server.url, "prefetch=none,report=off") as mount:
            mount.settle()
            server.clear()
            mount.server, mount.source = server, server.url
            yield mount


def desktop_of(tmp_path, known):
    packages = [PACKAGE]
    if not known:
        packages = [tmp_path / "override.xml"]
        packages[0].write_text(WITHOUT)
    desktop = Desktop(tmp_path / "desktop", *packages)
    settings = desktop.home / ".config/pcmanfm/default/pcmanfm.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(PCMANFM)
    return desktop


def look(desktop, program, mount, pictures=None):
    """The names of the files that were opened for it, and the requests that were made."""
    folder = mount / FOLDER
    with Opens(folder) as opens:
        if program == "gio":
            desktop.run("gio", "info", "-a", "standard::*", *sorted(folder.glob("*.parquet")))
        else:
            with desktop:
                desktop.show(program, folder)
                if pictures:
                    desktop.save(Path(pictures, f"{program}.png"))
        return opens.names, mount.server.count()


@pytest.mark.parametrize("program", ["gio", "thunar", "pcmanfm"])
def test_a_look_opens_no_table_and_asks_the_server_nothing(tmp_path, agnes, program):
    desktop = desktop_of(tmp_path, True)
    with cold(agnes, TABLES) as mount:
        assert look(desktop, program, mount, os.environ.get("AGNESFS_PICTURES")) == ([], 0)


@pytest.mark.parametrize("program", ["gio", "thunar", "pcmanfm"])
def test_where_the_types_are_not_known_it_would(tmp_path, agnes, program):
    """What the MIME package is for; and that the test before can see what it says is not there."""
    desktop = desktop_of(tmp_path, False)
    with cold(agnes, FEW) as mount:
        opened, requests = look(desktop, program, mount)
    assert len(set(opened)) >= 8 and requests >= 8


def test_what_things_are_called(tmp_path, agnes):
    desktop = desktop_of(tmp_path, True)
    with cold(agnes, 1) as mount:
        for path, kind in (("data/sales/orders_000.parquet", "application/vnd.apache.parquet"),
                           ("knowledge/handbook.duckdb", "application/vnd.duckdb")):
            told = desktop.run("gio", "info", "-a", "standard::content-type", mount / path)
            assert f"standard::content-type: {kind}\n" in told
        assert mount.server.count() == 0


def test_the_mount_has_a_name_and_an_icon(agnes):
    with cold(agnes, 1) as mount:
        info = configparser.ConfigParser()
        info.read(mount / ".xdg-volume-info")
        assert dict(info["Volume Info"]) == {"name": "Agnes (127.0.0.1)", "icon": "folder-remote"}
        listed = subprocess.run(["ls", mount], capture_output=True, text=True, check=True)
        assert listed.stdout.split() == ["README.md", "data", "knowledge", "memory"]


def test_df_shows_the_stack_as_a_full_medium_without_asking_the_server(agnes):
    with cold(agnes, FEW) as mount:
        total = sum(path.stat().st_size for path in
                    [*(mount / FOLDER).glob("*.parquet"), mount / "knowledge/handbook.duckdb"])
        shown = subprocess.run(
            ["df", "--block-size=4096", "--output=size,used,avail,pcent,fstype,source", mount],
            capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()[1].split()
        blocks = str(-(-total // 4096))
        assert shown == [blocks, blocks, "0", "100%", "fuse.agnesfs", mount.source]
        assert mount.server.count() == 0
