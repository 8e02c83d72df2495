"""What the fake providers have in common: sockets, messages in and out, digest, one sound stream a call."""

from __future__ import annotations

import asyncio
import itertools
import random as random_module
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flexosip.net.driver import SipDriver
from flexosip.net.real import RealNetwork
from flexosip.net.tls import TlsSettings
from flexosip.sansio import Scheduler
from flexosip.sip.digest import digest_response, parse_credentials
from flexosip.sip.flow import Flow
from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Message, Request, Response
from flexosip.sip.parser import parse_message
from flexosip.sip.uri import SipUri
from flexosip.testing.peer import RawSound

__all__ = ["FakeCall", "FakeServer", "Received"]

S = TypeVar("S", bound="FakeServer")
Headers = Sequence[tuple[str, str]]

_T1 = 0.5
_REPEATS = 10
"""Times that a 200 is repeated until its ACK (RFC 3261 §13.3.1.4): 64*T1."""
_ADDRESS_TYPES = {True: "IP6", False: "IP4"}


@dataclass(frozen=True, slots=True)
class Received:
    """A message that came."""

    at: float
    message: Message
    flow: Flow
    size: int
    """Octets."""


@dataclass(eq=False)
class FakeCall:
    """A call of a phone to the server, or of the server to a phone."""

    server: FakeServer
    flow: Flow
    invite: Request
    """As it came, or as it was sent."""
    ours: bool
    """True if the server calls."""
    tag: str
    sound: RawSound | None = None
    sound_port: int = 0
    remote_sound: tuple[str, int] | None = None
    """Where the phone wants its sound."""
    remote_tag: str = ""
    remote_target: str = ""
    answered: bool = False
    acknowledged: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[Request] = field(default_factory=list)
    """What the phone asked within it."""
    cseq: int = 100
    takes_events: bool = False
    """Whether the phone's description has telephone-event."""

    async def bye(self, *headers: tuple[str, str]) -> Response:
        """Hang up; the phone's answer."""
        response = await self.ask("BYE", headers=headers)
        self.end()
        return response

    async def ask(self, method: str, body: str = "", content_type: str = "", headers: Headers = ()) -> Response:
        """A request within the call; the phone's final answer."""
        self.cseq = max(self.cseq, self.invite.cseq.number if self.ours else 0) + 1
        return await self.server.ask(self._request(method, self.cseq, body, content_type, headers), self.flow)

    def acknowledge(self) -> None:
        """The ACK of a 200 to our INVITE."""
        self.server.send(self._request("ACK", self.invite.cseq.number), self.flow)

    def _request(self, method: str, cseq: int, body: str = "", content_type: str = "", headers: Headers = ()) -> bytes:
        near, far = (self.invite.from_, self.invite.to) if self.ours else (self.invite.to, self.invite.from_)
        lines = [
            f"{method} {self.remote_target} SIP/2.0",
            self.server.via(self.flow),
            f"From: <{near.uri}>;tag={self.tag}",
            f"To: <{far.uri}>;tag={self.remote_tag}",
            f"Call-ID: {self.invite.call_id}",
            f"CSeq: {cseq} {method}",
            "Max-Forwards: 70",
            *(f"{name}: {value}" for name, value in headers),
            *((f"Content-Type: {content_type}",) if body else ()),
            f"Content-Length: {len(body.encode())}",
            "",
            body,
        ]
        return "\r\n".join(lines).encode()

    def end(self) -> None:
        """It is over: free the sound."""
        self.ended.set()
        if self.sound is not None:
            self.sound.close()
            self.sound = None

    def learn(self, message: Message, body: bytes) -> None:
        """Take over what the phone says of itself."""
        text = body.decode("utf-8", "replace")
        self.takes_events = "telephone-event" in text
        host = text.partition("c=IN IP")[2][2:].partition("\r")[0].strip()
        port = text.partition("m=audio ")[2].partition(" ")[0]
        if host and port.isdigit():
            self.remote_sound = (host, int(port))
        contacts = message.contacts
        if contacts:
            self.remote_target = str(contacts[0].uri)


