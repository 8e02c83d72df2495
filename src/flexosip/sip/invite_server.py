"""The incoming call: provisional answers, the 2xx until its ACK, refusing, and the caller's CANCEL.

RFC 3261 §9.2, §13.3
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flexosip.errors import LocalProtocolError
from flexosip.sip.dialog import Dialog
from flexosip.sip.invite import SDP, InviteState, InviteUsage, UsageEnd
from flexosip.sip.reinvite import UnacknowledgedAnswer
from flexosip.sip.reliable import OPTION_TAG, RAck, ReliableProvisionals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flexosip.sansio import Timer
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request, Response
    from flexosip.sip.server_transaction import InviteServerTransaction, ServerTransaction
    from flexosip.sip.transaction import TransactionFailure

__all__ = ["IncomingInvite"]

logger = logging.getLogger(__name__)


class IncomingInvite(InviteUsage):
    """A call that came in. Made by `UserAgentCore`.

    Args:
        core: the user agent.
        request: the INVITE.
        transaction: answers it.
    """

    __slots__ = ("_expiry", "_held", "_provisionals", "transaction")

    direction = "incoming"
    flow: Flow

    def __init__(self, core: UserAgentCore, request: Request, transaction: InviteServerTransaction) -> None:
        super().__init__(core, request, transaction.flow)
        self.transaction: InviteServerTransaction | None = transaction
        """The INVITE transaction; None once it has a final response."""
        self.local_contact = core.contact_value(transaction.flow, request)
        self.dialog = dialog = Dialog.from_request(request, transaction.to_tag)
        self.note_peer(request)
        self._held: Response | None = None
        self._provisionals: ReliableProvisionals | None = None
        self._expiry: Timer | None = None
        if _wants_reliable(core.reliable_provisional, request):
            self._provisionals = ReliableProvisionals(core, transaction, self._unacknowledged)
        expires = request.expires
        # Whatever of the INVITE cannot be read has been found by now: it leaves nothing behind.
        core.dialogs[dialog.id] = self
        transaction.on_cancel = self._cancelled
        transaction.on_failure = self._failed
        if expires:
            # §13.3.1 item 1: the invitation itself may be limited in time.
            self._expiry = core.scheduler.call_later(float(expires), self._expired)

    @property
    def reliable(self) -> bool:
        """True if the 1xx of this call are acknowledged by PRACK (RFC 3262)."""
        return self._provisionals is not None

    @property
    def description_unacknowledged(self) -> bool:
        """True while a session description in a reliable 1xx has no PRACK: neither a 2xx nor an offer of ours may follow it yet."""
        return self._provisionals is not None and self._provisionals.must_wait

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
        response = self._create_answer(self.request, status, reason, body, content_type, headers)
        if self._provisionals is not None and status > 100:
            self._provisionals.send(response, described=bool(body))
        else:
            transaction.respond(response)
        self.state = InviteState.PROCEEDING
        if status > 100:
            self._core.ringing(self)

    def repeat_provisional(self) -> None:
        """Send the last 1xx again, so that no proxy takes us for dead."""
        if self.transaction is not None:
            self.transaction.repeat()

    def accept(self, body: bytes | None, *, content_type: str = SDP, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the 200; it is repeated until the ACK comes (RFC 3261 §13.3.1.4).

        It is held back until the PRACK when a reliable 1xx with a session description is not acknowledged yet (RFC 3262 §3).

        Raises:
            LocalProtocolError: the call was answered or has ended.
        """
        self._require_unanswered()
        response = self._create_answer(self.request, 200, None, body, content_type, headers)
        if self._provisionals is not None and self._provisionals.must_wait:
            self._held = response
        else:
            self._send_accept(response)

    def _send_accept(self, response: Response) -> None:
        transaction = self._require_unanswered()
        self._accept_timer(self.request, response)
        offered = bool(response.body) and not self.request.body
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

    # -- reliable provisional answers ---------------------------------------------------------------------------------

    def _receive_prack(self, request: Request, transaction: ServerTransaction) -> None:
        """RFC 3262 §3: 200 for what it acknowledges, 481 for anything else; then what waited for it."""
        provisionals = self._provisionals
        if provisionals is None or not provisionals.acknowledge(RAck.of(request)):
            transaction.respond(request.create_response(481))
            return
        status, body = 200, None
        if self.handler is not None:
            try:
                status, body = self.handler.on_prack(self, request)
            except Exception:
                logger.exception("a handler of a call failed")
                status = 500
        transaction.respond(request.create_response(status, body=body or b"", content_type=SDP if body else None))
        if self.transaction is None or self.ended:
            return
        provisionals.send_next()
        if self._held is not None and not provisionals.must_wait:
            held, self._held = self._held, None
            self._send_accept(held)

    def _unacknowledged(self) -> None:
        """RFC 3262 §3: no PRACK for 64*T1, so nobody hears us; the INVITE is refused."""
        if self.transaction is not None:
            self._refuse(UsageEnd("timeout", 504, "No PRACK"), None)

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
        self._held = None
        if self._provisionals is not None:
            self._provisionals.stop()
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

    def _finished(self) -> None:
        if self._provisionals is not None:
            self._provisionals.stop()
        if self._expiry is not None:
            self._expiry.cancel()

    def _failed(self, failure: TransactionFailure) -> None:
        """The connection was lost."""
        if self.transaction is not None:
            self._answered()
            self._drop_dialogs()
            self._finish(UsageEnd("error", failure.status, failure.reason))


def _wants_reliable(policy: str, request: Request) -> bool:
    """Whether our 1xx to `request` are reliable: always when the caller requires it, else as our policy says (RFC 3262 §3)."""
    headers = request.headers
    if "Require" in headers and OPTION_TAG in request.require:
        return True
    return policy != "off" and OPTION_TAG in request.supported
