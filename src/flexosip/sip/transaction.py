"""What client and server transactions have in common: their states, the failure they report, and how they linger.

RFC 3261 §17
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Scheduler, Timer
    from flexosip.sip.flow import Flow
    from flexosip.sip.server_transaction import ServerTransaction
    from flexosip.sip.timers import Timers

__all__ = ["LingerQueue", "TransactionFailure", "TransactionLayer", "TransactionState", "contains_tag"]


class TransactionState(enum.Enum):
    """RFC 3261 figures 5 to 8, with the Accepted state of RFC 6026."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class TransactionFailure:
    """No final response came. It stands for one with this status (RFC 3261 §8.1.3.1)."""

    status: int
    """408: nobody answered in time. 503: the network failed. 487: we gave the request up ourselves."""
    reason: str
    error: Exception | None = None
    """What the driver reported, for a 503."""


class Lingering(Protocol):
    """What can stand in a `LingerQueue`."""

    expires: float
    """When to terminate, in the scheduler's time."""

    def terminate(self) -> None:
        """End now; harmless when ended already."""


class LingerQueue:
    """The transactions that only absorb retransmissions for one fixed time: a queue needs one timer, not one for each.

    Args:
        scheduler: gives the time.
        duration: seconds that each stays.
        resolution: seconds; when several wait, they are ended in batches at most this much late.
    """

    __slots__ = ("_queue", "_scheduler", "_timer", "duration", "resolution")

    def __init__(self, scheduler: Scheduler, duration: float, resolution: float) -> None:
        self.duration = duration
        self.resolution = resolution
        self._scheduler = scheduler
        self._queue: deque[Lingering] = deque()
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, transaction: Lingering) -> None:
        """Terminate `transaction` after the queue's duration."""
        transaction.expires = expires = self._scheduler.now + self.duration
        self._queue.append(transaction)
        if self._timer is None:
            self._timer = self._scheduler.call_at(expires, self._expire)

    def _expire(self) -> None:
        now = self._scheduler.now
        queue = self._queue
        while queue and queue[0].expires <= now:
            queue.popleft().terminate()
        self._timer = self._scheduler.call_at(max(queue[0].expires, now + self.resolution), self._expire) if queue else None

    def close(self) -> None:
        """Forget all; nothing is terminated."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class TransactionLayer(Protocol):
    """What a transaction needs of the stack it lives in."""

    scheduler: Scheduler
    timers: Timers
    transmit: Callable[[Flow, bytes], None]
    linger_long: LingerQueue
    """64*T1: timers J, L and M."""
    linger_completed: LingerQueue
    """Timer D."""
    linger_short: LingerQueue
    """T4: timers I and K."""

    def new_tag(self) -> str:
        """A tag of at least 64 random bits (RFC 3261 §19.3)."""

    def client_settled(self) -> None:
        """One client transaction waits for nothing final any more."""

    def remove_client(self, key: tuple[str, str]) -> None:
        """A client transaction has ended."""

    def server_settled(self) -> None:
        """One server transaction has its final response, or will have none."""

    def forget_merged(self, transaction: ServerTransaction) -> None:
        """A late copy of its request is not looked for any longer."""

    def remove_server(self, transaction: ServerTransaction) -> None:
        """A server transaction has ended."""


def contains_tag(value: str) -> bool:
    """False if a From or To value certainly has no tag; a cheap test before the value is parsed."""
    return "tag" in value or "TAG" in value or "Tag" in value
