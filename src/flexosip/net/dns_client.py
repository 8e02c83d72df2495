"""A small DNS client: SRV and NAPTR without any other package.

It asks the name servers of /etc/resolv.conf one after the other, over UDP from a fresh port with a random id, and over TCP where the
answer does not fit. It keeps no cache: whoever asks knows best how long to believe an answer.

RFC 1035 §4.2, RFC 5452 (forged answers), RFC 7766 (TCP)
"""

from __future__ import annotations

import asyncio
import logging
import random as random_module
import socket
from dataclasses import dataclass
from pathlib import Path

from flexosip.net.address import Address, canonical_ip, is_ipv6
from flexosip.net.dns_message import DnsFormatError, DnsReply, create_query, parse_reply
from flexosip.net.dns_records import DnsAnswer, RecordKind
from flexosip.net.failures import no_name_server

__all__ = ["DnsClient", "name_servers"]

logger = logging.getLogger(__name__)

RESOLV_CONF = Path("/etc/resolv.conf")
_PORT = 53
_TIMEOUTS = (1.0, 2.0)
"""Seconds for one server: first once around all of them, then again with more patience."""
_TCP_TIMEOUT = 3.0
_MOST_SERVERS = 3
_LARGEST = 65535
_MOST_FORGERIES = 50
"""Datagrams that are no answer to our question; then somebody floods us and the next server is asked."""
_NO_ERROR, _NO_SUCH_NAME = 0, 3


@dataclass(frozen=True, slots=True)
class _Question:
    name: str
    kind: RecordKind


class DnsClient:
    """Asks name servers.

    Args:
        servers: their addresses; None: those of /etc/resolv.conf, read anew for each question, because networks change.
    """

    def __init__(self, servers: tuple[Address, ...] | None = None) -> None:
        self._servers = servers
        self._random = random_module.SystemRandom()

    async def resolve_dns(self, name: str, kind: RecordKind) -> DnsAnswer:
        """The records of that kind; none of them if there is no such name.

        Raises:
            NetworkError: no name server answers, or `name` is no domain name.
        """
        question = _Question(name, kind)
        servers = name_servers() if self._servers is None else self._servers
        failure = "no name server is configured"
        for timeout in _TIMEOUTS:
            for server in servers:
                try:
                    reply = await self._ask(server, question, timeout)
                except DnsFormatError as error:
                    failure = str(error)
                    continue
                except (OSError, EOFError) as error:  # TimeoutError is an OSError, a TCP connection that ends early an EOFError
                    failure = f"{server[0]} gives no answer ({type(error).__name__})"
                    continue
                if reply.status in (_NO_ERROR, _NO_SUCH_NAME):
                    return DnsAnswer(reply.records if reply.status == _NO_ERROR else (), reply.ttl)
                failure = f"{server[0]} cannot answer (status {reply.status})"
        logger.debug("%s of %s: %s", kind, name, failure)
        raise no_name_server(name, failure)

    async def _ask(self, server: Address, question: _Question, timeout: float) -> DnsReply:
        number = self._random.getrandbits(16)
        query = create_query(number, question.name, question.kind)
        async with asyncio.timeout(timeout):
            reply = await self._ask_by_udp(server, query, number, question)
        if reply.truncated:
            async with asyncio.timeout(_TCP_TIMEOUT):
                reply = await self._ask_by_tcp(server, query, number, question)
        return reply

    async def _ask_by_udp(self, server: Address, query: bytes, number: int, question: _Question) -> DnsReply:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET6 if is_ipv6(server[0]) else socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.setblocking(False)
            # Connected: the kernel lets only the server's answers in, and tells us when nothing listens there.
            own.connect(server)
            await loop.sock_sendall(own, query)
            for _ in range(_MOST_FORGERIES):
                data = await loop.sock_recv(own, _LARGEST)
                try:
                    return parse_reply(data, number, question.name, question.kind)
                except DnsFormatError as error:
                    # Perhaps a forgery that shall make us stop listening: the true answer may still come.
                    logger.debug("a datagram of the name server %s: %s", server[0], error)
        raise DnsFormatError(f"{server[0]} sends nothing but wrong answers")

    async def _ask_by_tcp(self, server: Address, query: bytes, number: int, question: _Question) -> DnsReply:
        reader, writer = await asyncio.open_connection(*server)
        try:
            writer.write(len(query).to_bytes(2, "big") + query)
            length = int.from_bytes(await reader.readexactly(2), "big")
            reply = parse_reply(await reader.readexactly(length), number, question.name, question.kind)
        finally:
            writer.close()
        if reply.truncated:
            raise DnsFormatError(f"{server[0]} truncates over TCP too")
        return reply


def name_servers(path: Path = RESOLV_CONF) -> tuple[Address, ...]:
    """The name servers of a resolv.conf, three at most; none if it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        logger.debug("%s cannot be read: %s", path, error)
        return ()
    found = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and canonical_ip(words[1]) is not None:
            found.append((words[1], _PORT))
    return tuple(found[:_MOST_SERVERS])
