"""Count what a ctest run did, each C and each Python test once, and show what failed.

    python3 tests/lib/results.py [--failed-builds N] build/dev ...

The last line is "N passed, N failed"; the exit status is 0 only if something ran and all passed.

ctest knows programs and files; the tests inside are counted from cmocka's output and from
pytest's JUnit files. A program that crashed, timed out or never ran counts as one failed test, and
so does each sanitizer report that a mount left behind.
"""

import argparse
import os
import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

SKIP_IS_FAILURE = os.environ.get("CI") == "true" or os.environ.get("AGNESFS_NO_SKIP") == "1"

PYTEST_FOLDERS = ("e2e", "crash", "fuzz")


class Counts:
    passed = failed = skipped = 0

    def add(self, passed, failed, skipped):
        self.passed += passed
        self.failed += failed + (skipped if SKIP_IS_FAILURE else 0)
        self.skipped += skipped


def cmocka_counts(output):
    def number(word):
        return sum(map(int, re.findall(rf"^\[\s*{word}\s*\] (\d+) test\(s\)", output, re.M)))

    return number("PASSED"), number("FAILED"), number("SKIPPED")


def pytest_counts(junit):
    try:
        cases = list(xml.parse(junit).getroot().iter("testcase"))
    except (OSError, xml.ParseError):
        return 0, 0, 0
    failed = skipped = 0
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
    return len(cases) - failed - skipped, failed, skipped


def count_run(build, counts):
    for case in xml.parse(build / "junit/ctest.xml").getroot().iter("testcase"):
        name, output = case.get("name"), case.findtext("system-out") or ""
        junit = build / f"junit/{name.replace('/', '-')}.xml"
        if name.split("/")[0] in PYTEST_FOLDERS:
            passed, failed, skipped = pytest_counts(junit)
        else:
            passed, failed, skipped = cmocka_counts(output)
        if case.get("status") != "run":
            failed = max(failed, 1)
            print(f"--- {build.name}: {name} failed\n{output.rstrip()}\n")
        elif passed + failed + skipped == 0:
            passed = 1
        counts.add(passed, failed, skipped)
    for report in sorted(build.glob("sanitizer/report*")):
        print(f"--- {build.name}: {report.name}\n{report.read_text(errors='replace')}\n")
        counts.add(0, 1, 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--failed-builds", type=int, default=0)
    parser.add_argument("builds", type=Path, nargs="*")
    arguments = parser.parse_args()

    counts = Counts()
    counts.failed += arguments.failed_builds
    for build in arguments.builds:
        try:
            count_run(build, counts)
        except (OSError, xml.ParseError) as error:
            print(f"--- {build}: no test results: {error}\n")
            counts.failed += 1
    if counts.skipped:
        print(f"{counts.skipped} skipped")
    print(f"{counts.passed} passed, {counts.failed} failed")
    return counts.failed > 0 or counts.passed == 0


if __name__ == "__main__":
    sys.exit(main())
