"""User-to-User: a few octets from program to program along with a call, which networks carry as far as into ISDN.

RFC 7433
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flexosip.sip.grammar import SipParseError, find_parameter, has_control, is_token, parse_parameters, quote, quoted_end, unquote

if TYPE_CHECKING:
    from flexosip.sip.headers import Headers

__all__ = ["MAX_CONTENT", "UserToUser", "parse_user_to_user"]

MAX_CONTENT: Final = 128
"""Octets of content that the ISDN package takes (RFC 7434 §6), and that networks pass on."""
_LARGEST_RECEIVED: Final = 2048
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True)
class UserToUser:
    """One value of the header."""

    content: bytes
    """The octets. ISDN takes the first for a protocol discriminator: 4 means text (RFC 7434 §7)."""
    encoding: str = "hex"
    """"hex", or the name of another encoding, in which the octets are as they came."""
    purpose: str | None = None
    """The package; None means `isdn-uui` (RFC 7433 §4.1)."""
    content_type: str | None = None
    """The `content` parameter: what the octets are, if the package leaves that open."""

    @property
    def text(self) -> str:
        """The octets as UTF-8; what is none is shown as U+FFFD."""
        return self.content.decode("utf-8", "replace")

    def __str__(self) -> str:
        if not self.content:
            raise ValueError("User-to-User carries at least one octet.")
        if self.encoding == "hex":
            value = self.content.hex()
        else:
            value = self.content.decode("utf-8", "surrogateescape")
            if has_control(value) or not is_token(self.encoding):
                raise ValueError("User-to-User: a control character needs the encoding hex, and the encoding's name is a token.")
            value = value if is_token(value) else quote(value)
        for name in (self.purpose, self.content_type):
            if name is not None and not is_token(name):
                raise ValueError("User-to-User: purpose and content are tokens.")
        text = f"{value};encoding={self.encoding}"
        text += f";purpose={self.purpose}" if self.purpose is not None else ""
        return text + (f";content={self.content_type}" if self.content_type is not None else "")


def parse_user_to_user(headers: Headers | None) -> tuple[UserToUser, ...]:
    """All values that can be understood, in their order; what cannot is passed over."""
    found: list[UserToUser] = []
    for line in headers.get_lines("User-to-User") if headers is not None else ():
        for value in _values(line) if len(line) <= _LARGEST_RECEIVED else ():
            parsed = _parse(value)
            if parsed is not None:
                found.append(parsed)
    return tuple(found)


def _values(line: str) -> list[str]:
    """The values of one line: several may be joined with commas (RFC 7433 §4.1)."""
    values: list[str] = []
    start = position = 0
    while position < len(line):
        if line[position] == '"':
            try:
                position = quoted_end(line, position)
            except SipParseError:
                return values
        elif line[position] == ",":
            values.append(line[start:position].strip())
            position += 1
            start = position
        else:
            position += 1
    values.append(line[start:].strip())
    return [value for value in values if value]


def _parse(value: str) -> UserToUser | None:
    try:
        end = quoted_end(value, 0) if value.startswith('"') else len(value.partition(";")[0])
        parameters = parse_parameters(value[end:].strip())
    except SipParseError:
        return None
    data = unquote(value[:end].strip())
    encoding, purpose, content_type = (
        found[1] if (found := find_parameter(parameters, name)) is not None else None for name in ("encoding", "purpose", "content")
    )
    if (encoding or "hex").lower() == "hex":
        # Without the parameter the ISDN package means hex (RFC 7434 §7).
        if _HEX.fullmatch(data) is None:
            return None
        return UserToUser(bytes.fromhex(data), "hex", purpose, content_type)
    return UserToUser(data.encode("utf-8", "surrogateescape"), encoding or "", purpose, content_type) if data else None
