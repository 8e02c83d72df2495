"""Every error of the library, one tree.

FlexosipError                          every error: .explain() gives cause and next step in words
├── ConfigurationError(ValueError)
│   └── MissingExtra                   "pip install 'flexosip[audio]'"
├── AuthenticationError                credentials refused (registration or call)
├── RegistrationFailed                 .status .reason
├── CallFailed                         .status .reason
│   ├── Busy, Declined, NotFound, Unavailable, NoAnswer(TimeoutError)
│   ├── TransferRefused, TransferTimeout(TimeoutError)
│   ├── CallReplaced                   .call: another phone took the ringing call over
│   └── CallBarred                     our own CallPolicy does not let it out
├── RequestFailed                      .status .reason
│   └── MessageFailed, SubscriptionFailed, PublicationFailed
├── CallEnded                          .end
├── NetworkError(ConnectionError)
│   ├── ServerUnreachable(TimeoutError)
│   └── CertificateError
├── MediaError
│   └── CodecError, MediaTimeout(TimeoutError)
├── InvalidState                       answer() after hangup()
└── ProtocolError
    ├── LocalProtocolError             our caller asked for what the RFC forbids
    └── RemoteProtocolError            the peer did; .status_hint is the SIP status that fits
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AuthenticationError",
    "Busy",
    "CallBarred",
    "CallEnded",
    "CallFailed",
    "CallReplaced",
    "CertificateError",
    "CodecError",
    "ConfigurationError",
    "Declined",
    "FlexosipError",
    "InvalidState",
    "LocalProtocolError",
    "MediaError",
    "MediaTimeout",
    "MessageFailed",
    "MissingExtra",
    "NetworkError",
    "NoAnswer",
    "NotFound",
    "ProtocolError",
    "PublicationFailed",
    "RegistrationFailed",
    "RemoteProtocolError",
    "RequestFailed",
    "ServerUnreachable",
    "SubscriptionFailed",
    "TransferRefused",
    "TransferTimeout",
    "Unavailable",
    "call_failure",
]

# Cause and next step by SIP status: what `.explain()` says of a refused call or registration.
STATUS_ADVICE: dict[int, str] = {
    400: "The other side found the request malformed. If it is a PBX, look into its log for the reason; with -vv you see what was sent.",
    401: "The server wants other credentials. Check user name and password; some providers want a separate auth_user.",
    403: "The server refuses. Common causes: the user name is not the one the server expects (try auth_user), the caller "
    "number is not yours, the account may not make this call, or too many wrong passwords locked it for a while.",
    404: "The number or user does not exist there. Check the target; inside a FRITZ!Box internal numbers start with **, "
    "for example **610, and **9 rings all phones.",
    405: "The other side does not know this kind of request. It may be no phone or registrar at all: check host and port.",
    406: "The other side cannot give an answer that we accept.",
    407: "The proxy wants other credentials. Check user name, password and auth_user.",
    408: "Nobody answered the request in time. Check host, port and transport, and that no firewall drops UDP.",
    415: "The other side does not understand the media description.",
    416: "The other side does not know this kind of address. Use a sip: address.",
    420: "The other side misses a protocol extension.",
    423: "The server wants a longer time between refreshes.",
    469: "The other side takes no INFO of this package.",
    480: "The phone is not reachable now: not registered, switched off or set to do-not-disturb.",
    481: "The other side does not know this call any more; it has probably restarted.",
    482: "The request came back to its origin: two servers send it to each other. Check proxy and registrar settings.",
    483: "The request went through too many servers, probably in a circle. Check proxy and registrar settings.",
    484: "The number is incomplete.",
    486: "The line is busy. Try again later.",
    487: "The call was cancelled before it was answered.",
    488: "No common codec or media type. Allow more codecs (PCMA and PCMU are understood nearly everywhere).",
    489: "The other side does not tell this kind of state.",
    491: "Both sides changed the call at the same moment. Try again.",
    500: "The other side reports an error of its own. Try again later and look into its log.",
    501: "The other side does not implement this kind of request.",
    502: "A gateway on the way got no usable answer. Try again later.",
    503: "The service is overloaded or down. Try again later.",
    504: "A server on the way did not answer in time.",
    513: "The request is too large for the other side. Offer fewer codecs or use TCP.",
    600: "All phones of the called person are busy.",
    603: "The call was declined.",
    604: "The number or user does not exist anywhere.",
    606: "No common codec or media type at the called person's phones.",
}


class FlexosipError(Exception):
    """Base of every error of this library. `explain()` tells cause and next step in words."""

    advice = "Run the command with -v, or set logging to INFO, to see what happened before."
    """What to do next, a sentence or two; a subclass or an instance says it better."""

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        if advice is not None:
            self.advice = advice

    def explain(self) -> str:
        """Cause and next step, for a person; never a secret in it."""
        return f"{self} {self.advice}".strip()


class ConfigurationError(FlexosipError, ValueError):
    """A setting or an argument cannot be used; the message says which, where and what is allowed."""

    advice = "Correct the setting and start again."


class MissingExtra(ConfigurationError):
    """An optional part is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        self.extra = extra
        super().__init__(f"{purpose} needs the optional part '{extra}'.", advice=f"Install it with: pip install 'flexosip[{extra}]'")


class AuthenticationError(FlexosipError):
    """The credentials were refused, for a registration or a call."""

    advice = (
        "Check user name and password. Some providers want a separate auth_user (the SIP id). "
        "Several wrong tries can lock the account or this address for some minutes."
    )

    def __init__(self, message: str, *, status: int = 401, reason: str = "", advice: str | None = None) -> None:
        super().__init__(message, advice=advice)
        self.status = status
        self.reason = reason


