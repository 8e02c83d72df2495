"""Reason headers."""

from __future__ import annotations

import pytest

from flexosip.sip.headers import Headers
from flexosip.sip.reason import Reason, parse_reasons


def test_reasons_are_read_in_order() -> None:
    headers = Headers([("Reason", 'SIP ;cause=200 ;text="Call completed elsewhere"'), ("Reason", "Q.850;cause=16, preemption")])
    assert parse_reasons(headers) == [Reason("SIP", 200, "Call completed elsewhere"), Reason("Q.850", 16), Reason("preemption")]


@pytest.mark.parametrize("value", ["SIP;cause=x", "SIP;cause=99999999999", "SIP;cause=", "SIP;cause=\u0662"])
def test_a_cause_that_is_no_number_is_none(value: str) -> None:
    assert parse_reasons(Headers([("Reason", value)])) == [Reason("SIP")]


@pytest.mark.parametrize("value", ['SIP;text="open', "SIP;=;;", '"'])
def test_a_malformed_reason_is_passed_over(value: str) -> None:
    assert parse_reasons(Headers([("Reason", value)])) == []


def test_no_headers_no_reasons() -> None:
    assert parse_reasons(None) == parse_reasons(Headers()) == []


def test_what_is_written_can_be_read() -> None:
    reason = Reason("Q.850", 17, 'user "busy"; really, \\ yes')
    assert parse_reasons(Headers([("Reason", str(reason))])) == [reason]


@pytest.mark.parametrize("reason", [Reason("a b", 1), Reason("SIP", 1, "a\r\nb")])
def test_what_cannot_be_sent_is_refused(reason: Reason) -> None:
    with pytest.raises(ValueError):
        str(reason)
