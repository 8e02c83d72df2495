"""INVITE usage: one call as signalling sees it, from the INVITE to the BYE.

What both directions share is here: re-INVITE, other requests within the call, and its end. `flexosip.sip.invite_client` has the
outgoing call, `flexosip.sip.invite_server` the incoming one. It knows no SDP: bodies are the handler's.

    CALLING -> PROCEEDING --2xx--> (ACCEPTED: incoming, waits for ACK) -> CONFIRMED -> ENDED
          \\        \\-----cancel----> CANCELLING -----------------------------------^
           `------------------------- refused, time-out ---------------------------'

RFC 3261 §13 to §15, RFC 5057, RFC 6141
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from flexosip.errors import LocalProtocolError
from flexosip.sip.message import Response
from flexosip.sip.reinvite import OutgoingReinvite, UnacknowledgedAnswer
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.dialog import Dialog
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import Headers, NameAddr
    from flexosip.sip.message import Request
    from flexosip.sip.outgoing_request import Result
    from flexosip.sip.server_transaction import InviteServerTransaction, ServerTransaction

__all__ = ["SDP", "InviteHandler", "InviteState", "InviteUsage", "UsageEnd"]

logger = logging.getLogger(__name__)

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


class InviteHandler(Protocol):
    """Who uses an `InviteUsage`. All calls are synchronous; what they raise is logged and hurts no other call."""

    def on_provisional(self, usage: InviteUsage, response: Response, dialog: Dialog | None) -> None:
        """Outgoing: a 1xx came, in an early dialog unless it is a 100."""

    def on_accepted(self, usage: InviteUsage, response: Response) -> bytes | None:
        """Outgoing: the 2xx came. Returns the body of the ACK: the answer when the 2xx brought the offer."""

    def on_rejected(self, usage: InviteUsage, status: int, reason: str, response: Response | None) -> None:
        """Outgoing: it ended unanswered. 487 also when we cancelled; without response 408 and 503 are our own findings."""

    def on_confirmed(self, usage: InviteUsage, ack: Request) -> None:
        """The ACK for our 2xx came, to the INVITE or to a re-INVITE; its body is the answer if the 2xx made the offer.
        A re-INVITE that overtakes the ACK stands for it."""

    def on_reinvite(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        """The other side changes the session; answer with `usage.answer_reinvite`, at once or later."""

    def on_request(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        """Another request within the call, INFO for example; `transaction.respond` answers it."""

    def on_ended(self, usage: InviteUsage, end: UsageEnd) -> None:
        """The call is over: once for each incoming call and each outgoing one that was accepted."""


class InviteUsage:
    """One call. Made by `UserAgentCore.invite`, or given to `UserAgentCore.on_invite`.

    Args:
        core: the user agent.
        request: the INVITE.
        flow: where it came from or goes; None until that is known.
    """

    __slots__ = (
        "_answers", "_bye_headers", "_core", "_reinvite", "_reinvite_transaction", "_waiting_reinvite", "auth", "dialog", "early_dialogs",
        "flow", "handler", "local_contact", "request", "state",
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
        self._answers: list[UnacknowledgedAnswer] = []
        self._reinvite: OutgoingReinvite | None = None
        self._waiting_reinvite: OutgoingReinvite | None = None
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

    def find_dialog(self, remote_tag: str) -> Dialog | None:
        """The dialog of this call with that remote tag."""
        dialog = self.dialog
        if dialog is not None and dialog.remote_tag == remote_tag:
            return dialog
        return self.early_dialogs.get(remote_tag)

    # -- one direction only -------------------------------------------------------------------------------------------

    def cancel(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Outgoing: give up before the answer."""
        raise LocalProtocolError("Only an outgoing call that is not answered can be cancelled.")

    def provisional(
        self,
        status: int,
        reason: str | None = None,
        body: bytes | None = None,
        *,
        content_type: str = SDP,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Incoming: send a 1xx."""
        raise LocalProtocolError("Only an incoming call that is not answered can be answered provisionally.")

    def accept(self, body: bytes | None, *, content_type: str = SDP, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Incoming: send the 2xx."""
        raise LocalProtocolError("Only an incoming call that is not answered can be accepted.")

    def reject(self, status: int, reason: str | None = None, *, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Incoming: send a 3xx to 6xx."""
        raise LocalProtocolError("Only an incoming call that is not answered can be rejected.")

    def hangup(self, headers: Iterable[tuple[str, str]] = (), *, status: int = 480) -> None:
        """End the call in whatever state it is.

        An unanswered outgoing call is cancelled, an unanswered incoming one refused with `status`, an answered one ended with BYE,
        which waits for the ACK when that is still missing. Harmless when ended.

        Raises:
            ValueError: a control character is in a header.
        """
        raise NotImplementedError

    # -- within the call ----------------------------------------------------------------------------------------------

    def request_within(
        self,
        method: str,
        body: bytes = b"",
        content_type: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        on_result: Callable[[Result], None] | None = None,
    ) -> None:
        """Send a request within the call (INFO, MESSAGE...).

        Args:
            on_result: called once with the final response or failure. 481, 408 and no answer at all end the call
                (RFC 3261 §12.2.1.2).

        Raises:
            LocalProtocolError: there is no dialog, or the request has a way of its own (INVITE, BYE, CANCEL, ACK).
        """
        if method in ("INVITE", "BYE", "CANCEL", "ACK"):
            raise LocalProtocolError(f"{method} is not sent this way.")
        dialog = self._require_dialog()
        contact = self.local_contact if method in ("UPDATE", "REFER", "SUBSCRIBE", "NOTIFY") else None
        request = dialog.create_request(method, contact=contact, headers=headers, body=body, content_type=content_type)

        def on_final(result: Result) -> None:
            if on_result is not None:
                self._tell(on_result, result)
            self._check_alive(result)

        self._send(request, on_final)

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

    def receive_request(self, request: Request, transaction: ServerTransaction) -> None:
        """A request within the call, in order."""
        method = request.method
        if method == "BYE":
            self._receive_bye(request, transaction)
        elif self.ended:
            transaction.respond(request.create_response(481))
        elif method == "INVITE":
            self._receive_reinvite(request, transaction)
        elif self.handler is not None:
            self._tell(self.handler.on_request, self, request, transaction)
        else:
            transaction.respond(request.create_response(500))

    def _receive_bye(self, request: Request, transaction: ServerTransaction) -> None:
        """RFC 3261 §15.1.2."""
        transaction.respond(request.create_response(200))
        # A BYE of ours that waited for the ACK is not needed any more.
        self._bye_headers = None
        self._stop_answers()
        self._stop_pending()
        self._drop_dialogs()
        self._finish(UsageEnd("remote", 200, "BYE", request.headers))

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

    def answer_unacknowledged(self, answer: UnacknowledgedAnswer) -> None:
        """No ACK for 64*T1: the call is ended with BYE (RFC 3261 §13.3.1.4, §14.2)."""
        if answer in self._answers:
            self._answers.remove(answer)
        if self.ended:
            if self._bye_headers is not None:
                self._send_bye()
            return
        self._bye_headers = ()
        self._finish(UsageEnd("timeout", 408, "No ACK"), keep_answers=False)
        self._send_bye()

    # -- the end ------------------------------------------------------------------------------------------------------

    def _hangup_answered(self, headers: Iterable[tuple[str, str]]) -> None:
        self._bye_headers = tuple(headers)
        # A bad header must be refused before anything has changed.
        for name, value in self._bye_headers:
            check_header(name, value)
        self._finish(UsageEnd("local", 200, "BYE"))
        if self._ready_for_bye():
            self._send_bye()

    def _ready_for_bye(self) -> bool:
        """False while an ACK is missing: not before it may the side that was called say BYE (RFC 3261 §15)."""
        return not self._answers

    def _send_bye(self) -> None:
        dialog = self.dialog
        assert dialog is not None
        headers = self._bye_headers or ()
        self._bye_headers = None
        bye = dialog.create_request("BYE", headers=headers)
        # Whatever the answer, the call is over; until it comes a BYE that crosses ours is still answered 200.
        self._send(bye, lambda result: self._drop_dialogs())

    def _send(self, request: Request, on_final: Callable[[Result], None]) -> None:
        dialog = self._require_dialog()
        trusted = self.flow.remote[0] if self.flow is not None else None
        self._core.send_in_dialog(dialog, request, auth=self.auth, on_final=on_final, flow=self.flow, trusted=trusted)

    def check_reinvite_result(self, result: Result) -> None:
        """End the call when a re-INVITE shows that the other side does not know it any more."""
        self._check_alive(result)

    def _check_alive(self, result: Result) -> None:
        """481, 408 and silence end the call (RFC 3261 §12.2.1.2); a network failure of one request does not."""
        if self.ended or result.status not in (408, 481):
            return
        failed = isinstance(result, TransactionFailure)
        self._bye_headers = ()
        self._finish(UsageEnd("timeout" if failed or result.status == 408 else "remote", result.status, result.reason))
        if self._ready_for_bye():
            self._send_bye()

    def _finish(self, end: UsageEnd, *, keep_answers: bool = True) -> None:
        """Tell the handler once, and stop what only made sense in a living call."""
        if self.ended:
            return
        self.state = InviteState.ENDED
        if not keep_answers or self._bye_headers is None:
            self._stop_answers()
        pending, self._reinvite_transaction = self._reinvite_transaction, None
        if pending is not None:
            pending.respond(pending.request.create_response(487))
        if self._reinvite is not None:
            self._reinvite.give_up()
        self._finished()
        if self.handler is not None:
            self._tell(self.handler.on_ended, self, end)

    def _finished(self) -> None:
        """What a direction has to clear at the end."""

    def _stop_pending(self) -> None:
        """What a direction has to answer when BYE came."""

    def drop(self) -> None:
        """Stop all timers; nobody is told, and nothing goes over the wire any more."""
        self.handler = None
        self.state = InviteState.ENDED
        self._stop_answers()
        reinvite, self._reinvite = self._reinvite, None
        if reinvite is not None:
            reinvite.drop()
        self._finished()

    def _stop_answers(self) -> None:
        for answer in self._answers:
            answer.stop()
        self._answers.clear()

    def _drop_dialogs(self) -> None:
        dialogs = self._core.dialogs
        for dialog in (self.dialog, *self.early_dialogs.values()):
            if dialog is not None and dialogs.get(dialog.id) is self:
                del dialogs[dialog.id]
        self.early_dialogs.clear()

    # -- shared -------------------------------------------------------------------------------------------------------

    def _require_dialog(self) -> Dialog:
        if self.dialog is None:
            raise LocalProtocolError("The call has no dialog yet.")
        return self.dialog

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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.value} {self.request.call_id[:12]}>"


def check_header(name: str, value: str) -> None:
    """Raise ValueError if a header cannot be sent."""
    from flexosip.sip.headers import Headers

    Headers(((name, value),))
