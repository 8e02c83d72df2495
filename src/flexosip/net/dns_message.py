"""DNS messages: a question as bytes, and what bytes answer to it.

Nothing that a name server or somebody in its place sends can do more than raise `DnsFormatError`: names are bounded, compression
pointers only lead backwards, counts are limited by the octets that are there.

RFC 1035 §4, RFC 2181, RFC 2308 (negative answers), RFC 2782, RFC 3403
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from flexosip.net.dns_records import AddressRecord, DnsRecord, NaptrRecord, RecordKind, ServiceRecord

__all__ = ["DnsFormatError", "DnsReply", "create_query", "parse_reply"]

KINDS: dict[RecordKind, int] = {"A": 1, "AAAA": 28, "SRV": 33, "NAPTR": 35}
_CNAME = 5
_SOA = 6
_INTERNET = 1
_LONGEST_NAME = 255
_LONGEST_LABEL = 63
_MOST_RECORDS = 256
"""Records looked at in one reply; no domain needs as many."""
_MOST_ALIASES = 8
_NEGATIVE_TTL = 60.0
"""Seconds for which the lack of a record is believed where no SOA tells (RFC 2308 §5)."""
_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")


class DnsFormatError(ValueError):
    """A reply that is none, or none to our question."""


@dataclass(frozen=True, slots=True)
class DnsReply:
    """What a reply says about the question."""

    records: tuple[DnsRecord, ...]
    ttl: float
    """seconds; the least of all records on the way, or that of the lack of them"""
    status: int
    """RCODE: 0 fine, 2 the server failed, 3 there is no such name, 5 refused"""
    truncated: bool
    """not all of it fits into a datagram: ask again over TCP"""


def create_query(number: int, name: str, kind: RecordKind) -> bytes:
    """A question with recursion desired (RFC 1035 §4.1).

    Args:
        number: the id, 16 random bits.

    Raises:
        DnsFormatError: `name` is no domain name.
    """
    return _HEADER.pack(number, 0x0100, 1, 0, 0, 0) + _name_bytes(name) + struct.pack("!HH", KINDS[kind], _INTERNET)


def parse_reply(data: bytes, number: int, name: str, kind: RecordKind) -> DnsReply:
    """The answer to the question of `create_query` with the same arguments.

    Raises:
        DnsFormatError: it is damaged, or it answers something else: then the true answer may still come.
    """
    reader = _Reader(data)
    try:
        found, flags, questions, answers, authorities, _ = _HEADER.unpack(reader.take(_HEADER.size))
        if found != number or not flags & 0x8000 or flags & 0x7800 or questions != 1:
            raise DnsFormatError("not an answer to this question")
        asked = reader.name()
        if (asked, struct.unpack("!HH", reader.take(4))) != (_canonical(name), (KINDS[kind], _INTERNET)):
            raise DnsFormatError("an answer to another question")
        status = flags & 15
        if flags & 0x0200:
            return DnsReply((), 0.0, status, True)
        entries = [reader.record() for _ in range(min(answers, _MOST_RECORDS))]
        records, ttl = _follow(reader, entries, _canonical(name), kind)
        if not records:
            soa = [reader.record() for _ in range(min(authorities, _MOST_RECORDS))] if answers <= _MOST_RECORDS else []
            ttl = _negative_ttl(reader, soa)
    except (struct.error, IndexError, UnicodeError) as error:
        raise DnsFormatError(f"a damaged answer: {error}") from error
    return DnsReply(records, ttl, status, False)


@dataclass(frozen=True, slots=True)
class _Entry:
    owner: str
    kind: int
    ttl: int
    start: int
    end: int


class _Reader:
    """Reads names and records out of a message."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise DnsFormatError("the answer is cut short")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def name(self) -> str:
        """The name at the position, in lower case."""
        name, self.position = self.name_at(self.position)
        return name

    def name_at(self, position: int) -> tuple[str, int]:
        """A name and the position after it. Each pointer must lead further back than everything read before: no loop can be made."""
        data, labels, total = self.data, list[str](), 0
        after = -1
        floor = position
        while True:
            length = data[position]
            if length & 0xC0 == 0xC0:
                target = (length & 0x3F) << 8 | data[position + 1]
                after = position + 2 if after < 0 else after
                if target >= floor:
                    raise DnsFormatError("a name points forwards or to itself")
                position = floor = target
                continue
            if length & 0xC0:
                raise DnsFormatError("an unknown kind of label")
            position += 1
            if not length:
                return ".".join(labels), position if after < 0 else after
            total += length + 1
            if total >= _LONGEST_NAME or position + length > len(data):
                raise DnsFormatError("a name is too long")
            labels.append(_label(data[position : position + length]))
            position += length

    def record(self) -> _Entry:
        owner = self.name()
        kind, class_, ttl, length = _RECORD.unpack(self.take(_RECORD.size))
        start = self.position
        self.take(length)
        # RFC 2181 §8: a TTL with the highest bit set is 0.
        return _Entry(owner, kind if class_ == _INTERNET else 0, ttl if ttl < 1 << 31 else 0, start, self.position)


