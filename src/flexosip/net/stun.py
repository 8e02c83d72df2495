"""STUN: asking from where our packets seem to come, and keeping a NAT's mapping alive. No sockets here.

Of the whole protocol only Binding, which needs no credentials. Answers are matched by 96 random bits; what else comes is refused.

RFC 8489 §5, §14.1, §14.2, §14.5, §14.7; RFC 5626 §8
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import struct
import zlib

__all__ = ["MAGIC_COOKIE", "StunError", "StunMessage", "answer_to", "create_binding_request", "is_stun", "parse_stun"]

MAGIC_COOKIE = b"\x21\x12\xa4\x42"
BINDING_REQUEST, BINDING_SUCCESS, BINDING_ERROR = 0x0001, 0x0101, 0x0111
_MAPPED_ADDRESS, _MESSAGE_INTEGRITY, _ERROR_CODE, _XOR_MAPPED_ADDRESS, _FINGERPRINT = 0x0001, 0x0008, 0x0009, 0x0020, 0x8028
_FINGERPRINT_XOR = 0x5354554E
_HEADER = 20
_MOST_ATTRIBUTES = 64


class StunError(ValueError):
    """A message that is no STUN, or is damaged."""


class StunMessage:
    """A parsed message.

    Attributes:
        kind: method and class, for example 0x0101.
        transaction: 12 octets that tie an answer to its request.
        attributes: type and value of each, in order; those behind a MESSAGE-INTEGRITY only if it is the FINGERPRINT.
        mapped: our address as the other end sees it, or None.
        error: status of an error response, or None.
    """

    __slots__ = ("_data", "_integrity_at", "attributes", "error", "kind", "mapped", "transaction")

    def __init__(self, data: bytes, kind: int, transaction: bytes, attributes: tuple[tuple[int, bytes], ...], integrity_at: int) -> None:
        self._data = data
        self._integrity_at = integrity_at
        self.kind = kind
        self.transaction = transaction
        self.attributes = attributes
        self.mapped = self._mapped()
        code = self.attribute(_ERROR_CODE)
        self.error = (code[2] & 7) * 100 + code[3] if code is not None and len(code) >= 4 else None

    def attribute(self, number: int) -> bytes | None:
        """The first attribute of that type."""
        return next((value for kind, value in self.attributes if kind == number), None)

    def _mapped(self) -> tuple[str, int] | None:
        value = self.attribute(_XOR_MAPPED_ADDRESS)
        if value is not None:
            mask = MAGIC_COOKIE + self.transaction
            value = (
                value[:2]
                + bytes(a ^ b for a, b in zip(value[2:4], mask, strict=False))
                + bytes(a ^ b for a, b in zip(value[4:], mask, strict=False))
            )
        else:
            value = self.attribute(_MAPPED_ADDRESS)
        if value is None:
            return None
        family = {(1, 8): socket.AF_INET, (2, 20): socket.AF_INET6}.get((value[1], len(value)) if len(value) > 1 else (0, 0))
        if family is None:
            raise StunError("an address of a wrong length")
        return socket.inet_ntop(family, value[4:]), int.from_bytes(value[2:4], "big")

    def is_authentic(self, key: bytes) -> bool:
        """Whether its MESSAGE-INTEGRITY was made with `key` (RFC 8489 §14.5); False if it has none."""
        if self._integrity_at < 0:
            return False
        end = self._integrity_at
        covered = self._data[:2] + struct.pack("!H", end + 24 - _HEADER) + self._data[4:end]
        return hmac.compare_digest(hmac.new(key, covered, hashlib.sha1).digest(), self._data[end + 4 : end + 24])


def is_stun(data: bytes) -> bool:
    """Whether a datagram is STUN and no SIP: a cheap test (RFC 8489 §6.3, RFC 5626 §8)."""
    return len(data) >= _HEADER and data[0] < 4 and data[4:8] == MAGIC_COOKIE


def create_binding_request(transaction: bytes) -> bytes:
    """A Binding request with a FINGERPRINT.

    Args:
        transaction: 12 random octets.
    """
    if len(transaction) != 12:
        raise ValueError("a STUN transaction id has 12 octets")
    head = struct.pack("!HH", BINDING_REQUEST, 8) + MAGIC_COOKIE + transaction
    return head + struct.pack("!HHI", _FINGERPRINT, 4, zlib.crc32(head) ^ _FINGERPRINT_XOR)


def create_binding_success(request: StunMessage, mapped: tuple[str, int]) -> bytes:
    """The answer to a Binding request that seems to come from `mapped`: its address, masked, and a FINGERPRINT."""
    mask = MAGIC_COOKIE + request.transaction
    ip = socket.inet_pton(socket.AF_INET6 if ":" in mapped[0] else socket.AF_INET, mapped[0].partition("%")[0])
    port = mapped[1] ^ int.from_bytes(MAGIC_COOKIE[:2], "big")
    value = struct.pack("!BBH", 0, 2 if len(ip) == 16 else 1, port) + bytes(a ^ b for a, b in zip(ip, mask, strict=False))
    attribute = struct.pack("!HH", _XOR_MAPPED_ADDRESS, len(value)) + value
    head = struct.pack("!HH", BINDING_SUCCESS, len(attribute) + 8) + MAGIC_COOKIE + request.transaction + attribute
    return head + struct.pack("!HHI", _FINGERPRINT, 4, zlib.crc32(head) ^ _FINGERPRINT_XOR)


def answer_to(data: bytes, source: tuple[str, int]) -> bytes | None:
    """What a server on a SIP port answers to STUN (RFC 5626 §8); None: nothing."""
    try:
        message = parse_stun(data)
    except StunError:
        return None
    return create_binding_success(message, source) if message.kind == BINDING_REQUEST else None


def parse_stun(data: bytes) -> StunMessage:
    """The message in a datagram.

    Raises:
        StunError: it is none, is damaged, or its FINGERPRINT is wrong.
    """
    if not is_stun(data):
        raise StunError("no STUN message")
    kind, length = struct.unpack_from("!HH", data)
    if length % 4 or length != len(data) - _HEADER:
        raise StunError("a STUN message of a wrong length")
    attributes: list[tuple[int, bytes]] = []
    position, integrity_at = _HEADER, -1
    while position < len(data):
        if position + 4 > len(data) or len(attributes) >= _MOST_ATTRIBUTES:
            raise StunError("a STUN attribute is cut short, or there are too many")
        number, size = struct.unpack_from("!HH", data, position)
        value = data[position + 4 : position + 4 + size]
        if len(value) != size:
            raise StunError("a STUN attribute is cut short")
        if number == _FINGERPRINT:
            if size != 4 or position + 8 != len(data) or zlib.crc32(data[:position]) ^ _FINGERPRINT_XOR != int.from_bytes(value, "big"):
                raise StunError("the fingerprint of a STUN message is wrong")
        elif number == _MESSAGE_INTEGRITY and integrity_at < 0:
            if size != 20:
                raise StunError("a STUN integrity of a wrong length")
            integrity_at = position
        # What stands behind the integrity is not covered by it, so it does not count (RFC 8489 §14.5).
        if integrity_at in (-1, position) or number == _FINGERPRINT:
            attributes.append((number, value))
        position += 4 + size + -size % 4
    return StunMessage(data, kind, data[8:_HEADER], tuple(attributes), integrity_at)