class FakeServer:
    """A SIP server by hand. Use `open`.

    Args:
        network: a host of `flexosip.simulation`; None: the real one, and then loopback unless `ip` says else.
        ip, port: where it listens, by TLS at the port above; transports: by `udp`, `tcp`, `tls`.
        tls: its certificate.
    """

    product = ""
    """User-Agent and Server."""
    first_sound_port = 7078

    def __init__(
        self,
        network: Any = None,
        ip: str | None = None,
        *,
        port: int = 5060,
        transports: Sequence[str] = ("udp",),
        tls: TlsSettings | None = None,
    ) -> None:
        self._real = network is None
        self.host: Any = network if network is not None else RealNetwork(asyncio.get_running_loop())
        self.ip = ip if ip is not None else "127.0.0.1" if network is None else network.addresses[0]
        self.port = port
        self.received: list[Received] = []
        """All that came, in order."""
        self.malformed: list[bytes] = []
        """What came and was no SIP message."""
        self.calls: list[FakeCall] = []
        self.random = random_module.Random(5060)
        self._transports, self._tls = tuple(transports), tls
        self._scheduler = Scheduler(self.host.time())
        self._numbers = itertools.count(1)
        self._sound_ports = itertools.count(self.first_sound_port, 2)
        self._answers: dict[tuple[str, str], bytes] = {}
        self._waiting: dict[str, asyncio.Future[Response]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls: type[S], network: Any = None, ip: str | None = None, **settings: Any) -> S:
        """A server that listens."""
        server = cls(network, ip, **settings)
        await server.start()
        return server

    async def start(self) -> None:
        """Open the sockets."""
        self.driver = SipDriver(
            self.host,
            self._scheduler,
            receive_datagram=self._receive,
            receive_message=self._receive,
            flow_failed=lambda flow, error: None,
            tls=self._tls,
        )
        ip = f"[{self.ip}]" if ":" in self.ip else self.ip
        ports = {transport: self.port + 1 if self.port and transport == "tls" else self.port for transport in self._transports}
        await self.driver.listen([f"{transport}:{ip}:{port}" for transport, port in ports.items()])
        self.port = self.driver.addresses[0].port

    async def close(self) -> None:
        """Switch it off; calls are just gone."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for call in self.calls:
            call.end()
        await self.driver.close()

    async def __aenter__(self: S) -> S:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something in the background until the server is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()

    # -- what comes ----------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes, flow: Flow) -> None:
        if not self.listens_to(data, flow):
            return
        try:
            message = parse_message(data)
        except SipParseError:
            self.malformed.append(data)
            return
        self.received.append(Received(self.host.time(), message, flow, len(data)))
        if isinstance(message, Response):
            self.on_response(message, flow)
            return
        assert isinstance(message, Request)
        repeated = self._answers.get((message.via.branch or "", message.method))
        if repeated is not None and message.method != "ACK":
            self.driver.transmit(flow, repeated)
            return
        self.on_request(message, flow, len(data))

    def listens_to(self, data: bytes, flow: Flow) -> bool:
        """False: dropped as if it never came."""
        return True

    def on_request(self, request: Request, flow: Flow, size: int) -> None:
        """A request came; what it is depends on the server."""
        raise NotImplementedError

    def on_response(self, response: Response, flow: Flow) -> None:
        """An answer to one of ours."""
        waiting = self._waiting.get(response.via.branch or "")
        if waiting is not None and response.status >= 200 and not waiting.done():
            waiting.set_result(response)

    def requests(self, method: str) -> list[Request]:
        """The requests of that method that came, repetitions once."""
        found = [item.message for item in self.received if isinstance(item.message, Request) and item.message.method == method]
        return list({(request.via.branch, request.cseq.number): request for request in found}.values())

    # -- what it says --------------------------------------------------------------------------------------------------

    def send(self, data: bytes, flow: Flow) -> None:
        """Send a message."""
        self.driver.transmit(flow, data)

    def answer(
        self, request: Request, flow: Flow, status: int, body: str = "", *, tag: str | None = "", reason: str | None = None,
        headers: Headers = (),
    ) -> bytes:  # fmt: skip
        """Answer a request; a repetition of it gets the same again. The bytes."""
        extra = [*headers]
        if self.product:
            extra.append(("User-Agent", self.product))
        response = request.create_response(
            status, reason, to_tag=self.new_tag() if tag == "" else tag, headers=extra, body=body.encode(),
            content_type="application/sdp" if body else None,
        )  # fmt: skip
        data = self.receipt(bytes(response), flow)
        self._answers[(request.via.branch or "", request.method)] = data
        self.send(data, flow)
        return data

    def receipt(self, data: bytes, flow: Flow) -> bytes:
        """The answer with `received` and `rport` in its topmost Via (RFC 3581 §4); an IPv6 address in brackets, as a FRITZ!Box has it."""
        ip, port = flow.remote
        told = f";received=[{ip}]" if ":" in ip else f";received={ip}"
        head, middle, rest = data.partition(b"\r\nVia: ")
        via, end, rest = rest.partition(b"\r\n")
        via = via.replace(b";rport", f";rport={port}".encode()) + told.encode()
        return head + middle + via + end + rest

    def new_tag(self) -> str:
        """A tag in the manner of the server."""
        return f"{self.random.getrandbits(64):016X}"

    def via(self, flow: Flow) -> str:
        """The Via header of a request of ours."""
        host = f"[{flow.local[0]}]" if ":" in flow.local[0] else flow.local[0]
        return f"Via: SIP/2.0/{flow.transport.upper()} {host}:{self.port};branch=z9hG4bK{self.new_tag()}"

    async def ask(self, data: bytes, flow: Flow, within: float = 32.0) -> Response:
        """Send a request of ours; the final answer.

        Raises:
            TimeoutError: none came.
        """
        request = parse_message(data)
        assert isinstance(request, Request)
        branch = request.via.branch or ""
        self._waiting[branch] = waiting = asyncio.get_running_loop().create_future()
        self.send(data, flow)
        try:
            async with asyncio.timeout(within):
                response: Response = await waiting
                return response
        finally:
            del self._waiting[branch]

    # -- who it is -----------------------------------------------------------------------------------------------------

    def credentials(self, request: Request) -> dict[str, str] | None:
        """The digest of a request; None without one."""
        for name in ("Authorization", "Proxy-Authorization"):
            for line in request.headers.get_lines(name):
                try:
                    found = [values for scheme, values in parse_credentials(line) if scheme == "digest"]
                except SipParseError:
                    continue
                if found:
                    return found[0]
        return None

    @staticmethod
    def is_right(values: dict[str, str], password: str, method: str) -> bool:
        """Whether a digest was made with the password."""
        expected = digest_response(
            values.get("algorithm", "MD5"), values.get("username", ""), values.get("realm", ""), password, method, values.get("uri", ""),
            values.get("nonce", ""), qop=values.get("qop"), nc=values.get("nc", ""), cnonce=values.get("cnonce", ""),
        )  # fmt: skip
        return values.get("response") == expected

    # -- calls ---------------------------------------------------------------------------------------------------------

    def call_of(self, request: Request) -> FakeCall | None:
        """The call that a request belongs to, or that it is about (CANCEL, ACK of a refusal)."""
        return next((call for call in self.calls if call.invite.call_id == request.call_id and not call.ended.is_set()), None)

    def new_call(self, invite: Request, flow: Flow, *, ours: bool = False) -> FakeCall:
        """A call, with a sound port of its own."""
        call = FakeCall(self, flow, invite, ours, self.new_tag())
        self.open_sound(call)
        if not ours:
            call.remote_tag = invite.from_.tag or ""
            call.learn(invite, invite.body)
        self.calls.append(call)
        return call

    def open_sound(self, call: FakeCall) -> None:
        """Give a call the next sound port, in place of the one that it has; on a real network any free one."""
        if call.sound is not None:
            call.sound.close()
        call.sound_port = 0 if self._real else next(self._sound_ports)
        peer: Any = self
        call.sound = RawSound(peer, call.sound_port)
        if self._real:
            socket: Any = call.sound.rtp
            call.sound_port = socket.getsockname()[1]

    @property
    def address_type(self) -> str:
        """`IP4` or `IP6`."""
        return _ADDRESS_TYPES[":" in self.ip]

    def accept(self, call: FakeCall, body: str, *, headers: Headers = ()) -> None:
        """Answer with 200 and repeat it until the ACK."""
        call.answered = True
        data = self.answer(call.invite, call.flow, 200, body, tag=call.tag, headers=(self.contact(call.flow), *headers))
        self.run(self._repeat(call, data))

    async def _repeat(self, call: FakeCall, data: bytes) -> None:
        pause = _T1
        for _ in range(_REPEATS):
            await asyncio.sleep(pause)
            if call.acknowledged or call.ended.is_set():
                return
            self.send(data, call.flow)
            pause = min(2 * pause, 4.0)

    def contact(self, flow: Flow) -> tuple[str, str]:
        """The Contact header of the server."""
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        transport = "" if flow.transport == "udp" else f";transport={flow.transport}"
        return "Contact", f"<sip:{self.random.getrandbits(128):032X}@{host}:{self.port}{transport}>"

    def within_call(self, request: Request, flow: Flow) -> bool:
        """ACK, BYE, CANCEL, INFO, PRACK, UPDATE of a call; False if there is no such call."""
        call = self.call_of(request)
        if call is None:
            return False
        call.requests.append(request)
        if request.method == "ACK":
            call.acknowledged = True
            return True
        self.answer(request, flow, 200, tag=call.tag)
        if request.method == "CANCEL":
            self.answer(call.invite, call.flow, 487, tag=call.tag)
        if request.method in ("BYE", "CANCEL"):
            call.end()
        return True

    def uri_user(self, request: Request) -> str | None:
        """The user part of the Request-URI, without escapes; None without one."""
        uri = request.uri
        return uri.unescaped_user if isinstance(uri, SipUri) and uri.user is not None else None
