"""RFC 3515, the sender of a REFER: the implicit subscription, what its NOTIFYs say, and how long it lasts."""

from __future__ import annotations

import pytest

from flexosip.sip.refer_subscription import ReferKnowledge
from tests.referring import Referring

DONE = "terminated;reason=noresource"


def test_a_refer_goes_in_the_dialog_with_a_contact_and_its_2xx_is_no_final_news() -> None:
    agent = Referring()
    refer = agent.refer()
    assert refer.headers.get("Refer-To") == "<sip:target@192.0.2.9>" and refer.to.tag == "remote"
    assert str(refer.contact) == "<sip:us@192.0.2.1:5060>"
    agent.reply(refer, 202)
    assert agent.outcomes == [] and agent.referrals.active


def test_200_is_as_good_as_202() -> None:
    agent = Referring()
    agent.reply(agent.refer(), 200)
    agent.notify("200 OK", DONE)
    assert agent.outcomes[0].status == 200


def test_provisional_sipfrags_are_progress_and_the_final_one_is_the_outcome() -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202)
    for line in ("100 Trying", "180 Ringing", "183 Session Progress"):
        assert agent.notify(line) == 200
    assert agent.progress == [(100, "Trying"), (180, "Ringing"), (183, "Session Progress")]
    assert agent.notify("603 Declined", DONE) == 200
    (outcome,) = agent.outcomes
    assert (outcome.knowledge, outcome.status, outcome.reason) == (ReferKnowledge.TOLD, 603, "Declined")
    assert not agent.referrals.active


def test_a_notify_may_come_before_the_2xx() -> None:
    agent = Referring()
    refer = agent.refer()
    assert agent.notify("100 Trying") == 200
    assert agent.notify("200 OK", DONE) == 200
    agent.reply(refer, 202)
    assert [outcome.status for outcome in agent.outcomes] == [200]


def test_a_final_sipfrag_in_an_active_subscription_counts_and_what_follows_is_still_answered() -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202)
    agent.notify("200 OK", "active;expires=30")
    assert [outcome.status for outcome in agent.outcomes] == [200]
    assert agent.notify("200 OK", DONE) == 200
    assert len(agent.outcomes) == 1
    assert agent.notify("200 OK", DONE) == 481


def test_a_notify_without_subscription_state_counts() -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202)
    assert agent.notify("200 OK", None) == 200
    assert agent.outcomes[0].status == 200


@pytest.mark.parametrize("status", [400, 403, 405, 501, 603])
def test_a_refused_refer_makes_no_subscription_and_leaves_the_call_alone(status: int) -> None:
    agent = Referring()
    agent.reply(agent.refer(), status)
    assert [(outcome.knowledge, outcome.status) for outcome in agent.outcomes] == [(ReferKnowledge.REFUSED, status)]
    assert not agent.referrals.active and not agent.usage.ended
    assert agent.notify("200 OK") == 481


@pytest.mark.parametrize("status", [481, 408])
def test_an_answer_that_shows_that_the_call_is_gone_ends_it(status: int) -> None:
    agent = Referring()
    agent.reply(agent.refer(), status)
    assert agent.usage.ended and agent.outcomes[0].knowledge is ReferKnowledge.REFUSED


def test_of_two_refers_the_second_is_told_apart_by_its_cseq() -> None:
    agent = Referring()
    first = agent.refer()
    agent.reply(first, 202)
    second = agent.refer("<sip:other@192.0.2.9>")
    agent.reply(second, 202)
    assert agent.notify("404 Not Found", DONE, event=f"refer;id={second.cseq.number}") == 200
    assert [outcome.status for outcome in agent.outcomes] == [404]
    assert agent.notify("200 OK", DONE) == 200
    assert [outcome.status for outcome in agent.outcomes] == [404, 200]
    assert agent.notify("200 OK", DONE, event=f"refer;id={first.cseq.number}") == 481


@pytest.mark.parametrize(("event", "status"), [("presence", 489), ("refer;id=99", 481), ("refer;id=", 400), ("", 400)])
def test_a_notify_that_belongs_to_no_refer_is_refused(event: str, status: int) -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202)
    assert agent.notify("200 OK", event=event) == status
    assert agent.outcomes == []


