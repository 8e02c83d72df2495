"""The fuse against toll fraud, and emergency numbers."""

from __future__ import annotations

from typing import Any

import pytest

from flexosip import CallBarred, CallPolicy, ConfigurationError
from flexosip.phone.policy.call_policy import CallFuse, dialled_number
from flexosip.sip.uri import SipUri, parse_uri


def lets_out(policy: CallPolicy, target: str, now: float = 0.0) -> bool:
    try:
        CallFuse(policy).check(parse_uri(target), now)
    except CallBarred:
        return False
    return True


@pytest.mark.parametrize(
    ("target", "number"),
    [
        ("sip:+4930123@h", "+4930123"),
        ("sip:004930123@h", "+4930123"),
        ("sip:%2B4930123@h", "+4930123"),
        ("sip:+49-(30)-1.23@h", "+4930123"),
        ("sip:+4930123;isub=1@h;user=phone", "+4930123"),
        ("sip:%30%30%34%39190@h", "+49190"),
        ("tel:+49-30-123", "+4930123"),
        ("tel:110;phone-context=+49", "110"),
        ("sip:**9@h", "**9"),
        ("sip:Alice@h", "alice"),
        ("sip:h", ""),
        ("sip:000@h", "000"),
        ("sip:%D9%A1%D9%A1%D9%A2@h", "112"),
        ("sip:%EF%BC%91%EF%BC%91%EF%BC%92@h", "112"),
    ],
)
def test_one_number_is_seen_however_it_is_written(target: str, number: str) -> None:
    assert dialled_number(parse_uri(target)) == number


@pytest.mark.parametrize(
    ("policy", "out", "barred"),
    [
        ({}, ["sip:+49190@h", "sip:alice@h", "sip:h"], []),
        ({"denied_prefixes": ("+49190", "0900")}, ["sip:+4930@h", "sip:09@h"], ["sip:+491901@h", "sip:0049190@h", "sip:0-900-1@h"]),
        ({"allowed_prefixes": ("+49",)}, ["sip:+4930@h", "tel:004930"], ["sip:+4330@h", "sip:alice@h", "sip:h", "sip:030@h"]),
        ({"allowed_prefixes": ("+49",), "denied_prefixes": ("+49190",)}, ["sip:+4930@h"], ["sip:+49190@h"]),
        ({"allowed_prefixes": ("", "+491901"), "denied_prefixes": ("+49190",)}, ["sip:+491901@h", "sip:x@h"], ["sip:+491902@h"]),
        ({"allowed_prefixes": ("+49",), "denied_prefixes": ("+49",)}, [], ["sip:+4930@h"]),
        ({"allowed_prefixes": ()}, [], ["sip:+4930@h", "sip:h"]),
        ({"allowed_prefixes": "**"}, ["sip:**9@h"], ["sip:9@h"]),
    ],
)
def test_prefixes_decide(policy: dict[str, Any], out: list[str], barred: list[str]) -> None:
    assert [target for target in out if not lets_out(CallPolicy(**policy), target)] == []
    assert [target for target in barred if lets_out(CallPolicy(**policy), target)] == []


@pytest.mark.parametrize("number", ["112", "1-1-2", "%31%31%32", "911", "999", "110", "000"])
def test_emergency_numbers_are_refused_unless_they_are_enabled(number: str) -> None:
    assert not lets_out(CallPolicy(), f"sip:{number}@h")
    assert lets_out(CallPolicy(emergency="allow"), f"sip:{number}@h")


def test_the_country_tells_which_numbers_are_those_of_emergencies() -> None:
    assert not lets_out(CallPolicy(country="DE"), "sip:110@h") and lets_out(CallPolicy(country="de"), "sip:911@h")
    assert not lets_out(CallPolicy(country="US"), "sip:911@h") and lets_out(CallPolicy(country="US"), "sip:110@h")
    assert not lets_out(CallPolicy(country="CH"), "sip:144@h")
    assert lets_out(CallPolicy(country="DE"), "sip:1120@h")
    assert not lets_out(CallPolicy(emergency_numbers=("0112", "0-110")), "sip:0112@h")
    assert not lets_out(CallPolicy(emergency_numbers=("0112", "0-110")), "sip:0110@h")


def test_a_function_decides_about_each_emergency_call() -> None:
    asked: list[str] = []

    def decide(number: str) -> bool:
        asked.append(number)
        return number == "112"

    policy = CallPolicy(emergency=decide)
    assert lets_out(policy, "sip:1-12@h") and not lets_out(policy, "sip:911@h") and lets_out(policy, "sip:4711@h")
    assert asked == ["112", "911"]


def test_an_emergency_call_that_is_enabled_passes_all_other_limits() -> None:
    fuse = CallFuse(CallPolicy(max_calls_per_hour=0, allowed_prefixes=(), emergency="allow"))
    for _ in range(3):
        fuse.check(SipUri("sip", "112", "h"), 0.0)


def test_calls_of_any_sixty_minutes_are_counted() -> None:
    fuse = CallFuse(CallPolicy(max_calls_per_hour=3, denied_prefixes=("9",)))
    uri = SipUri("sip", "1", "h")
    for now in (0.0, 1000.0, 2000.0):
        fuse.check(uri, now)
    for now in (2000.0, 3599.0):
        with pytest.raises(CallBarred, match="3 calls an hour"):
            fuse.check(uri, now)
        with pytest.raises(CallBarred):
            fuse.check(SipUri("sip", "91", "h"), now)
    fuse.check(uri, 3600.0)
    with pytest.raises(CallBarred):
        fuse.check(uri, 4599.0)
    fuse.check(uri, 4600.0)


def test_the_error_says_what_to_do() -> None:
    with pytest.raises(CallBarred) as caught:
        CallFuse(CallPolicy()).check(SipUri("sip", "112", "h"), 0.0)
    assert caught.value.status == 403 and "another phone" in caught.value.explain() and "--emergency allow" in caught.value.explain()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_calls_per_hour": -1}, {"max_duration": 0}, {"emergency": "maybe"}, {"country": "XX"}, {"denied_prefixes": ("",)},
        {"denied_prefixes": (7,)}, {"allowed_prefixes": ("a\nb",)}, {"emergency_numbers": ("",)}, {"max_duration": float("nan")},
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        CallPolicy(**wrong)
