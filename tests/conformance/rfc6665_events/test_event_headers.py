"""Event, Subscription-State and Allow-Events (RFC 6665 §8)."""

from __future__ import annotations

import pytest

from flexosip.sip.event_headers import Event, SubscriptionState, allow_events_value, allowed_events
from flexosip.sip.grammar import SipParseError
from flexosip.sip.headers import Headers


@pytest.mark.parametrize(
    ("text", "package", "number", "rest"),
    [
        ("message-summary", "message-summary", None, ()),
        ("refer;id=93809823", "refer", "93809823", ()),
        ('dialog; ID="7" ;call-id="a@b;c"', "dialog", "7", (("call-id", '"a@b;c"'),)),
        ("presence.winfo", "presence.winfo", None, ()),
    ],
)
def test_an_event_is_a_package_an_id_and_parameters(text: str, package: str, number: str | None, rest: object) -> None:
    event = Event.parse(text)
    assert (event.package, event.id, event.parameters) == (package, number, rest)
    assert Event.parse(str(event)) == event


@pytest.mark.parametrize("text", ["", ";id=1", "a b", "dialog;id=", "dialog;id", "dialog;;x", 'dialog;id="a b"', "dialog;x=<"])
def test_a_malformed_event_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        Event.parse(text)


def test_events_match_by_package_and_id_octet_by_octet_and_by_nothing_else() -> None:
    assert Event.parse("dialog;call-id=1").matches(Event.parse("dialog;call-id=2"))
    assert not Event("dialog", "1").matches(Event("dialog"))
    assert not Event("Dialog").matches(Event("dialog"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("active;expires=3599", SubscriptionState("active", 3599)),
        ("Pending", SubscriptionState("pending")),
        ("terminated;reason=Probation;retry-after=60", SubscriptionState("terminated", None, "probation", 60)),
        ("terminated;reason=reason=noresource", SubscriptionState("terminated", None, "noresource")),  # linphone 5.1
        ("terminated ;reason=giveup;x=1", SubscriptionState("terminated", None, "giveup", None, (("x", "1"),))),
    ],
)
def test_a_subscription_state_has_expires_reason_and_retry_after(text: str, expected: SubscriptionState) -> None:
    state = SubscriptionState.parse(text)
    assert state == expected
    assert SubscriptionState.parse(str(state)) == state
    assert state.terminated == text.startswith("term")


@pytest.mark.parametrize("text", ["", ";x", "active;expires=-1", "active;expires=99999999999", "active;expires=x"])
def test_a_malformed_subscription_state_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        SubscriptionState.parse(text)


def test_a_notify_without_subscription_state_is_refused() -> None:
    with pytest.raises(SipParseError):
        SubscriptionState.of(Headers())
    assert Event.of(Headers()) is None
    assert Event.of(Headers([("o", "dialog")])) == Event("dialog")


def test_what_we_make_cannot_break_a_header() -> None:
    for bad in ("a\r\nb", "a b", ""):
        with pytest.raises(ValueError):
            Event(bad)
        with pytest.raises(ValueError):
            SubscriptionState(bad)
    with pytest.raises(ValueError):
        Event("dialog", parameters=(("x", "a\r\nb"),))
    with pytest.raises(ValueError):
        SubscriptionState("active", -1)


def test_allow_events_is_a_list_of_packages() -> None:
    headers = Headers([("Allow-Events", "dialog, presence"), ("u", "message-summary")])
    assert allowed_events(headers) == {"dialog", "presence", "message-summary"}
    assert allow_events_value({"presence", "dialog"}) == "dialog, presence"
