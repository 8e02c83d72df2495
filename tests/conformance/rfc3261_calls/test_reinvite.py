"""RFC 3261 §14: changing a session, from both sides and at once."""

from __future__ import annotations

from functools import partial

import pytest

from flexosip.errors import LocalProtocolError
from flexosip.sip.invite import InviteState
from flexosip.sip.message import Response
from flexosip.sip.transaction import TransactionFailure
from tests.sip_agent import ANSWER, OFFER, Agent
from tests.sip_wire import request

HOLD = b"v=0\r\na=sendonly\r\n"


class Changing(Agent):
    """An agent in a confirmed call."""

    def __init__(self, direction: str = "outgoing") -> None:
        super().__init__()
        self.usage = self.answered_call() if direction == "outgoing" else self.answered()
        self.handler.calls.clear()
        self.results: list[object] = []
        self.ack: bytes | None = None

    def on_result(self, result: object) -> bytes | None:
        self.results.append(result.status)  # type: ignore[attr-defined]
        return self.ack

    def change(self, body: bytes | None = HOLD) -> None:
        self.usage.reinvite(body, self.on_result)


# -- the other side changes -----------------------------------------------------------------------------------------------


def test_a_reinvite_is_given_to_the_handler_and_its_answer_repeated_until_the_ack() -> None:
    agent = Changing("incoming")
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 2, body=HOLD.decode(), headers=(("Contact", "<sip:moved@192.0.2.9>"),)))
    assert agent.wire.lines() == ["100"]
    changing, transaction = agent.handler.reinvites[0]
    assert changing.body == HOLD
    agent.usage.answer_reinvite(transaction, 200, ANSWER)
    accepted = agent.wire.take_response(200)
    assert accepted.body == ANSWER and str(accepted.contact) == "<sip:us@192.0.2.1:5060>"
    agent.wire.advance(1.6)
    assert agent.wire.lines() == ["200", "200"]
    agent.receive(agent.in_dialog(agent.usage, "ACK", 2))
    agent.wire.advance(60)
    assert agent.wire.lines() == []
    assert agent.handler.names == ["reinvite", "confirmed"]
    agent.usage.hangup()
    assert str(agent.wire.take_request("BYE").uri) == "sip:moved@192.0.2.9"


def test_a_reinvite_without_offer_gets_ours_and_its_answer_in_the_ack() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1))
    agent.usage.answer_reinvite(agent.handler.reinvites[0][1], 200, OFFER)
    agent.receive(agent.in_dialog(agent.usage, "ACK", 1, body=ANSWER.decode()))
    assert agent.handler.calls == [("reinvite", b""), ("confirmed", ANSWER)]


def test_a_refused_reinvite_leaves_the_session_and_the_target_as_they_were() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1, body="v=0", headers=(("Contact", "<sip:moved@192.0.2.9>"),)))
    agent.usage.answer_reinvite(agent.handler.reinvites[0][1], 488)
    assert agent.wire.lines() == ["100", "488"]
    assert agent.usage.state is InviteState.CONFIRMED
    agent.usage.hangup()
    assert str(agent.wire.take_request("BYE").uri) == "sip:peer@192.0.2.2:5060"


def test_a_second_reinvite_before_the_answer_to_the_first_gets_500_with_retry_after() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1, body="v=0"))
    agent.wire.take()
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 2, body="v=0"))
    refusal = agent.wire.take_response(500)
    assert 0 <= int(refusal.headers.get("Retry-After") or "") <= 10
    assert len(agent.handler.reinvites) == 1


def test_a_reinvite_before_the_initial_invite_is_answered_gets_500_with_retry_after() -> None:
    agent = Agent()
    usage = agent.called()
    agent.receive(agent.in_dialog(usage, "INVITE", 2, body="v=0"))
    assert agent.wire.take_response(500).headers.get("Retry-After") is not None


def test_a_reinvite_without_ack_is_ended_by_bye_after_64_t1() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1, body="v=0"))
    agent.usage.answer_reinvite(agent.handler.reinvites[0][1], 200, ANSWER)
    agent.wire.advance_to(32)
    assert agent.wire.times("BYE") == [32]
    assert (agent.handler.end.by, agent.handler.end.status) == ("timeout", 408)


