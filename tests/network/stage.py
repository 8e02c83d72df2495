"""A virtual network with two phones on it, and a peer whose SIP and RTP a test writes line by line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from flexosip import Phone
from flexosip.codecs import create
from flexosip.rtp.packet import RtpPacket
from flexosip.simulation import VirtualClock, VirtualNetwork
from flexosip.sip.message import Message, Request, Response
from flexosip.sip.parser import parse_message

__all__ = ["RawPeer", "RawSound", "World", "sdp", "settle"]

PEER = "10.0.0.9"
Story = Callable[[Phone, Phone, str], Awaitable[Any]]


class World:
    """A virtual network; `run` puts two phones on it, `run_with_peer` one phone and a raw peer.

    Args:
        line: settings of every link, see `VirtualNetwork`.
    """

    def __init__(self, **line: Any) -> None:
        self.clock = VirtualClock()
        self.network = VirtualNetwork(self.clock, **{"seed": 1, **line})

    def phone(self, ip: str, **settings: Any) -> Phone:
        """A phone on a host of its own, at port 5060 unless told otherwise."""
        listen = settings.pop("listen", (f"[{ip}]:5060" if ":" in ip else f"{ip}:5060",))
        return Phone(clock=self.clock, network=self.network.host(ip), listen=listen, **settings)

    def run(self, story: Story, *, callee: dict[str, Any] | None = None, **settings: Any) -> Any:
        """Run `story(caller, callee, target)` with two started phones; nothing of it may be left afterwards."""

        async def main() -> Any:
            a, b = self.phone("10.0.0.1", **settings), self.phone("10.0.0.2", **(callee or {}))
            async with a, b:
                result = await story(a, b, "sip:b@10.0.0.2")
                await settle(a, b)
            return result

        return self._run(main())

    def run_with_peer(self, story: Callable[[Phone, RawPeer], Awaitable[Any]], **settings: Any) -> Any:
        """Run `story(phone, peer)`; the peer is at sip:peer@10.0.0.9."""

        async def main() -> Any:
            phone = self.phone("10.0.0.1", **settings)
            async with phone:
                peer = await RawPeer.open(self.network, PEER)
                try:
                    return await story(phone, peer)
                finally:
                    peer.close()

        return self._run(main())

    def run_alone(self, story: Callable[[], Awaitable[Any]]) -> Any:
        """Run a story that makes its own phones."""

        async def main() -> Any:
            return await story()

        return self._run(main())

    def _run(self, main: Any) -> Any:
        result = self.clock.run(main)
        assert not self.network.open_sockets, self.network.open_sockets
        return result


async def settle(*phones: Phone) -> None:
    """Wait until nothing is left of any call, a few times 64*T1 at most, and check it."""
    for phone in phones:
        for call in phone.calls:
            await call.hangup()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 140
    while loop.time() < deadline and any(left_of(phone) for phone in phones):
        await asyncio.sleep(0.25)
    for phone in phones:
        assert left_of(phone) == {}, left_of(phone)


def left_of(phone: Phone) -> dict[str, int]:
    """What calls have left in a phone, by name; empty when they are all over."""
    if not phone.running:
        return {}
    statistics = phone.core.statistics()
    signalling = phone.signalling
    counts = {
        "calls": len(phone.calls),
        "handler tasks": len(phone._incoming.tasks),
        "dialogs": statistics.dialogs,
        "client transactions": statistics.stack.client_transactions,
        "server transactions": statistics.stack.server_transactions,
        "streams": signalling.engine.statistics().streams,
        "ports": signalling.ports.in_use,
        "background tasks": len(signalling._background),
    }
    return {name: count for name, count in counts.items() if count}


def sdp(port: int = 7000, *, host: str = PEER, formats: str = "8 101", direction: str = "sendrecv", version: int = 1) -> str:
    """A session description of the peer."""
    family = "IP6" if ":" in host else "IP4"
    maps = {"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000", "101": "telephone-event/8000"}
    lines = [
        "v=0",
        f"o=- 1 {version} IN {family} {host}",
        "s=-",
        f"c=IN {family} {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {formats}",
        *(f"a=rtpmap:{number} {maps[number]}" for number in formats.split()),
        f"a={direction}",
    ]
    return "\r\n".join(lines) + "\r\n"


class RawPeer:
    """A SIP peer without machines: it sends what the test says, once, and keeps what it gets.

    Use `RawPeer.open`; messages that came and have not been asked for wait in `inbox`.
    """

    def __init__(self, network: VirtualNetwork, ip: str) -> None:
        self.host = network.host(ip)
        self.ip = ip
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.seen: list[Message] = []
        self.sent = 0

    @classmethod
    async def open(cls, network: VirtualNetwork, ip: str) -> RawPeer:
        """A peer that listens at port 5060 (UDP)."""
        peer = cls(network, ip)
        peer.endpoint = await peer.host.open_datagram(ip, 5060, peer._on_datagram)
        return peer

    def close(self) -> None:
        """Switch it off."""
        self.endpoint.close()

    def _on_datagram(self, data: bytes, remote: tuple[str, int], local_host: str) -> None:
        message = parse_message(data)
        self.seen.append(message)
        self.inbox.put_nowait(message)

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
            message.method == method_or_status if isinstance(message, Request) else message.status == method_or_status
            for message in self.seen
        )

    def send(self, data: bytes, remote: tuple[str, int] = ("10.0.0.1", 5060)) -> None:
        """Send a datagram."""
        self.endpoint.send(data, remote)

    def answer(
        self,
        request: Request,
        status: int,
        body: str = "",
        *,
        tag: str = "peer",
        headers: tuple[tuple[str, str], ...] = (),
        reason: str | None = None,
    ) -> bytes:
        """Answer a request of the phone; the bytes, to be sent again."""
        extra = list(headers)
        if request.method == "INVITE" and 100 < status < 300:
            extra.append(("Contact", f"<sip:peer@{self.ip}:5060>"))
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
        headers: tuple[tuple[str, str], ...] = (),
        content_type: str = "application/sdp",
        uri: str = "sip:flexosip@10.0.0.1:5060",
        cseq_method: str | None = None,
    ) -> bytes:
        """Send a request to the phone; the bytes, to be sent again."""
        self.sent += 1
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.ip}:5060;branch={branch or f'z9hG4bKraw{self.sent}'};rport",
            "Max-Forwards: 70",
            f"From: <sip:peer@{self.ip}>;tag={from_tag}",
            "To: <sip:flexosip@10.0.0.1>" + (f";tag={to_tag}" if to_tag else ""),
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {cseq_method or method}",
            f"Contact: <sip:peer@{self.ip}:5060>",
            *(f"{name}: {value}" for name, value in headers),
            *((f"Content-Type: {content_type}",) if body else ()),
            f"Content-Length: {len(body)}",
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
        return self.ask(method, body, to_tag=theirs, from_tag=ours, call_id=message.call_id, cseq=cseq, **options)

    async def call(self, body: str | None = None, **options: Any) -> Response:
        """Call the phone and acknowledge its 200, which is returned."""
        self.ask("INVITE", sdp() if body is None else body, **options)
        response = await self.response(200, "INVITE")
        self.acknowledge(response)
        return response

    def acknowledge(self, response: Response, body: str = "") -> None:
        """The ACK for a 2xx of the phone."""
        self.within(response, "ACK", body, cseq=response.cseq.number)

    def sound(self, port: int = 7000) -> RawSound:
        """A pair of RTP sockets of the peer."""
        return RawSound(self, port)


class RawSound:
    """RTP of the raw peer, packet by packet."""

    def __init__(self, peer: RawPeer, port: int) -> None:
        self.rtp = peer.host.bind_media(peer.ip, port)
        self.sequence = 100
        self.timestamp = 1000
        self.ssrc = 0x1234
        self.packets: list[RtpPacket] = []

    def close(self) -> None:
        """Free the port."""
        self.rtp.close()

    def receive(self) -> list[RtpPacket]:
        """What came since the last call."""
        fresh = []
        while True:
            try:
                data, _ = self.rtp.recvfrom(4096)
            except BlockingIOError:
                self.packets += fresh
                return fresh
            fresh.append(RtpPacket.parse(data))

    def send(self, remote: tuple[str, int], payload: bytes, *, payload_type: int = 8, marker: bool = False, ticks: int = 160) -> None:
        """Send one packet and go on by `ticks`."""
        packet = RtpPacket(payload_type, self.sequence & 0xFFFF, self.timestamp, self.ssrc, payload, marker)
        self.rtp.sendto(bytes(packet), remote)
        self.sequence += 1
        self.timestamp += ticks

    async def play(self, remote: tuple[str, int], pcm: bytes) -> None:
        """Send int16 sound at 8000 Hz as PCMA, 20 ms a packet."""
        codec = create("PCMA", 8000)
        for offset in range(0, len(pcm) - 319, 320):
            self.send(remote, codec.encode(pcm[offset : offset + 320]))
            await asyncio.sleep(0.02)
