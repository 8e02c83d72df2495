"""The subscriber's end of one subscription in one dialog: it takes the NOTIFYs, refreshes in time, and knows when it is over.

`flexosip.sip.subscription` makes one for each notifier that a SUBSCRIBE has reached. It can also live in the dialog of something
else, a call for example (RFC 5057): then whoever owns the dialog hands it the NOTIFYs.

RFC 6665 §4.1
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from flexosip.errors import RemoteProtocolError
from flexosip.sip.back_off import retry_after
from flexosip.sip.event_headers import Event, SubscriptionState
from flexosip.sip.message import seconds_of
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Timer
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.dialog import Dialog
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import NameAddr
    from flexosip.sip.message import Request, Response
    from flexosip.sip.outgoing_request import Result
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["LONGEST_LEASE", "SubscriberLeg", "is_dead"]

logger = logging.getLogger(__name__)

LONGEST_LEASE: Final = 7 * 86400
_SHORTEST_REFRESH: Final = 2.0
"""Seconds between refreshes at least, however short the notifier makes them."""
_RETRY: Final = 10.0
"""Seconds until a refresh that failed for a passing reason is tried again."""
_DEAD: Final = frozenset({404, 405, 410, 416, *range(480, 486), 489, 501, 604})


def is_dead(status: int) -> bool:
    """True for a status that ends the subscription it answers (RFC 6665 §4.1.2.2, §4.2.2, RFC 5057 §5.1)."""
    return status in _DEAD


class SubscriberLeg:
    """One subscription of ours in one dialog.

    Args:
        core: sends the refreshes.
        dialog: the dialog.
        event: what is subscribed to.
        flow: where the first SUBSCRIBE went; credentials go to no other host.
        contact: our Contact on a flow.
        auth: credentials, or None.
        headers: further headers of each SUBSCRIBE (Accept).
        expires: seconds to ask for.
        on_notify: given each NOTIFY with its state; what it raises as RemoteProtocolError is the answer to the peer.
        on_over: called once at the end: (leg, state of the last NOTIFY or None, status of what ended it otherwise).
        owns_dialog: True if NOTIFYs come from the core's table of dialogs.
    """

    def __init__(
        self,
        core: UserAgentCore,
        dialog: Dialog,
        event: Event,
        *,
        flow: Flow | None,
        contact: Callable[[Flow], NameAddr],
        auth: DigestClient | None,
        headers: tuple[tuple[str, str], ...],
        expires: int,
        on_notify: Callable[[SubscriberLeg, Request, SubscriptionState], None],
        on_over: Callable[[SubscriberLeg, SubscriptionState | None, int], None],
        owns_dialog: bool = True,
    ) -> None:
        self.dialog = dialog
        self.event = event
        self.state: SubscriptionState | None = None
        """Of the latest NOTIFY; None before the first."""
        self.expires_at: float | None = None
        """When it ends unless it is refreshed, in the scheduler's time."""
        self.over = False
        self._core = core
        self.flow = flow
        """What the latest SUBSCRIBE went over."""
        self._trusted = flow.remote[0] if flow is not None else None
        self._contact = contact
        self._auth = auth
        self._headers = headers
        self._expires = expires
        self._on_notify = on_notify
        self._on_over = on_over
        self._owns_dialog = owns_dialog
        self._refresh_timer: Timer | None = None
        self._end_timer: Timer | None = None
        self._timer_n: Timer | None = None
        self._in_flight = False
        self._ending = False
        self._again = False
        if owns_dialog:
            core.dialogs[dialog.id] = self

    # -- what its dialog brings (DialogUsage) -------------------------------------------------------------------------

    def find_dialog(self, remote_tag: str) -> Dialog | None:
        """The dialog."""
        return self.dialog if self.dialog.remote_tag == remote_tag else None

    def receive_ack(self, request: Request, flow: Flow) -> None:
        """There is no INVITE here."""

    def receive_request(self, request: Request, transaction: ServerTransaction) -> None:
        """A request in the dialog, in order: NOTIFY; nothing else has a usage here (RFC 5057 §5.1)."""
        if request.method == "NOTIFY":
            self.receive_notify(request, transaction)
        else:
            transaction.respond(request.create_response(481))

    def receive_notify(self, request: Request, transaction: ServerTransaction) -> None:
        """A NOTIFY in order (RFC 6665 §4.1.3).

        Raises:
            SipParseError: its headers cannot be read; nothing has changed then.
        """
        event = Event.of(request.headers)
        if event is None:
            transaction.respond(request.create_response(489, headers=(("Allow-Events", self.event.package),)))
            return
        if self.over or not event.matches(self.event):
            transaction.respond(request.create_response(481))
            return
        state = SubscriptionState.of(request.headers)
        self.dialog.update_target(request)
        self.state = state
        self._cancel("_timer_n")
        if state.expires is not None and not state.terminated and not self._ending:
            self._lease(min(state.expires, LONGEST_LEASE), shorten_only=True)
        try:
            self._on_notify(self, request, state)
        except RemoteProtocolError as error:
            logger.info("a NOTIFY of %s cannot be read: %s", self.event.package, error)
            transaction.respond(request.create_response(error.status_hint))
        else:
            transaction.respond(request.create_response(200))
        finally:
            # A fault of the listener above becomes a 500 in the stack; the subscription has gone on all the same.
            if state.terminated:
                self._finish(state, 200)

    # -- lease --------------------------------------------------------------------------------------------------------

    def granted(self, response: Response) -> None:
        """A 2xx to a SUBSCRIBE of ours: how long it lasts (RFC 6665 §4.1.2.1)."""
        if self.over:
            return
        if response.status == 204:
            # RFC 5839 §7: no NOTIFY will follow.
            self._cancel("_timer_n")
        if self._ending:
            return
        told = seconds_of(response.headers.get("Expires"))
        lease = min(told if told is not None else self._expires, LONGEST_LEASE)
        if lease > 0:
            self._lease(lease)

    def _lease(self, seconds: int, *, shorten_only: bool = False) -> None:
        scheduler = self._core.scheduler
        end = scheduler.now + seconds
        # NOTIFY repeats what is left of the lease, rounded; only a really shorter time moves the refresh (§4.1.2.1).
        if shorten_only and self.expires_at is not None and end > self.expires_at - 2.0:
            return
        self.expires_at = end
        self._cancel("_end_timer")
        self._end_timer = scheduler.call_at(end, self._finish, None, 408)
        random = self._core.random
        part = random.uniform(0.8, 0.9) if seconds >= 120 else random.uniform(0.5, 0.7)
        self._plan_refresh(max(part * seconds, min(_SHORTEST_REFRESH, seconds * 0.9)))

    def _plan_refresh(self, delay: float) -> None:
        self._cancel("_refresh_timer")
        self._refresh_timer = self._core.scheduler.call_later(delay, self.refresh)

    def expect_notify(self) -> None:
        """Start Timer N: a NOTIFY follows each SUBSCRIBE within 64*T1, or the subscription has failed (RFC 6665 §4.1.2.4)."""
        self._cancel("_timer_n")
        self._timer_n = self._core.scheduler.call_later(self._core.stack.timers.long, self._finish, None, 408)

    def refresh(self) -> None:
        """Ask for a new lease and the present state; once more when one is on its way."""
        self._cancel("_refresh_timer")
        if self.over or self._ending:
            return
        if self._in_flight:
            self._again = True
            return
        self._subscribe(self._expires)

    def moved(self, delay: float = 0.0) -> None:
        """The way that NOTIFYs came is gone: tell the notifier the new one, `delay` seconds from now."""
        self.flow = None
        if not self.over and not self._ending:
            self._plan_refresh(delay)

    def unsubscribe(self) -> None:
        """End it by a SUBSCRIBE with Expires 0; over with the last NOTIFY, which tells the final state (RFC 6665 §4.1.2.3)."""
        if self.over or self._ending:
            return
        self._ending = True
        self._cancel("_refresh_timer")
        if not self._in_flight:
            self._subscribe(0)

    def _subscribe(self, expires: int) -> None:
        self._in_flight = True
        self._again = False
        flow = self.flow
        headers = (("Event", str(self.event)), ("Expires", str(expires)), *self._headers)
        request = self.dialog.create_request("SUBSCRIBE", headers=headers)
        self.expect_notify()
        self._core.request(
            request,
            self.dialog.next_hop,
            auth=self._auth,
            on_final=lambda result: self._on_final(result, expires),
            prepare=self._prepare,
            preferred=flow if flow is not None and flow.alive else None,
            trusted=self._trusted,
            next_cseq=self._next_cseq,
        )

    def _prepare(self, request: Request, flow: Flow) -> None:
        # Our address, or the connection, may be another one than when it began: the notifier learns it from the Contact.
        self.flow = flow
        request.headers.set("Contact", str(self._contact(flow)))

    def _next_cseq(self) -> int:
        self.dialog.local_cseq += 1
        return self.dialog.local_cseq

    def _on_final(self, result: Result, asked: int) -> None:
        self._in_flight = False
        if self.over:
            return
        if not isinstance(result, TransactionFailure) and 200 <= result.status < 300:
            self.dialog.update_target(result)
            self.granted(result)
            if self._ending and asked:
                self._subscribe(0)
            elif self._again:
                self._subscribe(self._expires)
        elif is_dead(result.status) or self._ending:
            self._finish(None, result.status)
        elif not isinstance(result, TransactionFailure) and result.status == 423 and self._raise_expires(result):
            self._subscribe(self._expires)
        else:
            # §4.1.2.2: a passing failure leaves the subscription valid until its end.
            self._cancel("_timer_n")
            told = retry_after(result)
            logger.info("a refresh of %s failed (%s %s)", self.event.package, result.status, result.reason)
            self._plan_refresh(max(_RETRY, float(min(told or 0, LONGEST_LEASE))))

    def _raise_expires(self, response: Response) -> bool:
        least = seconds_of(response.headers.get("Min-Expires"))
        if least is None or not self._expires < least <= LONGEST_LEASE:
            return False
        self._expires = least
        return True

    # -- the end ------------------------------------------------------------------------------------------------------

    def _finish(self, state: SubscriptionState | None, status: int) -> None:
        if self.over:
            return
        self.drop()
        self._on_over(self, state, status)

    def drop(self) -> None:
        """Forget it without a word to anybody; harmless when it is over."""
        self.over = True
        for name in ("_refresh_timer", "_end_timer", "_timer_n"):
            self._cancel(name)
        if self._owns_dialog and self._core.dialogs.get(self.dialog.id) is self:
            del self._core.dialogs[self.dialog.id]

    def _cancel(self, name: str) -> None:
        timer: Timer | None = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)

    def __repr__(self) -> str:
        return f"<SubscriberLeg {self.event.package} {'over' if self.over else self.state.state if self.state is not None else 'new'}>"
