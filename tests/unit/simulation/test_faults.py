"""Bursts, queues, partitions, outages, picked packets, kinds of NAT, clocks that drift."""

from __future__ import annotations

import asyncio
from itertools import groupby, pairwise
from typing import Any

import pytest

from flexosip.simulation import LinkSettings, VirtualClock, VirtualNetwork
from flexosip.simulation.link import Link
from tests.unit.simulation.test_network import listen


def losses(count: int = 20_000, **settings: Any) -> list[bool]:
    """Whether each datagram of a link was lost."""
    link = Link(LinkSettings(**settings), "seed")
    return [not link.arrivals(number * 0.02, 200) for number in range(count)]


def test_losses_in_bursts_have_the_length_and_share_that_was_asked_for() -> None:
    lost = losses(burst=0.01, burst_length=8.0)
    runs = [len(list(group)) for is_lost, group in groupby(lost) if is_lost]
    assert sum(runs) / len(runs) == pytest.approx(8.0, rel=0.15)
    assert sum(lost) / len(lost) == pytest.approx(0.01 * 8 / (1 + 0.01 * 8), rel=0.2)
    assert losses(burst=0.01, burst_length=8.0) == lost
    half = losses(burst=0.01, burst_length=8.0, burst_loss=0.5)
    assert sum(half) / sum(lost) == pytest.approx(0.5, rel=0.2)


def test_a_narrow_link_delays_what_waits_and_loses_what_would_wait_too_long() -> None:
    # 200 octets and 28 of headers take 22.8 ms at 80 kbit/s; one comes every 10 ms.
    link = Link(LinkSettings(bandwidth=80_000, queue=0.1, delay=0.0), "seed")
    arrivals = [link.arrivals(number * 0.01, 200) for number in range(100)]
    came = [when[0] for when in arrivals if when]
    assert came[0] == pytest.approx(0.0228)
    assert all(later - earlier == pytest.approx(0.0228, abs=0.0101) for earlier, later in pairwise(came))
    assert max(when[0] - number * 0.01 for number, when in enumerate(arrivals) if when) <= 0.1 + 0.0228 + 1e-9
    assert len(came) == pytest.approx(1.1 / 0.0228, abs=2)
    assert link.segment_arrival(5.0, 1000) == pytest.approx(5.0 + 1028 * 8 / 80_000)


@pytest.mark.parametrize("wrong", [{"burst": 2.0}, {"burst_length": 0.5}, {"bandwidth": -1.0}, {"queue": -0.1}, {"burst_loss": -1.0}])
def test_settings_that_no_link_has_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LinkSettings(**wrong)


