"""One call underneath the verbs: the INVITE usage, the offer/answer and the media session held together.

`CallSession` is the handler of an `InviteUsage`; `flexosip.phone.call.Call` is what users see of it.
RFC 3261 §13, RFC 3264, RFC 3960.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flexosip.errors import CertificateError, FlexosipError, InvalidState, NetworkError, ServerUnreachable, call_failure
from flexosip.net.address import format_address
from flexosip.phone.account import lacks_credentials
from flexosip.phone.events import (
    Answered,
    CallEnd,
    CallEvent,
    CallState,
    DigitPressed,
    Ended,
    MediaSilent,
    Ringing,
)
from flexosip.phone.identity import identity_in_request, identity_in_response
from flexosip.phone.media.digits import DigitQueue
from flexosip.phone.session_changes import SessionChanges
from flexosip.phone.session_events import SessionEvents
from flexosip.phone.session_offers import SessionOffers
from flexosip.phone.session_requests import receive_request
from flexosip.phone.transfer.transfer_values import TransferState
from flexosip.sdp import SdpError
from flexosip.sip.reason import parse_reasons

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from flexosip.media.statistics import MediaStatistics
    from flexosip.phone.account import Account
    from flexosip.phone.dialling.redirects import Redirects
    from flexosip.phone.media.media_session import MediaSession
    from flexosip.phone.messaging.info_packages import InfoHandler
    from flexosip.phone.phone import Phone
    from flexosip.sip.answer_mode import AnswerRequest
    from flexosip.sip.dialog import Dialog
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
        late_offer: outgoing: the INVITE makes no offer.
        max_duration: seconds after the answer at which it is ended; None: no limit.
    """

    def __init__(
        self, phone: Phone, account: Account | None, direction: str, *, late_offer: bool = False, max_duration: float | None = None
    ) -> None:
        super().__init__(phone.loop)
        self.phone = phone
        self.account = account
        self.direction = direction
        self.state = CallState.NEW if direction == "outgoing" else CallState.CALLING
        self.usage: InviteUsage | None = None
        self.identity: Identity | None = None
        self.authenticated_as: str | None = None
        """The other side as far as somebody has asked for it; see `flexosip.phone.identity`."""
        self.identity_of: str | None = None
        """Outgoing: the tag of the fork that has told who it is."""
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
        self.offers = SessionOffers(self, late=late_offer)
        self.redirects: Redirects | None = None
        """Outgoing: follows 3xx; None reports them as failures."""
        self.max_duration = max_duration
        self._limit: asyncio.TimerHandle | None = None
        self._finished = False
        self._given_up = False
        self.own_end: CallEnd | None = None
        self._silent_early = False
        self.info_handler: InfoHandler | None = None
        """Gets the INFOs that are no digits."""
        self.rang = False
        """Outgoing: the other phone has rung (180), or is heard before it answers (183): many gateways ring in that sound only."""
        self.accepted = False
        """Incoming: our 200 is out."""
        self.answer_request: AnswerRequest | None = None
        """Incoming: how the caller wants to be answered; see `flexosip.phone.availability`."""
        self.auto_answer: float | None = None
        """Incoming: seconds after which the phone answers by itself."""
        self.answered_itself = False
        self._deadlines: list[asyncio.TimerHandle] = []

    def call_later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something after `seconds`, unless the call has ended by then."""
        self._deadlines.append(self.loop.call_later(seconds, work))

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

    def on_provisional(self, usage: InviteUsage, response: Response, dialog: Dialog | None) -> bytes | None:
        """A 1xx to our INVITE; each early dialog may bring an answer of its own (RFC 3261 §13.2.2.1)."""
        self.response = response
        identity_in_response(self, response)
        body = self.offers.provisional(response, dialog)
        self.rang = self.rang or response.status == 180 or bool(self.offers.by_fork)
        if response.status == 180 and self.state in (CallState.CALLING, CallState.NEW):
            self.state = CallState.RINGING
            self.emit(Ringing(self.loop.time(), response.status))
        self.notify()
        return body

    def on_accepted(self, usage: InviteUsage, response: Response) -> bytes | None:
        """The 2xx to our INVITE. Its answer counts, whatever an early one said."""
        self.response = response
        identity_in_response(self, response)
        return self.offers.accepted(usage, response)

    def answered(self) -> None:
        """The call is up."""
        assert self.media is not None
        self.state = CallState.ANSWERED
        self.answered_at = self.loop.time()
        if self._silent_early:
            # Nobody has to speak while it rings; from now on the time counts.
            self.media.watch_again()
        if self.max_duration is not None:
            self._limit = self.loop.call_later(self.max_duration, self._too_long)
        self.emit(Answered(self.answered_at, self.media.codec_name))
        self.media.warn_of_digits()

    def _too_long(self) -> None:
        self.own_end = CallEnd("local", 200, f"The call has lasted {self.max_duration:g} seconds, the longest it may")
        self.hangup()

    def on_rejected(self, usage: InviteUsage, status: int, reason: str, response: Response | None) -> None:
        """A final failure of our INVITE, or our own time-out (408) or network error (503)."""
        headers = response.headers if response is not None else None
        self.response = response
        if self._given_up:
            # Whatever the final response to a call that we cancelled: it was we who ended it.
            self._finish("local", 487, "Request Terminated", headers)
            return
        if self.redirects is not None and self.redirects.follow(status, response):
            return
        if response is None and status == 408:
            self.failure = ServerUnreachable(f"{self._far_end()} gave no answer to the call.")
        elif response is None and isinstance(error := getattr(usage, "error", None), CertificateError):
            self.failure = error
        elif response is None and status == 503:
            self.failure = NetworkError(f"The call cannot get through: {reason.rstrip('.')}.")
        else:
            account, uri = self.account, usage.request.uri
            user = getattr(uri, "user", None) or ""
            server = account.server.host if account is not None else ""
            self.failure = call_failure(status, reason, headers, server=server, target=user, lacks=lacks_credentials(account))
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
        usage.provisional(180, body=self.offers.ringing_body(usage), headers=headers)
        if self.state is CallState.CALLING:
            self.state = CallState.RINGING
            self.emit(Ringing(self.loop.time()))

    def progress(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Send 183 with an answer: sound before the call is answered (RFC 3960)."""
        usage = self.require_usage()
        if self.state not in (CallState.CALLING, CallState.RINGING):
            raise InvalidState("progress(): the call is answered already.")
        usage.provisional(183, body=self.offers.progress_body(usage), headers=headers)
        self.offers.opened()

    def accept(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Send 200 with our answer, or with our offer when the INVITE brought none (RFC 3261 §13.3.1.4)."""
        usage = self.require_usage()
        if self.accepted and self.transfer.replaces is not None:
            return  # It took another call's place and was answered for that.
        if self.accepted or self.direction != "incoming":
            raise InvalidState("answer(): the call is answered already." if self.accepted else "answer(): this is a call that we made.")
        body = self.offers.final_body(usage)
        self.accepted = True
        usage.accept(body, headers=headers)

    def on_prack(self, usage: InviteUsage, prack: Request) -> tuple[int, bytes | None]:
        """A reliable 1xx of ours was acknowledged."""
        return self.offers.acknowledged(usage, prack)

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
            self.answered()

    # -- within the call ----------------------------------------------------------------------------------------------

    def on_reinvite(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        """The other side changes the session (RFC 3261 §14.2)."""
        identity_in_request(self, request, transaction.flow)
        self.changes.on_reinvite(usage, request, transaction)

    def on_refresh(self, usage: InviteUsage) -> None:
        """The session timer wants a re-INVITE."""
        self.changes.refresh(usage)

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
            self.own_end = end
            self.hangup()

    def silent(self, seconds: float) -> None:
        """Nothing has come from the other side for so long: an answered call is ended, else a dead peer would keep it for ever."""
        self.emit(MediaSilent(self.loop.time(), seconds))
        if self.answered_at is None or self.end is not None:
            self._silent_early = True
            return
        reason = f"No packet for {seconds:.0f} seconds"
        self.own_end = CallEnd("timeout", 408, reason)
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
        if self.offers.refused is not None and self.failure is None:
            self.failure = call_failure(488, str(self.offers.refused))
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
        self.end = self.own_end or CallEnd(by, status, text, q850, elsewhere)
        self.ended_at = self.loop.time()
        for deadline in self._deadlines:
            deadline.cancel()
        self.state = CallState.ENDED
        self.digits.close(self.end)
        if self._limit is not None:
            self._limit.cancel()
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
