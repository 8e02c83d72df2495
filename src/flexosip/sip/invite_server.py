"""The incoming call: provisional answers, the 2xx until its ACK, refusing, and the caller's CANCEL.

RFC 3261 §9.2, §13.3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexosip.errors import LocalProtocolError
from flexosip.sip.dialog import Dialog
from flexosip.sip.invite import SDP, InviteState, InviteUsage, UsageEnd
from flexosip.sip.reinvite import UnacknowledgedAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flexosip.sansio import Timer
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request
    from flexosip.sip.server_transaction import InviteServerTransaction
    from flexosip.sip.transaction import TransactionFailure

__all__ = ["IncomingInvite"]


class IncomingInvite(InviteUsage):
    """A call that came in. Made by `UserAgentCore`.

    Args:
        core: the user agent.
        request: the INVITE.
        transaction: answers it.
    """

    __slots__ = ("_expiry", "transaction")

    direction = "incoming"
    flow: Flow

    def __init__(self, core: UserAgentCore, request: Request, transaction: InviteServerTransaction) -> None:
        super().__init__(core, request, transaction.flow)
        self.transaction: InviteServerTransaction | None = transaction
        """The INVITE transaction; None once it has a final response."""
        self.local_contact = core.contact_value(transaction.flow, request)
        self.dialog = dialog = Dialog.from_request(request, transaction.to_tag)
        core.dialogs[dialog.id] = self
        transaction.on_cancel = self._cancelled
        transaction.on_failure = self._failed
        self._expiry: Timer | None = None
        expires = request.expires
        if expires:
            # §13.3.1 item 1: the invitation itself may be limited in time.
            self._expiry = core.scheduler.call_later(float(expires), self._expired)

    # -- answers ------------------------------------------------------------------------------------------------------

    def provisional(
        self,
        status: int,
        reason: str | None = None,
        body: bytes | None = None,
        *,
        content_type: str = SDP,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Send a 1xx; its last one is repeated about every minute until the final answer (RFC 3261 §13.3.1.1).

        Raises:
            LocalProtocolError: the call was answered or has ended.
        """
        if not 100 <= status < 200:
            raise ValueError("A provisional response has a status from 100 to 199.")
        transaction = self._require_unanswered()
        transaction.respond(self._create_answer(self.request, status, reason, body, content_type, headers))
        self.state = InviteState.PROCEEDING
        if status > 100:
            self._core.ringing(self)

    def repeat_provisional(self) -> None:
        """Send the last 1xx again, so that no proxy takes us for dead."""
        if self.transaction is not None:
            self.transaction.repeat()

    def accept(self, body: bytes | None, *, content_type: str = SDP, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the 200; it is repeated until the ACK comes (RFC 3261 §13.3.1.4).

        Raises:
            LocalProtocolError: the call was answered or has ended.
        """
        transaction = self._require_unanswered()
        response = self._create_answer(self.request, 200, None, body, content_type, headers)
        offered = bool(body) and not self.request.body
        answer = UnacknowledgedAnswer(self, transaction, self.request, response, offered=offered)
        self._answered()
        self.state = InviteState.ACCEPTED
        assert self.dialog is not None
        self.dialog.early = False
        self._answers.append(answer)

    def reject(self, status: int, reason: str | None = None, *, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send a 3xx to 6xx; `on_ended` follows at once.

        Raises:
            LocalProtocolError: the call was answered or has ended.
        """
        if not 300 <= status <= 699:
            raise ValueError("A call is refused with a status from 300 to 699.")
        self._require_unanswered()
        self._refuse(UsageEnd("local", status, reason or ""), reason, headers)

    def hangup(self, headers: Iterable[tuple[str, str]] = (), *, status: int = 480) -> None:
        """End the call: a refusal with `status` before the answer, BYE after it, but not before the ACK."""
        if self.ended:
            return
        if self.transaction is not None:
            self._refuse(UsageEnd("local", status, ""), None, headers)
        else:
            self._hangup_answered(headers)

    def _require_unanswered(self) -> InviteServerTransaction:
        if self.transaction is None or self.ended:
            raise LocalProtocolError("The call was answered or has ended.")
        return self.transaction

    def _refuse(self, end: UsageEnd, reason: str | None, headers: Iterable[tuple[str, str]] = ()) -> None:
        transaction = self._require_unanswered()
        response = self._create_answer(self.request, end.status, reason, None, SDP, headers)
        transaction.respond(response)
        transaction.on_failure = None
        self._answered()
        self._drop_dialogs()
        if not end.reason:
            end = UsageEnd(end.by, end.status, response.reason, end.headers)
        self._finish(end)

    def _answered(self) -> None:
        """The transaction gets its final response now."""
        transaction, self.transaction = self.transaction, None
        self._core.stopped_ringing(self)
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if transaction is not None:
            transaction.on_cancel = None

    # -- what else ends it --------------------------------------------------------------------------------------------

    def _cancelled(self, cancel: Request) -> None:
        """RFC 3261 §9.2: 487, and the CANCEL's Reason tells whether somebody else answered (RFC 3326)."""
        if self.transaction is not None:
            self._refuse(UsageEnd("remote", 487, "Request Terminated", cancel.headers), None)

    def _expired(self) -> None:
        if self.transaction is not None:
            self._refuse(UsageEnd("timeout", 487, "Request Terminated"), None)

    def _stop_pending(self) -> None:
        """BYE before the answer: the INVITE gets 487 (RFC 3261 §15.1.2)."""
        transaction = self.transaction
        if transaction is not None:
            self._answered()
            transaction.respond(self._create_answer(self.request, 487, None, None, SDP, ()))

    def _failed(self, failure: TransactionFailure) -> None:
        """The connection was lost."""
        if self.transaction is not None:
            self._answered()
            self._drop_dialogs()
            self._finish(UsageEnd("error", failure.status, failure.reason))
