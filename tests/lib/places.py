"""File systems of a test's own. Making them needs root.

    with cache_in_memory(agnes):                  nothing waits for a disk; gone afterwards
"""

import contextlib
import subprocess


@contextlib.contextmanager
def cache_in_memory(agnes, size="512m"):
    agnes.cache_home.mkdir(mode=0o700, parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "agnesfs-test",
                    agnes.cache_home], check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", agnes.cache_home], check=True, timeout=60)
