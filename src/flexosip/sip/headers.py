"""The header fields of a message in order, and the values that every SIP element must understand.

`Headers` keeps names and values as text and parses nothing until it is asked. `NameAddr`, `Via` and `CSeq` are the typed values.

RFC 3261 §7.3, §20
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from flexosip.sip.grammar import (
    Parameters,
    SipParseError,
    check_host,
    check_port,
    find_parameter,
    format_host_port,
    format_parameters,
    has_control,
    is_token,
    parse_parameters,
    quote,
    quoted_end,
    split_list,
    unquote,
)
from flexosip.sip.uri import SipUri, Uri, parse_uri

__all__ = ["CSeq", "Headers", "NameAddr", "Via"]

_COMPACT: Final = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
"""Compact names of the IANA registry "Header Fields"."""

_LISTS: Final = (
    "Accept Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Call-Info Contact Content-Encoding Content-Language "
    "Diversion Error-Info Geolocation History-Info In-Reply-To P-Asserted-Identity P-Associated-URI P-Early-Media "
    "P-Preferred-Identity Path Permission-Missing Proxy-Require Reason Recv-Info Record-Route Reject-Contact Require Route "
    "Accept-Contact Security-Client Security-Server Security-Verify Service-Route Supported Trigger-Consent Unsupported Via Warning"
)
"""Headers whose values may be joined with commas; the authentication headers and Date hold commas of their own."""

_SINGLES: Final = (
    "Answer-Mode Authentication-Info Authorization CSeq Call-ID Content-Disposition Content-Length Content-Type Date Event Expires From "
    "Identity Identity-Info Info-Package MIME-Version Max-Breadth Max-Forwards Min-Expires Min-SE Organization Priority Privacy "
    "Proxy-Authenticate Proxy-Authorization RAck RSeq Refer-Sub Refer-To Referred-By Replaces Reply-To Request-Disposition "
    "Retry-After SIP-ETag SIP-If-Match Server Session-Expires Session-ID Subject Subscription-State Timestamp Target-Dialog To "
    "User-Agent User-to-User WWW-Authenticate"
)

_LIST_KEYS: Final = frozenset(name.lower() for name in _LISTS.split())


def _spellings() -> dict[str, tuple[str, str]]:
    known: dict[str, tuple[str, str]] = {}
    for name in f"{_LISTS} {_SINGLES}".split():
        known[name] = known[name.lower()] = known[name.upper()] = (name, name.lower())
    for letter, name in _COMPACT.items():
        known[letter] = known[letter.upper()] = (name, name.lower())
    return known


SPELLINGS: Final = _spellings()
"""The usual spellings of the known names, each with (canonical name, lower-case key)."""


def header_names(name: str) -> tuple[str, str]:
    """The (canonical name, lower-case key) of a header name in any spelling; an unknown name keeps its spelling.

    Raises:
        ValueError: it is no token.
    """
    known = SPELLINGS.get(name)
    if known is not None:
        return known
    if not is_token(name):
        raise ValueError("A header name consists of letters, digits and -.!%*_+`'~ only.")
    lower = name.lower()
    return SPELLINGS.get(lower, (name, lower))


class Headers:
    """An ordered multimap of header fields; names are equal whatever their case, compact names mean the long ones.

    Iterating gives (name, value) pairs, a value being one line of the wire, unfolded.
    Every value that comes in by these methods is checked: CR, LF, NUL and the other controls raise ValueError.
    """

    __slots__ = ("_cache", "_fields", "_index")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: list[tuple[str, str]] = [(header_names(name)[0], _checked(value)) for name, value in fields]
        self._index: dict[str, list[str]] | None = None
        self._cache: dict[str, Any] = {}

    @classmethod
    def from_wire(cls, fields: list[tuple[str, str]], index: dict[str, list[str]] | None = None) -> Headers:
        """Take over fields with canonical names that a parser has checked; `index`: the values by lower-case name."""
        headers = cls.__new__(cls)
        headers._fields = fields
        headers._index = index
        headers._cache = {}
        return headers

    def _lookup(self) -> dict[str, list[str]]:
        index = self._index
        if index is None:
            self._index = index = {}
            for name, value in self._fields:
                key = SPELLINGS[name][1] if name in SPELLINGS else name.lower()
                if key in index:
                    index[key].append(value)
                else:
                    index[key] = [value]
        return index

    def _changed(self) -> None:
        self._index = None
        self._cache = {}

    def get(self, name: str) -> str | None:
        """The first value of a header, the first element if it is a list; None if it is absent."""
        key = header_names(name)[1]
        lines = self._lookup().get(key)
        if lines is None:
            return None
        if "," not in lines[0] or key not in _LIST_KEYS:
            return lines[0]
        values = split_list(lines[0])
        return values[0] if values else ""

    def get_all(self, name: str) -> list[str]:
        """All values in order; those of list headers split at their commas, without empty ones.

        Raises:
            SipParseError: a quoted string in the list is not closed.
        """
        key = header_names(name)[1]
        lines = self._lookup().get(key)
        if lines is None:
            return []
        if key not in _LIST_KEYS:
            return list(lines)
        if len(lines) == 1:
            return split_list(lines[0])
        return [value for line in lines for value in split_list(line)]

    def get_lines(self, name: str) -> list[str]:
        """The values as they stand on their lines, nothing split."""
        return list(self._lookup().get(header_names(name)[1], ()))

    def add(self, name: str, value: str) -> None:
        """Append a field."""
        self._fields.append((header_names(name)[0], _checked(value)))
        self._changed()

    def prepend(self, name: str, value: str) -> None:
        """Put a field before all others."""
        self._fields.insert(0, (header_names(name)[0], _checked(value)))
        self._changed()

    def set(self, name: str, value: str) -> None:
        """Replace all fields of that name by one, at the place of the first."""
        canonical, key = header_names(name)
        value = _checked(value)
        kept: list[tuple[str, str]] = []
        placed = False
        for field in self._fields:
            if field[0].lower() != key:
                kept.append(field)
            elif not placed:
                kept.append((canonical, value))
                placed = True
        if not placed:
            kept.append((canonical, value))
        self._fields = kept
        self._changed()

    def extend(self, name: str, ending: str) -> None:
        """Put `ending` behind the first field of that name, which stays as it came: received values may hold escaped controls."""
        key = header_names(name)[1]
        for position, (canonical, line) in enumerate(self._fields):
            if canonical.lower() == key:
                self._fields[position] = (canonical, line + _checked(ending))
                self._changed()
                return
        raise ValueError(f"There is no header {name} to extend.")

    def remove(self, name: str) -> None:
        """Drop all fields of that name; harmless if there is none."""
        key = header_names(name)[1]
        self._fields = [field for field in self._fields if field[0].lower() != key]
        self._changed()

    def remove_first_value(self, name: str) -> str | None:
        """Take away and return the first value of a list header, such as the top Via; None if there is none."""
        key = header_names(name)[1]
        for position, (canonical, line) in enumerate(self._fields):
            if canonical.lower() != key:
                continue
            values = split_list(line) if key in _LIST_KEYS else [line]
            if len(values) > 1:
                self._fields[position] = (canonical, ", ".join(values[1:]))
            else:
                del self._fields[position]
            self._changed()
            if values:
                return values[0]
            return self.remove_first_value(name)
        return None

    def replace_first_value(self, name: str, value: str) -> None:
        """Replace the first value of a list header, such as the top Via; added if there is none."""
        self.remove_first_value(name)
        key = header_names(name)[1]
        for position, (canonical, _) in enumerate(self._fields):
            if canonical.lower() == key:
                self._fields.insert(position, (canonical, _checked(value)))
                self._changed()
                return
        self.prepend(name, value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and header_names(name)[1] in self._lookup()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def items(self) -> list[tuple[str, str]]:
        """All (name, value) pairs in order."""
        return list(self._fields)

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers.from_wire(list(self._fields))

    def __repr__(self) -> str:
        # Names only: values hold credentials and telephone numbers.
        return f"<Headers {', '.join(name for name, _ in self._fields)}>"


def _checked(value: str) -> str:
    if has_control(value):
        raise ValueError("A header value cannot hold a line break or another control character.")
    return value.strip(" \t")


_CONTROLS_SHOWN: Final = dict.fromkeys((*range(32), 127), 0xFFFD)


@dataclass(frozen=True, slots=True)
class NameAddr:
    """An address as in From, To, Contact and Route: a URI with a display name and header parameters.

    Raises:
        ValueError: a control character is in the display name or a parameter.
    """

    uri: Uri
    display_name: str = ""
    """Plain text, quotes and escapes resolved."""
    parameters: Parameters = ()
    """Parameters of the header, not of the URI; a quoted value keeps its quotes."""

    def __post_init__(self) -> None:
        if has_control(self.display_name):
            raise ValueError("A display name cannot hold a line break or another control character.")
        if self.parameters:
            try:
                parse_parameters(format_parameters(self.parameters))
            except SipParseError as error:
                raise ValueError("A header parameter cannot hold separators or control characters unless it is quoted.") from error

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """The address written in `text`: `"Bell" <sip:bell@host>;tag=1` or `sip:bell@host;tag=1`.

        Raises:
            SipParseError: a quote or bracket is not closed, the URI is malformed, or what should stand in `<>` does not.
        """
        # All messages of a dialog carry the same two addresses.
        return _parse_cached(text) if len(text) <= 160 else cls._parse(text)

    @classmethod
    def _parse(cls, text: str) -> NameAddr:
        display_name = ""
        if text[:1] == '"':
            end = quoted_end(text, 0)
            display_name = unquote(text[:end])
            start = text.find("<", end)
            if start < 0 or text[end:start].strip(" \t"):
                raise SipParseError("Malformed address")
        else:
            start = text.find("<")
            if start < 0:
                return _parse_addr_spec(text)
            if start:
                display_name = text[:start].strip(" \t")
                # The grammar wants tokens; real devices also send dots, slashes, umlauts and numbers with an @ unquoted.
                # Commas and semicolons stay refused, they are what makes the value ambiguous (RFC 4475 §3.1.2.15).
                if _DISPLAY_NAME.fullmatch(display_name) is None:
                    raise SipParseError("Malformed display name")
        if "\\" in text and has_control(display_name):
            # A quoted pair may carry a control character (RFC 4475 §3.1.1.2); nobody wants to see it, or to send it on.
            display_name = display_name.translate(_CONTROLS_SHOWN)
        stop = text.find(">", start)
        if stop < 0:
            raise SipParseError("Unterminated '<'")
        rest = text[stop + 1 :].strip(" \t")
        return _make_name_addr(parse_uri(text[start + 1 : stop]), display_name, parse_parameters(rest) if rest else ())

    def __str__(self) -> str:
        name = f"{quote(self.display_name)} " if self.display_name else ""
        return f"{name}<{self.uri}>{format_parameters(self.parameters)}"

    @property
    def tag(self) -> str | None:
        """The tag parameter, or None."""
        for name, value in self.parameters:
            if name == "tag" or name.lower() == "tag":
                return value
        return None

    def parameter(self, name: str) -> str | None:
        """The value of a header parameter without its quotes, or None if it is absent or has none."""
        found = find_parameter(self.parameters, name)
        return None if found is None or found[1] is None else unquote(found[1])

    def has_parameter(self, name: str) -> bool:
        """True if the header parameter is there, with or without a value."""
        return find_parameter(self.parameters, name) is not None

    def with_parameter(self, name: str, value: str | None = None) -> NameAddr:
        """This address with that header parameter set (None: a flag)."""
        kept = tuple(item for item in self.parameters if item[0].lower() != name.lower())
        return replace(self, parameters=(*kept, (name, value)))

    def with_tag(self, tag: str) -> NameAddr:
        """This address with that tag."""
        return self.with_parameter("tag", tag)

    def without_parameters(self) -> NameAddr:
        """This address without header parameters."""
        return replace(self, parameters=())


_DISPLAY_NAME = re.compile(r"[^\",;<>\\\x00-\x08\x0a-\x1f\x7f]*")
_ADDR_SPEC_UNCLEAR = re.compile(r"[?,\s]")


def _parse_addr_spec(text: str) -> NameAddr:
    # Without brackets all parameters belong to the header, and a comma or question mark is an error (RFC 3261 §20).
    spec, semicolon, rest = text.partition(";")
    spec = spec.rstrip(" \t")
    if _ADDR_SPEC_UNCLEAR.search(spec):
        raise SipParseError("An address with a comma, space or question mark must stand in '<>'")
    return _make_name_addr(parse_uri(spec), "", parse_parameters(semicolon + rest))


def _make_name_addr(uri: Uri, display_name: str, parameters: Parameters) -> NameAddr:
    address = _new(NameAddr)
    _set(address, "uri", uri)
    _set(address, "display_name", display_name)
    _set(address, "parameters", parameters)
    return address


_parse_cached = lru_cache(512)(NameAddr._parse)
_new = object.__new__
_set = object.__setattr__

_VIA = re.compile(
    r"[sS][iI][pP][ \t]*/[ \t]*[0-9.]{1,9}[ \t]*/[ \t]*([A-Za-z0-9\-.!%*_+`'~]+)[ \t]+"
    r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?:[ \t]*:[ \t]*([0-9]{1,5}))?[ \t]*(;.*)?",
    re.DOTALL,
)
BRANCH_COOKIE: Final = "z9hG4bK"
"""Begins every branch that identifies a transaction (RFC 3261 §8.1.1.7)."""


@dataclass(frozen=True, slots=True)
class Via:
    """One hop of the way back (RFC 3261 §20.42)."""

    transport: str
    """As on the wire: "UDP", "TCP", "TLS"...; it may be one nobody knows."""
    host: str
    """In lower case, IPv6 without brackets."""
    port: int | None = None
    parameters: Parameters = ()

    def __post_init__(self) -> None:
        if _VIA.fullmatch(str(self)) is None or has_control(format_parameters(self.parameters)):
            raise ValueError("A Via cannot be made of these parts.")

    @classmethod
    def parse(cls, text: str) -> Via:
        """The hop written in `text`.

        Liberal where it costs nothing, because the answer to a malformed request must find its way by it: any protocol version, and
        parameters without a name are passed over (RFC 4475 §3.1.2.1, §3.1.2.16).

        Raises:
            SipParseError: it is malformed.
        """
        match = _VIA.fullmatch(text)
        if match is None:
            raise SipParseError("Malformed Via")
        transport, literal, name, port, rest = match.groups()
        via = _new(Via)
        _set(via, "transport", transport)
        _set(via, "host", check_host(literal, name))
        _set(via, "port", None if port is None else check_port(port))
        _set(via, "parameters", () if rest is None else _via_parameters(rest))
        return via

    def __str__(self) -> str:
        return f"SIP/2.0/{self.transport} {format_host_port(self.host, self.port)}{format_parameters(self.parameters)}"

    @property
    def sent_by(self) -> str:
        """"host[:port]", an IPv6 address in brackets."""
        return format_host_port(self.host, self.port)

    @property
    def branch(self) -> str | None:
        """The branch parameter, or None."""
        return self.parameter("branch")

    @property
    def is_rfc3261(self) -> bool:
        """True if the branch identifies the transaction: the cookie and something behind it (RFC 4475 §3.2.1)."""
        branch = self.branch
        return branch is not None and len(branch) > 7 and branch.startswith(BRANCH_COOKIE)

    @property
    def received(self) -> str | None:
        """The address the request came from as the peer saw it, without brackets, or None (RFC 5118 §4.5)."""
        value = self.parameter("received")
        return None if value is None else value.strip("[]")

    @property
    def maddr(self) -> str | None:
        """The maddr parameter without brackets, or None."""
        value = self.parameter("maddr")
        return None if value is None else value.strip("[]")

    @property
    def rport(self) -> int | None:
        """The port the request came from as the peer saw it; None if absent, empty or no port at all (RFC 3581)."""
        value = self.parameter("rport")
        if value is None or not value.isascii() or not value.isdigit() or len(value) > 5:
            return None
        port = int(value)
        return port if 0 < port < 65536 else None

    @property
    def has_rport(self) -> bool:
        """True if the rport parameter is there, with or without a value."""
        return find_parameter(self.parameters, "rport") is not None

    def parameter(self, name: str) -> str | None:
        """The value of a parameter without its quotes, or None if it is absent or has none."""
        found = find_parameter(self.parameters, name)
        return None if found is None or found[1] is None else unquote(found[1])

    def with_parameter(self, name: str, value: str | None = None) -> Via:
        """This hop with that parameter set in place, or appended."""
        position = next((index for index, item in enumerate(self.parameters) if item[0].lower() == name.lower()), len(self.parameters))
        parameters = list(self.parameters)
        parameters[position : position + 1] = [(name, value)]
        return replace(self, parameters=tuple(parameters))


def _via_parameters(text: str) -> Parameters:
    if text[-1] == ";" or ";;" in text:
        text = _EMPTY_PARAMETERS.sub(";", text).rstrip("; \t")
    return parse_parameters(text)


_EMPTY_PARAMETERS = re.compile(r";;+")
_CSEQ = re.compile(r"([0-9]{1,10})[ \t]+([A-Za-z0-9\-.!%*_+`'~]+)")


@dataclass(frozen=True, slots=True)
class CSeq:
    """Sequence number and method of a request (RFC 3261 §20.16)."""

    number: int
    """0 to 2**31 - 1."""
    method: str

    def __post_init__(self) -> None:
        if not 0 <= self.number < 2**31 or not is_token(self.method):
            raise ValueError("A CSeq is a number below 2**31 and a method.")

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """The value written in `text`.

        Raises:
            SipParseError: it is malformed or the number is out of range.
        """
        match = _CSEQ.fullmatch(text)
        # Ten digits at most before int(): a longer number is out of range whatever it is. Leading zeros beyond that are refused with it.
        if match is None:
            raise SipParseError("Malformed CSeq")
        number = int(match[1])
        if number >= 2**31:
            raise SipParseError("CSeq out of range")
        cseq = _new(CSeq)
        _set(cseq, "number", number)
        _set(cseq, "method", match[2])
        return cseq

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def is_loose_route(route: NameAddr) -> bool:
    """True if the route's URI carries `lr` (RFC 3261 §16.12)."""
    return isinstance(route.uri, SipUri) and route.uri.has_parameter("lr")
