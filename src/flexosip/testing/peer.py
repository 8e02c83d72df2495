"""A SIP peer without machines: it sends what the test says, once, byte for byte, and keeps what it gets. With RTP, packet by packet.

    peer = await stage.peer()
    call = asyncio.create_task(phone.call(peer.uri).wait_answered())
    invite = await peer.expect("INVITE")
    peer.answer(invite, 180)
    peer.send_text('''
        SIP/2.0 200 OK
        {vias}
        From: {from}
        To: {to};tag=anything
        Call-ID: {call_id}
        CSeq: {cseq} INVITE
        Contact: <{uri}>
        Content-Type: application/sdp
        Content-Length: {length}

        {sdp}
    ''')
    ack = await peer.expect("ACK")

`answer`, `ask` and `within` write whole messages that are right unless told otherwise; `send_text` is a template of the latest message, and
`send_raw` the way out of it all.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import textwrap
from collections.abc import Callable
from typing import Any

from flexosip.codecs import create
from flexosip.net.network import DatagramEndpoint
from flexosip.rtp.packet import RtpPacket
from flexosip.simulation import VirtualHost, VirtualNetwork
from flexosip.sip.message import Message, Request, Response
from flexosip.sip.parser import parse_message

__all__ = ["RawPeer", "RawSound", "sdp"]

Headers = tuple[tuple[str, str], ...]

_EVENTS = "0123456789*#ABCD"
_MAPS = {"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000", "101": "telephone-event/8000"}


def sdp(port: int = 7000, *, host: str = "10.0.0.9", formats: str = "8 101", direction: str = "sendrecv", version: int = 1) -> str:
    """A session description: one audio stream at `host`:`port`, static and usual payload types of `formats`."""
    family = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0",
        f"o=- 1 {version} IN {family} {host}",
        "s=-",
        f"c=IN {family} {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {formats}",
        *(f"a=rtpmap:{number} {_MAPS[number]}" for number in formats.split() if number in _MAPS),
        f"a={direction}",
    ]
    return "\r\n".join(lines) + "\r\n"


class RawPeer:
    """A SIP peer whose every message the test writes. Use `RawPeer.open`, or `Stage.peer`.

    Messages that came and have not been asked for wait in `inbox`; all that ever came are in `seen`.
    """

    def __init__(self, host: VirtualHost | VirtualNetwork, ip: str | None = None, *, port: int = 5060) -> None:
        self.host = host if isinstance(host, VirtualHost) else host.host(*([ip] if ip is not None else []))
        self.ip = ip if ip is not None else self.host.addresses[0]
        self.port = port
        self.remote: tuple[str, int] = ("10.0.0.1", 5060)
        """Where it sends unless told otherwise: to the latest sender."""
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.seen: list[Message] = []
        self.sent = 0
        self.outgoing: Callable[[bytes], bytes | None] | None = None
        """What becomes of each message on its way out, for faults of the wire; None: it is not sent."""
        self.endpoint: DatagramEndpoint
        self.latest: Message | None = None
        """What `expect` gave last."""

    @classmethod
    async def open(cls, host: VirtualHost | VirtualNetwork, ip: str | None = None, **options: Any) -> RawPeer:
        """A peer that listens at port 5060 (UDP) of a machine, or of a new machine of a network."""
        peer = cls(host, ip, **options)
        peer.endpoint = await peer.host.open_datagram(peer.ip, peer.port, peer._on_datagram)
        return peer

    def close(self) -> None:
        """Switch it off."""
        self.endpoint.close()

    @property
    def uri(self) -> str:
        """What a phone calls to call it."""
        return f"sip:peer@{_in_uri(self.ip)}:{self.port}"

    def _on_datagram(self, data: bytes, remote: tuple[str, int], local_host: str) -> None:
        if not data.strip(b"\r\n\0"):
            return  # a keep-alive (RFC 5626 §3.5.1)
        self.remote = remote
        message = parse_message(data)
        self.seen.append(message)
        self.inbox.put_nowait(message)

    # -- what comes ----------------------------------------------------------------------------------------------------

    async def expect(self, method_or_status: str | int, within: float = 5.0) -> Any:
        """The next request of that method, or response of that status, others passed over. It fills the words of `send_text`.

        Raises:
            AssertionError: none came within so many seconds.
        """
        if isinstance(method_or_status, str):
            self.latest = await self.request(method_or_status, within)
        else:
            self.latest = await self.response(method_or_status, timeout=within)
        return self.latest

    async def expect_nothing(self, seconds: float = 2.0) -> None:
        """Wait so long; nothing may come.

        Raises:
            AssertionError: something did, now or before, that was not asked for.
        """
        await asyncio.sleep(seconds)
        if not self.inbox.empty():
            raise AssertionError(f"nothing was to come, but {self.inbox.get_nowait().start_line!r} did")

    async def _next(self, fits: Callable[[Message], bool], what: str, timeout: float) -> Message:
        """The next message that fits; others are passed over."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    message = await self.inbox.get()
                    if fits(message):
                        return message
        except TimeoutError:
            raise AssertionError(f"no {what} within {timeout} s; seen: {[message.start_line for message in self.seen]}") from None

    async def request(self, method: str, timeout: float = 5.0) -> Request:
        """The next request of that method."""
        message = await self._next(lambda message: isinstance(message, Request) and message.method == method, method, timeout)
        assert isinstance(message, Request)
        return message

    async def response(self, status: int, method: str | None = None, timeout: float = 5.0) -> Response:
        """The next response of that status."""
        message = await self._next(
            lambda message: isinstance(message, Response) and message.status == status and method in (None, message.cseq.method),
            str(status),
            timeout,
        )
        assert isinstance(message, Response)
        return message

    def count(self, method_or_status: str | int) -> int:
        """How many such messages came so far."""
        return sum(
            (message.method if isinstance(message, Request) else getattr(message, "status", None)) == method_or_status
            for message in self.seen
        )

    # -- what it sends -------------------------------------------------------------------------------------------------

    def send(self, data: bytes, remote: tuple[str, int] | None = None) -> None:
        """Send a datagram."""
        if self.outgoing is not None:
            changed = self.outgoing(data)
            if changed is None:
                return
            data = changed
        self.endpoint.send(data, remote if remote is not None else self.remote)

    send_raw = send

    def send_text(self, text: str, remote: tuple[str, int] | None = None, **words: object) -> bytes:
        """Send a message written as text: indented as one likes, `{word}` replaced. The bytes, to be sent again.

        Words of the latest message that `expect` gave: `{vias}`, `{from}`, `{to}`, `{from_tag}`, `{to_tag}`, `{call_id}`, `{cseq}` (the
        number), `{method}`, `{branch}`, `{routes}`, `{contact}`. Of the peer: `{ip}`, `{port}`, `{uri}`, `{sdp}`, `{new_branch}`. And
        `{length}`, the octets of the body; and one's own.
        """
        head, _, body = textwrap.dedent(text.strip("\n")).rstrip().partition("\n\n")
        known: dict[str, object] = {**self.words, **words}
        content = body.format_map(known).replace("\r\n", "\n").strip("\n")
        content = content.replace("\n", "\r\n") + "\r\n" if content else ""
        # A word without lines, such as the routes of a call without a proxy, leaves none behind.
        lines = [line for row in head.split("\n") if (line := row.format_map({**known, "length": len(content.encode())}).rstrip())]
        data = ("\r\n".join(lines).replace("\r\n", "\n").replace("\n", "\r\n") + "\r\n\r\n" + content).encode()
        self.send(data, remote)
        return data

    @property
    def words(self) -> dict[str, object]:
        """What `send_text` knows."""
        self.sent += 1
        known: dict[str, object] = {
            "ip": self.ip, "port": self.port, "uri": self.uri, "sdp": sdp(host=self.ip), "new_branch": f"z9hG4bKtext{self.sent}",
        }  # fmt: skip
        latest = self.latest
        if latest is not None:
            vias = latest.headers.get_all("Via")
            # An ACK and most responses have no Contact: then that of the message before.
            contacts = next((values for message in (latest, *reversed(self.seen)) if (values := message.headers.get_all("Contact"))), [])
            routes = latest.headers.get_all("Record-Route")
            known.update({
                "vias": "\r\n".join(f"Via: {via}" for via in vias),
                "branch": vias[0].partition("branch=")[2].partition(";")[0] if vias else "",
                "from": latest.headers.get("From") or "",
                "to": latest.headers.get("To") or "",
                "from_tag": latest.from_.tag or "",
                "to_tag": latest.to.tag or "",
                "call_id": latest.call_id,
                "cseq": latest.cseq.number,
                "method": latest.cseq.method,
                "contact": contacts[0].partition("<")[2].partition(">")[0] or contacts[0] if contacts else "",
                "routes": "\r\n".join(f"Route: {route}" for route in routes),
            })  # fmt: skip
        return known

    def answer(
        self,
        request: Request,
        status: int,
        body: str = "",
        *,
        tag: str = "peer",
        headers: Headers = (),
        reason: str | None = None,
    ) -> bytes:
        """Answer a request of the phone; the bytes, to be sent again."""
        extra = list(headers)
        if request.method == "INVITE" and 100 < status < 300 and not any(name == "Contact" for name, _ in extra):
            extra.append(("Contact", f"<{self.uri}>"))
        data = bytes(
            request.create_response(
                status, reason, to_tag=tag, headers=extra, body=body.encode(), content_type="application/sdp" if body else None
            )
        )
        self.send(data)
        return data

    def ask(
        self,
        method: str,
        body: str = "",
        *,
        to_tag: str | None = None,
        from_tag: str = "peer",
        call_id: str = "raw-1",
        cseq: int = 1,
        branch: str | None = None,
        headers: Headers = (),
        content_type: str = "application/sdp",
        uri: str | None = None,
        cseq_method: str | None = None,
    ) -> bytes:
        """Send a request to the phone; the bytes, to be sent again."""
        self.sent += 1
        own, (host, port) = _in_uri(self.ip), self.remote
        lines = [
            f"{method} {uri or f'sip:flexosip@{_in_uri(host)}:{port}'} SIP/2.0",
            f"Via: SIP/2.0/UDP {own}:{self.port};branch={branch or f'z9hG4bKraw{self.sent}'};rport",
            "Max-Forwards: 70",
            f"From: <sip:peer@{own}>;tag={from_tag}",
            f"To: <sip:flexosip@{_in_uri(host)}>" + (f";tag={to_tag}" if to_tag else ""),
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {cseq_method or method}",
            *(() if any(name == "Contact" for name, _ in headers) else (f"Contact: <{self.uri}>",)),
            *(f"{name}: {value}" for name, value in headers),
            *((f"Content-Type: {content_type}",) if body else ()),
            f"Content-Length: {len(body.encode())}",
            "",
            body,
        ]
        data = "\r\n".join(lines).encode()
        self.send(data)
        return data

    def within(self, message: Message, method: str, body: str = "", *, cseq: int = 100, **options: Any) -> bytes:
        """Send a request in the dialog that `message`, the phone's INVITE or its answer to ours, belongs to."""
        ours, theirs = options.pop("tag", "peer"), message.from_.tag
        if isinstance(message, Response):
            ours, theirs = message.from_.tag or "", message.to.tag
        return self.ask(method, body, to_tag=options.pop("to_tag", theirs), from_tag=ours, call_id=message.call_id, cseq=cseq, **options)

    async def call(self, body: str | None = None, **options: Any) -> Response:
        """Call the phone and acknowledge its 200, which is returned."""
        self.ask("INVITE", sdp(host=self.ip) if body is None else body, **options)
        response = await self.response(200, "INVITE")
        self.acknowledge(response)
        return response

    def acknowledge(self, response: Response, body: str = "", **options: Any) -> None:
        """The ACK for a 2xx of the phone."""
        self.within(response, "ACK", body, cseq=response.cseq.number, **options)

    def sound(self, port: int = 7000) -> RawSound:
        """A pair of RTP sockets of the peer."""
        return RawSound(self, port)


