"""The virtual clock and network as fixtures: `clock.run(story())` takes no real time, and loss comes from a seed."""

from __future__ import annotations

import pytest

from flexosip.simulation import VirtualClock, VirtualNetwork

__all__ = ["clock", "network"]


@pytest.fixture
def clock() -> VirtualClock:
    """Time that jumps; run coroutines with `clock.run(...)` in a plain test function."""
    return VirtualClock()


@pytest.fixture
def network(clock: VirtualClock) -> VirtualNetwork:
    """A perfect network of 10 ms delay on `clock`; `network.change(loss=0.2)` makes it worse."""
    return VirtualNetwork(clock)
