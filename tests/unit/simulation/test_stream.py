"""TCP on the virtual network: in order and complete, refused, reset, stalled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip.errors import NetworkError
from flexosip.simulation import VirtualClock, VirtualHost, VirtualNetwork
from flexosip.simulation.stream import VirtualConnection, VirtualListener


class Pair:
    """A connection with both ends recorded."""

    def __init__(self, near: VirtualConnection, far: VirtualConnection, listener: VirtualListener) -> None:
        self.near, self.far, self.listener = near, far, listener
        self.near_heard, self.far_heard = bytearray(), bytearray()
        self.near_lost: list[Exception | None] = []
        self.far_lost: list[Exception | None] = []
        near.on_data, far.on_data = self.near_heard.extend, self.far_heard.extend
        near.on_lost, far.on_lost = self.near_lost.append, self.far_lost.append

    def close(self) -> None:
        self.near.abort()
        self.far.abort()
        self.listener.close()


async def connected(network: VirtualNetwork) -> tuple[Pair, VirtualHost, VirtualHost]:
    near, far = network.host(), network.host()
    accepted: list[Any] = []
    listener = await far.open_listener("0.0.0.0", 5060, accepted.append)
    connection = await near.connect(far.addresses[0], 5060)
    return Pair(connection, accepted[0], listener), near, far


def test_data_arrive_in_order_and_complete_over_a_bad_link(clock: VirtualClock) -> None:
    network = VirtualNetwork(clock, loss=0.3, jitter=0.05, seed=4)
    data = b"".join(b"%06d" % number for number in range(20000))

    async def story() -> None:
        pair, _, _ = await connected(network)
        pair.near.write(data)
        await asyncio.sleep(600)
        assert pair.far_heard == data
        pair.close()
        await asyncio.sleep(1)

    clock.run(story())


def test_connecting_takes_a_round_trip(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        pair, near, _ = await connected(network)
        assert clock.time() == pytest.approx(0.02)
        assert pair.far.remote == pair.near.local
        assert pair.far.local == pair.near.remote
        assert pair.near.local[0] == near.addresses[0]
        pair.close()
        await asyncio.sleep(1)

    clock.run(story())


def test_a_closed_port_refuses(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        far = network.host()
        with pytest.raises(NetworkError, match="refuses"):
            await network.host().connect(far.addresses[0], 5060)

    clock.run(story())


def test_where_nobody_lives_connecting_waits_until_it_times_out(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        with pytest.raises(TimeoutError):
            await network.host().connect("10.9.9.9", 5060)
        assert clock.time() == pytest.approx(127, abs=1)

    clock.run(story())


def test_closing_delivers_what_was_written_and_ends_both_sides(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        pair, _, _ = await connected(network)
        pair.near.write(b"last words")
        pair.near.close()
        pair.near.write(b"too late")
        await asyncio.sleep(1)
        assert pair.far_heard == b"last words"
        assert pair.near_lost == [None]
        assert pair.far_lost == [None]
        pair.listener.close()

    clock.run(story())


def test_aborting_resets_the_other_side(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        pair, _, _ = await connected(network)
        pair.near.abort()
        assert not pair.near_lost  # never inside the call
        await asyncio.sleep(1)
        assert pair.near_lost == [None]
        assert isinstance(pair.far_lost[0], ConnectionResetError)
        pair.listener.close()

    clock.run(story())


def test_all_streams_can_be_reset(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        pair, _, _ = await connected(network)
        network.reset_streams()
        await asyncio.sleep(1)
        assert isinstance(pair.near_lost[0], ConnectionResetError)
        assert isinstance(pair.far_lost[0], ConnectionResetError)
        pair.listener.close()

    clock.run(story())


def test_a_cut_link_stalls_the_stream_until_it_is_mended(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        pair, near, far = await connected(network)
        network.link(near, far, loss=1.0)
        pair.near.write(b"one ")
        pair.near.write(b"two")
        await asyncio.sleep(60)
        assert not pair.far_heard
        network.link(near, far, loss=0.0)
        await asyncio.sleep(2)
        assert pair.far_heard == b"one two"
        pair.close()
        await asyncio.sleep(1)

    clock.run(story())


def test_data_that_are_never_acknowledged_end_the_connection(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        pair, _, far = await connected(network)
        far.plugged = False
        pair.near.write(b"anybody there?")
        await asyncio.sleep(1000)
        assert isinstance(pair.near_lost[0], TimeoutError)
        pair.close()
        await asyncio.sleep(1)

    clock.run(story())


def test_what_came_before_somebody_listens_waits(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far = network.host(), network.host()
        accepted: list[Any] = []
        listener = await far.open_listener("0.0.0.0", 5060, accepted.append)
        connection = await near.connect(far.addresses[0], 5060)
        connection.write(b"early")
        await asyncio.sleep(1)
        heard: list[bytes] = []
        accepted[0].on_data = heard.append
        assert heard == [b"early"]
        connection.close()
        listener.close()
        await asyncio.sleep(1)

    clock.run(story())


def test_large_data_come_in_segments(clock: VirtualClock) -> None:
    network = VirtualNetwork(clock, segment=7)

    async def story() -> None:
        pair, _, _ = await connected(network)
        pieces: list[bytes] = []
        pair.far.on_data = pieces.append
        pair.near.write(b"0123456789abcdef")
        await asyncio.sleep(1)
        assert pieces == [b"0123456", b"789abcd", b"ef"]
        pair.close()
        await asyncio.sleep(1)

    clock.run(story())
