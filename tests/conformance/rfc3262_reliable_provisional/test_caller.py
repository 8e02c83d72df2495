"""RFC 3262 §4, §5 and §7: the caller acknowledges reliable provisional responses."""

from __future__ import annotations

import pytest

from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Request
from flexosip.sip.parser import parse_message
from flexosip.sip.reliable import RAck, ReliableReceipts
from tests.sip_agent import ANSWER, OFFER, Agent
from tests.sip_wire import request


def reliable(rseq: int) -> tuple[tuple[str, str], ...]:
    """Headers of a reliable provisional response."""
    return (("Require", "100rel"), ("RSeq", str(rseq)))


def test_a_reliable_provisional_response_is_acknowledged_with_its_rseq_and_the_cseq_of_the_invite() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, headers=(*reliable(4711), ("Record-Route", "<sip:proxy.example;lr>")))
    prack = agent.wire.take_request("PRACK")
    assert prack.headers.get("RAck") == "4711 10 INVITE"
    assert (prack.cseq.number, prack.to.tag, prack.from_.tag) == (11, "remote", "ours")
    assert str(prack.uri) == "sip:peer@192.0.2.2:5060" and prack.headers.get("Route") == "<sip:proxy.example;lr>"
    assert not prack.body


def test_an_unreliable_provisional_response_is_not_acknowledged() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180)
    agent.reply(invite, 183, headers=(("RSeq", "1"),))
    agent.reply(invite, 183, headers=(("Require", "100rel"),))
    agent.reply(invite, 183, headers=(("Require", "100rel"), ("RSeq", "0")))
    agent.reply(invite, 183, headers=(("Require", "100rel"), ("RSeq", "x")))
    agent.reply(invite, 100, headers=reliable(1), tag=None)
    assert agent.wire.lines() == []
    assert len(agent.handler.calls) == 6


def test_a_repeated_reliable_response_is_neither_processed_nor_acknowledged_again() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, headers=reliable(7))
    agent.reply(invite, 180, headers=reliable(7))
    assert agent.wire.lines() == ["PRACK"]
    assert agent.handler.names == ["provisional"]


def test_the_prack_itself_is_repeated_until_it_is_answered() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, headers=reliable(7))
    agent.wire.advance(1.6)
    assert agent.wire.times("PRACK") == [0, 0.5, 1.5]
    prack = agent.wire.take()[-1]
    assert isinstance(prack, Request)
    agent.reply(prack, 200)
    agent.wire.advance(40)
    assert agent.wire.lines() == []


def test_a_reliable_response_out_of_order_waits_for_the_one_before_it_to_be_repeated() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, headers=reliable(7))
    agent.reply(invite, 183, headers=reliable(9))
    assert agent.wire.lines() == ["PRACK"]
    agent.reply(invite, 182, headers=reliable(8))
    agent.reply(invite, 183, headers=reliable(9))
    assert [message.headers.get("RAck") for message in agent.wire.take()] == ["8 10 INVITE", "9 10 INVITE"]
    assert [detail for _, detail in agent.handler.calls] == [(180, "remote"), (182, "remote"), (183, "remote")]


def test_each_fork_counts_for_itself() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, tag="a", headers=reliable(100))
    agent.reply(invite, 180, tag="b", headers=reliable(5))
    agent.reply(invite, 183, tag="a", headers=reliable(101))
    sent = agent.wire.take()
    assert [(message.to.tag, message.headers.get("RAck"), message.cseq.number) for message in sent] == [
        ("a", "100 10 INVITE", 11),
        ("b", "5 10 INVITE", 11),
        ("a", "101 10 INVITE", 12),
    ]


def test_the_prack_brings_the_answer_when_the_response_brought_the_offer() -> None:
    agent = Agent()
    agent.handler.prack_body = ANSWER
    agent.call(body=None)
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 183, headers=reliable(1), body=OFFER)
    prack = agent.wire.take_request("PRACK")
    assert prack.body == ANSWER and prack.content_type == "application/sdp"


