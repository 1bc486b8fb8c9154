"""The shape of the folder, and what stat, xattrs and the tools that look around say of it."""

import ctypes
import datetime
import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
import time

import pytest

from tests.lib.agnesfs import files_below
from tests.lib.stack import DROP, UPDATED, md5, raw

ORDERS = raw(b"orders" * 3000)
CUSTOMERS = raw(b"customers")
PRICES = raw(b"prices" * 200)
JUNE, JULY = raw(b"june" * 1000), raw(b"july" * 1500)
ODD = raw(b"no md5 for this one")
CUSTOMERS_UPDATED = "2026-08-21T04:15:00.250000+00:00"
XATTRS = {f"user.agnes.{name}" for name in ("state", "md5", "table_id", "rows", "updated",
          "query_mode", "references", "generation", "source", "error")}


@pytest.fixture
def stack(stack):
    orders = stack.add_table("orders", ORDERS, id="in_c-crm_orders", rows=1234)
    stack.add_package(
        "sales", orders,
        stack.add_table("customers", CUSTOMERS, updated=CUSTOMERS_UPDATED),
        stack.add_table("ledger", query_mode="remote"),
        description="Orders and who placed them")
    stack.add_package("marketing", orders, {**orders, "id": "copy", "name": "orders_copy"})
    clicks = {"month=2026-06/data.parquet": JUNE, "month=2026-07/data.parquet": JULY}
    stack.add_package("events", stack.add_table("clicks", clicks))
    stack.add_direct(stack.add_table("prices", PRICES))
    stack.add_domain("finance", "# Finance\n\n### Revenue is net\n")
    return stack.write()


FILES = {
    "data/sales/orders.parquet": ORDERS,
    "data/sales/customers.parquet": CUSTOMERS,
    "data/marketing/orders.parquet": ORDERS,
    "data/marketing/orders_copy.parquet": ORDERS,
    "data/events/clicks/month=2026-06/data.parquet": JUNE,
    "data/events/clicks/month=2026-07/data.parquet": JULY,
    "data/_direct/prices.parquet": PRICES,
    "memory/finance/bundle.md": b"# Finance\n\n### Revenue is net\n",
}
FOLDERS = {
    "data/", "data/sales/", "data/marketing/", "data/events/", "data/events/clicks/",
    "data/events/clicks/month=2026-06/", "data/events/clicks/month=2026-07/", "data/_direct/",
    "memory/", "memory/finance/",
}
SHARED = [name for name, content in FILES.items() if content is ORDERS]


@pytest.fixture
def mount(agnes, stack):
    with agnes.mount(stack.url) as mount:
        yield mount


def all_paths(mount):
    """Of everything, generated files included; the root is "."."""
    paths = ["."]
    for where, folders, names in os.walk(mount.path):
        paths += [os.path.relpath(os.path.join(where, name), mount.path)
                  for name in folders + names]
    return paths


def getxattr(mount, path, name):
    """None where there is no such value."""
    try:
        return mount.xattr(path, name)
    except OSError as error:
        assert error.errno == errno.ENODATA
        return None


