"""TLS on any stream: in pieces of any size, with both ways to end, and errors that are told once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flexosip.errors import CertificateError, NetworkError
from flexosip.net.tls import TlsContexts, TlsSettings
from flexosip.net.tls_stream import TlsStream
from flexosip.simulation import VirtualClock, VirtualNetwork
from tests.certificates import Authority

Story = Callable[["Ends"], Awaitable[None]]


class Ends:
    """The two ends of a TLS connection, and what each heard."""

    near: TlsStream
    far: TlsStream

    def __init__(self) -> None:
        self.heard: dict[str, bytearray] = {"near": bytearray(), "far": bytearray()}
        self.lost: dict[str, list[Exception | None]] = {"near": [], "far": []}

    def watch(self, name: str, stream: TlsStream) -> None:
        stream.on_data = self.heard[name].extend
        stream.on_lost = self.lost[name].append


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def connected(
    authority: Authority, story: Story, *, segment: int = 1460, server: TlsSettings | None = None, domain: str = "a.test"
) -> None:
    clock = VirtualClock()
    network = VirtualNetwork(clock, segment=segment)
    ends = Ends()

    async def main() -> None:
        here, there = network.host("10.0.0.1"), network.host("10.0.0.2")

        def accept(below: Any) -> None:
            ends.far = TlsStream(below, TlsContexts(server or authority.server("a.test")).server())
            ends.far.write(b"before the handshake ")
            ends.watch("far", ends.far)

        listener = await there.open_listener("10.0.0.2", 5061, accept)
        ends.near = TlsStream(await here.connect("10.0.0.2", 5061), TlsContexts(authority.trust).client(), domain=domain)
        try:
            await ends.near.handshake(10)
            await story(ends)
        finally:
            ends.near.abort()
            listener.close()
            await asyncio.sleep(1)

    clock.run(main())
    assert not network.open_sockets


@pytest.mark.parametrize("segment", [1, 7, 1460, 100_000])
def test_octets_come_through_whatever_the_pieces(authority: Authority, segment: int) -> None:
    size = 200_192 if segment > 1000 else 20_224 if segment > 1 else 3_072

    async def story(ends: Ends) -> None:
        assert ends.near.established
        await asyncio.sleep(1)
        ends.watch("near", ends.near)
        assert ends.heard["near"] == b"before the handshake "  # it waited until somebody listened
        data = bytes(range(256)) * (size // 256)
        ends.near.write(data)
        ends.far.write(data[::-1])
        await asyncio.sleep(1)
        assert ends.heard["far"] == data
        assert ends.heard["near"] == b"before the handshake " + data[::-1]

    connected(authority, story, segment=segment)


@pytest.mark.parametrize("first", ["near", "far"])
def test_a_goodbye_ends_both_sides_after_what_was_written(authority: Authority, first: str) -> None:
    async def story(ends: Ends) -> None:
        ends.watch("near", ends.near)
        await asyncio.sleep(1)
        second = "far" if first == "near" else "near"
        one: TlsStream = getattr(ends, first)
        one.write(b"the end")
        one.close()
        one.write(b"never sent")
        await asyncio.sleep(1)
        assert ends.heard[second].endswith(b"the end")
        assert ends.lost == {"near": [None], "far": [None]}

    connected(authority, story)


def test_a_reset_is_told_once_also_to_those_who_ask_late(authority: Authority) -> None:
    async def story(ends: Ends) -> None:
        ends.far.abort()
        await asyncio.sleep(1)
        ends.watch("near", ends.near)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [type(error) for error in ends.lost["near"]] == [ConnectionResetError]
        ends.near.write(b"too late")
        ends.near.close()
        ends.near.abort()

    connected(authority, story)


def test_the_names_of_the_server_are_known_and_the_client_showed_none(authority: Authority) -> None:
    async def story(ends: Ends) -> None:
        await asyncio.sleep(1)
        assert ends.near.names is not None
        assert ends.near.names.all == ("a.test",)
        assert ends.far.established
        assert ends.far.names is None

    connected(authority, story)


def test_a_record_that_was_tampered_with_ends_the_connection(authority: Authority) -> None:
    async def story(ends: Ends) -> None:
        await asyncio.sleep(1)
        ends.near._below.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        await asyncio.sleep(1)
        assert len(ends.lost["far"]) == 1
        assert isinstance(ends.lost["far"][0], NetworkError)
        assert ends.heard["far"] == b""

    connected(authority, story)


@pytest.mark.parametrize("domain", ["b.test", "a.test.evil", "10.0.0.2", "2001:db8::1"])
def test_nothing_is_sent_to_somebody_else(authority: Authority, domain: str) -> None:
    async def story(ends: Ends) -> None:
        raise AssertionError("it is connected")

    with pytest.raises(CertificateError, match=r"is for a\.test, you connect to"):
        connected(authority, story, domain=domain)


def test_an_authority_without_the_extensions_of_rfc_5280_is_trusted_when_it_is_named(tmp_path: Path) -> None:
    async def story(ends: Ends) -> None:
        ends.near.write(b"hello")
        await asyncio.sleep(1)
        assert ends.heard["far"] == b"hello"

    connected(Authority(tmp_path / "plain", plain=True), story)


def test_a_certificate_without_names_is_for_nobody(authority: Authority) -> None:
    async def story(ends: Ends) -> None:
        raise AssertionError("it is connected")

    with pytest.raises(CertificateError, match="is for nobody"):
        connected(authority, story, server=authority.server())


def test_the_common_name_serves_where_there_is_nothing_else(authority: Authority) -> None:
    async def story(ends: Ends) -> None:
        assert ends.near.established

    connected(authority, story, server=authority.server(common_name="a.test"))
