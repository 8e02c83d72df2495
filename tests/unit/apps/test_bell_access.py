"""Allow-list, PIN and lock-out."""

from __future__ import annotations

import pytest

from flexosip.apps.bell.access import Access, Gate, Verdict
from flexosip.sip.headers import NameAddr
from flexosip.sip.identity import Identity
from flexosip.sip.uri import SipUri


def type_in(gate: Gate, keys: str, now: float = 0.0) -> Verdict:
    verdict = Verdict.WAIT
    for key in keys:
        verdict = gate.digit(key, now)
    return verdict


def caller(user: str, *, trusted: bool = True, asserted: str | None = None) -> Identity:
    """Who says to be `user`, and whom the server vouches for."""
    vouched = NameAddr(SipUri("sip", asserted, "home.test")) if asserted is not None else None
    return Identity(SipUri("sip", user, "home.test"), user, "", "From", vouched, trusted=trusted)


@pytest.mark.parametrize(
    ("pattern", "user", "matches"),
    [
        ("**6*", "**620", True),
        ("**6*", "+4917612345", False),
        ("**6*", "620", False),
        ("+49301234*", "+4930123456", True),
        ("+49301234*", "+4930123", False),
        ("620", "620", True),
        ("620", "6201", False),
        ("Anna", "anna", True),
        ("anna@home.test", "anna", True),
        ("anna@other.test", "anna", False),
        ("anna@home*", "anna", True),
        ("*", "anyone", True),
        ("*", "", True),
    ],
)
def test_a_star_at_the_end_stands_for_any_rest_and_others_are_the_key(pattern: str, user: str, matches: bool) -> None:
    assert Access(callers=(pattern,)).allows(caller(user), has_server=True) is matches


def test_without_a_list_everybody_may_call() -> None:
    assert Access().allows(caller("anyone", trusted=False), has_server=True)
    assert Access().allows(None, has_server=True)
    assert not Access(callers=("620",)).allows(None, has_server=False)


def test_what_the_server_asserts_decides_and_not_what_the_caller_says() -> None:
    access = Access(callers=("**6*",))
    assert not access.allows(caller("**620", asserted="+49176555"), has_server=True)
    assert access.allows(caller("anonymous", asserted="**620"), has_server=True)


def test_who_does_not_come_from_the_server_is_believed_only_where_there_is_none() -> None:
    access = Access(callers=("**6*",))
    assert not access.allows(caller("**620", trusted=False), has_server=True)
    assert access.allows(caller("**620", trusted=False), has_server=False)
    assert not access.allows(caller("+49176555", trusted=False), has_server=False)


def test_without_a_pin_the_gate_is_open() -> None:
    assert Access().gate().open


def test_the_right_pin_and_hash_open_the_gate() -> None:
    gate = Access("2468").gate()
    assert not gate.open
    assert type_in(gate, "2468") is Verdict.WAIT
    assert not gate.open
    assert type_in(gate, "#") is Verdict.OPEN
    assert gate.open


def test_a_wrong_pin_may_be_followed_by_the_right_one() -> None:
    gate = Access("2468").gate()
    assert type_in(gate, "1234#") is Verdict.WRONG
    assert type_in(gate, "#") is Verdict.WRONG
    assert type_in(gate, "2468#") is Verdict.OPEN


@pytest.mark.parametrize("keys", ["12468#", "24681#", "246#", "#", "2468" * 20 + "#", "2" * 100 + "#"])
def test_only_the_exact_pin_opens(keys: str) -> None:
    assert type_in(Access("2468").gate(), keys) is Verdict.WRONG


def test_after_three_wrong_tries_the_call_ends_and_nobody_gets_in_for_a_growing_while() -> None:
    access = Access("2468")
    now, seconds = 0.0, []
    for _ in range(8):
        assert access.locked_for(now) == 0
        gate = access.gate()
        assert [type_in(gate, "1#", now) for _ in range(3)] == [Verdict.WRONG, Verdict.WRONG, Verdict.HANG_UP]
        seconds.append(access.locked_for(now))
        now += seconds[-1]
    assert seconds == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_the_right_pin_forgives_earlier_failures() -> None:
    access = Access("2468")
    type_in(access.gate(), "1#1#1#", 0.0)
    type_in(access.gate(), "2468#", 60.0)
    type_in(access.gate(), "1#1#1#", 70.0)
    assert access.locked_for(70.0) == 60


def test_hanging_up_after_two_tries_does_not_give_tries_without_end() -> None:
    access = Access("2468")
    verdicts = [type_in(access.gate(), keys) for keys in ("1#", "1#1#", "1#1#", "1#")]
    assert verdicts[-1] is Verdict.HANG_UP
    assert access.locked_for(0.0) == 60


def test_a_second_call_that_was_on_during_the_lock_out_does_not_get_in_with_the_right_pin() -> None:
    access = Access("2468")
    other = access.gate()
    type_in(access.gate(), "1#1#1#", 0.0)
    assert type_in(other, "2468#", 1.0) is Verdict.WRONG


def test_a_lock_out_survives_a_restart() -> None:
    access = Access("2468")
    type_in(access.gate(), "1#1#1#", 0.0)
    again = Access("2468")
    again.restore(access.to_store(10.0, 1_000.0), 5.0, 1_020.0)
    assert again.locked_for(5.0) == pytest.approx(30.0)
    type_in(again.gate(), "1#1#1#", 40.0)
    assert again.locked_for(40.0) == 120


@pytest.mark.parametrize("stored", [{}, {"failures": "x"}, {"failures": True}, {"failures": -1}, {"failures": 2, "locked_until": "x"}])
def test_what_cannot_be_read_locks_nobody_out(stored: dict[str, object]) -> None:
    access = Access("2468")
    access.restore(stored, 0.0, 0.0)
    assert access.locked_for(0.0) == 0


def test_the_pin_is_not_shown() -> None:
    assert "2468" not in repr(Access("2468")) + repr(Access("2468").gate())
