"""What others build lamps of: the state of a line (busy lamp field, RFC 4235) and of a mailbox (message waiting, RFC 3842)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flexosip.errors import SubscriptionFailed
from flexosip.phone.messaging.subscriptions import Notification, Subscription
from flexosip.sip.dialog_info import DialogInfo, DialogTable, WatchedDialog, lamp
from flexosip.sip.message_summary import MessageSummary

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.phone import Phone

__all__ = ["LineState", "MessageWaiting", "Watch"]

T = TypeVar("T")
S = TypeVar("S", bound="_Following[Any]")

_KEPT = 64
_NO_STATE_HERE = frozenset({403, 404, 405, 480, 481, 489, 501})
"""Answers of a server that keeps no mailbox to subscribe to; it may still tell of messages by itself."""


@dataclass(frozen=True, slots=True)
class LineState:
    """The state of a watched line."""

    state: str
    """`idle`, `trying`, `early` (it rings), `confirmed` (it speaks), `terminated`; `unknown` while the subscription is down."""
    dialogs: tuple[WatchedDialog, ...] = ()
    """Its calls; one that is `ringing` can be picked up."""

    def __str__(self) -> str:
        return self.state


class _Following(Generic[T]):
    """Values that follow a subscription: entered or awaited it has the first, iterating gives the changes."""

    def __init__(self, phone: Phone, subscription: Subscription) -> None:
        self.subscription = subscription
        self._phone = phone
        self._values: deque[T] = deque(maxlen=_KEPT)
        self._waiter: asyncio.Future[None] | None = None
        self._over = False
        subscription.on_notification = self._notified
        subscription.on_phase = self._phase_changed
        phone.subscriptions.followers.add(self)

    def _notified(self, notification: Notification) -> None:
        raise NotImplementedError

    def _phase_changed(self, phase: str) -> None:
        self._over = phase == "terminated"
        self._wake()

    def phone_closed(self) -> None:
        """Nothing will come any more."""
        self._over = True
        self._wake()

    def _put(self, value: T) -> None:
        self._values.append(value)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __await__(self: S) -> Generator[Any, None, S]:
        return self._establish().__await__()

    async def __aenter__(self: S) -> S:
        return await self._establish()

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _establish(self: S) -> S:
        await self.subscription
        return self

    async def close(self) -> None:
        """Stop following; harmless twice."""
        await self.subscription.unsubscribe()
        self._over = True
        self._wake()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if not self._over:
            self.subscription.start()
        while not self._values:
            if self._over or not self._phone.running:
                raise StopAsyncIteration
            if self._waiter is None or self._waiter.done():
                self._waiter = self._phone.loop.create_future()
            await asyncio.wait((self._waiter,))
        return self._values.popleft()


class Watch(_Following[LineState]):
    """A lamp for a line, made by `Phone.watch`: `async for state in watch` gives a `LineState` at each change."""

    def __init__(self, phone: Phone, subscription: Subscription) -> None:
        super().__init__(phone, subscription)
        self._tables: dict[str, DialogTable] = {}
        self._latest: LineState | None = None

    @property
    def line(self) -> LineState:
        """The present state with its calls."""
        return self._latest or LineState("unknown")

    @property
    def state(self) -> str:
        """What the lamp shows: `idle`, `trying`, `early`, `confirmed`, `terminated` or `unknown`."""
        return self.line.state

    @property
    def dialogs(self) -> tuple[WatchedDialog, ...]:
        """The calls of the line, with what picking them up needs."""
        return self.line.dialogs

    def _notified(self, notification: Notification) -> None:
        if notification.state == "terminated":
            self._tables.pop(notification.notifier, None)
        elif isinstance(notification.parsed, DialogInfo):
            table = self._tables.setdefault(notification.notifier, DialogTable())
            if table.receive(notification.parsed) and table.needs_refresh:
                self.subscription.refresh()
        self._show()

    def _phase_changed(self, phase: str) -> None:
        if phase in ("waiting", "subscribing", "terminated"):
            self._tables.clear()
            if self._latest is not None:
                self._show()
        super()._phase_changed(phase)

    def _show(self) -> None:
        dialogs = tuple(dialog for table in self._tables.values() for dialog in table.dialogs)
        shown = LineState(lamp(dialogs), dialogs) if self._tables else LineState("unknown")
        if shown != self._latest and (self._tables or self._latest is not None):
            self._latest = shown
            self._put(shown)


class MessageWaiting(_Following[MessageSummary]):
    """A lamp for a mailbox, made by `Phone.message_waiting`: `async for summary in it` gives a `MessageSummary` at each change.

    It also hears what the account's server tells without a subscription, and is content with that when the server refuses one.
    """

    def __init__(self, phone: Phone, subscription: Subscription, account: Account | None) -> None:
        super().__init__(phone, subscription)
        self._account = account
        self._unlisten: Callable[[], None] | None = phone.subscriptions.listen(self._told_by_server)
        self.latest: MessageSummary | None = None
        """The latest summary."""
        if account is not None and account in phone.subscriptions.mailboxes:
            self._tell(phone.subscriptions.mailboxes[account])

    async def _establish(self: MessageWaiting) -> MessageWaiting:
        try:
            await self.subscription
        except SubscriptionFailed:
            if not self._contented:
                self._stop_listening()
                raise
        except BaseException:
            self._stop_listening()
            raise
        return self

    @property
    def _contented(self) -> bool:
        """True when the server refuses a subscription, in a way that does not keep it from telling by itself."""
        error = self.subscription.failure
        return (
            self._account is not None
            and self._unlisten is not None
            and isinstance(error, SubscriptionFailed)
            and error.status in _NO_STATE_HERE
        )

    def _phase_changed(self, phase: str) -> None:
        self._over = phase == "terminated" and not self._contented
        self._wake()

    def _notified(self, notification: Notification) -> None:
        if isinstance(notification.parsed, MessageSummary):
            self._tell(notification.parsed)

    def _told_by_server(self, account: Account, summary: MessageSummary) -> None:
        if account is self._account:
            self._tell(summary)

    def _tell(self, summary: MessageSummary) -> None:
        if summary != self.latest:
            self.latest = summary
            self._put(summary)

    def _stop_listening(self) -> None:
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None

    async def close(self) -> None:
        """Stop following; harmless twice."""
        self._stop_listening()
        await super().close()
