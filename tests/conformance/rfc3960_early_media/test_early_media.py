"""RFC 3960, RFC 5009, RFC 6228, and RFC 3261 §13 with RFC 3262 §5: sound before the answer, and offers that come late."""

from __future__ import annotations

import array
import asyncio
import wave
from pathlib import Path
from typing import Any

import pytest

from flexosip import Phone
from flexosip.audio.sources import Tone
from flexosip.errors import Busy, CallFailed, InvalidState
from flexosip.phone.events import EarlyMedia
from flexosip.sip.early_media import early_media_of
from flexosip.sip.message import Response
from flexosip.sip.parser import parse_message
from tests.network.stage import RawPeer, World, sdp, settle
from tests.sip_wire import request

MINE = "sip:peer@10.0.0.9"
OFFERS = (("Supported", "100rel"),)


def reliable(rseq: int) -> tuple[tuple[str, str], ...]:
    return (("Require", "100rel"), ("RSeq", str(rseq)), ("Allow", "INVITE, ACK, BYE, PRACK, UPDATE"))


def early(call: Any) -> list[EarlyMedia]:
    session = call._session
    events = [session.event(index) for index in range(session.event_count)]
    return [event for event in events if isinstance(event, EarlyMedia)]


def remote_port(call: Any) -> int:
    agreement = call._session.media.negotiation.agreement
    return int(agreement.remote_port)


# -- the caller -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [180, 181, 182, 183])
def test_a_description_in_any_provisional_response_opens_the_sound(status: int) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        sound = peer.sound(7000)
        peer.answer(invite, status, sdp(7000))
        await call.wait_ringing(1)
        assert call.codec == "PCMA" and len(early(call)) == 1
        call.play(Tone(440))
        await asyncio.sleep(0.2)
        assert len(sound.receive()) >= 8
        peer.answer(invite, 200, sdp(7000))
        await call.wait_answered(1)
        await call.hangup()
        sound.close()
        await settle(phone)

    World().run_with_peer(story)


def test_an_announcement_before_the_answer_is_recorded(tmp_path: Path) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        sound = peer.sound(7000)
        peer.answer(invite, 183, sdp(7000))
        await call.wait_ringing(1)
        recording = call.record(tmp_path / "early.wav", side="in")
        port = invite.body.split(b"m=audio ")[1].split()[0]
        await sound.play(("10.0.0.1", int(port)), b"\x00\x20\x00\xe0" * 8000)
        recording.stop()
        peer.answer(invite, 486)
        with pytest.raises(CallFailed):
            await call.wait_answered()
        sound.close()
        await settle(phone)

    World().run_with_peer(story)
    with wave.open(str(tmp_path / "early.wav")) as file:
        samples = array.array("h", file.readframes(file.getnframes()))
    assert len(samples) > 6000 and max(samples) > 4000


def test_the_sound_follows_the_fork_that_answered_last_and_in_the_end_the_one_that_takes_the_call() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        for tag, port in (("a", 7000), ("b", 7002)):
            peer.answer(invite, 183, sdp(port), tag=tag)
            await asyncio.sleep(0.05)
            assert remote_port(call) == port
        peer.answer(invite, 200, sdp(7004), tag="a")
        await call.wait_answered(1)
        assert remote_port(call) == 7004 and len(early(call)) == 1
        peer.answer(invite, 200, sdp(7006), tag="b")
        # Both 2xx are acknowledged, and the one that came too late is ended.
        bye = await peer.request("BYE")
        assert bye.to.tag == "b" and peer.count("ACK") == 2
        assert "cause=200" in (bye.headers.get("Reason") or "")
        peer.answer(bye, 200)
        assert remote_port(call) == 7004
        await call.hangup()
        await settle(phone)

    World().run_with_peer(story)


