"""Reason phrases of the SIP status codes.

RFC 3261 §21 and the IANA registry "SIP Response Codes".
"""

from __future__ import annotations

from typing import Final

__all__ = ["REASON_PHRASES", "reason_phrase", "response_rank"]

REASON_PHRASES: Final[dict[int, str]] = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    417: "Unknown Resource-Priority",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    424: "Bad Location Information",
    425: "Bad Alert Message",
    428: "Use Identity Header",
    429: "Provide Referrer Identity",
    430: "Flow Failed",
    433: "Anonymity Disallowed",
    436: "Bad Identity Info",
    437: "Unsupported Credential",
    438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    555: "Push Notification Service Not Supported",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
    608: "Rejected",
}
"""Phrase by status code."""

_CLASSES: Final[dict[int, int]] = {1: 183, 2: 200, 3: 300, 4: 400, 5: 500, 6: 600}


def reason_phrase(status: int) -> str:
    """The phrase of `status`; an unknown status takes that of its class (RFC 3261 §8.1.3.2)."""
    phrase = REASON_PHRASES.get(status)
    return phrase if phrase is not None else REASON_PHRASES[_CLASSES.get(status // 100, 500)]


def response_rank(status: int) -> int:
    """How good a failure is as the answer for all branches of a fork, 0 best, 6 worst (RFC 3261 §16.7 step 6).

    6xx decides, then what the caller can act on, then what a person decided.
    """
    if status >= 600:
        return 0
    if status in (401, 407, 415, 420, 484, 488):
        return 1
    if status == 486:
        return 2
    if 300 <= status < 400:
        return 3
    if 400 <= status < 500:
        return 4 if status not in (408, 487) else 5
    return 6