def _follow(reader: _Reader, entries: list[_Entry], name: str, kind: RecordKind) -> tuple[tuple[DnsRecord, ...], float]:
    """The records of `name`, through its aliases."""
    ttl = float("inf")
    for _ in range(_MOST_ALIASES):
        found = [entry for entry in entries if entry.owner == name and entry.kind == KINDS[kind]]
        if found:
            return tuple(_value(reader, entry, kind) for entry in found), min(ttl, *(float(entry.ttl) for entry in found))
        alias = next((entry for entry in entries if entry.owner == name and entry.kind == _CNAME), None)
        if alias is None:
            break
        ttl = min(ttl, float(alias.ttl))
        name, _after = reader.name_at(alias.start)
    return (), 0.0


def _negative_ttl(reader: _Reader, authorities: list[_Entry]) -> float:
    """How long the lack of a record is good: the lesser of the SOA's own TTL and its last field (RFC 2308 §5)."""
    for entry in authorities:
        if entry.kind == _SOA and entry.end - entry.start >= 22:
            return float(min(entry.ttl, *struct.unpack("!I", reader.data[entry.end - 4 : entry.end])))
    return _NEGATIVE_TTL


def _value(reader: _Reader, entry: _Entry, kind: RecordKind) -> DnsRecord:
    data = reader.data[entry.start : entry.end]
    if kind in ("A", "AAAA"):
        if len(data) != (4 if kind == "A" else 16):
            raise DnsFormatError("an address of a wrong length")
        return AddressRecord(socket.inet_ntop(socket.AF_INET if kind == "A" else socket.AF_INET6, data))
    if kind == "SRV":
        priority, weight, port = struct.unpack("!HHH", data[:6])
        target, after = reader.name_at(entry.start + 6)
        _check_end(after, entry)
        return ServiceRecord(priority, weight, port, target)
    order, preference = struct.unpack("!HH", data[:4])
    texts, position = list[str](), 4
    for _ in range(3):
        length = data[position]
        if position + 1 + length > len(data):
            raise DnsFormatError("a text is cut short")
        texts.append(data[position + 1 : position + 1 + length].decode("ascii", "replace"))
        position += 1 + length
    replacement, after = reader.name_at(entry.start + position)
    _check_end(after, entry)
    return NaptrRecord(order, preference, texts[0].lower(), texts[1].upper(), texts[2], replacement)


def _check_end(after: int, entry: _Entry) -> None:
    if after != entry.end:
        raise DnsFormatError("a record does not end where it says")


def _label(raw: bytes) -> str:
    """One label in lower case; what no host name may hold is written so that it leads nowhere and cannot forge a log line."""
    text = raw.decode("ascii", "backslashreplace").lower()
    return "".join(letter if letter.isprintable() and letter not in '. "' else f"\\{ord(letter):03d}" for letter in text)


def _canonical(name: str) -> str:
    return name.lower().rstrip(".")


def _name_bytes(name: str) -> bytes:
    if not name.isascii():
        # RFC 3261 §25.1: a host of a SIP URI has only ASCII letters; who has another name writes it in its ASCII form (xn--).
        raise DnsFormatError(f"{name!r} is no domain name")
    labels = [label.encode("ascii") for label in _canonical(name).split(".")]
    if any(not 0 < len(label) <= _LONGEST_LABEL for label in labels) or sum(len(label) + 1 for label in labels) >= _LONGEST_NAME:
        raise DnsFormatError(f"{name!r} is no domain name")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
