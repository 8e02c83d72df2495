"""Messages out of a stream: TCP and TLS, where Content-Length is the only border.

What comes in may be cut anywhere; what comes out does not depend on where. Memory is bounded by what has arrived, never by what
was announced. Between messages CRLF CRLF is a keep-alive ping and CRLF its answer.

RFC 3261 §18.3, §7.5; RFC 5626 §4.4.1
"""

from __future__ import annotations

import re
from typing import Final

from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Request
from flexosip.sip.parser import MAX_HEAD, content_length, parse_message

__all__ = ["StreamFramer"]

MAX_BODY: Final = 262144
"""Octets of one body on a stream: four times what a datagram could carry."""

_FOLD = re.compile(rb"[ \t]*\r\n[ \t]+")
_CONTENT_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:([^\r]*)", re.IGNORECASE)
# A message starts with a method or with "SIP/2.0": letters, digits and the other characters of a token.
_FIRST_OCTETS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~")


class StreamFramer:
    """Cut one direction of one connection into messages.

    Feed `receive` with what was read. After an error the stream has lost its borders: answer `error.message` if there is one, then
    close. Messages that were complete before the error are returned first; then `error` is set and the next call raises it.
    """

    __slots__ = ("_buffer", "_lone_crlf", "_need", "_scanned", "error", "pings", "pongs", "pongs_due")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._need = 0  # octets of the message being collected, once its head is complete
        self._lone_crlf = False
        self.error: SipParseError | None = None
        """Why the stream cannot be read any further, or None."""
        self.pings = 0
        """Keep-alive pings (CRLF CRLF) seen so far; each is to be answered with one CRLF."""
        self.pongs = 0
        """Answers to our own pings seen so far."""
        self.pongs_due = 0
        """Pings we have sent that are unanswered: the driver counts it up by one with each ping."""

    @property
    def pending(self) -> int:
        """Octets that wait for the rest of their message."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[bytes]:
        """Take octets in; return the messages that are complete now, in order.

        Raises:
            SipParseError: what arrived is no SIP, is too large, or has no usable Content-Length.
        """
        if self.error is not None:
            raise self.error
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        start = 0
        try:
            while (end := self._next_end(start)) is not None:
                if end > start and self._need:
                    messages.append(bytes(memoryview(buffer)[start:end]))
                    self._need = 0
                start = self._scanned = end
        except SipParseError as error:
            self.error = error
            start = len(buffer)
            if not messages:
                raise
        finally:
            # Once for all messages of a chunk: taking each from the front would be quadratic in small messages.
            del buffer[:start]
            self._scanned = max(0, self._scanned - start)
        return messages

    def _next_end(self, start: int) -> int | None:
        """Index behind the next message, or line break between messages, that begins at `start`; None if it is not complete."""
        buffer = self._buffer
        if not self._need:
            if start == len(buffer):
                return None
            first = buffer[start]
            if first == 13:
                return self._line_break(start)
            if first not in _FIRST_OCTETS:
                raise SipParseError("Not a SIP message")
            self._lone_crlf = False
            head_end = buffer.find(b"\r\n\r\n", max(start, self._scanned - 3))
            self._scanned = len(buffer)
            if (len(buffer) if head_end < 0 else head_end) - start > MAX_HEAD:
                raise SipParseError("Headers too large", status_hint=513)
            if head_end < 0:
                return None
            self._need = head_end + 4 - start + _body_length(bytes(buffer[start : head_end + 4]))
        return start + self._need if len(buffer) - start >= self._need else None

    def _line_break(self, start: int) -> int | None:
        if len(self._buffer) - start < 2:
            return None
        if self._buffer[start + 1] != 10:
            raise SipParseError("Line break that is not CRLF")
        if self.pongs_due:
            self.pongs_due -= 1
            self.pongs += 1
        elif self._lone_crlf:
            self._lone_crlf = False
            self.pings += 1
        else:
            self._lone_crlf = True
        return start + 2


def _body_length(head: bytes) -> int:
    unfolded = _FOLD.sub(b" ", head) if b"\r\n " in head or b"\r\n\t" in head else head
    values = [value.strip(b" \t").decode("latin-1") for value in _CONTENT_LENGTH.findall(unfolded)]
    if not values:
        # Guessing 0 would read a body as the next requests, and let one peer put words into another's mouth (RFC 3261 §18.3).
        raise _refused(SipParseError("Missing Content-Length"), head)
    try:
        length = content_length(values)
    except SipParseError as error:
        raise _refused(error, head) from None
    if length > MAX_BODY:
        raise _refused(SipParseError("Body too large", status_hint=413), head)
    return length


def _refused(error: SipParseError, head: bytes) -> SipParseError:
    """Attach the request to the error, if the head lets it be answered."""
    try:
        message = parse_message(head)
    except SipParseError as parse_error:
        error.message = parse_error.message
    else:
        error.message = message if isinstance(message, Request) else None
    return error
