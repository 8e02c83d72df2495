"""TCP connections: framing, reuse, keep-alive, and the bounds against those who only hold them open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from flexosip.net.stream_flows import StreamLimits
from flexosip.simulation import VirtualClock, VirtualNetwork
from flexosip.simulation.stream import VirtualConnection
from flexosip.sip.grammar import SipParseError
from tests.unit.net.sip_peer import SipPeer, message

Story = Callable[[SipPeer, SipPeer], Awaitable[None]]


class Client:
    """A bare TCP client, for what no driver would do."""

    def __init__(self, connection: VirtualConnection) -> None:
        self.connection = connection
        self.heard = bytearray()
        self.lost: list[Exception | None] = []
        connection.on_data = self.heard.extend
        connection.on_lost = self.lost.append


async def connect(near: SipPeer, *, local: str | None = None) -> Client:
    return Client(await near.host.connect("10.0.0.2", 5060, local=local))


def two_peers(clock: VirtualClock, network: VirtualNetwork, story: Story, limits: StreamLimits | None = None) -> None:
    """Run `story` with a driver at 10.0.0.1 and a limited one at 10.0.0.2, both on port 5060."""

    async def run() -> None:
        near, far = SipPeer(network.host("10.0.0.1", "10.0.1.1")), SipPeer(network.host("10.0.0.2"), limits)
        for peer in (near, far):
            await peer.driver.listen(["0.0.0.0:5060"])
        try:
            await story(near, far)
        finally:
            await near.driver.close()
            await far.driver.close()
            for connection in list(near.host.connections):
                connection.abort()
            await asyncio.sleep(1)

    clock.run(run())


def test_messages_are_framed_and_answered_on_the_same_connection(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = await near.locate("sip:10.0.0.2;transport=tcp")
        near.driver.transmit(flow, message(body=bytes(5000)))
        near.driver.transmit(flow, message("INFO"))
        await asyncio.sleep(1)
        assert [data for data, _ in far.messages] == [message(body=bytes(5000)), message("INFO")]
        answer = far.messages[0][1]
        assert answer.remote == flow.local
        assert answer.reliable
        far.driver.transmit(answer, message("BYE"))
        await asyncio.sleep(1)
        assert near.messages == [(message("BYE"), flow)]

    two_peers(clock, network, story)


def test_a_connection_is_used_again_and_opened_once(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        flows = await asyncio.gather(*(near.locate("sip:10.0.0.2;transport=tcp") for _ in range(10)))
        assert len(set(flows)) == 1
        assert near.locate_now("sip:10.0.0.2;transport=tcp") is flows[0]
        assert far.driver.statistics().connections == 1

    two_peers(clock, network, story)


def test_a_connection_that_the_peer_opened_is_used_for_its_very_address(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        near.driver.transmit(await near.locate("sip:10.0.0.2;transport=tcp"), message())
        await asyncio.sleep(1)
        accepted = far.messages[0][1]
        assert far.locate_now(f"sip:10.0.0.1:{accepted.remote[1]};transport=tcp") is accepted
        assert await far.locate("sip:10.0.0.1;transport=tcp") is not accepted

    two_peers(clock, network, story)


def test_a_lost_connection_fails_its_flow_and_the_next_request_opens_another(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = await near.locate("sip:10.0.0.2;transport=tcp")
        network.reset_streams()
        await asyncio.sleep(1)
        assert [failed for failed, _ in near.failures] == [flow]
        assert "broke" in str(near.failures[0][1])
        assert not flow.alive
        near.driver.transmit(flow, message())
        assert len(near.failures) == 1  # not inside the call
        await asyncio.sleep(1)
        assert len(near.failures) == 2
        again = await near.locate("sip:10.0.0.2;transport=tcp")
        assert again is not flow
        assert again.alive

    two_peers(clock, network, story)


def test_others_reach_us_at_the_listening_port_and_not_where_the_connection_leaves(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = await near.locate("sip:10.0.0.2;transport=tcp")
        assert flow.local[1] != 5060
        assert near.driver.listening_port(flow) == 5060
        assert near.driver.listening_port(await near.locate("sip:10.0.0.2")) == 5060

    two_peers(clock, network, story)


def test_a_ping_is_answered_with_one_line_break(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        client = await connect(near)
        client.connection.write(b"\r\n\r\n" + message() + b"\r\n\r\n\r\n\r\n")
        await asyncio.sleep(1)
        assert client.heard == b"\r\n" * 3
        assert len(far.messages) == 1

    two_peers(clock, network, story)


def test_a_quiet_connection_of_ours_is_pinged_and_stays(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = await near.locate("sip:10.0.0.2;transport=tcp")
        near.driver.transmit(flow, message())
        sent: list[tuple[float, bytes]] = []
        network.observers.append(lambda packet: sent.append((packet.at, packet.data)))
        await asyncio.sleep(100)
        assert [data for _, data in sent] == [b"\r\n\r\n", b"\r\n"] * 3
        assert flow.alive
        await asyncio.sleep(7000)
        assert flow.alive

    two_peers(clock, network, story)


def test_a_peer_that_stops_answering_pings_has_gone(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = await near.locate("sip:10.0.0.2;transport=tcp")
        near.driver.transmit(flow, message())
        await asyncio.sleep(45)
        far.host.plugged = False
        await asyncio.sleep(30)
        assert not flow.alive
        assert "keep-alive" in str(near.failures[0][1])
        far.host.plugged = True

    two_peers(clock, network, story)


def test_a_connection_that_nobody_used_for_hours_is_closed(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = await near.locate("sip:10.0.0.2;transport=tcp")
        near.driver.transmit(flow, message())
        await asyncio.sleep(7300)
        assert not flow.alive
        assert near.driver.statistics().connections == far.driver.statistics().connections == 0

    two_peers(clock, network, story)


def test_a_connection_without_a_message_is_closed_after_half_a_minute(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        client = await connect(near)
        for _ in range(29):
            client.connection.write(b"\r\n\r\n")
            await asyncio.sleep(1)
        assert not client.lost
        await asyncio.sleep(2)
        assert client.lost
        assert far.driver.statistics().connections_timed_out == 1

    two_peers(clock, network, story)


def test_a_message_that_drips_is_cut_off_after_ten_seconds(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        client = await connect(near)
        client.connection.write(message())
        await asyncio.sleep(60)
        for octet in message():
            if client.lost:
                break
            client.connection.write(bytes([octet]))
            await asyncio.sleep(1)
        assert 69 < clock.time() < 73
        assert len(far.messages) == 1

    two_peers(clock, network, story)


def test_a_slow_message_that_ends_in_time_is_taken(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        client = await connect(near)
        for _ in range(5):
            data = message(body=bytes(100))
            for part in (data[:50], data[50:120], data[120:]):
                client.connection.write(part)
                await asyncio.sleep(4)
        assert len(far.messages) == 5
        assert not client.lost

    two_peers(clock, network, story)


def test_what_is_no_sip_is_answered_and_the_connection_closed(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        refused: list[SipParseError] = []

        def malformed(error: SipParseError, flow: object) -> None:
            refused.append(error)
            far.driver.transmit(far.messages[0][1], b"SIP/2.0 400 Bad\r\nContent-Length: 0\r\n\r\n")

        far.driver.receive_malformed = malformed
        client = await connect(near)
        client.connection.write(message() + b"\x16\x03\x01 this is TLS\r\n\r\n")
        await asyncio.sleep(1)
        assert len(refused) == 1
        assert client.heard.startswith(b"SIP/2.0 400")
        assert client.lost == [None]
        assert not far.messages[0][1].alive

    two_peers(clock, network, story)


def test_one_source_gets_its_share_and_the_oldest_unproven_connection_goes_first(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        first = await connect(near)
        first.connection.write(message())
        await asyncio.sleep(1)
        others = [await connect(near) for _ in range(4)]
        await asyncio.sleep(1)
        assert not first.lost  # it brought a message
        assert [bool(client.lost) for client in others] == [True, False, False, False]
        elsewhere = await connect(near, local="10.0.1.1")
        await asyncio.sleep(1)
        assert not elsewhere.lost
        assert far.driver.statistics().connections == 5

    two_peers(clock, network, story, StreamLimits(accepted_from_one=4))


def test_when_all_connections_are_in_use_a_new_one_is_refused(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        clients = []
        for _ in range(4):
            client = await connect(near)
            client.connection.write(message())
            clients.append(client)
            await asyncio.sleep(1)
        assert [bool(client.lost) for client in clients] == [False, False, False, True]
        assert far.driver.statistics().connections_refused == 1
        await asyncio.sleep(119)
        late = await connect(near)  # the first has been idle for two minutes
        await asyncio.sleep(1)
        assert [bool(client.lost) for client in clients[:3]] == [True, False, False]
        assert not late.lost

    two_peers(clock, network, story, StreamLimits(accepted=3))


def test_a_thousand_silent_connections_do_not_keep_a_phone_out(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        for _ in range(1000):
            await connect(near)
        caller = SipPeer(network.host("10.0.0.3"))
        await caller.driver.listen(["0.0.0.0:5060"])
        caller.driver.transmit(await caller.locate("sip:10.0.0.2;transport=tcp"), message())
        await asyncio.sleep(1)
        assert len(far.messages) == 1
        assert far.driver.statistics().connections <= 17
        await caller.driver.close()

    two_peers(clock, network, story)


def test_closing_sends_what_was_written(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        flow = await near.locate("sip:10.0.0.2;transport=tcp")
        near.driver.transmit(flow, message("BYE"))
        await near.driver.close()
        await asyncio.sleep(1)
        assert [data for data, _ in far.messages] == [message("BYE")]
        assert not near.failures  # nobody is told about what he did himself

    two_peers(clock, network, story)


def test_closing_ends_connections_that_are_being_made(clock: VirtualClock, network: VirtualNetwork) -> None:
    async def story(near: SipPeer, far: SipPeer) -> None:
        assert near.locate_now("sip:10.9.9.9;transport=tcp") is None
        await asyncio.sleep(1)
        await near.driver.close()
        assert len(asyncio.all_tasks()) == 1

    two_peers(clock, network, story)
