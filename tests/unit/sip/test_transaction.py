"""The queue of transactions that only absorb, and the timers."""

from __future__ import annotations

from flexosip.sansio import Scheduler
from flexosip.sip.timers import Timers
from flexosip.sip.transaction import LingerQueue


class Absorbing:
    def __init__(self, scheduler: Scheduler) -> None:
        self.expires = 0.0
        self.ended_at: float | None = None
        self._scheduler = scheduler

    def terminate(self) -> None:
        self.ended_at = self._scheduler.now


def run(scheduler: Scheduler) -> int:
    steps = 0
    while (due := scheduler.next_timeout()) is not None:
        scheduler.handle_timeout(due)
        steps += 1
    return steps


def test_a_single_one_ends_exactly_in_time() -> None:
    scheduler = Scheduler()
    queue = LingerQueue(scheduler, 32.0, 0.1)
    one = Absorbing(scheduler)
    queue.add(one)
    run(scheduler)
    assert one.ended_at == 32.0 and len(queue) == 0


def test_many_end_in_order_never_early_at_most_a_batch_late_and_with_few_timers() -> None:
    scheduler = Scheduler()
    queue = LingerQueue(scheduler, 32.0, 0.1)
    many = []
    for number in range(2400):
        scheduler.handle_timeout(number / 1200)
        absorbing = Absorbing(scheduler)
        queue.add(absorbing)
        many.append((number / 1200 + 32.0, absorbing))
        assert scheduler.pending == 1
    steps = run(scheduler)
    assert all(due <= (absorbing.ended_at or 0) <= due + 0.1 + 1e-9 for due, absorbing in many)
    assert steps < 25


def test_the_queue_starts_again_after_it_was_empty() -> None:
    scheduler = Scheduler()
    queue = LingerQueue(scheduler, 5.0, 0.1)
    for start in (0.0, 100.0):
        scheduler.handle_timeout(start)
        one = Absorbing(scheduler)
        queue.add(one)
        run(scheduler)
        assert one.ended_at == start + 5.0


def test_the_timers_of_the_rfc() -> None:
    timers = Timers()
    assert (timers.t1, timers.t2, timers.t4, timers.d, timers.long, timers.trying_after) == (0.5, 4.0, 5.0, 32.0, 32.0, 3.5)
