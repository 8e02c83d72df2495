"""RTP captures for SIPp's `play_pcap_audio`: a tone in A-law, with RFC 4733 digits in it.

Written without the library under test: an encoder that shared its mistakes would hide them.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

KEYS = "0123456789*#ABCD"
SSRC = 0x5A17BE11


def write_pcap(
    path: Path, *, seconds: float = 2.0, hz: float = 440.0, digits: str = "", digit_seconds: float = 0.1, event_payload_type: int = 101
) -> None:
    """Write a capture (link type Ethernet) of one RTP stream, PCMA/8000, 20 ms a packet.

    The first half of `seconds` is tone, then each of `digits` lasts `digit_seconds` followed by 100 ms of tone, then the other half.
    A digit is one event with one timestamp: marker on the first packet, rising duration, three packets with the end bit.
    """
    stream = _Stream(hz, event_payload_type)
    stream.tone(seconds / 2)
    for digit in digits:
        stream.digit(KEYS.index(digit), digit_seconds)
        stream.tone(0.1)
    stream.tone(seconds / 2)
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(stream.records))


class _Stream:
    def __init__(self, hz: float, event_payload_type: int) -> None:
        self.records: list[bytes] = []
        self._hz = hz
        self._event_payload_type = event_payload_type
        self._sequence = 4711
        self._timestamp = 160_000
        self._at = 0.0

    def tone(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            first = self._timestamp
            samples = (round(8000 * math.sin(2 * math.pi * self._hz * (first + k) / 8000)) for k in range(160))
            self._packet(8, bytes(map(encode_alaw, samples)), marker=not self.records)
            self._timestamp += 160
            self._at += 0.02

    def digit(self, event: int, seconds: float) -> None:
        ticks = round(seconds * 50)
        for tick in range(1, ticks + 1):
            self._event(event, 160 * tick, marker=tick == 1, end=tick == ticks)
            if tick < ticks:
                self._at += 0.02
        for _ in range(2):
            self._at += 0.001
            self._event(event, 160 * ticks, end=True)
        self._at += 0.018
        self._timestamp += 160 * ticks

    def _event(self, event: int, duration: int, *, marker: bool = False, end: bool = False) -> None:
        self._packet(self._event_payload_type, struct.pack("!BBH", event, 0x80 * end | 10, duration), marker=marker)

    def _packet(self, payload_type: int, payload: bytes, *, marker: bool = False) -> None:
        rtp = struct.pack("!BBHII", 0x80, 0x80 * marker | payload_type, self._sequence & 0xFFFF, self._timestamp, SSRC) + payload
        self._sequence += 1
        udp = struct.pack("!HHHH", 40000, 40002, 8 + len(rtp), 0) + rtp
        address = b"\x7f\x00\x00\x01"
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, address, address)
        total = sum(struct.unpack("!10H", header))
        total = (total & 0xFFFF) + (total >> 16)
        header = header[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + header[12:]
        frame = bytes(12) + b"\x08\x00" + header + udp
        self.records.append(struct.pack("<IIII", int(self._at), int(self._at % 1 * 1e6), len(frame), len(frame)) + frame)


def encode_alaw(sample: int) -> int:
    """One sample, int16, to A-law (ITU-T G.711)."""
    sign = 0x80 if sample >= 0 else 0
    magnitude = min(sample if sample >= 0 else ~sample, 32767) >> 4
    if magnitude < 32:
        return (sign | magnitude) ^ 0x55
    exponent = magnitude.bit_length() - 4
    return (sign | exponent << 4 | (magnitude >> (exponent - 1)) & 0x0F) ^ 0x55
