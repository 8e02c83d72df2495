"""Bodies of several parts: SDP beside ISUP, a location or recording metadata in one INVITE.

One level, at most 16 parts, linear time; a part that is multipart itself is not opened.

RFC 5621 §3, RFC 2046 §5.1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flexosip.sip.grammar import SipParseError, parse_parameters, unquote
from flexosip.sip.headers import Headers

if TYPE_CHECKING:
    from flexosip.sip.message import Message

__all__ = ["BodyPart", "parse_multipart", "unwrap"]

_MOST_PARTS: Final = 16
_LONGEST_BOUNDARY: Final = 70
_MOST_PART_HEADERS: Final = 16


@dataclass(frozen=True, slots=True)
class BodyPart:
    """One part of a body."""

    headers: Headers
    body: bytes

    @property
    def content_type(self) -> str:
        """Media type in lower case without parameters; `text/plain` when it is not told (RFC 2045 §5.2)."""
        value = self.headers.get("Content-Type")
        return "".join(value.partition(";")[0].split()).lower() if value else "text/plain"

    @property
    def optional(self) -> bool:
        """True if whoever does not understand it may pass it over (RFC 3204 §4)."""
        return "handling=optional" in (self.headers.get("Content-Disposition") or "").lower().replace(" ", "")


def parse_multipart(body: bytes, content_type: str) -> list[BodyPart]:
    """The parts of a body.

    Args:
        content_type: the value of its Content-Type, with the boundary.

    Raises:
        SipParseError: there is no usable boundary, no part, more than 16 of them, or the last is not closed.
    """
    delimiter = b"--" + _boundary(content_type)
    # A delimiter stands at the begin of a line; the line break before it belongs to it.
    pieces = (b"\r\n" + body).split(b"\r\n" + delimiter, _MOST_PARTS + 2)
    if len(pieces) < 2:
        raise SipParseError("A multipart body without its boundary")
    parts: list[BodyPart] = []
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            if not parts:
                raise SipParseError("A multipart body without parts")
            return parts
        if len(parts) == _MOST_PARTS:
            raise SipParseError("A multipart body of too many parts")
        padding, line_break, rest = piece.partition(b"\r\n")
        if not line_break or padding.strip(b" \t"):
            raise SipParseError("Malformed multipart boundary")
        parts.append(_parse_part(rest))
    raise SipParseError("A multipart body that does not end")


def _boundary(content_type: str) -> bytes:
    _, semicolon, rest = content_type.partition(";")
    for name, value in parse_parameters(semicolon + rest):
        if name.lower() == "boundary" and value is not None:
            boundary = unquote(value)
            if 1 <= len(boundary) <= _LONGEST_BOUNDARY and boundary.isascii() and boundary.isprintable() and not boundary.endswith(" "):
                return boundary.encode("ascii")
    raise SipParseError("A multipart body without a usable boundary")


def _parse_part(data: bytes) -> BodyPart:
    if data.startswith(b"\r\n"):
        return BodyPart(Headers(), data[2:])
    head, _, body = data.partition(b"\r\n\r\n")
    fields: list[tuple[str, str]] = []
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    if len(lines) > _MOST_PART_HEADERS:
        raise SipParseError("Too many headers in a body part")
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise SipParseError("Malformed header in a body part")
        fields.append((name.strip(" \t"), value.strip(" \t")))
    try:
        return BodyPart(Headers(fields), body)
    except ValueError as error:
        raise SipParseError("Malformed header in a body part") from error


def unwrap(message: Message, media_type: str) -> None:
    """Put the part of that type in the place of a multipart body; harmless for other bodies.

    `message` keeps what came in `raw`. A body without such a part stays as it is, and is judged by its own type.

    Raises:
        SipParseError: the multipart body is malformed, or has a part that must be understood and is not (status 415, RFC 5621 §8).
    """
    content_type = message.headers.get("Content-Type")
    if not message.body or content_type is None or not content_type.lower().startswith("multipart/"):
        return
    parts = parse_multipart(message.body, content_type)
    found = next((part for part in parts if part.content_type == media_type), None)
    if found is None:
        return
    if content_type.lower().startswith("multipart/mixed"):
        disposition = (part.headers.get("Content-Disposition") or "" for part in parts if part is not found and not part.optional)
        if any("handling=required" in value.lower().replace(" ", "") for value in disposition):
            raise SipParseError("A body part that is required and not understood", status_hint=415)
    message.body = found.body
    message.headers.set("Content-Type", media_type)
    message.headers.remove("Content-Disposition")