def test_a_cancelled_reinvite_gets_487_and_a_late_answer_changes_nothing() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1, branch="z9hG4bKre", body="v=0"))
    agent.wire.take()
    agent.receive(agent.in_dialog(agent.usage, "CANCEL", 1, branch="z9hG4bKre"))
    assert agent.wire.lines() == ["200", "487"]
    agent.usage.answer_reinvite(agent.handler.reinvites[0][1], 200, ANSWER)
    assert agent.wire.lines() == []
    assert agent.usage.state is InviteState.CONFIRMED


def test_a_bye_during_a_reinvite_gets_200_and_the_reinvite_487() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1, body="v=0"))
    agent.wire.take()
    agent.receive(agent.in_dialog(agent.usage, "BYE", 2))
    assert sorted(agent.wire.lines()) == ["200", "487"]
    agent.usage.answer_reinvite(agent.handler.reinvites[0][1], 200, ANSWER)
    assert agent.wire.lines() == []


def test_a_reinvite_that_overtakes_the_ack_confirms_the_call() -> None:
    agent = Agent()
    usage = agent.called()
    usage.accept(ANSWER)
    agent.receive(agent.in_dialog(usage, "INVITE", 2, body="v=0"))
    assert agent.handler.names == ["confirmed", "reinvite"]
    assert usage.state is InviteState.CONFIRMED


def test_a_reinvite_while_the_answer_to_our_offer_is_missing_gets_491() -> None:
    agent = Agent()
    usage = agent.called(body="")
    usage.accept(OFFER)
    agent.wire.take()
    agent.receive(agent.in_dialog(usage, "INVITE", 2, body="v=0"))
    assert agent.wire.lines() == ["491"]
    agent.receive(agent.in_dialog(usage, "ACK", 1, body=ANSWER.decode()))
    assert agent.handler.calls == [("confirmed", ANSWER)]


def test_a_handler_that_raises_refuses_the_reinvite_with_500() -> None:
    agent = Changing()

    def broken(usage: object, transaction: object) -> None:
        raise RuntimeError("a bug above")

    agent.handler.do["reinvite"] = broken
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1, body="v=0"))
    assert agent.wire.lines() == ["500"] and not agent.usage.ended


# -- we change ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "cseq"), [("outgoing", 11), ("incoming", 1)])
def test_our_reinvite_has_the_next_cseq_and_its_2xx_refreshes_the_target(direction: str, cseq: int) -> None:
    agent = Changing(direction)
    agent.change()
    invite = agent.wire.take_request("INVITE")
    assert invite.cseq.number == cseq and invite.body == HOLD and invite.to.tag
    assert str(invite.contact) == "<sip:us@192.0.2.1:5060>"
    agent.reply(invite, 200, tag=None, body=ANSWER, headers=(("Contact", "<sip:moved@192.0.2.9>"),))
    ack = agent.wire.take_request("ACK")
    assert str(ack.uri) == "sip:moved@192.0.2.9" and ack.cseq.number == cseq
    assert agent.results == [200]
    agent.reply(invite, 200, tag=None, body=ANSWER)
    assert agent.wire.lines() == ["ACK"] and agent.results == [200]


def test_a_reinvite_without_offer_brings_the_answer_in_its_ack() -> None:
    agent = Changing()
    agent.ack = ANSWER
    agent.change(None)
    agent.reply(agent.wire.take_request("INVITE"), 200, tag=None, body=OFFER)
    assert agent.wire.take_request("ACK").body == ANSWER


@pytest.mark.parametrize("status", [403, 488, 500, 503, 603])
def test_a_refused_change_leaves_the_call_alive(status: int) -> None:
    agent = Changing()
    agent.change()
    agent.reply(agent.wire.take_request("INVITE"), status, tag=None)
    assert agent.results == [status] and agent.usage.state is InviteState.CONFIRMED
    agent.change()
    assert agent.wire.lines() == ["ACK", "INVITE"]


@pytest.mark.parametrize("status", [408, 481])
def test_481_and_408_end_the_call(status: int) -> None:
    agent = Changing()
    agent.change()
    agent.reply(agent.wire.take_request("INVITE"), status, tag=None)
    assert agent.results == [status] and agent.handler.end.status == status
    assert agent.wire.lines() == ["ACK", "BYE"]


def test_no_answer_to_a_reinvite_ends_the_call() -> None:
    agent = Changing()
    agent.change()
    agent.wire.advance(32)
    assert agent.results == [408]
    assert (agent.handler.end.by, agent.handler.end.status) == ("timeout", 408)


