"""UDP on real sockets: IPv4 and IPv6, wildcards, errors of ICMP, full buffers."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from flexosip.errors import NetworkError, ServerUnreachable
from flexosip.net.address import Address
from flexosip.net.datagram import RealDatagramEndpoint
from flexosip.net.real import RealNetwork

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells more about datagrams than others")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


HOSTS = ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback"))]


async def until(condition: Callable[[], object]) -> None:
    """Wait in real time for what other sockets do."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


class Recorder:
    """An endpoint with everything it said."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Address, str]] = []
        self.errors: list[tuple[Address, OSError]] = []

    async def open(self, host: str, port: int = 0) -> RealDatagramEndpoint:
        self.endpoint = await RealNetwork().open_datagram(
            host,
            port,
            lambda data, remote, own: self.received.append((data, remote, own)),
            lambda remote, error: self.errors.append((remote, error)),
        )
        return self.endpoint


@pytest.mark.parametrize("host", HOSTS)
async def test_datagrams_go_both_ways_with_their_addresses(host: str) -> None:
    near, far = Recorder(), Recorder()
    one, two = await near.open(host), await far.open(host)
    one.send(b"hello", two.address)
    await until(lambda: far.received)
    assert far.received == [(b"hello", one.address, host)]
    two.send(b"you", one.address)
    await until(lambda: near.received)
    assert near.received == [(b"you", two.address, host)]
    one.close()
    two.close()
    one.close()
    one.send(b"too late", two.address)


@pytest.mark.parametrize("host", HOSTS)
async def test_a_burst_is_taken_without_loss(host: str) -> None:
    near, far = Recorder(), Recorder()
    one, two = await near.open(host), await far.open(host)
    for number in range(300):
        one.send(b"%d" % number + bytes(900), two.address)
    await until(lambda: len(far.received) == 300)
    assert [int(data.rstrip(b"\0")) for data, _, _ in far.received] == list(range(300))
    one.close()
    two.close()


@linux_only
@pytest.mark.parametrize(("wildcard", "asked"), [("0.0.0.0", "127.0.0.7"), pytest.param("::", "::1", marks=HOSTS[1].marks)])
async def test_a_wildcard_socket_knows_the_address_that_was_asked_and_answers_from_it(wildcard: str, asked: str) -> None:
    near, far = Recorder(), Recorder()
    one, two = await near.open("::1" if ":" in asked else "127.0.0.1"), await far.open(wildcard)
    one.send(b"question", (asked, two.address[1]))
    await until(lambda: far.received)
    assert far.received[0][2] == asked
    two.send(b"answer", one.address, asked)
    await until(lambda: near.received)
    assert near.received[0][1] == (asked, two.address[1])
    one.close()
    two.close()


@linux_only
async def test_an_own_address_that_has_gone_is_not_insisted_on() -> None:
    near, far = Recorder(), Recorder()
    one, two = await near.open("127.0.0.1"), await far.open("0.0.0.0")
    two.send(b"answer", one.address, "192.0.2.77")
    await until(lambda: near.received)
    assert near.received[0][1][0] == "127.0.0.1"
    one.close()
    two.close()


@linux_only
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("wildcard", [False, True])
async def test_a_closed_port_is_told_and_the_socket_goes_on(host: str, wildcard: bool) -> None:
    bound = ("::" if ":" in host else "0.0.0.0") if wildcard else host
    near, far = Recorder(), Recorder()
    one, two = await near.open(bound), await far.open(host)
    closed = RealNetwork().bind_media(host, 0)
    dead: Address = closed.getsockname()[:2]
    closed.close()
    for _ in range(3):
        one.send(b"x", dead)
        one.send(b"y", two.address)  # the pending error of the other must not swallow this one
        await asyncio.sleep(0.02)
    await until(lambda: len(far.received) == 3 and near.errors)
    assert {remote for remote, _ in near.errors} == {dead}
    assert {error.errno for _, error in near.errors} == {errno.ECONNREFUSED}
    one.close()
    two.close()


async def test_what_cannot_be_sent_is_told_later() -> None:
    near = Recorder()
    one = await near.open("127.0.0.1")
    one.send(bytes(70000), ("127.0.0.1", 9))
    assert not near.errors
    await until(lambda: near.errors)
    assert near.errors[0][1].errno == errno.EMSGSIZE
    one.close()


async def test_datagrams_wait_while_the_kernels_buffer_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = Recorder(), Recorder()
    one, two = await near.open("127.0.0.1"), await far.open("127.0.0.1")
    original, blocked = one._send_now, [True]

    def full(data: bytes, remote: Address, source: str | None) -> None:
        if blocked[0]:
            raise BlockingIOError(errno.EAGAIN, "full")
        original(data, remote, source)

    monkeypatch.setattr(one, "_send_now", full)
    for number in range(1030):
        one.send(b"%d" % number, two.address)
    assert one.dropped == 6
    await asyncio.sleep(0.01)
    assert not far.received
    blocked[0] = False
    await until(lambda: len(far.received) == 1024)
    assert [int(data) for data, _, _ in far.received] == list(range(1024))
    one.send(b"after", two.address)
    await until(lambda: far.received[-1][0] == b"after")
    one.close()
    two.close()


async def test_a_loop_that_cannot_watch_sockets_is_served_by_a_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    add_reader = loop.add_reader

    def refuse(descriptor: Any, callback: Any, *arguments: Any) -> None:
        if getattr(callback, "__qualname__", "").startswith("RealDatagramEndpoint"):
            raise NotImplementedError
        add_reader(descriptor, callback, *arguments)

    monkeypatch.setattr(loop, "add_reader", refuse)
    near, far = Recorder(), Recorder()
    one, two = await near.open("127.0.0.1"), await far.open("0.0.0.0")
    one.send(b"hello", ("127.0.0.1", two.address[1]))
    await until(lambda: far.received)
    assert far.received == [(b"hello", one.address, "127.0.0.1")]
    one.close()
    two.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("host", HOSTS)
async def test_a_port_in_use_is_told_with_the_next_step(host: str) -> None:
    first = Recorder()
    endpoint = await first.open(host)
    with pytest.raises(NetworkError, match=rf"UDP port {endpoint.address[1]} on {host} is in use by another program\.") as caught:
        await Recorder().open(host, endpoint.address[1])
    assert "--listen" in caught.value.explain()
    endpoint.close()


async def test_a_foreign_address_cannot_be_bound() -> None:
    with pytest.raises(NetworkError, match="not an address of this machine"):
        RealNetwork().bind_media("192.0.2.1", 0)


@pytest.mark.parametrize("host", HOSTS)
async def test_media_sockets_do_not_block_and_are_roomy(host: str) -> None:
    network = RealNetwork()
    with network.bind_media(host, 0) as near, network.bind_media(host, 0) as far:
        with pytest.raises(BlockingIOError):
            far.recvfrom(2048)
        for _ in range(50):  # a second of G.711 that nobody reads
            near.sendto(bytes(172), far.getsockname())
        for _ in range(50):
            assert len(far.recvfrom(2048)[0]) == 172


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback")
async def test_an_ipv6_wildcard_does_not_take_ipv4() -> None:
    four, six = Recorder(), Recorder()
    wide = await six.open("::")
    narrow = await four.open("0.0.0.0", wide.address[1])
    wide.close()
    narrow.close()


async def test_the_own_address_is_that_of_the_route() -> None:
    network = RealNetwork()
    assert network.local_address("127.0.0.1") == "127.0.0.1"
    network.forget_routes()
    assert network.local_address("127.0.0.1") == "127.0.0.1"
    for number in range(1100):
        network.local_address(f"127.1.{number // 250}.{number % 250 + 1}")


async def test_names_are_looked_up_by_the_system() -> None:
    network = RealNetwork()
    assert await network.resolve("127.0.0.1") == ["127.0.0.1"]
    assert "127.0.0.1" in await network.resolve("localhost")
    for host in ("1.2.3.400", "x" * 70 + ".test", "does-not-exist.invalid"):
        with pytest.raises(NetworkError) as caught:
            await network.resolve(host)
        assert host in str(caught.value)


async def test_tcp_that_is_refused_is_told() -> None:
    network = RealNetwork()
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        with pytest.raises(NetworkError, match="refuses TCP connections") as caught:
            await network.connect(*unheard.getsockname())
    assert not isinstance(caught.value, ServerUnreachable)


async def test_packets_are_marked_for_routers() -> None:
    network = RealNetwork()
    network.mark(24, 46)
    endpoint = await network.open_datagram("127.0.0.1", 0, lambda data, remote, own: None)
    listener = await network.open_listener("127.0.0.1", 0, lambda connection: connection.abort())
    connection = await network.connect(*listener.address)
    media = network.bind_media("127.0.0.1", 0)
    try:
        assert endpoint._socket.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 24 << 2
        assert connection.socket.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 24 << 2
        assert media.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2
    finally:
        endpoint.close()
        connection.abort()
        listener.close()
        media.close()
        await asyncio.sleep(0.01)
