"""Run kill_points and power_cut, and understand what they print.

    found = live("kill_points", folder, "sync", points=5000, seed=1)
    found.points, found.failure, found.last("rename state.tmp")
"""

import json
import os
import subprocess
from pathlib import Path

from tests.lib.effort import LONG

TOOLS = Path(os.environ.get("AGNESFS_BUILD") or
             Path(__file__).resolve().parents[2] / "build/dev") / "tests/crash"
SECONDS = 80_000 if LONG else 300


class Found:
    def __init__(self, document):
        self.document = document
        self.points = document["points"]
        self.armed = document["armed"]
        self.failure = document["failure"]
        self.kinds = document["kinds"]

    def last(self, kind):
        """How often such a call was the last of its process."""
        return self.kinds.get(kind, (0, 0))[1]

    def __repr__(self):
        return f"{self.failure or 'nothing found'}\nrepeat: {self.document['replay']}"


def live(tool, folder, kind, points, seed, lie="none"):
    command = [TOOLS / tool, folder, kind, points, seed, "--lie", lie]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True,
                          timeout=SECONDS, check=False)
    assert done.returncode in (0, 1), f"{command}: exit {done.returncode}"
    found = Found(json.loads(done.stdout))
    assert (found.failure is None) == (done.returncode == 0)
    return found
