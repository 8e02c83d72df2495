"""Writes what went over the wire as a pcap file that Wireshark, tcpdump and sngrep open.

A program sees messages, not packets: IP, UDP and TCP headers are made up around them (correct lengths and checksums, running TCP sequence
numbers). Link type LINKTYPE_RAW (101): each packet begins with its IP header. Format: draft-ietf-opsawg-pcap.
Secrets in SIP are masked unless told otherwise.
"""

from __future__ import annotations

import ipaddress
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from flexosip.observe.trace import Address, WireMessage

__all__ = ["PcapWriter", "write_pcap"]

_LINKTYPE_RAW = 101
_SNAPLEN = 262_144
_TCP_PAYLOAD = 1_400
_UDP, _TCP = 17, 6
_PSH_ACK = 0x18

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class PcapWriter:
    """A pcap file; complete at any moment. Use it with `with`.

    Args:
        target: path or binary file to write to; a path is created or replaced.
        epoch: seconds to add to each message's `at` to get seconds since 1970 (the recorder's clock may be monotonic).
        mask: write SIP without its secrets.
    """

    def __init__(self, target: str | os.PathLike[str] | BinaryIO, *, epoch: float = 0.0, mask: bool = True) -> None:
        self._owned = isinstance(target, str | os.PathLike)
        self._file: BinaryIO = Path(target).open("wb") if isinstance(target, str | os.PathLike) else target  # noqa: SIM115 - closed by close()
        self._epoch = epoch
        self._mask = mask
        self._sequence: dict[tuple[Address, Address], int] = {}
        self._identification = 0
        self.packets = 0
        """How many packets were written."""
        self._file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_RAW))

    def write(self, message: WireMessage) -> None:
        """Append a message. Host names instead of addresses are written as 0.0.0.0."""
        data = message.masked if self._mask else message.data
        if message.transport.lower() == "udp":
            self._packet(message, _udp(message.source, message.destination, data), _UDP)
            return
        for start in range(0, len(data), _TCP_PAYLOAD) or (0,):
            part = data[start : start + _TCP_PAYLOAD]
            self._packet(message, self._tcp(message.source, message.destination, part), _TCP)

    def _tcp(self, source: Address, destination: Address, data: bytes) -> bytes:
        """A TCP segment (RFC 9293 §3.1) with the sequence numbers of a stream that began at 1."""
        sequence = self._sequence.get((source, destination), 1)
        acknowledged = self._sequence.get((destination, source), 1)
        self._sequence[source, destination] = (sequence + len(data)) & 0xFFFFFFFF
        ports = struct.pack("!HH", source[1] & 0xFFFF, destination[1] & 0xFFFF)
        header = ports + struct.pack("!IIBBHHH", sequence, acknowledged, 5 << 4, _PSH_ACK, 65_535, 0, 0)
        checksum = _checksum(_pseudo_header(source, destination, len(header) + len(data), _TCP) + header + data)
        return header[:16] + struct.pack("!H", checksum) + header[18:] + data

    def _packet(self, message: WireMessage, segment: bytes, protocol: int) -> None:
        source, destination = _ips(message.source, message.destination)
        if source.version == 4:
            self._identification = (self._identification + 1) & 0xFFFF
            header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), self._identification, 0x4000, 64, protocol, 0)
            header += source.packed + destination.packed
            header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
        else:
            header = struct.pack("!IHBB", 6 << 28, len(segment), protocol, 64) + source.packed + destination.packed
        packet = header + segment
        microseconds = round((message.at + self._epoch) * 1_000_000)
        seconds, fraction = divmod(max(0, microseconds), 1_000_000)
        self._file.write(struct.pack("<IIII", seconds & 0xFFFFFFFF, fraction, len(packet), len(packet)) + packet)
        self.packets += 1

    def flush(self) -> None:
        """Let others read what was written so far."""
        self._file.flush()

    def close(self) -> None:
        """Close the file if this writer opened it."""
        if self._owned:
            self._file.close()
        else:
            self._file.flush()

    def __enter__(self) -> PcapWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def write_pcap(target: str | os.PathLike[str] | BinaryIO, messages: Iterable[WireMessage], *, epoch: float = 0.0, mask: bool = True) -> int:
    """Write `messages` in order of time; returns the number of packets."""
    with PcapWriter(target, epoch=epoch, mask=mask) as writer:
        for message in sorted(messages, key=lambda message: message.at):
            writer.write(message)
        return writer.packets


def _udp(source: Address, destination: Address, data: bytes) -> bytes:
    """A UDP datagram (RFC 768)."""
    data = data[:65_507]
    length = 8 + len(data)
    header = struct.pack("!HHH", source[1] & 0xFFFF, destination[1] & 0xFFFF, length)
    checksum = _checksum(_pseudo_header(source, destination, length, _UDP) + header + b"\0\0" + data) or 0xFFFF
    return header + struct.pack("!H", checksum) + data


def _ips(source: Address, destination: Address) -> tuple[_Ip, _Ip]:
    """Both addresses in one IP version: 6 as soon as one of them is."""
    first, second = _ip(source[0]), _ip(destination[0])
    if first.version == second.version:
        return first, second
    return _as_v6(first), _as_v6(second)


def _ip(host: str) -> _Ip:
    try:
        return ipaddress.ip_address(host.partition("%")[0].strip("[]"))
    except ValueError:
        return ipaddress.IPv4Address(0)


def _as_v6(address: _Ip) -> _Ip:
    return address if address.version == 6 else ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)


def _pseudo_header(source: Address, destination: Address, length: int, protocol: int) -> bytes:
    """What the checksums of UDP and TCP cover besides the segment (RFC 768, RFC 8200 §8.1)."""
    first, second = _ips(source, destination)
    if first.version == 4:
        return first.packed + second.packed + struct.pack("!BBH", 0, protocol, length)
    return first.packed + second.packed + struct.pack("!IHBB", length, 0, 0, protocol)


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    # int arithmetic modulo 2^16-1 is the one's complement sum, in one step
    total = int.from_bytes(data, "big") % 0xFFFF
    if total == 0 and any(data):
        total = 0xFFFF
    return ~total & 0xFFFF
