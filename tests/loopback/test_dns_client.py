"""Our DNS client and dnspython against a name server of the test on real sockets."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flexosip import extras
from flexosip.errors import NetworkError
from flexosip.net import dns_client
from flexosip.net.address import Address
from flexosip.net.dns_client import DnsClient, name_servers
from flexosip.net.dns_library import DnsLibrary
from flexosip.net.dns_records import NaptrRecord, ServiceRecord
from tests.unit.net.test_dns_message import QUESTION, name_bytes, record, srv

SRV = record(QUESTION, "SRV", srv(10, 60, 5060, name_bytes("a.example.test")))
NAPTR = record(QUESTION, "NAPTR", struct.pack("!HH", 1, 2) + b"\x01s\x07SIP+D2T\x00" + name_bytes("_sip._tcp.example.test"))


class NameServer(asyncio.DatagramProtocol):
    """Answers every question with `answers`.

    Args:
        truncated: says over UDP that it does not fit. forgeries: wrong answers sent before the true one.
    """

    def __init__(self, *answers: bytes, status: int = 0, truncated: bool = False, forgeries: int = 0, silent: bool = False) -> None:
        self.answers = answers
        self.status = status
        self.truncated = truncated
        self.forgeries = forgeries
        self.silent = silent
        self.asked: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def reply(self, query: bytes, *, over_tcp: bool, number: bytes = b"") -> bytes:
        short = self.truncated and not over_tcp
        flags = 0x8180 | self.status | (0x0200 if short else 0)
        answers = () if short else self.answers
        question = query[12 : query.index(b"\0", 12) + 5]
        return (number or query[:2]) + struct.pack("!HHHHH", flags, 1, len(answers), 0, 0) + question + b"".join(answers)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked.append(data)
        for _ in range(self.forgeries):
            wrong = bytes((data[0] ^ 1, data[1]))
            self.transport.sendto(self.reply(data, over_tcp=False, number=wrong), addr)
        if not self.silent:
            self.transport.sendto(self.reply(data, over_tcp=False), addr)

    async def serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        data = self.reply(query, over_tcp=True)
        writer.write(len(data).to_bytes(2, "big") + data)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(server: NameServer) -> AsyncIterator[Address]:
    loop = asyncio.get_running_loop()
    for _ in range(20):
        streams = await asyncio.start_server(server.serve_stream, "127.0.0.1", 0)
        port = streams.sockets[0].getsockname()[1]
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", port))
            break
        except OSError:
            streams.close()
    try:
        yield "127.0.0.1", port
    finally:
        transport.close()
        streams.close()
        await streams.wait_closed()
        await asyncio.sleep(0)


def library(address: Address) -> DnsLibrary:
    resolver = extras.require("dns", "dns.asyncresolver", "the test").Resolver(configure=False)
    resolver.nameservers, resolver.port = [address[0]], address[1]
    return DnsLibrary(resolver)


def clients(address: Address) -> list[DnsClient | DnsLibrary]:
    found: list[DnsClient | DnsLibrary] = [DnsClient((address,))]
    return [*found, library(address)] if extras.available("dns.asyncresolver") else found


async def test_srv_and_naptr_are_looked_up_by_both_clients_alike() -> None:
    async with serving(NameServer(SRV)) as address:
        for client in clients(address):
            answer = await client.resolve_dns("_sip._udp.example.test", "SRV")
            assert answer.records == (ServiceRecord(10, 60, 5060, "a.example.test"),)
            assert answer.ttl == 300
    async with serving(NameServer(NAPTR)) as address:
        for client in clients(address):
            answer = await client.resolve_dns("example.test", "NAPTR")
            assert answer.records == (NaptrRecord(1, 2, "s", "SIP+D2T", "", "_sip._tcp.example.test"),)


async def test_no_such_name_and_no_such_record_are_empty_answers() -> None:
    for status in (0, 3):
        async with serving(NameServer(status=status)) as address:
            for client in clients(address):
                assert (await client.resolve_dns("example.test", "SRV")).records == ()


async def test_what_does_not_fit_into_a_datagram_comes_over_tcp() -> None:
    async with serving(NameServer(SRV, truncated=True)) as address:
        for client in clients(address):
            assert len((await client.resolve_dns("_sip._udp.example.test", "SRV")).records) == 1


async def test_forged_answers_are_passed_over() -> None:
    async with serving(NameServer(SRV, forgeries=20)) as address:
        assert len((await DnsClient((address,)).resolve_dns("_sip._udp.example.test", "SRV")).records) == 1


async def test_questions_have_random_ids() -> None:
    server = NameServer(SRV)
    async with serving(server) as address:
        for _ in range(8):
            await DnsClient((address,)).resolve_dns("_sip._udp.example.test", "SRV")
    assert len({query[:2] for query in server.asked}) > 4


async def test_a_flood_of_wrong_answers_and_a_server_that_fails_make_the_next_one_be_asked() -> None:
    async with serving(NameServer(SRV)) as good:
        async with serving(NameServer(SRV, forgeries=100)) as flooded, serving(NameServer(status=2)) as failing:
            client = DnsClient((flooded, failing, good))
            assert len((await client.resolve_dns("_sip._udp.example.test", "SRV")).records) == 1


async def test_a_server_that_is_silent_or_not_there_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_client, "_TIMEOUTS", (0.05, 0.1))
    async with serving(NameServer(silent=True)) as address:
        with pytest.raises(NetworkError, match="gives no answer"):
            await DnsClient((address,)).resolve_dns("example.test", "SRV")
    with pytest.raises(NetworkError, match="gives no answer"):
        await DnsClient((address,)).resolve_dns("example.test", "SRV")
    with pytest.raises(NetworkError, match="no name server is configured"):
        await DnsClient(()).resolve_dns("example.test", "SRV")


def test_name_servers_are_read_from_resolv_conf(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# nameserver 1.1.1.1\nsearch home\nnameserver 192.168.178.1\nnameserver fd00::1\nnameserver nonsense\nnameserver 9.9.9.9\n"
    )
    assert name_servers(path) == (("192.168.178.1", 53), ("fd00::1", 53), ("9.9.9.9", 53))
    assert name_servers(tmp_path / "missing") == ()
