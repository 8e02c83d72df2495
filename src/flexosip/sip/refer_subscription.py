"""The subscriptions that REFERs make in the dialog of a call: both sides of them, also after the call's own end.

A REFER subscribes its sender to the progress of what it asks for. The subscription shares the dialog with the call and may outlive
it: `DialogReferrals` stands in the dialog's place when the BYE came first.

    ReferSubscription   we sent the REFER: NOTIFYs come, a final status or none
    ReferNotifier       we do what a REFER asks for and tell how it goes, one NOTIFY after the other

RFC 3515 §2.4.4 to §2.4.7, RFC 5057, RFC 6665
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flexosip.sip.event_headers import Event, SubscriptionState
from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Response
from flexosip.sip.refer import SIPFRAG, create_sipfrag, parse_sipfrag, wants_subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Timer
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.dialog import Dialog
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import NameAddr
    from flexosip.sip.invite import InviteUsage
    from flexosip.sip.message import Request
    from flexosip.sip.outgoing_request import OutgoingRequest, Result
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["DialogReferrals", "ReferKnowledge", "ReferNotifier", "ReferOutcome", "ReferSubscription"]

logger = logging.getLogger(__name__)

GRACE = 2.0
"""Seconds that a final NOTIFY may come after the BYE, or a BYE after the end of a subscription without a final status."""
_SUBSCRIPTION_TIME = 180.0
"""Seconds that we tell how a referred call goes: as long as a proxy lets a call ring (Timer C, RFC 3261 §16.6)."""


class ReferKnowledge(enum.Enum):
    """What we know of a REFER that we sent."""

    TOLD = "told"
    """A NOTIFY brought the final status."""
    REFUSED = "refused"
    """The REFER itself was refused, or nobody answered it."""
    UNTOLD = "untold"
    """Accepted, and nothing will be told (RFC 4488, RFC 7614)."""
    ENDED = "ended"
    """The call ended, and no final status came within the grace."""
    LOST = "lost"
    """The other side stopped telling without a final status, and the call is still there."""
    TIMEOUT = "timeout"
    """Our patience is over."""


@dataclass(frozen=True, slots=True)
class ReferOutcome:
    """How a REFER went."""

    knowledge: ReferKnowledge
    status: int
    """TOLD: that of the referred call. REFUSED: that of the REFER. Else 0."""
    reason: str
    accepted: bool
    """True if the REFER got a 2xx, or a NOTIFY proved that it would."""


class DialogReferrals:
    """All subscriptions by REFER in one dialog.

    Args:
        core: the user agent.
        dialog: where they live.
        flow, auth, contact: for our requests in it, as the call uses them.
        usage: the call in that dialog; None for a dialog that a REFER has made.
    """

    __slots__ = ("_notifiers", "_own_auth", "_own_contact", "_own_flow", "_referred", "_subscriptions", "_usage", "core", "dialog")

    def __init__(
        self,
        core: UserAgentCore,
        dialog: Dialog,
        *,
        flow: Flow | None = None,
        auth: DigestClient | None = None,
        contact: NameAddr | None = None,
        usage: InviteUsage | None = None,
    ) -> None:
        self.core = core
        self.dialog = dialog
        self._own_flow, self._own_auth, self._own_contact = flow, auth, contact
        self._usage = usage
        self._subscriptions: list[ReferSubscription] = []
        self._notifiers: list[ReferNotifier] = []
        self._referred = False
        """True once a REFER came: the second one's id must be told (RFC 3515 §2.4.6)."""

    @property
    def flow(self) -> Flow | None:
        """The way of the dialog: what was made over TLS takes no request from elsewhere."""
        return self._usage.flow if self._usage is not None else self._own_flow

    @classmethod
    def of(cls, usage: InviteUsage) -> DialogReferrals:
        """Those of the dialog of `usage`, which must be answered."""
        companion = usage.companion
        if companion is None:
            assert usage.dialog is not None
            usage.companion = companion = cls(usage.core, usage.dialog, usage=usage)
        assert isinstance(companion, DialogReferrals)
        return companion

    @property
    def active(self) -> bool:
        """True while the dialog is needed."""
        return bool(self._subscriptions or self._notifiers)

    @property
    def call_over(self) -> bool:
        """True if the call in this dialog has ended, or there never was one."""
        return self._usage is None or self._usage.ended

    # -- what the core and the call need ------------------------------------------------------------------------------

    def find_dialog(self, remote_tag: str) -> Dialog | None:
        """The dialog, if that is its remote tag."""
        return self.dialog if self.dialog.remote_tag == remote_tag else None

    def receive_ack(self, request: Request, flow: Flow) -> None:
        """A late ACK: the call has gone, nobody waits for it."""

    def receive_request(self, request: Request, transaction: ServerTransaction) -> None:
        """A NOTIFY or SUBSCRIBE to `refer`; 481 for anything else, since the call has ended."""
        try:
            if request.method == "NOTIFY":
                self._receive_notify(request, transaction)
            elif request.method == "SUBSCRIBE":
                self._receive_subscribe(request, transaction)
            else:
                transaction.respond(request.create_response(481))
        except SipParseError as error:
            transaction.respond(request.create_response(error.status_hint, error.reason))

    def call_ended(self) -> None:
        """The call of this dialog is over; the subscriptions may go on (RFC 5057 §4)."""
        for subscription in list(self._subscriptions):
            subscription.call_ended()

    def drop(self) -> None:
        """Stop all timers; nobody is told."""
        for subscription in self._subscriptions:
            subscription.drop()
        for notifier in self._notifiers:
            notifier.drop()
        self._subscriptions.clear()
        self._notifiers.clear()

    def _release(self) -> None:
        """Give the dialog back when the last subscription has gone."""
        if not self.active and self.core.dialogs.get(self.dialog.id) is self:
            del self.core.dialogs[self.dialog.id]

    def remove(self, part: ReferSubscription | ReferNotifier) -> None:
        """A subscription is over."""
        if part in self._subscriptions:
            self._subscriptions.remove(part)
        if part in self._notifiers:
            self._notifiers.remove(part)
        self._release()

    def send(
        self, method: str, headers: tuple[tuple[str, str], ...], body: bytes, content_type: str | None, on_final: Callable[[Result], None]
    ) -> OutgoingRequest:
        """Send a request in the dialog, whether the call lasts or not."""
        usage = self._usage
        flow = usage.flow if usage is not None else self._own_flow
        contact = usage.local_contact if usage is not None else self._own_contact
        request = self.dialog.create_request(method, contact=contact, headers=headers, body=body, content_type=content_type)
        return self.core.send_in_dialog(
            self.dialog,
            request,
            auth=usage.auth if usage is not None else self._own_auth,
            on_final=on_final,
            flow=flow,
            trusted=flow.remote[0] if flow is not None else None,
        )

    # -- we send the REFER --------------------------------------------------------------------------------------------

    def refer(
        self,
        headers: tuple[tuple[str, str], ...],
        *,
        patience: float,
        on_progress: Callable[[int, str], None],
        on_done: Callable[[ReferOutcome], None],
    ) -> ReferSubscription:
        """Send a REFER.

        Args:
            headers: with Refer-To.
            patience: seconds to wait for a final status after the REFER was accepted.
            on_progress: called with each provisional status of the referred call.
            on_done: called once.

        Raises:
            ValueError: a control character is in a header.
        """
        subscription = ReferSubscription(self, patience, on_progress, on_done)
        self._subscriptions.append(subscription)
        try:
            subscription.start(headers)
        except ValueError:
            self._subscriptions.remove(subscription)
            raise
        return subscription

    def check_call(self, result: Result) -> None:
        """The call ends when the answer to a REFER shows that the other side does not know it any more (RFC 3261 §12.2.1.2)."""
        if self._usage is not None:
            self._usage.check_alive(result)

    def _receive_notify(self, request: Request, transaction: ServerTransaction) -> None:
        event = Event.of(request.headers)
        if event is None or event.package != "refer":
            transaction.respond(request.create_response(489, headers=(("Allow-Events", "refer"),)))
            return
        subscription = self._find_subscription(event.id)
        if subscription is None:
            transaction.respond(request.create_response(481, "Subscription does not exist"))
            return
        if request.body and request.content_type != SIPFRAG:
            transaction.respond(request.create_response(415, headers=(("Accept", SIPFRAG),)))
            return
        told = parse_sipfrag(request.body)
        # A gateway or two leave the Subscription-State out (it was not in the first drafts of REFER): the body still counts.
        state = SubscriptionState.of(request.headers) if "Subscription-State" in request.headers else SubscriptionState("active")
        if told is None and request.body:
            transaction.respond(request.create_response(400, "No status line in the message/sipfrag"))
        else:
            transaction.respond(request.create_response(200))
        subscription.told(told, state)

    def _find_subscription(self, number: str | None) -> ReferSubscription | None:
        """That of the REFER with CSeq `number`; without one the oldest, whose NOTIFYs need none (RFC 3515 §2.4.6)."""
        if number is None:
            return self._subscriptions[0] if self._subscriptions else None
        return next((known for known in self._subscriptions if known.number == number), None)

    # -- we got the REFER ---------------------------------------------------------------------------------------------

    def notifier(self, request: Request) -> ReferNotifier:
        """Tell how the call that the REFER `request` asks for goes; the REFER has been accepted."""
        notifier = ReferNotifier(self, str(request.cseq.number), named=self._referred)
        self._referred = True
        self._notifiers.append(notifier)
        if self._usage is None:
            self.core.dialogs[self.dialog.id] = self
        return notifier

    def _receive_subscribe(self, request: Request, transaction: ServerTransaction) -> None:
        """Longer, or no longer: the subscription of a REFER is refreshed and ended like any other (RFC 3515 §2.4.4)."""
        event = Event.of(request.headers)
        if event is None or event.package != "refer":
            transaction.respond(request.create_response(489, headers=(("Allow-Events", "refer"),)))
            return
        fitting = [known for known in self._notifiers if event.id in (None, known.number)]
        if not fitting:
            transaction.respond(request.create_response(481, "Subscription does not exist"))
            return
        expires = request.expires
        seconds = min(_SUBSCRIPTION_TIME, float(expires) if expires is not None else _SUBSCRIPTION_TIME)
        contact = self._usage.local_contact if self._usage is not None else self._own_contact
        headers = [("Expires", f"{seconds:.0f}"), *((("Contact", str(contact)),) if contact is not None else ())]
        transaction.respond(request.create_response(200, headers=headers))
        fitting[0].refresh(seconds)


