"""Subscription: follows the state of something at a notifier, for months if need be.

One SUBSCRIBE may reach several notifiers (a proxy forks it), each of which answers with NOTIFYs in a dialog of its own, perhaps before
the 2xx. When all are over for a reason that passes, it subscribes again: at once, after the time it was told, or backing off with jitter.

    SUBSCRIBING --NOTIFY--> PENDING | ACTIVE --over--> WAITING --> SUBSCRIBING ...
         |                                 \\-- rejected, noresource, invariant --> TERMINATED
       failure --> WAITING or TERMINATED
    any --stop--> ENDING --last NOTIFY--> TERMINATED

RFC 6665 §4.1, RFC 5057
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flexosip.sip.back_off import back_off, no_sooner_than, retry_after
from flexosip.sip.dialog import Dialog
from flexosip.sip.event_headers import Event, SubscriptionState
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Response, new_request, seconds_of
from flexosip.sip.subscription_leg import LONGEST_LEASE, SubscriberLeg
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Timer
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request
    from flexosip.sip.outgoing_request import OutgoingRequest, Result
    from flexosip.sip.uri import SipUri

__all__ = ["Notify", "Subscription", "SubscriptionChange", "SubscriptionPhase"]

logger = logging.getLogger(__name__)

_MOST_FORKS: Final = 8
"""Notifiers of one SUBSCRIBE; more are answered with 481."""
_STEADY: Final = 30.0
"""Seconds that a subscription lives to count as one: whoever ends it sooner, again and again, makes us back off."""
_FOR_GOOD: Final = frozenset({"rejected", "noresource", "invariant"})
"""Reasons after which subscribing again is of no use (RFC 6665 §4.1.3)."""
_REFUSED_FOR_GOOD: Final = frozenset({403, 405, 416, 489, 501, 603, 604})
_MOST_TRIES_AFTER_423: Final = 2


class SubscriptionPhase(enum.StrEnum):
    """Where a subscription stands."""

    IDLE = "idle"
    SUBSCRIBING = "subscribing"
    """SUBSCRIBE is out, no NOTIFY has come yet."""
    PENDING = "pending"
    """The notifier has not decided yet whether we may know."""
    ACTIVE = "active"
    WAITING = "waiting"
    """It failed or was ended; the next try is planned."""
    ENDING = "ending"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class SubscriptionChange:
    """What happened to a subscription."""

    phase: SubscriptionPhase
    status: int = 0
    """Final status of a SUBSCRIBE that failed; 408 and 503 also stand for our own time-out and network failure. 200: a NOTIFY ended it."""
    reason: str = ""
    """The reason phrase, or the reason of the Subscription-State."""
    retry_in: float | None = None
    """Seconds until the next try."""
    error: Exception | None = None
    """What the network reported."""


@dataclass(frozen=True, slots=True)
class Notify:
    """A NOTIFY that was received."""

    event: Event
    state: SubscriptionState
    request: Request
    notifier: str
    """Tells notifiers apart when a SUBSCRIBE has reached several, and one subscription from its successor."""


class Subscription:
    """Follow an event package of a resource.

    Args:
        core: sends the requests.
        target: the resource, the Request-URI.
        next_hop: where to send it.
        event: the package.
        from_: who subscribes, without tag.
        contact: gives our Contact for the flow that is taken.
        auth: credentials, or None.
        expires: seconds to ask for; 0 fetches the state once (RFC 6665 §4.4.3).
        headers: further headers of each SUBSCRIBE: Accept for example.
        routes: Route of the first SUBSCRIBE, asked at each try.
        on_notify: given each NOTIFY; raises RemoteProtocolError for a body that cannot be read.
        on_change: told of each change of phase.
    """

    def __init__(
        self,
        core: UserAgentCore,
        *,
        target: SipUri,
        next_hop: SipUri,
        event: Event,
        from_: NameAddr,
        contact: Callable[[Flow], NameAddr],
        auth: DigestClient | None,
        on_notify: Callable[[Notify], None],
        on_change: Callable[[SubscriptionChange], None],
        expires: int = 3600,
        headers: tuple[tuple[str, str], ...] = (),
        routes: Callable[[], tuple[NameAddr, ...]] = tuple,
    ) -> None:
        self.target = target
        self.next_hop = next_hop
        self.event = event
        self.phase = SubscriptionPhase.IDLE
        self.legs: dict[str, SubscriberLeg] = {}
        """The subscriptions at each notifier, by its tag."""
        self.ever_active = False
        self._core = core
        self._from = from_
        self._contact = contact
        self._auth = auth
        self._expires = expires
        self._headers = headers
        self._routes = routes
        self._on_notify = on_notify
        self._on_change = on_change
        self._outgoing: OutgoingRequest | None = None
        self._flow: Flow | None = None
        self._half: tuple[str, str] | None = None
        self._forked: set[str] = set()
        self._timer_n: Timer | None = None
        self._retry: Timer | None = None
        self._failures = 0
        self._raised = 0
        self._active_since: float | None = None
        self._on_done: list[Callable[[], None]] = []

    # -- what the phone does ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Subscribe; harmless when it runs."""
        if self.phase in (SubscriptionPhase.IDLE, SubscriptionPhase.TERMINATED):
            self._subscribe()

    def refresh(self) -> None:
        """Ask for the present state at all notifiers."""
        for leg in list(self.legs.values()):
            leg.refresh()

    def flow_lost(self, flow: Flow) -> None:
        """The connection is gone that the NOTIFYs came over: take another one soon."""
        for leg in list(self.legs.values()):
            if leg.flow is flow:
                leg.moved(self._core.random.uniform(0.0, 1.0))

    def network_changed(self, has_left: Callable[[Flow], bool], *, slept: bool) -> None:
        """Our address may be another one, or time may have been lost: what that concerns is done anew.

        Args:
            has_left: tells whether a flow's local address is not ours any more.
        """
        if self.phase is SubscriptionPhase.WAITING and self._retry is not None:
            self._failures = 0
            self._subscribe()
        for leg in list(self.legs.values()):
            if leg.flow is not None and (slept or not leg.flow.alive or has_left(leg.flow)):
                leg.moved()

    def stop(self, on_done: Callable[[], None] = lambda: None) -> None:
        """Unsubscribe; `on_done` is called once, with the last NOTIFY or when none will come."""
        self._on_done.append(on_done)
        self._cancel_retry()
        if self.phase is SubscriptionPhase.ENDING:
            return
        if self.phase in (SubscriptionPhase.IDLE, SubscriptionPhase.TERMINATED, SubscriptionPhase.WAITING):
            self._terminate(SubscriptionChange(SubscriptionPhase.TERMINATED))
            return
        self._enter(SubscriptionPhase.ENDING)
        for leg in list(self.legs.values()):
            leg.unsubscribe()
        self._check_ended()

    def drop(self) -> None:
        """Forget it without a word on the wire; harmless at any time."""
        self.phase = SubscriptionPhase.TERMINATED
        self._cancel_retry()
        self._forget_request()
        for leg in list(self.legs.values()):
            leg.drop()
        self.legs.clear()
        self._done()

    # -- the first SUBSCRIBE ------------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        self._cancel_retry()
        core = self._core
        call_id, tag = core.stack.new_call_id(), core.stack.new_tag()
        request = new_request(
            "SUBSCRIBE",
            self.target,
            from_=self._from.with_tag(tag),
            to=NameAddr(self.target),
            call_id=call_id,
            cseq=1,
            routes=self._routes(),
            headers=(("Event", str(self.event)), ("Expires", str(self._expires)), ("Allow", core.allow_value), *self._headers),
        )
        self._half = (call_id, tag)
        self._forked = set()
        self._active_since = None
        core.half_dialogs[self._half] = self
        self._enter(SubscriptionPhase.SUBSCRIBING)
        flow = self._flow if self._flow is not None and self._flow.alive else None
        self._outgoing = core.request(
            request, self.next_hop, auth=self._auth, on_final=self._on_final, prepare=self._prepare, preferred=flow
        )

    def _prepare(self, request: Request, flow: Flow) -> None:
        self._flow = flow
        request.headers.set("Contact", str(self._contact(flow)))
        if self._timer_n is not None:
            self._timer_n.cancel()
        # RFC 6665 §4.1.2.4: from the latest SUBSCRIBE on, also one with credentials.
        self._timer_n = self._core.scheduler.call_later(self._core.stack.timers.long, self._waited)

    def adopt(self, request: Request) -> SubscriberLeg | None:
        """The leg of a NOTIFY that no dialog knows: it comes before the 2xx, or from another fork (RFC 6665 §4.4.1)."""
        outgoing, tag = self._outgoing, request.from_.tag or ""
        event = Event.of(request.headers)
        if outgoing is None or tag in self._forked or len(self._forked) >= _MOST_FORKS or event is None or not event.matches(self.event):
            return None
        assert self._half is not None
        dialog = Dialog.from_request(request, self._half[1])
        dialog.early = False
        dialog.local_cseq = outgoing.request.cseq.number
        dialog.remote_cseq = None
        return self._add(dialog)

    def _add(self, dialog: Dialog) -> SubscriberLeg:
        leg = SubscriberLeg(
            self._core,
            dialog,
            self.event,
            flow=self._flow,
            contact=self._contact,
            auth=self._auth,
            headers=self._headers,
            expires=self._expires,
            on_notify=self._notified,
            on_over=self._leg_over,
        )
        self._forked.add(dialog.remote_tag)
        self.legs[dialog.remote_tag] = leg
        if self.phase is SubscriptionPhase.ENDING:
            leg.unsubscribe()
        return leg

    def _on_final(self, result: Result) -> None:
        if self.phase is SubscriptionPhase.TERMINATED:
            return
        if isinstance(result, TransactionFailure) or result.status >= 300:
            self._refused(result)
            return
        outgoing = self._outgoing
        tag = result.to.tag or ""
        if outgoing is None:
            return
        leg = self.legs.get(tag)
        if leg is None and tag not in self._forked:
            dialog = Dialog.from_response(outgoing.request, result)
            dialog.early = False
            leg = self._add(dialog)
        elif leg is not None:
            # The 2xx has the last word on route set and target; the NOTIFY came first.
            leg.dialog.confirm(result)
        if leg is not None and self._expires:
            leg.granted(result)
        self._check_ended()

    def _refused(self, result: Result) -> None:
        if self.legs:
            # Some fork has sent a NOTIFY: the subscription is there whatever the answer that reached us.
            return
        self._forget_request()
        if self.phase is SubscriptionPhase.ENDING:
            self._check_ended()
        elif isinstance(result, Response) and result.status == 423 and self._raise_expires(result):
            self._subscribe()
        else:
            error = result.error if isinstance(result, TransactionFailure) else None
            told = retry_after(result)
            final = result.status in _REFUSED_FOR_GOOD
            self._over(SubscriptionChange(SubscriptionPhase.WAITING, result.status, result.reason, error=error), told, final=final)

    def _raise_expires(self, response: Response) -> bool:
        """423: ask for what the notifier wants at least (RFC 6665 §4.1.2.1); False if that makes no sense."""
        least = seconds_of(response.headers.get("Min-Expires"))
        self._raised += 1
        if least is None or not self._expires < least <= LONGEST_LEASE or self._raised > _MOST_TRIES_AFTER_423:
            return False
        self._expires = least
        return True

    def _waited(self) -> None:
        """Timer N: further forks are not waited for; without any NOTIFY the subscription has failed."""
        self._forget_request()
        for leg in list(self.legs.values()):
            if leg.state is None:
                leg.drop()
                self.legs.pop(leg.dialog.remote_tag, None)
        if self.phase is SubscriptionPhase.ENDING:
            self._check_ended()
        elif not self.legs and self.phase is not SubscriptionPhase.TERMINATED:
            self._over(SubscriptionChange(SubscriptionPhase.WAITING, 408, "No NOTIFY came"), None)

    def _forget_request(self) -> None:
        if self._half is not None:
            self._core.half_dialogs.pop(self._half, None)
            self._half = None
        if self._outgoing is not None:
            self._outgoing.stop()
            self._outgoing = None
        if self._timer_n is not None:
            self._timer_n.cancel()
            self._timer_n = None

    # -- NOTIFY and the end -------------------------------------------------------------------------------------------

    def _notified(self, leg: SubscriberLeg, request: Request, state: SubscriptionState) -> None:
        self._raised = 0
        if self.phase is not SubscriptionPhase.ENDING and not state.terminated:
            self.ever_active = True
            if self._active_since is None:
                self._active_since = self._core.scheduler.now
            others = [other.state.state for other in self.legs.values() if other.state is not None]
            self._enter(SubscriptionPhase.PENDING if all(word == "pending" for word in others) else SubscriptionPhase.ACTIVE)
        self._on_notify(Notify(leg.event, state, request, f"{leg.dialog.call_id}/{leg.dialog.remote_tag}"))

    def _leg_over(self, leg: SubscriberLeg, state: SubscriptionState | None, status: int) -> None:
        self.legs.pop(leg.dialog.remote_tag, None)
        if self.legs or self.phase is SubscriptionPhase.TERMINATED:
            return
        if self.phase is SubscriptionPhase.ENDING:
            self._check_ended()
            return
        self._forget_request()
        if not self._expires:
            self._terminate(SubscriptionChange(SubscriptionPhase.TERMINATED, 200, state.reason or "" if state is not None else ""))
            return
        reason = state.reason or "" if state is not None else ""
        retry_after = state.retry_after if state is not None else None
        at_once = reason in ("deactivated", "timeout") or (state is None and status == 481)
        self._over(SubscriptionChange(SubscriptionPhase.WAITING, status, reason), retry_after, final=reason in _FOR_GOOD, at_once=at_once)

    def _over(self, change: SubscriptionChange, told: float | None, *, final: bool = False, at_once: bool = False) -> None:
        """Nothing is subscribed: end, or plan the next try."""
        if final or not self._expires:
            self._terminate(SubscriptionChange(SubscriptionPhase.TERMINATED, change.status, change.reason, error=change.error))
            return
        core = self._core
        steady = self._active_since is not None and core.scheduler.now - self._active_since >= _STEADY
        self._failures = 1 if steady else self._failures + 1
        wait = core.random.uniform(0.0, 0.5) if at_once and steady else back_off(self._failures, core.random)
        wait = no_sooner_than(wait, told, core.random)
        self._cancel_retry()
        self._retry = core.scheduler.call_later(wait, self._subscribe)
        self.phase = SubscriptionPhase.WAITING
        name = self.event.package
        logger.info("subscription to %s of %s is over (%s %s), again in %.0f s", name, self.target, change.status, change.reason, wait)
        self._on_change(SubscriptionChange(SubscriptionPhase.WAITING, change.status, change.reason, wait, change.error))

    def _check_ended(self) -> None:
        """While ending: the end, once no notifier and no SUBSCRIBE is left that could make one."""
        if self.phase is SubscriptionPhase.ENDING and not self.legs:
            outgoing = self._outgoing
            pending = outgoing is not None and not self._forked
            if not pending:
                self._terminate(SubscriptionChange(SubscriptionPhase.TERMINATED))

    def _terminate(self, change: SubscriptionChange) -> None:
        told = self.phase is SubscriptionPhase.TERMINATED
        self.phase = SubscriptionPhase.TERMINATED
        self._cancel_retry()
        self._forget_request()
        if not told:
            self._on_change(change)
        self._done()

    def _done(self) -> None:
        waiting, self._on_done = self._on_done, []
        for on_done in waiting:
            on_done()

    def _enter(self, phase: SubscriptionPhase) -> None:
        if phase is not self.phase:
            self.phase = phase
            self._on_change(SubscriptionChange(phase))

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def __repr__(self) -> str:
        return f"<Subscription {self.event.package} {self.target!r} {self.phase}>"
