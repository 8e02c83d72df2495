"""The connections of a driver, TCP, TLS and WebSocket: accepted and opened, kept alive, and bounded against those who only hold them.

Accepted connections have to bring a message soon, and each message has to be complete soon; their number is limited in all and for
each source. Connections that we opened are pinged (CRLF CRLF) while nothing else is sent, used again for the same remote address, and
closed when nothing has come or gone for hours. A TLS connection is used again only for a domain that its peer's certificate names.

RFC 3261 §18.1.1, §18.2.2, §18.3; RFC 5626 §4.4.1; RFC 5922 §4; RFC 5923
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from flexosip.errors import NetworkError
from flexosip.net.address import Address, ListenAddress, format_address, is_ipv6, is_wildcard
from flexosip.net.channel import Channel, StreamChannel
from flexosip.net.datagram_flows import advertised_via
from flexosip.net.network import Listener, Network, StreamConnection
from flexosip.net.opening import Destination, open_connection
from flexosip.net.sip_connection import SipConnection
from flexosip.net.tls import TlsContexts, TlsSettings
from flexosip.net.tls_stream import TlsStream
from flexosip.net.websocket import WebSocketChannel, require_websockets
from flexosip.sansio import Scheduler
from flexosip.sip.flow import Flow
from flexosip.sip.grammar import SipParseError
from flexosip.sip.next_hop import DEFAULT_PORTS, SECURE_TRANSPORTS, WEB_TRANSPORTS

__all__ = ["StreamFlows", "StreamLimits"]

logger = logging.getLogger(__name__)

_COMPLAIN_EVERY = 60.0
"""Seconds between two log lines about refused connections: an attack must not fill the log."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bounds of connections; times in seconds."""

    accepted: int = 256
    """accepted connections in all"""
    accepted_from_one: int = 16
    """accepted connections from one source address"""
    handshake: float = 10.0
    """for the handshakes of TLS and WebSocket together, of connections accepted and opened"""
    first_message: float = 30.0
    """for the first complete message of an accepted connection"""
    message: float = 10.0
    """from the first to the last octet of a message"""
    ping: float = 30.0
    """after which a connection that we opened and on which nothing was sent gets a ping"""
    pong: float = 10.0
    """for the answer to a ping, by a peer that has answered one before (RFC 5626 §4.4.1), or over WebSocket"""
    quiet: float = 7200.0
    """after which a connection that we opened and over which no message went either way is closed"""
    idle: float = 120.0
    """after which an accepted connection without traffic may be closed in favour of a new one when there are too many"""


