"""The bell's modes, pauses and triggers, in made-up time."""

from __future__ import annotations

import pytest

from flexosip.apps.bell.state import Announcement, BellState, Mode, ModeChanged, StateEvent, Swallowed, Triggered, TriggerPending


def events(state: BellState) -> list[StateEvent]:
    result = []
    while (event := state.poll_event()) is not None:
        result.append(event)
    return result


def switched(mode: str, now: float = 0.0, **options: float) -> BellState:
    """A bell that was switched to a mode by its key."""
    state = BellState(**options)
    state.digit({"off": "0", "once": "1", "5min": "5", "forever": "9"}[mode], now)
    events(state)
    return state


def test_it_is_off_at_first_start() -> None:
    assert BellState().mode is Mode.OFF


def test_a_call_to_a_bell_that_is_off_makes_it_once_and_says_so() -> None:
    state = BellState()
    assert state.call_in(0.0) == [Announcement("welcome", 0.5), Announcement("on", 0.2)]
    assert state.mode is Mode.ONCE
    assert events(state) == [ModeChanged(Mode.ONCE, "call")]


@pytest.mark.parametrize("mode", ["once", "5min", "forever"])
def test_a_call_to_a_bell_that_is_on_says_the_present_mode_and_changes_nothing(mode: str) -> None:
    state = switched(mode)
    assert state.call_in(1.0) == [Announcement("welcome", 0.5), Announcement(mode, 0.2)]
    assert state.mode == mode
    assert events(state) == []


@pytest.mark.parametrize(("key", "mode"), [("0", "off"), ("1", "once"), ("5", "5min"), ("9", "forever")])
def test_each_key_sets_its_mode_and_confirms_it_after_300_ms(key: str, mode: str) -> None:
    state = BellState()
    assert state.digit(key, 0.0) == [Announcement(mode, 0.3)]
    assert events(state) == [ModeChanged(Mode(mode), "digit")]


@pytest.mark.parametrize("key", list("234678*#ABCD"))
def test_other_keys_are_ignored(key: str) -> None:
    state = switched("forever")
    assert state.digit(key, 0.0) == []
    assert state.mode is Mode.FOREVER
    assert events(state) == []


def test_once_falls_back_to_off_when_triggered() -> None:
    state = switched("once")
    state.trigger("gpio17", 1.0)
    assert events(state) == [Triggered("gpio17"), ModeChanged(Mode.OFF, "trigger")]
    assert state.mode is Mode.OFF
    assert state.alerting


@pytest.mark.parametrize("mode", ["5min", "forever"])
def test_5min_and_forever_keep_watching(mode: str) -> None:
    state = switched(mode)
    for now in (1.0, 50.0):
        state.trigger("stdin", now)
        assert events(state) == [Triggered("stdin")]
        state.alert_ended(now + 10)
    assert state.mode == mode


def test_five_minutes_last_300_seconds() -> None:
    state = switched("5min", 100.0)
    assert state.next_timeout() == 400.0
    state.handle_timeout(399.9)
    assert state.mode is Mode.FIVE_MINUTES
    state.handle_timeout(400.0)
    assert events(state) == [ModeChanged(Mode.OFF, "time")]
    assert state.next_timeout() is None


def test_a_trigger_after_five_minutes_rings_nobody_even_if_the_timer_came_late() -> None:
    state = switched("5min", 0.0)
    state.trigger("stdin", 300.5)
    assert events(state) == [ModeChanged(Mode.OFF, "time"), TriggerPending("stdin")]


def test_pressing_5_again_begins_five_new_minutes_and_9_ends_the_count() -> None:
    state = switched("5min", 0.0)
    state.digit("5", 200.0)
    assert state.next_timeout() == 500.0
    state.digit("9", 210.0)
    assert state.next_timeout() is None


def test_a_pending_trigger_is_swallowed_when_a_call_switches_the_bell_on() -> None:
    state = BellState()
    state.trigger("gpio17", 0.0)
    state.trigger("gpio17", 1.0)
    assert events(state) == [TriggerPending("gpio17")]
    state.call_in(2.0)
    assert events(state) == [ModeChanged(Mode.ONCE, "call"), Swallowed("gpio17", "once")]
    state.trigger("gpio17", 3.0)
    assert Triggered("gpio17") in events(state)


def test_a_pending_trigger_is_swallowed_by_key_1_and_sets_off_5_and_9() -> None:
    for key, expected in (("1", Swallowed("stdin", "once")), ("5", Triggered("stdin")), ("9", Triggered("stdin"))):
        state = BellState()
        state.trigger("stdin", 0.0)
        events(state)
        state.digit(key, 1.0)
        assert events(state)[1] == expected


def test_a_level_that_has_gone_is_no_longer_pending() -> None:
    state = BellState()
    state.trigger("gpio17", 0.0)
    state.release("gpio17", 1.0)
    events(state)
    state.digit("9", 2.0)
    assert events(state) == [ModeChanged(Mode.FOREVER, "digit")]


def test_a_trigger_while_it_rings_is_swallowed() -> None:
    state = switched("forever")
    state.trigger("stdin", 0.0)
    events(state)
    state.trigger("gpio17", 1.0)
    assert events(state) == [Swallowed("gpio17", "ringing")]


def test_cool_down_swallows_triggers_and_does_not_use_up_once() -> None:
    state = switched("forever", cool_down=30.0)
    state.trigger("stdin", 0.0)
    state.alert_ended(10.0)
    state.digit("1", 11.0)
    events(state)
    state.trigger("stdin", 39.9)
    assert events(state) == [Swallowed("stdin", "cool_down")]
    assert state.mode is Mode.ONCE
    state.trigger("stdin", 40.0)
    assert events(state)[0] == Triggered("stdin")


@pytest.mark.parametrize("mode", ["off", "once", "forever"])
def test_the_mode_survives_a_restart(mode: str) -> None:
    stored = switched(mode).to_store(5.0, 1_000.0)
    again = BellState()
    again.restore(stored, 70.0, 2_000.0)
    assert again.mode == mode
    assert events(again) == ([] if mode == "off" else [ModeChanged(Mode(mode), "restart")])


def test_five_minutes_go_on_over_a_restart_and_are_over_when_they_have_passed() -> None:
    stored = switched("5min", 0.0).to_store(100.0, 1_000.0)
    again = BellState()
    again.restore(stored, 7.0, 1_050.0)
    assert again.next_timeout() == 7.0 + 150.0
    late = BellState()
    late.restore(stored, 7.0, 1_200.0)
    assert late.mode is Mode.OFF


def test_a_clock_that_was_set_back_does_not_make_more_than_five_minutes() -> None:
    again = BellState()
    again.restore({"mode": "5min", "until": 1e9}, 0.0, 5.0)
    assert again.next_timeout() == 300.0


@pytest.mark.parametrize(
    "stored", [{}, {"mode": "loud"}, {"mode": 3}, {"mode": "5min"}, {"mode": "5min", "until": "x"}, {"mode": "5min", "until": float("nan")}]
)
def test_what_cannot_be_read_counts_as_off(stored: dict[str, object]) -> None:
    state = BellState()
    state.restore(stored, 0.0, 0.0)
    assert state.mode is Mode.OFF
