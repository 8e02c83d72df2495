"""One connection that carries SIP, whatever lies beneath: messages, deadlines, keep-alive.

RFC 3261 §18.3, RFC 5626 §4.4.1, RFC 7118 §6
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flexosip.errors import NetworkError
from flexosip.net.address import format_address
from flexosip.net.certificate import CertificateNames
from flexosip.net.tls_stream import TlsStream
from flexosip.sansio import Timer
from flexosip.sip.flow import Flow
from flexosip.sip.grammar import SipParseError

if TYPE_CHECKING:
    from flexosip.net.channel import Channel
    from flexosip.net.network import StreamConnection
    from flexosip.net.stream_flows import StreamFlows

__all__ = ["SipConnection"]

logger = logging.getLogger(__name__)


class SipConnection:
    """A connection, its channel and its one deadline timer.

    Args:
        table: what it belongs to.
        transport: `tcp`, `tls`, `ws` or `wss`.
        accepted: the peer opened it.
        path: of the WebSocket that we opened.
        host_name: what we call ourselves where nobody can connect to us (RFC 7118 §5.2.1).
    """

    def __init__(
        self,
        table: StreamFlows,
        connection: StreamConnection,
        transport: str,
        channel: Channel,
        *,
        accepted: bool,
        path: str = "/",
        host_name: str | None = None,
    ) -> None:
        self.accepted = accepted
        self.path = path
        self.aliases: set[str] = set()
        """Hosts that are configured as servers of the domain for which this connection was made."""
        self.proven = False
        """True once a complete message came."""
        self._table = table
        self._connection = connection
        self._channel = channel
        # The zone of a link-local address means nothing to the peer.
        local = (connection.local[0].partition("%")[0], connection.local[1])
        self.flow = Flow(transport, local, connection.remote, connection=self)
        self.flow.host_name = host_name
        self.flow.via_address = table.via_address(self.flow)
        self._tls = connection if isinstance(connection, TlsStream) else None
        self._ready = False
        now = table.scheduler.now
        self.active_at = now
        """when something came last"""
        self._opened_at = now
        self._sent_at = now
        self._message_at = now
        self._pending_since: float | None = None
        self._pinged_at: float | None = None
        self._timer: Timer | None = None
        self._over = False

    @property
    def local_host(self) -> str:
        """Our address, with its zone."""
        return self._connection.local[0]

    def start(self) -> None:
        """Begin to read."""
        self._watch()
        self._connection.on_lost = self._on_lost
        self._connection.on_data = self._on_data
        if not self.accepted:
            self._on_data(b"")  # what came with the opening

    def send(self, data: bytes) -> None:
        """Send a message."""
        self._sent_at = self._message_at = self._table.scheduler.now
        self._connection.write(self._channel.wrap(data))

    @property
    def names(self) -> CertificateNames | None:
        """The names in the peer's verified certificate; None: it showed none."""
        return self._tls.names if self._tls is not None else None

    def speaks_for(self, domain: str) -> bool:
        """True if the peer may get what is meant for `domain`: without TLS anybody may, with it the certificate decides."""
        if self._tls is None:
            return True
        names = self._tls.names
        return names is not None and names.covers(domain, web=self.flow.transport == "wss")

    # -- receiving -------------------------------------------------------------------------------------------------

    def _on_data(self, data: bytes) -> None:
        if self._over:
            return
        channel, now = self._channel, self._table.scheduler.now
        self.active_at = now
        self._pinged_at = None
        try:
            messages = channel.receive(data)
        except SipParseError as error:
            self._refuse(error)
            return
        self._pay()
        if messages:
            if self.names is not None and not self.flow.peer_names:
                self.flow.peer_names = self.names.all
            self.proven = True
            self._message_at = now
            self._pending_since = None
            for message in messages:
                self._table.received += 1
                self._table.receive(message, self.flow)
                if not self.flow.alive:
                    return
        if channel.error is not None:
            self._refuse(channel.error)
        elif channel.over:
            self._finish(NetworkError(f"{format_address(self.flow.remote)} closed the WebSocket."))
            self._connection.close()
        elif not channel.pending:
            self._pending_since = None
        elif self._pending_since is None:
            self._pending_since = now
            self._watch()

    def _pay(self) -> None:
        """Write what the channel owes for what was received."""
        owed = self._channel.owed()
        if owed:
            self._connection.write(owed)

    def _refuse(self, error: SipParseError) -> None:
        logger.info("stream from %s is no SIP: %s", format_address(self.flow.remote), error)
        self._table.malformed(error, self.flow)
        self._pay()
        self._finish(NetworkError(f"What {format_address(self.flow.remote)} sent is no SIP: {error}."))
        self._connection.close()

    # -- deadlines -------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Set the timer to the next deadline; it looks again then, because most deadlines have moved on by that time."""
        if self._over:
            return
        when = self._next_deadline()
        if when is None:
            return
        if self._timer is not None and self._timer.active:
            if self._timer.when <= when:
                return
            self._timer.cancel()
        self._timer = self._table.scheduler.call_at(when, self._on_timer)

    @property
    def _shaken(self) -> bool:
        """True once all handshakes are done."""
        if not self._ready:
            self._ready = (self._tls is None or self._tls.established) and self._channel.open
        return self._ready

    @property
    def _pings(self) -> bool:
        return not self.accepted or (self._channel.pings_accepted and self._shaken)

    def _next_deadline(self) -> float | None:
        limits = self._table.limits
        deadlines = []
        if self._pending_since is not None:
            deadlines.append(self._pending_since + limits.message)
        if self.accepted and not self._shaken:
            deadlines.append(self._opened_at + limits.handshake)
        if self.accepted and not self.proven:
            deadlines.append(self._opened_at + limits.first_message)
        if not self.accepted:
            deadlines.append(self._message_at + limits.quiet)
        if self._pings:
            deadlines.append(self._sent_at + limits.ping)
            if self._pinged_at is not None and self._channel.answers_pings:
                deadlines.append(self._pinged_at + limits.pong)
        return min(deadlines, default=None)

    def _on_timer(self) -> None:
        self._timer = None
        limits, now = self._table.limits, self._table.scheduler.now
        where = format_address(self.flow.remote)
        if self._pending_since is not None and now >= self._pending_since + limits.message:
            self._time_out(f"{where} did not complete its message in {limits.message:g} s.")
        elif self.accepted and not self._shaken and now >= self._opened_at + limits.handshake:
            self._time_out(f"{where} did not complete the handshake in {limits.handshake:g} s.")
        elif self.accepted and not self.proven and now >= self._opened_at + limits.first_message:
            self._time_out(f"{where} sent no message in {limits.first_message:g} s.")
        elif self._pinged_at is not None and self._channel.answers_pings and now >= self._pinged_at + limits.pong:
            self._time_out(f"{where} does not answer keep-alive pings any more.")
        elif not self.accepted and now >= self._message_at + limits.quiet:
            self._finish(NetworkError(f"The connection to {where} was not used for {limits.quiet:g} s."))
            self._goodbye()
        else:
            if self._pings and now >= self._sent_at + limits.ping:
                self._ping(now)
            self._watch()

    def _ping(self, now: float) -> None:
        self._sent_at = now
        self._pinged_at = now
        self._connection.write(self._channel.ping())

    def _time_out(self, words: str) -> None:
        self._table.timed_out += 1
        logger.info("connection closed: %s", words)
        self.abort(NetworkError(words))

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close when what was written has been sent."""
        self._goodbye()

    def _goodbye(self) -> None:
        farewell = self._channel.farewell()
        if farewell:
            self._connection.write(farewell)
        self._connection.close()

    def abort(self, error: NetworkError) -> None:
        """Close at once and fail the flow."""
        self._finish(error)
        self._connection.abort()

    def _on_lost(self, error: Exception | None) -> None:
        where = format_address(self.flow.remote)
        if self.accepted and self._tls is not None and not self._shaken and not self._over:
            logger.info("no TLS with %s: %s", where, error)
        if isinstance(error, NetworkError):
            self._finish(error)
        else:
            self._finish(NetworkError(f"{where} closed the connection." if error is None else f"The connection to {where} broke: {error}."))

    def _finish(self, error: NetworkError) -> None:
        if self._over:
            return
        self._over = True
        self.flow.alive = False
        self.flow.failure = error
        if self._timer is not None:
            self._timer.cancel()
        self._table.lost(self, error)