def test_199_gives_the_sound_back_to_the_fork_that_is_still_there() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        assert "199" in invite.supported
        for tag, port in (("a", 7000), ("b", 7002)):
            peer.answer(invite, 183, sdp(port), tag=tag)
        await asyncio.sleep(0.05)
        peer.answer(invite, 199, tag="b")
        await asyncio.sleep(0.05)
        assert remote_port(call) == 7000
        assert set(call._session.usage.early_dialogs) == {"a"}
        peer.within(invite, "BYE", tag="b", cseq=1)
        await peer.response(481)
        peer.answer(invite, 200, sdp(7000), tag="a")
        await call.wait_answered(1)
        await call.hangup()
        await settle(phone)

    World().run_with_peer(story)


def test_a_reliable_description_is_final_whatever_later_responses_describe() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        peer.answer(invite, 183, sdp(7000), headers=reliable(1))
        peer.answer(await peer.request("PRACK"), 200)
        peer.answer(invite, 180, sdp(7002))
        await asyncio.sleep(0.05)
        peer.answer(invite, 200, sdp(7004))
        await call.wait_answered(1)
        assert remote_port(call) == 7000
        await call.hangup()
        await settle(phone)

    World().run_with_peer(story)


def test_a_reliable_answer_may_be_changed_by_update_before_the_call_is_answered() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        peer.answer(invite, 183, sdp(7000), headers=reliable(1))
        peer.answer(await peer.request("PRACK"), 200)
        peer.within(invite, "UPDATE", sdp(7002, version=2), cseq=1)
        assert b"m=audio" in (await peer.response(200, "UPDATE")).body
        assert remote_port(call) == 7002
        peer.answer(invite, 200)
        await call.wait_answered(1)
        assert remote_port(call) == 7002
        await call.hangup()
        await settle(phone)

    World().run_with_peer(story)


def test_an_update_before_our_offer_has_a_reliable_answer_gets_491() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        peer.answer(invite, 183, sdp(7000))
        await call.wait_ringing(1)
        peer.within(invite, "UPDATE", sdp(7002, version=2), cseq=1)
        await peer.response(491, "UPDATE")
        peer.within(invite, "UPDATE", cseq=2)
        await peer.response(200, "UPDATE")
        assert remote_port(call) == 7000
        peer.answer(invite, 486)
        await call.wait_ended()
        await settle(phone)

    World().run_with_peer(story)


