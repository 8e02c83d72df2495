"""A session description as a value: read from bytes, written back as bytes, nothing lost.

RFC 8866 §5.
"""

from __future__ import annotations

from dataclasses import dataclass

from flexosip.errors import RemoteProtocolError
from flexosip.sdp.formats import AudioFormat

__all__ = ["Attribute", "Connection", "MediaDescription", "Origin", "SdpError", "SessionDescription"]

Attribute = tuple[str, str | None]
"""Name and value of an a= line; the value is None where there is no colon."""

# The lines that come before c= in a description (RFC 8866 §5).
_BEFORE_CONNECTION = "iuep"


class SdpError(RemoteProtocolError):
    """The peer's session description cannot be read (`status_hint` 400) or not be agreed to (488); 491: offers crossed."""

    advice = "The other side's media description does not fit; with -vv you see it."


def _is_ipv6(address: str) -> bool:
    return ":" in address


@dataclass(frozen=True, slots=True)
class Origin:
    """The o= line: who made the description, and which version it is. All text, as the numbers may have any length."""

    username: str
    session_id: str
    version: str
    address: str

    def __str__(self) -> str:
        family = "IP6" if _is_ipv6(self.address) else "IP4"
        return f"{self.username} {self.session_id} {self.version} IN {family} {self.address}"


@dataclass(frozen=True, slots=True)
class Connection:
    """The c= line.

    Attributes:
        address: IPv4 or IPv6 address, or a host name.
        suffix: what follows a multicast address, "/127" or "/127/3"; empty for one that is none.
        family: "IP4" or "IP6".
    """

    address: str
    suffix: str = ""
    family: str = "IP4"

    @property
    def is_unspecified(self) -> bool:
        """True for 0.0.0.0 and ::, the old way to say "send me nothing" (RFC 3264 §8.4)."""
        return self.address in ("0.0.0.0", "::", "0:0:0:0:0:0:0:0")

    @property
    def is_multicast(self) -> bool:
        """True for a group address or the broadcast address, to which a call's sound never goes."""
        if self.family == "IP6" or _is_ipv6(self.address):
            return self.address[:2].lower() == "ff"
        first = self.address.partition(".")[0]
        return first.isascii() and first.isdigit() and len(first) <= 3 and int(first) >= 224

    def __str__(self) -> str:
        return f"IN {self.family} {self.address}{self.suffix}"


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """An m= line with the lines that belong to it.

    Attributes:
        media: "audio", "video", "image", …
        port: 0 means refused or ended.
        protocol: "RTP/AVP", "RTP/SAVP", "udptl", …
        formats: the end of the m= line, as text.
        connection: the c= line of this medium, or None when the session's holds.
        attributes: in order.
        lines: the other lines (i=, b=, k=) as (letter, value).
        port_count: number of port pairs, nearly always 1.
        audio_formats: `formats` of an audio stream over RTP with their meaning; numbers without a meaning are left out.
    """

    media: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    lines: tuple[tuple[str, str], ...] = ()
    port_count: int = 1
    audio_formats: tuple[AudioFormat, ...] = ()

    def attribute(self, name: str) -> str | None:
        """Value of the first a= line of that name; "" where it has no value, None where it is absent."""
        return _attribute(self.attributes, name)

    def media_line(self) -> str:
        """The m= line without line end."""
        count = f"/{self.port_count}" if self.port_count != 1 else ""
        return f"m={self.media} {self.port}{count} {self.protocol} {' '.join(self.formats)}"

    def text_lines(self) -> list[str]:
        """All lines without line ends, in the order of RFC 8866 §5."""
        lines = [self.media_line()]
        lines += [f"i={value}" for letter, value in self.lines if letter == "i"]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        lines += [f"{letter}={value}" for letter, value in self.lines if letter != "i"]
        return lines + _attribute_lines(self.attributes)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description.

    Attributes:
        origin: the o= line.
        name: the s= line.
        connection: the session's c= line, or None.
        attributes: the session's a= lines, in order.
        media: the m= sections, in order.
        lines: the other lines of the session (i=, u=, e=, p=, b=, t=, r=, z=, k=) as (letter, value), in the order of
            RFC 8866 §5; one t= must be there.
    """

    origin: Origin
    name: str = "-"
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    media: tuple[MediaDescription, ...] = ()
    lines: tuple[tuple[str, str], ...] = (("t", "0 0"),)

    @classmethod
    def parse(cls, data: bytes | str) -> SessionDescription:
        """Read a description, tolerantly: wrong order, LF line ends, missing s= and t= are no errors.

        Raises:
            SdpError: it is no SDP or breaks a limit (at most 16 m= lines, 64 formats each, 8 KiB a line, 64 KiB in all).
        """
        from flexosip.sdp.parser import parse_description  # the parser makes values of this module

        return parse_description(data)

    def attribute(self, name: str) -> str | None:
        """Value of the first a= line of the session of that name; "" where it has no value, None where it is absent."""
        return _attribute(self.attributes, name)

    def connection_of(self, media: MediaDescription) -> Connection | None:
        """The c= line that holds for `media`: its own, else the session's (RFC 8866 §5.7)."""
        return media.connection if media.connection is not None else self.connection

    def __bytes__(self) -> bytes:
        """The description with CRLF line ends, in the order of RFC 8866 §5."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name}"]
        lines += [f"{letter}={value}" for letter, value in self.lines if letter in _BEFORE_CONNECTION]
        if self.connection is not None:
            lines.append(f"c={self.connection}")
        lines += [f"{letter}={value}" for letter, value in self.lines if letter not in _BEFORE_CONNECTION]
        lines += _attribute_lines(self.attributes)
        for media in self.media:
            lines += media.text_lines()
        lines.append("")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def _attribute(attributes: tuple[Attribute, ...], name: str) -> str | None:
    for key, value in attributes:
        if key == name:
            return value if value is not None else ""
    return None


def _attribute_lines(attributes: tuple[Attribute, ...]) -> list[str]:
    return [f"a={name}" if value is None else f"a={name}:{value}" for name, value in attributes]
