"""The TCP connections of a driver: accepted and opened, framed, kept alive, and bounded against those who only hold them open.

Accepted connections have to bring a message soon, and each message has to be complete soon; their number is limited in all and for
each source. Connections that we opened are pinged (CRLF CRLF) while nothing else is sent, used again for the same remote address, and
closed when nothing has come or gone for hours.

RFC 3261 §18.1.1, §18.2.2, §18.3; RFC 5626 §4.4.1
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from flexosip.errors import NetworkError
from flexosip.net.address import Address, ListenAddress, format_address, is_ipv6, is_wildcard
from flexosip.net.failures import connect_failure, connect_timeout
from flexosip.net.network import Listener, Network, StreamConnection
from flexosip.net.sip_connection import SipConnection
from flexosip.sansio import Scheduler
from flexosip.sip.flow import Flow
from flexosip.sip.grammar import SipParseError

__all__ = ["StreamFlows", "StreamLimits"]

logger = logging.getLogger(__name__)

_COMPLAIN_EVERY = 60.0
"""Seconds between two log lines about refused connections: an attack must not fill the log."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bounds of TCP connections; times in seconds."""

    accepted: int = 256
    """accepted connections in all"""
    accepted_from_one: int = 16
    """accepted connections from one source address"""
    first_message: float = 30.0
    """for the first complete message of an accepted connection"""
    message: float = 10.0
    """from the first to the last octet of a message"""
    ping: float = 30.0
    """after which a connection that we opened and on which nothing was sent gets a ping"""
    pong: float = 10.0
    """for the answer to a ping, by a peer that has answered one before (RFC 5626 §4.4.1)"""
    quiet: float = 7200.0
    """after which a connection that we opened and over which no message went either way is closed"""
    idle: float = 120.0
    """after which an accepted connection without traffic may be closed in favour of a new one when there are too many"""


class StreamFlows:
    """All TCP connections of one driver.

    Args:
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
    ) -> None:
        self.network = network
        self.scheduler = scheduler
        self.limits = limits
        self.receive = receive
        self.malformed = malformed
        self.failed = failed
        self.received = 0
        self.sent = 0
        self.refused = 0
        self.timed_out = 0
        self._listeners: list[Listener] = []
        self._connections: dict[int, SipConnection] = {}  # by identity, in the order of their age
        self._by_remote: dict[Address, SipConnection] = {}
        self._opening: dict[Address, asyncio.Task[SipConnection]] = {}
        self._waiting: dict[Address, int] = {}
        self._complained = -_COMPLAIN_EVERY
        self._closed = False
        self._all_gone: asyncio.Event | None = None

    # -- listening -------------------------------------------------------------------------------------------------

    async def open(self, host: str, port: int) -> Address:
        """Listen on one more address.

        Raises:
            NetworkError: it cannot be bound.
        """
        listener = await self.network.open_listener(host, port, self._accept)
        self._listeners.append(listener)
        return listener.address

    @property
    def addresses(self) -> list[ListenAddress]:
        """Where we listen."""
        return [ListenAddress("tcp", *listener.address) for listener in self._listeners]

    @property
    def count(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    def listening_port(self, local_host: str) -> int | None:
        """The port on which others reach us at `local_host` by TCP."""
        for exact in (True, False):
            for listener in self._listeners:
                host, port = listener.address
                if host == local_host if exact else is_wildcard(host) and is_ipv6(host) == is_ipv6(local_host):
                    return port
        return None

    def _accept(self, connection: StreamConnection) -> None:
        if self._closed or not self._make_room(connection.remote[0]):
            self.refused += 1
            self._complain(connection.remote)
            connection.abort()
            return
        self._add(connection, accepted=True)

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
            logger.warning("TCP connection from %s refused: too many are open (%d refused so far)", format_address(remote), self.refused)

    def _add(self, connection: StreamConnection, *, accepted: bool) -> SipConnection:
        added = SipConnection(self, connection, accepted=accepted)
        self._connections[id(added)] = added
        self._by_remote[connection.remote] = added
        added.start()
        return added

    def lost(self, gone: SipConnection, error: NetworkError) -> None:
        """A connection is over."""
        self._connections.pop(id(gone), None)
        if self._by_remote.get(gone.flow.remote) is gone:
            del self._by_remote[gone.flow.remote]
        if self._all_gone is not None and not self._connections:
            self._all_gone.set()
        self.failed(gone.flow, error)

    # -- connecting ------------------------------------------------------------------------------------------------

    def existing(self, remote: Address) -> Flow | None:
        """The flow of a living connection whose other end is `remote`, whoever opened it."""
        known = self._by_remote.get(remote)
        return known.flow if known is not None and known.flow.alive else None

    async def connect(self, remote: Address, timeout: float, *, local: str | None = None) -> Flow:
        """The flow of a connection to `remote`: the one there is, or a new one.

        Raises:
            NetworkError: refused, unreachable, or not there after `timeout` seconds.
        """
        flow = self.existing(remote)
        if flow is not None:
            return flow
        task = self._opening.get(remote)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._open(remote, timeout, local))
            self._opening[remote] = task
            task.add_done_callback(lambda done: self._open_done(remote, done))
        # Several requests may wait for one connection, and one of them may be cancelled; with the last one the connection is.
        self._waiting[remote] = self._waiting.get(remote, 0) + 1
        try:
            return (await asyncio.shield(task)).flow
        except asyncio.CancelledError:
            if self._waiting[remote] == 1:
                task.cancel()
            raise
        finally:
            self._waiting[remote] -= 1
            if not self._waiting[remote]:
                del self._waiting[remote]

    def _open_done(self, remote: Address, task: asyncio.Task[SipConnection]) -> None:
        self._opening.pop(remote, None)
        if not task.cancelled():
            task.exception()  # those who wait for it get it; if all of them were cancelled, nobody needs it

    async def _open(self, remote: Address, timeout: float, local: str | None) -> SipConnection:
        try:
            async with asyncio.timeout(timeout):
                connection = await self.network.connect(*remote, local=local)
        except NetworkError:
            raise
        except TimeoutError:
            raise connect_timeout(remote) from None
        except OSError as error:
            raise connect_failure(remote, error) from error
        if self._closed:
            connection.abort()
            raise NetworkError("The sockets have been closed.")
        return self._add(connection, accepted=False)

    # -- sending ---------------------------------------------------------------------------------------------------

    def transmit(self, flow: Flow, data: bytes) -> bool:
        """Send a message over its connection; False if that has gone."""
        connection = flow.connection
        if not isinstance(connection, SipConnection) or not flow.alive:
            return False
        self.sent += 1
        connection.send(data)
        return True

    def is_accepted(self, flow: Flow) -> bool:
        """True if the peer opened the flow's connection: its port is then none at which it listens."""
        return isinstance(flow.connection, SipConnection) and flow.connection.accepted

    # -- the end ---------------------------------------------------------------------------------------------------

    def close_listener(self, address: Address) -> None:
        """Stop listening at `address`."""
        for listener in [known for known in self._listeners if known.address == address]:
            listener.close()
            self._listeners.remove(listener)

    async def close(self, grace: float = 1.0) -> None:
        """Close everything; what was written may take `grace` seconds to go out."""
        self._closed = True
        for listener in self._listeners:
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