def test_the_caller_may_hold_before_the_answer_where_update_is_possible() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        with pytest.raises(InvalidState):
            await call.hold()
        peer.answer(invite, 183, sdp(7000), headers=reliable(1))
        peer.answer(await peer.request("PRACK"), 200)
        holding = asyncio.create_task(call.hold())
        update = await peer.request("UPDATE")
        assert b"a=sendonly" in update.body
        peer.answer(update, 200, sdp(7000, direction="recvonly", version=2))
        await holding
        peer.answer(invite, 200)
        await call.wait_answered(1)
        assert call._session.changes.on_hold_by_us
        await call.hangup()
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize(
    ("value", "direction"),
    [("sendonly", "sendonly"), ("inactive;x=1", "inactive"), ("gated, SendRecv", "sendrecv"), ("supported", "sendrecv")],
)
def test_p_early_media_tells_what_may_be_heard(value: str, direction: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        peer.answer(invite, 183, sdp(7000), headers=(("P-Early-Media", value),))
        await call.wait_ringing(1)
        assert early(call)[0].direction == direction
        peer.answer(invite, 486)
        await call.wait_ended()
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize(
    ("value", "sent", "heard"), [("sendrecv", True, True), ("sendonly", False, True), ("recvonly", True, False), ("inactive", False, False)]
)
def test_only_what_p_early_media_authorises_passes_before_the_answer_and_all_after_it(
    tmp_path: Path, value: str, sent: bool, heard: bool
) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        sound = peer.sound(7000)
        port = int(invite.body.split(b"m=audio ")[1].split()[0])
        peer.answer(invite, 183, sdp(7000), headers=(("P-Early-Media", value),))
        await call.wait_ringing(1)
        call.play(Tone(440))
        early_recording = call.record(tmp_path / "early.wav", side="in")
        await sound.play(("10.0.0.1", port), b"\x00\x20\x00\xe0" * 4000)
        await early_recording.stop()
        assert (len(sound.receive()) > 10) == sent
        peer.answer(invite, 200, sdp(7000))
        await call.wait_answered(1)
        before = len(sound.packets)
        recording = call.record(tmp_path / "answered.wav", side="in")
        await sound.play(("10.0.0.1", port), b"\x00\x20\x00\xe0" * 4000)
        await recording.stop()
        sound.receive()
        assert len(sound.packets) - before > 10
        await call.hangup()
        sound.close()
        await settle(phone)

    World().run_with_peer(story)
    for name, loud in (("early", heard), ("answered", True)):
        with wave.open(str(tmp_path / f"{name}.wav")) as file:
            samples = array.array("h", file.readframes(file.getnframes()))
        assert (max(samples, default=0) > 4000) == loud, name


def test_a_later_response_opens_and_closes_the_gate() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        sound = peer.sound(7000)
        peer.answer(invite, 183, sdp(7000), headers=(("P-Early-Media", "inactive"),))
        await call.wait_ringing(1)
        call.play(Tone(440))
        passed = []
        for value in ("inactive", "sendrecv", None, "sendonly", "sendrecv"):
            peer.answer(invite, 180, headers=(("P-Early-Media", value),) if value is not None else ())
            await asyncio.sleep(0.1)
            sound.receive()
            before = len(sound.packets)
            await asyncio.sleep(0.4)
            sound.receive()
            passed.append(len(sound.packets) - before > 10)
        assert passed == [False, True, True, False, True]
        assert [event.direction for event in early(call)] == ["inactive", "sendrecv", "sendonly", "sendrecv"]
        # Another phone of the same call that says nothing about it is not bound by what the first one said.
        peer.answer(invite, 183, sdp(7000), tag="first", headers=(("P-Early-Media", "inactive"),))
        peer.answer(invite, 183, sdp(7000), tag="second")
        await asyncio.sleep(0.1)
        assert early(call)[-1].direction == "sendrecv"
        peer.answer(invite, 486)
        await call.wait_ended()
        sound.close()
        await settle(phone)

    World().run_with_peer(story)


def test_duplex_sound_before_the_answer() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        heard = 0

        @b.on_call
        async def announce(call: Any) -> None:
            nonlocal heard
            await call.progress()
            stream = call.audio(8000)
            call.play(Tone(440, duration=1.0))
            async for frame in stream:
                heard += max(array.array("h", frame)) > 500
                if heard > 20:
                    break
            await call.reject(486)

        call = await a.dial(target)
        await call.wait_ringing(1)
        call.play(Tone(700))
        mine = 0
        with pytest.raises(Busy):
            async with asyncio.timeout(5):
                async for frame in call.audio(8000):
                    mine += max(array.array("h", frame)) > 500
                await call.wait_answered()
        assert heard > 20 and mine > 10

    World().run(story)


def test_p_early_media_is_read_leniently() -> None:
    def read(*headers: tuple[str, str]) -> str | None:
        return early_media_of(parse_message(request("INVITE", headers=headers)))

    assert read() is None and read(("P-Early-Media", "supported")) is None and read(("P-Early-Media", "nonsense")) is None
    assert read(("P-Early-Media", "recvonly"), ("P-Early-Media", "inactive")) == "recvonly"


# -- the caller lets the other side offer ---------------------------------------------------------------------------------


def test_a_call_without_offer_answers_the_offer_of_the_2xx_in_its_ack() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE, offer=False)
        invite = await peer.request("INVITE")
        assert not invite.body and "Content-Type" not in invite.headers
        peer.answer(invite, 180, sdp(7002))
        await call.wait_ringing(1)
        # An offer in a response that may be lost is none (RFC 3261 §13.2.1).
        assert not early(call)
        peer.answer(invite, 200, sdp(7000))
        ack = await peer.request("ACK")
        assert b"m=audio" in ack.body and b"PCMA" in ack.body and ack.content_type == "application/sdp"
        await call.wait_answered(1)
        assert call.codec == "PCMA" and remote_port(call) == 7000
        await call.hangup()
        await settle(phone)

    World().run_with_peer(story)


