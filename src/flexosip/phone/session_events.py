"""What has happened in a call, and waiting for what happens next: the part of `CallSession` that verbs and readers stand on."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from flexosip.errors import CallEnded

if TYPE_CHECKING:
    from flexosip.phone.events import CallEnd, CallEvent

__all__ = ["SessionEvents"]

T = TypeVar("T")

_EVENTS_KEPT = 1000


class SessionEvents:
    """The events of one call, and who waits for them.

    Args:
        loop: the phone's loop; every method is called on it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.end: CallEnd | None = None
        self.event_count = 0
        """Events so far."""
        self._events: deque[CallEvent] = deque(maxlen=_EVENTS_KEPT)
        self._waiters: set[asyncio.Future[None]] = set()
        self._over: asyncio.Future[None] = loop.create_future()

    @property
    def over(self) -> asyncio.Future[None]:
        """Done when the call has ended."""
        return self._over

    def notify(self) -> None:
        """Wake everybody who waits for a change of state."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self) -> None:
        """Return at the next change of state or event."""
        waiter = self.loop.create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def until(self, done: asyncio.Future[T]) -> T:
        """The result of `done`.

        Raises:
            CallEnded: the call ended first.
        """
        await asyncio.wait((done, self._over), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            self.check_not_ended()
        return done.result()

    async def settled(self, done: asyncio.Future[T]) -> None:
        """Wait for `done`, whatever comes of it.

        Raises:
            CallEnded: the call ended first.
        """
        await asyncio.wait((done, self._over), return_when=asyncio.FIRST_COMPLETED)
        self.check_not_ended()

    async def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            CallEnded: the call ended meanwhile.
        """
        await asyncio.wait((self._over,), timeout=seconds)
        self.check_not_ended()

    def event(self, index: int) -> CallEvent | None:
        """The event with that number, from 0; None when it is too old to be known still."""
        first = self.event_count - len(self._events)
        return self._events[index - first] if index >= first else None

    def keep(self, event: CallEvent) -> None:
        """Keep `event` for readers."""
        self._events.append(event)
        self.event_count += 1

    def check_not_ended(self) -> None:
        """Raise CallEnded when the call is over."""
        if self.end is not None:
            raise CallEnded(self.end)