def test_a_provisional_answer_followed_by_nothing_ends_the_call_after_three_minutes() -> None:
    agent = Changing()
    agent.change()
    agent.reply(agent.wire.take_request("INVITE"), 100, tag=None)
    agent.wire.advance(179)
    assert agent.results == []
    agent.wire.advance(2)
    assert agent.results == [408] and agent.handler.end.by == "timeout"
    assert agent.left_behind() == (0, 0, 0)


def test_a_network_failure_of_a_reinvite_leaves_the_call_alive() -> None:
    agent = Changing()
    agent.unreachable = OSError("down")
    agent.change()
    assert agent.results == [503] and agent.usage.state is InviteState.CONFIRMED
    agent.unreachable = None
    agent.change()
    assert agent.wire.lines() == ["INVITE"]


def test_only_one_change_of_ours_at_a_time_and_none_before_the_call_is_confirmed() -> None:
    agent = Changing()
    agent.change()
    with pytest.raises(LocalProtocolError):
        agent.change()
    with pytest.raises(LocalProtocolError):
        Agent().called().reinvite(HOLD, lambda result: None)


# -- both at once ---------------------------------------------------------------------------------------------------------


def test_a_reinvite_that_meets_ours_gets_491() -> None:
    agent = Changing()
    agent.change()
    agent.wire.take()
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1, body="v=0"))
    assert agent.wire.lines() == ["491"]
    assert agent.handler.reinvites == []


@pytest.mark.parametrize(("direction", "low", "high"), [("outgoing", 2.1, 4.0), ("incoming", 0.0, 2.0)])
def test_after_491_the_owner_of_the_call_id_waits_longer_than_the_other(direction: str, low: float, high: float) -> None:
    waits = []
    for seed in range(20):
        agent = Changing(direction)
        agent.wire.random.seed(seed)
        glares: list[bool] = []
        bodies = iter((b"v=0\r\nfirst", b"v=0\r\nsecond"))
        agent.usage.reinvite(bodies.__next__, agent.on_result, on_glare=partial(glares.append, True))
        agent.reply(agent.wire.take_request("INVITE"), 491, tag=None)
        assert agent.results == [] and glares == [True]
        agent.wire.take()
        before = len(agent.wire.sent)
        start = agent.wire.scheduler.now
        while len(agent.wire.sent) == before:
            due = agent.wire.scheduler.next_timeout()
            assert due is not None
            agent.wire.scheduler.handle_timeout(due)
        waits.append(agent.wire.scheduler.now - start)
        again = agent.wire.take_request("INVITE")
        assert again.body == b"v=0\r\nsecond"
        agent.reply(again, 200, tag=None, body=ANSWER)
        assert agent.results == [200]
    assert all(low - 0.001 <= wait <= high + 0.001 for wait in waits)
    assert max(waits) - min(waits) > 0.5
    assert all(abs(wait * 100 - round(wait * 100)) < 1e-6 for wait in waits)


def test_a_reinvite_of_the_other_side_during_the_wait_is_answered_and_ours_follows_its_ack() -> None:
    agent = Changing()
    agent.change()
    agent.reply(agent.wire.take_request("INVITE"), 491, tag=None)
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1, body="v=0"))
    agent.usage.answer_reinvite(agent.handler.reinvites[0][1], 200, ANSWER)
    agent.wire.take()
    agent.wire.advance(5)
    assert "INVITE" not in agent.wire.lines()
    agent.receive(agent.in_dialog(agent.usage, "ACK", 1))
    agent.wire.settle()
    assert agent.wire.lines() == ["INVITE"]


def test_a_change_asked_for_during_one_of_the_other_side_waits_for_its_end() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1, body="v=0"))
    agent.change()
    assert agent.wire.lines() == ["100"]
    agent.usage.answer_reinvite(agent.handler.reinvites[0][1], 488)
    assert agent.wire.lines() == ["488", "INVITE"]


def test_a_change_that_waits_for_an_ack_does_not_slip_in_before_the_reinvite_that_stands_for_it() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1, body="v=0"))
    agent.usage.answer_reinvite(agent.handler.reinvites[0][1], 200, ANSWER)
    agent.change()
    assert agent.wire.lines() == ["100", "200"]
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 2, body="v=0"))
    agent.usage.answer_reinvite(agent.handler.reinvites[1][1], 200, ANSWER)
    assert agent.wire.lines() == ["100", "200"]
    agent.receive(agent.in_dialog(agent.usage, "ACK", 2))
    assert agent.wire.lines() == ["INVITE"]


