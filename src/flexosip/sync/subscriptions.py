"""Subscriptions, lamps, watched peers, states and presence for threads: those of `flexosip.Phone` without `await`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flexosip.phone.dialling.options_query import PeerState
from flexosip.phone.dialling.options_query import PeerWatch as AsyncPeerWatch
from flexosip.phone.messaging.notifiers import IncomingSubscription as AsyncIncomingSubscription
from flexosip.phone.messaging.notifiers import Notifier as AsyncNotifier
from flexosip.phone.messaging.publishing import PresencePublication as AsyncPresencePublication
from flexosip.phone.messaging.subscriptions import Notification
from flexosip.phone.messaging.subscriptions import Subscription as AsyncSubscription
from flexosip.phone.messaging.watching import LineState
from flexosip.phone.messaging.watching import MessageWaiting as AsyncMessageWaiting
from flexosip.phone.messaging.watching import Watch as AsyncWatch
from flexosip.sip.message_summary import MessageSummary

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.sip.dialog_info import WatchedDialog
    from flexosip.sip.event_headers import Event
    from flexosip.sip.headers import Headers, NameAddr
    from flexosip.sip.presence import Presence
    from flexosip.sip.uri import Uri
    from flexosip.sync.portal import Portal

__all__ = ["IncomingSubscription", "MessageWaiting", "Notifier", "PeerWatch", "PresencePublication", "Subscription", "Watch"]

T = TypeVar("T")


class _Following(Generic[T]):
    """A source of states: `for state in source`, and `with source` to leave it at the end of the block."""

    def __init__(self, portal: Portal, native: Any) -> None:
        self._portal = portal
        self._native = native

    def __enter__(self: F) -> F:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._portal.closed:
            self._leave()

    def _leave(self) -> None:
        self._portal.run(self._native.close())

    def __iter__(self) -> Iterator[T]:
        return self._portal.iterate(self._native)


F = TypeVar("F", bound=_Following[Any])


class Subscription(_Following[Notification]):
    """A subscription that stands; iterating waits for the `Notification`s."""

    _native: AsyncSubscription

    @property
    def event(self) -> Event:
        """The event package."""
        return self._native.event

    @property
    def state(self) -> str:
        """`pending`, `active`, `waiting`, `ending` or `terminated`."""
        return self._native.state

    @property
    def latest(self) -> Notification | None:
        """The latest that came with a body."""
        return self._native.latest

    def refresh(self) -> None:
        """Ask for the present state; it comes as a notification."""
        self._portal.call(self._native.refresh)

    def unsubscribe(self, timeout: float = 2.0) -> None:
        """End it; returns with the last notification, or after `timeout` seconds."""
        self._portal.run(self._native.unsubscribe(timeout))

    def _leave(self) -> None:
        self.unsubscribe()


class Watch(_Following[LineState]):
    """A lamp for a line; iterating waits for the changes."""

    _native: AsyncWatch

    @property
    def state(self) -> str:
        """What the lamp shows: `idle`, `trying`, `early`, `confirmed`, `terminated` or `unknown`."""
        return self._native.state

    @property
    def line(self) -> LineState:
        """The present state with its calls."""
        return self._native.line

    @property
    def dialogs(self) -> tuple[WatchedDialog, ...]:
        """The calls of the line."""
        return self._native.dialogs

    def close(self) -> None:
        """Stop following."""
        self._leave()


class MessageWaiting(_Following[MessageSummary]):
    """A lamp for a mailbox; iterating waits for the changes."""

    _native: AsyncMessageWaiting

    @property
    def latest(self) -> MessageSummary | None:
        """The latest summary."""
        return self._native.latest

    def close(self) -> None:
        """Stop following."""
        self._leave()


class PeerWatch(_Following[PeerState]):
    """Whether a peer answers; iterating waits for the changes."""

    _native: AsyncPeerWatch

    @property
    def latest(self) -> PeerState | None:
        """What came of the latest question."""
        return self._native.latest

    @property
    def reachable(self) -> bool:
        """True if it answered when it was last asked."""
        return self._native.reachable

    @property
    def round_trip(self) -> float | None:
        """Seconds that the latest answer took; None without one."""
        return self._native.round_trip

    def close(self) -> None:
        """Ask no more."""
        self._leave()


class IncomingSubscription:
    """Somebody wants to know a state of ours; see `flexosip.phone.messaging.notifiers.IncomingSubscription`."""

    def __init__(self, portal: Portal, native: AsyncIncomingSubscription) -> None:
        self._portal = portal
        self._native = native

    @property
    def event(self) -> Event:
        """The event package, its id and parameters."""
        return self._native.event

    @property
    def from_(self) -> NameAddr:
        """Who says to subscribe."""
        return self._native.from_

    @property
    def target(self) -> Uri:
        """Whose state is wanted."""
        return self._native.target

    @property
    def headers(self) -> Headers:
        """Of the SUBSCRIBE."""
        return self._native.headers

    @property
    def body(self) -> bytes:
        """Of the SUBSCRIBE."""
        return self._native.body

    @property
    def source(self) -> str:
        """The address that the SUBSCRIBE came from."""
        return self._native.source

    @property
    def state(self) -> str:
        """`new`, `pending`, `active` or `terminated`."""
        return self._native.state

    @property
    def over(self) -> bool:
        """True when nothing can be told any more."""
        return self._native.over

    def accept(self, *, pending: bool = False) -> None:
        """Accept it without a state yet."""
        self._portal.call(self._native.accept, pending=pending)

    def notify(self, body: bytes | str = b"", content_type: str | None = None, *, replace: bool = True) -> None:
        """Tell the state; the first time this accepts the subscription."""
        self._portal.call(self._native.notify, body, content_type, replace=replace)

    def reject(self, status: int = 403) -> None:
        """Refuse it."""
        self._portal.call(self._native.reject, status)

    def terminate(self, reason: str = "noresource", *, retry_after: int | None = None) -> None:
        """End it, telling why."""
        self._portal.call(self._native.terminate, reason, retry_after=retry_after)

    def wait_ended(self) -> str:
        """Wait until it is over; the reason."""
        return self._portal.run(self._native.wait_ended())


class Notifier:
    """One state, told to all who subscribe to it; it may be made and set before the phone is started."""

    def __init__(self, portal: Callable[[], Portal | None], native: AsyncNotifier) -> None:
        self._portal = portal
        self._native = native

    @property
    def package(self) -> str:
        """The event package."""
        return self._native.package

    @property
    def subscribers(self) -> tuple[AsyncIncomingSubscription, ...]:
        """Who is told now."""
        return self._native.subscribers

    def update(self, state: MessageSummary | Presence | bytes | str, content_type: str | None = None) -> None:
        """A new state: all subscribers are told."""
        portal = self._portal()
        if portal is None:
            self._native.update(state, content_type)
        else:
            portal.call(self._native.update, state, content_type)

    def tell(self) -> None:
        """Tell all subscribers the present state."""
        portal = self._portal()
        if portal is not None:
            portal.call(self._native.tell)


class PresencePublication:
    """The presence of one account at its server."""

    def __init__(self, portal: Portal, native: AsyncPresencePublication) -> None:
        self._portal = portal
        self._native = native

    @property
    def account(self) -> Account:
        """Whose presence."""
        return self._native.account

    @property
    def state(self) -> str:
        """`idle`, `publishing`, `published`, `waiting`, `removing` or `refused`."""
        return self._native.state

    def update(self, state: bool | Presence, *, note: str | None = None, activity: str | None = None) -> None:
        """Publish another state and wait until the server has it."""
        self._portal.run(self._native.update(state, note=note, activity=activity))

    def remove(self, timeout: float = 2.0) -> None:
        """Take it away."""
        self._portal.run(self._native.remove(timeout))
