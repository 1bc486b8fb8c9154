"""A mount to which a history happens, compared at every step with what the model says.

    world = World(agnes)
    world.run(history)       Mismatch: where the mount and the model differ
    world.end()

One mount serves many histories: each has contents of its own, so nothing of the one before is in the
cache, and what is listed is withdrawn before it begins.
"""

import ctypes
import errno
import mmap
import os
import signal
from pathlib import Path

from tests.lib.agnesfs import Cache, wait_for
from tests.lib.control import Control
from tests.lib.histories import ALWAYS, SLOTS, Model
from tests.lib.stack import Stack

GONE = (errno.ENOENT, errno.ESTALE)
MS_REMOUNT_AS_IT_IS = 32 | 1 | 2 | 4  # MS_REMOUNT, and RDONLY, NOSUID, NODEV
PAGE = 4096
libc = ctypes.CDLL(None, use_errno=True)


class Mismatch(Exception):
    """What the mount did is not what the model says."""


def expect(what, found, wanted):
    if found != wanted:
        raise Mismatch(f"{what}: {found!r} instead of {wanted!r}")


def outcome(call, *arguments, **named):
    """What a system call answers: its value, or its errno as a negative number."""
    try:
        return call(*arguments, **named)
    except OSError as error:
        return -error.errno


def shown(names):
    """Without what agnesfs generates and what is always there, so that no section is empty."""
    return names if isinstance(names, int) else set(names) - {"README.md", "always", "_direct", "anchor.parquet"}


def has_ended(pid):
    """Even where nobody reaps it: a zombie has no open files."""
    return not isinstance(outcome(os.listdir, f"/proc/{pid}/fd"), list) or \
        not os.listdir(f"/proc/{pid}/fd")


def others_see(mountpoint):
    for file in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if f" {mountpoint} " in file.read_text():
                return True
        except OSError:
            pass
    return False


class Handle:
    def __init__(self, fd, path, key=None, sure=None):
        self.fd, self.path = fd, path
        self.key = key  # of a file
        self.sure = sure  # has the mount opened the bytes for it? True, False, None
        self.listed = None  # of a folder: what was last seen in it


