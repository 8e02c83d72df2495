"""SIP in WebSocket frames: the opening handshake with the sub-protocol `sip`, one message a frame, pings, close codes.

The frames are the work of the package `websockets` (extra `web`), whose protocol classes do no input and output.

RFC 7118 §4, §5; RFC 6455
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from flexosip import extras
from flexosip.errors import NetworkError
from flexosip.net.address import Address, format_address
from flexosip.net.network import StreamConnection
from flexosip.sip.grammar import SipParseError, format_host_port

__all__ = ["LARGEST_MESSAGE", "WebSocketChannel", "open_websocket", "require_websockets"]

logger = logging.getLogger(__name__)

LARGEST_MESSAGE: Final = 262_144
"""Octets of one message, all its fragments together."""

_PROTOCOL = "sip"
_ADVICE = 'Check port and path: many servers want a path, as in proxy="wss://HOST:8089/ws".'
_PURPOSE = "SIP over WebSocket"
_TEXT, _BINARY, _CONTINUATION, _PONG = 1, 2, 0, 10
_GOING_AWAY = 1001
_INVALID_DATA = 1007
# The package logs every frame and every refused client on its own; what matters is told by ours.
_QUIET = logging.getLogger("flexosip.net.websocket.frames")
_QUIET.setLevel(logging.CRITICAL)


def require_websockets() -> None:
    """Make sure that the package is there.

    Raises:
        MissingExtra: it is not.
    """
    extras.require("web", "websockets.client", _PURPOSE)


class WebSocketChannel:
    """One end of a WebSocket connection; see `flexosip.net.channel.Channel`.

    Args:
        host, port, path, secure: of the server to which we open it; no host: a client opens it to us.
    """

    def __init__(self, host: str | None = None, port: int = 80, path: str = "/", *, secure: bool = False) -> None:
        self._client = host is not None
        self.error: SipParseError | None = None
        self.refusal = ""
        """Why the server did not open the WebSocket, in words."""
        self._parts: list[bytes] | None = None
        self._text = False
        self._crlf_owed = 0
        self._within = False
        self._refused = False
        self._unread: list[bytes] = []
        self._http = extras.require("web", "websockets.http11", _PURPOSE)
        common: dict[str, Any] = {"subprotocols": [_PROTOCOL], "extensions": None, "max_size": LARGEST_MESSAGE, "logger": _QUIET}
        if host is not None:
            uri = extras.require("web", "websockets.uri", _PURPOSE).parse_uri(
                f"{'wss' if secure else 'ws'}://{format_host_port(host, port)}{path}"
            )
            self._protocol: Any = extras.require("web", "websockets.client", _PURPOSE).ClientProtocol(uri, **common)
            self._protocol.send_request(self._protocol.connect())
        else:
            self._protocol = extras.require("web", "websockets.server", _PURPOSE).ServerProtocol(**common)

    # -- Channel -----------------------------------------------------------------------------------------------------

    pings_accepted = True
    """Browsers cannot send pings, and NATs on the way forget who is quiet: the server pings too."""

    answers_pings = True
    """Every WebSocket answers pings (RFC 6455 §5.5.2)."""

    @property
    def open(self) -> bool:
        """True once both sides have agreed."""
        return not self._refused and self._protocol.state.name == "OPEN"

    @property
    def over(self) -> bool:
        """True when the peer has closed, or the opening failed."""
        return self._refused or self._protocol.handshake_exc is not None or self._protocol.state.name in ("CLOSING", "CLOSED")

    @property
    def pending(self) -> bool:
        """True while part of a frame or of a message waits for the rest."""
        return self._parts is not None or self._within

    def receive(self, data: bytes) -> list[bytes]:
        """Take octets in; the messages that are complete now.

        Raises:
            SipParseError: a rule of WebSocket is broken; `owed` then holds the close frame with the code.
        """
        if self.error is not None:
            raise self.error
        protocol = self._protocol
        messages, self._unread = self._unread, []
        if data and not self.over:
            protocol.receive_data(data)
            events = protocol.events_received()
            # The package may hold the head of the next frame elsewhere: octets without an event are the beginning of one.
            self._within = not events or bool(protocol.reader.buffer)
            messages += [message for event in events if (message := self._event(event)) is not None]
            if self.error is None and protocol.parser_exc is not None:
                self.error = SipParseError(f"WebSocket: {protocol.parser_exc}")
        if self.error is not None and not messages:
            raise self.error
        return messages

    def receive_opening(self, data: bytes) -> None:
        """Take octets in before the owner of the connection asks for messages: those wait. No octets: the stream has ended."""
        if data:
            self._unread = self.receive(data)
        elif not self.over:
            self._protocol.receive_eof()
            for event in self._protocol.events_received():
                self._event(event)

    def owed(self) -> bytes:
        """Answers to pings, the opening handshake, the close frame."""
        if self._crlf_owed and self.open:
            self._protocol.send_binary(b"\r\n")
        self._crlf_owed = 0
        # An empty piece stands for the end of the stream, which the owner of the connection makes.
        return b"".join(self._protocol.data_to_send())

    def wrap(self, message: bytes) -> bytes:
        """One frame: text if the message is UTF-8, as browsers like it, else binary (RFC 7118 §5.1)."""
        if not self.open:
            return b""
        try:
            message.decode()
        except UnicodeDecodeError:
            self._protocol.send_binary(message)
        else:
            self._protocol.send_text(message)
        return self.owed()

    def ping(self) -> bytes:
        """A ping frame."""
        if not self.open:
            return b""
        self._protocol.send_ping(b"flexosip")
        return self.owed()

    def farewell(self) -> bytes:
        """A close frame, if none was sent."""
        if self.open:
            self._protocol.send_close(_GOING_AWAY)
        return self.owed()

    # -- events ------------------------------------------------------------------------------------------------------

    def _event(self, event: Any) -> bytes | None:
        """What a frame completes, if anything."""
        if isinstance(event, self._http.Request):
            self._accept(event)
            return None
        if isinstance(event, self._http.Response):
            self._answered(event)
            return None
        opcode = int(event.opcode)
        if opcode in (_TEXT, _BINARY):
            self._parts, self._text = [], opcode == _TEXT
        elif opcode != _CONTINUATION:
            return None
        if self._parts is None or self.error is not None:
            return None
        self._parts.append(bytes(event.data))
        if not event.fin:
            return None
        message, self._parts = b"".join(self._parts), None
        return self._message(message)

    def _message(self, message: bytes) -> bytes | None:
        if self._text:
            try:
                message.decode()
            except UnicodeDecodeError:
                self._protocol.fail(_INVALID_DATA, "text that is not UTF-8")
                self.error = SipParseError("WebSocket: text that is not UTF-8")
                return None
        if not message.strip(b"\r\n"):
            # Some clients keep the connection alive as they do on TCP (RFC 5626 §4.4.1).
            self._crlf_owed += message == b"\r\n\r\n"
            return None
        return message

    def _accept(self, request: Any) -> None:
        """Answer the opening: 101 with the sub-protocol, else 400 (RFC 7118 §4.1)."""
        if self._protocol.parser_exc is not None:
            # Something that is no frame came in the same piece: the package has given up already.
            self._refused = True
            return
        response = self._protocol.accept(request)
        if response.status_code == 101 and self._protocol.subprotocol != _PROTOCOL:
            response = self._protocol.reject(400, "The WebSocket sub-protocol 'sip' is needed (RFC 7118).\n")
        self._refused = response.status_code != 101
        self._protocol.send_response(response)

    def _answered(self, response: Any) -> None:
        error = self._protocol.handshake_exc
        if error is not None or self._protocol.subprotocol != _PROTOCOL:
            self._refused = True
            if response.status_code != 101:
                self.refusal = f"it answered {response.status_code} {_printable(response.reason_phrase)}"
            elif error is not None:
                self.refusal = _printable(str(error))
            else:
                self.refusal = "it did not agree to the sub-protocol 'sip'"


async def open_websocket(
    connection: StreamConnection, host: str, path: str, *, secure: bool, port: int, remote: Address
) -> WebSocketChannel:
    """Open a WebSocket on a connection to a server.

    There is no time-out here: wrap it in `asyncio.timeout`.

    Raises:
        NetworkError: the server does not want it. MissingExtra: the package is not installed.
    """
    try:
        channel = WebSocketChannel(host, port, path, secure=secure)
    except ValueError as error:
        raise NetworkError(f"{host!r} with the path {path!r} is no WebSocket address: {error}.") from error
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    where = format_address(remote)

    def received(data: bytes) -> None:
        try:
            # Messages of the same piece wait in the channel.
            channel.receive_opening(data)
        except SipParseError as error:
            channel.refusal = channel.refusal or _printable(str(error))
        if opened.done() or not (channel.open or channel.over or channel.refusal):
            return
        connection.on_data = None
        if channel.open:
            opened.set_result(None)
        else:
            words = channel.refusal or "its answer makes no sense"
            opened.set_exception(NetworkError(f"{where} does not open a WebSocket for SIP: {words}.", advice=_ADVICE))

    def lost(error: Exception | None) -> None:
        if opened.done():
            return
        if isinstance(error, NetworkError):
            opened.set_exception(error)
            return
        channel.receive_opening(b"")  # an answer without a length ends with the connection
        words = channel.refusal or "it closed the connection"
        opened.set_exception(NetworkError(f"{where} does not open a WebSocket for SIP: {words}.", advice=_ADVICE))

    connection.on_lost = lost
    connection.on_data = received
    connection.write(channel.owed())
    try:
        await opened
    finally:
        connection.on_data = None
    return channel


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)[:200]
