"""How thorough a test of the label hard is, and with which seed.

    RUNS = amount(standard=1_000, long=50_000)
    within(2)              a deadline of 2 s, for a machine that has nothing else to do
    SEED = seed()          printed by pytest when the test fails; AGNESFS_SEED=N repeats it
"""

import os
import random

LONG = os.environ.get("AGNESFS_LONG") == "1"


def amount(standard, long):
    return long if LONG else standard


def within(seconds):
    """As much longer as others take of the machine."""
    return seconds * max(1, os.getloadavg()[0] / os.cpu_count())


def seed():
    value = int(os.environ.get("AGNESFS_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {value}: repeat with AGNESFS_SEED={value}")
    return value
