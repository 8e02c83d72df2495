"""REFER and what comes with it: Refer-To, Refer-Sub, and message/sipfrag, the body that tells how a referred call goes.

RFC 3515, RFC 3420, RFC 3891 §6 (Replaces within Refer-To), RFC 3892, RFC 4488, RFC 7614
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from flexosip.errors import RemoteProtocolError
from flexosip.sip.grammar import SipParseError, has_control, unescape
from flexosip.sip.headers import NameAddr
from flexosip.sip.replaces import Replaces
from flexosip.sip.status import reason_phrase
from flexosip.sip.uri import OtherUri, SipUri, TelUri

if TYPE_CHECKING:
    from flexosip.sip.message import Message, Request

__all__ = ["SIPFRAG", "ReferTo", "create_sipfrag", "parse_sipfrag", "refer_to_value", "wants_subscription"]

SIPFRAG: Final = "message/sipfrag"
_STATUS_LINE = re.compile(rb"SIP/2\.0[ \t]+([1-6][0-9]{2})(?:[ \t]+([^\r\n]*))?[ \t]*(?:\r\n?|\n|\Z)")
_LONGEST_REASON = 200
_ALLOWED: Final = {"subject": "Subject", "user-to-user": "User-to-User"}
"""Headers that a Refer-To may put into the INVITE beside Replaces. Others could forge who calls, where it goes or what it may
(RFC 3261 §19.1.5)."""
_MOST_HEADERS = 16
_UNESCAPED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()[]/?:+$")


@dataclass(frozen=True, slots=True)
class ReferTo:
    """Whom to call, as a Refer-To says it."""

    uri: SipUri | TelUri
    """The address, without embedded headers and method."""
    display_name: str = ""
    replaces: Replaces | None = None
    """The call that the new one shall take over (attended transfer)."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers for the INVITE, of the few that are allowed."""
    ignored: tuple[str, ...] = ()
    """Names of embedded headers that are passed over."""

    @classmethod
    def of(cls, request: Request) -> ReferTo:
        """The Refer-To of a REFER.

        Raises:
            RemoteProtocolError: 400 none, two or a malformed one (RFC 3515 §2.4.1); 416 another scheme than sip, sips and tel;
                403 another method than INVITE.
        """
        lines = request.headers.get_lines("Refer-To")
        if len(lines) != 1:
            raise RemoteProtocolError("A REFER has exactly one Refer-To", status_hint=400)
        return cls.parse(lines[0])

    @classmethod
    def parse(cls, text: str) -> ReferTo:
        """The value written in `text`: `<sip:attic@house?Replaces=...>`. Raises as `of`."""
        if "<" not in text:
            # By RFC 3261 §20.10 parameters would be the header's then. pjsip and baresip mean those of the URI, its transport above
            # all; Refer-To has no parameters of its own that could be lost.
            text = f"<{text.strip()}>"
        address = NameAddr.parse(text)
        uri = address.uri
        if isinstance(uri, OtherUri):
            raise RemoteProtocolError("Refer-To: only sip, sips and tel can be called", status_hint=416)
        if isinstance(uri, TelUri):
            return cls(uri, address.display_name)
        method = uri.parameter("method")
        if method is not None and method.upper() != "INVITE":
            raise RemoteProtocolError("Refer-To: only INVITE is done for others", status_hint=403)
        replaces, headers, ignored = _embedded(uri.headers)
        plain = replace(uri, headers=None)
        if method is not None:
            plain = plain.without_parameters("method")
        return cls(plain, address.display_name, replaces, headers, ignored)

    @property
    def invite_headers(self) -> tuple[tuple[str, str], ...]:
        """What goes into the INVITE: Replaces with its Require, and the allowed headers."""
        if self.replaces is None:
            return self.headers
        return (("Replaces", str(self.replaces)), ("Require", "replaces"), *self.headers)


def _embedded(text: str | None) -> tuple[Replaces | None, tuple[tuple[str, str], ...], tuple[str, ...]]:
    """(Replaces, allowed headers, names of the others) of what follows the `?` of a URI."""
    replaces: Replaces | None = None
    headers: list[tuple[str, str]] = []
    ignored: list[str] = []
    parts = [part for part in (text or "").split("&") if part]
    if len(parts) > _MOST_HEADERS:
        raise SipParseError("Refer-To with too many headers")
    for part in parts:
        name, _, value = part.partition("=")
        key, value = unescape(name).lower(), unescape(value)
        if has_control(value):
            raise SipParseError("Refer-To with a control character")
        if key == "replaces":
            if replaces is not None:
                raise SipParseError("Refer-To with two Replaces")
            replaces = Replaces.parse(value)
        elif key in _ALLOWED:
            headers.append((_ALLOWED[key], value))
        elif not (key == "require" and value.strip().lower() == "replaces"):
            # Our own INVITE requires `replaces` whenever there is one.
            ignored.append(key)
    if replaces is None and any(unescape(part).lower().startswith("join=") for part in parts):
        raise SipParseError("Refer-To with Join")
    return replaces, tuple(headers), tuple(ignored)


def refer_to_value(uri: SipUri, replaces: Replaces | None = None) -> str:
    """The value of Refer-To for a transfer to `uri`; `replaces` is escaped into it (RFC 3891 §6.1, RFC 5589 §7.3)."""
    if replaces is None:
        return str(NameAddr(uri))
    escaped = "".join(
        [chr(octet) if chr(octet) in _UNESCAPED else f"%{octet:02X}" for octet in str(replaces).encode("utf-8", "surrogateescape")]
    )
    headers = f"Replaces={escaped}&Require=replaces"
    return str(NameAddr(replace(uri, headers=f"{uri.headers}&{headers}" if uri.headers else headers)))


def wants_subscription(message: Message) -> bool:
    """False if a REFER asks for no subscription, or its answer says that there is none (RFC 4488 §4, RFC 7614 §4).

    `Require: nosub` and `Refer-Sub: false` say the same; `explicitsub` promises one that has to be asked for.
    """
    value = message.headers.get("Refer-Sub")
    if value is not None and value.partition(";")[0].strip(" \t").lower() == "false":
        return False
    return "nosub" not in message.require


def parse_sipfrag(body: bytes) -> tuple[int, str] | None:
    """(status, reason) of the first line of a message/sipfrag, None when it has no status line (RFC 3515 §2.4.5).

    The reason is cut at 200 characters; control characters of the peer become blanks.
    """
    match = _STATUS_LINE.match(body.lstrip(b"\r\n"))
    if match is None:
        return None
    reason = (match[2] or b"").decode("utf-8", "replace")[:_LONGEST_REASON].rstrip()
    return int(match[1]), "".join(char if char.isprintable() else " " for char in reason)


def create_sipfrag(status: int, reason: str | None = None) -> bytes:
    """The body of a NOTIFY about a referred call: its status line alone, which tells no secrets of it (RFC 3515 §5.1)."""
    text = reason_phrase(status) if reason is None else "".join(char if char.isprintable() else " " for char in reason)
    return f"SIP/2.0 {status} {text[:_LONGEST_REASON]}\r\n".encode()
