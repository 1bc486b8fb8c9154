"""scripts/package: the same bytes from the same source, and nothing left on a machine that had it."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.lib.agnesfs import ROOT

pytestmark = pytest.mark.timeout(800)  # on a machine that does much else
OUT = ROOT / "build/package/out"
EPOCH = "1700000000"


def package(folder, *args, expect=0):
    done = subprocess.run(["scripts/package", *args], cwd=folder, capture_output=True, text=True,
                          env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH}, timeout=800, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == expect
    return done


def packages(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (folder / "build/package/out").iterdir()}


@pytest.fixture(scope="module")
def checked():
    """Packages of this checkout, tried in a view of this machine."""
    return package(ROOT, "--check", "/").stdout


@pytest.fixture
def elsewhere(tmp_path):
    """The same files in another place, with the libfuse that was built for them."""
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file() and not name.startswith("tests/data/addresses"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
            os.utime(tmp_path / name)
    if (fuse := ROOT / "build/deps/fuse3").is_dir():
        shutil.copytree(fuse, tmp_path / "build/deps/fuse3")
        shutil.copytree(ROOT / "build/deps/src", tmp_path / "build/deps/src",
                        ignore=lambda _, names: [name for name in names if ".orig." not in name])
        for path in (tmp_path / "build/deps/fuse3").rglob("*.pc"):
            path.write_text(path.read_text().replace(str(ROOT), str(tmp_path)))
    return tmp_path


def fields(deb):
    shown = subprocess.run(["dpkg-deb", "--field", deb], capture_output=True, text=True, check=True)
    return dict(re.findall(r"^(\S+): (.*)$", shown.stdout, re.M))


def test_it_installs_mounts_and_goes_without_a_trace(checked):
    assert "read 7 files" in checked and "removed without a trace" in checked


def test_what_it_leaves_behind_would_be_seen(checked, tmp_path):
    """A package whose removal forgets a file that its installation made."""
    deb = next(OUT.glob("*.deb"))
    unpacked = tmp_path / "unpacked"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, unpacked], check=True)
    script = unpacked / "DEBIAN/postinst"
    script.write_text("#!/bin/sh\n: >/var/lib/agnesfs-was-here\n")
    script.chmod(0o755)
    kept = deb.read_bytes()
    try:
        subprocess.run(["dpkg-deb", "--build", unpacked, deb], check=True, capture_output=True)
        done = package(ROOT, "--only-check", "/", expect=1)
        assert done.stderr.splitlines()[:2] == ["left behind:", "var/lib/agnesfs-was-here"]
    finally:
        deb.write_bytes(kept)


def test_built_elsewhere_it_is_the_same(checked, elsewhere):
    package(elsewhere)
    assert packages(elsewhere) == packages(ROOT)
    assert {Path(name).suffix for name in packages(ROOT) if "agnesfs" in name} == {
        ".deb", ".rpm", ".gz"}


def test_the_binary_names_no_folder_of_the_build(checked):
    with tarfile.open(next(OUT.glob("agnesfs-*.tar.gz"))) as tar:
        member = next(name for name in tar.getnames() if name.endswith("/bin/agnesfs"))
        assert os.fsencode(ROOT) not in tar.extractfile(member).read()


def test_the_debian_package_says_what_it_needs(checked):
    found = fields(next(OUT.glob("*.deb")))
    assert found["Recommends"] == "fuse3"
    for library in ("libc6", "libcurl4", "libcjson1", "libxxhash0", "libinih1", "libsystemd0"):
        assert re.search(rf"\b{library}(t64)?[ ,]", found["Depends"] + ","), found["Depends"]


def test_the_rpm_is_whole_and_says_what_it_needs(checked):
    def rpm(*args):
        return subprocess.run(["rpm", *args, next(OUT.glob("*.rpm"))], capture_output=True,
                              text=True, check=True).stdout

    assert "digests OK" in rpm("--checksig")
    assert "libcurl.so.4()(64bit)" in rpm("-qp", "--requires")
    assert {"/usr/bin/agnesfs", "/usr/sbin/mount.agnesfs", "/etc/agnesfs.conf",
            "/usr/share/mime/packages/agnesfs.xml", "/usr/lib/systemd/system/agnesfs@.service",
            "/usr/lib/systemd/user/agnesfs.service"} <= set(rpm("-qpl").split())
    assert rpm("-qpc").split() == ["/etc/agnesfs.conf"]
