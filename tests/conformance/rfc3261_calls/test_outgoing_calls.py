"""RFC 3261 §9.1 and §13.2: the calls we make, with forks and every race of CANCEL."""

from __future__ import annotations

import pytest

from flexosip.errors import LocalProtocolError
from flexosip.sip.invite import InviteState
from flexosip.sip.message import Request
from flexosip.sip.uri import SipUri
from tests.sip_agent import ANSWER, OFFER, Agent
from tests.sip_wire import answer, request, tcp_flow

# -- the plain call -------------------------------------------------------------------------------------------------------


def test_an_invite_carries_contact_allow_and_the_offer_for_the_flow_it_takes() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    assert str(invite.contact) == "<sip:us@192.0.2.1:5060>"
    assert invite.body == OFFER and invite.content_type == "application/sdp"
    assert {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "PRACK", "UPDATE"} == invite.allow
    assert "Supported" not in invite.headers
    assert usage.flow is agent.flow and usage.direction == "outgoing"


def test_a_2xx_is_acknowledged_by_a_request_of_its_own_to_the_remote_target() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, tag="a")
    agent.reply(invite, 200, tag="a", body=ANSWER, headers=(("Contact", "<sip:desk@192.0.2.2:5070>"),))
    ack = agent.wire.take_request("ACK")
    assert str(ack.uri) == "sip:desk@192.0.2.2:5070"
    assert ack.via.branch != invite.via.branch
    assert (ack.cseq.number, ack.cseq.method, ack.to.tag) == (10, "ACK", "a")
    assert agent.handler.calls == [("provisional", (180, "a")), ("accepted", ANSWER)]
    assert usage.state is InviteState.CONFIRMED
    assert agent.located[-1][0] == "sip:desk@192.0.2.2:5070"


def test_each_repeated_2xx_is_acknowledged_again_for_64_t1() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    for when in (0, 0.5, 1.5, 3.5, 31.5):
        agent.wire.advance_to(when)
        agent.reply(invite, 200, body=ANSWER)
    acks = [data for _, _, data in agent.wire.sent if data.startswith(b"ACK")]
    assert agent.wire.times("ACK") == [0, 0.5, 1.5, 3.5, 31.5]
    assert len(set(acks)) == 1
    assert agent.handler.names == ["accepted"]


def test_a_repeated_2xx_is_acknowledged_also_after_the_call_has_ended() -> None:
    agent = Agent()
    usage = agent.answered_call()
    invite = usage.request
    usage.hangup()
    bye = agent.wire.take_request("BYE")
    agent.reply(bye, 200)
    agent.reply(invite, 200, body=ANSWER)
    assert agent.wire.lines() == ["ACK"]
    assert agent.left_behind() == (0, 0, 0)


def test_record_routes_are_reversed_and_the_ack_goes_through_them() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    routes = (("Record-Route", "<sip:far.example.com;lr>, <sip:near.example.com;lr>"),)
    agent.receive(_answer_with(invite, 200, routes))
    ack = agent.wire.take_request("ACK")
    assert [str(route) for route in ack.routes] == ["<sip:near.example.com;lr>", "<sip:far.example.com;lr>"]
    assert str(ack.uri) == "sip:peer@192.0.2.2:5060"
    assert agent.located[-1][0] == "sip:near.example.com;lr"


def _answer_with(invite: Request, status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    return answer(invite, status, headers=headers, body=ANSWER)


def test_the_answer_to_a_delayed_offer_goes_into_the_ack() -> None:
    agent = Agent()
    agent.call(body=None)
    invite = agent.wire.take_request("INVITE")
    assert invite.body == b"" and invite.content_type is None
    agent.handler.ack_body = ANSWER
    agent.reply(invite, 200, body=OFFER)
    ack = agent.wire.take_request("ACK")
    assert ack.body == ANSWER and ack.content_type == "application/sdp"


@pytest.mark.parametrize("status", [302, 404, 486, 503, 603])
def test_a_failure_response_ends_the_call_with_its_status(status: int) -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180)
    agent.reply(invite, status)
    assert agent.handler.rejection == (status, status)
    assert agent.wire.lines() == ["ACK"]
    assert agent.left_behind() == (0, 0, 0)


def test_no_response_at_all_is_a_408_of_our_own() -> None:
    agent = Agent()
    agent.call()
    agent.wire.advance_to(32)
    assert agent.handler.rejection == (408, None)
    assert agent.left_behind() == (0, 0, 0)


def test_no_way_to_the_next_hop_is_a_503_of_our_own() -> None:
    agent = Agent()
    agent.unreachable = OSError("no route to host")
    agent.call()
    assert agent.handler.rejection == (503, None)
    assert agent.left_behind() == (0, 0, 0)


def test_a_2xx_without_contact_is_acknowledged_to_the_request_uri() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 200, body=ANSWER, contact=False)
    assert str(agent.wire.take_request("ACK").uri) == "sip:peer@example.com"


