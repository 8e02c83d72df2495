"""The driver: sockets, flows of datagrams, and the one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flexosip.errors import ConfigurationError, NetworkError
from flexosip.simulation import VirtualClock, VirtualNetwork
from flexosip.sip.flow import Flow
from tests.unit.net.sip_peer import SipPeer, message

Story = Callable[[SipPeer, SipPeer], Awaitable[None]]


def two_peers(clock: VirtualClock, network: VirtualNetwork, story: Story) -> None:
    """Run `story` with two listening drivers at 10.0.0.1 and 10.0.0.2, port 5060, and close them."""

    async def run() -> None:
        near, far = SipPeer(network.host("10.0.0.1", "fd00::1")), SipPeer(network.host("10.0.0.2", "fd00::2"))
        for peer in (near, far):
            await peer.driver.listen(["0.0.0.0:5060", "[::]:5060"])
        try:
            await story(near, far)
        finally:
            await near.driver.close()
            await far.driver.close()

    clock.run(run())


# -- listening ---------------------------------------------------------------------------------------------------------


def test_udp_and_tcp_of_both_families_share_one_port(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        peer = SipPeer(network.host("10.0.0.1", "fd00::1"))
        addresses = await peer.driver.listen()
        assert [str(address).rpartition(":")[0] for address in addresses] == ["udp:0.0.0.0", "udp:[::]", "tcp:0.0.0.0", "tcp:[::]"]
        assert len({address.port for address in addresses}) == 1
        assert addresses[0].port != 0
        await peer.driver.close()
        assert not peer.driver.addresses

    clock.run(story())


@pytest.mark.parametrize(("ip", "host"), [("10.0.0.1", "0.0.0.0"), ("fd00::1", "::")])
def test_by_default_a_missing_address_family_is_left_out(clock: VirtualClock, network: VirtualNetwork, ip: str, host: str) -> None:
    async def story() -> None:
        peer = SipPeer(network.host(ip))
        assert {address.host for address in await peer.driver.listen()} == {host}
        await peer.driver.close()

    clock.run(story())


def test_an_address_family_that_was_asked_for_must_be_there(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        peer = SipPeer(network.host("10.0.0.1"))
        with pytest.raises(NetworkError, match="IPv6 is not available"):
            await peer.driver.listen(["0.0.0.0:5060", "[::]:5060"])
        with pytest.raises(NetworkError, match="IPv6 is not available"):
            await peer.driver.listen(["[::]:0"])
        assert not network.open_sockets
        await peer.driver.close()

    clock.run(story())


def test_a_port_in_use_is_told_and_nothing_stays_bound(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        host = network.host()
        other = await host.open_listener("0.0.0.0", 5061, lambda connection: None)
        peer = SipPeer(host)
        with pytest.raises(NetworkError, match=r"TCP port 5061 on 0\.0\.0\.0 is in use"):
            await peer.driver.listen(["0.0.0.0:5060", "0.0.0.0:5061"])
        assert network.open_sockets == (other,)
        other.close()
        await peer.driver.close()

    clock.run(story())


def test_a_free_port_is_free_for_all_sockets(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        host = network.host("10.0.0.1", "fd00::1")
        taken = [await host.open_listener("::", port, lambda connection: None) for port in range(49152, 49155)]
        peer = SipPeer(host)
        assert {address.port for address in await peer.driver.listen()} == {49155}
        await peer.driver.close()
        for listener in taken:
            listener.close()

    clock.run(story())


def test_if_no_port_is_free_in_both_families_each_gets_its_own(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        host = network.host("10.0.0.1", "fd00::1")
        taken = [host.bind_media("::", port) for port in range(49152, 65536, 2)]
        taken += [host.bind_media("0.0.0.0", port) for port in range(49153, 65536, 2)]
        peer = SipPeer(host)
        ports = {address.host: address.port for address in await peer.driver.listen()}
        assert ports["0.0.0.0"] % 2 == 0
        assert ports["::"] % 2 == 1
        await peer.driver.close()
        for media in taken:
            media.close()

    clock.run(story())


def test_a_name_to_listen_on_is_looked_up(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.name("bell.test", "10.0.0.1")

    async def story() -> None:
        peer = SipPeer(network.host("10.0.0.1"))
        assert [str(address) for address in await peer.driver.listen(["bell.test:5060"], transports=("udp",))] == ["udp:10.0.0.1:5060"]
        with pytest.raises(ConfigurationError):
            await peer.driver.listen(["bell.test:99999"])
        await peer.driver.close()

    clock.run(story())


# -- datagrams ---------------------------------------------------------------------------------------------------------


def test_a_datagram_comes_with_its_flow_and_the_answer_goes_back_over_it(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        near.driver.transmit(await near.locate("sip:10.0.0.2"), b"request")
        await asyncio.sleep(1)
        [(data, flow)] = far.datagrams
        assert (data, flow.transport, flow.local, flow.remote) == (b"request", "udp", ("10.0.0.2", 5060), ("10.0.0.1", 5060))
        far.driver.transmit(flow, b"answer")
        await asyncio.sleep(1)
        assert near.datagrams[0][0] == b"answer"

    two_peers(clock, network, story)


def test_one_remote_address_is_one_flow(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = await near.locate("sip:10.0.0.2")
        assert await near.locate("sip:x@10.0.0.2:5060") is flow
        for _ in range(2):
            near.driver.transmit(flow, b"x")
        await asyncio.sleep(1)
        assert far.datagrams[0][1] is far.datagrams[1][1]
        assert await far.locate("sip:10.0.0.1") is far.datagrams[0][1]
        far.driver.transmit(far.datagrams[0][1], b"y")
        await asyncio.sleep(1)
        assert near.datagrams[0][1] is flow

    two_peers(clock, network, story)


def test_the_flows_remembered_are_bounded_and_the_forgotten_still_work(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        first = await near.locate("sip:10.0.0.2")
        for number in range(5000):
            await near.locate(f"sip:10.1.{number // 250}.{number % 250 + 1}")
        assert await near.locate("sip:10.0.0.2") is not first
        near.driver.transmit(first, b"still here")
        await asyncio.sleep(1)
        assert far.datagrams[0][0] == b"still here"

    two_peers(clock, network, story)


def test_an_answer_to_another_port_leaves_from_the_same_socket(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        near.driver.transmit(await near.locate("sip:10.0.0.2"), b"request")
        await asyncio.sleep(1)
        flow = far.datagrams[0][1]
        heard: list[Any] = []
        other = await near.host.open_datagram("10.0.0.1", 5099, lambda *arguments: heard.append(arguments))
        for connection in (flow.connection, None):
            far.driver.transmit(Flow("udp", flow.local, ("10.0.0.1", 5099), connection=connection), b"answer")
        await asyncio.sleep(1)
        assert heard == [(b"answer", ("10.0.0.2", 5060), "10.0.0.1")] * 2
        other.close()

    two_peers(clock, network, story)


def test_the_answer_leaves_from_the_address_that_was_asked(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far = SipPeer(network.host("10.0.0.1")), SipPeer(network.host("10.0.0.2", "10.0.0.3"))
        for peer in (near, far):
            await peer.driver.listen(["0.0.0.0:5060"])
        near.driver.transmit(await near.locate("sip:10.0.0.3"), b"request")
        await asyncio.sleep(1)
        flow = far.datagrams[0][1]
        assert flow.local == ("10.0.0.3", 5060)  # and not 10.0.0.2, which the route would take
        far.driver.transmit(flow, b"answer")
        await asyncio.sleep(1)
        assert near.datagrams[0][1].remote == ("10.0.0.3", 5060)
        assert (await far.locate("sip:10.0.0.1")).local == ("10.0.0.2", 5060)
        await near.driver.close()
        await far.driver.close()

    clock.run(story())


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0", b"\0"])
def test_keep_alive_datagrams_are_counted_and_no_message(clock: VirtualClock, network: VirtualNetwork, data: bytes) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        near.driver.transmit(await near.locate("sip:10.0.0.2"), data)
        await asyncio.sleep(1)
        assert not far.datagrams
        assert far.driver.statistics().keepalives_received == 1

    two_peers(clock, network, story)


def test_a_refused_datagram_fails_its_flow(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.icmp = True

    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = await near.locate("sip:10.0.0.2:9")
        near.driver.transmit(flow, b"x")
        await asyncio.sleep(1)
        [(failed, error)] = near.failures
        assert failed is flow
        assert str(error) == "Nothing listens on UDP 10.0.0.2:9."

    two_peers(clock, network, story)


def test_of_several_sockets_the_one_on_the_route_is_taken(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        peer = SipPeer(network.host("10.0.0.1", "fd00::1"))
        await peer.driver.listen(["127.0.0.1:5070", "10.0.0.1:5080", "[fd00::1]:5090"])
        assert (await peer.locate("sip:10.0.0.2")).sent_by == "10.0.0.1:5080"
        assert (await peer.locate("sip:127.0.0.1:9")).sent_by == "127.0.0.1:5070"
        assert (await peer.locate("sip:[fd00::2]")).sent_by == "[fd00::1]:5090"
        await peer.driver.close()

    clock.run(story())


# -- time --------------------------------------------------------------------------------------------------------------


def test_deadlines_of_the_scheduler_are_kept(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        fired: list[tuple[str, float]] = []
        scheduler = near.scheduler
        scheduler.call_later(32.0, lambda: fired.append(("F", scheduler.now)))
        scheduler.call_later(0.5, lambda: fired.append(("E", scheduler.now)))
        scheduler.call_later(0.6, lambda: fired.append(("no", scheduler.now))).cancel()
        await asyncio.sleep(40)
        assert fired == [("E", pytest.approx(0.5)), ("F", pytest.approx(32.0))]

    two_peers(clock, network, story)


def test_what_is_asked_between_two_inputs_counts_from_now(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        await asyncio.sleep(100)
        fired: list[float] = []
        near.scheduler.call_later(5, lambda: fired.append(clock.time()))
        await asyncio.sleep(10)
        assert fired == [105]

    two_peers(clock, network, story)


def test_a_failing_deadline_does_not_stop_the_others(network: VirtualNetwork, clock: VirtualClock) -> None:
    fired: list[float] = []

    async def story(near: SipPeer, far: SipPeer) -> None:
        near.scheduler.call_later(1, lambda: 1 // 0)
        near.scheduler.call_later(2, lambda: fired.append(clock.time()))
        await asyncio.sleep(3)

    with pytest.raises(ZeroDivisionError):
        two_peers(clock, network, story)
    assert fired == [2]


def test_after_closing_nothing_fires_and_nothing_is_sent(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = await near.locate("sip:10.0.0.2")
        fired: list[int] = []
        timer = near.scheduler.call_later(1, lambda: fired.append(1))
        await near.driver.close()
        await near.driver.close()
        near.driver.transmit(flow, message())
        assert isinstance(near.locate_now("sip:10.0.0.2"), NetworkError)
        await asyncio.sleep(2)
        assert not fired
        assert not far.datagrams
        timer.cancel()

    two_peers(clock, network, story)
