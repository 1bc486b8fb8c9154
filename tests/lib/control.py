"""A mount's control socket: what the verbs ask, without starting a process."""

import json
import os
import socket


class Control:
    def __init__(self, mount):
        self.folder = mount.agnes.runtime / "agnesfs"
        names = [path.with_suffix(".sock").name for path in self.folder.glob("*.lock")
                 if path.read_text().splitlines()[1:] == [str(mount.path)]]
        assert len(names) == 1, names
        self.name = names[0]

    def ask(self, verb, **fields):
        folder = os.open(self.folder, os.O_PATH)  # a socket's address has no room for long paths
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(30)
                connection.connect(f"/proc/self/fd/{folder}/{self.name}")
                connection.sendall(json.dumps({"verb": verb} | fields).encode() + b"\n")
                with connection.makefile("rb") as answer:
                    return json.loads(answer.read())
        finally:
            os.close(folder)

    def refresh(self):
        document = self.ask("refresh")
        assert document["exit"] == 0, document
        return document["report"]

    def status(self):
        return self.ask("status")
