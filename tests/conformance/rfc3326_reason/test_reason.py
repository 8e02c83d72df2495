"""Reason in requests and responses, and the causes that statuses stand for (RFC 3326, RFC 6432, RFC 3398)."""

from __future__ import annotations

import pytest

from flexosip.phone.events import CallEnd
from flexosip.sip.headers import Headers
from flexosip.sip.message import Response
from flexosip.sip.parser import parse_message
from flexosip.sip.reason import ELSEWHERE, Q850_TEXTS, Reason, cause_of_status, parse_reasons, q850_reason, status_of_cause
from tests import corpus


def test_the_reason_of_a_call_that_was_answered_elsewhere_is_the_rfcs_own() -> None:
    assert str(ELSEWHERE) == 'SIP;cause=200;text="Call completed elsewhere"'


@pytest.mark.parametrize(
    ("cause", "status"),
    [(1, 404), (3, 404), (17, 486), (18, 408), (19, 480), (20, 480), (21, 403), (22, 410), (27, 502), (28, 484), (31, 480), (34, 503),
     (41, 503), (47, 503), (55, 403), (65, 488), (79, 501), (88, 503), (102, 504), (111, 500), (127, 500), (99, 500)],
)  # fmt: skip
def test_a_cause_of_the_telephone_network_becomes_the_status_of_the_table(cause: int, status: int) -> None:
    assert status_of_cause(cause) == status


@pytest.mark.parametrize(
    ("status", "cause"),
    [(200, 16), (400, 41), (401, 21), (403, 21), (404, 1), (405, 63), (408, 102), (410, 22), (415, 79), (420, 127), (480, 18), (481, 41),
     (482, 25), (483, 25), (484, 28), (485, 1), (486, 17), (500, 41), (501, 79), (502, 38), (503, 41), (504, 102), (600, 17), (603, 21),
     (604, 1), (487, None), (302, None), (180, None)],
)  # fmt: skip
def test_a_status_becomes_the_cause_of_the_table(status: int, cause: int | None) -> None:
    assert cause_of_status(status) == cause


def test_every_cause_that_a_status_gives_has_a_text_and_a_status() -> None:
    for status in range(400, 700):
        cause = cause_of_status(status)
        if cause is not None:
            assert cause in Q850_TEXTS and 400 <= status_of_cause(cause) <= 699


@pytest.mark.parametrize("cause", [0, 128, -1, 1000])
def test_there_are_causes_from_1_to_127(cause: int) -> None:
    with pytest.raises(ValueError, match="1 to 127"):
        q850_reason(cause)


def test_the_text_of_a_cause_may_be_ones_own() -> None:
    assert str(q850_reason(16)) == 'Q.850;cause=16;text="Normal call clearing"'
    assert str(q850_reason(16, "Nobody at \"home\"")) == r'Q.850;cause=16;text="Nobody at \"home\""'
    assert str(q850_reason(99)) == "Q.850;cause=99" and str(q850_reason(17, "")) == "Q.850;cause=17"
    with pytest.raises(ValueError, match="control"):
        str(q850_reason(16, "a\r\nVia: x"))


def test_several_protocols_may_give_their_reasons_in_one_message() -> None:
    headers = Headers([("Reason", 'Q.850;cause=16;text="Terminated", SIP ;cause=600 ;text="Busy Everywhere"'), ("Reason", "X.25;cause=a")])
    assert parse_reasons(headers) == [Reason("Q.850", 16, "Terminated"), Reason("SIP", 600, "Busy Everywhere"), Reason("X.25", None, "")]


def test_the_end_of_a_call_has_the_cause_that_was_told_or_else_that_of_its_status() -> None:
    assert CallEnd("remote", 486, "Busy Here").q850 == 17
    assert CallEnd("remote", 486, "Busy Here", 21).q850 == 21
    assert CallEnd("remote", 200, "BYE").q850 == 16
    assert CallEnd("local", 487, "Request Terminated").q850 is None


def test_the_bye_of_a_trunk_provider_has_its_cause() -> None:
    message = parse_message(corpus.path("devices/twilio-bye-reason.sip").read_bytes())
    assert not isinstance(message, Response)
    assert parse_reasons(message.headers) == [Reason("Q.850", 16, "Normal call clearing")]
