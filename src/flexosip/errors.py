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

from flexosip.advice import advice_for, status_advice

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
    "OptionsFailed",
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
    "authentication_failure",
    "call_failure",
]


def _own(name: str) -> str:
    return str(advice_for(f"error {name}"))


class FlexosipError(Exception):
    """Base of every error of this library. `explain()` tells cause and next step in words."""

    advice = _own("FlexosipError")
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

    advice = _own("ConfigurationError")


class MissingExtra(ConfigurationError):
    """An optional part is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        self.extra = extra
        super().__init__(f"{purpose} needs the optional part '{extra}'.", advice=str(advice_for("error MissingExtra", extra=extra)))


class AuthenticationError(FlexosipError):
    """The credentials were refused, for a registration or a call."""

    advice = _own("AuthenticationError")

    def __init__(self, message: str, *, status: int = 401, reason: str = "", advice: str | None = None) -> None:
        super().__init__(message, advice=advice)
        self.status = status
        self.reason = reason


class _StatusError(FlexosipError):
    """Base of the errors that carry a SIP status (RFC 3261 §21)."""

    request = ""
    """The method that is refused with it, where that is certain."""

    def __init__(
        self, message: str | None = None, *, status: int = 0, reason: str = "", headers: Any = None, advice: str | None = None
    ) -> None:
        text = message if message is not None else f"{status} {reason}".strip()
        if advice is None and self.advice is FlexosipError.advice:
            # an error that stands for itself knows more than its status
            meant = status_advice(status, request=self.request, headers=headers)
            advice = str(meant) if meant is not None else None
        super().__init__(text, advice=advice)
        self.status = status
        """The final SIP status, 300 to 699; 408 and 503 also stand for our own time-out and network failure."""
        self.reason = reason
        self.headers = headers
        """The final response's `Headers`, or None."""


class RegistrationFailed(_StatusError):
    """The registrar refused, for another reason than the credentials."""

    request = "REGISTER"


class CallFailed(_StatusError):
    """A call was not answered. Subclasses tell the common reasons apart."""

    request = "INVITE"


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

    advice = _own("NoAnswer")


class CallBarred(CallFailed):
    """Our own `CallPolicy` does not let the call out; nothing was sent. `status` is 403."""

    advice = _own("CallBarred")

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message, status=403, reason="Barred", advice=advice if advice is not None else type(self).advice)


class TransferRefused(CallFailed):
    """The other side does not let itself be transferred; the call goes on as before. `status` is its answer to the REFER."""

    advice = _own("TransferRefused")


class TransferTimeout(CallFailed, TimeoutError):
    """The order to transfer was accepted, but nothing final was told of it in time; the call goes on as before."""

    advice = _own("TransferTimeout")


class CallReplaced(CallFailed):
    """Another phone took the call over while it still rang (RFC 3891); `call` is the one to go on with."""

    advice = _own("CallReplaced")

    def __init__(self, call: Any) -> None:
        super().__init__("Another phone has picked the call up.", status=487, reason="Replaced", advice=self.advice)
        self.call = call


class RequestFailed(_StatusError):
    """A request outside of calls was refused."""


class MessageFailed(RequestFailed):
    """A text message was not delivered (RFC 3428)."""

    request = "MESSAGE"


class OptionsFailed(RequestFailed):
    """There was an answer to OPTIONS, but not of a phone that could be called: nobody of that name, or it knows no OPTIONS."""


class SubscriptionFailed(RequestFailed):
    """The other side does not tell its state: not to us, or not this one (RFC 6665)."""

    request = "SUBSCRIBE"


class PublicationFailed(RequestFailed):
    """The server does not take our presence (RFC 3903)."""


class CallEnded(FlexosipError):
    """The call ended while a verb was in progress. `end` tells who ended it and why."""

    advice = _own("CallEnded")

    def __init__(self, end: Any) -> None:
        super().__init__(f"The call has ended: {end}.")
        self.end = end


class NetworkError(FlexosipError, ConnectionError):
    """The network or the address lets nothing through."""

    advice = _own("NetworkError")


class ServerUnreachable(NetworkError, TimeoutError):
    """The server gave no answer at all."""

    advice = _own("ServerUnreachable")


class CertificateError(NetworkError):
    """The server's TLS certificate is not to be trusted."""

    advice = _own("CertificateError")


class MediaError(FlexosipError):
    """Sound could not be read, written or sent."""

    advice = _own("MediaError")


class CodecError(MediaError):
    """A codec is unknown, or its data are damaged."""


class MediaTimeout(MediaError, TimeoutError):
    """No sound arrived for too long."""

    advice = _own("MediaTimeout")


class InvalidState(FlexosipError):
    """The call or phone is not in a state in which this is possible."""

    advice = _own("InvalidState")


class ProtocolError(FlexosipError):
    """A rule of SIP, SDP or RTP was broken."""


class LocalProtocolError(ProtocolError):
    """We were asked for something that the RFC forbids."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule. `status_hint` is the SIP status that fits as an answer."""

    advice = _own("RemoteProtocolError")

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


def authentication_failure(what: str, status: int, reason: str = "", *, lacks: str | None = None) -> AuthenticationError:
    """The error for a challenge that stayed without a right answer.

    Args:
        what: the subject of the sentence, "The call".
        lacks: what there is none of, so that nothing could be answered: "account" or "password"; None: the answer was wrong.
    """
    if lacks is None:
        return AuthenticationError(f"{what} was refused: the credentials are wrong ({status}).", status=status, reason=reason)
    advice = status_advice(status, account=lacks != "account", credentials=False)
    wanted = "a user name and a password" if lacks == "account" else "a password"
    return AuthenticationError(
        f"{what} was refused: the other side wants {wanted} ({status}).", status=status, reason=reason, advice=str(advice)
    )


def call_failure(
    status: int, reason: str = "", headers: Any = None, *, server: str = "", target: str = "", lacks: str | None = None
) -> FlexosipError:
    """The error that fits the final status of a call we made (RFC 3261 §21).

    Args:
        server: the host that was asked. target: who was called. Both make the advice better.
        lacks: as for `authentication_failure`.
    """
    if status in (401, 407):
        return authentication_failure("The call", status, reason, lacks=lacks)
    kind = _CALL_FAILURES.get(status, CallFailed)
    advice = status_advice(status, request="INVITE", server=server, target=target, headers=headers)
    message = f"The call failed: {status} {reason}".rstrip() + "."
    return kind(message, status=status, reason=reason, headers=headers, advice=str(advice) if advice is not None else None)