class World:
    histories = 0  # of all worlds: the contents of each are its own

    def __init__(self, agnes, model=Model):
        self.agnes, self.make_model = agnes, model
        self.stack = Stack(agnes.folder / "stack")
        self.counts = {}
        self.generation = None
        self.handles = [None] * SLOTS
        self.model = model(0)
        self.model.publish(self.stack)
        self.mount()

    # --- the mount ---

    def mount(self):
        self.at = self.agnes.mount(self.stack.url, "prefetch=none")
        self.control = Control(self.at)
        self.root = str(self.at.path)
        self.pid = self.control.status()["pid"]

    def begin(self):
        """Another history begins."""
        self.close_all()
        World.histories += 1
        self.model = self.make_model(World.histories)
        self.inos, self.times = {}, {}
        self.sync([])

    def end(self):
        self.umount()

    def run(self, history):
        self.begin()
        for number, (name, *arguments) in enumerate(history):
            try:
                getattr(self, name)(*arguments)
            except (Mismatch, OSError) as error:
                raise Mismatch(f"operation {number}, {name}{tuple(arguments)}: {error}") from None
            self.counts[name] = self.counts.get(name, 0) + 1

    def mismatch(self, history):
        """The same, as an answer; as far as can be, the histories before are forgotten."""
        self.close_all()
        self.forget()
        try:
            self.run(history)
        except Mismatch as error:
            return error
        return None

    def path(self, path):
        return f"{self.root}/{path}"

    # --- what is asked of names ---

    def stat(self, path, **where):
        key = self.model.names.get(path)
        found = outcome(os.stat, self.path(path), **where)
        if key is None:
            expect("stat", found, -errno.ENOENT)
        else:
            self.check_stat(path, key, found)

    def check_stat(self, path, key, found):
        if not isinstance(found, os.stat_result):
            raise Mismatch(f"{path}: errno {-found}")
        expect(f"{path}: size", found.st_size, self.model.size(key))
        expect(f"{path}: links", found.st_nlink, self.model.references(key))
        expect(f"{path}: inode", found.st_ino, self.inos.setdefault(key, found.st_ino))
        if len(set(self.inos.values())) != len(self.inos):
            raise Mismatch(f"{path}: another content has the same inode {found.st_ino}")
        if key[0] == "table":
            expect(f"{path}: time", found.st_mtime, self.model.updated(key[1]).timestamp())

    def xattrs(self, path):
        self.check_xattrs(self.path(path), self.model.names.get(path))

    def check_xattrs(self, file, key):
        def value(name):
            found = outcome(os.getxattr, file, f"user.agnes.{name}")
            return found.decode() if isinstance(found, bytes) else found

        if key is None:
            expect("references", value("references"), -errno.ENOENT)
            return
        expect("references", value("references"), str(self.model.references(key)))
        expect("generation", value("generation"), str(self.generation))
        state = value("state")
        if state not in ("cold", "resident"):
            raise Mismatch(f"state: {state!r}")
        resident = self.model.resident[key]
        if resident is None:
            self.model.note(key, state == "resident")
        else:
            expect("state", state, "resident" if resident else "cold")
        if key[0] == "table" and self.model.references(key):
            first = min(path.split("/") for path in self.model.names if self.model.names[path] == key)
            expect("table_id", value("table_id"), first[-1].removesuffix(".parquet"))

    def list(self, folder):
        found = outcome(os.listdir, self.path(folder))
        if folder in self.model.folders:
            expect(folder, shown(found), self.model.listing(folder))
        else:
            expect(folder, found, -errno.ENOENT)

    def list_long(self, folder):
        """As `ls -l` does it."""
        if folder not in self.model.folders:
            return self.list(folder)
        with os.scandir(self.path(folder)) as entries:
            found = {entry.name: entry.stat() for entry in entries}
        expect(folder, shown(found), self.model.listing(folder))
        for name in shown(found):
            key = self.model.names.get(f"{folder}/{name}")
            if key:
                self.check_stat(f"{folder}/{name}", key, found[name])

    def look_up_much(self):
        """The kernel's counts go up by a few hundred for each name."""
        for _ in range(20):
            for path in [*self.model.names, "data/none", "data/p0/none.parquet"]:
                outcome(os.stat, self.path(path))
            for folder in self.model.folders:
                outcome(os.listdir, self.path(folder))

    def generation_is(self):
        found = Path(self.path(".agnes/generation")).read_text()
        expect("generation", found, f"{self.generation}\n")

    # --- open files ---

    def open(self, slot, path):
        self.close(slot)
        key = self.model.names.get(path)
        fd = outcome(os.open, self.path(path), os.O_RDONLY)
        if fd >= 0:
            self.handles[slot] = Handle(fd, path, key or ("none",), self.model.resident.get(key))
        expect("open", min(fd, 0), 0 if key else -errno.ENOENT)

    def file(self, slot):
        handle = self.handles[slot]
        return handle if handle and handle.key else None

    def close(self, slot):
        if self.handles[slot]:
            os.close(self.handles[slot].fd)
            self.handles[slot] = None

    def close_all(self):
        for slot in range(SLOTS):
            self.close(slot)

    def read(self, slot, offset, size):
        handle = self.file(slot)
        if not handle:
            return
        key = self.model.seen_by_handle(handle.path, handle.key)
        wanted = self.model.bytes(key)[offset:offset + size]
        found = outcome(os.pread, handle.fd, size, offset)
        if found == -errno.ESTALE and not self.must_read(handle):
            return
        if found != wanted:
            raise Mismatch(f"read: {found if isinstance(found, int) else found[:60]!r} instead of "
                           f"{len(wanted)} bytes {wanted[:60]!r}")
        self.note_read(handle, wanted)

    def must_read(self, handle):
        return handle.sure or handle.key in self.model.names.values()

    def note_read(self, handle, found):
        """It is here now, unless it was not asked for because the kernel had its pages."""
        if found and self.must_read(handle) and not handle.sure:
            if handle.key not in self.model.read:
                handle.sure = True
                self.model.note(handle.key, True)
            elif not self.model.resident[handle.key]:
                handle.sure = None
                self.model.note(handle.key, None)
        self.model.read.add(handle.key)

    def map(self, slot):
        handle = self.file(slot)
        if not handle or not self.must_read(handle):
            return  # it would be a SIGBUS
        wanted = self.model.bytes(self.model.seen_by_handle(handle.path, handle.key))
        with mmap.mmap(handle.fd, 0, prot=mmap.PROT_READ) as mapped:
            found = mapped[:]
        if found != wanted:
            raise Mismatch(f"map: {found[:60]!r} instead of {wanted[:60]!r}")
        self.note_read(handle, wanted)

    def look_at_open(self, slot):
        handle = self.file(slot)
        if handle:
            self.check_stat(handle.path, handle.key, os.fstat(handle.fd))
            if handle.key in self.model.names.values():
                self.check_xattrs(handle.fd, handle.key)

    # --- open folders ---

    def open_folder(self, slot, folder):
        self.close(slot)
        fd = outcome(os.open, self.path(folder), os.O_RDONLY | os.O_DIRECTORY)
        if fd >= 0:
            self.handles[slot] = Handle(fd, folder)
            self.handles[slot].listed = self.model.listing(folder)
        expect("open", min(fd, 0), 0 if folder in self.model.folders else -errno.ENOENT)

    def folder(self, slot):
        handle = self.handles[slot]
        return handle if handle and not handle.key else None

    def list_open(self, slot):
        handle = self.folder(slot)
        if not handle:
            return
        found = shown(outcome(os.listdir, handle.fd))
        if handle.path in self.model.folders:
            expect(handle.path, found, self.model.listing(handle.path))
            handle.listed = found
        elif found not in (set(), handle.listed, *[-gone for gone in GONE]):
            raise Mismatch(f"{handle.path}, withdrawn: {found!r}, and it was {handle.listed!r}")

    def stat_at(self, slot, name):
        handle = self.folder(slot)
        if not handle:
            return
        key = self.model.names.get(f"{handle.path}/{name}")
        found = outcome(os.stat, name, dir_fd=handle.fd)
        if key:
            self.check_stat(f"{handle.path}/{name}", key, found)
        elif found not in [-gone for gone in GONE]:
            raise Mismatch(f"{name} in {handle.path}: {found!r}")

    # --- what happens to the mount ---

    def sync(self, changes):
        before = self.model.names
        for kind, *arguments in changes:
            self.model.change(kind, *arguments)
        self.model.publish(self.stack)
        report = self.control.refresh()
        expect("violations", report["invariant_violations"], [])
        generation = report["generation"]
        if before != self.model.names:
            expect("generation", generation, self.generation + 1)
        self.generation = generation

    def forget(self):
        """The kernel drops the names and inodes that nobody uses, of this file system alone."""
        if libc.mount(None, self.root.encode(), None, MS_REMOUNT_AS_IT_IS, None) < 0:
            raise OSError(ctypes.get_errno(), "remount")

    def files_open(self):
        return sum(1 for handle in self.handles if handle and handle.key)

    def released(self):
        """close() does not wait until the mount has heard of it."""
        wait_for(lambda: self.control.status()["mount"]["open_files"] == self.files_open(),
                 what="all files closed that are")

    def evict(self):
        """Everything that may go, if it can be told what that is: nothing is open."""
        self.released()
        self.control.ask("prune", argument="1")
        kept = {handle.key for handle in self.handles if handle and handle.key}
        for key in set(self.model.names.values()) - kept:
            self.model.note(key, None if kept and self.model.resident[key] is not False else False)

    def lose(self, path):
        """Somebody deletes it behind the mount's back."""
        key = self.model.names.get(path)
        if key and key[0] == "table":
            Cache(self.agnes.cache().root).blob(self.model.bytes(key)).unlink(missing_ok=True)
            self.model.doubt([key])

    def restart(self):
        self.umount()
        self.mount_again()

    def umount(self):
        """A mount namespace that somebody made meanwhile has it mounted too, and keeps it alive."""
        self.close_all()
        result = self.at.umount(expect=None)
        if result.code != 0:
            if not others_see(self.root):
                raise Mismatch(f"umount: {result!r}")
            os.kill(self.pid, signal.SIGTERM)
            wait_for(lambda: has_ended(self.pid), what="its end")

    def mount_again(self):
        self.mount()
        self.model.read.clear()
        self.model.publish(self.stack)  # a mount looks for news as it begins

    def kill(self):
        """Nothing is lost; but it is all to be verified before it is believed."""
        self.close_all()
        os.kill(self.pid, signal.SIGKILL)
        wait_for(lambda: has_ended(self.pid), what="its end")
        self.agnes.run("umount", self.root, "--lazy", expect=None)
        self.model.doubt(list(self.model.resident))
        self.mount_again()

    # --- between histories ---

    def balance(self):
        """What nobody uses, neither the kernel's counts nor the cache hold on to."""
        self.close_all()
        self.released()
        self.forget()
        wait_for(lambda: self.control.status()["mount"]["lookups"] == 1, what="all forgotten")
        listed = {self.model.bytes(key): key for key in self.model.names.values()}
        expect("inodes", self.control.status()["mount"]["inodes"], 1 + len(listed) + len(ALWAYS))
        cache = self.agnes.cache()
        wait_for(lambda: set(cache.contents()) <= {*listed, *ALWAYS}, what="old blobs gone")
        missing = [key for content, key in listed.items()
                   if self.model.resident[key] and content not in cache.contents()]
        expect("missing in the cache", missing, [])
