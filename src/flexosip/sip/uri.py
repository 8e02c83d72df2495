"""SIP, tel and other URIs.

A URI keeps the spelling of the wire: the user part stays escaped and is compared by RFC 3261 §19.1.4; only the host
is folded to lower case. `parse` and `str` are inverses up to that.

RFC 3261 §19.1, RFC 3966
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from flexosip.sip.grammar import (
    Parameters,
    SipParseError,
    check_host,
    check_port,
    find_parameter,
    format_host_port,
    format_parameters,
    has_control,
    is_ipv4,
    unescape,
)

__all__ = ["OtherUri", "SipUri", "TelUri", "Uri", "parse_uri"]

_SIP = re.compile(
    r"([sS][iI][pP][sS]?):"
    r"(?:([^@\x00-\x20\x7f<>\"]*)@)?"
    r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))"
    r"(?::([0-9]{1,5}))?"
    r"(;[^\x00-\x20\x7f<>\"?@]*)?"
    r"(?:\?([^\x00-\x20\x7f<>\"]*))?"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):([^\x00-\x20\x7f<>\"]+)")
_TEL_NUMBER = re.compile(r"\+?[0-9A-Fa-f*#().-]+")
_UNSAFE = re.compile(r"[\x00-\x20\x7f<>\"]")
# RFC 3261 §25.1: unreserved and user-unreserved. `*` and `+` stay, `#` becomes %23.
_USER_SAFE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()&=+$,;?/")
_ESCAPED_OCTET = re.compile(r"%([0-9A-Fa-f]{2})")
_KEPT_ESCAPED: Final = frozenset(";/?:@&=+$,%")
_ALWAYS_COMPARED: Final = ("user", "ttl", "method", "maddr", "transport")


@dataclass(frozen=True, slots=True)
class SipUri:
    """A sip: or sips: URI.

    Raises:
        ValueError: a part holds a control character, a space, a quote or an angle bracket: it could not be sent.
    """

    scheme: str
    """"sip" or "sips"."""
    user: str | None
    """As on the wire, escapes included, or None."""
    host: str
    """Name or numeric address in lower case, IPv6 without brackets."""
    port: int | None = None
    parameters: Parameters = ()
    headers: str | None = None
    """What follows the `?`, escaped, or None."""
    password: str | None = None

    def __post_init__(self) -> None:
        if self.scheme not in ("sip", "sips"):
            raise ValueError("The scheme of a SIP URI is 'sip' or 'sips'.")
        if not self.host or _SIP.fullmatch(str(self)) is None:
            raise ValueError("A SIP URI cannot be made of these parts: a space, quote, bracket or control character is in it.")
        for name, value in self.parameters:
            if ";" in name or (value is not None and ";" in value):
                raise ValueError("A parameter of a SIP URI cannot hold a semicolon.")

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """The URI written in `text`.

        Raises:
            SipParseError: it is no SIP URI.
        """
        match = _SIP.fullmatch(text)
        if match is None:
            raise SipParseError("Malformed SIP URI")
        scheme, user, literal, name, port, parameters, headers = match.groups()
        password = None
        if user is not None and ":" in user:
            user, _, password = user.partition(":")
        return _make(
            scheme.lower(),
            user,
            check_host(literal, name),
            None if port is None else check_port(port),
            () if parameters is None else _parse_uri_parameters(parameters),
            headers,
            password,
        )

    @classmethod
    def for_user(cls, user: str | None, host: str, port: int | None = None, *, scheme: str = "sip", parameters: Parameters = ()) -> SipUri:
        """The URI of a user whose name or number is plain text: what cannot stand in a user part is escaped (`#` as `%23`).

        Raises:
            ValueError: a control character is in `user`, or the host is no host.
        """
        if user is not None:
            if has_control(user):
                raise ValueError("A control character cannot be part of a user name.")
            user = "".join([char if char in _USER_SAFE else _escape(char) for char in user])
        return cls(scheme, user, host.lower().strip("[]"), port, parameters)

    def __str__(self) -> str:
        userinfo = ""
        if self.user is not None:
            userinfo = f"{self.user}@" if self.password is None else f"{self.user}:{self.password}@"
        text = f"{self.scheme}:{userinfo}{format_host_port(self.host, self.port)}"
        if self.parameters:
            text += format_parameters(self.parameters)
        return text if self.headers is None else f"{text}?{self.headers}"

    def __repr__(self) -> str:
        # A password in a URI is a secret like any other.
        shown = self if self.password is None else replace(self, password="***")
        return f"<SipUri {shown}>"

    def parameter(self, name: str) -> str | None:
        """The value of a parameter, or None if it is absent or has none."""
        found = find_parameter(self.parameters, name)
        return None if found is None else found[1]

    def has_parameter(self, name: str) -> bool:
        """True if the parameter is there, with or without a value."""
        return find_parameter(self.parameters, name) is not None

    @property
    def transport(self) -> str | None:
        """The transport parameter in lower case, or None."""
        value = self.parameter("transport") if self.parameters else None
        return None if value is None else value.lower()

    def with_parameter(self, name: str, value: str | None = None) -> SipUri:
        """This URI with that parameter set (None: a flag such as `lr`)."""
        kept = self.without_parameters(name)
        return replace(kept, parameters=(*kept.parameters, (name, value)))

    def without_parameters(self, *names: str) -> SipUri:
        """This URI without those parameters; without any parameter when no name is given."""
        if not self.parameters:
            return self
        unwanted = {name.lower() for name in names}
        kept = tuple(item for item in self.parameters if item[0].lower() not in unwanted) if names else ()
        return replace(self, parameters=kept)

    @property
    def unescaped_user(self) -> str:
        """The user part as plain text, empty if there is none."""
        return unescape(self.user or "")

    @property
    def host_port(self) -> str:
        """"host[:port]", an IPv6 address in brackets."""
        return format_host_port(self.host, self.port)

    @property
    def is_numeric_host(self) -> bool:
        """True if the host is an IPv4 or IPv6 address and no name."""
        return ":" in self.host or is_ipv4(self.host)

    def matches(self, other: object) -> bool:
        """True if both URIs are equal by RFC 3261 §19.1.4."""
        if not isinstance(other, SipUri):
            return False
        if (self.scheme, self.host, self.port) != (other.scheme, other.host, other.port):
            return False
        if _comparable(self.user) != _comparable(other.user) or _comparable(self.password) != _comparable(other.password):
            return False
        return _parameters_match(self.parameters, other.parameters) and _headers_match(self.headers, other.headers)


@dataclass(frozen=True, slots=True)
class TelUri:
    """A tel: URI: a telephone number."""

    number: str
    """As written, visual separators included."""
    parameters: Parameters = ()

    def __post_init__(self) -> None:
        if _TEL_NUMBER.fullmatch(self.number) is None or _UNSAFE.search(format_parameters(self.parameters)):
            raise ValueError("A tel URI holds a number and parameters without spaces.")

    @classmethod
    def parse(cls, text: str) -> TelUri:
        """The URI written in `text`.

        Raises:
            SipParseError: it is no tel URI.
        """
        scheme, _, rest = text.partition(":")
        number, semicolon, parameters = rest.partition(";")
        if scheme.lower() != "tel" or _TEL_NUMBER.fullmatch(number) is None or _UNSAFE.search(rest):
            raise SipParseError("Malformed tel URI")
        return cls(number, _parse_uri_parameters(";" + parameters) if semicolon else ())

    def __str__(self) -> str:
        return f"tel:{self.number}{format_parameters(self.parameters)}"

    @property
    def scheme(self) -> str:
        """"tel"."""
        return "tel"

    @property
    def digits(self) -> str:
        """The number without visual separators (RFC 3966 §5.1.1)."""
        return self.number.translate(_SEPARATORS)

    def parameter(self, name: str) -> str | None:
        """The value of a parameter, or None if it is absent or has none."""
        found = find_parameter(self.parameters, name)
        return None if found is None else found[1]


@dataclass(frozen=True, slots=True)
class OtherUri:
    """A URI of a scheme that this library does not use; it is kept as it is."""

    scheme: str
    """In lower case."""
    opaque: str
    """What follows the colon."""

    def __post_init__(self) -> None:
        if _UNSAFE.search(self.scheme) or _UNSAFE.search(self.opaque):
            raise ValueError("A URI cannot hold a space, quote, bracket or control character.")

    def __str__(self) -> str:
        return f"{self.scheme}:{self.opaque}"


Uri = SipUri | TelUri | OtherUri

_SEPARATORS = str.maketrans("", "", "-.()")


def parse_uri(text: str) -> Uri:
    """The URI written in `text`, of whatever scheme.

    Raises:
        SipParseError: it is no absolute URI, or one of a known scheme with an error in it.
    """
    # A phone sees the same few addresses all day, and a URI cannot be changed: parsing them once is enough.
    # A stranger's flood of others only pushes them out; the cache holds a quarter of a megabyte at most.
    return _parse_cached(text) if len(text) <= 128 else _parse_uri(text)


def _parse_uri(text: str) -> Uri:
    prefix = text[:4].lower()
    if prefix in ("sip:", "sips"):
        return SipUri.parse(text)
    if prefix == "tel:":
        return TelUri.parse(text)
    match = _SCHEME.fullmatch(text)
    if match is None:
        raise SipParseError("Malformed URI")
    return OtherUri(match[1].lower(), match[2])


_parse_cached = lru_cache(512)(_parse_uri)


def _make(
    scheme: str, user: str | None, host: str, port: int | None, parameters: Parameters, headers: str | None, password: str | None
) -> SipUri:
    # The grammar has been checked by the caller; the checks of the constructor would double the price of every URI received.
    uri = _new(SipUri)
    _set(uri, "scheme", scheme)
    _set(uri, "user", user)
    _set(uri, "host", host)
    _set(uri, "port", port)
    _set(uri, "parameters", parameters)
    _set(uri, "headers", headers)
    _set(uri, "password", password)
    return uri


_new = object.__new__
_set = object.__setattr__


def _parse_uri_parameters(text: str) -> Parameters:
    parameters: list[tuple[str, str | None]] = []
    for part in text[1:].split(";"):
        name, equals, value = part.partition("=")
        if not name:
            # Several gateways write ";;" or a trailing ";": nothing is lost by passing it over.
            if equals:
                raise SipParseError("Malformed URI parameter")
            continue
        parameters.append((name, value if equals else None))
    return tuple(parameters)


def _escape(char: str) -> str:
    return "".join([f"%{octet:02X}" for octet in char.encode("utf-8", "surrogateescape")])


def _comparable(text: str | None) -> str | None:
    # "%61" and "a" are the same; "%3B" and ";" are not, because ";" is reserved (§19.1.4).
    if text is None or "%" not in text:
        return text
    return _ESCAPED_OCTET.sub(lambda match: match[0].upper() if (char := chr(int(match[1], 16))) in _KEPT_ESCAPED else char, text)


def _parameters_match(ours: Parameters, theirs: Parameters) -> bool:
    if not ours and not theirs:
        return True
    left = {name.lower(): (_comparable(value) or "").lower() for name, value in reversed(ours)}
    right = {name.lower(): (_comparable(value) or "").lower() for name, value in reversed(theirs)}
    if any(left.get(name) != right.get(name) for name in _ALWAYS_COMPARED):
        return False
    return all(right[name] == value for name, value in left.items() if name in right)


def _headers_match(ours: str | None, theirs: str | None) -> bool:
    if ours is None and theirs is None:
        return True
    return sorted(map(unescape, (ours or "").split("&"))) == sorted(map(unescape, (theirs or "").split("&")))
