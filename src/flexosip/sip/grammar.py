"""The pieces of the SIP grammar that several headers share: tokens, quoted strings, hosts, parameters, comma lists.

Every pattern here is linear: no quantifier inside a quantifier over the same characters, so a hostile header costs
no more than its length. Values are `str`, decoded from UTF-8 with `surrogateescape`, so any octet survives a round trip.

RFC 3261 §25.1
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flexosip.errors import RemoteProtocolError
from flexosip.sip.status import reason_phrase

if TYPE_CHECKING:
    from flexosip.sip.message import Request

__all__ = [
    "Parameters",
    "SipParseError",
    "find_parameter",
    "format_host_port",
    "has_control",
    "is_ipv4",
    "is_ipv6",
    "is_token",
    "parse_host_port",
    "parse_parameters",
    "quote",
    "split_list",
    "unescape",
    "unquote",
]

Parameters = tuple[tuple[str, str | None], ...]
"""`;name=value` and `;flag` (value None) in the order of the wire; a quoted value keeps its quotes."""


class SipParseError(RemoteProtocolError):
    """A message or a part of one that does not follow the grammar.

    Args:
        message: what is wrong; never text of the peer, so it can be logged and sent.
        status_hint: the status of the answer that a request deserves.
        reason: reason phrase of that answer; by default `message` with a 400 (RFC 3261 §21.4.1), else the phrase of the status.
        request: the request as far as it was understood, when that is enough to answer it.
    """

    def __init__(self, message: str, *, status_hint: int = 400, reason: str | None = None, request: Request | None = None) -> None:
        super().__init__(message, status_hint=status_hint)
        if reason is None:
            reason = message if status_hint == 400 else reason_phrase(status_hint)
        self.reason = reason
        self.message = request


_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_LIST_DELIMITER = re.compile(r'[,"<]')
_PARAMETER_DELIMITER = re.compile(r'[;"]')
_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?:[ \t]*:[ \t]*([0-9]{1,5}))?")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}")
_DOTTED_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_HEXTET = re.compile(r"[0-9A-Fa-f]{1,4}")
# Parameters of which none is quoted or has spaces around its signs: nearly all.
_PLAIN_PARAMETERS = re.compile(r"[^\s\"<>,\x00-\x20\x7f]*")
_PARAMETER_NAME = re.compile(r"[^\s\"<>,;=\x00-\x20\x7f]+")
_PARAMETER_VALUE = re.compile(r"[^\s\"<>,;\x00-\x20\x7f]*")


def is_token(text: str) -> bool:
    """True if `text` is a token: method names, header names, tags."""
    return _TOKEN.fullmatch(text) is not None


def has_control(text: str) -> bool:
    """True if `text` holds a control character other than the tab: it can never be sent."""
    return _CONTROL.search(text) is not None


def quote(text: str) -> str:
    """The quoted-string for `text`.

    Raises:
        ValueError: `text` holds a control character.
    """
    if _CONTROL.search(text):
        raise ValueError("A control character cannot be sent in a quoted string.")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(text: str) -> str:
    """The text of a quoted-string; anything else is returned as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    text = text[1:-1]
    return _QUOTED_PAIR.sub(r"\1", text) if "\\" in text else text


def quoted_end(text: str, start: int) -> int:
    """Index behind the quoted-string that begins at `start`.

    Raises:
        SipParseError: the string is not closed.
    """
    match = _QUOTED.match(text, start)
    if match is None:
        raise SipParseError("Unterminated quoted string")
    return match.end()


def unescape(text: str) -> str:
    """`text` with its `%XX` escapes resolved as UTF-8; a `%` that starts no escape stays (RFC 3261 §19.1.2)."""
    if "%" not in text:
        return text
    return _ESCAPE.sub(lambda match: bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "surrogateescape"), text)


def split_list(value: str) -> list[str]:
    """The elements of a comma list, stripped, without empty ones; commas in quotes and in `<>` do not separate.

    Raises:
        SipParseError: a quoted string or a `<` is not closed.
    """
    if "," not in value:
        value = value.strip(" \t")
        return [value] if value else []
    if '"' not in value and "<" not in value:
        return [part for part in (part.strip(" \t") for part in value.split(",")) if part]
    elements: list[str] = []
    start = position = 0
    while (match := _LIST_DELIMITER.search(value, position)) is not None:
        position = match.start()
        delimiter = value[position]
        if delimiter == '"':
            position = quoted_end(value, position)
        elif delimiter == "<":
            position = value.find(">", position) + 1
            if position == 0:
                raise SipParseError("Unterminated '<'")
        else:
            elements.append(value[start:position].strip(" \t"))
            position += 1
            start = position
    elements.append(value[start:].strip(" \t"))
    return [element for element in elements if element]


