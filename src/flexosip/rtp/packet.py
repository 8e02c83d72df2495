"""RTP packets: `parse_header` and `build_packet` for the hot path, `RtpPacket` for everything else. RFC 3550 §5.1, §5.3.1.

|V=2|P|X|  CC   |M|     PT      |       sequence number         |
|                           timestamp                           |
|           synchronization source (SSRC) identifier            |
|       contributing source (CSRC) identifiers, 0 to 15 ...     |
|  if X: profile (16)           |  length in words (16)  | ...  |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from flexosip.errors import RemoteProtocolError

__all__ = ["MAX_PACKET", "RtpHeader", "RtpPacket", "build_packet", "is_rtcp", "pack_header", "parse_header"]

MAX_PACKET = 4096
"""Longest packet in octets that is looked at. 20 ms of L16/44100 in stereo are 3540; longer ones are an attack or a mistake."""

_HEADER = struct.Struct("!BBHII")
_unpack = _HEADER.unpack_from

pack_header = _HEADER.pack
"""`pack_header(0x80, marker << 7 | payload_type, sequence, timestamp, ssrc)` is the 12-octet header."""


class RtpHeader(NamedTuple):
    """The names of the fields that `parse_header` returns, for readers: `RtpHeader(*fields)`."""

    payload_type: int
    marker: int
    sequence: int
    timestamp: int
    ssrc: int
    start: int
    end: int


def parse_header(data: bytes) -> tuple[int, int, int, int, int, int, int] | None:
    """Look into a datagram that should be RTP.

    Returns:
        `(payload_type, marker, sequence, timestamp, ssrc, start, end)`; the payload is `data[start:end]`, CSRCs, extension and
        padding already left out; `marker` is 0 or 1. None when it is not an RTP packet, for any reason, or too long.
    """
    size = len(data)
    if size < 12 or size > MAX_PACKET:
        return None
    first, second, sequence, timestamp, ssrc = _unpack(data)
    if first == 0x80:
        return second & 0x7F, second >> 7, sequence, timestamp, ssrc, 12, size
    if first & 0xC0 != 0x80:
        return None
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if start + 4 > size:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if first & 0x20:
        padding = data[-1]
        if not padding:
            return None
        size -= padding
    if start > size:
        return None
    return second & 0x7F, second >> 7, sequence, timestamp, ssrc, start, size


def build_packet(payload_type: int, marker: int, sequence: int, timestamp: int, ssrc: int, payload: bytes) -> bytes:
    """A packet without CSRC, extension and padding. `marker` is 0 or 1, the other fields are in range already."""
    return pack_header(0x80, marker << 7 | payload_type, sequence, timestamp, ssrc) + payload


def is_rtcp(data: bytes) -> bool:
    """True if the datagram is RTCP rather than RTP, should both come to one port (RFC 5761 §4)."""
    return len(data) >= 4 and data[0] & 0xC0 == 0x80 and 192 <= data[1] <= 223


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One RTP packet with all its fields."""

    payload_type: int
    sequence: int
    """16 bits."""
    timestamp: int
    """32 bits, ticks of the payload's clock."""
    ssrc: int
    payload: bytes = b""
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None
    """`(profile, data)`, the data in whole 32-bit words (RFC 3550 §5.3.1)."""
    padding: int = 0
    """Octets of padding at the end, its count octet included; 0 for none."""

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        """Read a datagram.

        Raises:
            RemoteProtocolError: it is not a valid RTP packet.
        """
        header = parse_header(data)
        if header is None:
            raise RemoteProtocolError(f"A datagram of {len(data)} octets is not a valid RTP packet.")
        payload_type, marker, sequence, timestamp, ssrc, start, end = header
        count = data[0] & 0x0F
        extension = None
        if data[0] & 0x10:
            at = 12 + 4 * count
            extension = (int.from_bytes(data[at : at + 2], "big"), data[at + 4 : start])
        csrcs = struct.unpack_from(f"!{count}I", data, 12)
        return cls(payload_type, sequence, timestamp, ssrc, data[start:end], bool(marker), csrcs, extension, len(data) - end)

    def __bytes__(self) -> bytes:
        """The datagram.

        Raises:
            ValueError: a field is out of range.
        """
        if len(self.csrcs) > 15:
            raise ValueError("An RTP packet carries at most 15 CSRCs.")
        if not 0 <= self.payload_type <= 127:
            raise ValueError(f"Payload type {self.payload_type} does not fit into 7 bits.")
        if not 0 <= self.padding <= 255:
            raise ValueError(f"Padding of {self.padding} octets does not fit into one octet.")
        first = 0x80 | bool(self.padding) << 5 | (self.extension is not None) << 4 | len(self.csrcs)
        try:
            parts = [pack_header(first, self.marker << 7 | self.payload_type, self.sequence, self.timestamp, self.ssrc)]
            parts.append(struct.pack(f"!{len(self.csrcs)}I", *self.csrcs))
            if self.extension is not None:
                profile, words = self.extension
                if len(words) % 4:
                    raise ValueError("A header extension is a whole number of 32-bit words.")
                parts.append(struct.pack("!HH", profile, len(words) // 4) + words)
        except struct.error as error:
            raise ValueError(f"An RTP header field is out of range: {error}.") from error
        parts.append(self.payload)
        if self.padding:
            parts.append(bytes(self.padding - 1) + bytes((self.padding,)))
        return b"".join(parts)
