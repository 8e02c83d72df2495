"""The outgoing call: INVITE with forks, cancelling with its races, and the ACKs for every 2xx.

RFC 3261 §9.1, §13.2
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flexosip.errors import LocalProtocolError, RemoteProtocolError
from flexosip.sip.dialog import Dialog
from flexosip.sip.invite import SDP, InviteState, InviteUsage
from flexosip.sip.invite_handler import check_header
from flexosip.sip.message import Response
from flexosip.sip.outgoing_request import OutgoingRequest
from flexosip.sip.reliable import reliable_sequence
from flexosip.sip.transaction import TransactionState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flexosip.sansio import Timer
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.client_transaction import InviteClientTransaction
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import NameAddr
    from flexosip.sip.invite import InviteHandler
    from flexosip.sip.message import Request
    from flexosip.sip.outgoing_request import Result
    from flexosip.sip.server_transaction import ServerTransaction
    from flexosip.sip.uri import SipUri

__all__ = ["OutgoingInvite"]

logger = logging.getLogger(__name__)

_MOST_FORKS = 64
"""Early dialogs of one call at a time; more tags than that are no phones but somebody who wants our memory."""


class OutgoingInvite(InviteUsage):
    """A call that we make. Arguments as in `UserAgentCore.invite`."""

    __slots__ = ("_ack_sent", "_body", "_cancel_headers", "_cancel_timer", "_contact", "_next_hop", "_outgoing", "error")

    direction = "outgoing"

    def __init__(
        self,
        core: UserAgentCore,
        request: Request,
        next_hop: SipUri,
        *,
        auth: DigestClient | None,
        handler: InviteHandler,
        contact: Callable[[Flow], NameAddr],
        body: Callable[[Flow], bytes | None],
        preferred: Flow | None = None,
    ) -> None:
        super().__init__(core, request, None)
        self.handler = handler
        self.auth = auth
        self._contact = contact
        self._body = body
        self._cancel_headers: tuple[tuple[str, str], ...] = ()
        self._cancel_timer: Timer | None = None
        self._ack_sent = False
        self.error: Exception | None = None
        """What the network reported when the call could not get through."""
        for name, value in core.capability_headers():
            if name not in request.headers:
                request.headers.add(name, value)
        if core.product is not None and "User-Agent" not in request.headers:
            request.headers.add("User-Agent", core.product)
        if self.session_timer is not None:
            for name, value in self.session_timer.invite_headers():
                request.headers.set(name, value)
        self._next_hop = next_hop
        self._outgoing = self._try(request, preferred)

    def _try(self, request: Request, preferred: Flow | None) -> OutgoingRequest:
        return OutgoingRequest(
            self._core,
            request,
            self._next_hop,
            auth=self.auth,
            on_final=self._on_final,
            on_provisional=self._on_provisional,
            prepare=self._prepare,
            preferred=preferred,
        )

    def start(self) -> None:
        """Look for the next hop and send the INVITE."""
        self._outgoing.start()

    def _prepare(self, request: Request, flow: Flow) -> None:
        """Contact and offer depend on the address that the next hop is reached from."""
        self.flow = flow
        self.local_contact = contact = self._contact(flow)
        request.headers.set("Contact", str(contact))
        body = self._body(flow)
        if body is not None:
            request.body = body
            request.headers.set("Content-Type", SDP)

    # -- responses ----------------------------------------------------------------------------------------------------

    def _on_provisional(self, response: Response) -> None:
        if self.ended:
            return
        dialog = self._early_dialog(response) if response.status > 100 else None
        rseq = reliable_sequence(response) if dialog is not None else None
        if rseq is not None and not self._receipts.take(response, rseq):
            # RFC 3262 §4: repeated, or the one before it is missing.
            return
        if self.state is InviteState.CANCELLING:
            # Held back until now (RFC 3261 §9.1).
            self._send_cancel()
            if dialog is not None and rseq is not None and self.request.body:
                self.acknowledge_provisional(dialog, response, rseq, None)
            return
        self.state = InviteState.PROCEEDING
        if dialog is not None:
            self.note_peer(response)
        body: bytes | None = None
        if self.handler is not None:
            try:
                body = self.handler.on_provisional(self, response, dialog)
            except Exception:
                logger.exception("a handler of a call failed")
        if dialog is not None and rseq is not None:
            self.acknowledge_provisional(dialog, response, rseq, body)
        if response.status == 199 and dialog is not None:
            self._fork_ended(dialog)

    def _fork_ended(self, dialog: Dialog) -> None:
        """RFC 6228: that fork was refused; the others go on."""
        self.early_dialogs.pop(dialog.remote_tag, None)
        self._core.dialogs.pop(dialog.id, None)

    def _early_dialog(self, response: Response) -> Dialog | None:
        """The fork that `response` comes from (RFC 3261 §13.2.2.1); none without a tag."""
        tag = response.to.tag
        if not tag:
            return None
        dialog = self.early_dialogs.get(tag)
        if dialog is None:
            if len(self.early_dialogs) >= _MOST_FORKS:
                logger.info("a provisional response of one fork too many is ignored")
                return None
            try:
                dialog = Dialog.from_response(self._outgoing.request, response)
            except RemoteProtocolError as error:
                logger.info("a provisional response makes no dialog: %s", error)
                return None
            self.early_dialogs[tag] = dialog
            self._core.dialogs[dialog.id] = self
        return dialog

    def _on_final(self, result: Result) -> None:
        # After a retry with credentials it is the request with the last CSeq that was answered.
        self.request = self._outgoing.request
        if isinstance(result, Response):
            if result.status < 300:
                self._accepted(result)
            elif not self._retry_interval(result):
                self._rejected(result.status, result.reason, result)
        else:
            # What the network reported says more than the status that stands for it.
            self.error = result.error
            self._rejected(result.status, str(result.error) if result.error is not None else result.reason, None)

    def _retry_interval(self, response: Response) -> bool:
        """Ask again with a larger session interval: same Call-ID, next CSeq (RFC 4028 §7.3)."""
        timer = self.session_timer
        if timer is None or self.ended or self.state is InviteState.CANCELLING or not timer.raise_minimum(response):
            return False
        self._drop_early_dialogs()
        request = self.request.copy()
        request.headers.remove_first_value("Via")
        request.headers.set("CSeq", f"{request.cseq.number + 1} INVITE")
        for name, value in timer.invite_headers():
            request.headers.set(name, value)
        self.request = request
        self.state = InviteState.CALLING
        self._outgoing = self._try(request, self.flow)
        self._outgoing.start()
        return True

    def _accepted(self, response: Response) -> None:
        if self.dialog is not None:
            # A repetition that the transaction could not answer yet, because the way of the ACK is still being looked for.
            return
        tag = response.to.tag or ""
        try:
            dialog = self.early_dialogs.get(tag)
            if dialog is None:
                dialog = Dialog.from_response(self.request, response)
            else:
                dialog.confirm(response)
        except RemoteProtocolError as error:
            logger.warning("the answer to a call cannot be acknowledged: %s", error)
            self._rejected(502, "Bad answer", response)
            return
        # What the other forks sent early is over; should one of them still answer, `LateAnswers` ends it.
        self._drop_early_dialogs()
        self.dialog = dialog
        self._core.dialogs[dialog.id] = self
        transaction = self._outgoing.invite_transaction
        if self.state is InviteState.CALLING or self.state is InviteState.PROCEEDING:
            self._acknowledge(response, dialog, transaction)
        else:
            # CANCEL and 200 have crossed, or the call was given up: it was answered all the same, so ACK, then BYE.
            self._bye_headers = self._cancel_headers
            self._hand_over(dialog, transaction, None)
            self._core.send_ack(dialog, self.request, transaction, self.flow, None, self._ack_is_out)
            self._rejected(487, "Request Terminated", response)

    def _acknowledge(self, response: Response, dialog: Dialog, transaction: InviteClientTransaction | None) -> None:
        self.state = InviteState.CONFIRMED
        self.note_peer(response)
        if self.session_timer is not None:
            self.session_timer.answered(response)
        body: bytes | None = None
        understood = True
        if self.handler is not None:
            try:
                body = self.handler.on_accepted(self, response)
            except Exception:
                logger.exception("a handler of a call failed")
                understood = False
        self._hand_over(dialog, transaction, body)
        self._core.send_ack(dialog, self.request, transaction, self.flow, body, self._ack_is_out)
        if not understood:
            self.hangup()

    def _ack_is_out(self, sent: bool) -> None:
        # If it could not be sent, a BYE is still worth a try.
        self._ack_sent = True
        if self._bye_headers is not None:
            # Hung up in the moment of the answer.
            self._send_bye()

    def _ready_for_bye(self) -> bool:
        return self._ack_sent and super()._ready_for_bye()

    def _hand_over(self, dialog: Dialog, transaction: InviteClientTransaction | None, body: bytes | None) -> None:
        """From now on the transaction needs this call no more: it may end long before 64*T1."""
        if transaction is not None:
            transaction.hand_over(LateAnswers(self._core, self.request, transaction, dialog, self.flow, self.auth, body))

    def _rejected(self, status: int, reason: str, response: Response | None) -> None:
        if self.ended:
            return
        if self.state is InviteState.CANCELLING and (response is None or status in (401, 407)):
            # What the one who cancelled wants to hear.
            status, reason = 487, "Request Terminated"
        self.state = InviteState.ENDED
        self._stop_waiting()
        self._drop_early_dialogs()
        if self.handler is not None:
            self._tell(self.handler.on_rejected, self, status, reason, response)

    def _drop_early_dialogs(self) -> None:
        for dialog in self.early_dialogs.values():
            self._core.dialogs.pop(dialog.id, None)
        self.early_dialogs.clear()

    # -- giving up ----------------------------------------------------------------------------------------------------

    def cancel(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Give up before the answer; `on_rejected` follows, with 487 in most cases. Harmless when given up or ended.

        CANCEL is held back until a provisional response has come (RFC 3261 §9.1). If the 200 is faster, the call is acknowledged
        and ended with BYE.

        Raises:
            LocalProtocolError: the call was answered.
            ValueError: a control character is in a header.
        """
        if self.ended or self.state is InviteState.CANCELLING:
            return
        if self.state is InviteState.CONFIRMED:
            raise LocalProtocolError("The call was answered: hang up instead.")
        self._cancel_headers = tuple(headers)
        for name, value in self._cancel_headers:
            check_header(name, value)
        self.state = InviteState.CANCELLING
        outgoing = self._outgoing
        outgoing.stop_retrying()
        transaction = outgoing.invite_transaction
        if transaction is None:
            # Not sent at all yet.
            outgoing.stop()
            self._rejected(487, "Request Terminated", None)
        elif transaction.state is TransactionState.PROCEEDING:
            self._send_cancel()

    def _send_cancel(self) -> None:
        transaction = self._outgoing.invite_transaction
        if self._cancel_timer is not None or transaction is None or transaction.request is None:
            return
        self._wait_for_final()
        self._core.stack.send_cancel(transaction, self._cancel_headers, on_final=lambda result: None)

    def _wait_for_final(self) -> None:
        """RFC 3261 §9.1: a server of RFC 2543 answers a cancelled INVITE with nothing; after 64*T1 it is over."""
        if self._cancel_timer is None:
            self._cancel_timer = self._core.scheduler.call_later(self._core.stack.timers.long, self._no_final)

    def _no_final(self) -> None:
        transaction = self._outgoing.invite_transaction
        if transaction is not None:
            transaction.terminate()
        self._rejected(487, "Request Terminated", None)

    def _stop_waiting(self) -> None:
        if self._cancel_timer is not None:
            self._cancel_timer.cancel()

    def drop(self) -> None:
        """Stop all timers and tries; nobody is told."""
        super().drop()
        self._outgoing.stop()
        self._stop_waiting()

    def hangup(self, headers: Iterable[tuple[str, str]] = (), *, status: int = 480) -> None:
        """End the call: CANCEL before the answer, BYE after it. `status` is for incoming calls."""
        if self.ended:
            return
        if self.state is InviteState.CONFIRMED:
            self._hangup_answered(headers)
        else:
            self.cancel(headers)

    def _receive_bye(self, request: Request, transaction: ServerTransaction) -> None:
        if self.dialog is not None:
            super()._receive_bye(request, transaction)
            return
        # A callee should not end an early dialog this way (§15), but it happens when our ACK or its 200 was lost for good.
        transaction.respond(request.create_response(200))
        dialog = self.early_dialogs.pop(request.from_.tag or "", None)
        if dialog is not None:
            self._core.dialogs.pop(dialog.id, None)
        if not self.early_dialogs:
            self._wait_for_final()


