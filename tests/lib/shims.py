"""What is put between agnesfs and the C library for a test: tests/crash/*.c.

    agnes.env |= preload("no_lock")               whatever this instance starts from now on
"""

import os
from pathlib import Path

from tests.lib.agnesfs import BINARY


def preload(name, **variables):
    build = Path(os.environ.get("AGNESFS_BUILD") or Path(BINARY).parent)
    shim = build / f"tests/crash/{name}.so"
    assert shim.is_file(), f"{shim}: not built"
    asan = os.environ.get("ASAN_OPTIONS", "")
    return {"LD_PRELOAD": str(shim), "ASAN_OPTIONS": f"{asan}:verify_asan_link_order=0",
            **{key: str(value) for key, value in variables.items()}}