def run_quietly(*command, **keywords):
    """A command that must neither fail nor complain."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=30, env={**os.environ, "LC_ALL": "C"}, check=False, **keywords)
    assert done.returncode == 0 and done.stderr == "", (command, done)
    return done.stdout


# --- shape ---

def test_tables_parts_direct_tables_and_bundles_have_their_places(mount):
    assert mount.files() == FILES
    assert {name for name in mount.names() if name.endswith("/")} == FOLDERS


def test_what_the_mount_knows_about_itself_is_in_a_folder_of_its_own(mount):
    names = set(os.listdir(mount / ".agnes"))
    assert {"status.json", "generation"} <= names
    assert (mount / ".agnes/generation").read_text().strip() == mount.xattr(".", "generation")
    for name in names:
        size = (mount / ".agnes" / name).stat().st_size
        assert 0 < size < 1 << 20


def test_nothing_generated_is_caught_by_a_glob_over_the_tables(mount):
    found = {str(path.relative_to(mount.path)) for path in mount.path.glob("data/*/*.parquet")}
    assert found == {name for name in FILES if name.count("/") == 2 and name.startswith("data/")}


# --- stat ---

def test_equal_content_is_one_inode_and_its_links_are_counted(mount):
    stats = {name: (mount / name).stat() for name in FILES}
    assert len({stats[name].st_ino for name in SHARED}) == 1
    assert len({found.st_ino for found in stats.values()}) == len(FILES) - len(SHARED) + 1
    assert all(found.st_ino > 1 for found in stats.values())
    for name, found in stats.items():
        assert found.st_nlink == (len(SHARED) if name in SHARED else 1), name
    assert os.path.samefile(mount / SHARED[0], mount / SHARED[1])


def test_a_folder_links_to_its_folders(mount):
    assert mount.nlink(".") == 2 + 3  # data, memory, .agnes
    assert mount.nlink("data") == 2 + 4
    assert mount.nlink("data/sales") == 2
    assert mount.nlink("data/events/clicks") == 2 + 2


def test_sizes_and_blocks_are_those_of_the_content(mount):
    for name, content in FILES.items():
        found = (mount / name).stat()
        assert found.st_size == len(content), name
        assert found.st_blocks == -(-len(content) // 512), name
        assert found.st_blksize >= 4096


def test_times_are_those_that_the_manifest_gives(mount):
    expected = {name: datetime.datetime.fromisoformat(UPDATED) for name in FILES}
    expected["data/sales/customers.parquet"] = datetime.datetime.fromisoformat(CUSTOMERS_UPDATED)
    del expected["memory/finance/bundle.md"]  # bundles come without a time
    for name, when in expected.items():
        found = (mount / name).stat()
        assert found.st_mtime == when.timestamp(), name
        assert found.st_mtime_ns == found.st_ctime_ns == found.st_atime_ns, name


def test_content_without_a_time_keeps_the_time_when_it_was_first_seen(agnes, stack):
    stack.add_package("odd", stack.add_table("timeless", raw(b"timeless"), updated=None))
    stack.write()
    paths = ["data/odd/timeless.parquet", "memory/finance/bundle.md"]
    before = time.time()
    with agnes.mount(stack.url) as mount:
        first = [(mount / path).stat().st_mtime_ns for path in paths]
        assert all(before - 2 <= when / 1e9 <= time.time() for when in first)
    time.sleep(0.05)
    with agnes.mount(stack.url) as mount:
        assert [(mount / path).stat().st_mtime_ns for path in paths] == first
        stack.server_time = "2026-08-23T00:00:00+00:00"
        stack.write()
        mount.refresh()
        assert [(mount / path).stat().st_mtime_ns for path in paths] == first


def test_stat_says_the_same_after_a_restart_and_before_and_after_a_fetch(agnes, stack):
    def facts(mount):
        fields = ("st_ino", "st_size", "st_mtime_ns", "st_blocks", "st_nlink", "st_mode")
        return {name: tuple(getattr((mount / name).stat(), field) for field in fields)
                for name in FILES}

    with agnes.mount(stack.url, "prefetch=none") as mount:
        cold = facts(mount)
        assert mount.files() == FILES
        assert facts(mount) == cold
    with agnes.mount(stack.url) as mount:
        assert facts(mount) == cold


def test_other_content_is_another_inode(mount, stack):
    before = (mount / SHARED[0]).stat()
    stack.add_table("orders", ORDERS[::-1], id="in_c-crm_orders", rows=1234)
    stack.write()
    mount.refresh()
    after = (mount / SHARED[0]).stat()
    assert after.st_ino != before.st_ino
    assert (mount / "data/marketing/orders.parquet").stat().st_ino == after.st_ino
    assert (mount / "data/marketing/orders_copy.parquet").stat().st_ino == before.st_ino


def test_modes_and_owner_are_the_mounting_users_and_read_only(mount):
    for path in all_paths(mount):
        found = (mount / path).lstat()
        folder = stat.S_ISDIR(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == (0o555 if folder else 0o444), path
        assert folder or stat.S_ISREG(found.st_mode), path
        assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid()), path


def test_owner_and_mode_can_be_chosen(agnes, stack):
    with agnes.mount(stack.url, "uid=4321", "gid=8765", "umask=027") as mount:
        file, folder = (mount / SHARED[0]).stat(), (mount / "data").stat()
        assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode)) == (4321, 8765, 0o440)
        assert (folder.st_uid, folder.st_gid, stat.S_IMODE(folder.st_mode)) == (4321, 8765, 0o550)


def test_statfs_shows_a_full_read_only_file_system_of_the_size_of_the_stack(mount):
    found = os.statvfs(mount.path)
    total = sum(len(content) for content in {bytes(content) for content in FILES.values()})
    assert found.f_blocks == -(-total // found.f_frsize)
    assert found.f_bfree == found.f_bavail == 0
    assert found.f_flag & os.ST_RDONLY
    assert found.f_namemax == 255
    assert found.f_files >= len(FILES)


# --- listings ---

class Dirent(ctypes.Structure):
    _fields_ = [("d_ino", ctypes.c_uint64), ("d_off", ctypes.c_int64),
                ("d_reclen", ctypes.c_uint16), ("d_type", ctypes.c_uint8),
                ("d_name", ctypes.c_char * 256)]


def readdir(path):
    """{name: (d_type, d_ino)} as readdir(3) says it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = ctypes.c_void_p
    libc.readdir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
    libc.readdir.restype = ctypes.POINTER(Dirent)
    stream = libc.opendir(os.fsencode(path))
    assert stream, os.strerror(ctypes.get_errno())
    found = {}
    while entry := libc.readdir(stream):
        name = os.fsdecode(entry.contents.d_name)
        assert name not in found
        found[name] = (entry.contents.d_type, entry.contents.d_ino)
    libc.closedir(stream)
    return found


