"""The digit collector, second by second."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexosip.errors import ConfigurationError, LocalProtocolError
from flexosip.ivr import ChoiceCollector, DigitCollector, Digits


def collector(**options: Any) -> DigitCollector:
    machine = DigitCollector(**{"max_digits": 4, "timeout": 5.0, "between": 2.0, **options})
    machine.begin()
    return machine


def heard(machine: DigitCollector, now: float = 0.0) -> DigitCollector:
    machine.prompt_ended(now)
    return machine


def test_digits_are_a_string_that_knows_its_reason() -> None:
    digits = Digits("12", "terminator")
    assert digits == "12" and isinstance(digits, str) and digits.reason == "terminator"
    assert not Digits()
    assert repr(digits) == "Digits('12', reason='terminator')"
    for twin in (copy.copy(digits), pickle.loads(pickle.dumps(digits))):
        assert (twin, twin.reason) == (digits, "terminator")


def test_as_many_digits_as_wanted_end_the_entry() -> None:
    machine = heard(collector(max_digits=2))
    machine.receive_digit("4", 1.0)
    assert machine.result is None
    machine.receive_digit("2", 1.5)
    assert machine.result == "42" and machine.result.reason == "max_digits"
    assert machine.next_timeout() is None and not machine.listening


def test_the_terminator_ends_the_entry_and_is_not_part_of_it() -> None:
    machine = heard(collector())
    machine.receive_digit("4", 1.0)
    machine.receive_digit("#", 1.5)
    assert machine.result == "4" and machine.result.reason == "terminator"


def test_the_terminator_alone_is_an_empty_entry_and_no_silence() -> None:
    machine = heard(collector(tries=3))
    machine.receive_digit("#", 1.0)
    assert machine.result == "" and machine.result.reason == "terminator"


@pytest.mark.parametrize("terminator", ["", "*"])
def test_another_or_no_terminator_leaves_the_hash_key_a_digit(terminator: str) -> None:
    machine = heard(collector(terminator=terminator, max_digits=2))
    machine.receive_digit("#", 1.0)
    machine.receive_digit("1", 1.0)
    assert machine.result == "#1"


def test_silence_counts_from_the_end_of_the_prompt() -> None:
    machine = collector()
    assert machine.prompting and machine.next_timeout() is None
    machine.prompt_ended(7.0)
    assert not machine.prompting and machine.next_timeout() == 12.0
    machine.handle_timeout(11.9)
    assert machine.result is None
    machine.handle_timeout(12.0)
    assert machine.result == "" and machine.result.reason == "timeout"


def test_a_pause_after_a_digit_ends_the_entry() -> None:
    machine = heard(collector())
    machine.receive_digit("1", 4.0)
    machine.receive_digit("2", 5.9)
    assert machine.next_timeout() == pytest.approx(7.9)
    machine.handle_timeout(7.9)
    assert machine.result == "12" and machine.result.reason == "between"


def test_silence_plays_the_prompt_again_as_long_as_there_are_tries() -> None:
    machine = heard(collector(tries=2))
    machine.handle_timeout(5.0)
    assert (machine.prompting, machine.attempt, machine.result) == (True, 2, None)
    machine.prompt_ended(8.0)
    machine.handle_timeout(13.0)
    assert machine.result is not None and machine.result.reason == "timeout"


def test_with_barge_in_a_key_ends_the_prompt() -> None:
    machine = collector()
    machine.receive_digit("1", 0.5)
    assert not machine.prompting and machine.next_timeout() == 2.5
    machine.prompt_ended(9.0)  # the driver's late word changes nothing
    assert machine.next_timeout() == 2.5


def test_without_barge_in_keys_wait_for_the_end_of_the_prompt() -> None:
    machine = collector(barge_in=False)
    assert not machine.listening
    with pytest.raises(LocalProtocolError):
        machine.receive_digit("1", 0.5)
    machine.prompt_ended(3.0)
    assert machine.listening


def test_no_limit_means_no_deadline() -> None:
    machine = heard(collector(timeout=None))
    assert machine.next_timeout() is None
    machine.handle_timeout(1e9)
    assert machine.result is None


def test_a_key_after_the_end_and_a_second_begin_are_mistakes() -> None:
    machine = heard(collector(max_digits=1))
    machine.receive_digit("1", 0)
    with pytest.raises(LocalProtocolError):
        machine.receive_digit("2", 0)
    with pytest.raises(LocalProtocolError):
        machine.begin()


@pytest.mark.parametrize(
    "options",
    [{"max_digits": 0}, {"tries": 0}, {"timeout": -1}, {"between": 1e9}, {"timeout": float("nan")}, {"terminator": "x"}],
)
def test_settings_without_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        collector(**options)


def test_letters_of_the_fourth_column_are_digits() -> None:
    machine = heard(collector(max_digits=2))
    machine.receive_digit("a", 0)
    machine.receive_digit("D", 0)
    assert machine.result == "AD"


@pytest.mark.parametrize(
    ("keys", "text", "reason"),
    [("1", None, None), ("12", "12", "choice"), ("2", "2", "choice"), ("3", "3", "invalid"), ("13", "13", "invalid"), ("#", "#", "choice")],
)
def test_a_choice_is_taken_as_soon_as_it_is_the_only_one(keys: str, text: str | None, reason: str | None) -> None:
    machine = ChoiceCollector(["1", "12", "2", "#"], between=2.0)
    machine.begin()
    machine.prompt_ended(0)
    for key in keys:
        machine.receive_digit(key, 0)
    assert machine.result == text
    assert (machine.result.reason if machine.result is not None else None) == reason


@pytest.mark.parametrize(("key", "reason"), [("1", "choice"), ("4", "invalid")])
def test_a_pause_decides_between_a_short_and_a_long_choice(key: str, reason: str) -> None:
    machine = ChoiceCollector(["1", "12", "45"], between=2.0)
    machine.begin()
    machine.receive_digit(key, 1.0)
    assert machine.result is None
    machine.handle_timeout(3.0)
    assert machine.result == key and machine.result.reason == reason


@given(
    st.lists(st.tuples(st.sampled_from([*"0123456789*#", "timeout", "prompt"]), st.floats(0, 4)), max_size=40),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_whatever_happens_the_entry_is_within_its_bounds(steps: list[tuple[str, float]], max_digits: int, tries: int) -> None:
    machine, now = collector(max_digits=max_digits, tries=tries), 0.0
    for step, wait in steps:
        now += wait
        if step == "prompt":
            machine.prompt_ended(now)
        elif step == "timeout":
            machine.handle_timeout(now)
        elif machine.listening:
            machine.receive_digit(step, now)
        assert machine.attempt <= tries
        assert (machine.result is not None) <= (not machine.prompting and machine.next_timeout() is None)
    if machine.result is not None:
        assert len(machine.result) <= max_digits and "#" not in machine.result
        assert (machine.result.reason == "max_digits") == (len(machine.result) == max_digits)
