"""Take the secrets out of a SIP message before a person, a log or a file sees it.

Masked, each with as many `*` as it had bytes, so that Content-Length stays right and the message still parses:

- Authorization, Proxy-Authorization, WWW-Authenticate, Proxy-Authenticate, Authentication-Info:
  response, nonce, cnonce, opaque, rspauth, nextnonce (RFC 7616 §3.3-3.5); of another scheme than Digest everything;
- the password of a SIP URI, `sip:user:password@host` (RFC 3261 §19.1.1);
- SDES keys `a=crypto:... inline:...` (RFC 4568), `k=` (RFC 8866 §5.12), `a=ice-pwd` (RFC 8839).
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["mask", "mask_keys"]

_AUTH_HEADER = re.compile(
    rb"(?im)^(?P<name>(?:proxy-)?authorization|(?:www|proxy)-authenticate|(?:proxy-)?authentication-info)(?P<colon>[ \t]*:[ \t]*)"
    rb"(?P<value>[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)"
)
_SECRET_PARAMETER = re.compile(
    rb'(?i)(?P<key>\b(?:response|nonce|cnonce|opaque|rspauth|nextnonce)[ \t]*=[ \t\r\n]*)(?P<value>"(?:[^"\\]|\\.)*"?|[^\s,;"]+)',
    re.DOTALL,
)
_OTHER_SCHEME = re.compile(rb"(?s)(?P<scheme>[^\s,=]+[ \t]+)(?P<value>.*)")
_URI_PASSWORD = re.compile(rb"(?i)(?P<user>\bsips?:[^\s:@<>\";?]{1,256}:)(?P<value>[^\s@<>\"]{1,256})(?=@)")
_SDP_SECRET = re.compile(rb"(?im)(?P<key>^a=crypto:[^\r\n]*?inline:|^k=[a-z0-9]*:?|^a=ice-pwd:|\|?[ \t;]inline:)(?P<value>[^\s;|\r\n]+)")
_KEY = re.compile(rb"(?im)(?P<key>^[ \t]*(?:(?:signal|d)[ \t]*=[ \t]*)?)(?P<value>[0-9A-Z*#]{1,5})(?=[ \t]*\r?$)")


def mask(data: bytes) -> bytes:
    """The same message, as long as before, without its secrets. Anything may be given; what is no SIP comes back as it is."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        head, blank, body = data.partition(b"\n\n")
    head = _AUTH_HEADER.sub(_mask_header, head)
    head = _URI_PASSWORD.sub(_mask_group("user"), head)
    if b"inline:" in body or b"k=" in body or b"ice-pwd" in body:
        body = _SDP_SECRET.sub(_mask_group("key"), body)
    return head + blank + body


def mask_keys(data: bytes) -> bytes:
    """The same message without the key that an INFO tells (`application/dtmf-relay`, `application/dtmf`): it may be part of a PIN."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if b"application/dtmf" not in head.lower():
        return data
    return head + blank + _KEY.sub(_mask_group("key"), body)


def _mask_header(match: re.Match[bytes]) -> bytes:
    """An authentication header without its secret parameters."""
    name, colon, value = match["name"], match["colon"], match["value"]
    scheme = value.lstrip()[:7].lower()
    if scheme.startswith(b"digest") or name.lower().endswith((b"info", b"authenticate")):
        return name + colon + _SECRET_PARAMETER.sub(_mask_group("key"), value)
    other = _OTHER_SCHEME.fullmatch(value)
    if other is None:
        return name + colon + _stars(value)
    return name + colon + other["scheme"] + _stars(other["value"])


def _mask_group(kept: str) -> Callable[[re.Match[bytes]], bytes]:
    """A replacement that keeps the named group and stars out the value."""

    def replace(match: re.Match[bytes]) -> bytes:
        before, value = bytes(match[kept]), bytes(match["value"])
        if len(value) >= 2 and value[:1] == value[-1:] == b'"':
            return before + b'"' + _stars(value[1:-1]) + b'"'
        return before + _stars(value)

    return replace


def _stars(value: bytes) -> bytes:
    """As many stars as bytes; line ends and blanks stay, so that folded lines stay lines."""
    return bytes(byte if byte in b"\r\n\t " else 0x2A for byte in value)
