"""What all tests share: checks that nothing is left behind, and absent peers named in the closing lines."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.interop.absent import absence_of, is_required

# The checks that nothing is left behind, and the virtual clock and network, are for every test.
from tests.leaks import nothing_is_left, pytest_runtest_call, pytest_runtest_makereport  # noqa: F401
from tests.virtual import clock, network  # noqa: F401

# Where a machine judges, the same commit gets the same verdict; at a desk every run looks elsewhere.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose peer is not installed, or fail it where the peers must be there."""
    for mark in item.iter_markers("peer"):
        message = absence_of(mark.args[0])
        if message is not None:
            if is_required(mark.args[0]):
                pytest.fail(message, pytrace=False)
            pytest.skip(message)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was absent: a skipped test must not look like a passed one."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if "/corpus/" in reason:
            reason = "the collected messages and packets beside the project (../shared/corpus) are absent"
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"skipped: {count} tests, {reason}", yellow=True)
