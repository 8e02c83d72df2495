"""RFC 3311: UPDATE in early and confirmed dialogs, from both sides and at once."""

from __future__ import annotations

import pytest

from flexosip.errors import LocalProtocolError
from tests.sip_agent import ANSWER, OFFER, Agent

RELIABLE = (("Require", "100rel"), ("RSeq", "1"))
MOVED = (("Contact", "<sip:moved@192.0.2.9>"),)


class Updating(Agent):
    """An agent that keeps the results of its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[int] = []
        self.glares = 0

    def on_result(self, result: object) -> None:
        self.results.append(result.status)  # type: ignore[attr-defined]

    def on_glare(self) -> None:
        self.glares += 1


# -- we change ------------------------------------------------------------------------------------------------------------


def test_an_update_in_a_call_carries_contact_and_offer_and_its_2xx_refreshes_the_target() -> None:
    agent = Updating()
    usage = agent.answered_call()
    usage.update(OFFER, agent.on_result)
    update = agent.wire.take_request("UPDATE")
    assert update.body == OFFER and str(update.contact) == "<sip:us@192.0.2.1:5060>" and update.cseq.number == 11
    agent.reply(update, 200, body=ANSWER, headers=MOVED)
    assert agent.results == [200]
    assert agent.wire.lines() == []
    usage.hangup()
    assert str(agent.wire.take_request("BYE").uri) == "sip:moved@192.0.2.9"


def test_an_update_before_the_answer_goes_to_the_fork_that_it_is_for() -> None:
    agent = Updating()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 183, tag="a", headers=(*RELIABLE, ("Contact", "<sip:a@192.0.2.2>")), body=ANSWER)
    agent.reply(invite, 183, tag="b", headers=(*RELIABLE, ("Contact", "<sip:b@192.0.2.2>")), body=ANSWER)
    agent.wire.take()
    usage.update(OFFER, agent.on_result, remote_tag="b")
    update = agent.wire.take_request("UPDATE")
    assert (update.to.tag, str(update.uri)) == ("b", "sip:b@192.0.2.2")
    agent.reply(update, 200, tag="b", body=ANSWER)
    assert agent.results == [200]


def test_an_update_of_a_call_that_is_not_answered_is_sent_by_the_callee_too() -> None:
    agent = Updating()
    agent.core.supported = frozenset({"100rel"})
    usage = agent.called(headers=(("Require", "100rel"),))
    usage.provisional(183, body=ANSWER)
    number = agent.wire.take_response(183).headers.get("RSeq")
    agent.receive(agent.in_dialog(usage, "PRACK", 2, headers=(("RAck", f"{number} 1 INVITE"),)))
    agent.wire.take()
    usage.update(OFFER, agent.on_result)
    agent.reply(agent.wire.take_request("UPDATE"), 200, tag="peertag", body=ANSWER)
    assert agent.results == [200]


def test_only_one_update_is_sent_at_a_time() -> None:
    agent = Updating()
    usage = agent.answered_call()
    usage.update(None, agent.on_result)
    with pytest.raises(LocalProtocolError):
        usage.update(None, agent.on_result)
    agent.reply(agent.wire.take_request("UPDATE"), 200)
    usage.update(None, agent.on_result)
    assert agent.wire.lines() == ["UPDATE"]


def test_an_update_needs_a_dialog() -> None:
    agent = Updating()
    usage = agent.call()
    with pytest.raises(LocalProtocolError):
        usage.update(OFFER, agent.on_result)
    with pytest.raises(LocalProtocolError):
        usage.update(OFFER, agent.on_result, remote_tag="nobody")


@pytest.mark.parametrize("status", [403, 488, 504, 606])
def test_a_refused_update_leaves_the_session_and_the_call(status: int) -> None:
    agent = Updating()
    usage = agent.answered_call()
    usage.update(OFFER, agent.on_result)
    agent.reply(agent.wire.take_request("UPDATE"), status, headers=MOVED)
    assert agent.results == [status] and not usage.ended
    usage.hangup()
    assert str(agent.wire.take_request("BYE").uri) == "sip:peer@192.0.2.2:5060"


@pytest.mark.parametrize("status", [408, 481])
def test_an_update_that_nobody_knows_the_call_of_ends_it(status: int) -> None:
    agent = Updating()
    usage = agent.answered_call()
    usage.update(OFFER, agent.on_result)
    agent.reply(agent.wire.take_request("UPDATE"), status)
    assert usage.ended and agent.wire.lines() == ["BYE"]


def test_an_update_that_is_never_answered_ends_the_call() -> None:
    agent = Updating()
    usage = agent.answered_call()
    usage.update(None, agent.on_result)
    agent.wire.advance(32)
    assert usage.ended and agent.results == [408] and agent.wire.times("BYE") == [32]


def test_an_early_update_that_fails_leaves_the_call_to_its_invite() -> None:
    agent = Updating()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 183, headers=RELIABLE, body=ANSWER)
    agent.wire.take()
    usage.update(OFFER, agent.on_result, remote_tag="remote")
    agent.reply(agent.wire.take_request("UPDATE"), 481)
    assert agent.results == [481] and not usage.ended
    agent.reply(invite, 200, body=ANSWER)
    assert agent.wire.lines() == ["ACK"]


@pytest.mark.parametrize(("direction", "low", "high"), [("outgoing", 2.1, 4.0), ("incoming", 0.0, 2.0)])
def test_an_update_that_collided_is_made_again_after_the_wait_of_its_side(direction: str, low: float, high: float) -> None:
    agent = Updating()
    usage = agent.answered_call() if direction == "outgoing" else agent.answered()
    usage.update(lambda: OFFER, agent.on_result, on_glare=agent.on_glare)
    before = agent.wire.scheduler.now
    agent.reply(agent.wire.take_request("UPDATE"), 491)
    assert agent.glares == 1 and agent.results == []
    while not (again := agent.wire.take()):
        agent.wire.advance(0.01)
    assert low <= agent.wire.scheduler.now - before <= high + 0.02
    agent.reply(again[0], 200, body=ANSWER)  # type: ignore[arg-type]
    assert agent.results == [200]


def test_an_update_to_a_side_that_is_busy_with_another_is_made_again_when_it_says() -> None:
    agent = Updating()
    usage = agent.answered_call()
    usage.update(OFFER, agent.on_result)
    agent.reply(agent.wire.take_request("UPDATE"), 500, headers=(("Retry-After", "3 (busy)"),))
    agent.wire.advance(2.9)
    assert agent.wire.lines() == []
    agent.wire.advance(0.2)
    agent.reply(agent.wire.take_request("UPDATE"), 500, headers=(("Retry-After", "3"),))
    assert agent.results == [500] and not usage.ended


@pytest.mark.parametrize("value", ["11", "soon", "99999999999"])
def test_a_500_that_names_no_short_time_is_a_failure(value: str) -> None:
    agent = Updating()
    usage = agent.answered_call()
    usage.update(OFFER, agent.on_result)
    agent.reply(agent.wire.take_request("UPDATE"), 500, headers=(("Retry-After", value),))
    assert agent.results == [500]


def test_an_update_waits_while_an_offer_of_ours_in_a_2xx_has_no_answer() -> None:
    agent = Updating()
    usage = agent.answered_call()
    agent.receive(agent.in_dialog(usage, "INVITE", 1))
    usage.answer_reinvite(agent.handler.reinvites[0][1], 200, OFFER)
    usage.update(OFFER, agent.on_result)
    assert "UPDATE" not in agent.wire.lines()
    agent.receive(agent.in_dialog(usage, "ACK", 1, body=ANSWER.decode()))
    assert agent.wire.lines() == ["UPDATE"]


def test_a_reinvite_waits_for_our_own_update() -> None:
    agent = Updating()
    usage = agent.answered_call()
    usage.update(OFFER, agent.on_result)
    update = agent.wire.take_request("UPDATE")
    usage.reinvite(OFFER, lambda result: None)
    assert agent.wire.lines() == []
    agent.reply(update, 200, body=ANSWER)
    assert agent.wire.lines() == ["INVITE"]


def test_an_update_in_progress_is_given_up_at_the_end_of_the_call() -> None:
    agent = Updating()
    usage = agent.answered_call()
    usage.update(OFFER, agent.on_result)
    agent.wire.take()
    agent.receive(agent.in_dialog(usage, "BYE", 1))
    assert agent.results == [487]
    assert agent.left_behind() == (0, 0, 0)


# -- the other side changes -----------------------------------------------------------------------------------------------


def test_an_update_is_given_to_the_handler_and_its_2xx_refreshes_the_target() -> None:
    agent = Updating()
    agent.handler.update_answer = (200, ANSWER)
    usage = agent.answered()
    agent.receive(agent.in_dialog(usage, "UPDATE", 2, body=OFFER.decode(), headers=MOVED))
    accepted = agent.wire.take_response(200)
    assert accepted.body == ANSWER and str(accepted.contact) == "<sip:us@192.0.2.1:5060>" and "UPDATE" in accepted.allow
    usage.hangup()
    assert str(agent.wire.take_request("BYE").uri) == "sip:moved@192.0.2.9"


def test_a_refused_update_does_not_refresh_the_target() -> None:
    agent = Updating()
    agent.handler.update_answer = (488, None)
    usage = agent.answered()
    agent.receive(agent.in_dialog(usage, "UPDATE", 2, body=OFFER.decode(), headers=MOVED))
    agent.wire.take_response(488)
    usage.hangup()
    assert str(agent.wire.take_request("BYE").uri) == "sip:peer@192.0.2.2:5060"


def test_a_second_update_before_the_answer_to_the_first_gets_500_with_retry_after() -> None:
    agent = Updating()
    agent.handler.update_answer = (0, None)
    usage = agent.answered()
    agent.receive(agent.in_dialog(usage, "UPDATE", 2, body=OFFER.decode()))
    agent.receive(agent.in_dialog(usage, "UPDATE", 3, body=OFFER.decode()))
    refusal = agent.wire.take_response(500)
    assert 0 <= int(refusal.headers.get("Retry-After") or "") <= 10
    assert agent.handler.names.count("request") == 1


def test_an_update_out_of_order_gets_500() -> None:
    agent = Updating()
    usage = agent.answered()
    agent.receive(agent.in_dialog(usage, "UPDATE", 5))
    agent.receive(agent.in_dialog(usage, "UPDATE", 4))
    assert agent.wire.lines() == ["200", "500"]


def test_an_update_outside_of_a_dialog_gets_481() -> None:
    from tests.sip_wire import request

    agent = Updating()
    agent.receive(request("UPDATE"))
    assert agent.wire.lines() == ["481"]


def test_a_handler_that_fails_costs_the_update_a_500_and_nothing_else() -> None:
    agent = Updating()
    usage = agent.answered()

    def fail(usage: object) -> None:
        raise RuntimeError("a fault of the program")

    agent.handler.do["request"] = fail
    agent.receive(agent.in_dialog(usage, "UPDATE", 2, body=OFFER.decode()))
    assert agent.wire.lines() == ["500"] and not usage.ended
