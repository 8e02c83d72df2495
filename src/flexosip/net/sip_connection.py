"""One TCP connection that carries SIP: framing, deadlines, keep-alive.

RFC 3261 §18.3, RFC 5626 §4.4.1
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flexosip.errors import NetworkError
from flexosip.net.address import format_address
from flexosip.sansio import Timer
from flexosip.sip.flow import Flow
from flexosip.sip.framing import StreamFramer
from flexosip.sip.grammar import SipParseError

if TYPE_CHECKING:
    from flexosip.net.network import StreamConnection
    from flexosip.net.stream_flows import StreamFlows

__all__ = ["SipConnection"]

logger = logging.getLogger(__name__)

_PING = b"\r\n\r\n"
_PONG = b"\r\n"


class SipConnection:
    """A connection, its framer and its one deadline timer.

    Args:
        table: what it belongs to.
        accepted: the peer opened it.
    """

    def __init__(self, table: StreamFlows, connection: StreamConnection, *, accepted: bool) -> None:
        self.accepted = accepted
        self.proven = False
        """True once a complete message came."""
        self._table = table
        self._connection = connection
        self._framer = StreamFramer()
        # The zone of a link-local address means nothing to the peer.
        local = (connection.local[0].partition("%")[0], connection.local[1])
        self.flow = Flow("tcp", local, connection.remote, connection=self)
        now = table.scheduler.now
        self.active_at = now
        """when something came last"""
        self._opened_at = now
        self._sent_at = now
        self._message_at = now
        self._pending_since: float | None = None
        self._pinged_at: float | None = None
        self._pings_answered = 0
        self._timer: Timer | None = None
        self._over = False

    def start(self) -> None:
        """Begin to read."""
        self._watch()
        self._connection.on_lost = self._on_lost
        self._connection.on_data = self._on_data

    def send(self, data: bytes) -> None:
        """Send a message."""
        self._sent_at = self._message_at = self._table.scheduler.now
        self._connection.write(data)

    # -- receiving -------------------------------------------------------------------------------------------------

    def _on_data(self, data: bytes) -> None:
        if self._over:
            return
        framer, now = self._framer, self._table.scheduler.now
        self.active_at = now
        self._pinged_at = None
        try:
            messages = framer.receive(data)
        except SipParseError as error:
            self._refuse(error)
            return
        if framer.pings > self._pings_answered:
            # One answer for all pings of one piece would do; each its own is what RFC 5626 §3.5.1 asks for.
            self._connection.write(_PONG * (framer.pings - self._pings_answered))
            self._pings_answered = framer.pings
        if messages:
            self.proven = True
            self._message_at = now
            self._pending_since = None
            for message in messages:
                self._table.received += 1
                self._table.receive(message, self.flow)
                if not self.flow.alive:
                    return
        if framer.error is not None:
            self._refuse(framer.error)
            return
        if not framer.pending:
            self._pending_since = None
        elif self._pending_since is None:
            self._pending_since = now
            self._watch()

    def _refuse(self, error: SipParseError) -> None:
        logger.info("stream from %s is no SIP: %s", format_address(self.flow.remote), error)
        self._table.malformed(error, self.flow)
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

    def _next_deadline(self) -> float | None:
        limits = self._table.limits
        deadlines = []
        if self._pending_since is not None:
            deadlines.append(self._pending_since + limits.message)
        if not self.accepted:
            deadlines += [self._message_at + limits.quiet, self._sent_at + limits.ping]
            if self._pinged_at is not None and self._framer.pongs:
                deadlines.append(self._pinged_at + limits.pong)
        elif not self.proven:
            deadlines.append(self._opened_at + limits.first_message)
        return min(deadlines, default=None)

    def _on_timer(self) -> None:
        self._timer = None
        limits, now = self._table.limits, self._table.scheduler.now
        where = format_address(self.flow.remote)
        if self._pending_since is not None and now >= self._pending_since + limits.message:
            self._time_out(f"{where} did not complete its message in {limits.message:g} s.")
        elif self.accepted and not self.proven and now >= self._opened_at + limits.first_message:
            self._time_out(f"{where} sent no message in {limits.first_message:g} s.")
        elif not self.accepted and self._pinged_at is not None and self._framer.pongs and now >= self._pinged_at + limits.pong:
            self._time_out(f"{where} does not answer keep-alive pings any more.")
        elif not self.accepted and now >= self._message_at + limits.quiet:
            self._finish(NetworkError(f"The connection to {where} was not used for {limits.quiet:g} s."))
            self._connection.close()
        else:
            if not self.accepted and now >= self._sent_at + limits.ping:
                self._ping(now)
            self._watch()

    def _ping(self, now: float) -> None:
        self._sent_at = now
        self._pinged_at = now
        self._framer.pongs_due += 1
        self._connection.write(_PING)

    def _time_out(self, words: str) -> None:
        self._table.timed_out += 1
        logger.info("connection closed: %s", words)
        self.abort(NetworkError(words))

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close when what was written has been sent."""
        self._connection.close()

    def abort(self, error: NetworkError) -> None:
        """Close at once and fail the flow."""
        self._finish(error)
        self._connection.abort()

    def _on_lost(self, error: Exception | None) -> None:
        where = format_address(self.flow.remote)
        self._finish(NetworkError(f"{where} closed the connection." if error is None else f"The connection to {where} broke: {error}."))

    def _finish(self, error: NetworkError) -> None:
        if self._over:
            return
        self._over = True
        self.flow.alive = False
        if self._timer is not None:
            self._timer.cancel()
        self._table.lost(self, error)
