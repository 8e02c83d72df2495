"""The notifier's end of one subscription: it answers SUBSCRIBE, sends NOTIFY one after the other, and ends when the time is up.

    new --accept--> PENDING | ACTIVE --Expires 0, time-out, terminate, NOTIFY refused--> OVER
        `-reject--> OVER

RFC 6665 §4.2
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from flexosip.errors import LocalProtocolError
from flexosip.sip.dialog import Dialog
from flexosip.sip.event_headers import Event, SubscriptionState
from flexosip.sip.subscription_leg import LONGEST_LEASE, is_dead
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Scheduler, Timer
    from flexosip.sip.agent import DialogUsage
    from flexosip.sip.dialog import DialogId
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import NameAddr
    from flexosip.sip.message import Request
    from flexosip.sip.outgoing_request import Result
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["NotifierHost", "NotifierSubscription"]

logger = logging.getLogger(__name__)

_MOST_WAITING: Final = 16
"""NOTIFYs that wait for the answer to one before; of more the oldest are left out, as states they are stale."""


class NotifierHost(Protocol):
    """Where a notifier lives: a user agent core, or a server with states of its own."""

    dialogs: dict[DialogId, DialogUsage]

    @property
    def scheduler(self) -> Scheduler:
        """Gives the time."""

    def contact_value(self, flow: Flow, request: Request | None = None) -> NameAddr | None:
        """Our Contact over `flow`, as `request` means us."""

    def send_in_dialog(
        self,
        dialog: Dialog,
        request: Request,
        *,
        auth: DigestClient | None,
        on_final: Callable[[Result], None],
        flow: Flow | None,
        trusted: str | None,
    ) -> object:
        """Send a request of the dialog."""


class NotifierSubscription:
    """A subscription of somebody to a state of ours.

    Args:
        core: sends the NOTIFYs.
        request, transaction: the SUBSCRIBE outside of any dialog; to be accepted or rejected within 32 s.
        event: its Event.
        default_expires: seconds when the SUBSCRIBE asks for none (RFC 6665 §5.4.4).
        min_expires: shorter ones are refused with 423.
        max_expires: longer ones are shortened.
        auth: credentials for challenges of our NOTIFYs, or None.

    Raises:
        RemoteProtocolError: there is nothing to send NOTIFYs to.
    """

    def __init__(
        self,
        core: NotifierHost,
        request: Request,
        transaction: ServerTransaction,
        event: Event,
        *,
        default_expires: int = 3600,
        min_expires: int = 60,
        max_expires: int = 86400,
        auth: DigestClient | None = None,
    ) -> None:
        self.request = request
        self.event = event
        self.dialog = Dialog.from_request(request, transaction.to_tag)
        self.over = False
        self.accepted = False
        self.state = "active"
        """`pending` or `active`."""
        self.expires_at = 0.0
        self.on_refresh: Callable[[], None] | None = None
        """The subscriber wants the present state again; None repeats the last body."""
        self.on_over: Callable[[str], None] | None = None
        """Called once at the end with the reason, as in Subscription-State, or `refused` when a NOTIFY was."""
        self._core = core
        self._transaction: ServerTransaction | None = transaction
        self._flow = transaction.flow
        self._auth = auth
        self._limits = (default_expires, min_expires, max_expires)
        self._timer: Timer | None = None
        self._waiting: deque[tuple[str | None, bytes, str | None]] = deque(maxlen=_MOST_WAITING)
        self._in_flight = False
        self._last: tuple[bytes, str | None] = (b"", None)

    # -- deciding -----------------------------------------------------------------------------------------------------

    @property
    def fetching(self) -> bool:
        """True if only the present state is wanted (Expires 0, RFC 6665 §4.4.3)."""
        return self.request.expires == 0

    @property
    def source(self) -> str:
        """The address that the latest SUBSCRIBE came from."""
        return self._flow.remote[0]

    @property
    def flow(self) -> Flow:
        """The way that the latest SUBSCRIBE came by: what was made over TLS is not renewed from elsewhere."""
        return self._flow

    def accept_pending(self) -> None:
        """Accept it while it is not decided yet whether the subscriber may know."""
        self.accept(pending=True)

    def accept(self, body: bytes = b"", content_type: str | None = None, *, pending: bool = False) -> None:
        """Answer 200 and send the first NOTIFY at once (RFC 6665 §4.2.1.2); harmless when decided already.

        Args:
            pending: it is not decided yet whether the subscriber may know.
        """
        if self.accepted or self.over:
            return
        assert self._transaction is not None
        transaction, self._transaction = self._transaction, None
        expires = self._expires(self.request)
        if expires is None:
            self.over = True
            self._too_short(self.request, transaction)
            self._tell_over("refused")
            return
        self.accepted = True
        self.state = "pending" if pending else "active"
        self.dialog.early = False
        self._core.dialogs[self.dialog.id] = self
        self._respond(self.request, transaction, expires)
        self._lease(expires)
        if expires == 0:
            self._end("timeout", body, content_type)
        else:
            self.notify(body, content_type)

    def reject(self, status: int = 403, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Refuse the SUBSCRIBE, or end with `rejected` what was accepted as pending (RFC 6665 §4.2.1.3)."""
        if self.over:
            return
        if self.accepted:
            self.terminate("rejected")
            return
        assert self._transaction is not None
        transaction, self._transaction = self._transaction, None
        self.over = True
        transaction.respond(self.request.create_response(status, headers=headers))
        self._tell_over("rejected")

    def _expires(self, request: Request) -> int | None:
        """Seconds to grant; None: too few were asked for."""
        default, least, most = self._limits
        asked = request.expires
        if asked is None:
            asked = default
        if asked == 0:
            return 0
        return None if asked < least else min(asked, most, LONGEST_LEASE)

    def _too_short(self, request: Request, transaction: ServerTransaction) -> None:
        transaction.respond(request.create_response(423, headers=(("Min-Expires", str(self._limits[1])),)))

    def _respond(self, request: Request, transaction: ServerTransaction, expires: int) -> None:
        headers = [("Expires", str(expires))]
        contact = self._core.contact_value(transaction.flow, self.request)
        if contact is not None:
            headers.append(("Contact", str(contact)))
        transaction.respond(request.create_response(200, headers=headers))

    def _lease(self, expires: int) -> None:
        self._cancel_timer()
        self.expires_at = self._core.scheduler.now + expires
        if expires:
            self._timer = self._core.scheduler.call_later(expires, self._expire)

    def _expire(self) -> None:
        self._end("timeout", *self._last)

    # -- telling ------------------------------------------------------------------------------------------------------

    def notify(self, body: bytes = b"", content_type: str | None = None, *, replace: bool = True) -> None:
        """Send the state; before a decision that accepts the subscription, while it is pending it becomes active.

        Args:
            body: the state. content_type: its media type.
            replace: the states that still wait to be sent are left out: this one tells all. False for changes.

        Raises:
            LocalProtocolError: it is over.
        """
        if self.over:
            raise LocalProtocolError("The subscription is over.")
        if not self.accepted:
            self.accept(body, content_type)
            return
        self._last = (body, content_type)
        if replace:
            self._waiting.clear()
        self._waiting.append((None, body, content_type))
        self._send_next()

    def activate(self) -> None:
        """A pending subscription is granted; the next NOTIFY tells it."""
        self.state = "active"

    def terminate(self, reason: str = "deactivated", *, retry_after: int | None = None) -> None:
        """End it with a last NOTIFY (RFC 6665 §4.2.2); harmless when it is over."""
        if self.over:
            return
        if not self.accepted:
            self.reject(480)
            return
        self._end(reason, *self._last, retry_after=retry_after)

    def _end(self, reason: str, body: bytes, content_type: str | None, *, retry_after: int | None = None) -> None:
        if self.over:
            return
        self._waiting.clear()
        self._waiting.append((str(SubscriptionState("terminated", None, reason, retry_after)), body, content_type))
        self._forget()
        if not self._in_flight:
            self._send_next()
        self._tell_over(reason)

    def _send_next(self) -> None:
        if self._in_flight or not self._waiting:
            return
        state, body, content_type = self._waiting.popleft()
        if state is None:
            left = max(0, round(self.expires_at - self._core.scheduler.now))
            state = str(SubscriptionState(self.state, left))
        headers = (("Event", str(self.event)), ("Subscription-State", state))
        request = self.dialog.create_request(
            "NOTIFY", contact=self._core.contact_value(self._flow, self.request), headers=headers, body=body, content_type=content_type
        )
        self._in_flight = True
        flow = self._flow
        self._core.send_in_dialog(
            self.dialog,
            request,
            auth=self._auth,
            on_final=self._notify_answered,
            flow=flow if flow.alive else None,
            trusted=flow.remote[0],
        )

    def _notify_answered(self, result: Result) -> None:
        self._in_flight = False
        if self.over:
            self._send_next()
            return
        # §4.2.2: whoever does not know it, or does not answer at all, has no subscription any more.
        if is_dead(result.status) or isinstance(result, TransactionFailure):
            logger.info("a NOTIFY of %s was answered %s: the subscription is over", self.event.package, result.status)
            self._waiting.clear()
            self._forget()
            self._tell_over("refused")
            return
        if result.status < 300:
            self.dialog.update_target(result)
        self._send_next()

    # -- what its dialog brings (DialogUsage) -------------------------------------------------------------------------

    def find_dialog(self, remote_tag: str) -> Dialog | None:
        """The dialog."""
        return self.dialog if self.dialog.remote_tag == remote_tag else None

    def receive_ack(self, request: Request, flow: Flow) -> None:
        """There is no INVITE here."""

    def receive_request(self, request: Request, transaction: ServerTransaction) -> None:
        """A request in the dialog, in order: SUBSCRIBE refreshes or ends it; nothing else has a usage here."""
        if request.method != "SUBSCRIBE":
            transaction.respond(request.create_response(481))
            return
        event = Event.of(request.headers)
        if event is None:
            transaction.respond(request.create_response(489, headers=(("Allow-Events", self.event.package),)))
        elif self.over:
            transaction.respond(request.create_response(481))
        elif not event.matches(self.event):
            # RFC 6665 §4.5.2: dialogs are not shared by subscriptions.
            transaction.respond(request.create_response(403, "One Subscription A Dialog"))
        else:
            self._refresh(request, transaction)

    def _refresh(self, request: Request, transaction: ServerTransaction) -> None:
        expires = self._expires(request)
        if expires is None:
            self._too_short(request, transaction)
            return
        self.dialog.update_target(request)
        self._flow = transaction.flow
        self._respond(request, transaction, expires)
        self._lease(expires)
        if expires == 0:
            self._end("timeout", *self._last)
        elif self.on_refresh is not None:
            self.on_refresh()
        else:
            self.notify(*self._last)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self.over = True
        self._cancel_timer()
        if self._core.dialogs.get(self.dialog.id) is self:
            del self._core.dialogs[self.dialog.id]

    def drop(self) -> None:
        """Forget it without a word; harmless when it is over."""
        self._waiting.clear()
        self._forget()

    def _tell_over(self, reason: str) -> None:
        if self.on_over is not None:
            self.on_over(reason)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __repr__(self) -> str:
        return f"<NotifierSubscription {self.event.package} {'over' if self.over else self.state}>"