class LateAnswers:
    """What to do with each 2xx after the first: repeat the ACK for ours, end another fork's with ACK and BYE (RFC 3261 §13.2.2.4).

    It takes the call's place in the transaction, so that a short call is not kept for 64*T1.
    """

    __slots__ = ("_auth", "_body", "_core", "_dialog", "_ended", "_flow", "_invite", "_transaction")

    def __init__(
        self,
        core: UserAgentCore,
        invite: Request,
        transaction: InviteClientTransaction,
        dialog: Dialog,
        flow: Flow | None,
        auth: DigestClient | None,
        body: bytes | None,
    ) -> None:
        self._core = core
        self._invite = invite
        self._transaction = transaction
        self._dialog = dialog
        self._flow = flow
        self._auth = auth
        self._body = body
        self._ended: set[str] = set()

    def __call__(self, response: Response) -> None:
        """A 2xx that the transaction has no ACK for."""
        tag = response.to.tag or ""
        if tag == self._dialog.remote_tag:
            # The ACK could not be sent when the 2xx came first.
            self._core.send_ack(self._dialog, self._invite, self._transaction, self._flow, self._body)
            return
        try:
            fork = Dialog.from_response(self._invite, response)
        except RemoteProtocolError as error:
            logger.info("an answer of another fork cannot be acknowledged: %s", error)
            return

        def end(sent: bool) -> None:
            if sent and tag not in self._ended:
                self._ended.add(tag)
                self._end(fork)

        self._core.send_ack(fork, self._invite, self._transaction, self._flow, None, end)

    def _end(self, fork: Dialog) -> None:
        bye = fork.create_request("BYE", headers=(("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),))
        trusted = self._flow.remote[0] if self._flow is not None else None
        self._core.send_in_dialog(fork, bye, auth=self._auth, on_final=lambda result: None, flow=self._flow, trusted=trusted)
