"""RFC 4488 and RFC 7614: a REFER without the implicit subscription."""

from __future__ import annotations

import pytest

from flexosip.sip.message import Response
from flexosip.sip.refer import wants_subscription
from flexosip.sip.refer_subscription import ReferKnowledge
from tests.referring import Referring


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ((), True),
        ((("Refer-Sub", "true"),), True),
        ((("Refer-Sub", "false"),), False),
        ((("Refer-Sub", "FALSE ;x=1"),), False),
        ((("Refer-Sub", "nonsense"),), True),
        ((("Require", "nosub"),), False),
        ((("Require", "explicitsub"),), True),
        ((("Supported", "norefersub, nosub"),), True),
    ],
)
def test_only_refer_sub_false_and_a_required_nosub_do_without_subscription(headers: tuple[tuple[str, str], ...], wanted: bool) -> None:
    assert wants_subscription(Response(202, headers=headers)) is wanted


@pytest.mark.parametrize("header", [("Refer-Sub", "false"), ("Require", "nosub")])
def test_an_answer_without_subscription_is_the_last_that_is_heard(header: tuple[str, str]) -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202, headers=(header,))
    (outcome,) = agent.outcomes
    assert outcome.knowledge is ReferKnowledge.UNTOLD and outcome.accepted


def test_notifies_that_come_all_the_same_are_answered_for_a_while() -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202, headers=(("Refer-Sub", "false"),))
    assert agent.notify("100 Trying") == 200
    agent.wire.advance(40)
    assert agent.notify("200 OK") == 481
    assert len(agent.outcomes) == 1
