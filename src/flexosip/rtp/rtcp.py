"""RTCP packets: sender and receiver reports, source descriptions and BYE, in compounds. RFC 3550 §6; others pass as they are."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from flexosip.errors import RemoteProtocolError

__all__ = [
    "Bye",
    "OtherPacket",
    "ReceiverReport",
    "ReportBlock",
    "RtcpPacket",
    "SenderReport",
    "SourceDescription",
    "build_compound",
    "parse_compound",
]

SENDER_REPORT, RECEIVER_REPORT, SOURCE_DESCRIPTION, BYE = 200, 201, 202, 203
TRANSPORT_FEEDBACK, PAYLOAD_FEEDBACK = 205, 206
CNAME = 1

MAX_COMPOUND = 4096
_MAX_PACKETS = 32
_BLOCK = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!IQIII")


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """How one source is received (§6.4.1)."""

    ssrc: int
    fraction_lost: int
    """Since the last report, in 1/256."""
    lost: int
    """Since the beginning; negative with many duplicates; 24 bits with sign."""
    highest_sequence: int
    jitter: int
    """In ticks of the source's clock."""
    last_sender_report: int = 0
    """The middle 32 bits of the NTP timestamp of the last SR of the source; 0 if none has come."""
    delay_since: int = 0
    """From that SR's arrival to this report, in 1/65536 s."""

    def __bytes__(self) -> bytes:
        return _BLOCK.pack(
            self.ssrc,
            (self.fraction_lost & 0xFF) << 24 | self.lost & 0xFFFFFF,
            self.highest_sequence,
            self.jitter,
            self.last_sender_report,
            self.delay_since,
        )

    @classmethod
    def parse(cls, data: bytes, at: int) -> ReportBlock:
        """The 24 octets at `at`; the caller has checked that they are there."""
        ssrc, loss, highest, jitter, last, delay = _BLOCK.unpack_from(data, at)
        lost = loss & 0xFFFFFF
        return cls(ssrc, loss >> 24, lost - 0x1000000 if lost & 0x800000 else lost, highest, jitter, last, delay)


