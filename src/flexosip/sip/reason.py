"""Reason: why a request or response was sent, such as "answered elsewhere" or an ISDN cause; and the causes that statuses stand for.

RFC 3326, RFC 6432, RFC 3398 §7.2.4.1 and §8.2.6.1, ITU-T Q.850
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flexosip.sip.grammar import SipParseError, find_parameter, is_token, parse_parameters, quote, unquote

if TYPE_CHECKING:
    from flexosip.sip.headers import Headers

__all__ = ["ELSEWHERE", "Q850_TEXTS", "Reason", "cause_of_status", "parse_reasons", "q850_reason", "status_of_cause"]


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


ELSEWHERE: Final = Reason("SIP", 200, "Call completed elsewhere")
"""Of the CANCEL to those who still ring when somebody has answered (RFC 3326 §3.1): to them it is no missed call."""

Q850_TEXTS: Final[dict[int, str]] = {
    1: "Unallocated number",
    2: "No route to network",
    3: "No route to destination",
    16: "Normal call clearing",
    17: "User busy",
    18: "No user responding",
    19: "No answer from user",
    20: "Subscriber absent",
    21: "Call rejected",
    22: "Number changed",
    23: "Redirection to new destination",
    25: "Exchange routing error",
    26: "Non-selected user clearing",
    27: "Destination out of order",
    28: "Invalid number format",
    29: "Facility rejected",
    31: "Normal, unspecified",
    34: "No circuit available",
    38: "Network out of order",
    41: "Temporary failure",
    42: "Switching equipment congestion",
    47: "Resource unavailable",
    55: "Incoming calls barred",
    57: "Bearer capability not authorized",
    58: "Bearer capability not available",
    63: "Service or option not available",
    65: "Bearer capability not implemented",
    70: "Only restricted digital information",
    79: "Service or option not implemented",
    87: "User not member of group",
    88: "Incompatible destination",
    102: "Recovery on timer expiry",
    111: "Protocol error",
    127: "Interworking, unspecified",
}
"""Short texts of the causes that have a status."""

_STATUS_OF_CAUSE: Final[dict[int, int]] = {
    1: 404, 2: 404, 3: 404, 17: 486, 18: 408, 19: 480, 20: 480, 21: 403, 22: 410, 23: 410, 26: 404, 27: 502, 28: 484, 29: 501, 31: 480,
    34: 503, 38: 503, 41: 503, 42: 503, 47: 503, 55: 403, 57: 403, 58: 503, 65: 488, 70: 488, 79: 501, 87: 403, 88: 503, 102: 504,
    111: 500, 127: 500,
}  # fmt: skip

_CAUSE_OF_STATUS: Final[dict[int, int]] = {
    200: 16, 400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127, 414: 127, 415: 79,
    416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25, 484: 28, 485: 1, 486: 17, 488: 31, 500: 41, 501: 79,
    502: 38, 503: 41, 504: 102, 505: 127, 513: 127, 600: 17, 603: 21, 604: 1, 606: 31,
}  # fmt: skip


def cause_of_status(status: int) -> int | None:
    """The Q.850 cause that a final SIP status stands for (RFC 3398 §8.2.6.1).

    200 is a BYE without a Reason: 16. None: the status says nothing of the kind, as 487 after a CANCEL and the redirections.
    """
    if status < 400:
        return _CAUSE_OF_STATUS.get(status)
    return None if status == 487 else _CAUSE_OF_STATUS.get(status, 31 if status < 500 else 41)


def status_of_cause(cause: int) -> int:
    """The final SIP status for a Q.850 cause (RFC 3398 §7.2.4.1).

    Normal clearing (16) has no status in that table, since it ends a call that was up: here it is 480.
    """
    return 480 if cause == 16 else _STATUS_OF_CAUSE.get(cause, 500)


def q850_reason(cause: int, text: str | None = None) -> Reason:
    """The Reason for a Q.850 cause, 1 to 127; without `text` the one of the recommendation, where it is known.

    Raises:
        ValueError: not such a cause, or a control character in the text.
    """
    if not 1 <= cause <= 127:
        raise ValueError(f"A Q.850 cause is a number from 1 to 127, not {cause}.")
    return Reason("Q.850", cause, Q850_TEXTS.get(cause, "") if text is None else text)