def test_a_call_without_offer_answers_the_offer_of_a_reliable_response_in_the_prack() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE, offer=False)
        invite = await peer.request("INVITE")
        peer.answer(invite, 183, sdp(7000), headers=reliable(1))
        prack = await peer.request("PRACK")
        assert b"m=audio" in prack.body
        peer.answer(prack, 200)
        assert len(early(call)) == 1 and remote_port(call) == 7000
        peer.answer(invite, 200)
        ack = await peer.request("ACK")
        assert not ack.body
        await call.wait_answered(1)
        await call.hangup()
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize("body", [sdp(7000, formats="9"), ""])
def test_an_offer_that_cannot_be_used_is_declined_in_the_ack_and_the_call_ended(body: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE, offer=False)
        invite = await peer.request("INVITE")
        peer.answer(invite, 200, body)
        ack = await peer.request("ACK")
        assert (b"m=audio 0 RTP/AVP 9" in ack.body) is bool(body)
        peer.answer(await peer.request("BYE"), 200)
        with pytest.raises(CallFailed) as caught:
            await call.wait_answered()
        assert caught.value.status == 488
        await settle(phone)

    World().run_with_peer(story)


def test_two_of_our_phones_call_without_offer_and_hear_each_other() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def handle(call: Any) -> None:
            await call.answer()
            await call.play(Tone(440, duration=0.5))

        async with a.call(target, offer=False) as call:
            await call.wait_ended()
            statistics = call.statistics()
            assert statistics is not None and statistics.packets_received > 20

    World().run(story)


# -- the callee -----------------------------------------------------------------------------------------------------------


def prack_of(response: Response) -> tuple[tuple[str, str], ...]:
    return (("RAck", f"{response.headers.get('RSeq')} {response.cseq.number} INVITE"),)


def test_a_reliable_183_answers_the_offer_and_the_200_brings_none_again() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def handle(call: Any) -> None:
            await call.progress()
            await asyncio.sleep(0.1)
            await call.answer()
            await call.wait_ended()

        peer.ask("INVITE", sdp(), headers=OFFERS)
        progress = await peer.response(183)
        assert b"m=audio" in progress.body and "100rel" in progress.require
        await asyncio.sleep(0.3)
        # The answer is not acknowledged yet: no 200 before that.
        assert peer.count(200) == 0
        peer.within(progress, "PRACK", cseq=2, headers=prack_of(progress))
        accepted = await peer.response(200, "INVITE")
        assert not accepted.body
        peer.acknowledge(accepted)
        await asyncio.sleep(0.1)
        peer.within(accepted, "BYE", cseq=3)
        await peer.response(200, "BYE")
        await settle(phone)

    World().run_with_peer(story, reliable_provisional="supported")


