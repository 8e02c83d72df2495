"""RFC 3261 §9.2, §13.3 and §15: the calls we get."""

from __future__ import annotations

import itertools

import pytest

from flexosip.errors import LocalProtocolError
from flexosip.sip.invite import InviteState
from flexosip.sip.message import Request, Response
from flexosip.sip.reason import parse_reasons
from tests.sip_agent import ANSWER, OFFER, Agent
from tests.sip_wire import request, tcp_flow


def test_the_plain_call_100_180_200_ack_bye_leaves_nothing_behind() -> None:
    agent = Agent()
    usage = agent.called()
    assert usage.direction == "incoming" and usage.request.body == OFFER
    usage.provisional(180)
    usage.accept(ANSWER)
    ringing, accepted = agent.wire.take()
    assert isinstance(ringing, Response) and isinstance(accepted, Response)
    assert (ringing.status, accepted.status) == (180, 200)
    assert ringing.to.tag == accepted.to.tag and ringing.to.tag
    assert str(accepted.contact) == "<sip:us@192.0.2.1:5060>" == str(ringing.contact)
    assert accepted.body == ANSWER and accepted.content_type == "application/sdp" and "BYE" in accepted.allow
    agent.receive(agent.in_dialog(usage, "ACK"))
    assert usage.state is InviteState.CONFIRMED
    agent.receive(agent.in_dialog(usage, "BYE", 2))
    assert agent.wire.lines() == ["200"]
    assert agent.handler.names == ["confirmed", "ended"]
    assert (agent.handler.end.by, agent.handler.end.status) == ("remote", 200)
    assert agent.left_behind() == (0, 0, 0)


def test_record_route_is_copied_into_the_answers_and_used_in_order() -> None:
    agent = Agent()
    usage = agent.called(headers=(("Record-Route", "<sip:near.example.com;lr>, <sip:far.example.com;lr>"),))
    usage.accept(ANSWER)
    response = agent.wire.take_response(200)
    assert [str(route) for route in response.record_routes] == ["<sip:near.example.com;lr>", "<sip:far.example.com;lr>"]
    agent.receive(agent.in_dialog(usage, "ACK"))
    usage.hangup()
    bye = agent.wire.take_request("BYE")
    assert [str(route) for route in bye.routes] == ["<sip:near.example.com;lr>", "<sip:far.example.com;lr>"]
    assert str(bye.uri) == "sip:peer@192.0.2.2:5060"


@pytest.mark.parametrize("flow", ["udp", "tcp"])
def test_the_2xx_is_repeated_from_t1_up_to_t2_on_every_transport_and_without_ack_bye_follows_after_64_t1(flow: str) -> None:
    agent = Agent(tcp_flow() if flow == "tcp" else None)
    usage = agent.called(transport=flow.upper())
    usage.accept(ANSWER)
    agent.wire.advance_to(31.9)
    assert agent.wire.times("SIP/2.0 200") == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert agent.handler.names == []
    agent.wire.advance_to(32)
    assert agent.wire.times("BYE") == [32]
    assert (agent.handler.end.by, agent.handler.end.status) == ("timeout", 408)
    assert agent.left_behind() == (0, 0, 0)


def test_the_ack_ends_the_repetitions() -> None:
    agent = Agent()
    usage = agent.called()
    usage.accept(ANSWER)
    agent.wire.advance_to(0.7)
    agent.receive(agent.in_dialog(usage, "ACK"))
    agent.receive(agent.in_dialog(usage, "ACK", branch="z9hG4bKagain"))
    agent.wire.advance_to(100)
    assert agent.wire.times("SIP/2.0 200") == [0, 0.5]
    assert agent.handler.names == ["confirmed"]


def test_an_ack_with_another_cseq_acknowledges_nothing() -> None:
    agent = Agent()
    usage = agent.called()
    usage.accept(ANSWER)
    agent.receive(agent.in_dialog(usage, "ACK", 2))
    assert agent.handler.names == []
    agent.wire.advance_to(0.5)
    assert agent.wire.times("SIP/2.0 200") == [0, 0.5]


def test_an_answer_to_our_offer_arrives_in_the_ack() -> None:
    agent = Agent()
    usage = agent.called(body="")
    usage.accept(OFFER)
    agent.receive(agent.in_dialog(usage, "ACK", body=ANSWER.decode()))
    assert agent.handler.calls == [("confirmed", ANSWER)]


def test_the_callee_sends_no_bye_before_the_ack() -> None:
    agent = Agent()
    usage = agent.called()
    usage.accept(ANSWER)
    agent.wire.take()
    usage.hangup((("Reason", "Q.850;cause=16"),))
    assert agent.handler.end.by == "local"
    assert agent.wire.lines() == []
    agent.wire.advance_to(0.6)
    assert agent.wire.lines() == ["200"]
    agent.receive(agent.in_dialog(usage, "ACK"))
    bye = agent.wire.take_request("BYE")
    assert bye.cseq.number == 1 and bye.headers.get("Reason") == "Q.850;cause=16"
    agent.reply(bye, 200)
    assert agent.handler.names == ["ended"]
    assert agent.left_behind() == (0, 0, 0)


