"""The SIP driver on real sockets, UDP and TCP, IPv4 and IPv6."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from flexosip.errors import NetworkError
from flexosip.net.real import RealNetwork
from tests.loopback.test_net_udp import HOSTS, has_ipv6, until
from tests.unit.net.sip_peer import SipPeer, message


@pytest.fixture
async def peers() -> AsyncIterator[tuple[SipPeer, SipPeer]]:
    """Two drivers that listen everywhere."""
    near, far = SipPeer(RealNetwork()), SipPeer(RealNetwork())
    for peer in (near, far):
        await peer.driver.listen()
    yield near, far
    await near.driver.close()
    await far.driver.close()


Peers = tuple[SipPeer, SipPeer]


async def test_by_default_both_families_and_transports_share_a_port(peers: Peers) -> None:
    addresses = peers[0].driver.addresses
    assert {address.transport for address in addresses} == {"udp", "tcp"}
    assert {address.host for address in addresses} == ({"0.0.0.0", "::"} if has_ipv6() else {"0.0.0.0"})
    assert len({address.port for address in addresses}) == 1


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_messages_go_there_and_back(peers: Peers, host: str, transport: str) -> None:
    near, far = peers
    uri = f"sip:{f'[{host}]' if ':' in host else host}:{far.driver.addresses[0].port};transport={transport}"
    flow = await near.locate(uri)
    near.driver.transmit(flow, message(body=bytes(900)))
    await until(lambda: far.datagrams or far.messages)
    [(data, answer)] = far.datagrams + far.messages
    assert data == message(body=bytes(900))
    assert (answer.transport, answer.remote, answer.local) == (transport, flow.local, flow.remote)
    far.driver.transmit(answer, message("INFO"))
    await until(lambda: near.datagrams or near.messages)
    assert near.datagrams + near.messages == [(message("INFO"), flow)]


async def test_a_name_is_reached(peers: Peers) -> None:
    near, far = peers
    near.driver.transmit(await near.locate(f"sip:localhost:{far.driver.addresses[0].port}"), message())
    await until(lambda: far.datagrams)


async def test_a_large_message_crosses_tcp_in_pieces(peers: Peers) -> None:
    near, far = peers
    flow = await near.locate(f"sip:127.0.0.1:{far.driver.addresses[0].port}", size=200000)
    assert flow.transport == "tcp"
    for _ in range(3):
        near.driver.transmit(flow, message(body=bytes(200000)))
    await until(lambda: len(far.messages) == 3)
    assert {data for data, _ in far.messages} == {message(body=bytes(200000))}


async def test_a_port_where_nobody_listens_fails_the_flow(peers: Peers) -> None:
    near, _ = peers
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
    flow = await near.locate(f"sip:127.0.0.1:{port}")
    near.driver.transmit(flow, message())
    await until(lambda: near.failures)
    assert near.failures[0][0] is flow
    with pytest.raises(NetworkError, match="refuses"):
        await near.locate(f"sip:127.0.0.1:{port};transport=tcp")


async def test_a_connection_that_the_peer_drops_fails_its_flow(peers: Peers) -> None:
    near, far = peers
    flow = await near.locate(f"sip:127.0.0.1:{far.driver.addresses[0].port};transport=tcp")
    near.driver.transmit(flow, message())
    await until(lambda: far.messages)
    await far.driver.close()
    await until(lambda: near.failures)
    assert not flow.alive


async def test_a_bare_client_gets_its_pong_and_garbage_its_end(peers: Peers) -> None:
    _, far = peers
    reader, writer = await asyncio.open_connection("127.0.0.1", far.driver.addresses[0].port)
    writer.write(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readexactly(2), 5) == b"\r\n"
    writer.write(b"\x16\x03\x01\x02")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await writer.wait_closed()


async def test_a_port_in_use_is_told_and_leaves_nothing_open(peers: Peers) -> None:
    port = peers[0].driver.addresses[0].port
    other = SipPeer(RealNetwork())
    with pytest.raises(NetworkError, match=f"port {port} on .* is in use"):
        await other.driver.listen([f"127.0.0.1:{port}"])
    assert not other.driver.addresses
    await other.driver.close()


async def test_one_timer_serves_all_deadlines(peers: Peers) -> None:
    near, _ = peers
    fired: list[int] = []
    for number in range(100):
        near.scheduler.call_later(0.001 * (number % 10), fired.append, number)
    await until(lambda: len(fired) == 100)
    assert [number % 10 for number in fired] == sorted(number % 10 for number in range(100))
