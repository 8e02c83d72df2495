"""RFC 3261 §22: answering challenges, in calls too, without ever looping and without telling strangers."""

from __future__ import annotations

import random

import pytest

from flexosip.sip.digest import DigestClient
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request, new_request
from flexosip.sip.uri import SipUri
from tests.sip_agent import ANSWER, Agent
from tests.sip_wire import udp_flow


def challenge(nonce: str = "n1", *, proxy: bool = True, realm: str = "example.com", stale: bool = False) -> tuple[tuple[str, str], ...]:
    name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
    return ((name, f'Digest realm="{realm}", nonce="{nonce}", algorithm=SHA-256, qop="auth"' + (", stale=true" if stale else "")),)


def client(realms: frozenset[str] | None = None) -> DigestClient:
    return DigestClient("us", "secret", realms=realms, random=random.Random(5))


def test_a_challenged_invite_is_sent_again_with_credentials_next_cseq_and_new_branch() -> None:
    agent = Agent()
    usage = agent.call(auth=client())
    first = agent.wire.take_request("INVITE")
    agent.reply(first, 407, headers=challenge())
    ack, second = agent.wire.take()
    assert isinstance(ack, Request) and ack.method == "ACK"
    assert isinstance(second, Request) and second.method == "INVITE"
    assert (second.cseq.number, second.call_id, second.from_.tag) == (11, first.call_id, first.from_.tag)
    assert second.via.branch != first.via.branch and len(second.vias) == 1
    assert second.body == first.body and "Proxy-Authorization" in second.headers
    assert second.to.tag is None
    agent.reply(second, 200, body=ANSWER)
    acknowledged = agent.wire.take_request("ACK")
    assert acknowledged.cseq.number == 11
    assert acknowledged.headers.get("Proxy-Authorization") == second.headers.get("Proxy-Authorization")
    assert usage.request.cseq.number == 11
    usage.hangup()
    bye = agent.wire.take_request("BYE")
    assert bye.cseq.number == 12 and 'nc=00000002' in (bye.headers.get("Proxy-Authorization") or "")


def test_401_and_407_one_after_the_other_are_both_answered() -> None:
    agent = Agent()
    agent.call(auth=client())
    agent.reply(agent.wire.take_request("INVITE"), 407, headers=challenge(realm="proxy"))
    second = agent.wire.take()[-1]
    assert isinstance(second, Request)
    agent.reply(second, 401, headers=challenge(proxy=False, realm="home"))
    third = agent.wire.take()[-1]
    assert "Authorization" in third.headers and "Proxy-Authorization" in third.headers


def test_a_wrong_password_ends_with_the_challenge_after_one_try() -> None:
    agent = Agent()
    agent.call(auth=client())
    agent.reply(agent.wire.take_request("INVITE"), 407, headers=challenge("n1"))
    agent.reply(agent.wire.take()[-1], 407, headers=challenge("n2"))  # type: ignore[arg-type]
    assert agent.wire.lines() == ["ACK"]
    assert agent.handler.rejection == (407, 407)


@pytest.mark.parametrize("stale", [False, True])
def test_a_server_that_challenges_for_ever_is_given_up_soon(stale: bool) -> None:
    agent = Agent()
    agent.call(auth=client())
    for number in range(100):
        invites = [m for m in agent.wire.take() if isinstance(m, Request) and m.method == "INVITE"]
        if not invites:
            break
        agent.reply(invites[0], 401, headers=challenge(f"n{number}", proxy=False, stale=stale, realm=f"r{number}"))
    assert number < 10 and agent.handler.rejection == (401, 401)


def test_without_credentials_a_challenge_is_the_end() -> None:
    agent = Agent()
    agent.call()
    agent.reply(agent.wire.take_request("INVITE"), 401, headers=challenge(proxy=False))
    assert agent.handler.rejection == (401, 401)


def test_a_cancelled_call_answers_no_challenge() -> None:
    agent = Agent()
    usage = agent.call(auth=client())
    invite = agent.wire.take_request("INVITE")
    usage.cancel()
    agent.reply(invite, 407, headers=challenge())
    assert agent.wire.lines() == ["ACK"]
    assert agent.handler.rejection == (487, 407)


def test_cancel_carries_no_credentials_and_is_not_challenged_into_a_second_one() -> None:
    agent = Agent()
    usage = agent.call(auth=client())
    agent.reply(agent.wire.take_request("INVITE"), 407, headers=challenge())
    invite = agent.wire.take()[-1]
    assert isinstance(invite, Request)
    agent.reply(invite, 180)
    usage.cancel()
    cancel = agent.wire.take_request("CANCEL")
    assert "Proxy-Authorization" not in cancel.headers and cancel.cseq.number == invite.cseq.number
    agent.reply(cancel, 407, headers=challenge("n9"))
    assert agent.wire.lines() == []


