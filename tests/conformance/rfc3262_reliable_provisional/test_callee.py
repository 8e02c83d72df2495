"""RFC 3262 §3 and §5: the callee repeats its provisional responses until they are acknowledged."""

from __future__ import annotations

import pytest

from flexosip.sip.invite_server import IncomingInvite
from flexosip.sip.message import Response
from flexosip.sip.session_timer import SessionTimerSettings
from tests.sip_agent import ANSWER, OFFER, Agent
from tests.sip_wire import request

WANTS = (("Supported", "100rel"),)
NEEDS = (("Require", "100rel"),)


class Reliable(Agent):
    """An agent that makes its 1xx reliable where the caller can take them."""

    def __init__(self, policy: str = "supported") -> None:
        super().__init__()
        self.core.supported = frozenset({"100rel"})
        self.core.reliable_provisional = policy

    def prack(self, usage: object, response: Response, cseq: int = 2, **options: object) -> None:
        """The caller acknowledges `response`."""
        rack = f"{response.headers.get('RSeq')} {response.cseq.number} INVITE"
        self.receive(self.in_dialog(usage, "PRACK", cseq, headers=(("RAck", rack),), **options))  # type: ignore[arg-type]


def rseq(response: Response) -> int:
    return int(response.headers.get("RSeq") or "")


def test_a_reliable_response_requires_100rel_and_counts_from_a_random_number() -> None:
    starts = set()
    for seed in range(5):
        agent = Reliable()
        agent.core.random.seed(seed)  # type: ignore[attr-defined]
        usage = agent.called(headers=WANTS)
        usage.provisional(180)
        ringing = agent.wire.take_response(180)
        assert ringing.require == {"100rel"}
        starts.add(rseq(ringing))
    assert len(starts) == 5 and all(1 <= start < 2**31 for start in starts)


def test_it_is_repeated_at_t1_doubling_until_the_prack() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(180)
    agent.wire.advance(8)
    assert agent.wire.times("SIP/2.0 180") == [0, 0.5, 1.5, 3.5, 7.5]
    repeated = agent.wire.take()
    assert len({bytes(message) for message in repeated}) == 1
    ringing = repeated[0]
    assert isinstance(ringing, Response)
    agent.prack(usage, ringing)
    assert agent.wire.lines() == ["200"]
    agent.wire.advance(30)
    assert agent.wire.lines() == []


def test_without_a_prack_the_call_is_refused_after_64_t1() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(180)
    agent.wire.advance_to(32)
    assert agent.wire.times("SIP/2.0 504") == [32]
    assert (agent.handler.end.by, agent.handler.end.status) == ("timeout", 504)
    assert agent.left_behind() == (0, 0, 0)


def test_the_second_waits_until_the_first_is_acknowledged_and_has_the_next_number() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(180)
    usage.provisional(183, body=ANSWER)
    usage.provisional(182)
    first = agent.wire.take_response(180)
    agent.prack(usage, first, 2)
    acknowledged, second = agent.wire.take()
    assert isinstance(second, Response) and (second.status, rseq(second)) == (183, rseq(first) + 1)
    assert acknowledged.cseq.method == "PRACK"
    agent.prack(usage, second, 3)
    assert agent.wire.lines() == ["200", "182"]


def test_a_prack_that_matches_nothing_gets_481() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(180)
    number = rseq(agent.wire.take_response(180))
    for cseq, rack in enumerate([f"{number + 1} 1 INVITE", f"{number} 2 INVITE", f"{number} 1 UPDATE"], 2):
        agent.receive(agent.in_dialog(usage, "PRACK", cseq, headers=(("RAck", rack),)))
        assert agent.wire.lines() == ["481"]
    agent.receive(agent.in_dialog(usage, "PRACK", 8, headers=(("RAck", f"{number} 1 INVITE"),)))
    assert agent.wire.lines() == ["200"]
    agent.receive(agent.in_dialog(usage, "PRACK", 9, headers=(("RAck", f"{number} 1 INVITE"),)))
    assert agent.wire.lines() == ["481"]


def test_a_prack_without_a_readable_rack_gets_400() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(180)
    agent.wire.take()
    agent.receive(agent.in_dialog(usage, "PRACK", 2, headers=(("RAck", "nonsense"),)))
    assert agent.wire.lines() == ["400"]


def test_a_repeated_prack_gets_the_same_answer() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(180)
    ringing = agent.wire.take_response(180)
    agent.prack(usage, ringing, branch="z9hG4bKp")
    agent.prack(usage, ringing, branch="z9hG4bKp")
    assert agent.wire.lines() == ["200", "200"]
    assert agent.handler.names == ["prack"]


def test_a_2xx_waits_for_the_prack_of_a_description() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(183, body=ANSWER)
    progress = agent.wire.take_response(183)
    usage.accept(None)
    assert agent.wire.lines() == []
    agent.prack(usage, progress)
    assert [message.cseq.method for message in agent.wire.take()] == ["PRACK", "INVITE"]


def test_a_2xx_does_not_wait_for_the_prack_of_a_response_without_description() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(180)
    ringing = agent.wire.take_response(180)
    usage.accept(ANSWER)
    agent.wire.take_response(200)
    agent.wire.advance(0.4)
    # Its PRACK is on the way and still right; but it is not repeated any more.
    agent.prack(usage, ringing)
    assert agent.wire.lines() == ["200"]
    agent.receive(agent.in_dialog(usage, "ACK"))
    agent.wire.advance(40)
    assert agent.wire.times("SIP/2.0 180") == [0]