def test_a_request_larger_than_1300_octets_asks_for_another_transport_once_its_size_is_known() -> None:
    agent = Agent()
    agent.call(body=b"v=0\r\n" + b"a=x\r\n" * 300)
    sizes = [size for _, size in agent.located]
    assert len(sizes) == 2 and sizes[0] < 1300 < sizes[1]
    invite = agent.wire.take_request("INVITE")
    assert abs(sizes[1] - len(agent.wire.sent[0][2])) < 150
    assert invite.contact is not None


# -- forks ----------------------------------------------------------------------------------------------------------------


def test_each_to_tag_of_a_provisional_response_is_an_early_dialog_of_its_own() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 100, tag=None)
    agent.reply(invite, 180, tag="a")
    agent.reply(invite, 183, tag="b", body=ANSWER)
    agent.reply(invite, 180, tag="a")
    assert agent.handler.calls == [("provisional", (100, None)), *[("provisional", x) for x in ((180, "a"), (183, "b"), (180, "a"))]]
    assert set(usage.early_dialogs) == {"a", "b"}
    assert agent.core.statistics().dialogs == 2


def test_the_2xx_of_one_fork_ends_the_early_dialogs_of_the_others() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, tag="a")
    agent.reply(invite, 180, tag="b")
    agent.reply(invite, 200, tag="b", body=ANSWER)
    assert usage.dialog is not None and usage.dialog.remote_tag == "b" and not usage.dialog.early
    assert usage.early_dialogs == {} and agent.core.statistics().dialogs == 1


def test_the_2xx_of_a_second_fork_is_ended_by_ack_and_bye() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 200, tag="a", body=ANSWER)
    agent.wire.take()
    agent.reply(invite, 200, tag="b", body=ANSWER, headers=(("Contact", "<sip:second@192.0.2.3>"),))
    ack, bye = agent.wire.take()
    assert isinstance(ack, Request) and isinstance(bye, Request)
    assert [(m.method, str(m.uri), m.to.tag) for m in (ack, bye)] == [
        ("ACK", "sip:second@192.0.2.3", "b"),
        ("BYE", "sip:second@192.0.2.3", "b"),
    ]
    assert (ack.cseq.number, bye.cseq.number) == (10, 11)
    agent.reply(invite, 200, tag="b", body=ANSWER)
    assert agent.wire.lines() == ["ACK"]
    agent.reply(bye, 200)
    assert agent.handler.names == ["accepted"]


def test_a_second_fork_is_ended_once_however_often_its_2xx_comes_before_the_way_is_known() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 200, tag="a", body=ANSWER)
    agent.wire.take()
    agent.unreachable = OSError("down")
    agent.reply(invite, 200, tag="b", body=ANSWER)
    assert agent.wire.lines() == []
    agent.unreachable, agent.deferred = None, []
    agent.reply(invite, 200, tag="b", body=ANSWER)
    agent.reply(invite, 200, tag="b", body=ANSWER)
    waiting, agent.deferred = agent.deferred, None
    for done in waiting:
        done(agent.flow, None)
    assert agent.wire.lines() == ["ACK", "BYE", "ACK"]


# -- giving up ------------------------------------------------------------------------------------------------------------