def test_the_callee_sends_bye_when_the_ack_is_overdue() -> None:
    agent = Agent()
    usage = agent.called()
    usage.accept(ANSWER)
    usage.hangup()
    agent.wire.advance_to(40)
    assert agent.wire.times("BYE")[0] == 32
    assert agent.handler.names == ["ended"]


def test_a_refused_call_is_told_to_the_handler_with_its_status() -> None:
    agent = Agent()
    usage = agent.called()
    usage.reject(486, headers=(("Retry-After", "60"),))
    response = agent.wire.take_response(486)
    assert response.headers.get("Retry-After") == "60" and "Contact" not in response.headers
    assert (agent.handler.end.by, agent.handler.end.status, agent.handler.end.reason) == ("local", 486, "Busy Here")
    agent.receive(request("ACK", to_tag=response.to.tag))
    assert agent.left_behind() == (0, 0, 0)


def test_a_redirection_carries_its_contact() -> None:
    agent = Agent()
    usage = agent.called()
    usage.reject(302, headers=(("Contact", "<sip:other@example.com>"),))
    assert str(agent.wire.take_response(302).contact) == "<sip:other@example.com>"


def test_hanging_up_an_unanswered_call_refuses_it() -> None:
    agent = Agent()
    agent.called().hangup(status=487)
    assert agent.wire.lines() == ["487"]
    assert agent.handler.end.status == 487


def test_an_answered_or_ended_call_cannot_be_answered_again() -> None:
    agent = Agent()
    usage = agent.called()
    usage.reject(603)
    for again in (lambda: usage.accept(ANSWER), lambda: usage.provisional(180), lambda: usage.reject(486)):
        with pytest.raises(LocalProtocolError):
            again()
    usage.hangup()
    assert agent.wire.lines() == ["603"]


def test_an_answer_with_a_broken_header_is_refused_and_the_call_can_still_be_answered() -> None:
    agent = Agent()
    usage = agent.called()
    with pytest.raises(ValueError, match="line break"):
        usage.accept(ANSWER, headers=(("X-Note", "a\nb"),))
    usage.accept(ANSWER)
    assert agent.wire.lines() == ["200"]


def test_the_last_provisional_response_is_repeated_within_every_minute_until_the_answer() -> None:
    agent = Agent()
    usage = agent.called()
    usage.provisional(180)
    agent.wire.advance_to(190)
    times = agent.wire.times("SIP/2.0 180")
    assert len(times) == 4 and all(later - earlier <= 60 for earlier, later in itertools.pairwise(times))
    usage.reject(486)
    agent.wire.advance_to(400)
    assert len(agent.wire.times("SIP/2.0 180")) == 4


def test_an_invitation_that_expires_gets_487() -> None:
    agent = Agent()
    agent.called(headers=(("Expires", "20"),))
    agent.wire.advance_to(19.9)
    assert agent.wire.lines() == []
    agent.wire.advance_to(20)
    assert agent.wire.take_response(487)
    assert (agent.handler.end.by, agent.handler.end.status) == ("timeout", 487)


# -- CANCEL ---------------------------------------------------------------------------------------------------------------


