"""Time for machines that own no clock: one `Scheduler` holds the deadlines of all machines of one driver.

The driver tells the time (`now`, float seconds of its monotonic clock) with every input and asks `next_timeout`
when to come back. The same machines so run on a real clock, on the virtual one of `flexosip.simulation`, or in a replay.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

__all__ = ["Scheduler", "Timer"]

_COMPACT_AT = 1024
"""Entries of the heap below which cancelled ones are not worth looking for."""


class Timer:
    """One deadline. `cancel` is harmless at any time."""

    __slots__ = ("arguments", "callback", "when")

    def __init__(self, when: float, callback: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.when = when
        self.callback: Callable[..., None] | None = callback
        self.arguments = arguments

    @property
    def active(self) -> bool:
        """True until it has fired or was cancelled."""
        return self.callback is not None

    def cancel(self) -> None:
        """Never fire."""
        # The entry stays in the heap for a while: removing it there would cost more than passing it over.
        self.callback = None
        self.arguments = ()


class Scheduler:
    """The deadlines of every machine that one driver runs, in one heap.

    Args:
        now: the driver's time at the start, seconds.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._clock: Callable[[], float] | None = None
        self._heap: list[tuple[float, int, Timer]] = []
        self._sequence = 0
        self._compact_at = _COMPACT_AT
        self.on_earlier: Callable[[float], None] | None = None
        """Called with the new earliest deadline when one is added before all others: the driver re-arms its one timer."""

    @property
    def now(self) -> float:
        """The time of the latest input, or of the driver's clock where one was given with `follow`. It never runs back."""
        if self._clock is not None and (now := self._clock()) > self._now:
            return now
        return self._now

    @now.setter
    def now(self, now: float) -> None:
        self._now = now

    def follow(self, clock: Callable[[], float] | None) -> None:
        """Read the time from the driver's clock: what the user asks for comes between the inputs, and its time counts too."""
        self._now = self.now
        self._clock = clock

    def call_at(self, when: float, callback: Callable[..., None], *arguments: Any) -> Timer:
        """Call `callback(*arguments)` when the driver's time reaches `when` (seconds)."""
        timer = Timer(when, callback, arguments)
        self._sequence = sequence = self._sequence + 1
        heap = self._heap
        if len(heap) >= self._compact_at:
            self._compact()
        earlier = not heap or when < heap[0][0]
        heapq.heappush(heap, (when, sequence, timer))
        if earlier and self.on_earlier is not None:
            self.on_earlier(when)
        return timer

    def _compact(self) -> None:
        """Drop what was cancelled: a session timer of half an hour would else outlive its call of a minute that long."""
        heap = self._heap
        heap[:] = [entry for entry in heap if entry[2].callback is not None]
        heapq.heapify(heap)
        self._compact_at = max(_COMPACT_AT, 2 * len(heap))

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: Any) -> Timer:
        """Call `callback(*arguments)` `delay` seconds after `now`."""
        return self.call_at(self.now + delay, callback, *arguments)

    def next_timeout(self) -> float | None:
        """Time of the earliest deadline, or None when there is none."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def handle_timeout(self, now: float) -> None:
        """Set the time and fire what is due, in order of time. Harmless when early."""
        if now > self._now:
            self._now = now
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            callback = timer.callback
            if callback is not None:
                arguments = timer.arguments
                timer.cancel()
                callback(*arguments)

    @property
    def pending(self) -> int:
        """Number of deadlines that would still fire."""
        return sum(1 for _, _, timer in self._heap if timer.callback is not None)