def test_a_2xx_while_the_prack_is_unanswered_makes_the_call() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, headers=reliable(1))
    agent.reply(invite, 200, body=ANSWER)
    assert agent.wire.lines() == ["PRACK", "ACK"]
    agent.wire.advance(40)
    # Nobody answered the PRACK: that costs nothing, the call has been answered.
    assert not usage.ended and set(agent.wire.lines()) == {"PRACK"}


def test_a_prack_that_is_refused_does_not_end_the_call() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, headers=reliable(1))
    agent.reply(agent.wire.take_request("PRACK"), 481)
    agent.reply(invite, 200, body=ANSWER)
    assert agent.handler.names == ["provisional", "accepted"]


def test_a_cancelled_call_still_acknowledges_what_is_repeated_until_then() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    usage.cancel()
    agent.reply(invite, 180, headers=reliable(1))
    assert agent.wire.lines() == ["CANCEL", "PRACK"]
    agent.reply(invite, 487)
    assert agent.handler.rejection == (487, 487)


def test_a_prack_that_nobody_asked_for_gets_481() -> None:
    agent = Agent()
    usage = agent.answered_call()
    agent.receive(agent.in_dialog(usage, "PRACK", 1, headers=(("RAck", "1 10 INVITE"),)))
    assert agent.wire.lines() == ["481"]


def test_nothing_is_left_of_a_call_with_reliable_responses() -> None:
    agent = Agent()
    usage = agent.call()
    invite = agent.wire.take_request("INVITE")
    agent.reply(invite, 180, headers=reliable(1))
    agent.reply(agent.wire.take_request("PRACK"), 200)
    agent.reply(invite, 200, body=ANSWER)
    agent.wire.take_request("ACK")
    usage.hangup()
    agent.reply(agent.wire.take_request("BYE"), 200)
    assert agent.left_behind() == (0, 0, 0)


@pytest.mark.parametrize("value", ["", "1 INVITE", "1 2", "0 1 INVITE", "x 1 INVITE", "1 -2 INVITE", "4294967296 1 INVITE", "1 1 IN VITE"])
def test_a_malformed_rack_is_refused(value: str) -> None:
    prack = parse_message(request("PRACK", headers=(("RAck", value),)))
    assert isinstance(prack, Request)
    with pytest.raises(SipParseError):
        RAck.of(prack)


def test_a_rack_is_read_as_it_is_written() -> None:
    prack = parse_message(request("PRACK", headers=(("RAck", "776656  1\tINVITE"),)))
    assert isinstance(prack, Request)
    assert RAck.of(prack) == RAck(776656, 1, "INVITE") and str(RAck.of(prack)) == "776656 1 INVITE"


def test_a_flood_of_forks_costs_no_more_than_64_dialogs_and_pracks() -> None:
    agent = Agent()
    agent.call()
    invite = agent.wire.take_request("INVITE")
    for number in range(1000):
        agent.reply(invite, 183, tag=f"fork{number}", headers=reliable(1))
    assert agent.wire.lines().count("PRACK") == 64
    assert agent.core.statistics().dialogs == 64
    agent.reply(invite, 486, tag="fork1")
    assert agent.core.statistics().dialogs == 0


def test_who_rings_under_ever_new_tags_is_not_remembered_without_end() -> None:
    receipts = ReliableReceipts()
    invite = parse_message(request("INVITE"))
    assert isinstance(invite, Request)
    taken = [receipts.take(invite.create_response(180, to_tag=f"fork{number}"), 1) for number in range(1000)]
    assert 64 <= sum(taken) <= 256 and len(receipts._last) <= 256
    later = parse_message(request("INVITE", cseq=2))
    assert isinstance(later, Request)
    assert receipts.take(later.create_response(180, to_tag="fork1"), 7) and len(receipts._last) == 1
