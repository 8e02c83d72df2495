"""The scheduler of the machines."""

from __future__ import annotations

from flexosip.sansio import Scheduler


def test_what_was_cancelled_does_not_stay_until_its_time() -> None:
    scheduler = Scheduler()
    fired: list[int] = []
    for number in range(20_000):
        timer = scheduler.call_later(900.0, fired.append, number)
        if number % 100:
            timer.cancel()
    assert len(scheduler._heap) < 2500 and scheduler.pending == 200
    scheduler.handle_timeout(900.0)
    assert fired == list(range(0, 20_000, 100))


def test_a_deadline_that_is_added_while_others_fire_keeps_its_place() -> None:
    scheduler = Scheduler()
    fired: list[str] = []

    def crowd() -> None:
        for _ in range(3000):
            scheduler.call_at(9.0, fired.append, "crowd").cancel()
        scheduler.call_at(2.0, fired.append, "late")

    scheduler.call_later(1.0, crowd)
    scheduler.call_later(1.5, fired.append, "early")
    scheduler.handle_timeout(3.0)
    assert fired == ["early", "late"]
    assert scheduler.pending == 0
