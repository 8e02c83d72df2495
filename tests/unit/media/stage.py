"""A stage for the engine: virtual time, sockets made of lists, and a peer that sends what a test wants."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Any

from flexosip.codecs import create
from flexosip.media.events import MediaEvent
from flexosip.media.settings import MediaFormat, StreamSettings
from flexosip.media.stream import MediaStream
from flexosip.media.virtual import VirtualEngine
from flexosip.rtp.packet import RtpPacket
from flexosip.sansio import Scheduler

Address = tuple[str, int]
PCMA = MediaFormat("PCMA")
PCMU = MediaFormat("PCMU")
L16 = MediaFormat("L16", 16000)
PEER = ("192.0.2.9", 40000)


class Wire:
    """Sockets by address; what is sent to one of them lies there, and everything is noted."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.sockets: dict[Address, WireSocket] = {}

    def socket(self, address: Address) -> WireSocket:
        self.sockets[address] = WireSocket(self, address)
        return self.sockets[address]


class WireSocket:
    """A non-blocking datagram socket on a `Wire`."""

    def __init__(self, wire: Wire, address: Address) -> None:
        self.wire = wire
        self.address = address
        self.inbox: deque[tuple[bytes, Address]] = deque()
        self.sent: list[tuple[float, bytes, Address]] = []
        self.closed = False
        self.error: OSError | None = None

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        if not self.inbox:
            raise BlockingIOError
        return self.inbox.popleft()

    def sendto(self, data: bytes, address: Any) -> int:
        if self.error is not None:
            raise self.error
        assert not self.closed
        self.sent.append((round(self.wire.scheduler.now, 6), bytes(data), address))
        target = self.wire.sockets.get(address)
        if target is not None:
            target.inbox.append((bytes(data), self.address))
        return len(data)

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.closed = True
        self.wire.sockets.pop(self.address, None)

    @property
    def packets(self) -> list[RtpPacket]:
        """The RTP packets sent so far."""
        return [RtpPacket.parse(data) for _, data, _ in self.sent]

    @property
    def times(self) -> list[float]:
        """When they were sent."""
        return [at for at, _, _ in self.sent]


class Open:
    """A stream on the stage, with its sockets and what it told."""

    def __init__(self, stage: Stage, number: int) -> None:
        self.address = ("192.0.2.1", 20000 + 2 * number)
        self.rtp = stage.wire.socket(self.address)
        self.rtcp = stage.wire.socket((self.address[0], self.address[1] + 1))
        self.events: list[MediaEvent] = []
        self.stream: MediaStream = stage.engine.open_stream(self.rtp, self.rtcp, self.events.append)

    def told(self, kind: type[Any]) -> list[Any]:
        """Events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def sound(self) -> bytes:
        """What was sent as PCM, events left out; all packets in PCMA."""
        codec = create("PCMA", 8000)
        return b"".join(codec.decode(packet.payload) for packet in self.rtp.packets if packet.payload_type == 8)


class Stage:
    """An engine in virtual time."""

    def __init__(self, seed: int = 1) -> None:
        self.scheduler = Scheduler(100.0)
        self.wire = Wire(self.scheduler)
        self.engine = VirtualEngine(self.scheduler.call_at, lambda: self.scheduler.now, random=Random(seed))
        self._opened = 0

    def open(self, settings: StreamSettings | None = None) -> Open:
        """A stream, configured if there are settings."""
        self._opened += 1
        opened = Open(self, self._opened)
        if settings is not None:
            opened.stream.configure(settings)
        return opened

    def pair(self, **changes: Any) -> tuple[Open, Open]:
        """Two streams that talk to each other."""
        first, second = self.open(), self.open()
        first.stream.configure(settings(remote=second.address, **changes))
        second.stream.configure(settings(remote=first.address, **changes))
        return first, second

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.scheduler.now + seconds
        while (due := self.scheduler.next_timeout()) is not None and due <= until + 1e-9:
            self.scheduler.handle_timeout(max(due, self.scheduler.now))
        self.scheduler.now = max(until, self.scheduler.now)

    def freeze(self, seconds: float) -> None:
        """The process is stopped: time passes and nothing happens."""
        self.scheduler.now += seconds


def settings(remote: Address = PEER, **changes: Any) -> StreamSettings:
    """PCMA and events in both directions."""
    values: dict[str, Any] = {
        "send_format": PCMA,
        "send_payload_type": 8,
        "receive_formats": {8: PCMA, 0: PCMU},
        "send_event_payload_type": 101,
        "receive_event_payload_types": frozenset((101,)),
    }
    return StreamSettings(remote, **{**values, **changes})


class Peer:
    """Sends RTP to a stream: one packet each packet time, or what a test says."""

    def __init__(self, stage: Stage, target: Open, *, source: Address = PEER, ssrc: int = 0x1234, payload_type: int = 8) -> None:
        self.stage = stage
        self.target = target
        self.source = source
        self.ssrc = ssrc
        self.payload_type = payload_type
        self.sequence = 65530
        self.timestamp = 0xFFFFF000

    def packet(self, payload: bytes, *, ticks: int | None = None, marker: bool = False, payload_type: int | None = None) -> bytes:
        """The next packet of the stream."""
        packet = RtpPacket(
            self.payload_type if payload_type is None else payload_type, self.sequence, self.timestamp, self.ssrc, payload, marker
        )
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (self.timestamp + (len(payload) if ticks is None else ticks)) & 0xFFFFFFFF
        return bytes(packet)

    def put(self, data: bytes) -> None:
        """A datagram arrives now."""
        self.target.rtp.inbox.append((data, self.source))

    def send(self, payload: bytes, **fields: Any) -> None:
        """A packet arrives now."""
        self.put(self.packet(payload, **fields))

    def talk(self, payloads: Iterable[bytes], seconds: float = 0.02, **fields: Any) -> None:
        """One packet after another arrives, 3 ms after the tick of the stream, while time passes."""
        self.stage.run(0.003)
        for payload in payloads:
            self.send(payload, **fields)
            self.stage.run(seconds)
        self.stage.run(0.017)


def alaw(pcm: bytes) -> bytes:
    """PCM to PCMA."""
    return create("PCMA", 8000).encode(pcm)


def frames(data: bytes, size: int = 160) -> list[bytes]:
    """Pieces of a payload."""
    return [data[start : start + size] for start in range(0, len(data), size)]
