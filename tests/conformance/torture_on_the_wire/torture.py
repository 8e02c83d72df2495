"""The table of answers, and a sender that puts each torture message on a wire of its own and waits for what comes back.

The Via is what brings an answer home, so three things of the topmost one are changed, in place, and no other octet of the head: the
transport becomes the one it is sent over, the port becomes the sender's, and a branch that identifies becomes one of its own. The
host stays: the answer goes to where the message came from (RFC 3261 §18.2.2), which is proved with each message. A branch that is
missing, of RFC 2543, or nothing but the cookie stays too, because it is what the message is about.

On a stream the octets behind the body, which some of the RFC's messages have by a wrong count, are left out: they would be the start
of a next message. In dblreq they are the point, and only those behind its second message go. A head without the empty line at its end
(baddn) gets it.

In bodies 192.0.2.x becomes 127.0.0.x, of the same length: a call that is answered must not send sound to anybody.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import hashlib
import re
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexosip import Limits, Phone, TlsSettings
from flexosip.net.address import Address
from flexosip.net.network import DatagramEndpoint, Network, StreamConnection
from flexosip.net.tls import TlsContexts
from flexosip.net.tls_stream import TlsStream
from flexosip.net.websocket import WebSocketChannel, open_websocket
from flexosip.pbx import Pbx
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import SipParseError, parse_message
from flexosip.sip.uri import SipUri
from tests.certificates import Authority

ROLES = ("phone", "registrar")
TRANSPORTS = ("udp", "tcp", "tls", "ws")
STREAMS = ("tcp", "tls")
"""Where Content-Length is the border; a WebSocket has frames, and each is a message as a datagram is."""
DOMAIN = "torture.test"
PASSWORD = "torture"
USERS = ("user", "j.user", "watson", "null-\x00-null")

_VIA = re.compile(
    rb"(\r\n(?:via|v)[ \t]*:\s*SIP\s*/\s*[0-9.]+\s*/\s*)([^\s;,]+)(\s+)(\[[^\]\r\n]*\]|[^\s:;,\[]+)((?:\s*:\s*[0-9]+)?)", re.IGNORECASE
)
_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:[ \t]*([0-9]+)[ \t]*(?=\r\n|\Z)", re.IGNORECASE)
_BRANCH = re.compile(rb"(;\s*branch\s*=\s*z9hG4bK)[^\s;,]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Expected:
    """What one role answers to one message over one transport."""

    statuses: tuple[int, ...]
    header: str | None
    closed: str | None
    registered: int | None
    binding: str | None


def table() -> dict[str, dict[str, Any]]:
    """The rows of `answers.toml` by the name of the message."""
    with Path(__file__).with_name("answers.toml").open("rb") as file:
        return tomllib.load(file)


def expected(name: str, role: str, transport: str) -> Expected:
    """The row of `name` for one role and transport."""
    row = table()[name]
    stream = transport in STREAMS
    statuses = row.get(f"{role}_tcp") if stream else None
    return Expected(
        tuple(row[role] if statuses is None else statuses),
        row.get(f"{role}_header"),
        row.get("closed_tcp") if stream else None,
        row.get("registered") if role == "registrar" else None,
        row.get("binding") if role == "registrar" else None,
    )


def addressed(data: bytes, transport: str, port: int, branch: str) -> bytes:
    """The message with a topmost Via that leads back to `port`, and a branch of its own."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        head = head.removesuffix(b"\r\n")
    if transport in STREAMS:
        if b"dblreq" in head:
            second, _, rest = body.partition(b"\r\n\r\n")
            body = second + b"\r\n\r\n" + _counted(second, rest)
        else:
            body = _counted(head, body)
    found = _VIA.search(head)
    if found is not None:
        via = found[1] + transport.upper().encode() + found[3] + found[4] + b":%d" % port
        end = re.compile(rb"\r\n(?![ \t])|,|\Z").search(head, found.end())
        assert end is not None
        rest = _BRANCH.sub(rb"\g<1>-" + branch.encode(), head[found.end() : end.start()])
        head = head[: found.start()] + via + rest + head[end.start() :]
    return head + b"\r\n\r\n" + body.replace(b"192.0.2.", b"127.0.0.")


def _counted(head: bytes, body: bytes) -> bytes:
    lengths = _LENGTH.findall(head)
    return body[: int(lengths[0])] if len(lengths) == 1 else body


