"""Network address translation on the virtual network."""

from __future__ import annotations

import asyncio

from flexosip.simulation import VirtualClock, VirtualNetwork
from tests.unit.simulation.test_network import listen


def test_a_host_behind_a_nat_is_seen_with_the_public_address_and_answered_through_it(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        nat = network.nat("203.0.113.1")
        inside, outside = network.host("192.168.1.2", nat=nat), network.host("198.51.100.1")
        phone, heard, _ = await listen(inside)
        server, received, _ = await listen(outside)
        phone.send(b"request", ("198.51.100.1", 5060))
        await asyncio.sleep(1)
        _, _, seen_as, _ = received[0]
        assert seen_as[0] == "203.0.113.1"
        server.send(b"answer", seen_as)
        await asyncio.sleep(1)
        assert [(data, remote, own) for _, data, remote, own in heard] == [(b"answer", ("198.51.100.1", 5060), "192.168.1.2")]
        phone.close()
        server.close()

    clock.run(story())


def test_strangers_do_not_get_in_and_private_addresses_lead_nowhere(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        nat = network.nat("203.0.113.1")
        inside, outside = network.host("192.168.1.2", nat=nat), network.host("198.51.100.1")
        stranger = network.host("198.51.100.2")
        phone, heard, _ = await listen(inside)
        server, received, _ = await listen(outside)
        other, _, _ = await listen(stranger)
        phone.send(b"request", ("198.51.100.1", 5060))
        await asyncio.sleep(1)
        other.send(b"let me in", received[0][2])
        server.send(b"direct", ("192.168.1.2", 5060))
        await asyncio.sleep(1)
        assert not heard
        for endpoint in (phone, server, other):
            endpoint.close()

    clock.run(story())


def test_hosts_behind_the_same_nat_reach_each_other_directly(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        nat = network.nat("203.0.113.1")
        one, two = network.host("192.168.1.2", nat=nat), network.host("192.168.1.3", nat=nat)
        first, _, _ = await listen(one)
        second, heard, _ = await listen(two)
        first.send(b"hello", ("192.168.1.3", 5060))
        await asyncio.sleep(1)
        assert heard[0][2] == ("192.168.1.2", 5060)
        first.close()
        second.close()

    clock.run(story())


def test_a_mapping_dies_of_silence_and_a_restarted_router_gives_another(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        nat = network.nat("203.0.113.1", lifetime=30)
        inside, outside = network.host("192.168.1.2", nat=nat), network.host("198.51.100.1")
        phone, heard, _ = await listen(inside)
        server, received, _ = await listen(outside)

        async def sent_as() -> tuple[str, int]:
            phone.send(b"request", ("198.51.100.1", 5060))
            await asyncio.sleep(1)
            return received[-1][2]

        first = await sent_as()
        assert await sent_as() == first
        await asyncio.sleep(31)
        server.send(b"too late", first)
        await asyncio.sleep(1)
        assert not heard
        second = await sent_as()
        assert second != first
        nat.rebind()
        assert await sent_as() not in (first, second)
        phone.close()
        server.close()

    clock.run(story())


def test_tcp_passes_a_nat_from_inside(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        nat = network.nat("203.0.113.1")
        inside, outside = network.host("192.168.1.2", nat=nat), network.host("198.51.100.1")
        accepted: list[object] = []
        listener = await outside.open_listener("0.0.0.0", 5060, accepted.append)
        connection = await inside.connect("198.51.100.1", 5060)
        [far] = accepted
        assert far.remote[0] == "203.0.113.1"
        heard: list[bytes] = []
        connection.on_data = heard.append
        far.write(b"hello")
        await asyncio.sleep(1)
        assert heard == [b"hello"]
        connection.close()
        listener.close()
        await asyncio.sleep(1)

    clock.run(story())
