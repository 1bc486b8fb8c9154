"""A desktop that nobody looks at: an X server in memory, a session bus, a user with a MIME database.

    with Desktop(tmp_path, "/usr/share/mime/packages/agnesfs.xml") as desktop:
        with Opens(mount / "data/sales") as opens:
            desktop.run("gio", "info", path)           to its end
            desktop.show("thunar", mount / "data/sales")   until its picture stands still
            desktop.save("thunar.png")
        opens.names                                    of files that somebody opened, each time

The user's MIME packages are those given, above those of the system.
"""

import ctypes
import os
import shutil
import signal
import struct
import subprocess
import time
import zlib
from pathlib import Path

import numpy

from tests.lib.agnesfs import wait_for

WIDTH, HEIGHT = 640, 480
STILL_SECONDS = 1.5
IN_OPEN, IN_ISDIR = 0x20, 0x40000000


class Opens:
    """Who opens files of this folder, whichever program it is: `names`, in order."""

    def __init__(self, folder):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        watch = libc.inotify_add_watch(self.fd, os.fsencode(folder), IN_OPEN)
        assert self.fd >= 0 and watch >= 0, os.strerror(ctypes.get_errno())
        self._names = []

    @property
    def names(self):
        while True:
            try:
                events = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return self._names
            at = 0
            while at < len(events):
                _, mask, _, size = struct.unpack_from("iIII", events, at)
                name = events[at + 16:at + 16 + size].rstrip(b"\0").decode()
                if name and not mask & IN_ISDIR:
                    self._names.append(name)
                at += 16 + size

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.close(self.fd)


class Desktop:
    def __init__(self, folder, *mime_packages):
        self.folder = Path(folder)
        self.home = self.folder / "home"
        packages = self.home / ".local/share/mime/packages"
        runtime = self.folder / "run"
        for path in (packages, runtime):
            path.mkdir(parents=True)
        runtime.chmod(0o700)
        for path in mime_packages:
            shutil.copy(path, packages)
        self.env = {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(runtime), "LANG": "C.UTF-8",
                    "PATH": os.environ["PATH"], "NO_AT_BRIDGE": "1", "GDK_BACKEND": "x11",
                    "GTK_THEME": "Adwaita", "XDG_DATA_DIRS": "/usr/local/share:/usr/share"}
        self.processes = []
        self.run("update-mime-database", packages.parent)

    def run(self, *command):
        return subprocess.run(list(map(str, command)), env=self.env, text=True, timeout=60,
                              check=True, capture_output=True).stdout

    def _start(self, *command, **options):
        process = subprocess.Popen(list(map(str, command)), env=self.env, start_new_session=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process

    def __enter__(self):
        reading, writing = os.pipe()
        with open(reading, "rb") as number:
            self._start("Xvfb", "-displayfd", writing, "-screen", "0", f"{WIDTH}x{HEIGHT}x24",
                        "-fbdir", self.folder, "-nolisten", "tcp", pass_fds=[writing])
            os.close(writing)
            display = number.readline().decode().strip()
        assert display, "no X server"
        self.env["DISPLAY"] = f":{display}"
        return self

    def __exit__(self, *error):
        for process in reversed(self.processes):
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(10)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    pass

    def picture(self):
        """What is on the screen: rows of pixels, each red, green and blue."""
        dump = (self.folder / "Xvfb_screen0").read_bytes()
        head = struct.unpack_from(">25I", dump)  # XWDFile.h: sizes, then masks, then colours
        start, width, height, row, colours = head[0], head[4], head[5], head[12], head[19]
        pixels = numpy.frombuffer(dump, numpy.uint8, row * height, start + 12 * colours)
        return pixels.reshape(height, row // 4, 4)[:, :width, 2::-1]

    def show(self, *command):
        """Starts it, and waits until what it shows does not change any more."""
        empty, shown, since = self.picture().tobytes(), None, 0
        self._start("dbus-run-session", "--", *command)

        def stands_still():
            nonlocal shown, since
            now = self.picture().tobytes()
            if now != shown:
                shown, since = now, time.monotonic()
            return now != empty and time.monotonic() - since > STILL_SECONDS

        wait_for(stands_still, 60, f"{command[0]} shows something")

    def save(self, path):
        """The picture as a PNG file, in at most 256 colours."""
        pixels = self.picture().astype(numpy.uint32)
        for bits in range(8):
            packed = pixels >> bits << bits
            colours, places = numpy.unique(
                packed[..., 0] << 16 | packed[..., 1] << 8 | packed[..., 2], return_inverse=True)
            if len(colours) <= 256:
                break
        rows = places.reshape(pixels.shape[:2]).astype(numpy.uint8)
        palette = b"".join(int(colour).to_bytes(3, "big") for colour in colours)
        lines = numpy.insert(rows, 0, 0, axis=1).tobytes()
        head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 8, 3, 0, 0, 0)
        with open(path, "wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n")
            for kind, content in ((b"IHDR", head), (b"PLTE", palette),
                                  (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")):
                file.write(struct.pack(">I", len(content)) + kind + content +
                           struct.pack(">I", zlib.crc32(kind + content)))