class Sender:
    """The other side: one UDP socket, or one connection, to a phone or registrar.

    Args:
        network: the real or a virtual one.
        server: where the messages go.
    """

    def __init__(self, network: Network, transport: str, server: Address, host: str = "127.0.0.1") -> None:
        self.transport = transport
        self.server = server
        self.closed = False
        self.received: list[bytes] = []
        """Datagrams, or messages of the stream, as they came, repetitions included."""
        self._network = network
        self._host = host
        self._datagrams: DatagramEndpoint | None = None
        self._stream: StreamConnection | None = None
        self._frames: WebSocketChannel | None = None
        self.unread = b""
        self._changed = asyncio.Event()
        self._number = 0

    async def __aenter__(self) -> Sender:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Bind, or connect."""
        if self.transport == "udp":
            self._datagrams = await self._network.open_datagram(self._host, 0, lambda data, remote, local: self._take(data))
        else:
            self._stream = await self._network.connect(*self.server)
            if self.transport == "tls":
                context = TlsContexts(authority().trust).client()
                self._stream = TlsStream(self._stream, context, domain=DOMAIN)
                await self._stream.handshake(5.0)
            elif self.transport == "ws":
                host, port = self.server
                self._frames = await open_websocket(self._stream, host, "/", secure=False, port=port, remote=self.server)
            self._stream.on_lost = lambda error: self._lost()
            self._stream.on_data = self._read

    async def close(self) -> None:
        """Free the socket."""
        if self._datagrams is not None:
            self._datagrams.close()
        if self._stream is not None:
            self._stream.close()
            await self.until(lambda: self.closed)

    @property
    def port(self) -> int:
        """The own port."""
        if self._stream is not None:
            return self._stream.local[1]
        assert self._datagrams is not None
        return self._datagrams.address[1]

    def _take(self, data: bytes) -> None:
        self.received.append(data)
        self._changed.set()

    def _lost(self) -> None:
        self.closed = True
        self._changed.set()

    def _read(self, data: bytes) -> None:
        if self._frames is not None:
            for message in self._frames.receive(data):
                self._take(message)
            return
        self.unread += data
        while (end := self.unread.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"\r\nContent-Length: ([0-9]+)", self.unread[:end])
            size = end + 4 + (int(length[1]) if length is not None else 0)
            if len(self.unread) < size:
                return
            self._take(self.unread[:size])
            self.unread = self.unread[size:]

    async def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait for it; TimeoutError when it does not come."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def write(self, data: bytes) -> None:
        """Send octets as they are."""
        if self._stream is not None:
            self._stream.write(data if self._frames is None else self._frames.wrap(data))
        else:
            assert self._datagrams is not None
            self._datagrams.send(data, self.server)

    def send(self, data: bytes) -> str:
        """Send a message with a Via of its own; the branch."""
        self._number += 1
        branch = f"{self.port}-{self._number}"
        self.write(addressed(data, self.transport, self.port, branch))
        return branch

    def finals(self) -> list[Response]:
        """The different final responses so far, probes left out."""
        distinct = dict.fromkeys(data for data in self.received if b"\r\nCall-ID: probe-" not in data)
        messages = [parse_message(data) for data in distinct]
        return [message for message in messages if isinstance(message, Response) and message.status >= 200]

    async def probe(self) -> float:
        """Ask with OPTIONS whether the other side lives; seconds until its 200."""
        self._number += 1
        call_id = f"probe-{self.port}-{self._number}"
        host, port = self.server
        lines = [
            f"OPTIONS sip:{host}:{port} SIP/2.0",
            f"Via: SIP/2.0/{self.transport.upper()} {self._host}:{self.port};branch=z9hG4bK{call_id}",
            f"From: <sip:probe@{self._host}>;tag=p",
            f"To: <sip:{host}>",
            f"Call-ID: {call_id}",
            f"CSeq: {self._number} OPTIONS",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        marker = f"\r\nCall-ID: {call_id}\r\n".encode()
        await self.until(lambda: any(marker in data for data in self.received))
        seconds = loop.time() - started
        answer = next(data for data in self.received if marker in data)
        assert answer.startswith(b"SIP/2.0 200 "), answer
        return seconds

    # -- what follows an answer ----------------------------------------------------------------------------------------

    def acknowledge(self, invite: bytes, answer: Response) -> None:
        """Send the ACK for a final answer to an INVITE."""
        self._after(invite, answer, "ACK", 0)

    async def finish_call(self, invite: bytes, answer: Response) -> int:
        """Acknowledge, and end the call if there is one: the status of the BYE, or of the failure."""
        self.acknowledge(invite, answer)
        if answer.status >= 300:
            return answer.status
        self._after(invite, answer, "BYE", 1)
        await self.until(lambda: self.finals()[-1].cseq.method == "BYE")
        return self.finals()[-1].status

    def _after(self, invite: bytes, answer: Response, method: str, later: int) -> None:
        self._number += 1
        request = understood(invite)
        hop, target = answer.headers.get("Via"), request.uri
        if answer.status < 300:
            assert answer.contact is not None
            target = answer.contact.uri
            hop = f"SIP/2.0/{self.transport.upper()} {self._host}:{self.port};branch=z9hG4bK-end-{self.port}-{self._number}"
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: {hop}",
            f"CSeq: {request.cseq.number + later} {method}",
            *(f"{name}: {answer.headers.get(name)}" for name in ("From", "To", "Call-ID")),
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape"))


def understood(data: bytes) -> Request:
    """The request, even a malformed one that can be answered."""
    try:
        request = parse_message(data)
    except SipParseError as error:
        assert error.message is not None
        request = error.message
    assert isinstance(request, Request)
    return request


# -- the two roles -----------------------------------------------------------------------------------------------------


@functools.cache
def authority() -> Authority:
    """Whose certificates the roles show; its files go at the end of the tests."""
    folder = tempfile.TemporaryDirectory()
    made = Authority(Path(folder.name))
    atexit.register(folder.cleanup)
    return made


@functools.cache
def certificate() -> TlsSettings:
    """That of the roles."""
    return authority().server(DOMAIN)


def listeners(host: str, transport: str) -> dict[str, Any]:
    """The settings of a role that is reached by UDP and TCP, and by `transport`."""
    if transport in ("udp", "tcp"):
        return {"listen": (f"{host}:0",)}
    return {"listen": (f"{host}:0", f"{transport}:{host}:0"), "tls": certificate() if transport == "tls" else None}


def make_phone(
    network: Network, *, host: str = "127.0.0.1", clock: Any = None, transport: str = "udp", limits: Limits | None = None
) -> Phone:
    """A phone without an account that answers every call."""
    # The answers are what is looked at, not what the phone does against those who want too many of them.
    limits = limits or Limits(source_rate=None, total_rate=None, bound_answers=False)
    phone = Phone(network=network, clock=clock, limits=limits, **listeners(host, transport))

    @phone.on_call
    async def answer(call: Any) -> None:
        await call.answer()
        await call.wait_ended()

    return phone


def make_registrar(network: Network, *, host: str = "127.0.0.1", clock: Any = None, transport: str = "udp") -> Pbx:
    """A PBX for example.com."""
    pbx = Pbx(
        {name: PASSWORD for name in USERS if name.isprintable()},
        realm="example.com",
        network=network,
        clock=clock,
        **listeners(host, transport),
    )
    # No such name can be configured; the RFC has it, and it must not be confused with another one.
    pbx.users.update((name, PASSWORD) for name in USERS if not name.isprintable())
    return pbx


def make(role: str, network: Network, **settings: Any) -> Phone | Pbx:
    """The role of that name, not started."""
    return make_phone(network, **settings) if role == "phone" else make_registrar(network, **settings)


def address_of(server: Phone | Pbx, transport: str = "udp") -> Address:
    """Where it listens by `transport`."""
    _, host, port = next(address for address in server.addresses if address.startswith(f"{transport}:")).split(":")
    return host, int(port)


# -- credentials, worked out apart from the library ---------------------------------------------------------------------


def authorized(data: bytes, challenge: Response) -> bytes:
    """The request again with a higher CSeq and the answer to the MD5 challenge of a registrar or proxy (RFC 7616 §3.4.1)."""
    asked, given = ("WWW-Authenticate", "Authorization") if challenge.status == 401 else ("Proxy-Authenticate", "Proxy-Authorization")
    value = next(line for line in challenge.headers.get_lines(asked) if "algorithm=MD5" in line)
    fields = dict(re.findall(r'(\w+)="([^"]*)"', value))
    request = parse_message(data)
    assert isinstance(request, Request)
    address = (request.to if request.method == "REGISTER" else request.from_).uri
    assert isinstance(address, SipUri)
    user, uri = address.unescaped_user, str(request.uri)

    def digest(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    secret = digest(f"{user}:{fields['realm']}:{PASSWORD}")
    response = digest(f"{secret}:{fields['nonce']}:00000001:c0ffee:auth:{digest(f'{request.method}:{uri}')}")
    quoted = user.replace("\x00", "\\\x00")
    line = (
        f'{given}: Digest username="{quoted}", realm="{fields["realm"]}", nonce="{fields["nonce"]}", uri="{uri}", '
        f'algorithm=MD5, qop=auth, nc=00000001, cnonce="c0ffee", response="{response}"\r\n'
    )
    number = request.cseq.number
    head, blank, body = data.partition(b"\r\n\r\n")
    head = re.sub(rb"(\r\nCSeq: *)%d" % number, rb"\g<1>%d" % (number + 1), head)
    start, _, rest = head.partition(b"\r\n")
    return start + b"\r\n" + line.encode() + rest + blank + body
