"""One call underneath the verbs: the INVITE usage, the offer/answer and the media session held together.

`CallSession` is the handler of an `InviteUsage`; `flexosip.phone.call.Call` is what users see of it.
RFC 3261 §13, RFC 3264, RFC 3960.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flexosip.errors import CertificateError, FlexosipError, InvalidState, MediaError, NetworkError, ServerUnreachable, call_failure
from flexosip.net.address import format_address
from flexosip.phone.digits import DigitQueue
from flexosip.phone.events import (
    Answered,
    CallEnd,
    CallEvent,
    CallState,
    DigitPressed,
    EarlyMedia,
    Ended,
    MediaSilent,
    Ringing,
)
from flexosip.phone.identity import identity_in_request, identity_in_response
from flexosip.phone.session_changes import SessionChanges
from flexosip.phone.session_events import SessionEvents
from flexosip.phone.session_requests import receive_request
from flexosip.phone.transfer_values import TransferState
from flexosip.sdp import SdpError
from flexosip.sip.reason import parse_reasons

if TYPE_CHECKING:
    from flexosip.media.statistics import MediaStatistics
    from flexosip.phone.account import Account
    from flexosip.phone.info_packages import InfoHandler
    from flexosip.phone.media_session import MediaSession
    from flexosip.phone.phone import Phone
    from flexosip.sdp import Negotiation
    from flexosip.sip.dialog import Dialog
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import Headers
    from flexosip.sip.identity import Identity
    from flexosip.sip.invite import InviteUsage, UsageEnd
    from flexosip.sip.message import Request, Response
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["CallSession"]

logger = logging.getLogger(__name__)

_SDP = "application/sdp"


class CallSession(SessionEvents):
    """The state of one call; every method is called on the phone's loop.

    Args:
        phone: the phone that owns the call.
        account: the account it belongs to, None for a call without one.
        direction: `outgoing` or `incoming`.
    """

    def __init__(self, phone: Phone, account: Account | None, direction: str) -> None:
        super().__init__(phone.loop)
        self.phone = phone
        self.account = account
        self.direction = direction
        self.state = CallState.NEW if direction == "outgoing" else CallState.CALLING
        self.usage: InviteUsage | None = None
        self.identity: Identity | None = None
        """The other side as far as somebody has asked for it; see `flexosip.phone.identity`."""
        self.end_headers: Headers | None = None
        """Of the other side's BYE or CANCEL."""
        self.call: Any = None
        """The `Call` that users have of it."""
        self.media: MediaSession | None = None
        self.failure: FlexosipError | None = None
        """Why an outgoing call was not answered."""
        self.started_at: float | None = None
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        self.digits = DigitQueue(self.loop)
        self.response: Response | None = None
        self.statistics: MediaStatistics | None = None
        self.changes = SessionChanges(self)
        self.transfer = TransferState()
        self._early: dict[str, Negotiation] = {}
        self._offered: Negotiation | None = None
        self._answer_refused: MediaError | None = None
        self._finished = False
        self._given_up = False
        self._own_end: CallEnd | None = None
        self._silent_early = False
        self.info_handler: InfoHandler | None = None
        """Gets the INFOs that are no digits."""
        self.rang = False
        """Outgoing: the other phone has rung (180), or is heard before it answers (183): many gateways ring in that sound only."""
        self.accepted = False
        """Incoming: our 200 is out."""

    def emit(self, event: CallEvent) -> None:
        """Keep `event` for readers and tell the phone's observers."""
        self.keep(event)
        self.phone.observe_call_event(self, event)
        self.notify()

    def require_usage(self) -> InviteUsage:
        """The INVITE usage; raises when the call is over or was never dialled."""
        self.check_not_ended()
        if self.usage is None:
            raise InvalidState("The call has not been dialled yet.", advice="Await the call or enter it with `async with` first.")
        return self.usage

    def require_media(self) -> MediaSession:
        """The media session; raises when there is no sound (yet)."""
        self.check_not_ended()
        if self.media is None or not self.media.configured:
            raise InvalidState(
                "The call has no sound yet.", advice="Answer it, or wait until it is answered, before you play, record or listen."
            )
        return self.media

    # -- outgoing -----------------------------------------------------------------------------------------------------

    def offer(self, flow: Flow) -> bytes:
        """The SDP offer of our INVITE; `flow` tells the local address (RFC 3264 §5)."""
        if self.media is None:
            self.media = self.phone.create_media(self, flow)
            self._offered = self.media.negotiation
            self._offer_body = self.media.negotiation.create_offer()
        return self._offer_body

    def on_provisional(self, usage: InviteUsage, response: Response, dialog: Dialog | None) -> None:
        """A 1xx to our INVITE; each early dialog may bring an answer of its own (RFC 3261 §13.2.2.1)."""
        self.response = response
        identity_in_response(self, response)
        if response.body and response.content_type == _SDP and self.media is not None and self._offered is not None:
            self._early_answer(response, dialog)
        self.rang = self.rang or response.status == 180 or bool(self._early)
        if response.status == 180 and self.state in (CallState.CALLING, CallState.NEW):
            self.state = CallState.RINGING
            self.emit(Ringing(self.loop.time(), response.status))
        self.notify()

    def _early_answer(self, response: Response, dialog: Dialog | None) -> None:
        media = self.media
        assert media is not None and self._offered is not None
        key = dialog.remote_tag or "" if dialog is not None else ""
        negotiation = self._offered.fork()
        try:
            negotiation.receive_answer(response.body)
        except SdpError as error:
            logger.warning("%s: early media not understood: %s", self.label, error)
            return
        first = not self._early
        self._early[key] = negotiation
        media.negotiation = negotiation
        media.apply()
        if first:
            self.emit(EarlyMedia(self.loop.time(), media.codec_name))

    def on_accepted(self, usage: InviteUsage, response: Response) -> bytes | None:
        """The 2xx to our INVITE. Its answer counts, whatever an early one said."""
        self.response = response
        identity_in_response(self, response)
        media = self.media
        if media is None or self._offered is None:
            self._answer_refused = MediaError("The call was answered although it was given up.")
            usage.hangup()
            return None
        to = response.to
        negotiation = self._early.get(to.tag or "" if to is not None else "")
        try:
            if response.body and response.content_type == _SDP:
                negotiation = self._offered.fork()
                negotiation.receive_answer(response.body)
            elif negotiation is None:
                raise SdpError("the answer to the call brought no media description")
        except SdpError as error:
            # RFC 3261 §13.2.2.4: the 2xx must be acknowledged all the same, then the call is ended.
            self._answer_refused = MediaError(f"The call was answered with media that we cannot use: {error}")
            usage.hangup()
            return None
        media.negotiation = negotiation
        media.apply()
        self._answered()
        return None

    def _answered(self) -> None:
        assert self.media is not None
        self.state = CallState.ANSWERED
        self.answered_at = self.loop.time()
        self._early.clear()
        if self._silent_early:
            # Nobody has to speak while it rings; from now on the time counts.
            self.media.watch_again()
        self.emit(Answered(self.answered_at, self.media.codec_name))

    def on_rejected(self, usage: InviteUsage, status: int, reason: str, response: Response | None) -> None:
        """A final failure of our INVITE, or our own time-out (408) or network error (503)."""
        headers = response.headers if response is not None else None
        self.response = response
        if self._given_up:
            # Whatever the final response to a call that we cancelled: it was we who ended it.
            self._finish("local", 487, "Request Terminated", headers)
            return
        if response is None and status == 408:
            self.failure = ServerUnreachable(f"{self._far_end()} gave no answer to the call.")
        elif response is None and isinstance(error := getattr(usage, "error", None), CertificateError):
            self.failure = error
        elif response is None and status == 503:
            self.failure = NetworkError(f"The call cannot get through: {reason.rstrip('.')}.")
        else:
            self.failure = call_failure(status, reason, headers)
        by = "remote" if response is not None else "timeout" if status == 408 else "error"
        self._finish(by, status, reason, headers)

    def _far_end(self) -> str:
        """Where our INVITE went, for people."""
        flow = self.usage.flow if self.usage is not None else None
        if flow is not None:
            return f"{format_address(flow.remote)} ({flow.transport})"
        return self.account.server_text if self.account is not None else "The other side"

    # -- incoming -----------------------------------------------------------------------------------------------------

    def ring(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Send 180."""
        usage = self.require_usage()
        if self.transfer.replaces is not None:
            return  # It took another call's place and was answered for that.
        if self.state not in (CallState.CALLING, CallState.RINGING):
            raise InvalidState("ring(): the call is answered already.")
        usage.provisional(180, headers=headers)
        if self.state is CallState.CALLING:
            self.state = CallState.RINGING
            self.emit(Ringing(self.loop.time()))

    def progress(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Send 183 with an answer: sound before the call is answered (RFC 3960)."""
        usage = self.require_usage()
        if self.state not in (CallState.CALLING, CallState.RINGING):
            raise InvalidState("progress(): the call is answered already.")
        if not usage.request.body:
            raise InvalidState("progress(): the caller made no offer; answer the call instead.")
        body = self._local_answer(usage)
        usage.provisional(183, body=body, headers=headers)
        assert self.media is not None
        self.emit(EarlyMedia(self.loop.time(), self.media.codec_name))

    def accept(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Send 200 with our answer, or with our offer when the INVITE brought none (RFC 3261 §13.3.1.4)."""
        usage = self.require_usage()
        if self.accepted and self.transfer.replaces is not None:
            return  # It took another call's place and was answered for that.
        if self.accepted or self.direction != "incoming":
            raise InvalidState("answer(): the call is answered already." if self.accepted else "answer(): this is a call that we made.")
        body = self._local_answer(usage)
        self.accepted = True
        usage.accept(body, headers=headers)

    def _local_answer(self, usage: InviteUsage) -> bytes:
        if self.media is not None:
            return self._offer_body
        assert usage.flow is not None
        request = usage.request
        self.media = media = self.phone.create_media(self, usage.flow, request.body)
        if not request.body:
            self._offer_body = media.negotiation.create_offer()
            self.changes.awaiting_answer = True
            return self._offer_body
        try:
            self._offer_body = media.negotiation.receive_offer(request.body)
        except SdpError as error:
            usage.reject(error.status_hint)
            raise MediaError(f"The caller offers no sound that we understand: {error}", advice="Allow more codecs.") from error
        media.apply()
        return self._offer_body

    def on_confirmed(self, usage: InviteUsage, ack: Request) -> None:
        """The ACK: it may bring the answer to an offer of ours."""
        media = self.media
        if media is None:
            return
        if self.changes.awaiting_answer:
            self.changes.awaiting_answer = False
            try:
                if not ack.body:
                    raise SdpError("the ACK brought no answer")
                media.negotiation.receive_answer(ack.body)
            except SdpError as error:
                logger.warning("%s: %s", self.label, error)
                media.negotiation.rollback()
                if self.answered_at is None:
                    usage.hangup(headers=(("Reason", 'SIP;cause=488;text="No usable answer"'),))
                    return
            self.changes.apply()
        if self.answered_at is None:
            self._answered()

    # -- within the call ----------------------------------------------------------------------------------------------

    def on_reinvite(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        """The other side changes the session (RFC 3261 §14.2)."""
        identity_in_request(self, request, transaction.flow)
        self.changes.on_reinvite(usage, request, transaction)

    def on_request(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        """INFO and other requests within the call; see `flexosip.phone.session_requests`."""
        if request.method == "UPDATE":
            identity_in_request(self, request, transaction.flow)
        receive_request(self, request, transaction)

    def received_digit(self, digit: str, via: str, duration: float | None) -> None:
        """A press, told one way or another."""
        now = self.loop.time()
        if self.digits.push(digit, via, now, duration):
            self.emit(DigitPressed(now, digit, via, duration))

    # -- the end ------------------------------------------------------------------------------------------------------

    def hangup(self, headers: tuple[tuple[str, str], ...] = (), *, status: int = 480) -> None:
        """End the call in whatever state it is; CANCEL, a refusal or BYE, as it needs."""
        if self.end is not None or self._finished:
            return
        if self.usage is None:
            self._finish("local", 0, "", None)
            return
        self._given_up = True
        if self.media is not None:
            self.media.quiet()
        self.usage.hangup(headers=headers, status=status)

    def end_as(self, end: CallEnd) -> None:
        """Hang up; `end` is what the call then says of it."""
        if self.end is None:
            self._own_end = end
            self.hangup()

    def silent(self, seconds: float) -> None:
        """Nothing has come from the other side for so long: an answered call is ended, else a dead peer would keep it for ever."""
        self.emit(MediaSilent(self.loop.time(), seconds))
        if self.answered_at is None or self.end is not None:
            self._silent_early = True
            return
        reason = f"No packet for {seconds:.0f} seconds"
        self._own_end = CallEnd("timeout", 408, reason)
        self.hangup((("Reason", f'SIP;cause=408;text="{reason}"'),))

    def abandon(self) -> None:
        """The phone closes and will not wait any longer."""
        if self.usage is not None:
            self.usage.drop()
        self._finish("local", 0, "the phone was closed", None)
        if self.usage is not None:
            self.usage.drop()

    def on_ended(self, usage: InviteUsage, end: UsageEnd) -> None:
        """The INVITE usage is over."""
        if self._answer_refused is not None and self.failure is None:
            self.failure = call_failure(488, str(self._answer_refused))
        self.end_headers = end.headers
        self._finish(end.by, end.status, end.reason, end.headers)

    def _finish(self, by: str, status: int, reason: str, headers: Headers | None) -> None:
        if self._finished:
            return
        self._finished = True
        reasons = parse_reasons(headers)
        q850 = next((known.cause for known in reasons if known.protocol.upper() == "Q.850"), None)
        # RFC 3326 §3.1: the proxy tells with cause 200 that another phone took the call.
        elsewhere = self.answered_at is None and any(known.protocol.upper() == "SIP" and known.cause == 200 for known in reasons)
        text = next((known.text for known in reasons if known.text), reason)
        self.end = self._own_end or CallEnd(by, status, text, q850, elsewhere)
        self.ended_at = self.loop.time()
        self.state = CallState.ENDED
        self.digits.close(self.end)
        self._early.clear()
        self._over.set_result(None)
        if self.media is not None:
            self.statistics = self.media.finish(self.end)
        if self.transfer.at_end is not None:
            self.transfer.at_end(self.end)
        self.emit(Ended(self.ended_at, self.end, self.statistics))
        self.phone.call_ended(self)

    @property
    def label(self) -> str:
        """How logs name this call."""
        return f"call {self.usage.request.call_id[:12] if self.usage is not None else '-'}"
