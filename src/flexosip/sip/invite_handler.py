"""What a call tells its user: the states of an INVITE usage, its end, and the callbacks.

RFC 3261 §13 to §15
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from flexosip.sip.headers import Headers

if TYPE_CHECKING:
    from flexosip.sip.dialog import Dialog
    from flexosip.sip.flow import Flow
    from flexosip.sip.invite import InviteUsage
    from flexosip.sip.message import Request, Response
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["SDP", "Companion", "InviteHandler", "InviteState", "UsageEnd", "check_header"]

SDP = "application/sdp"


class InviteState(enum.Enum):
    """Where the call stands."""

    CALLING = "calling"
    """Outgoing: no response yet. Incoming: none sent yet."""
    PROCEEDING = "proceeding"
    """A provisional response came or was sent."""
    CANCELLING = "cancelling"
    """Outgoing: given up, the final response is awaited."""
    ACCEPTED = "accepted"
    """Incoming: 2xx sent, the ACK is awaited."""
    CONFIRMED = "confirmed"
    ENDED = "ended"
    """The handler has been told; BYE or CANCEL may still be on their way."""


@dataclass(frozen=True, slots=True)
class UsageEnd:
    """How a call ended."""

    by: str
    """`remote`, `local`, `timeout` (no ACK, no answer to a request) or `error` (transport)."""
    status: int
    """200 for BYE, 487 for CANCEL, our own final status of a refused call, 408, 481 or 503 for what went wrong."""
    reason: str
    headers: Headers | None = None
    """Of the BYE or CANCEL received, with its Reason."""


class Companion(Protocol):
    """Another usage of a call's dialog, which takes the dialog over when it is still needed after the call (RFC 5057)."""

    @property
    def active(self) -> bool:
        """True while the dialog is needed."""

    def receive_request(self, request: Request, transaction: ServerTransaction) -> None:
        """A request in the dialog, after the call."""

    def receive_ack(self, request: Request, flow: Flow) -> None:
        """An ACK, after the call."""

    def find_dialog(self, remote_tag: str) -> Dialog | None:
        """The dialog with that remote tag."""

    def call_ended(self) -> None:
        """The call is over."""

    def drop(self) -> None:
        """Stop all timers; nobody is told."""


class InviteHandler(Protocol):
    """Who uses an `InviteUsage`. All calls are synchronous; what they raise is logged and hurts no other call."""

    def on_provisional(self, usage: InviteUsage, response: Response, dialog: Dialog | None) -> bytes | None:
        """Outgoing: a 1xx came, in an early dialog unless it is a 100. Returns the body of the PRACK, if there will be one: the answer
        when a reliable 1xx brought the offer (RFC 3262 §5)."""

    def on_accepted(self, usage: InviteUsage, response: Response) -> bytes | None:
        """Outgoing: the 2xx came. Returns the body of the ACK: the answer when the 2xx brought the offer."""

    def on_rejected(self, usage: InviteUsage, status: int, reason: str, response: Response | None) -> None:
        """Outgoing: it ended unanswered. 487 also when we cancelled; without response 408 and 503 are our own findings."""

    def on_confirmed(self, usage: InviteUsage, ack: Request) -> None:
        """The ACK for our 2xx came, to the INVITE or to a re-INVITE; its body is the answer if the 2xx made the offer.
        A re-INVITE that overtakes the ACK stands for it."""

    def on_reinvite(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        """The other side changes the session; answer with `usage.answer_reinvite`, at once or later."""

    def on_prack(self, usage: InviteUsage, prack: Request) -> tuple[int, bytes | None]:
        """Incoming: a reliable 1xx of ours was acknowledged; the body may be the answer to its offer, or a new offer.
        Returns status and body of the answer to the PRACK."""

    def on_refresh(self, usage: InviteUsage) -> None:
        """The session timer wants a re-INVITE with the session as it is (RFC 4028 §7.4)."""

    def on_request(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        """Another request within the call, INFO for example; `transaction.respond` answers it."""

    def on_ended(self, usage: InviteUsage, end: UsageEnd) -> None:
        """The call is over: once for each incoming call and each outgoing one that was accepted."""


def check_header(name: str, value: str) -> None:
    """Raise ValueError if a header cannot be sent."""
    Headers(((name, value),))