def test_nothing_passes_between_the_parts_of_a_divided_network_until_it_heals(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        hosts = [network.host(f"10.0.0.{number}") for number in (1, 2, 3)]
        ends = [await listen(host) for host in hosts]

        async def reached() -> set[str]:
            """Pairs that hear each other."""
            for _, received, _ in ends:
                received.clear()
            for one, (endpoint, _, _) in enumerate(ends, 1):
                for other in (1, 2, 3):
                    endpoint.send(str(one).encode(), (f"10.0.0.{other}", 5060))
            await asyncio.sleep(0.1)
            return {f"{data.decode()}{other}" for other, (_, received, _) in enumerate(ends, 1) for _, data, _, _ in received}

        everything = {f"{one}{other}" for one in "123" for other in "123"}
        assert await reached() == everything
        first = network.partition([hosts[0]], ["10.0.0.2"])
        assert await reached() == everything - {"12", "21"}
        network.partition([hosts[2]])
        assert await reached() == {"11", "22", "33"}
        network.heal(first)
        assert await reached() == {"11", "22", "33", "12", "21"}
        network.heal()
        assert await reached() == everything
        for endpoint, _, _ in ends:
            endpoint.close()

    clock.run(story())


def test_a_stream_waits_for_the_end_of_a_partition(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far = network.host(), network.host()
        got: list[tuple[float, bytes]] = []
        accepted: list[Any] = []
        listener = await far.open_listener(far.addresses[0], 5060, accepted.append)
        connection = await near.connect(far.addresses[0], 5060)
        accepted[0].on_data = lambda data: got.append((clock.now, data))
        network.partition([near])
        connection.write(b"late")
        await asyncio.sleep(10)
        assert got == []
        network.heal()
        await asyncio.sleep(5)
        assert [data for _, data in got] == [b"late"]
        connection.close()
        listener.close()
        await asyncio.sleep(1)

    clock.run(story())


def test_an_outage_begins_and_ends_by_itself_for_all_or_for_one(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far, third = network.host("10.0.0.1"), network.host("10.0.0.2"), network.host("10.0.0.3")
        out, _, _ = await listen(near)
        back, received, _ = await listen(far)
        other, _, _ = await listen(third)
        network.outage(2.0, after=1.0, of=[near])
        network.outage(1.0, after=5.0)
        for second in range(8):
            out.send(b"%d" % second, ("10.0.0.2", 5060))
            other.send(b"other %d" % second, ("10.0.0.2", 5060))
            await asyncio.sleep(1.0)
        heard = [data.decode() for _, data, _, _ in received]
        assert [text for text in heard if len(text) == 1] == ["0", "3", "4", "6", "7"]
        assert [text for text in heard if len(text) > 1] == [f"other {second}" for second in range(8) if second != 5]
        for endpoint in (out, back, other):
            endpoint.close()

    # The second that begins at the very moment of a packet: who is first is told by the order of the calls.
    clock.run(asyncio.sleep(0.5))
    clock.run(story())


def test_single_packets_are_lost_for_what_is_in_them(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far = network.host(), network.host()
        out, _, _ = await listen(near)
        back, received, _ = await listen(far)
        third = network.drop("REGISTER", nth=3)
        network.drop("200", nth=(1, 2))
        network.drop(b"secret")
        big = network.drop(lambda packet: len(packet.data) > 100)
        texts = [b"REGISTER %d" % number for number in range(1, 6)] + [b"SIP/2.0 200 %d" % number for number in range(1, 4)]
        for text in [*texts, b"a secret", b"x" * 101, b"REGISTERED"]:
            out.send(text, (far.addresses[0], 5060))
        await asyncio.sleep(1)
        assert [data for _, data, _, _ in received] == [*texts[:2], *texts[3:5], texts[7], b"REGISTERED"]
        assert third.seen == 5 and [packet.data for packet in third.packets] == [b"REGISTER 3"] and len(big.packets) == 1
        out.close()
        back.close()

    clock.run(story())


@pytest.mark.parametrize(
    ("kind", "let_in", "mappings"),
    [
        ("full-cone", {"server", "server's other port", "stranger"}, 1),
        ("restricted", {"server", "server's other port"}, 1),
        ("port-restricted", {"server"}, 1),
        ("symmetric", {"server"}, 2),
    ],
)
def test_each_kind_of_nat_lets_in_whom_it_should(
    clock: VirtualClock, network: VirtualNetwork, kind: str, let_in: set[str], mappings: int
) -> None:
    async def story() -> None:
        nat = network.nat("203.0.113.1", kind=kind)
        inside = network.host("192.168.1.2", nat=nat)
        server, stranger, second = network.host("198.51.100.1"), network.host("198.51.100.2"), network.host("198.51.100.3")
        phone, heard, _ = await listen(inside)
        at_server, seen, _ = await listen(server)
        other_port, _, _ = await listen(server, port=5070)
        at_stranger, _, _ = await listen(stranger)
        at_second, seen_second, _ = await listen(second)
        phone.send(b"out", ("198.51.100.1", 5060))
        phone.send(b"out", ("198.51.100.3", 5060))
        await asyncio.sleep(1)
        public = seen[0][2]
        assert len({public, seen_second[0][2]}) == mappings
        at_server.send(b"server", public)
        other_port.send(b"server's other port", public)
        at_stranger.send(b"stranger", public)
        await asyncio.sleep(1)
        assert {data.decode() for _, data, _, _ in heard} == let_in
        for endpoint in (phone, at_server, other_port, at_stranger, at_second):
            endpoint.close()

    clock.run(story())


@pytest.mark.parametrize(("refresh", "reached"), [(False, 1), (True, 4)])
def test_a_mapping_ends_when_it_was_not_used_from_inside_or_also_from_outside(
    clock: VirtualClock, network: VirtualNetwork, refresh: bool, reached: int
) -> None:
    async def story() -> None:
        nat = network.nat("203.0.113.1", lifetime=30.0, inbound_refresh=refresh)
        inside, server = network.host("192.168.1.2", nat=nat), network.host("198.51.100.1")
        phone, heard, _ = await listen(inside)
        at_server, seen, _ = await listen(server)
        phone.send(b"out", ("198.51.100.1", 5060))
        for _ in range(4):
            await asyncio.sleep(20)
            at_server.send(b"in", seen[0][2])
        await asyncio.sleep(1)
        assert len(heard) == reached
        phone.send(b"again", ("198.51.100.1", 5060))
        await asyncio.sleep(1)
        assert (seen[1][2] == seen[0][2]) is refresh
        phone.close()
        at_server.close()

    clock.run(story())


@pytest.mark.parametrize("hairpin", [True, False])
def test_hosts_behind_one_router_meet_at_its_public_address_if_it_hairpins(
    clock: VirtualClock, network: VirtualNetwork, hairpin: bool
) -> None:
    async def story() -> None:
        nat = network.nat("203.0.113.1", kind="full-cone", hairpin=hairpin)
        one, two, server = network.host("192.168.1.2", nat=nat), network.host("192.168.1.3", nat=nat), network.host("198.51.100.1")
        first, _, _ = await listen(one)
        second, heard, _ = await listen(two)
        at_server, seen, _ = await listen(server)
        second.send(b"here I am", ("198.51.100.1", 5060))
        await asyncio.sleep(1)
        first.send(b"hello", seen[0][2])
        await asyncio.sleep(1)
        assert [(data, remote[0]) for _, data, remote, _ in heard] == ([(b"hello", "203.0.113.1")] if hairpin else [])
        for endpoint in (first, second, at_server):
            endpoint.close()

    clock.run(story())


def test_an_unknown_kind_of_nat_is_refused(network: VirtualNetwork) -> None:
    with pytest.raises(ValueError, match="full-cone, restricted, port-restricted, symmetric"):
        network.nat("203.0.113.1", kind="asymmetric")


def test_the_clock_of_a_machine_goes_fast_or_slow_from_when_it_is_told(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        host = network.host()
        await asyncio.sleep(10)
        assert host.time() == 10.0
        host.drift = 0.01
        assert host.time() == 10.0
        await asyncio.sleep(100)
        assert host.time() == pytest.approx(111.0)
        called: list[float] = []
        host.call_at(112.01, lambda: called.append(host.time()))
        await asyncio.sleep(0.99)
        assert called == []
        await asyncio.sleep(0.02)
        assert called == [pytest.approx(112.01)] and called[0] >= 112.01
        host.drift = 0.0
        before = host.time()
        await asyncio.sleep(5)
        assert host.time() == pytest.approx(before + 5)
        with pytest.raises(ValueError, match="drift"):
            host.drift = 3.0

    clock.run(story())