class RawSound:
    """RTP of a raw peer, packet by packet; numbers are attributes that a test may change at any time."""

    def __init__(self, peer: RawPeer, port: int) -> None:
        self.rtp = peer.host.bind_media(peer.ip, port)
        self.sequence = 100
        self.timestamp = 1000
        self.ssrc = 0x1234
        self.packets: list[RtpPacket] = []
        """All that came, as far as it was received."""
        self._random = random.Random(port)

    def close(self) -> None:
        """Free the port."""
        self.rtp.close()

    def receive(self) -> list[RtpPacket]:
        """What came since the last call."""
        fresh: list[RtpPacket] = []
        while True:
            try:
                data, _ = self.rtp.recvfrom(4096)
            except BlockingIOError:
                self.packets += fresh
                return fresh
            fresh.append(RtpPacket.parse(data))

    def send(self, remote: tuple[str, int], payload: bytes, *, payload_type: int = 8, marker: bool = False, ticks: int = 160) -> None:
        """Send one packet and go on by `ticks`."""
        packet = RtpPacket(payload_type, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, self.ssrc, payload, marker)
        self.rtp.sendto(bytes(packet), remote)
        self.sequence += 1
        self.timestamp += ticks

    async def play(
        self,
        remote: tuple[str, int],
        pcm: bytes,
        *,
        codec: str = "PCMA",
        payload_type: int | None = None,
        marker: bool = True,
        jitter: float = 0.0,
        dropped: Callable[[int], bool] | None = None,
    ) -> None:
        """Send int16 sound at 8000 Hz, 20 ms a packet.

        Args:
            codec, payload_type: PCMA or PCMU; another number than the codec's own is a lie.
            marker: the first packet carries the marker (RFC 3551 §4.1).
            jitter: seconds by which packets leave late at most, in order.
            dropped: the packets, counted from 0, for which it says True are not sent; their numbers are missing.
        """
        coder = create(codec, 8000)
        number = payload_type if payload_type is not None else {"PCMA": 8, "PCMU": 0}[codec]
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for count in itertools.count():
            frame = pcm[count * 320 : (count + 1) * 320]
            if len(frame) < 320:
                return
            payload = coder.encode(frame)
            if dropped is not None and dropped(count):
                self.sequence += 1
                self.timestamp += 160
            else:
                self.send(remote, payload, payload_type=number, marker=marker and count == 0)
            late = self._random.random() * jitter if jitter else 0.0
            await asyncio.sleep(max(0.0, begin + (count + 1) * 0.02 + late - loop.time()))

    async def press(
        self,
        remote: tuple[str, int],
        digit: str,
        *,
        packets: int = 5,
        ends: int = 3,
        marker: bool = True,
        payload_type: int = 101,
    ) -> None:
        """Send a key as RFC 4733 says: `packets` of 20 ms each, then `ends` end packets; fewer ends are a loss, none is the worst."""
        event = _EVENTS.index(digit.upper())
        started = self.timestamp
        for count in range(packets + ends):
            end = count >= packets
            duration = min(count + 1, packets) * 160
            payload = bytes([event, 0x80 * end | 10]) + duration.to_bytes(2, "big")
            self.timestamp = started
            self.send(remote, payload, payload_type=payload_type, marker=marker and count == 0)
            await asyncio.sleep(0.02)
        self.timestamp = started + (packets + ends) * 160

    def become_another(self) -> None:
        """Go on with another SSRC, sequence and timestamp, as after a transfer behind a gateway (RFC 3550 §8)."""
        self.ssrc = self._random.getrandbits(32)
        self.sequence = self._random.getrandbits(16)
        self.timestamp = self._random.getrandbits(32)


def _in_uri(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip
