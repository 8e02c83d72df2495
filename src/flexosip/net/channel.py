"""How messages lie in the octets of a connection: one after the other (TCP, TLS), or each in a frame (WebSocket).

A channel is a machine: octets in, messages out, and what it owes the peer for them.
"""

from __future__ import annotations

from typing import Protocol

from flexosip.sip.framing import StreamFramer
from flexosip.sip.grammar import SipParseError

__all__ = ["Channel", "StreamChannel"]


class Channel(Protocol):
    """The two directions of one connection."""

    @property
    def open(self) -> bool:
        """True once messages can be sent."""

    @property
    def over(self) -> bool:
        """True when the peer has said goodbye, or was refused: what is owed goes out, then the connection is closed."""

    @property
    def pending(self) -> bool:
        """True while part of a message, or of the opening, waits for the rest."""

    @property
    def error(self) -> SipParseError | None:
        """Why nothing more can be read, or None."""

    @property
    def answers_pings(self) -> bool:
        """True if a ping without an answer means that the peer has gone."""

    @property
    def pings_accepted(self) -> bool:
        """True if connections that the peer opened are pinged too."""

    def receive(self, data: bytes) -> list[bytes]:
        """Take octets in; the messages that are complete now, in order.

        Raises:
            SipParseError: nothing more can be read.
        """

    def owed(self) -> bytes:
        """What has to be written now: answers to pings, the opening, a goodbye."""

    def wrap(self, message: bytes) -> bytes:
        """A message as octets of the connection."""

    def ping(self) -> bytes:
        """A keep-alive ping."""

    def farewell(self) -> bytes:
        """What is said before the connection is closed."""


class StreamChannel:
    """Messages one after the other, Content-Length between them; CRLF CRLF is a ping, CRLF its answer.

    RFC 3261 §18.3, RFC 5626 §4.4.1
    """

    __slots__ = ("_answered", "_framer")

    open = True
    over = False
    pings_accepted = False

    def __init__(self) -> None:
        self._framer = StreamFramer()
        self._answered = 0

    @property
    def pending(self) -> bool:
        """True while a message waits for its rest."""
        return self._framer.pending > 0

    @property
    def error(self) -> SipParseError | None:
        """Why the borders between the messages are lost."""
        return self._framer.error

    @property
    def answers_pings(self) -> bool:
        """Only a peer that has answered one before knows pings (RFC 5626 §4.4.1)."""
        return self._framer.pongs > 0

    def receive(self, data: bytes) -> list[bytes]:
        """See `Channel`."""
        return self._framer.receive(data)

    def owed(self) -> bytes:
        """One CRLF for each ping: one for all of a piece would do, but each its own is what RFC 5626 §3.5.1 asks for."""
        unanswered = self._framer.pings - self._answered
        if not unanswered:
            return b""
        self._answered = self._framer.pings
        return b"\r\n" * unanswered

    def wrap(self, message: bytes) -> bytes:
        """As it is."""
        return message

    def ping(self) -> bytes:
        """CRLF CRLF."""
        self._framer.pongs_due += 1
        return b"\r\n\r\n"

    def farewell(self) -> bytes:
        """Nothing."""
        return b""
