"""Changes of a call, both ways: the part of an INVITE usage that has to do with re-INVITE and with the ACKs that our 2xx wait for.

RFC 3261 §13.3.1.4, §14, RFC 6141
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flexosip.errors import LocalProtocolError
from flexosip.sip.invite_handler import SDP, InviteState, UsageEnd
from flexosip.sip.reinvite import OutgoingReinvite, UnacknowledgedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.dialog import Dialog
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import NameAddr
    from flexosip.sip.invite_handler import Companion, InviteHandler
    from flexosip.sip.message import Request, Response
    from flexosip.sip.outgoing_request import Result
    from flexosip.sip.server_transaction import InviteServerTransaction, ServerTransaction

__all__ = ["ChangingUsage"]

logger = logging.getLogger(__name__)


class ChangingUsage:
    """Base of `InviteUsage`: its state, and the changes of a confirmed call.

    Args:
        core: the user agent.
        request: the INVITE.
        flow: where it came from or goes; None until that is known.
    """

    __slots__ = (
        "_answers", "_bye_headers", "_core", "_reinvite", "_reinvite_transaction", "auth", "companion", "dialog", "early_dialogs", "flow",
        "handler", "local_contact", "request", "state",
    )  # fmt: skip

    direction = ""
    """"outgoing" or "incoming"."""

    def __init__(self, core: UserAgentCore, request: Request, flow: Flow | None) -> None:
        self._core = core
        self.request = request
        self.flow = flow
        self.handler: InviteHandler | None = None
        self.state = InviteState.CALLING
        self.dialog: Dialog | None = None
        """The dialog: of an incoming call from the start, of an outgoing one from the 2xx on."""
        self.early_dialogs: dict[str, Dialog] = {}
        """Outgoing: the forks that have answered provisionally, by remote tag."""
        self.auth: DigestClient | None = None
        """Credentials for requests within the call; only sent to the host that the INVITE went to or came from."""
        self.local_contact: NameAddr | None = None
        self.companion: Companion | None = None
        """Another usage of the dialog that may outlive the call (RFC 5057): the subscriptions of REFERs."""
        self._answers: list[UnacknowledgedAnswer] = []
        self._reinvite: OutgoingReinvite | None = None
        self._reinvite_transaction: InviteServerTransaction | None = None
        self._bye_headers: tuple[tuple[str, str], ...] | None = None

    @property
    def core(self) -> UserAgentCore:
        """The user agent."""
        return self._core

    @property
    def ended(self) -> bool:
        """True once the handler has been told of the end."""
        return self.state is InviteState.ENDED

    # -- what the whole usage does ------------------------------------------------------------------------------------

    def _finish(self, end: UsageEnd, *, keep_answers: bool = True) -> None:
        raise NotImplementedError

    def _ready_for_bye(self) -> bool:
        raise NotImplementedError

    def _send_bye(self) -> None:
        raise NotImplementedError

    def _drop_dialogs(self) -> None:
        raise NotImplementedError

    def check_reinvite_result(self, result: Result) -> None:
        """End the call when a re-INVITE shows that the other side does not know it any more."""
        raise NotImplementedError

    # -- changing it --------------------------------------------------------------------------------------------------

    def reinvite(
        self,
        body: bytes | Callable[[], bytes | None] | None,
        on_result: Callable[[Result], bytes | None],
        *,
        headers: Iterable[tuple[str, str]] = (),
        on_glare: Callable[[], None] | None = None,
    ) -> None:
        """Change the session (RFC 3261 §14.1).

        Args:
            body: the offer, or a function that makes it at each try; None lets the other side offer.
            on_result: called once with the final response or failure; what it returns is the body of the ACK (the answer, when
                the 2xx brought the offer). A failure other than 481 and 408 leaves the session as it was.
            on_glare: called when both sides collided (491): the offer is off; it is made again after a random wait.

        Raises:
            LocalProtocolError: the call is not confirmed, or a re-INVITE of ours is in progress.
        """
        if self.state is not InviteState.CONFIRMED:
            raise LocalProtocolError("Only a confirmed call can be changed by re-INVITE.")
        if self._reinvite is not None:
            raise LocalProtocolError("A re-INVITE is in progress already.")
        self._reinvite = OutgoingReinvite(self, body, on_result, tuple(headers), on_glare)
        self._reinvite.start()

    def answer_reinvite(
        self, transaction: ServerTransaction, status: int, body: bytes | None = None, *, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Answer the re-INVITE of `transaction`; harmless when it was cancelled or the call has ended."""
        if transaction is not self._reinvite_transaction or not transaction.is_pending:
            return
        request = transaction.request
        response = self._create_answer(request, status, None, body, SDP, headers)
        if status < 200:
            transaction.respond(response)
            return
        pending, self._reinvite_transaction = self._reinvite_transaction, None
        if status < 300 and self.dialog is not None:
            self.dialog.update_target(request)
            self._answers.append(UnacknowledgedAnswer(self, pending, request, response, offered=bool(body) and not request.body))
        else:
            transaction.respond(response)
        self.resume_reinvite()

    @property
    def may_reinvite(self) -> bool:
        """True if no INVITE transaction of either side is in progress (RFC 3261 §14.1)."""
        return self._reinvite_transaction is None and not self._answers

    def resume_reinvite(self) -> None:
        """Send the re-INVITE that waited for the other side's."""
        if self._reinvite is not None and self.may_reinvite and not self.ended:
            self._reinvite.resume()

    def reinvite_done(self) -> None:
        """Our re-INVITE has its final response."""
        self._reinvite = None

    # -- received -----------------------------------------------------------------------------------------------------

    def _receive_reinvite(self, request: Request, transaction: ServerTransaction) -> None:
        """RFC 3261 §14.2: one at a time, in each direction."""
        # Our 2xx to the initial INVITE made the offer and the answer is missing: a new offer now has no ground (RFC 5407 §3.1.4).
        unanswered_offer = any(answer.offered for answer in self._answers)
        unanswered = self.state in (InviteState.CALLING, InviteState.PROCEEDING, InviteState.CANCELLING)
        if self._reinvite_transaction is not None or (unanswered and self.direction == "incoming"):
            seconds = int(self._core.random.uniform(0, 10))
            transaction.respond(request.create_response(500, headers=(("Retry-After", str(seconds)),)))
        elif unanswered_offer or unanswered or (self._reinvite is not None and self._reinvite.in_progress):
            transaction.respond(request.create_response(491))
        elif self.handler is None:
            transaction.respond(request.create_response(488))
        else:
            self._begin_reinvite(request, transaction)

    def _begin_reinvite(self, request: Request, transaction: ServerTransaction) -> None:
        from flexosip.sip.server_transaction import InviteServerTransaction

        assert isinstance(transaction, InviteServerTransaction) and self.handler is not None
        # First of all, so that a re-INVITE of ours that waits for that ACK does not go out in between.
        self._reinvite_transaction = transaction
        for answer in list(self._answers):
            # Who asks for a change has seen our 2xx: its ACK is lost or late.
            self._acknowledged(answer, request)
        if self.ended:
            return
        transaction.on_cancel = self._reinvite_cancelled
        if not self._tell(self.handler.on_reinvite, self, request, transaction):
            self.answer_reinvite(transaction, 500)

    def _reinvite_cancelled(self, cancel: Request) -> None:
        transaction, self._reinvite_transaction = self._reinvite_transaction, None
        if transaction is not None:
            transaction.respond(transaction.request.create_response(487))
        self.resume_reinvite()

    def receive_ack(self, request: Request, flow: Flow) -> None:
        """An ACK for a 2xx of ours."""
        number = request.cseq.number
        for answer in self._answers:
            if answer.cseq == number:
                self._acknowledged(answer, request)
                return

    def _acknowledged(self, answer: UnacknowledgedAnswer, ack: Request) -> None:
        answer.stop()
        self._answers.remove(answer)
        if self.state is InviteState.ACCEPTED:
            self.state = InviteState.CONFIRMED
        if self.ended:
            if self._bye_headers is not None and self._ready_for_bye():
                self._send_bye()
        elif self.handler is not None:
            self._tell(self.handler.on_confirmed, self, ack)
        self.resume_reinvite()

    def _may_be_forged(self) -> bool:
        """Whether all that is known of the other side may come from a forged address, and names a third host as its Contact."""
        unproven, dialog, flow = self._core.unproven, self.dialog, self.flow
        if self.direction != "incoming" or unproven is None or dialog is None or flow is None:
            return False
        return unproven(flow) and dialog.next_hop.host != flow.remote[0]

    def answer_unacknowledged(self, answer: UnacknowledgedAnswer) -> None:
        """No ACK for 64*T1: the call is ended with BYE (RFC 3261 §13.3.1.4, §14.2)."""
        if answer in self._answers:
            self._answers.remove(answer)
        if self._may_be_forged():
            # The Contact names somebody who is perhaps to get our BYE again and again.
            self._finish(UsageEnd("timeout", 408, "No ACK"), keep_answers=False)
            self._drop_dialogs()
            return
        if self.ended:
            if self._bye_headers is not None:
                self._send_bye()
            return
        self._bye_headers = ()
        self._finish(UsageEnd("timeout", 408, "No ACK"), keep_answers=False)
        self._send_bye()

    def _stop_answers(self) -> None:
        for answer in self._answers:
            answer.stop()
        self._answers.clear()

    # -- shared -------------------------------------------------------------------------------------------------------

    def _create_answer(
        self,
        request: Request,
        status: int,
        reason: str | None,
        body: bytes | None,
        content_type: str,
        headers: Iterable[tuple[str, str]],
    ) -> Response:
        tag = self.dialog.local_tag if self.dialog is not None else None
        response = request.create_response(status, reason, to_tag=tag, body=body or b"", content_type=content_type if body else None)
        fields = response.headers
        if 100 < status < 300:
            if self.local_contact is not None:
                fields.add("Contact", str(self.local_contact))
            for name, value in self._core.capability_headers():
                fields.add(name, value)
        for name, value in headers:
            fields.add(name, value)
        return response

    def _tell(self, callback: Callable[..., Any], *arguments: Any) -> bool:
        """Call the user; its faults are logged and stay its own. True if it did not raise."""
        try:
            callback(*arguments)
        except Exception:
            logger.exception("a handler of a call failed")
            return False
        return True