def _split_parameters(text: str) -> list[str]:
    if '"' not in text:
        return text.split(";")
    parts: list[str] = []
    start = position = 0
    while (match := _PARAMETER_DELIMITER.search(text, position)) is not None:
        position = match.start()
        if text[position] == '"':
            position = quoted_end(text, position)
        else:
            parts.append(text[start:position])
            position += 1
            start = position
    parts.append(text[start:])
    return parts


def parse_parameters(text: str) -> Parameters:
    """The parameters of a header value; `text` is empty or starts with `;` (generic-param, RFC 3261 §25.1).

    Raises:
        SipParseError: an empty parameter, or characters that cannot stand in one.
    """
    if not text:
        return ()
    if text[0] != ";":
        raise SipParseError("Malformed header parameters")
    parameters: list[tuple[str, str | None]] = []
    if _PLAIN_PARAMETERS.fullmatch(text) is not None:
        for part in text[1:].split(";"):
            name, equals, value = part.partition("=")
            if not name:
                raise SipParseError("Malformed header parameters")
            parameters.append((name, value if equals else None))
        return tuple(parameters)
    for part in _split_parameters(text[1:]):
        name, equals, value = part.partition("=")
        name = name.strip(" \t")
        value = value.strip(" \t")
        if _PARAMETER_NAME.fullmatch(name) is None:
            raise SipParseError("Malformed header parameters")
        if not equals:
            parameters.append((name, None))
            continue
        if value[:1] == '"':
            if _QUOTED.fullmatch(value) is None:
                raise SipParseError("Malformed header parameters")
        elif _PARAMETER_VALUE.fullmatch(value) is None:
            raise SipParseError("Malformed header parameters")
        parameters.append((name, value))
    return tuple(parameters)


def format_parameters(parameters: Parameters) -> str:
    """`;name=value;flag`, empty for none."""
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in parameters])


def find_parameter(parameters: Parameters, name: str) -> tuple[str, str | None] | None:
    """The first parameter of that name, whatever its case, or None."""
    for parameter in parameters:
        if parameter[0] == name:
            return parameter
    name = name.lower()
    for parameter in parameters:
        if parameter[0].lower() == name:
            return parameter
    return None


def is_ipv4(host: str) -> bool:
    """True for four decimal numbers up to 255."""
    return _IPV4.fullmatch(host) is not None


def is_ipv6(host: str) -> bool:
    """True for an IPv6 address without brackets and zone (RFC 4291 §2.2)."""
    if ":" not in host or len(host) > 45:
        return False
    head, double, tail = host.partition("::")
    if double and ("::" in tail or tail[:1] == ":"):
        return False
    count = 0
    for half in (head, tail):
        if not half:
            continue
        groups = half.split(":")
        if "." in groups[-1]:
            # An embedded IPv4 address stands at the very end only.
            if half is head and double:
                return False
            if not is_ipv4(groups.pop()):
                return False
            count += 2
        if any(_HEXTET.fullmatch(group) is None for group in groups):
            return False
        count += len(groups)
    return count <= 7 if double else count == 8


def check_host(literal: str | None, name: str | None) -> str:
    """The host of a match of host grammar in lower case: `literal` stood in brackets, `name` did not.

    Raises:
        SipParseError: no valid IPv6 reference, or a dotted number that is no IPv4 address.
    """
    if literal is not None:
        # RFC 5118 §4.10: the ABNF of RFC 3261 produces three colons before an IPv4 part; be liberal.
        host = literal.lower().replace(":::", "::")
        if not is_ipv6(host):
            raise SipParseError("Malformed IPv6 reference")
        return host
    assert name is not None
    host = name.lower()
    if "0" <= host[-1] <= "9" and _IPV4.fullmatch(host) is None and _DOTTED_NUMBERS.fullmatch(host) is not None:
        # Never handed to a resolver: "300.1.1.1" is a mistake, no name.
        raise SipParseError("Malformed IPv4 address")
    return host


def parse_host_port(text: str) -> tuple[str, int | None]:
    """`host[:port]` as (lower-case host without brackets, port or None).

    Raises:
        SipParseError: not a host, or a port outside 1 to 65535.
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise SipParseError("Malformed host or port")
    literal, name, port = match.groups()
    return check_host(literal, name), None if port is None else check_port(port)


def check_port(text: str) -> int:
    """The port number of at most five digits.

    Raises:
        SipParseError: it is 0 or above 65535.
    """
    port = int(text)
    if not 0 < port < 65536:
        raise SipParseError("Port out of range")
    return port


def format_host_port(host: str, port: int | None) -> str:
    """`host[:port]`, with brackets around an IPv6 address."""
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"