@dataclass(frozen=True, slots=True)
class SenderReport:
    """SR (§6.4.1)."""

    ssrc: int
    ntp_time: int
    """64-bit NTP timestamp of the moment of sending."""
    rtp_timestamp: int
    """The same moment in the stream's clock."""
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()

    def __bytes__(self) -> bytes:
        body = _SENDER.pack(self.ssrc, self.ntp_time, self.rtp_timestamp, self.packets & 0xFFFFFFFF, self.octets & 0xFFFFFFFF)
        return _packet(SENDER_REPORT, len(self.blocks), body + b"".join(map(bytes, self.blocks)))


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """RR (§6.4.2): from who has sent nothing lately."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()

    def __bytes__(self) -> bytes:
        return _packet(RECEIVER_REPORT, len(self.blocks), self.ssrc.to_bytes(4, "big") + b"".join(map(bytes, self.blocks)))


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """SDES (§6.5): items of each source, `(ssrc, ((type, text), ...))`."""

    chunks: tuple[tuple[int, tuple[tuple[int, bytes], ...]], ...]

    def __bytes__(self) -> bytes:
        body = bytearray()
        for ssrc, items in self.chunks:
            body += ssrc.to_bytes(4, "big")
            for kind, text in items:
                body += bytes((kind, len(text))) + text
            # The list ends with at least one zero, and the chunk on a word's boundary.
            body += bytes(4 - len(body) % 4)
        return _packet(SOURCE_DESCRIPTION, len(self.chunks), bytes(body))

    def cname(self, ssrc: int) -> str:
        """The canonical name of a source, "" if it is not told."""
        for source, items in self.chunks:
            if source == ssrc:
                for kind, text in items:
                    if kind == CNAME:
                        return text.decode("utf-8", "replace")
        return ""


@dataclass(frozen=True, slots=True)
class Bye:
    """BYE (§6.6). It ends the sources, never by itself the call: anyone can send it."""

    ssrcs: tuple[int, ...]
    reason: str = ""

    def __bytes__(self) -> bytes:
        body = struct.pack(f"!{len(self.ssrcs)}I", *self.ssrcs)
        if self.reason:
            text = self.reason.encode()[:255]
            body += bytes((len(text),)) + text
            body += bytes(-len(body) % 4)
        return _packet(BYE, len(self.ssrcs), body)


@dataclass(frozen=True, slots=True)
class OtherPacket:
    """APP, feedback, extended reports and whatever comes next: unread."""

    packet_type: int
    count: int
    body: bytes


RtcpPacket: TypeAlias = SenderReport | ReceiverReport | SourceDescription | Bye | OtherPacket


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    if count > 31:
        raise ValueError("An RTCP packet has at most 31 blocks, chunks or sources.")
    return struct.pack("!BBH", 0x80 | count, packet_type, len(body) // 4) + body


def build_compound(packets: Iterable[SenderReport | ReceiverReport | SourceDescription | Bye]) -> bytes:
    """A compound packet; the caller puts a report first and an SDES with CNAME after it (§6.1)."""
    return b"".join(map(bytes, packets))


def parse_compound(data: bytes) -> list[RtcpPacket]:
    """Read a datagram, compound or of reduced size (RFC 5506).

    Raises:
        RemoteProtocolError: any of its packets is damaged; then none of them counts.
    """
    size = len(data)
    if size < 4 or size > MAX_COMPOUND:
        raise _damaged(f"it has {size} octets")
    packets: list[RtcpPacket] = []
    at = 0
    while at < size:
        if size - at < 4:
            raise _damaged("a header is cut")
        first, packet_type, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 + 4 * words
        if first & 0xC0 != 0x80:
            raise _damaged("the version is not 2")
        if end > size:
            raise _damaged("a packet is longer than the datagram")
        if len(packets) >= _MAX_PACKETS:
            raise _damaged(f"more than {_MAX_PACKETS} packets")
        body = data[at + 4 : end]
        if first & 0x20:
            # Only the last packet of a compound may be padded (§6.4.1).
            padding = body[-1] if body else 0
            if end != size or not 0 < padding <= len(body):
                raise _damaged("wrong padding")
            body = body[:-padding]
        packets.append(_parse_packet(packet_type, first & 0x1F, body))
        at = end
    return packets


def _parse_packet(packet_type: int, count: int, body: bytes) -> RtcpPacket:
    if packet_type == SENDER_REPORT:
        if len(body) < 24 + 24 * count:
            raise _damaged("a sender report is cut")
        ssrc, ntp_time, rtp_timestamp, sent, octets = _SENDER.unpack_from(body)
        return SenderReport(ssrc, ntp_time, rtp_timestamp, sent, octets, _parse_blocks(body, 24, count))
    if packet_type == RECEIVER_REPORT:
        if len(body) < 4 + 24 * count:
            raise _damaged("a receiver report is cut")
        return ReceiverReport(int.from_bytes(body[:4], "big"), _parse_blocks(body, 4, count))
    if packet_type == SOURCE_DESCRIPTION:
        return SourceDescription(_parse_chunks(body, count))
    if packet_type == BYE:
        return _parse_bye(body, count)
    if packet_type in (TRANSPORT_FEEDBACK, PAYLOAD_FEEDBACK) and len(body) < 8:
        raise _damaged("a feedback packet is cut")
    return OtherPacket(packet_type, count, body)


def _parse_blocks(body: bytes, at: int, count: int) -> tuple[ReportBlock, ...]:
    return tuple(ReportBlock.parse(body, at + 24 * index) for index in range(count))


def _parse_chunks(body: bytes, count: int) -> tuple[tuple[int, tuple[tuple[int, bytes], ...]], ...]:
    chunks = []
    at, size = 0, len(body)
    for _ in range(count):
        if at + 4 > size:
            raise _damaged("a source description is cut")
        ssrc = int.from_bytes(body[at : at + 4], "big")
        at += 4
        items = []
        while at < size and body[at]:
            if at + 2 > size or at + 2 + body[at + 1] > size:
                raise _damaged("an item of a source description is cut")
            items.append((body[at], body[at + 2 : at + 2 + body[at + 1]]))
            at += 2 + body[at + 1]
        if at >= size:
            raise _damaged("a source description has no end")
        at += 4 - at % 4
        chunks.append((ssrc, tuple(items)))
    return tuple(chunks)


def _parse_bye(body: bytes, count: int) -> Bye:
    if len(body) < 4 * count:
        raise _damaged("a BYE is cut")
    ssrcs = struct.unpack_from(f"!{count}I", body)
    rest = body[4 * count :]
    reason = ""
    if rest:
        if 1 + rest[0] > len(rest):
            raise _damaged("the reason of a BYE is cut")
        reason = rest[1 : 1 + rest[0]].decode("utf-8", "replace")
    return Bye(ssrcs, reason)


def _damaged(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"The RTCP datagram is damaged: {what}.")
