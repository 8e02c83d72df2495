"""Changes of a call, both ways: the part of an INVITE usage that has to do with re-INVITE, UPDATE, session timers, and the ACKs that
our 2xx wait for.

RFC 3261 §13.3.1.4, §14, RFC 3311, RFC 4028, RFC 6141
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flexosip.errors import LocalProtocolError
from flexosip.sip.invite_handler import SDP, InviteState, UsageEnd
from flexosip.sip.reinvite import OutgoingReinvite, OutgoingUpdate, UnacknowledgedAnswer
from flexosip.sip.session_timer import too_small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.dialog import Dialog
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import NameAddr
    from flexosip.sip.invite_handler import Companion, InviteHandler
    from flexosip.sip.message import Message, Request, Response
    from flexosip.sip.outgoing_request import Result
    from flexosip.sip.server_transaction import InviteServerTransaction, ServerTransaction
    from flexosip.sip.session_timer import SessionTimer

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
        "_answers", "_bye_headers", "_core", "_peer_allow", "_reinvite", "_reinvite_transaction", "_update", "_update_transaction", "auth",
        "companion", "dialog", "early_dialogs", "flow", "handler", "local_contact", "request", "session_timer", "state",
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
        self._update: OutgoingUpdate | None = None
        self._update_transaction: ServerTransaction | None = None
        self._bye_headers: tuple[tuple[str, str], ...] | None = None
        self._peer_allow: list[str] = []
        self.session_timer: SessionTimer | None = None
        """RFC 4028; None where the user agent takes no part in it."""

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

    def check_alive(self, result: Result) -> None:
        """End the call when the answer to a request shows that the other side does not know it any more."""
        raise NotImplementedError

    def _hangup_answered(self, headers: Iterable[tuple[str, str]]) -> None:
        raise NotImplementedError

    def find_dialog(self, remote_tag: str) -> Dialog | None:
        """The dialog of this call with that remote tag."""
        raise NotImplementedError

    def reinvite_provisional(self, dialog: Dialog, response: Response) -> bool:
        """A 1xx to a re-INVITE of ours came; True if it was reliable and new."""
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
        assert self.dialog is not None
        self._reinvite = OutgoingReinvite(self, self.dialog, body, on_result, tuple(headers), on_glare)
        self._reinvite.start()

    def update(
        self,
        body: bytes | Callable[[], bytes | None] | None,
        on_result: Callable[[Result], None],
        *,
        headers: Iterable[tuple[str, str]] = (),
        on_glare: Callable[[], None] | None = None,
        remote_tag: str | None = None,
    ) -> None:
        """Change the session by UPDATE, also before the answer; without a body it only refreshes target and timer (RFC 3311 §5.1).

        Args:
            body: the offer, or a function that makes it at each try, or None.
            on_result: called once with the final response or failure; the body of a 2xx is the answer. 481 and 408 end a confirmed
                call, any other failure leaves the session as it was.
            on_glare: called when both sides collided (491): the offer is off; it is made again after a random wait.
            remote_tag: outgoing, before the answer: the fork that it is for.

        Raises:
            LocalProtocolError: there is no such dialog, or an UPDATE of ours is in progress.
        """
        dialog = self.dialog if remote_tag is None else self.find_dialog(remote_tag)
        if dialog is None or self.ended:
            raise LocalProtocolError("There is no dialog that an UPDATE could be sent in.")
        if self._update is not None:
            raise LocalProtocolError("An UPDATE is in progress already.")
        self._update = OutgoingUpdate(self, dialog, body, _without_body(on_result), tuple(headers), on_glare)
        self._update.start()

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
            self._accept_timer(request, response)
            self._answers.append(UnacknowledgedAnswer(self, pending, request, response, offered=bool(body) and not request.body))
        else:
            transaction.respond(response)
        self.resume_reinvite()

    def answer_update(
        self, transaction: ServerTransaction, status: int, body: bytes | None = None, *, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Answer the UPDATE of `transaction`; harmless when it has been answered."""
        if not transaction.is_pending:
            return
        request = transaction.request
        response = self._create_answer(request, status, None, body, SDP, headers)
        if status < 300:
            dialog = self.find_dialog(request.from_.tag or "")
            if dialog is not None:
                dialog.update_target(request)
                if not dialog.early:
                    self._accept_timer(request, response)
        self._update_transaction = None
        transaction.respond(response)

    @property
    def may_reinvite(self) -> bool:
        """True if no INVITE transaction of either side is in progress (RFC 3261 §14.1), and no offer in an UPDATE of ours."""
        return self._reinvite_transaction is None and not self._answers and (self._update is None or not self._update.in_progress)

    @property
    def may_offer_update(self) -> bool:
        """True if no offer of either side is on its way that an UPDATE with one would collide with (RFC 3311 §5.1)."""
        offered = any(answer.offered for answer in self._answers)
        return self._reinvite_transaction is None and not offered and (self._reinvite is None or not self._reinvite.in_progress)

    @property
    def may_refresh(self) -> bool:
        """True if nothing else is being changed."""
        return self.state is InviteState.CONFIRMED and self._reinvite is None and self._update is None and self.may_reinvite

    def peer_allows(self, method: str) -> bool:
        """True if the other side's latest Allow names `method`."""
        return any(method == known.strip().upper() for line in self._peer_allow for known in line.split(","))

    def peer_refuses(self, method: str) -> bool:
        """True if the other side has told what it allows, and `method` is not among that."""
        return bool(self._peer_allow) and not self.peer_allows(method)

    def note_peer(self, message: Message) -> None:
        """Keep what the other side says it can do."""
        allow = message.headers.get_lines("Allow")
        if allow:
            self._peer_allow = list(allow)

    def resume_reinvite(self) -> None:
        """Send the change that waited for the other side's."""
        for change in (self._reinvite, self._update):
            if change is not None and not self.ended:
                change.resume()

    def reinvite_done(self) -> None:
        """Our re-INVITE has its final response."""
        self._reinvite = None

    def update_done(self) -> None:
        """Our UPDATE has its final response."""
        self._update = None
        self.resume_reinvite()

    def change_accepted(self, dialog: Dialog, response: Response) -> None:
        """A 2xx to a re-INVITE or UPDATE of ours: it has refreshed the session."""
        self.note_peer(response)
        if self.session_timer is not None and not dialog.early and not self.ended:
            self.session_timer.answered(response)

    def change_refused(self, dialog: Dialog, result: Result, *, by_update: bool) -> None:
        """A re-INVITE or UPDATE of ours failed: 481, 408 and silence end a confirmed call (RFC 3261 §12.2.1.2)."""
        if dialog.early or dialog is not self.dialog:
            return
        self.check_alive(result)
        if self.session_timer is not None and not self.ended:
            self.session_timer.failed(result, by_update=by_update)

    # -- session timer ------------------------------------------------------------------------------------------------

    def timer_headers(self, dialog: Dialog) -> list[tuple[str, str]]:
        """What the session timer writes into a change of ours."""
        return self.session_timer.change_headers() if self.session_timer is not None and not dialog.early else []

    def _accept_timer(self, request: Request, response: Response) -> None:
        if self.session_timer is not None:
            for name, value in self.session_timer.accept(request):
                response.headers.add(name, value)

    def _refuse_timer(self, request: Request, transaction: ServerTransaction) -> bool:
        """422 for an interval that is too small (RFC 4028 §9)."""
        if self.session_timer is None or not too_small(request, self.session_timer.min_se):
            return False
        transaction.respond(request.create_response(422, headers=(("Min-SE", str(self.session_timer.min_se)),)))
        return True

    def refresh_by_reinvite(self) -> None:
        """Have the handler send the present session again."""
        raise NotImplementedError

    def session_expired(self) -> None:
        """Nobody has refreshed the session: it is over (RFC 4028 §10)."""
        if self.ended:
            return
        self._bye_headers = (("Reason", 'SIP;cause=408;text="Session timer expired"'),)
        self._finish(UsageEnd("timeout", 408, "Session timer expired"))
        if self._ready_for_bye():
            self._send_bye()

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
            if not self._refuse_timer(request, transaction):
                self.note_peer(request)
                self._begin_reinvite(request, transaction)

    def _receive_update(self, request: Request, transaction: ServerTransaction) -> None:
        """RFC 3311 §5.2; whether offers collide is known where the offers are, by the handler."""
        earlier = self._update_transaction
        if earlier is not None and earlier.is_pending:
            seconds = int(self._core.random.uniform(0, 10))
            transaction.respond(request.create_response(500, headers=(("Retry-After", str(seconds)),)))
        elif self.handler is None:
            transaction.respond(request.create_response(500))
        elif not self._refuse_timer(request, transaction):
            self.note_peer(request)
            self._update_transaction = transaction
            if not self._tell(self.handler.on_request, self, request, transaction):
                self.answer_update(transaction, 500)

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


def _without_body(on_result: Callable[[Result], None]) -> Callable[[Result], bytes | None]:
    """UPDATE has no ACK that could carry anything."""

    def report(result: Result) -> bytes | None:
        on_result(result)
        return None

    return report
