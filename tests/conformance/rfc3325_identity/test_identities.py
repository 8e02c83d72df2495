"""The identity that a network vouches for, and the one that a user prefers (RFC 3325); trunks that want it elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from flexosip import ConfigurationError, Phone
from tests.conformance.rfc3323_privacy.test_anonymous_calls import MINE, invite, told
from tests.network.stage import PEER
from tests.unit.sip.test_identity import of

NUMBER = "+4930123456"


@pytest.mark.parametrize(
    ("policy", "from_", "header"),
    [
        ("from", f"sip:{NUMBER}@{PEER}", {}),
        ("ppi", MINE, {"P-Preferred-Identity": f"<sip:{NUMBER}@{PEER}>"}),
        ("pai", MINE, {"P-Asserted-Identity": f"<sip:{NUMBER}@{PEER}>"}),
        ("rpid", MINE, {"Remote-Party-ID": f"<sip:{NUMBER}@{PEER}>;party=calling;screen=no;privacy=off"}),
        ("diversion", MINE, {"Diversion": f"<sip:{NUMBER}@{PEER}>;reason=unconditional"}),
    ],
)
@pytest.mark.parametrize("of_account", [True, False])
def test_a_number_stands_where_the_trunk_wants_it(policy: str, from_: str, header: dict[str, str], of_account: bool) -> None:
    """sipgate: the From is the SIP id, the number stands in P-Preferred-Identity; others take it from the From."""
    account: dict[str, Any] = {"identity_policy": policy, **({"caller_id": NUMBER} if of_account else {})}
    request = invite(account=account, **({} if of_account else {"caller_id": NUMBER}))
    assert str(request.from_.uri) == from_ and told(request) == header


def test_the_number_of_a_call_wins_over_that_of_the_account() -> None:
    request = invite(account={"identity_policy": "ppi", "caller_id": "+491"}, caller_id="+492")
    assert told(request) == {"P-Preferred-Identity": f"<sip:+492@{PEER}>"}


@pytest.mark.parametrize(
    ("caller_id", "uri"),
    [("+49 (30) 1-2", f"sip:+493012@{PEER}"), ("front door", f"sip:front%20door@{PEER}"), ("sip:a@x.example", "sip:a@x.example"),
     ("a@x.example:5070", "sip:a@x.example:5070"), ("tel:+49-30", f"sip:+49-30@{PEER}")],
)  # fmt: skip
def test_a_caller_id_is_a_number_or_an_address(caller_id: str, uri: str) -> None:
    assert str(invite(account={}, caller_id=caller_id).from_.uri) == uri


def test_a_phone_without_account_shows_the_number_at_its_own_address() -> None:
    assert str(invite(f"sip:x@{PEER}", aor=None, caller_id="17").from_.uri) == "sip:17@10.0.0.1:5060"


@pytest.mark.parametrize("caller_id", ["", "a\r\nVia: x", "sip:@"])
def test_a_caller_id_that_means_nothing_is_refused_at_once(caller_id: str) -> None:
    with pytest.raises(ConfigurationError):
        Phone().add_account(MINE, register=False, caller_id=caller_id)


def test_one_sip_and_one_tel_uri_may_be_asserted_and_the_sip_one_can_be_called_back() -> None:
    """RFC 3325 §9.1"""
    identity = of("P-Asserted-Identity: <tel:+493012>", 'P-Asserted-Identity: "Cullen" <sip:+493012@x.example>')
    assert str(identity.uri) == "sip:+493012@x.example" and identity.display_name == "Cullen"
    both = of('P-Asserted-Identity: tel:+493012, "Cullen" <sip:fluffy@x.example>')
    assert [claim.number for claim in both.claims][:2] == ["fluffy", "+493012"]


def test_a_preferred_identity_is_never_an_assertion() -> None:
    identity = of("P-Preferred-Identity: <sip:+4911@bank.example>")
    assert identity.asserted is None and identity.number == "+4930123456"


def test_what_a_stranger_asserts_is_no_assertion() -> None:
    """RFC 3325 §6: from an element that is not trusted the header is not used."""
    identity = of("P-Asserted-Identity: <sip:+4911@bank.example>", trusted=False)
    assert identity.asserted is None and not identity.matches("+4911*") and identity.source == "From"


def test_the_called_number_is_what_stood_in_the_request_uri_before_it_became_our_contact() -> None:
    """RFC 7315 §4.2"""
    assert of("P-Called-Party-ID: <sip:+49301@x.example>").called == "+49301"
    assert of("P-Called-Party-ID: <sip:+49301@x.example>", trusted=False).called == "620"
