"""How thorough a test of the label hard is, and with which seed.

    RUNS = amount(standard=1_000, long=50_000)
    SEED = seed()          printed by pytest when the test fails; AGNESFS_SEED=N repeats it
"""

import os
import random

LONG = os.environ.get("AGNESFS_LONG") == "1"


def amount(standard, long):
    return long if LONG else standard


def seed():
    value = int(os.environ.get("AGNESFS_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {value}: repeat with AGNESFS_SEED={value}")
    return value