class StreamFlows:
    """All connections of one driver.

    Args:
        tls: certificates and authorities, for `tls` and `wss`.
        receive: gets each message with its flow.
        malformed: gets what is no SIP, before the connection is closed; it may send an answer.
        failed: gets flows whose connection is over.
    """

    def __init__(
        self,
        network: Network,
        scheduler: Scheduler,
        limits: StreamLimits,
        *,
        receive: Callable[[bytes, Flow], None],
        malformed: Callable[[SipParseError, Flow], None],
        failed: Callable[[Flow, NetworkError], None],
        tls: TlsSettings | None = None,
    ) -> None:
        self.network = network
        self.contexts = TlsContexts(tls)
        self.scheduler = scheduler
        self.limits = limits
        self.receive = receive
        self.malformed = malformed
        self.failed = failed
        self.received = 0
        self.sent = 0
        self.refused = 0
        self.timed_out = 0
        self._listeners: list[tuple[str, Listener]] = []
        self._connections: dict[int, SipConnection] = {}  # by identity, in the order of their age
        self._by_remote: dict[tuple[str, Address], list[SipConnection]] = {}
        self._opening: dict[Destination, asyncio.Task[SipConnection]] = {}
        self._waiting: dict[Destination, int] = {}
        self._complained = -_COMPLAIN_EVERY
        self._random = getattr(network, "random", None) or random.SystemRandom()
        self._closed = False
        self.advertised: tuple[str, int | None] | None = None
        """Host and port that our Via tells instead of our own."""
        self._all_gone: asyncio.Event | None = None

    # -- listening -------------------------------------------------------------------------------------------------

    async def open(self, host: str, port: int, transport: str = "tcp") -> Address:
        """Listen on one more address.

        Raises:
            NetworkError: it cannot be bound. ConfigurationError: the TLS files cannot be used. MissingExtra: for WebSocket.
        """
        if transport in SECURE_TRANSPORTS:
            self.contexts.server()
        if transport in WEB_TRANSPORTS:
            require_websockets()
        listener = await self.network.open_listener(host, port, lambda connection: self._accept(connection, transport))
        self._listeners.append((transport, listener))
        return listener.address

    @property
    def addresses(self) -> list[ListenAddress]:
        """Where we listen."""
        return [
            ListenAddress(transport, *listener.address)
            for wanted in DEFAULT_PORTS
            for transport, listener in self._listeners
            if transport == wanted
        ]

    @property
    def count(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    def listening_port(self, local_host: str, transport: str | None = None) -> int | None:
        """The port on which others reach us at `local_host` by `transport`, or by any."""
        for exact in (True, False):
            for known, listener in self._listeners:
                host, port = listener.address
                if transport not in (None, known):
                    continue
                if host == local_host if exact else is_wildcard(host) and is_ipv6(host) == is_ipv6(local_host):
                    return port
        return None

    def _accept(self, connection: StreamConnection, transport: str) -> None:
        if self._closed or not self._make_room(connection.remote[0]):
            self.refused += 1
            self._complain(connection.remote)
            connection.abort()
            return
        channel: Channel = WebSocketChannel() if transport in WEB_TRANSPORTS else StreamChannel()
        if transport in SECURE_TRANSPORTS:
            # A renewed certificate is for new connections; those that are there keep theirs.
            connection = TlsStream(connection, self.contexts.server())
        self._add(SipConnection(self, connection, transport, channel, accepted=True))

    def _make_room(self, source: str) -> bool:
        accepted = [known for known in self._connections.values() if known.accepted]
        same = [known for known in accepted if known.flow.remote[0] == source]
        if len(same) >= self.limits.accepted_from_one and not self._give_up_one(same):
            return False
        # Counted again: one of the same source may just have gone.
        accepted = [known for known in self._connections.values() if known.accepted]
        return len(accepted) < self.limits.accepted or self._give_up_one(accepted)

    def _give_up_one(self, candidates: list[SipConnection]) -> bool:
        """Close the oldest connection that never brought a message, else the longest idle one; False: all are in use."""
        victim = next((known for known in candidates if not known.proven), None)
        if victim is None:
            quietest = min(candidates, key=lambda known: known.active_at)
            if self.scheduler.now - quietest.active_at >= self.limits.idle:
                victim = quietest
        if victim is None:
            return False
        victim.abort(NetworkError("The connection was closed in favour of a new one: there are too many."))
        return True

    def _complain(self, remote: Address) -> None:
        if self.scheduler.now - self._complained >= _COMPLAIN_EVERY:
            self._complained = self.scheduler.now
            logger.warning("connection from %s refused: too many are open (%d refused so far)", format_address(remote), self.refused)

    def _add(self, added: SipConnection) -> SipConnection:
        self._connections[id(added)] = added
        self._by_remote.setdefault((added.flow.transport, added.flow.remote), []).append(added)
        added.start()
        return added

    def lost(self, gone: SipConnection, error: NetworkError) -> None:
        """A connection is over."""
        self._connections.pop(id(gone), None)
        key = (gone.flow.transport, gone.flow.remote)
        same = self._by_remote.get(key, [])
        if gone in same:
            same.remove(gone)
            if not same:
                del self._by_remote[key]
        if self._all_gone is not None and not self._connections:
            self._all_gone.set()
        self.failed(gone.flow, error)

    # -- connecting ------------------------------------------------------------------------------------------------

    def existing(self, remote: Address, to: Destination | None = None) -> Flow | None:
        """The flow of a living connection whose other end is `remote`, whoever opened it.

        Args:
            to: what it is for: transport, and the domain that the peer's certificate must name. By default TCP.
        """
        transport = to.transport if to is not None else "tcp"
        for known in reversed(self._by_remote.get((transport, remote), ())):
            if not known.flow.alive:
                continue
            if to is None or (known.speaks_for(to.domain) and (known.accepted or known.path == to.path)):
                return known.flow
        return None

    def connection_from(self, transport: str, remote: Address) -> Flow | None:
        """The flow of the living connection between us and `remote`, for those who know by other means that it is the right one."""
        for known in reversed(self._by_remote.get((transport, remote), ())):
            if known.flow.alive:
                return known.flow
        return None

    async def connect(self, to: Destination, timeout: float, *, local: str | None = None) -> Flow:
        """The flow of a connection to `to.remote`: one that there is, or a new one.

        Raises:
            NetworkError: refused, unreachable, or not there after `timeout` seconds; or it fails at TLS or WebSocket.
            CertificateError: (a NetworkError) it is not whom we want to reach. ConfigurationError: our own TLS files cannot be used.
        """
        flow = self.existing(to.remote, to)
        if flow is not None:
            return flow
        task = self._opening.get(to)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._open(to, timeout, local))
            self._opening[to] = task
            task.add_done_callback(lambda done: self._open_done(to, done))
        # Several requests may wait for one connection, and one of them may be cancelled; with the last one the connection is.
        self._waiting[to] = self._waiting.get(to, 0) + 1
        try:
            return (await asyncio.shield(task)).flow
        except asyncio.CancelledError:
            if self._waiting[to] == 1:
                task.cancel()
            raise
        finally:
            self._waiting[to] -= 1
            if not self._waiting[to]:
                del self._waiting[to]

    def _open_done(self, to: Destination, task: asyncio.Task[SipConnection]) -> None:
        self._opening.pop(to, None)
        if not task.cancelled():
            task.exception()  # those who wait for it get it; if all of them were cancelled, nobody needs it

    async def _open(self, to: Destination, timeout: float, local: str | None) -> SipConnection:
        opened = await open_connection(
            self.network, self.contexts, to, timeout=timeout, handshake_timeout=self.limits.handshake, local=local
        )
        connection, channel = opened
        if self._closed:
            connection.abort()
            raise NetworkError("The sockets have been closed.")
        # Nobody can connect to a WebSocket client, and it shall not look as if (RFC 7118 §5.2.1).
        host_name = f"{self._random.getrandbits(48):012x}.invalid" if to.transport in WEB_TRANSPORTS else None
        return self._add(SipConnection(self, connection, to.transport, channel, accepted=False, path=to.path, host_name=host_name))

    # -- sending ---------------------------------------------------------------------------------------------------

    def transmit(self, flow: Flow, data: bytes) -> bool:
        """Send a message over its connection; False if that has gone."""
        connection = flow.connection
        if not isinstance(connection, SipConnection) or not flow.alive:
            return False
        self.sent += 1
        connection.send(data)
        return True

    def via_address(self, flow: Flow) -> Address | None:
        """What the Via of requests over a new connection tells: the port at which we listen, not the one that it leaves from (§18.1.1)."""
        listening = self.listening_port(flow.local[0], flow.transport)
        own = (flow.local[0], listening or flow.local[1])
        return advertised_via(self.advertised, own, flow.remote[0]) or (own if listening is not None and own != flow.local else None)

    def has_left(self, flow: Flow) -> bool:
        """Whether the own address of the flow's connection is not ours any more."""
        return isinstance(flow.connection, SipConnection) and not self.network.is_own(flow.connection.local_host)

    def abandon(self, flow: Flow, error: NetworkError) -> None:
        """Close the connection of `flow` at once: its own address has gone, so that its end would be noticed only after minutes."""
        if isinstance(flow.connection, SipConnection):
            flow.connection.abort(error)

    def is_accepted(self, flow: Flow) -> bool:
        """True if the peer opened the flow's connection: its port is then none at which it listens."""
        return isinstance(flow.connection, SipConnection) and flow.connection.accepted

    def add_alias(self, flow: Flow, host: str) -> None:
        """Note that `host` is configured as the server of the domain for which the flow's connection was made."""
        if isinstance(flow.connection, SipConnection):
            flow.connection.aliases.add(host)

    def speaks_for(self, flow: Flow, host: str) -> bool:
        """True if requests within what goes on over `flow` may stay on it when they are meant for `host`, a name."""
        connection = flow.connection
        return isinstance(connection, SipConnection) and (host in connection.aliases or connection.speaks_for(host))

    # -- the end ---------------------------------------------------------------------------------------------------

    def close_listener(self, address: Address) -> None:
        """Stop listening at `address`."""
        for entry in [known for known in self._listeners if known[1].address == address]:
            entry[1].close()
            self._listeners.remove(entry)

    async def close(self, grace: float = 1.0) -> None:
        """Close everything; what was written may take `grace` seconds to go out."""
        self._closed = True
        for _, listener in self._listeners:
            listener.close()
        self._listeners.clear()
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        if opening:
            await asyncio.wait(opening)
        for connection in list(self._connections.values()):
            connection.close()
        if self._connections:
            self._all_gone = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._all_gone.wait()
            for connection in list(self._connections.values()):
                connection.abort(NetworkError("The connection was closed."))
        # Connections that were just accepted or aborted free their sockets in the next rounds of the loop.
        for _ in range(3):
            await asyncio.sleep(0)