def test_endless_491_is_given_up() -> None:
    agent = Changing()
    agent.change()
    for _ in range(20):
        messages = [m for m in agent.wire.take() if m.start_line.startswith("INVITE")]
        if not messages:
            break
        agent.reply(messages[0], 491, tag=None)  # type: ignore[arg-type]
        agent.wire.advance(4.1)
    assert agent.results == [491] and not agent.usage.ended


# -- the end --------------------------------------------------------------------------------------------------------------


def test_a_change_under_way_when_the_call_ends_is_reported_and_its_late_2xx_acknowledged() -> None:
    agent = Changing()
    agent.change()
    invite = agent.wire.take_request("INVITE")
    agent.receive(agent.in_dialog(agent.usage, "BYE", 1))
    assert agent.results == [487]
    agent.wire.take()
    agent.reply(invite, 200, tag=None, body=ANSWER)
    assert agent.wire.lines() == ["ACK"]
    assert agent.results == [487] and agent.handler.names == ["ended"]
    assert agent.left_behind() == (0, 0, 0)


def test_a_change_that_never_gets_its_final_answer_leaves_nothing_behind_after_the_call() -> None:
    agent = Changing()
    agent.change()
    agent.reply(agent.wire.take_request("INVITE"), 100, tag=None)
    agent.usage.hangup()
    agent.reply(agent.wire.take_request("BYE"), 200, tag=None)
    assert agent.results == [487]
    assert agent.left_behind() == (0, 0, 0)
    assert agent.results == [487]


def test_hanging_up_stops_a_change_that_waits_after_glare() -> None:
    agent = Changing()
    agent.change()
    agent.reply(agent.wire.take_request("INVITE"), 491, tag=None)
    agent.usage.hangup()
    assert agent.wire.lines() == ["ACK", "BYE"]
    agent.wire.advance(10)
    assert "INVITE" not in agent.wire.lines()
    assert agent.results == [487]


# -- other requests -------------------------------------------------------------------------------------------------------


def test_info_within_the_call_goes_both_ways() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "INFO", 1, body="Signal=5", headers=(("Content-Type", "application/dtmf-relay"),)))
    assert agent.wire.lines() == ["200"] and agent.handler.calls == [("request", "INFO")]
    results: list[Response | TransactionFailure] = []
    agent.usage.request_within("INFO", b"Signal=7\r\n", "application/dtmf-relay", (("X-A", "b"),), results.append)
    info = agent.wire.take_request("INFO")
    assert info.cseq.number == 11 and info.body == b"Signal=7\r\n" and info.content_type == "application/dtmf-relay"
    agent.reply(info, 415, tag=None)
    assert [result.status for result in results] == [415] and not agent.usage.ended


@pytest.mark.parametrize("status", [408, 481])
def test_a_request_answered_481_or_408_ends_the_call(status: int) -> None:
    agent = Changing()
    agent.usage.request_within("INFO")
    agent.reply(agent.wire.take_request("INFO"), status, tag=None)
    assert agent.handler.end.status == status


@pytest.mark.parametrize("method", ["INVITE", "BYE", "ACK", "CANCEL"])
def test_methods_with_a_way_of_their_own_are_refused(method: str) -> None:
    with pytest.raises(LocalProtocolError):
        Changing().usage.request_within(method)


def test_a_lower_or_equal_cseq_gets_500_and_a_gap_is_fine() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "INFO", 7))
    agent.receive(agent.in_dialog(agent.usage, "INFO", 3))
    agent.receive(agent.in_dialog(agent.usage, "INFO", 7, branch="z9hG4bKsame"))
    agent.receive(agent.in_dialog(agent.usage, "INFO", 100))
    assert agent.wire.lines() == ["200", "500", "500", "200"]


def test_options_within_the_call_tells_the_truth() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "OPTIONS", 1))
    assert "INVITE" in agent.wire.take_response(200).allow


def test_a_method_that_is_not_implemented_gets_405_within_a_call_too() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "REFER", 1))
    assert "REFER" not in agent.wire.take_response(405).allow


def test_an_unknown_extension_required_within_a_call_gets_420() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "INVITE", 1, headers=(("Require", "timer"),)))
    assert agent.wire.take_response(420).headers.get("Unsupported") == "timer"
    assert agent.handler.reinvites == []


def test_an_ack_for_nothing_is_ignored() -> None:
    agent = Changing()
    agent.receive(agent.in_dialog(agent.usage, "ACK", 99))
    agent.receive(request("ACK", to_tag="nobody", branch="z9hG4bKnobody"))
    assert agent.wire.lines() == [] and agent.handler.names == []