def test_readdir_says_type_and_inode_of_each_name(mount):
    folder, file = 4, 8  # DT_DIR, DT_REG
    for path in [".", ".agnes/", *sorted(FOLDERS)]:
        for _ in range(2):  # the second listing is the kernel's
            found = readdir(mount / path)
            assert {found.pop("."), found.pop("..")} and found
            for name, (kind, inode) in found.items():
                real = (mount / path / name).lstat()
                assert kind == (folder if stat.S_ISDIR(real.st_mode) else file), (path, name)
                if path != ".agnes/":  # what is rendered anew has another inode each time
                    assert inode == real.st_ino, (path, name)


def test_a_listing_of_thousands_names_the_inodes_that_stat_shows_and_makes_none(agnes, stack):
    """Only what is looked at becomes an inode in kernel and daemon; names alone come cheap."""
    many = [stack.add_table(f"t{number}", raw(b"%d" % number)) for number in range(3000)]
    stack.add_package("many", *many, stack.add_table("parts", {"day=1/data.parquet": raw(b"1")}))
    stack.write()
    with agnes.mount(stack.url, "prefetch=none") as mount:
        found = readdir(mount / "data/many")
        assert len(found) == 3000 + len({".", "..", "parts", "README.md"})
        assert mount.status()["mount"]["lookups"] < 2000
        run_quietly("ls", "-l", mount / "data/many")
        for name, (_, inode) in found.items():
            assert inode == (mount / "data/many" / name).lstat().st_ino, name
        assert mount.status()["mount"]["lookups"] >= 3000


def test_ls_find_and_du_walk_the_tree_without_a_complaint(mount):
    listing = run_quietly("ls", "-lRa", mount.path)
    assert "orders_copy.parquet" in listing and "?" not in listing
    found = run_quietly("find", mount.path, "-name", "*.parquet", "-links", len(SHARED))
    assert len(found.split()) == len(SHARED)
    found = run_quietly("find", mount.path, "-samefile", mount / SHARED[0])
    assert set(found.split()) == {str(mount / name) for name in SHARED}
    run_quietly("find", mount.path, "-ls")


