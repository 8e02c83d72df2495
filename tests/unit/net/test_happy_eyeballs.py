"""RFC 8305: families take turns, the next address is tried beside a slow one, the first that connects wins."""

from __future__ import annotations

import asyncio

import pytest

from flexosip.errors import NetworkError
from flexosip.net.address import Address
from flexosip.net.happy_eyeballs import connect_first, interleaved
from flexosip.simulation import VirtualClock

A, B, C, D = ("fd00::1", 5060), ("fd00::2", 5060), ("10.0.0.1", 5060), ("10.0.0.2", 5060)


class Connector:
    """Connects after so many seconds, or fails with an error after them; tells what it was asked."""

    def __init__(self, clock: VirtualClock, **outcomes: float) -> None:
        self.clock = clock
        self.outcomes = outcomes
        self.started: list[tuple[float, Address]] = []
        self.cancelled: list[Address] = []
        self.failed: list[Address] = []

    async def __call__(self, remote: Address) -> Address:
        self.started.append((round(self.clock.time(), 3), remote))
        name = {A: "a", B: "b", C: "c", D: "d"}[remote]
        try:
            await asyncio.sleep(abs(self.outcomes[name]))
        except asyncio.CancelledError:
            self.cancelled.append(remote)
            raise
        if self.outcomes[name] < 0:
            raise NetworkError(f"{name} refuses")
        return remote

    def run(self, *remotes: Address) -> Address:
        async def main() -> Address:
            return await connect_first(remotes, self, lambda remote, error: self.failed.append(remote))

        return self.clock.run(main())


def test_families_take_turns_beginning_with_that_of_the_first() -> None:
    assert interleaved([A, B, C, D]) == [A, C, B, D]
    assert interleaved([C, D, A]) == [C, A, D]
    assert interleaved([]) == []


def test_a_fast_first_address_is_the_only_one_that_is_tried(clock: VirtualClock) -> None:
    connector = Connector(clock, a=0.1)
    assert connector.run(A, C) == A
    assert connector.started == [(0.0, A)]


def test_a_silent_family_costs_a_quarter_of_a_second_and_is_given_up(clock: VirtualClock) -> None:
    connector = Connector(clock, a=100, c=0.05)
    assert connector.run(A, C) == C
    assert clock.time() == pytest.approx(0.3)
    assert connector.cancelled == [A]


def test_a_refusal_starts_the_next_one_at_once(clock: VirtualClock) -> None:
    connector = Connector(clock, a=-0.01, c=0.01)
    assert connector.run(A, C) == C
    assert clock.time() == pytest.approx(0.02)
    assert connector.failed == [A]


def test_a_slow_one_may_still_win(clock: VirtualClock) -> None:
    connector = Connector(clock, a=0.4, c=10)
    assert connector.run(A, C) == A
    assert connector.cancelled == [C]


def test_when_all_fail_the_first_failure_is_told(clock: VirtualClock) -> None:
    connector = Connector(clock, a=-0.5, c=-0.01, b=-0.01)
    with pytest.raises(NetworkError, match="c refuses"):
        connector.run(A, B, C)
    assert set(connector.failed) == {A, B, C}
    with pytest.raises(NetworkError, match="no address"):
        connector.run()


def test_who_gives_up_waiting_ends_all_tries(clock: VirtualClock) -> None:
    connector = Connector(clock, a=100, c=100)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await connect_first((A, C), connector, lambda remote, error: None)

    clock.run(main())
    assert set(connector.cancelled) == {A, C}