class _StatusError(FlexosipError):
    """Base of the errors that carry a SIP status (RFC 3261 §21)."""

    def __init__(
        self, message: str | None = None, *, status: int = 0, reason: str = "", headers: Any = None, advice: str | None = None
    ) -> None:
        text = message if message is not None else f"{status} {reason}".strip()
        super().__init__(text, advice=advice if advice is not None else STATUS_ADVICE.get(status))
        self.status = status
        """The final SIP status, 300 to 699; 408 and 503 also stand for our own time-out and network failure."""
        self.reason = reason
        self.headers = headers
        """The final response's `Headers`, or None."""


class RegistrationFailed(_StatusError):
    """The registrar refused, for another reason than the credentials."""


class CallFailed(_StatusError):
    """A call was not answered. Subclasses tell the common reasons apart."""


class Busy(CallFailed):
    """486 or 600: the line is busy."""


class Declined(CallFailed):
    """603 or 403: the called person or the server does not want the call."""


class NotFound(CallFailed):
    """404, 410, 484 or 604: no such number."""


class Unavailable(CallFailed):
    """408, 480, 502, 503 or 504: the phone or a server cannot be reached now."""


class NoAnswer(CallFailed, TimeoutError):
    """It rang and nobody answered within `ring_timeout`."""

    advice = "Nobody answered. Ring longer (ring_timeout) or call another number."


class CallBarred(CallFailed):
    """Our own `CallPolicy` does not let the call out; nothing was sent. `status` is 403."""

    advice = "If the call is meant, change the CallPolicy of this phone."

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message, status=403, reason="Barred", advice=advice if advice is not None else type(self).advice)


class TransferRefused(CallFailed):
    """The other side does not let itself be transferred; the call goes on as before. `status` is its answer to the REFER."""

    advice = (
        "Many phones and providers do not allow transfers: 405 and 501 not implemented, 403 and 603 not allowed. "
        "Ask for the permission there, or call the target yourself."
    )


class TransferTimeout(CallFailed, TimeoutError):
    """The order to transfer was accepted, but nothing final was told of it in time; the call goes on as before."""

    advice = "The target may still ring. Wait longer (timeout), or go on talking and try again."


class CallReplaced(CallFailed):
    """Another phone took the call over while it still rang (RFC 3891); `call` is the one to go on with."""

    advice = "Go on with `error.call`, which is answered."

    def __init__(self, call: Any) -> None:
        super().__init__("Another phone has picked the call up.", status=487, reason="Replaced", advice=self.advice)
        self.call = call


class RequestFailed(_StatusError):
    """A request outside of calls was refused."""


class MessageFailed(RequestFailed):
    """A text message was not delivered (RFC 3428)."""


class SubscriptionFailed(RequestFailed):
    """The other side does not tell its state: not to us, or not this one (RFC 6665)."""


class PublicationFailed(RequestFailed):
    """The server does not take our presence (RFC 3903)."""


class CallEnded(FlexosipError):
    """The call ended while a verb was in progress. `end` tells who ended it and why."""

    advice = "That is how a call ends; leave the handler, or catch CallEnded for work after the call."

    def __init__(self, end: Any) -> None:
        super().__init__(f"The call has ended: {end}.")
        self.end = end


class NetworkError(FlexosipError, ConnectionError):
    """The network or the address lets nothing through."""

    advice = "Check the network, the host name and the port."


class ServerUnreachable(NetworkError, TimeoutError):
    """The server gave no answer at all."""

    advice = (
        "Check host name, port and transport (udp or tcp), and that no firewall drops the packets. "
        "A FRITZ!Box answers only in its own network, and not at all to a user name it does not know."
    )


class CertificateError(NetworkError):
    """The server's TLS certificate is not to be trusted."""

    advice = "Check the account's domain, or give the certificate authority's file."


class MediaError(FlexosipError):
    """Sound could not be read, written or sent."""

    advice = "Check the file: WAV is read by the base, other formats by the extra 'audio'."


class CodecError(MediaError):
    """A codec is unknown, or its data are damaged."""


class MediaTimeout(MediaError, TimeoutError):
    """No sound arrived for too long."""

    advice = "A firewall or NAT on the way may block RTP, or the other side has gone."


class InvalidState(FlexosipError):
    """The call or phone is not in a state in which this is possible."""

    advice = "See the state of the call or phone first."


class ProtocolError(FlexosipError):
    """A rule of SIP, SDP or RTP was broken."""


class LocalProtocolError(ProtocolError):
    """We were asked for something that the RFC forbids."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule. `status_hint` is the SIP status that fits as an answer."""

    advice = "The other side is at fault; with -vv you see what it sent."

    def __init__(self, message: str, *, status_hint: int = 400, advice: str | None = None) -> None:
        super().__init__(message, advice=advice)
        self.status_hint = status_hint


_CALL_FAILURES: dict[int, type[CallFailed]] = {
    403: Declined,
    404: NotFound,
    408: Unavailable,
    410: NotFound,
    480: Unavailable,
    484: NotFound,
    486: Busy,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    600: Busy,
    603: Declined,
    604: NotFound,
}


def call_failure(status: int, reason: str = "", headers: Any = None) -> FlexosipError:
    """The error that fits the final status of a call we made (RFC 3261 §21)."""
    if status in (401, 407):
        return AuthenticationError(f"The call was refused: the credentials are wrong ({status}).", status=status, reason=reason)
    kind = _CALL_FAILURES.get(status, CallFailed)
    return kind(f"The call failed: {status} {reason}".rstrip() + ".", status=status, reason=reason, headers=headers)