def test_a_reliable_180_makes_the_offer_that_the_invite_did_not_and_the_prack_answers_it() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def handle(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(0.2)
            assert call.codec == "PCMA" and len(early(call)) == 1
            await call.answer()
            await call.wait_ended()

        peer.ask("INVITE", "", headers=OFFERS)
        ringing = await peer.response(180)
        assert b"m=audio" in ringing.body
        peer.within(ringing, "PRACK", sdp(7000), cseq=2, headers=prack_of(ringing))
        accepted = await peer.response(200, "INVITE")
        assert not accepted.body
        peer.acknowledge(accepted)
        await asyncio.sleep(0.1)
        peer.within(accepted, "BYE", cseq=3)
        await peer.response(200, "BYE")
        await settle(phone)

    World().run_with_peer(story, reliable_provisional="supported")


@pytest.mark.parametrize("body", ["", sdp(formats="9")])
def test_a_prack_without_a_usable_answer_to_our_offer_ends_the_call_with_488(body: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def handle(call: Any) -> None:
            await call.ring()
            await call.wait_ended()

        peer.ask("INVITE", "", headers=OFFERS)
        ringing = await peer.response(180)
        peer.within(ringing, "PRACK", body, cseq=2, headers=prack_of(ringing))
        await peer.response(488, "INVITE")
        peer.within(ringing, "ACK", cseq=1)
        await settle(phone)

    World().run_with_peer(story, reliable_provisional="supported")


def test_a_prack_may_make_a_new_offer() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def handle(call: Any) -> None:
            await call.progress()
            await call.wait_ended()

        peer.ask("INVITE", sdp(7000), headers=OFFERS)
        progress = await peer.response(183)
        peer.within(progress, "PRACK", sdp(7002, version=2), cseq=2, headers=prack_of(progress))
        assert b"m=audio" in (await peer.response(200, "PRACK")).body
        assert remote_port(phone.calls[0]) == 7002
        peer.within(progress, "BYE", cseq=3)
        await peer.response(487, "INVITE")
        peer.within(progress, "ACK", cseq=1)
        await settle(phone)

    World().run_with_peer(story, reliable_provisional="supported")


def test_an_update_before_we_have_answered_the_offer_gets_500_with_retry_after() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def handle(call: Any) -> None:
            await call.ring()
            await call.wait_ended()

        peer.ask("INVITE", sdp(7000))
        ringing = await peer.response(180)
        peer.within(ringing, "UPDATE", sdp(7002, version=2), cseq=2)
        refusal = await peer.response(500, "UPDATE")
        assert 0 <= int(refusal.headers.get("Retry-After") or "") <= 10
        peer.within(ringing, "BYE", cseq=3)
        await peer.response(487, "INVITE")
        peer.within(ringing, "ACK", cseq=1)
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize("policy", ["supported", "required"])
def test_two_of_our_phones_ring_reliably_over_a_bad_line(policy: str) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        requests: list[str] = []
        a.on_wire(lambda message: requests.append(message.data.split(b" ", 1)[0].decode()))

        @b.on_call
        async def handle(call: Any) -> None:
            await call.ring()
            await call.progress()
            await asyncio.sleep(1)
            await call.answer()
            await call.wait_ended()

        async with a.call(target) as call:
            assert requests.count("PRACK") >= 2 and len(early(call)) == 1

    World(loss=0.1, delay=0.02).run(story, callee={"reliable_provisional": policy})


def test_a_caller_that_cannot_prack_is_refused_where_it_must() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        phone.on_call(_never)
        peer.ask("INVITE", sdp())
        refusal = await peer.response(421)
        assert refusal.require == {"100rel"}
        await settle(phone)

    World().run_with_peer(story, reliable_provisional="required")


async def _never(call: Any) -> None:
    raise AssertionError("the call should not have come")


def test_the_callee_may_change_its_early_sound_by_update_but_not_before_the_prack() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        done = asyncio.get_running_loop().create_future()

        @phone.on_call
        async def handle(call: Any) -> None:
            await call.progress()
            with pytest.raises(InvalidState):
                await call.hold()
            await asyncio.sleep(0.2)
            await call.hold()
            done.set_result(call)
            await call.wait_ended()

        peer.ask("INVITE", sdp(7000), headers=(*OFFERS, ("Allow", "INVITE, ACK, UPDATE")))
        progress = await peer.response(183)
        peer.within(progress, "PRACK", cseq=2, headers=prack_of(progress))
        update = await peer.request("UPDATE")
        assert b"a=sendonly" in update.body and update.cseq.number == 1
        peer.answer(update, 200, sdp(7000, direction="recvonly", version=2))
        call = await done
        assert call._session.changes.on_hold_by_us
        peer.within(progress, "BYE", cseq=3)
        await peer.response(487, "INVITE")
        peer.within(progress, "ACK", cseq=1)
        await settle(phone)

    World().run_with_peer(story, reliable_provisional="supported")
