"""How an account's server wants numbers written."""

from __future__ import annotations

import pytest

from flexosip import Phone
from flexosip.errors import ConfigurationError
from flexosip.phone.profiles.server_rules import ServerRules


def dialled(target: str, **rules: object) -> str:
    """The user part of what a phone with these rules dials."""
    phone = Phone("sip:alice@example.com", server_rules=ServerRules(**rules))  # type: ignore[arg-type]
    return phone.target_uri(target, phone.accounts[0]).user or ""


NUMBERS = [
    ("+49 30 123-456", "e164", None, "+4930123456"),
    ("0049 (30) 123456", "e164", "49", "+4930123456"),
    ("030 123456", "e164", "49", "+4930123456"),
    ("+4930123456", "digits", None, "4930123456"),
    ("030/123456", "digits", "49", "4930123456"),
    ("+4930123456", "national", "49", "030123456"),
    ("+4930123456", "national", "41", "004930123456"),
    ("030123456", "national", None, "030123456"),
    ("tel:+4930123456", "digits", None, "4930123456"),
    ("+4930123456", "as_written", "49", "+4930123456"),
]


@pytest.mark.parametrize(("target", "style", "country", "expected"), NUMBERS)
def test_a_number_is_written_as_the_server_wants_it(target: str, style: str, country: str | None, expected: str) -> None:
    assert dialled(target, dialled=style, country=country) == expected


@pytest.mark.parametrize("style", ["e164", "digits", "national"])
@pytest.mark.parametrize("target", ["110", "112", "911", "610", "**9", "**620", "*98", "alice", "116117"])
def test_emergency_calls_short_numbers_codes_and_names_go_as_they_are(target: str, style: str) -> None:
    assert dialled(target, dialled=style, country="49") == target


@pytest.mark.parametrize("target", ["030123456", "12025550101", "0049301234567"])
def test_a_number_whose_country_is_not_known_is_refused_before_it_leaves(target: str) -> None:
    with pytest.raises(ConfigurationError, match="with its country code"):
        dialled(target, dialled="e164")


def test_the_hash_is_escaped_unless_the_server_wants_it_raw_and_the_star_never_is() -> None:
    assert dialled("*31#**620") == "*31%23**620"
    assert dialled("*31#**620", raw_hash=True) == "*31#**620"


def test_whole_addresses_are_not_touched() -> None:
    phone = Phone("sip:alice@example.com", server_rules=ServerRules(dialled="e164"))
    assert str(phone.target_uri("sip:030123456@other.example", phone.accounts[0])) == "sip:030123456@other.example"


def test_the_number_that_is_shown_has_a_form_of_its_own() -> None:
    phone = Phone.sipgate("1234567e0", "secret", caller_id="0211 123456")
    assert phone.accounts[0].server_rules.caller("0211123456") == "49211123456"
    with pytest.raises(ConfigurationError, match="country code"):
        Phone("sip:a@example.com", caller_id="0211123456", server_rules=ServerRules(caller_id="e164"))


@pytest.mark.parametrize(
    "wrong", [{"dialled": "E.164"}, {"caller_id": "plus"}, {"digits": "sms"}, {"country": "049"}, {"service_domain": "a b"},
              {"pickup_code": "*8\r\n"}],
)  # fmt: skip
def test_a_rule_that_is_none_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        ServerRules(**wrong)  # type: ignore[arg-type]


def test_the_profiles_pickup_code_serves_unless_another_is_told() -> None:
    phone = Phone("sip:alice@example.com", server_rules=ServerRules(pickup_code="**"))
    assert phone.accounts[0].pickup_code == "**"
    assert phone.add_account("sip:b@example.com", pickup_code="*8", server_rules=ServerRules(pickup_code="**")).pickup_code == "*8"