@pytest.mark.parametrize(("status", "proxy"), [(401, False), (407, True)])
def test_a_challenged_bye_is_answered(status: int, proxy: bool) -> None:
    agent = Agent()
    usage = agent.answered_call()
    usage.auth = client()
    usage.hangup()
    bye = agent.wire.take_request("BYE")
    agent.reply(bye, status, headers=challenge(proxy=proxy))
    again = agent.wire.take_request("BYE")
    assert again.cseq.number == bye.cseq.number + 1
    assert ("Proxy-Authorization" if proxy else "Authorization") in again.headers
    agent.reply(again, 200)
    assert agent.left_behind() == (0, 0, 0)


def test_a_challenged_reinvite_keeps_the_sequence_of_the_dialog() -> None:
    agent = Agent()
    usage = agent.answered_call()
    usage.auth = client()
    results: list[int] = []
    usage.reinvite(b"v=0", lambda result: results.append(result.status))  # type: ignore[func-returns-value]
    agent.reply(agent.wire.take_request("INVITE"), 401, tag=None, headers=challenge(proxy=False))
    again = agent.wire.take()[-1]
    assert isinstance(again, Request) and again.cseq.number == 12
    agent.reply(again, 200, tag=None, body=ANSWER)
    assert results == [200]
    agent.wire.take()
    usage.hangup()
    assert agent.wire.take_request("BYE").cseq.number == 13


def test_a_peer_elsewhere_that_challenges_our_bye_learns_nothing() -> None:
    agent = Agent()
    usage = agent.answered_call()
    usage.auth = client()
    agent.flow = udp_flow(("203.0.113.66", 5060))
    usage.hangup()
    bye = agent.wire.take_request("BYE")
    agent.reply(bye, 401, headers=challenge(proxy=False))
    assert agent.wire.lines() == []
    assert agent.left_behind() == (0, 0, 0)


def test_known_credentials_are_not_sent_to_another_host() -> None:
    agent = Agent()
    auth = client()
    usage = agent.call(auth=auth)
    agent.reply(agent.wire.take_request("INVITE"), 407, headers=challenge())
    agent.reply(agent.wire.take()[-1], 200, body=ANSWER)  # type: ignore[arg-type]
    agent.wire.take()
    agent.flow = udp_flow(("203.0.113.66", 5060))
    usage.hangup()
    assert "Proxy-Authorization" not in agent.wire.take_request("BYE").headers


def test_a_policy_can_keep_credentials_off_a_flow() -> None:
    agent = Agent()
    agent.core.auth_allowed = lambda flow: False
    agent.call(auth=client())
    agent.reply(agent.wire.take_request("INVITE"), 407, headers=challenge())
    assert agent.wire.lines() == ["ACK"] and agent.handler.rejection == (407, 407)


def test_a_foreign_realm_gets_nothing() -> None:
    agent = Agent()
    agent.call(auth=client(frozenset({"home"})))
    agent.reply(agent.wire.take_request("INVITE"), 401, headers=challenge(proxy=False, realm="elsewhere"))
    assert agent.handler.rejection == (401, 401)


def test_requests_outside_of_calls_are_authenticated_too() -> None:
    agent = Agent()
    results: list[int] = []
    message = new_request(
        "MESSAGE",
        SipUri.parse("sip:peer@example.com"),
        from_=NameAddr.parse("<sip:us@example.com>;tag=t"),
        to=NameAddr.parse("<sip:peer@example.com>"),
        call_id="m1",
        cseq=1,
        body=b"hello",
        content_type="text/plain",
    )
    agent.core.request(message, SipUri.parse("sip:192.0.2.2"), auth=client(), on_final=lambda result: results.append(result.status))
    agent.reply(agent.wire.take_request("MESSAGE"), 407, headers=challenge())
    again = agent.wire.take_request("MESSAGE")
    assert again.cseq.number == 2 and again.body == b"hello"
    agent.reply(again, 202)
    assert results == [202]


def test_a_request_that_was_stopped_reports_nothing_and_tries_nothing() -> None:
    agent = Agent()
    results: list[object] = []
    options = new_request(
        "OPTIONS",
        SipUri.parse("sip:peer@example.com"),
        from_=NameAddr.parse("<sip:us@example.com>;tag=t"),
        to=NameAddr.parse("<sip:peer@example.com>"),
        call_id="m1",
        cseq=1,
    )
    outgoing = agent.core.request(options, SipUri.parse("sip:192.0.2.2"), auth=client(), on_final=results.append)
    outgoing.stop()
    agent.reply(agent.wire.take_request("OPTIONS"), 407, headers=challenge())
    assert agent.wire.lines() == [] and results == []
    assert agent.left_behind() == (0, 0, 0)
