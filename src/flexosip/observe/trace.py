"""What went over the wire, in order, for people and tools: `WireMessage` and the bounded recorder `Trace`."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from flexosip.observe.masking import mask

__all__ = ["Address", "Direction", "Trace", "WireMessage"]

Address = tuple[str, int]
"""Host without brackets, and port."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Direction = Literal["in", "out"]


@dataclass(frozen=True, slots=True, repr=False)
class WireMessage:
    """One datagram, or one message of a stream, as it was on the wire."""

    at: float
    """Seconds of the clock of whoever recorded it."""
    direction: Direction
    """`in`: we received it; `out`: we sent it."""
    transport: str
    """`udp`, `tcp`, `tls`, `ws` or `wss`."""
    local: Address
    remote: Address
    data: bytes
    """Unmasked. Use `masked` for anything that leaves the process."""

    @property
    def source(self) -> Address:
        """Who sent it."""
        return self.local if self.direction == "out" else self.remote

    @property
    def destination(self) -> Address:
        """Who was to get it."""
        return self.remote if self.direction == "out" else self.local

    @property
    def kind(self) -> Literal["sip", "rtp", "rtcp", "other"]:
        """What it is, told from the first two bytes (RFC 7983 §7, RFC 5761 §4): version 2 is RTP, packet types 192-223 are RTCP."""
        data = self.data
        if len(data) < 2:
            return "other"
        if 0x80 <= data[0] <= 0xBF:
            return "rtcp" if 192 <= data[1] <= 223 else "rtp"
        return "sip" if 0x21 <= data[0] <= 0x7E else "other"

    @property
    def masked(self) -> bytes:
        """The data without secrets; of the same length."""
        return mask(self.data) if self.kind == "sip" else self.data

    def __str__(self) -> str:
        """The masked message with a line above that says when, from where, to where: what `-vv` shows."""
        arrow = "sent to" if self.direction == "out" else "received from"
        host, port = self.remote
        peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if self.kind != "sip":
            return f"{arrow} {peer} by {self.transport}: {self.kind}, {len(self.data)} bytes"
        text = self.masked.decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip("\n")
        return f"{arrow} {peer} by {self.transport}:\n{_printable(text)}"

    def __repr__(self) -> str:
        # No data: a repr ends in logs and tracebacks, and the data may carry credentials.
        return (
            f"WireMessage(at={self.at!r}, direction={self.direction!r}, transport={self.transport!r}, "
            f"local={self.local!r}, remote={self.remote!r}, data=<{len(self.data)} bytes of {self.kind}>)"
        )


def _printable(text: str) -> str:
    """Control characters of a stranger made visible: they must not steer the reader's terminal."""
    return _CONTROL.sub("\N{SYMBOL FOR SUBSTITUTE}", text)


class Trace:
    """Keeps the last messages within a bound and tells its observers of each one as it comes.

    Args:
        max_messages: how many are kept; the oldest leave first.
        max_bytes: how many bytes of data are kept, 16 MiB unless told.
        media: also keep RTP and RTCP packets (for a pcap); otherwise they are passed over.
    """

    def __init__(self, *, max_messages: int = 20_000, max_bytes: int = 16 * 1024 * 1024, media: bool = True) -> None:
        if max_messages < 1 or max_bytes < 1:
            raise ValueError("a trace needs room for at least one message")
        self._messages: deque[WireMessage] = deque()
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._bytes = 0
        self._media = media
        self._observers: list[Callable[[WireMessage], None]] = []
        self.dropped = 0
        """How many messages had to leave to keep the bound."""

    def record(self, message: WireMessage) -> None:
        """Keep a message and tell the observers."""
        if not self._media and message.kind in ("rtp", "rtcp"):
            return
        self._messages.append(message)
        self._bytes += len(message.data)
        while len(self._messages) > self._max_messages or (self._bytes > self._max_bytes and len(self._messages) > 1):
            self._bytes -= len(self._messages.popleft().data)
            self.dropped += 1
        for observer in tuple(self._observers):
            observer(message)

    def observe(self, observer: Callable[[WireMessage], None]) -> Callable[[], None]:
        """Call `observer` with every message from now on; calling what comes back ends that."""
        self._observers.append(observer)

        def stop() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return stop

    @property
    def messages(self) -> tuple[WireMessage, ...]:
        """What is kept, oldest first."""
        return tuple(self._messages)

    @property
    def signalling(self) -> tuple[WireMessage, ...]:
        """The SIP messages of it."""
        return tuple(message for message in self._messages if message.kind == "sip")

    def clear(self) -> None:
        """Forget everything; the observers stay."""
        self._messages.clear()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[WireMessage]:
        return iter(self.messages)
