"""A pytest plugin: where CI=true or AGNESFS_NO_SKIP=1, a skipped test is a failed test.

Loaded with `-p tests.lib.no_skip`. A test that cannot run where it must run proves nothing, and
says so here instead of in a summary nobody reads. An expected failure (xfail) proves no more.
"""

import os

import pytest

ACTIVE = os.environ.get("CI") == "true" or os.environ.get("AGNESFS_NO_SKIP") == "1"


def fail_if_skipped(report):
    if ACTIVE and report.skipped:
        reason = getattr(report, "wasxfail", None) or report.longrepr
        reason = reason[2] if isinstance(reason, tuple) else reason
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped where nothing may be skipped: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return fail_if_skipped((yield))
