"""Checks of what users hand in: strings without control characters, headers, host and port."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from flexosip.errors import ConfigurationError, FlexosipError
from flexosip.sip.grammar import SipParseError, is_token, parse_parameters
from flexosip.sip.headers import header_names
from flexosip.sip.next_hop import NextHop, default_port
from flexosip.sip.uri import SipUri

__all__ = ["checked_domain", "checked_media_type", "checked_text", "header_pairs", "optional_text", "parse_server", "shown"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+\Z")
_OURS = frozenset({
    "via", "from", "to", "call-id", "cseq", "contact", "max-forwards", "content-length", "content-type", "content-encoding",
    "content-disposition", "mime-version", "route", "record-route", "path", "service-route", "authorization",
    "proxy-authorization", "www-authenticate", "proxy-authenticate", "authentication-info", "allow", "supported", "require",
    "proxy-require", "unsupported", "session-expires", "min-se", "rseq", "rack", "replaces", "timestamp", "user-to-user",
})  # fmt: skip
"""What the machines write themselves: a second one of these, or a wrong one, breaks the call."""
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,251}[A-Za-z0-9])?")
_PATH = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@/%?]*)?")


_PASSWORD_OF_URI = re.compile(r"(?i)(\bsips?:[^\s:@<>]*:|^(?!sips?:|tel:|wss?:)[^\s:@<>/]+:)[^\s@<>]+(?=@)")


def shown(text: str) -> str:
    """What a user wrote as an address, for a message: without the password that may be in it (RFC 3261 §19.1.1)."""
    return _PASSWORD_OF_URI.sub(r"\1***", text)


def checked_text(value: str, what: str) -> str:
    """`value` itself.

    Raises:
        ConfigurationError: (a ValueError) it contains a control character, which could forge a header.
    """
    if _CONTROL.search(value):
        said = shown(value)[:80]
        raise ConfigurationError(f"{what} contains a control character (a line break, for example), which is not allowed: {said!r}.")
    return value


def checked_media_type(value: str) -> str:
    """`value` itself.

    Raises:
        ConfigurationError: (a ValueError) it is no media type such as `text/plain;charset=utf-8`.
    """
    checked_text(value, "The content type")
    media_type, semicolon, rest = value.partition(";")
    kind, slash, subtype = media_type.strip().partition("/")
    try:
        parse_parameters(semicolon + rest)
    except SipParseError as error:
        raise ConfigurationError(f"{value!r} is no media type such as text/plain.") from error
    if not slash or not is_token(kind) or not is_token(subtype):
        raise ConfigurationError(f"{value!r} is no media type such as text/plain.")
    return value


def optional_text(value: str | None, what: str) -> str | None:
    """`value` itself, checked as by `checked_text` if there is one."""
    return None if value is None else checked_text(value, what)


def checked_domain(value: str, what: str) -> str:
    """`value` itself.

    Raises:
        ConfigurationError: it is no name of a host or domain.
    """
    if _DOMAIN.fullmatch(value) is None:
        raise ConfigurationError(f"{what}: {checked_text(value, what)[:80]!r} is no domain.")
    return value


def header_pairs(headers: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> tuple[tuple[str, str], ...]:
    """Headers of the user as (name, value) pairs, checked.

    Raises:
        ConfigurationError: (a ValueError) a bad name, a control character, or a header that the library itself writes.
    """
    if headers is None:
        return ()
    pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
    for name, value in pairs:
        if not _TOKEN.match(name):
            raise ConfigurationError(f"{name!r} is not a header name.")
        checked_text(value, f"The header {name}")
        if header_names(name)[1] in _OURS:
            hint = " Use uui= for it." if name.lower() == "user-to-user" else ""
            raise ConfigurationError(f"The header {name} is written by the library itself and cannot be given in headers=.{hint}")
    return pairs


def parse_server(text: str, what: str) -> SipUri:
    """A server given as `HOST[:PORT]`, as a SIP URI, or as the URL of a WebSocket (a `NextHop`); the user part is dropped.

    Raises:
        ConfigurationError: neither.
    """
    checked_text(text, what)
    if text.lower().startswith(("ws://", "wss://")):
        return _websocket(text, what)
    uri_text = text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}"
    try:
        uri = SipUri.parse(uri_text)
    except (ValueError, FlexosipError) as error:
        raise ConfigurationError(f"{what} {shown(text)!r} is neither HOST[:PORT] nor a SIP URI: {str(error).rstrip('.')}.") from error
    return SipUri(uri.scheme, None, uri.host, uri.port, uri.parameters)


def _websocket(text: str, what: str) -> NextHop:
    """The server of `wss://HOST[:PORT][/PATH]`. Its certificate is the host's own (RFC 7118 §10.1)."""
    transport, _, rest = text.partition("://")
    place, slash, path = rest.partition("/")
    try:
        uri = SipUri.parse(f"sip:{place}")
        if uri.user is not None or uri.parameters or uri.headers is not None or _PATH.fullmatch(slash + path) is None:
            raise ValueError("it has parts that the URL of a WebSocket has not")
    except (ValueError, FlexosipError) as error:
        raise ConfigurationError(f"{what} {text!r} is not a WebSocket's URL like wss://host:8089/ws: {str(error).rstrip('.')}.") from error
    transport = transport.lower()
    port = uri.port or default_port(transport)
    return NextHop("sip", None, uri.host, port, (("transport", transport),), service_domain=uri.host, path=slash + path or "/")