def test_cancel_waits_for_a_provisional_response() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    usage.cancel((("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),))
    assert agent.wire.lines() == []
    agent.reply(invite, 100, tag=None)
    cancel = agent.wire.take_request("CANCEL")
    assert cancel.via.branch == invite.via.branch and str(cancel.uri) == str(invite.uri)
    assert cancel.headers.get("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    agent.reply(cancel, 200)
    agent.reply(invite, 487)
    assert agent.wire.lines() == ["ACK"]
    assert agent.handler.calls == [("rejected", (487, 487))]
    assert agent.left_behind() == (0, 0, 0)


def test_only_one_cancel_is_sent_however_many_provisional_responses_come() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    usage.cancel()
    for _ in range(3):
        agent.reply(invite, 180)
    usage.cancel()
    usage.hangup()
    assert agent.wire.lines() == ["CANCEL"]


def test_when_200_crosses_cancel_the_call_is_acknowledged_and_ended_by_bye() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180)
    usage.cancel((("Reason", "SIP;cause=487"),))
    cancel = agent.wire.take_request("CANCEL")
    agent.reply(invite, 200, body=ANSWER)
    agent.reply(cancel, 200)
    ack, bye = agent.wire.take()
    assert isinstance(ack, Request) and ack.method == "ACK"
    assert isinstance(bye, Request) and bye.method == "BYE"
    assert bye.headers.get("Reason") == "SIP;cause=487"
    assert agent.handler.calls[-1] == ("rejected", (487, 200)) and "accepted" not in agent.handler.names
    agent.reply(invite, 200, body=ANSWER)
    assert agent.wire.lines() == ["ACK"]
    agent.reply(bye, 200)
    assert agent.left_behind() == (0, 0, 0)


def test_when_200_is_the_first_response_after_cancel_no_cancel_is_sent() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    usage.cancel()
    agent.reply(invite, 200, body=ANSWER)
    assert agent.wire.lines() == ["ACK", "BYE"]
    assert agent.handler.rejection == (487, 200)


def test_a_cancelled_invite_without_final_response_is_given_up_after_64_t1() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180)
    usage.cancel()
    agent.reply(agent.wire.take_request("CANCEL"), 200)
    agent.wire.advance_to(31.9)
    assert "rejected" not in agent.handler.names
    agent.wire.advance_to(32)
    assert agent.handler.rejection == (487, None)
    assert agent.left_behind() == (0, 0, 0)


def test_a_cancelled_invite_that_nobody_ever_answers_ends_with_timer_b() -> None:
    agent = Agent()
    agent.call().cancel()
    agent.wire.advance_to(32)
    assert agent.handler.rejection == (487, None)
    assert agent.wire.times("CANCEL") == []


def test_cancel_before_the_next_hop_is_known_sends_nothing() -> None:
    agent = Agent()
    agent.deferred = []
    usage = agent.call()
    usage.cancel()
    assert agent.handler.rejection == (487, None)
    agent.deferred[0](agent.flow, None)
    assert agent.left_behind() == (0, 0, 0) and agent.wire.sent == []


def test_a_busy_answer_that_crosses_cancel_is_reported_as_it_is() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180)
    usage.cancel()
    agent.reply(invite, 486)
    assert agent.handler.rejection == (486, 486)


def test_an_answered_call_cannot_be_cancelled() -> None:
    agent = Agent()
    usage = agent.answered_call()
    with pytest.raises(LocalProtocolError):
        usage.cancel()


@pytest.mark.parametrize("method", ["cancel", "hangup"])
def test_a_header_with_a_line_break_is_refused_and_changes_nothing(method: str) -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180)
    with pytest.raises(ValueError, match="line break"):
        getattr(usage, method)((("Reason", "SIP\r\nEvil: 1"),))
    assert usage.state is InviteState.PROCEEDING
    assert agent.wire.lines() == []


def test_hanging_up_in_the_moment_of_the_answer_sends_the_ack_first() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.handler.do["accepted"] = lambda usage: usage.hangup()
    agent.reply(invite, 200, body=ANSWER)
    assert agent.wire.lines() == ["ACK", "BYE"]
    assert usage.ended and agent.handler.end.by == "local"


def test_a_handler_that_raises_at_the_answer_costs_only_its_own_call() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")

    def broken(usage: object) -> None:
        raise RuntimeError("a bug above")

    agent.handler.do["accepted"] = broken
    agent.reply(invite, 200, body=ANSWER)
    assert agent.wire.lines() == ["ACK", "BYE"]


def test_bye_waits_for_an_ack_whose_way_is_still_being_looked_for() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.deferred = []
    agent.reply(invite, 200, body=ANSWER)
    usage.hangup()
    assert agent.wire.lines() == []
    waiting, agent.deferred = agent.deferred, None
    waiting[0](agent.flow, None)
    assert agent.wire.lines() == ["ACK", "BYE"]


def test_a_2xx_whose_ack_could_not_be_sent_is_acknowledged_when_it_comes_again() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.unreachable = OSError("down")
    agent.reply(invite, 200, body=ANSWER)
    assert agent.wire.lines() == []
    agent.unreachable = None
    agent.reply(invite, 200, body=ANSWER)
    assert agent.wire.lines() == ["ACK"]
    assert agent.handler.names == ["accepted"]


def test_a_bye_on_the_only_early_dialog_is_answered_and_the_call_given_up_without_final_response() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, tag="a")
    agent.receive(request("BYE", from_tag="a", to_tag="ours", call_id="c1"))
    assert agent.wire.lines() == ["200"]
    assert not usage.ended
    agent.wire.advance_to(32)
    assert agent.handler.rejection == (487, None)
    assert agent.left_behind() == (0, 0, 0)


def test_a_lost_connection_rejects_a_ringing_call_with_503() -> None:
    agent = Agent(tcp_flow())
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180)
    agent.core.flow_failed(agent.flow, ConnectionResetError())
    agent.wire.settle()
    assert agent.handler.rejection == (503, None)


def test_a_sips_or_odd_contact_parameter_never_gets_into_the_request_uri() -> None:
    agent = Agent()
    usage = agent.answered_call(headers=(("Contact", "<sip:peer@192.0.2.2;method=INVITE?Route=%3Csip:evil%3E>"),))
    usage.hangup()
    assert agent.wire.take_request("BYE").uri == SipUri.parse("sip:peer@192.0.2.2")
