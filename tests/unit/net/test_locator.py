"""From a URI to a flow: transport, address family, names, size, and what to do when the first choice fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from flexosip.errors import NetworkError, ServerUnreachable
from flexosip.simulation import VirtualClock, VirtualNetwork
from tests.unit.net.sip_peer import SipPeer, message

Story = Callable[[SipPeer, SipPeer], Awaitable[None]]


def two_peers(clock: VirtualClock, network: VirtualNetwork, story: Story, *, far_transports: tuple[str, ...] = ("udp", "tcp")) -> None:
    """Run `story` with drivers at 10.0.0.1 and 10.0.0.2 (fd00::1 and fd00::2), port 5060."""

    async def run() -> None:
        near, far = SipPeer(network.host("10.0.0.1", "fd00::1")), SipPeer(network.host("10.0.0.2", "fd00::2"))
        await near.driver.listen(["0.0.0.0:5060", "[::]:5060"])
        await far.driver.listen(["0.0.0.0:5060", "[::]:5060"], transports=far_transports)
        try:
            await story(near, far)
        finally:
            await near.driver.close()
            await far.driver.close()

    clock.run(run())


@pytest.mark.parametrize(
    ("uri", "sent_by", "remote"),
    [
        ("sip:10.0.0.2", "10.0.0.1:5060", ("10.0.0.2", 5060)),
        ("sip:bell@10.0.0.2:5070", "10.0.0.1:5060", ("10.0.0.2", 5070)),
        ("sip:[FD00:0::2]", "[fd00::1]:5060", ("fd00::2", 5060)),
        ("sip:somewhere.test;maddr=10.0.0.2", "10.0.0.1:5060", ("10.0.0.2", 5060)),
        ("sip:10.0.0.2;transport=UDP", "10.0.0.1:5060", ("10.0.0.2", 5060)),
    ],
)
def test_numeric_addresses_over_udp_need_no_waiting(
    clock: VirtualClock, network: VirtualNetwork, uri: str, sent_by: str, remote: tuple[str, int]
) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = near.locate_now(uri)
        assert flow is not None
        assert not isinstance(flow, Exception)
        assert (flow.transport, flow.sent_by, flow.remote) == ("udp", sent_by, remote)

    two_peers(clock, network, story)


@pytest.mark.parametrize(
    ("uri", "words"), [("sips:10.0.0.2;transport=udp", "TLS only"), ("sip:10.0.0.2;transport=sctp", "'sctp' is not supported")]
)
def test_transports_that_we_do_not_have_are_refused(clock: VirtualClock, network: VirtualNetwork, uri: str, words: str) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        with pytest.raises(NetworkError, match=words):
            await near.locate(uri)

    two_peers(clock, network, story)


def test_a_name_is_looked_up_once_in_half_a_minute(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.name("pbx.test", "10.0.0.2")
    network.lookup_delay = 0.1

    async def story(near: SipPeer, far: SipPeer) -> None:
        flows = await asyncio.gather(near.locate("sip:pbx.test"), near.locate("sip:x@PBX.test."))
        assert flows[0] is flows[1]
        network.name("pbx.test", "10.0.0.9")
        assert near.locate_now("sip:pbx.test") is flows[0]
        await asyncio.sleep(31)
        assert (await near.locate("sip:pbx.test")).remote == ("10.0.0.9", 5060)

    two_peers(clock, network, story)


def test_an_unknown_name_is_named_and_asked_again_next_time(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        with pytest.raises(NetworkError, match=r"pbx\.test"):
            await near.locate("sip:pbx.test")
        network.name("pbx.test", "10.0.0.2")
        assert (await near.locate("sip:pbx.test")).remote == ("10.0.0.2", 5060)

    two_peers(clock, network, story)


def test_addresses_of_a_family_in_which_nothing_listens_are_passed_over(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.name("pbx.test", "fd00::2", "10.0.0.2")

    async def story() -> None:
        peer = SipPeer(network.host("10.0.0.1", "fd00::1"))
        await peer.driver.listen(["0.0.0.0:5060"])
        assert (await peer.locate("sip:pbx.test")).remote == ("10.0.0.2", 5060)
        with pytest.raises(NetworkError, match="IPv6"):
            await peer.locate("sip:[fd00::2]")
        await peer.driver.close()

    clock.run(story())


def test_an_address_that_failed_is_tried_last_for_some_time(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.name("pbx.test", "fd00::2", "10.0.0.2")
    network.icmp = True

    async def story(near: SipPeer, far: SipPeer) -> None:
        await far.driver.close()
        flow = await near.locate("sip:pbx.test")
        assert flow.remote == ("fd00::2", 5060)
        near.driver.transmit(flow, message())
        await asyncio.sleep(1)
        assert near.failures[0][0] is flow
        assert (await near.locate("sip:pbx.test")).remote == ("10.0.0.2", 5060)
        await asyncio.sleep(31)
        assert (await near.locate("sip:pbx.test")).remote == ("fd00::2", 5060)

    two_peers(clock, network, story)


def test_tcp_tries_the_next_address_beside_the_first_that_is_silent(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.name("pbx.test", "10.9.9.9", "10.0.0.2")

    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = await near.locate("sip:pbx.test;transport=tcp")
        assert flow.remote == ("10.0.0.2", 5060)
        assert clock.time() == pytest.approx(0.27, abs=0.02)

    two_peers(clock, network, story)


def test_a_server_that_does_not_answer_tcp_is_unreachable(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        with pytest.raises(ServerUnreachable, match=r"10\.9\.9\.9:5060 does not answer TCP"):
            await near.locate("sip:10.9.9.9;transport=tcp")
        with pytest.raises(NetworkError, match=r"10\.0\.0\.2:5061 refuses"):
            await near.locate("sip:10.0.0.2:5061;transport=tcp")

    two_peers(clock, network, story)


def test_a_request_above_1300_octets_goes_by_tcp(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        assert (await near.locate("sip:10.0.0.2", size=1300)).transport == "udp"
        assert (await near.locate("sip:10.0.0.2", size=1301)).transport == "tcp"
        udp = await near.locate("sip:10.0.0.2")
        assert (await near.locate("sip:10.0.0.2", size=1301, preferred=udp)).transport == "tcp"

    two_peers(clock, network, story)


def test_it_goes_by_udp_after_all_where_tcp_is_refused_and_tcp_is_not_tried_again_soon(
    clock: VirtualClock, network: VirtualNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        with caplog.at_level(logging.WARNING):
            assert (await near.locate("sip:10.0.0.2", size=1400)).transport == "udp"
        assert "goes by UDP" in caplog.text
        assert near.locate_now("sip:10.0.0.2", size=1400) is not None
        await asyncio.sleep(301)
        assert near.locate_now("sip:10.0.0.2", size=1400) is None
        await asyncio.sleep(5)

    two_peers(clock, network, story, far_transports=("udp",))


def test_where_tcp_is_silent_a_large_request_waits_two_seconds_for_it(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        assert (await near.locate("sip:10.9.9.9", size=1400)).transport == "udp"
        assert clock.time() == pytest.approx(2, abs=0.1)

    two_peers(clock, network, story)


def test_the_preferred_flow_is_taken_if_it_leads_there(clock: VirtualClock, network: VirtualNetwork) -> None:
    network.name("pbx.test", "10.0.0.2")

    async def story(near: SipPeer, far: SipPeer) -> None:
        tcp = await near.locate("sip:10.0.0.2;transport=tcp")
        assert near.locate_now("sip:10.0.0.2", preferred=tcp) is tcp
        assert await near.locate("sip:pbx.test", preferred=tcp) is tcp
        assert near.locate_now("sip:10.0.0.2;transport=udp", preferred=tcp) is not tcp
        assert near.locate_now("sip:10.0.0.2:5070", preferred=tcp) is not tcp
        assert near.locate_now("sip:10.0.0.3", preferred=tcp) is not tcp
        near.driver.transmit(tcp, message())
        await asyncio.sleep(1)
        accepted = far.messages[0][1]
        assert far.locate_now("sip:10.0.0.1", preferred=accepted) is accepted
        network.reset_streams()
        await asyncio.sleep(1)
        assert near.locate_now("sip:10.0.0.2", preferred=tcp) is not tcp

    two_peers(clock, network, story)


def test_a_peer_behind_a_nat_is_reached_where_its_packets_come_from(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        nat = network.nat("203.0.113.1")
        inside, outside = SipPeer(network.host("192.168.1.2", nat=nat)), SipPeer(network.host("198.51.100.7"))
        for peer in (inside, outside):
            await peer.driver.listen(["0.0.0.0:5060"])
        inside.driver.transmit(await inside.locate("sip:198.51.100.7"), message())
        await asyncio.sleep(1)
        flow = outside.datagrams[0][1]
        assert outside.locate_now("sip:bell@192.168.1.2", preferred=flow) is flow
        assert outside.locate_now("sip:bell@198.51.100.8", preferred=flow) is not flow
        await inside.driver.close()
        await outside.driver.close()

    clock.run(story())


def test_only_tcp_is_used_where_no_udp_socket_is_open(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story() -> None:
        near, far = SipPeer(network.host("10.0.0.1")), SipPeer(network.host("10.0.0.2"))
        await near.driver.listen(["0.0.0.0:5060"], transports=("tcp",))
        await far.driver.listen(["0.0.0.0:5060"])
        assert (await near.locate("sip:10.0.0.2")).transport == "tcp"
        with pytest.raises(NetworkError, match="No UDP socket"):
            await near.locate("sip:10.0.0.2;transport=udp")
        await near.driver.close()
        await far.driver.close()

    clock.run(story())