def test_cancel_gets_200_with_the_same_to_tag_and_the_invite_487() -> None:
    agent = Agent()
    usage = agent.called()
    usage.provisional(180)
    tag = agent.wire.take_response(180).to.tag
    agent.receive(request("CANCEL", headers=(("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),)))
    cancelled, terminated = agent.wire.take()
    assert isinstance(cancelled, Response) and isinstance(terminated, Response)
    assert [(m.status, m.cseq.method, m.to.tag) for m in (cancelled, terminated)] == [(200, "CANCEL", tag), (487, "INVITE", tag)]
    end = agent.handler.end
    assert (end.by, end.status) == ("remote", 487)
    reasons = parse_reasons(end.headers)
    assert [(r.protocol, r.cause, r.text) for r in reasons] == [("SIP", 200, "Call completed elsewhere")]
    agent.receive(request("ACK", to_tag=tag))
    assert agent.left_behind() == (0, 0, 0)


def test_a_cancel_after_the_200_changes_nothing() -> None:
    agent = Agent()
    usage = agent.called()
    usage.accept(ANSWER)
    agent.wire.take()
    agent.receive(request("CANCEL"))
    response = agent.wire.take_response(200)
    assert response.cseq.method == "CANCEL"
    agent.receive(agent.in_dialog(usage, "ACK"))
    assert usage.state is InviteState.CONFIRMED and agent.handler.names == ["confirmed"]


def test_a_cancel_that_matches_no_invite_gets_481() -> None:
    agent = Agent()
    agent.receive(request("CANCEL"))
    assert agent.wire.lines() == ["481"]


def test_a_cancel_within_the_callback_of_the_invite_is_safe() -> None:
    agent = Agent()

    def cancelled_at_once(usage: object) -> None:
        agent.receive(request("CANCEL"))

    agent.core.on_invite = cancelled_at_once  # type: ignore[assignment]
    agent.receive(request("INVITE", body=OFFER.decode()))
    assert agent.wire.lines() == ["200", "487"]
    agent.receive(request("ACK", to_tag=""))
    assert agent.left_behind() == (0, 0, 0)


# -- BYE ------------------------------------------------------------------------------------------------------------------


def test_a_bye_on_the_early_dialog_gets_200_and_the_invite_487() -> None:
    agent = Agent()
    usage = agent.called()
    usage.provisional(180)
    agent.wire.take()
    agent.receive(agent.in_dialog(usage, "BYE", 2))
    assert agent.wire.lines() == ["200", "487"]
    assert agent.handler.end.by == "remote"


def test_a_bye_before_the_ack_ends_the_repetitions_of_the_2xx() -> None:
    agent = Agent()
    usage = agent.called()
    usage.accept(ANSWER)
    agent.receive(agent.in_dialog(usage, "BYE", 2))
    agent.wire.advance_to(60)
    assert agent.wire.times("SIP/2.0 200 OK") == [0, 0]
    assert agent.wire.times("BYE") == []


def test_a_bye_while_ours_waits_for_the_ack_is_answered_and_ours_is_not_sent() -> None:
    agent = Agent()
    usage = agent.called()
    usage.accept(ANSWER)
    usage.hangup()
    agent.receive(agent.in_dialog(usage, "BYE", 2))
    agent.wire.advance_to(60)
    assert agent.wire.times("BYE") == []
    assert agent.handler.names == ["ended"]
    assert agent.left_behind() == (0, 0, 0)


def test_crossing_byes_are_both_answered_200() -> None:
    agent = Agent()
    usage = agent.answered()
    usage.hangup()
    bye = agent.wire.take_request("BYE")
    agent.receive(agent.in_dialog(usage, "BYE", 2))
    assert agent.wire.lines() == ["200"]
    agent.reply(bye, 200)
    assert agent.handler.names == ["confirmed", "ended"]
    assert agent.left_behind() == (0, 0, 0)


def test_a_bye_for_a_dialog_that_does_not_exist_gets_481() -> None:
    agent = Agent()
    agent.receive(request("BYE", to_tag="unknown"))
    agent.receive(request("BYE", branch="z9hG4bKno-tag"))
    assert agent.wire.lines() == ["481", "481"]


def test_a_bye_with_a_wrong_tag_does_not_end_the_call() -> None:
    agent = Agent()
    usage = agent.answered()
    assert usage.dialog is not None
    agent.receive(request("BYE", cseq=2, branch="z9hG4bKx", from_tag="guessed", to_tag=usage.dialog.local_tag))
    assert agent.wire.lines() == ["481"] and not usage.ended


def test_after_our_bye_other_requests_get_481() -> None:
    agent = Agent()
    usage = agent.answered()
    usage.hangup()
    agent.wire.take()
    agent.receive(agent.in_dialog(usage, "INFO", 2))
    assert agent.wire.lines() == ["481"]


def test_reasons_of_a_bye_reach_the_handler() -> None:
    agent = Agent()
    usage = agent.answered()
    agent.receive(agent.in_dialog(usage, "BYE", 2, headers=(("Reason", 'Q.850;cause=16;text="Normal, clearing", SIP;cause=200'),)))
    reasons = parse_reasons(agent.handler.end.headers)
    assert [(r.protocol, r.cause, r.text) for r in reasons] == [("Q.850", 16, "Normal, clearing"), ("SIP", 200, "")]


def test_an_unanswered_bye_leaves_nothing_behind() -> None:
    agent = Agent()
    usage = agent.answered()
    usage.hangup()
    assert len([m for m in agent.wire.take() if isinstance(m, Request)]) == 1
    assert agent.left_behind() == (0, 0, 0)


def test_a_lost_connection_ends_an_unanswered_call_once() -> None:
    agent = Agent(tcp_flow())
    agent.called(transport="TCP")
    agent.core.flow_failed(agent.flow, ConnectionResetError())
    agent.wire.settle()
    assert (agent.handler.end.by, agent.handler.end.status) == ("error", 503)
    assert agent.left_behind() == (0, 0, 0)


def test_an_application_that_raises_on_a_new_call_refuses_it_with_500() -> None:
    agent = Agent()

    def broken(usage: object) -> None:
        raise RuntimeError("a bug above")

    agent.core.on_invite = broken  # type: ignore[assignment]
    agent.receive(request("INVITE"))
    assert agent.wire.lines() == ["500"]
    assert agent.core.statistics().dialogs == 0


def test_a_merged_request_gets_482() -> None:
    agent = Agent()
    agent.called()
    agent.receive(request("INVITE", branch="z9hG4bKother-path", body=OFFER.decode()))
    assert agent.wire.take_response(482)
    assert len(agent.usages) == 1
