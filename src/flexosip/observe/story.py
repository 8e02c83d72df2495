"""What a ladder shows besides the SIP messages: notes in words, chapters, media phases, sounds and key presses.

`media_story` reads the phases and the key presses out of recorded RTP packets (RFC 3550 §5.1, RFC 4733 §2.3).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from flexosip.observe.trace import Address, WireMessage

__all__ = ["Chapter", "Mark", "MediaPhase", "Note", "media_story"]

_DIGITS = "0123456789*#ABCD"
_PAUSE = 1.0
"""Seconds without a packet after which sound between two parties is over."""
_RTPMAP = re.compile(rb"(?im)^a=rtpmap:(\d{1,3})[ \t]+([A-Za-z0-9._-]{1,32})/(\d{1,6})")
_STATIC = {0: "PCMU", 8: "PCMA", 9: "G722", 10: "L16", 11: "L16", 13: "CN"}


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened, in words: `the bell says: off → once`."""

    at: float
    text: str
    lane: str | None = None
    """The participant it belongs to; None: all of them."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A heading across all lanes."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class MediaPhase:
    """Sound that flows between two addresses or participants for a while."""

    start: float
    end: float
    between: tuple[Address | str, Address | str]
    label: str = "voice"


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing within the sound: a key press, or words that are spoken."""

    at: float
    source: Address | str
    destination: Address | str
    text: str
    """The key, or what is heard."""
    kind: Literal["digit", "sound"] = "digit"


@dataclass(slots=True)
class _Flow:
    """RTP between two addresses while it lasts."""

    start: float
    end: float
    packets: dict[Address, int] = field(default_factory=dict)
    codecs: dict[str, int] = field(default_factory=dict)


def media_story(messages: Iterable[WireMessage]) -> tuple[list[MediaPhase], list[Mark]]:
    """Phases and key presses of the RTP packets in a trace; codec names come from its SDP.

    A packet recorded at both ends is counted once. A key press is one timestamp of one source (RFC 4733 §2.3.5), however many packets
    told it.
    """
    names: dict[int, str] = dict(_STATIC)
    flows: dict[frozenset[Address], _Flow] = {}
    phases: list[tuple[frozenset[Address], _Flow]] = []
    marks: list[Mark] = []
    pressed: set[tuple[Address, int, int]] = set()
    seen: set[tuple[Address, Address, bytes]] = set()
    for message in messages:
        if message.kind == "sip":
            for number, name, _rate in _RTPMAP.findall(message.data):
                names[int(number)] = name.decode("ascii")
            continue
        if message.kind != "rtp" or len(message.data) < 12:
            continue
        # the first 12 bytes tell sequence number, timestamp and source: enough to know a packet again at its other end
        way = (message.source, message.destination, message.data[:12])
        if way in seen:
            continue
        seen.add(way)
        payload_type = message.data[1] & 0x7F
        timestamp, source_id = struct.unpack_from("!II", message.data, 4)
        codec = names.get(payload_type, f"payload type {payload_type}")
        if codec.lower() == "telephone-event":
            press = (message.source, source_id, timestamp)
            digit = _digit(message.data)
            if press not in pressed and digit is not None:
                pressed.add(press)
                marks.append(Mark(message.at, message.source, message.destination, digit))
            codec = ""
        pair = frozenset((message.source, message.destination))
        flow = flows.get(pair)
        if flow is None or message.at - flow.end > _PAUSE:
            flow = flows[pair] = _Flow(message.at, message.at)
            phases.append((pair, flow))
        flow.end = message.at
        flow.packets[message.source] = flow.packets.get(message.source, 0) + 1
        if codec:
            flow.codecs[codec] = flow.codecs.get(codec, 0) + 1
    return [_phase(pair, flow) for pair, flow in phases if len(pair) == 2], marks


def _digit(packet: bytes) -> str | None:
    """The key of a telephone-event packet."""
    offset = 12 + (packet[0] & 0x0F) * 4
    if packet[0] & 0x10 and len(packet) >= offset + 4:
        offset += 4 + struct.unpack_from("!H", packet, offset + 2)[0] * 4
    if len(packet) < offset + 4 or packet[offset] >= len(_DIGITS):
        return None
    return _DIGITS[packet[offset]]


def _phase(pair: frozenset[Address], flow: _Flow) -> MediaPhase:
    first, second = sorted(pair)
    codecs = " and ".join(sorted(flow.codecs, key=lambda name: -flow.codecs[name]))
    ways = "both ways" if len(flow.packets) == 2 else "one way"
    label = f"voice {ways}" + (f" · {codecs}" if codecs else "") + f" · {sum(flow.packets.values()):,} packets"
    return MediaPhase(flow.start, flow.end, (first, second), label)
