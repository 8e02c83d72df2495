"""INVITE usage: one call as signalling sees it, from the INVITE to the BYE.

What both directions share is here: requests within the call, and its end; `flexosip.sip.invite_changes` has its changes.
`flexosip.sip.invite_client` has the outgoing call, `flexosip.sip.invite_server` the incoming one. It knows no SDP: bodies are the
handler's.

    CALLING -> PROCEEDING --2xx--> (ACCEPTED: incoming, waits for ACK) -> CONFIRMED -> ENDED
          \\        \\-----cancel----> CANCELLING -----------------------------------^
           `------------------------- refused, time-out ---------------------------'

RFC 3261 §13 to §15, RFC 5057, RFC 6141
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flexosip.errors import LocalProtocolError
from flexosip.sip.invite_changes import ChangingUsage
from flexosip.sip.invite_handler import SDP, InviteHandler, InviteState, UsageEnd, check_header
from flexosip.sip.reliable import RAck, ReliableReceipts, reliable_sequence
from flexosip.sip.session_timer import SessionTimer
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.dialog import Dialog
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request, Response
    from flexosip.sip.outgoing_request import OutgoingRequest, Result
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["SDP", "InviteHandler", "InviteState", "InviteUsage", "UsageEnd"]

logger = logging.getLogger(__name__)


class InviteUsage(ChangingUsage):
    """One call. Made by `UserAgentCore.invite`, or given to `UserAgentCore.on_invite`.

    Args:
        core: the user agent.
        request: the INVITE.
        flow: where it came from or goes; None until that is known.
    """

    __slots__ = ("_receipts",)

    def __init__(self, core: UserAgentCore, request: Request, flow: Flow | None) -> None:
        super().__init__(core, request, flow)
        self._receipts = ReliableReceipts()
        if core.session_timer is not None:
            self.session_timer = SessionTimer(self, core.session_timer)

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
            LocalProtocolError: there is no dialog, or the request has a way of its own (INVITE, UPDATE, BYE, CANCEL, ACK, PRACK).
        """
        if method in ("INVITE", "BYE", "CANCEL", "ACK", "UPDATE", "PRACK"):
            raise LocalProtocolError(f"{method} is not sent this way.")
        dialog = self._require_dialog()
        contact = self.local_contact if method in ("REFER", "SUBSCRIBE", "NOTIFY") else None
        request = dialog.create_request(method, contact=contact, headers=headers, body=body, content_type=content_type)

        def on_final(result: Result) -> None:
            if on_result is not None:
                self._tell(on_result, result)
            self.check_alive(result)

        self._send(request, on_final)

    # -- received -----------------------------------------------------------------------------------------------------

    def receive_request(self, request: Request, transaction: ServerTransaction) -> None:
        """A request within the call, in order."""
        method = request.method
        if method == "BYE":
            self._receive_bye(request, transaction)
        elif self.ended:
            companion = self.companion
            if companion is not None and companion.active:
                companion.receive_request(request, transaction)
            else:
                transaction.respond(request.create_response(481))
        elif method == "INVITE":
            self._receive_reinvite(request, transaction)
        elif method == "UPDATE":
            self._receive_update(request, transaction)
        elif method == "PRACK":
            self._receive_prack(request, transaction)
        elif self.handler is not None:
            self._tell(self.handler.on_request, self, request, transaction)
        else:
            transaction.respond(request.create_response(500))

    def _receive_prack(self, request: Request, transaction: ServerTransaction) -> None:
        """There is no reliable 1xx of ours that this could acknowledge (RFC 3262 §3)."""
        transaction.respond(request.create_response(481))

    def _receive_bye(self, request: Request, transaction: ServerTransaction) -> None:
        """RFC 3261 §15.1.2."""
        transaction.respond(request.create_response(200))
        # A BYE of ours that waited for the ACK is not needed any more.
        self._bye_headers = None
        self._stop_answers()
        self._stop_pending()
        self._drop_dialogs()
        self._finish(UsageEnd("remote", 200, "BYE", request.headers))

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

    def _send(self, request: Request, on_final: Callable[[Result], None], dialog: Dialog | None = None) -> None:
        dialog = dialog or self._require_dialog()
        trusted = self.flow.remote[0] if self.flow is not None else None
        outgoing: OutgoingRequest | None = None

        def answered(result: Result) -> None:
            if outgoing is not None and outgoing.moved and not isinstance(result, TransactionFailure):
                # Another server of the next hop works for the one that failed: what follows goes there at once.
                self.flow = outgoing.flow
            on_final(result)

        outgoing = self._core.send_in_dialog(dialog, request, auth=self.auth, on_final=answered, flow=self.flow, trusted=trusted)

    def acknowledge_provisional(self, dialog: Dialog, response: Response, rseq: int, body: bytes | None) -> None:
        """Send the PRACK for a reliable 1xx (RFC 3262 §4); it is repeated by its own transaction."""
        cseq = response.cseq
        rack = RAck(rseq, cseq.number, cseq.method)
        prack = dialog.create_request("PRACK", headers=(("RAck", str(rack)),), body=body or b"", content_type=SDP)

        def on_final(result: Result) -> None:
            if not 200 <= result.status < 300:
                # The INVITE is still what decides about the call (RFC 5057 §5.1).
                logger.info("a PRACK was not accepted: %d %s", result.status, result.reason)

        self._send(prack, on_final, dialog)

    def refresh_by_reinvite(self) -> None:
        """Have the handler send the present session again."""
        if self.handler is not None:
            self._tell(self.handler.on_refresh, self)

    def reinvite_provisional(self, dialog: Dialog, response: Response) -> bool:
        """Acknowledge a reliable 1xx to a re-INVITE of ours."""
        rseq = reliable_sequence(response)
        if rseq is None or not self._receipts.take(response, rseq):
            return False
        self.acknowledge_provisional(dialog, response, rseq, None)
        return True

    def check_alive(self, result: Result) -> None:
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
        for change in (self._reinvite, self._update):
            if change is not None:
                change.give_up()
        if self.session_timer is not None:
            self.session_timer.stop()
        self._finished()
        if self.companion is not None:
            self.companion.call_ended()
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
        for change in (self._reinvite, self._update):
            if change is not None:
                change.drop()
        self._reinvite = self._update = None
        if self.session_timer is not None:
            self.session_timer.stop()
        if self.companion is not None:
            self.companion.drop()
        self._finished()

    def _drop_dialogs(self) -> None:
        dialogs = self._core.dialogs
        for dialog in (self.dialog, *self.early_dialogs.values()):
            if dialog is not None and dialogs.get(dialog.id) is self:
                del dialogs[dialog.id]
        self.early_dialogs.clear()
        if self.companion is not None and self.companion.active and self.dialog is not None:
            dialogs[self.dialog.id] = self.companion

    # -- shared -------------------------------------------------------------------------------------------------------

    def _require_dialog(self) -> Dialog:
        if self.dialog is None:
            raise LocalProtocolError("The call has no dialog yet.")
        return self.dialog

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.value} {self.request.call_id[:12]}>"
