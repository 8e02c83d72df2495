"""What all tests share: real peers are looked up once, and the absent ones are named in the closing lines."""

from __future__ import annotations

import os
import shutil

import pytest

# The checks that nothing is left behind, and the virtual clock and network, are for every test.
from tests.leaks import nothing_is_left, pytest_runtest_call, pytest_runtest_makereport  # noqa: F401
from tests.virtual import clock, network  # noqa: F401

PEERS = {"sipp": "sip-tester", "baresip": "baresip-core", "kamailio": "kamailio"}
"""Program of each real peer and the Debian package that brings it."""

_absent: dict[str, int] = {}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose peer is not installed, or fail it where the peers must be there."""
    for mark in item.iter_markers("peer"):
        name = mark.args[0]
        if shutil.which(name) is None:
            _absent[name] = _absent.get(name, 0) + 1
            message = f"{name} is not installed (Debian package {PEERS[name]})"
            if os.environ.get("FLEXOSIP_REQUIRE_PEERS"):
                pytest.fail(message, pytrace=False)
            pytest.skip(message)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the absent peers: a skipped test must not look like a passed one."""
    for name, count in sorted(_absent.items()):
        terminalreporter.write_line(f"absent peer: {name}, {count} tests skipped; to run them: apt-get install {PEERS[name]}", yellow=True)
