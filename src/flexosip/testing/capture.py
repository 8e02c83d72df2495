"""SIP read back from a pcap file, as tcpdump, Wireshark, sngrep or `flexosip.observe.PcapWriter` write it.

UDP over IPv4 and IPv6, over Ethernet (VLAN tags too), Linux cooked capture, loopback or raw IP. Fragments of IP, and TCP, are passed over
and counted.
Formats: draft-ietf-opsawg-pcap; link types: https://www.tcpdump.org/linktypes.html
"""

from __future__ import annotations

import ipaddress
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

from flexosip.errors import ConfigurationError
from flexosip.observe.trace import WireMessage

__all__ = ["Capture", "read_pcap"]

_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
}
"""Byte order and unit of the fraction of a second."""
_LINK_HEADERS = {0: 4, 1: 14, 12: 0, 14: 0, 101: 0, 108: 4, 113: 16, 228: 0, 229: 0, 276: 20}
"""Octets before the IP header, by link type."""
_VLAN = (0x8100, 0x88A8)


@dataclass(slots=True)
class Capture:
    """What was read."""

    messages: list[WireMessage] = field(default_factory=list)
    """SIP over UDP in the order of the file, all as `out` of their sender; seconds from the first packet."""
    passed_over: int = 0
    """Packets that are no whole UDP datagram."""


def read_pcap(path: str | os.PathLike[str]) -> Capture:
    """Read the SIP messages of a pcap file.

    Raises:
        ConfigurationError: it cannot be read, or is of another format (pcapng: convert it with `editcap -F pcap`).
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{os.fspath(path)} cannot be read: {error.strerror}.") from error
    order, unit = _MAGIC.get(data[:4], ("", 0.0))
    if not order or len(data) < 24:
        hint = " It is pcapng: `editcap -F pcap` converts it." if data[:4] == b"\x0a\x0d\x0d\x0a" else ""
        raise ConfigurationError(f"{os.fspath(path)} is no pcap file.{hint}")
    link = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    if link not in _LINK_HEADERS:
        raise ConfigurationError(f"{os.fspath(path)} was captured on a link of type {link}, which is not known here.")
    capture = Capture()
    at, begin = 24, None
    while at + 16 <= len(data):
        seconds, fraction, length, _ = struct.unpack_from(order + "IIII", data, at)
        packet = data[at + 16 : at + 16 + length]
        at += 16 + length
        when = seconds + fraction * unit
        begin = when if begin is None else begin
        _take(capture, when - begin, packet[_before_ip(packet, link) :])
    return capture


def _before_ip(packet: bytes, link: int) -> int:
    size = _LINK_HEADERS[link]
    while link == 1 and len(packet) > size and struct.unpack_from(">H", packet, size - 2)[0] in _VLAN:
        size += 4
    return size


def _take(capture: Capture, when: float, packet: bytes) -> None:
    found = _datagram(packet)
    if found is None:
        capture.passed_over += 1
        return
    source, destination, payload = found
    message = WireMessage(when, "out", "udp", source, destination, payload)
    if message.kind == "sip":
        capture.messages.append(message)


def _datagram(packet: bytes) -> tuple[tuple[str, int], tuple[str, int], bytes] | None:
    """(source, destination, payload) of an IP packet with UDP in it."""
    if len(packet) < 20:
        return None
    if packet[0] >> 4 == 4:
        header, protocol, fragment = (packet[0] & 15) * 4, packet[9], struct.unpack_from(">H", packet, 6)[0] & 0x3FFF
        ends = packet[12:16], packet[16:20]
    elif packet[0] >> 4 == 6 and len(packet) >= 40:
        header, protocol, fragment = 40, packet[6], 0
        ends = packet[8:24], packet[24:40]
    else:
        return None
    if protocol != 17 or fragment or len(packet) < header + 8:
        return None
    source_port, destination_port, length = struct.unpack_from(">HHH", packet, header)
    payload = packet[header + 8 : header + length]
    if len(payload) != length - 8:
        return None  # cut off by the capture's snapshot length
    return (str(ipaddress.ip_address(ends[0])), source_port), (str(ipaddress.ip_address(ends[1])), destination_port), payload
