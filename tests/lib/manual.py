"""What agnesfs says of itself: the tables of the program, and the pages that are made of them.

    tables()              {"keys": [{"name", "variable", "verbs", ...}], "flags": [...], "verbs": [...],
                           "exit_codes": {"0": "ok"}, "errors": {...}, "xattrs": {...}, ...}
    taken_by("mount")     the names of all keys and flags that this verb takes, without dashes
    Page("agnesfs.1")     a page as it will be installed
"""

import functools
import json
import os
import re
import subprocess
from pathlib import Path

from tests.lib.agnesfs import BINARY

BUILD = Path(os.environ.get("AGNESFS_BUILD") or Path(BINARY).parent)
PAGES = ("agnesfs.1", "agnesfs.5", "mount.agnesfs.8")


@functools.cache
def tables():
    run = subprocess.run([BUILD / "agnesfs-docs", "--tables"], capture_output=True, check=True,
                         timeout=60)
    return json.loads(run.stdout)


def names(rows):
    return {row["name"] for row in rows if row["name"]}


def taken_by(verb, rare=True):
    return names(row for row in tables()["keys"] + tables()["flags"]
                 if verb in row["verbs"] and (rare or not row["rare"]))


class Page:
    def __init__(self, name):
        self.path = BUILD / "man" / name
        self.text = self.path.read_text().replace("\\-", "-")

    def section(self, title):
        """What follows .SH TITLE, up to the next."""
        return re.search(rf"^\.SH {title}\n(.*?)(?=^\.SH |\Z)", self.text, re.M | re.S)[1]

    def labels(self, title):
        """The labels of the entries of a section, without fonts."""
        found = re.findall(r"^\.TP\n(.*)$", self.section(title), re.M)
        return [re.sub(r"\\f[A-Z]", "", label) for label in found]
