"""Reason: why a request was sent, such as "answered elsewhere" or an ISDN cause.

RFC 3326
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexosip.sip.grammar import SipParseError, find_parameter, is_token, parse_parameters, quote, unquote

if TYPE_CHECKING:
    from flexosip.sip.headers import Headers

__all__ = ["Reason", "parse_reasons"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One value of the header."""

    protocol: str
    """"SIP" with a status as cause, or "Q.850" with an ISDN cause."""
    cause: int | None = None
    text: str = ""

    def __str__(self) -> str:
        if not is_token(self.protocol):
            raise ValueError("The protocol of a Reason is a token.")
        cause = "" if self.cause is None else f";cause={self.cause}"
        return f"{self.protocol}{cause}" + (f";text={quote(self.text)}" if self.text else "")


def parse_reasons(headers: Headers | None) -> list[Reason]:
    """All reasons that can be understood; a malformed one is passed over, for it never decides what happens."""
    reasons: list[Reason] = []
    try:
        values = headers.get_all("Reason") if headers is not None else []
    except SipParseError:
        return reasons
    for value in values:
        protocol, semicolon, rest = value.partition(";")
        protocol = protocol.strip()
        if not is_token(protocol):
            continue
        try:
            parameters = parse_parameters(semicolon + rest)
        except SipParseError:
            continue
        cause = (find_parameter(parameters, "cause") or ("", None))[1]
        text = (find_parameter(parameters, "text") or ("", None))[1]
        number = int(cause) if cause is not None and cause.isascii() and cause.isdigit() and len(cause) <= 4 else None
        reasons.append(Reason(protocol, number, unquote(text or "")))
    return reasons