def test_du_counts_a_shared_table_once(mount):
    inodes = {}
    for where, _, names in os.walk(mount / "data"):
        for name in names:
            found = os.stat(os.path.join(where, name))
            inodes[found.st_ino] = found.st_blocks * 512
    tables = sum(-(-len(content) // 512) * 512
                 for content in (ORDERS, CUSTOMERS, PRICES, JUNE, JULY))
    assert sum(inodes.values()) >= tables
    size = int(run_quietly("du", "-s", "-B1", mount / "data").split()[0])
    assert size == sum(inodes.values())


def test_names_that_are_not_there_are_enoent_each_time(mount):
    for name in ("nothing", ".git", ".Trash-0", "data/nothing", "data/sales/nothing.parquet",
                 "nothing/below", "data/sales/ledger.parquet", "data/_shared"):
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                os.stat(mount / name)
    with pytest.raises(NotADirectoryError):
        os.stat(mount / "data/sales/orders.parquet/below")
    with pytest.raises(OSError) as long:
        os.stat(mount / ("x" * 300))
    assert long.value.errno == errno.ENAMETOOLONG


# --- extended attributes ---

def test_xattrs_say_what_manifest_and_cache_know_of_a_table(mount, stack):
    path = "data/sales/orders.parquet"
    assert mount.path.joinpath(path).read_bytes() == ORDERS
    assert mount.xattr(path, "state") == "resident"
    assert mount.xattr(path, "md5") == md5(ORDERS)
    assert mount.xattr(path, "table_id") in ("in_c-crm_orders", "copy")
    assert mount.xattr(path, "rows") == "1234"
    assert mount.xattr(path, "updated") == UPDATED
    assert mount.xattr(path, "query_mode") == "local"
    assert mount.xattr(path, "references") == str(len(SHARED))
    assert mount.xattr(path, "generation") == (mount / ".agnes/generation").read_text().strip()
    assert stack.folder.name in mount.xattr(path, "source")
    assert getxattr(mount, path, "error") is None


def test_xattrs_of_each_table_are_its_own(mount):
    assert mount.xattr("data/sales/customers.parquet", "table_id") == "customers"
    assert mount.xattr("data/sales/customers.parquet", "md5") == md5(CUSTOMERS)
    assert mount.xattr("data/sales/customers.parquet", "references") == "1"
    assert mount.xattr("data/sales/customers.parquet", "updated") == CUSTOMERS_UPDATED
    assert mount.xattr("data/events/clicks/month=2026-06/data.parquet", "md5") == md5(JUNE)
    assert mount.xattr("data/events/clicks/month=2026-06/data.parquet", "table_id") == "clicks"
    assert mount.xattr("data/events/clicks", "table_id") == "clicks"
    assert getxattr(mount, "memory/finance/bundle.md", "md5") is None
    assert getxattr(mount, "memory/finance/bundle.md", "rows") is None
    assert mount.xattr("memory/finance/bundle.md", "state") == "resident"


def test_a_table_without_md5_is_marked_unverified(agnes, stack):
    stack.add_package("odd", stack.add_table("odd", ODD, md5=DROP, hash=""))
    stack.write()
    with agnes.mount(stack.url) as mount:
        assert (mount / "data/odd/odd.parquet").read_bytes() == ODD
        assert mount.xattr("data/odd/odd.parquet", "state") == "unverified"
        assert getxattr(mount, "data/odd/odd.parquet", "md5") is None


def test_xattrs_are_listed_on_the_root_only(mount):
    listed = set(os.listxattr(mount.path))
    assert {"user.agnes.generation", "user.agnes.source"} <= listed <= XATTRS
    for name in listed:
        assert os.getxattr(mount.path, name)
    for path in all_paths(mount):
        if path != ".":
            assert os.listxattr(mount / path) == [], path


def test_other_xattrs_are_enodata(mount):
    for path in (".", "data", "data/sales/orders.parquet", ".agnes/generation"):
        for name in ("user.agnes.nothing", "user.agnes.", "user.mime_type", "security.selinux"):
            with pytest.raises(OSError) as none:
                os.getxattr(mount / path, name)
            assert none.value.errno in (errno.ENODATA, errno.EOPNOTSUPP), (path, name)
    for name in ("state", "md5", "references", "error", "table_id"):
        assert getxattr(mount, "data", name) is None
        assert getxattr(mount, ".agnes/generation", name) is None


# --- read only ---

def test_every_kind_of_write_is_erofs(mount):
    file, folder = mount / "data/sales/orders.parquet", mount / "data/sales"
    attempts = {
        "open to write": lambda: os.open(file, os.O_WRONLY),
        "open to read and write": lambda: os.open(file, os.O_RDWR),
        "open to append": lambda: open(file, "ab"),
        "open and truncate": lambda: os.open(file, os.O_RDONLY | os.O_TRUNC),
        "create": lambda: os.open(folder / "new", os.O_WRONLY | os.O_CREAT),
        "temporary file": lambda: os.open(folder, os.O_TMPFILE | os.O_RDWR),
        "mkdir": lambda: os.mkdir(folder / "new"),
        "mknod": lambda: os.mkfifo(folder / "new"),
        "unlink": lambda: os.unlink(file),
        "rmdir": lambda: os.rmdir(folder),
        "rename": lambda: os.rename(file, folder / "new"),
        "symlink": lambda: os.symlink("target", folder / "new"),
        "link": lambda: os.link(file, folder / "new"),
        "chmod": lambda: os.chmod(file, 0o644),
        "chown": lambda: os.chown(file, 1, 1),
        "utime": lambda: os.utime(file, (0, 0)),
        "truncate": lambda: os.truncate(file, 0),
        "setxattr": lambda: os.setxattr(file, "user.agnes.state", b"cold"),
        "removexattr": lambda: os.removexattr(file, "user.agnes.state"),
        "chmod of the root": lambda: os.chmod(mount.path, 0o755),
    }
    for what, attempt in attempts.items():
        with pytest.raises(OSError) as refused:
            attempt()
        assert refused.value.errno == errno.EROFS, (what, refused.value)
    assert not os.access(file, os.W_OK) and os.access(file, os.R_OK)
    assert mount.files() == FILES


# --- status ---

def shape(document):
    """The keys of a document, and the types of its values."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    if isinstance(document, list):
        return [shape(value) for value in document[:1]]
    return "number" if isinstance(document, (int, float)) and not isinstance(document, bool) \
        else type(document).__name__


def test_status_json_in_the_mount_is_the_document_of_the_verb(mount):
    mount.files()
    inside = json.loads((mount / ".agnes/status.json").read_text())
    outside = mount.status()
    assert shape(inside) == shape(outside)
    assert inside["generation"] == outside["generation"] == int(mount.xattr(".", "generation"))


def test_status_json_is_the_present_each_time_it_is_opened(mount, stack):
    path = mount / ".agnes/status.json"
    with open(path) as file:
        first = json.load(file)
        stack.add_package("new", stack.add_table("new", raw(b"new")))
        stack.write()
        mount.refresh()
        file.seek(0)
        assert json.load(file) == first, "an open document does not change"
    assert json.loads(path.read_text())["generation"] == first["generation"] + 1
    assert len(path.read_bytes()) <= path.stat().st_size + 64


def test_what_stat_says_of_status_json_is_true_of_what_is_opened_next(mount):
    """Else cp and tar find that it was replaced while they copied it."""
    path = mount / ".agnes/status.json"
    for name in sorted(FILES):
        seen = path.stat()
        assert (mount / name).read_bytes() == FILES[name]  # which changes what it has to say
        with open(path, "rb") as file:
            opened = os.fstat(file.fileno())
            assert (opened.st_ino, opened.st_size) == (seen.st_ino, seen.st_size)
            assert len(file.read()) == seen.st_size


# --- copies ---

def digests(folder):
    return {name: hashlib.sha256(content).hexdigest()
            for name, content in files_below(folder).items() if name.startswith(("data", "memory"))}


def assert_copied(mount, copy):
    expected = digests(mount)
    assert set(FILES) <= set(expected)
    assert digests(copy) == expected
    assert len({os.stat(copy / name).st_ino for name in SHARED}) == 1, "links stay links"
    for name in FILES:
        assert int(os.stat(copy / name).st_mtime) == int((mount / name).stat().st_mtime), name


def test_tar_takes_the_tree_with_its_links(mount, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    archive = tmp_path / "archive.tar"
    run_quietly("tar", "-C", mount.path, "-cf", archive, "data", "memory")
    assert archive.stat().st_size < sum(map(len, FILES.values())) + 40960
    run_quietly("tar", "-C", copy, "-xf", archive)
    assert_copied(mount, copy)


def test_cp_takes_all_of_the_tree_with_its_links(mount, tmp_path):
    copy = tmp_path / "copy"
    run_quietly("cp", "-a", mount.path, copy)
    assert_copied(mount, copy)
    json.loads((copy / ".agnes/status.json").read_text())
    run_quietly("chmod", "-R", "u+w", copy)


def test_rsync_takes_the_tree_with_its_links_and_then_finds_nothing_to_do(mount, tmp_path):
    if not shutil.which("rsync"):
        return  # nothing depends on it
    copy = tmp_path / "copy"
    command = ["rsync", "-aHi", "--exclude=.agnes", f"{mount.path}/", f"{copy}/"]
    run_quietly(*command)
    assert_copied(mount, copy)
    assert run_quietly(*command) == ""