def test_a_body_without_status_line_is_malformed_but_its_termination_counts() -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202)
    agent.of_peer("NOTIFY", body="hello", headers=(("Event", "refer"), ("Content-Type", "message/sipfrag"), ("Subscription-State", DONE)))
    assert agent.wire.take_response().status == 400
    agent.wire.advance(2.1)
    assert [outcome.knowledge for outcome in agent.outcomes] == [ReferKnowledge.LOST]


def test_a_subscription_that_the_other_side_rejects_is_a_refusal() -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202)
    agent.notify("", "terminated;reason=rejected")
    assert agent.outcomes[0].status == 603


def test_no_news_at_all_is_told_when_the_patience_is_over() -> None:
    agent = Referring()
    agent.reply(agent.refer(patience=20), 202)
    agent.wire.advance(19.9)
    assert agent.outcomes == []
    agent.wire.advance(0.2)
    assert [outcome.knowledge for outcome in agent.outcomes] == [ReferKnowledge.TIMEOUT]


# -- the dialog after the call (RFC 5057) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["remote", "local"])
def test_after_the_bye_the_dialog_lives_on_for_the_subscription(by: str) -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202)
    if by == "remote":
        agent.of_peer("BYE")
        agent.wire.take_response(200)
    else:
        agent.usage.hangup()
        agent.reply(agent.wire.take_request("BYE"), 200)
    agent.wire.advance(1.0)
    assert agent.notify("200 OK", DONE) == 200
    assert agent.outcomes[0].knowledge is ReferKnowledge.TOLD
    agent.of_peer("NOTIFY", headers=(("Event", "refer"),))
    assert agent.wire.take_response().status == 481
    agent.settled()


def test_after_the_bye_nothing_else_is_answered_in_the_dialog() -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202)
    agent.of_peer("BYE")
    agent.wire.take_response(200)
    for method in ("INFO", "BYE", "REFER"):
        agent.of_peer(method, headers=(("Refer-To", "<sip:x@y>"),) if method == "REFER" else ())
        assert agent.wire.take_response().status == 481
    agent.settled()


def test_between_our_bye_and_its_answer_a_notify_is_taken() -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202)
    agent.usage.hangup()
    bye = agent.wire.take_request("BYE")
    assert agent.notify("200 OK", DONE) == 200
    agent.reply(bye, 200)
    agent.settled()


def test_a_bye_without_final_notify_leaves_it_open_after_a_grace_and_notifies_are_answered_for_a_while() -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202)
    agent.of_peer("BYE")
    agent.wire.take_response(200)
    agent.wire.advance(1.9)
    assert agent.outcomes == []
    agent.wire.advance(0.2)
    (outcome,) = agent.outcomes
    assert outcome.knowledge is ReferKnowledge.ENDED and outcome.accepted
    assert agent.notify("180 Ringing") == 200
    agent.wire.advance(33)
    assert agent.notify("200 OK", DONE) == 481
    agent.settled()


def test_a_call_that_ends_before_the_refer_is_answered_was_not_transferred() -> None:
    agent = Referring()
    agent.refer()
    agent.of_peer("BYE")
    agent.wire.take_response(200)
    agent.wire.advance(2.1)
    assert agent.outcomes[0].knowledge is ReferKnowledge.ENDED and not agent.outcomes[0].accepted
    agent.settled()


def test_dropping_the_agent_leaves_no_timer() -> None:
    agent = Referring()
    agent.reply(agent.refer(), 202)
    agent.of_peer("BYE")
    agent.core.close()
    assert agent.wire.scheduler.next_timeout() is None


def test_a_fault_of_the_program_does_not_cost_the_peer_its_answer() -> None:
    agent = Referring()

    def fail(*arguments: object) -> None:
        raise RuntimeError

    agent.referrals.refer((("Refer-To", "<sip:x@y>"),), patience=60, on_progress=fail, on_done=fail)
    agent.reply(agent.wire.take_request("REFER"), 202)
    assert agent.notify("180 Ringing") == 200
    assert agent.notify("200 OK", DONE) == 200
