"""A network and name service of a test's own, in which every address is this machine.

    with PrivateNetwork(folder) as network:
        network.names["store.test"] = ["10.0.0.1", "::1"]     a list of lists: one answer after the other
        network.modes["store.test"] = "silent"                or "nxdomain", "servfail"
        network.asked["store.test"]                           how often
        network.own_all_addresses()

Whoever listens on 0.0.0.0 or :: there is reached under any address that can be connected to at all.
What is mounted in it is seen by its own threads and processes only. It is left at the end, so it may
be used in one test of many; but only from the main thread, before others are made. Needs root.
"""

import collections
import ctypes
import ipaddress
import os
import re
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

NEW_NETWORK, NEW_MOUNTS, OWN_FOLDER = 0x40000000, 0x00020000, 0x00000200  # CLONE_FS
DETACH = 2
SPACES = ("net", "mnt")
A, AAAA = 1, 28


def checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def run(*command):
    subprocess.run(command, check=True, capture_output=True, timeout=60)


class PrivateNetwork:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.names = {}
        self.modes = {}
        self.asked = collections.Counter()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._ended = False

    def __enter__(self):
        self._cwd = os.getcwd()
        self._outside = [os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY) for name in SPACES]
        checked(self._libc.unshare(NEW_NETWORK | NEW_MOUNTS))
        run("mount", "--make-rprivate", "/")
        self._let_go()
        run("ip", "link", "set", "lo", "up")
        resolver = self.folder / "resolv.conf"
        resolver.write_text("nameserver 127.0.0.1\n")
        run("mount", "--bind", str(resolver), os.path.realpath("/etc/resolv.conf"))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._ended = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", 53))
        self._thread.join(5)
        self._socket.close()
        checked(self._libc.unshare(OWN_FOLDER))  # not shared with threads that are still ending
        for space in self._outside:
            checked(self._libc.setns(space, 0))
            os.close(space)
        os.chdir(self._cwd)

    def _let_go(self):
        """What others have mounted would stay mounted here when they unmount it."""
        mounts = [line.split() for line in
                  Path("/proc/thread-self/mountinfo").read_text().splitlines()]
        for fields in reversed(mounts):
            path = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
            kind = fields[fields.index("-") + 1]
            if kind.startswith("fuse") or Path(tempfile.gettempdir()) in Path(path).parents:
                self._libc.umount2(os.fsencode(path), DETACH)

    @staticmethod
    def own_all_addresses():
        run("ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo")
        run("ip", "-6", "route", "add", "local", "::/0", "dev", "lo")

    # --- names ---

    def _serve(self):
        while True:
            query, sender = self._socket.recvfrom(4096)
            if self._ended:
                return
            if reply := self._reply(query):
                self._socket.sendto(reply, sender)

    @staticmethod
    def _question(query):
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1:at + 1 + length].decode("ascii", "replace").lower())
            at += 1 + length
        return ".".join(labels), struct.unpack(">H", query[at + 1:at + 3])[0], at + 5

    def _reply(self, query):
        name, kind, end = self._question(query)
        self.asked[name] += kind == A
        mode = self.modes.get(name, "answer" if name in self.names else "nxdomain")
        if mode == "silent":
            return None
        known = mode == "answer"
        code = {"answer": 0, "servfail": 2, "nxdomain": 3}[mode]
        found = [ipaddress.ip_address(text) for text in self._addresses(name, kind)] if known else []
        found = [address.packed for address in found if (address.version == 4) == (kind == A)]
        head = query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(found), 0, 0)
        return head + query[12:end] + b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(packed)) + packed
            for packed in found)

    def _addresses(self, name, kind):
        listed = self.names[name]
        if not listed or isinstance(listed[0], str):
            return listed
        turn = min(max(self.asked[name] - (kind == A), 0), len(listed) - 1)
        return listed[turn]
