"""The PBX of example.org and its phones, in virtual time with real TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexosip.simulation import VirtualClock, VirtualNetwork
from tests.network.company import Company


@pytest.fixture
def company(clock: VirtualClock, network: VirtualNetwork, tmp_path: Path) -> Company:
    """See `Company`."""
    return Company(clock, network, tmp_path)