class ReferSubscription:
    """A REFER of ours, and what is told of it. Made by `DialogReferrals.refer`."""

    __slots__ = ("_accepted", "_done", "_on_done", "_on_progress", "_outgoing", "_patience", "_referrals", "_timer")

    def __init__(
        self,
        referrals: DialogReferrals,
        patience: float,
        on_progress: Callable[[int, str], None],
        on_done: Callable[[ReferOutcome], None],
    ) -> None:
        self._referrals = referrals
        self._patience = patience
        self._on_progress = on_progress
        self._on_done = on_done
        self._outgoing: OutgoingRequest | None = None
        self._timer: Timer | None = None
        self._accepted = False
        self._done = False

    @property
    def accepted(self) -> bool:
        """True once the REFER got a 2xx, or a NOTIFY proved that it would."""
        return self._accepted

    @property
    def done(self) -> bool:
        """True once `on_done` was called."""
        return self._done

    def start(self, headers: tuple[tuple[str, str], ...]) -> None:
        """Send the REFER."""
        self._outgoing = self._referrals.send("REFER", headers, b"", None, self._answered)

    @property
    def number(self) -> str:
        """What an `id` of Event says of it: its CSeq, that of the last try when it was challenged."""
        return str(self._outgoing.request.cseq.number) if self._outgoing is not None else ""

    def _answered(self, result: Result) -> None:
        if 200 <= result.status < 300 and isinstance(result, Response):
            self._accepted = True
            if self._done:
                return
            if not wants_subscription(result):
                self._finish(ReferKnowledge.UNTOLD)
            elif self._timer is None:
                self._wait(self._patience, ReferKnowledge.TIMEOUT)
        else:
            if not self._done:
                self._finish(ReferKnowledge.REFUSED, result.status, result.reason)
            self._close()
            self._referrals.check_call(result)

    def told(self, status: tuple[int, str] | None, state: SubscriptionState) -> None:
        """A NOTIFY came, perhaps before the answer to the REFER (RFC 3515 §2.4.4)."""
        self._accepted = True
        if not self._done and status is not None:
            if status[0] >= 200:
                self._finish(ReferKnowledge.TOLD, *status)
            else:
                self._tell(self._on_progress, *status)
        if not state.terminated:
            return
        if self._done:
            self._close()
        elif state.reason == "rejected":
            self._finish(ReferKnowledge.TOLD, 603, "Rejected")
            self._close()
        elif not self._referrals.call_over:
            # Nothing final, and nothing more will come: a BYE soon says that it is done all the same.
            self._wait(GRACE, ReferKnowledge.LOST)
        # After the BYE the grace runs already.

    def call_ended(self) -> None:
        """The call is over: the final NOTIFY may have been overtaken by the BYE."""
        if not self._done:
            self._wait(GRACE, ReferKnowledge.ENDED)

    def _wait(self, seconds: float, knowledge: ReferKnowledge) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._referrals.core.scheduler.call_later(seconds, self._finish, knowledge)

    def _finish(self, knowledge: ReferKnowledge, status: int = 0, reason: str = "") -> None:
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
        # Whatever is still told is answered 200: a NOTIFY that is refused would be taken for a sign that something went wrong.
        core = self._referrals.core
        self._timer = core.scheduler.call_later(core.stack.timers.long, self._close)
        self._tell(self._on_done, ReferOutcome(knowledge, status, reason, self._accepted))

    def _tell(self, callback: Callable[..., Any], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception:
            logger.exception("a handler of a REFER failed")

    def _close(self) -> None:
        self.drop()
        self._referrals.remove(self)

    def drop(self) -> None:
        """Stop the timer; nobody is told."""
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class ReferNotifier:
    """Tells the sender of a REFER how its call goes. Made by `DialogReferrals.notifier`.

    One NOTIFY is on its way at a time, so none overtakes another; of what happens meanwhile only the latest is told.
    """

    __slots__ = ("_expires_at", "_last", "_named", "_next", "_over", "_referrals", "_sending", "_timer", "number")

    def __init__(self, referrals: DialogReferrals, number: str, *, named: bool) -> None:
        self._referrals = referrals
        self.number = number
        """CSeq of the REFER."""
        self._named = named
        self._last: tuple[int, str | None] = (100, None)
        self._next: tuple[int, str | None, str | None] | None = None
        self._sending = False
        self._over = False
        scheduler = referrals.core.scheduler
        self._expires_at = scheduler.now + _SUBSCRIPTION_TIME
        self._timer: Timer | None = scheduler.call_at(self._expires_at, self._expired)

    def notify(self, status: int, reason: str | None = None) -> None:
        """A provisional status of the referred call."""
        self._queue(status, reason, None)

    def finish(self, status: int, reason: str | None = None) -> None:
        """The final status of the referred call; the subscription ends (RFC 3515 §2.4.7)."""
        self._queue(status, reason, "noresource")

    def refresh(self, seconds: float) -> None:
        """The subscriber wants to know for `seconds` more, from now on; 0: no more."""
        if self._over:
            return
        if self._timer is not None:
            self._timer.cancel()
        scheduler = self._referrals.core.scheduler
        self._expires_at = scheduler.now + seconds
        if seconds <= 0:
            self._expired()
        else:
            self._timer = scheduler.call_at(self._expires_at, self._expired)
            self._queue(*self._last, None)

    def _expired(self) -> None:
        self._queue(*self._last, "timeout")

    def _queue(self, status: int, reason: str | None, end: str | None) -> None:
        if self._over:
            return
        self._last = (status, reason)
        self._over = end is not None
        if self._over and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._next = (status, reason, end)
        if not self._sending:
            self._send()

    def _send(self) -> None:
        assert self._next is not None
        (status, reason, end), self._next = self._next, None
        left = max(0, round(self._expires_at - self._referrals.core.scheduler.now))
        state = SubscriptionState("terminated", reason=end) if end is not None else SubscriptionState("active", left)
        headers = (("Event", str(Event("refer", self.number if self._named else None))), ("Subscription-State", str(state)))
        self._sending = True
        self._referrals.send("NOTIFY", headers, create_sipfrag(status, reason), SIPFRAG, self._delivered)

    def _delivered(self, result: Result) -> None:
        self._sending = False
        if not 200 <= result.status < 300:
            # The other side does not want to know: the call that it asked for goes on.
            logger.info("a NOTIFY about a referred call got %d", result.status)
            self._over = True
            self._next = None
        if self._next is not None:
            self._send()
        elif self._over:
            self.drop()
            self._referrals.remove(self)

    def drop(self) -> None:
        """Stop the timer; nobody is told."""
        self._over = True
        self._next = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
