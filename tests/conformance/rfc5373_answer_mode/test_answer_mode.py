"""Calls that ask to be answered at once (RFC 5373), and the customs of desk phones for it; how a call shall ring (RFC 7462)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from flexosip import Call, ConfigurationError, Phone
from flexosip.sip.answer_mode import AnswerRequest, alert_header, auto_answer_headers, requested_answer
from flexosip.sip.headers import Headers
from tests.network.stage import PEER, RawPeer, World, sdp, settle


def asked(*headers: tuple[str, str]) -> AnswerRequest | None:
    return requested_answer(Headers(headers))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), None),
        ((("Answer-Mode", "Auto"),), AnswerRequest(True, 0.0, standard=True)),
        ((("Answer-Mode", "AUTO;require"),), AnswerRequest(True, 0.0, True, standard=True)),
        ((("Answer-Mode", "Manual ;require"),), AnswerRequest(False, 0.0, True, standard=True)),
        ((("Priv-Answer-Mode", "Auto"), ("Answer-Mode", "Manual")), AnswerRequest(True, 0.0, privileged=True, standard=True)),
        ((("Answer-Mode", "Later"),), None),
        ((("Call-Info", "<sip:x>;answer-after=0"),), AnswerRequest(True)),
        ((("Call-Info", "<sip:x>; Answer-After = 2"),), AnswerRequest(True, 2.0)),
        ((("Call-Info", "<http://x/p.png>;purpose=icon, <sip:x>;answer-after=1"),), AnswerRequest(True, 1.0)),
        ((("Answer-Mode", "Auto"), ("Call-Info", "<sip:x>;answer-after=3")), AnswerRequest(True, 3.0, standard=True)),
        ((("Answer-Mode", "Manual"), ("Call-Info", "<sip:x>;answer-after=3")), AnswerRequest(False, standard=True)),
        ((("Alert-Info", "<http://127.0.0.1>;info=alert-autoanswer"),), AnswerRequest(True)),
        ((("Alert-Info", "info=alert-autoanswer;delay=4"),), AnswerRequest(True, 4.0)),
        ((("Alert-Info", "Ring Answer"),), AnswerRequest(True)),
        ((("Alert-Info", '"Auto Answer"'),), AnswerRequest(True)),
        ((("Alert-Info", "<http://x>;info=ring1"),), None),
        ((("Alert-Info", "<http://intercom.example/auto-answer.wav>"),), None),
        ((("Call-Info", "<sip:x>;answer-after=soon"),), None),
        ((("Call-Info", "<sip:x>;answer-after=99999"),), None),
        ((("Call-Info", "<sip:x;answer-after=0>"),), None),
    ],
)  # fmt: skip
def test_what_a_caller_asks_for(headers: Any, expected: AnswerRequest | None) -> None:
    assert asked(*headers) == expected


@pytest.mark.parametrize("seconds", [0.0, 2.0, 1.5])
def test_what_we_ask_for_is_understood_by_us(seconds: float) -> None:
    headers = auto_answer_headers("x.example:5070", seconds)
    assert asked(*headers) == AnswerRequest(True, seconds, standard=True)
    for header in headers[1:]:
        assert asked(header) == AnswerRequest(True, seconds)


@pytest.mark.parametrize(
    ("alert", "value"),
    [
        ("urn:alert:source:internal", "<urn:alert:source:internal>"),
        ("urn:alert:service:call-waiting", "<urn:alert:service:call-waiting>"),
        ("https://x.example/ding.wav", "<https://x.example/ding.wav>"),
        ("doorbell", "<http://127.0.0.1/doorbell>;info=doorbell"),
    ],
)
def test_an_alert_is_a_urn_or_a_word(alert: str, value: str) -> None:
    assert alert_header(alert) == ("Alert-Info", value)


@pytest.mark.parametrize("alert", ["", "two words", "a<b>", "urn:alert:<x>", ";info=x"])
def test_other_alerts_are_refused(alert: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        alert_header(alert)


def run(story: Any, **settings: Any) -> None:
    World().run_with_peer(story, **settings)


def patient(phone: Phone) -> list[Call]:
    """The phone rings; nobody answers."""
    calls: list[Call] = []

    @phone.on_call
    async def ring(call: Call) -> None:
        calls.append(call)
        await call.ring()
        await call.wait_ended()

    return calls


AUTO = (("Answer-Mode", "Auto"),)


@pytest.mark.parametrize(
    ("policy", "trusted", "headers", "answered"),
    [
        ("off", (PEER,), AUTO, False),
        ("trusted", (), AUTO, False),
        ("trusted", (PEER,), AUTO, True),
        ("any", (), AUTO, True),
        ("any", (), (("Call-Info", "<sip:x>;answer-after=0"),), True),
        ("any", (), (("Answer-Mode", "Manual"), ("Alert-Info", "info=alert-autoanswer")), False),
        ("any", (), (), False),
    ],
)
def test_only_who_may_is_answered_at_once(policy: str, trusted: Any, headers: Any, answered: bool) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = patient(phone)
        peer.ask("INVITE", sdp(), headers=headers)
        if answered:
            response = await peer.response(200)
            peer.acknowledge(response)
            assert response.headers.get("Answer-Mode") == ("Auto" if headers == AUTO else None)
            assert calls[0].auto_answer == 0
            peer.within(response, "BYE")
            await peer.response(200, "BYE")
        else:
            await asyncio.sleep(5)
            assert peer.count(200) == 0 and peer.count(180) == 1 and calls[0].auto_answer is None
        await settle(phone)

    run(story, auto_answer=policy, trusted_peers=trusted)


def test_it_is_answered_after_the_time_asked_for_unless_somebody_is_quicker() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = patient(phone)
        peer.ask("INVITE", sdp(), headers=(("Call-Info", "<sip:x>;answer-after=5"),))
        await asyncio.sleep(4)
        assert peer.count(200) == 0
        response = await peer.response(200, timeout=2)
        peer.acknowledge(response)
        peer.within(response, "BYE")
        await peer.response(200, "BYE")
        peer.ask("INVITE", sdp(), call_id="again", headers=(("Call-Info", "<sip:x>;answer-after=5"),))
        await asyncio.sleep(2)
        await calls[1].reject(486)
        await peer.response(486)
        await asyncio.sleep(5)
        assert phone.calls == []
        await settle(phone)

    run(story, auto_answer="any")


def test_a_handler_that_answers_by_itself_is_in_nobodys_way() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def take(call: Call) -> None:
            if delay:
                await asyncio.sleep(delay)
            await call.answer()
            await call.wait_ended()

        for number, delay in enumerate((0.0, 1.0)):
            peer.ask("INVITE", sdp(), call_id=f"c{number}", headers=AUTO)
            response = await peer.response(200)
            assert response.headers.get("Answer-Mode") == ("Manual" if delay == 0 else "Auto")
            peer.acknowledge(response)
            await asyncio.sleep(3)
            assert [call.state for call in phone.calls] == ["answered"]
            peer.within(response, "BYE")
            await peer.response(200, "BYE")
        await settle(phone)

    run(story, auto_answer="any")


def test_who_requires_an_automatic_answer_and_may_not_have_it_gets_403() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = patient(phone)
        peer.ask("INVITE", sdp(), headers=(("Answer-Mode", "Auto;require"), ("Require", "answermode")))
        peer.within(await peer.response(403), "ACK", cseq=1)
        assert calls == []
        peer.ask("INVITE", sdp(), call_id="2", headers=(("Answer-Mode", "Manual;require"), ("Require", "answermode")))
        await peer.response(180)
        assert calls[0].auto_answer is None
        await settle(phone)

    run(story)


def test_the_extension_is_announced() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        patient(phone)
        peer.ask("INVITE", sdp())
        ringing = await peer.response(180)
        assert {"answermode", "from-change", "uui"} <= ringing.supported
        await settle(phone)

    run(story)


def test_privilege_gets_through_do_not_disturb_if_it_is_granted() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        patient(phone)
        phone.do_not_disturb = True
        peer.ask("INVITE", sdp(), headers=AUTO)
        peer.within(await peer.response(480), "ACK", cseq=1)
        peer.ask("INVITE", sdp(), call_id="2", headers=(("Priv-Answer-Mode", "Auto"),))
        response = await peer.response(200)
        assert response.headers.get("Priv-Answer-Mode") == "Auto"
        peer.acknowledge(response)
        peer.within(response, "BYE")
        await peer.response(200, "BYE")
        phone.availability = replace(phone.availability, auto_answer="trusted")
        peer.ask("INVITE", sdp(), call_id="3", headers=(("Priv-Answer-Mode", "Auto"),))
        peer.within(await peer.response(480), "ACK", cseq=1)
        await settle(phone)

    run(story, auto_answer="any")


def test_one_phone_asks_and_the_other_answers() -> None:
    async def story(caller: Phone, callee: Phone, target: str) -> None:
        patient(callee)
        async with caller.call(target, auto_answer=1, alert="urn:alert:source:internal", ring_timeout=10) as call:
            assert call.response_headers is not None and call.response_headers.get("Answer-Mode") == "Auto"
        for bad in ({"auto_answer": -1}, {"alert": "a b"}, {"alert": "a\r\nb"}):
            with pytest.raises(ConfigurationError):
                caller.call(target, **bad)  # type: ignore[arg-type]

    World().run(story, callee={"auto_answer": "trusted", "trusted_peers": "10.0.0.1"})


def test_a_policy_is_one_of_three_words() -> None:
    with pytest.raises(ConfigurationError, match="off, trusted, any"):
        Phone(auto_answer="yes")