def test_a_2xx_drops_what_was_not_sent_yet_unless_it_holds_a_description() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(180)
    usage.provisional(182)
    ringing = agent.wire.take_response(180)
    usage.accept(ANSWER)
    agent.prack(usage, ringing)
    assert agent.wire.lines() == ["200", "200"]
    agent.receive(agent.in_dialog(usage, "ACK"))
    agent.wire.advance(10)
    assert agent.wire.times("SIP/2.0 182") == []


def test_a_call_without_prack_gets_no_2xx_that_was_held_back() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(183, body=ANSWER)
    usage.accept(None)
    agent.wire.advance(40)
    assert agent.wire.times("SIP/2.0 504") != [] and agent.wire.times("SIP/2.0 200") == []
    assert agent.handler.end.status == 504


def test_a_cancel_in_between_ends_the_repetition() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(183, body=ANSWER)
    usage.accept(None)
    agent.wire.take()
    agent.receive(request("CANCEL", cseq=1, branch="z9hG4bKpeer1"))
    assert agent.wire.lines() == ["200", "487"]
    agent.wire.advance(0.6)
    assert agent.wire.lines() == ["487"]
    assert agent.handler.end.status == 487


def test_a_refusal_does_not_wait() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(183, body=ANSWER)
    usage.reject(486)
    assert agent.wire.lines() == ["183", "486"]


def test_a_caller_that_requires_100rel_gets_it_whatever_our_policy() -> None:
    agent = Reliable("off")
    usage = agent.called(headers=NEEDS)
    usage.provisional(180)
    assert agent.wire.take_response(180).require == {"100rel"}


@pytest.mark.parametrize(("policy", "headers"), [("off", WANTS), ("supported", ())])
def test_a_response_is_unreliable_where_nobody_wants_it_otherwise(policy: str, headers: tuple[tuple[str, str], ...]) -> None:
    agent = Reliable(policy)
    usage = agent.called(headers=headers)
    usage.provisional(180)
    assert "RSeq" not in agent.wire.take_response(180).headers
    assert isinstance(usage, IncomingInvite) and not usage.reliable
    agent.wire.advance(5)
    assert agent.wire.lines() == []


def test_a_caller_that_cannot_is_refused_with_421_where_it_must() -> None:
    agent = Reliable("required")
    agent.receive(request("INVITE", body="v=0"))
    refusal = agent.wire.take_response(421)
    assert refusal.require == {"100rel"}
    assert agent.usages == []


def test_100_is_never_reliable() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(100)
    assert "RSeq" not in agent.wire.take_response(100).headers


def test_the_answer_to_an_offer_in_a_prack_goes_with_its_200() -> None:
    agent = Reliable()
    agent.handler.prack_answer = (200, ANSWER)
    usage = agent.called(headers=WANTS)
    usage.provisional(183, body=ANSWER)
    progress = agent.wire.take_response(183)
    agent.prack(usage, progress, body=OFFER.decode())
    accepted = agent.wire.take_response(200)
    assert accepted.body == ANSWER and accepted.content_type == "application/sdp"
    assert agent.handler.calls == [("prack", OFFER)]


def test_a_bye_before_the_answer_ends_the_repetition() -> None:
    agent = Reliable()
    usage = agent.called(headers=WANTS)
    usage.provisional(180)
    agent.wire.take()
    agent.receive(agent.in_dialog(usage, "BYE", 2))
    assert sorted(agent.wire.lines()) == ["200", "487"]
    agent.wire.advance(20)
    assert agent.wire.times("SIP/2.0 180") == [0]


@pytest.mark.parametrize("policy", ["off", "supported", "required"])
@pytest.mark.parametrize("header", [("Require", 'x, "100rel'), ("Session-Expires", '90;"'), ("Min-SE", "x")])
def test_an_invite_whose_options_cannot_be_read_is_refused_and_leaves_nothing(policy: str, header: tuple[str, str]) -> None:
    agent = Agent()
    agent.core.reliable_provisional = policy
    agent.core.session_timer = SessionTimerSettings()
    agent.receive(request("INVITE", body="v=0", headers=(header,)))
    assert agent.wire.take_response().status == 400
    assert agent.core.dialogs == {}


def test_a_list_of_what_the_caller_supports_that_is_no_list_supports_what_can_be_read() -> None:
    agent = Reliable("supported")
    agent.core.session_timer = SessionTimerSettings()
    broken = (("Supported", '100rel, "timer'),)
    usage = agent.called(headers=broken)
    usage.provisional(180)
    assert agent.wire.take_response(180).require == {"100rel"}
    usage.accept(ANSWER)
    assert agent.wire.take_response(200).require == set()
    agent.receive(agent.in_dialog(usage, "ACK"))
    agent.receive(agent.in_dialog(usage, "UPDATE", 2, headers=broken))
    assert agent.wire.take_response().status == 200
    agent.receive(agent.in_dialog(usage, "INVITE", 3, headers=broken))
    agent.wire.take_response(100)
    usage.answer_reinvite(agent.handler.reinvites[-1][1], 200, ANSWER)
    agent.wire.take_response(200)
