"""Incoming calls from a scripted peer: offers of every kind, lost ACKs, hold, glare, and callers that are not let in. RFC 3261 §13.3."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import CallEnded, MediaError, Phone, Tone
from tests.network.stage import RawPeer, World, sdp, settle


def on_answered(phone: Phone) -> list[Any]:
    """Let the phone answer all calls; they are kept in the list."""
    calls: list[Any] = []

    @phone.on_call
    async def answer(call: Any) -> None:
        calls.append(call)
        await call.answer()
        await call.wait_ended()

    return calls


def test_the_200_is_repeated_until_the_ack_comes_and_then_answer_returns() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        answered: list[float] = []

        @phone.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            answered.append(phone.loop.time())
            await call.wait_ended()

        peer.ask("INVITE", sdp())
        ok = await peer.response(200, "INVITE")
        await asyncio.sleep(4)
        assert peer.count(200) >= 4
        assert not answered
        peer.acknowledge(ok)
        await asyncio.sleep(0.1)
        assert len(answered) == 1
        before = peer.count(200)
        await asyncio.sleep(8)
        assert peer.count(200) == before
        peer.within(ok, "BYE")
        await peer.response(200, "BYE")
        await settle(phone)

    World().run_with_peer(story)


def test_a_call_whose_ack_never_comes_is_ended_with_bye() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        outcome: list[CallEnded] = []

        @phone.on_call
        async def answer(call: Any) -> None:
            try:
                await call.answer()
            except CallEnded as ended:
                outcome.append(ended)
                raise

        peer.ask("INVITE", sdp())
        await peer.response(200, "INVITE")
        bye = await peer.request("BYE", 40)
        peer.answer(bye, 200)
        await asyncio.sleep(0.1)
        assert [(ended.end.by, ended.end.status) for ended in outcome] == [("timeout", 408)]
        await settle(phone)

    World().run_with_peer(story)


def test_hanging_up_before_the_ack_waits_with_the_bye_until_it_comes() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def answer(call: Any) -> None:
            answering = asyncio.create_task(call.answer())
            await asyncio.sleep(0.1)
            await call.hangup()
            with pytest.raises(CallEnded):
                await answering

        peer.ask("INVITE", sdp())
        ok = await peer.response(200, "INVITE")
        await asyncio.sleep(1)
        assert peer.count("BYE") == 0
        peer.acknowledge(ok)
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story)


def test_an_invite_without_an_offer_gets_ours_and_the_ack_brings_the_answer() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        sound = peer.sound()
        peer.ask("INVITE")
        ok = await peer.response(200, "INVITE")
        assert b"m=audio" in ok.body
        await asyncio.sleep(0.2)
        assert not sound.receive()
        peer.acknowledge(ok, sdp(formats="0 101"))
        await asyncio.sleep(0.3)
        assert {packet.payload_type for packet in sound.receive()} == {0}
        assert calls[0].codec == "PCMU"
        peer.within(ok, "BYE")
        await settle(phone)
        sound.close()

    World().run_with_peer(story)


def test_an_ack_without_the_answer_that_it_owes_ends_the_call() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        peer.ask("INVITE")
        ok = await peer.response(200, "INVITE")
        peer.acknowledge(ok)
        bye = await peer.request("BYE")
        peer.answer(bye, 200)
        assert calls[0].answered_at is None
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize(
    "body",
    [sdp(formats="9"), sdp(0), sdp().replace("RTP/AVP", "RTP/SAVP"), sdp().replace("m=audio", "m=video")],
    ids=["no common codec", "refused sound", "encrypted only", "no audio"],
)
def test_an_offer_that_does_not_fit_is_refused_with_488(body: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        raised: list[BaseException] = []

        @phone.on_call
        async def answer(call: Any) -> None:
            try:
                await call.answer()
            except MediaError as error:
                raised.append(error)
                raise

        peer.ask("INVITE", body)
        refusal = await peer.response(488, "INVITE")
        peer.within(refusal, "ACK", cseq=1, branch="z9hG4bKraw1")
        assert len(raised) == 1
        await settle(phone)

    World().run_with_peer(story)


def test_a_call_that_cannot_get_a_port_is_refused_and_the_others_go_on() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        first = await peer.call()
        peer.ask("INVITE", sdp(), call_id="raw-2")
        refusal = await peer.response(500, "INVITE")
        peer.within(refusal, "ACK", cseq=1, branch="z9hG4bKraw3")
        assert calls[0].end is None
        peer.within(first, "BYE")
        await settle(phone)

    World().run_with_peer(story, media_ports=(20000, 20001))


def test_a_re_invite_while_playing_moves_the_sound_without_a_new_stream() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        one, two = peer.sound(7000), peer.sound(7100)
        ok = await peer.call()
        await asyncio.sleep(0.1)
        playback = calls[0].play(Tone(440, duration=2))
        await asyncio.sleep(0.5)
        peer.within(ok, "INVITE", sdp(7100, version=2), cseq=2)
        changed = await peer.response(200, "INVITE")
        peer.acknowledge(changed)
        await asyncio.sleep(0.5)
        before, after = one.receive(), two.receive()
        assert {packet.ssrc for packet in before} == {packet.ssrc for packet in after}
        assert after[0].sequence == before[-1].sequence + 1
        assert after[0].timestamp == before[-1].timestamp + 160
        await playback
        assert playback.position == pytest.approx(2.0)
        peer.within(ok, "BYE", cseq=3)
        await settle(phone)
        one.close()
        two.close()

    World().run_with_peer(story)


@pytest.mark.parametrize("how", ["sendonly", "inactive", "0.0.0.0"])
def test_hold_by_the_other_side_is_told_and_what_plays_waits(how: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        sound = peer.sound()
        ok = await peer.call()
        await asyncio.sleep(0.1)
        call = calls[0]
        playback = call.play(Tone(440, duration=1.0))
        await asyncio.sleep(0.5)
        body = sdp(direction=how, version=2) if how != "0.0.0.0" else sdp(version=2).replace("c=IN IP4 10.0.0.9", "c=IN IP4 0.0.0.0")
        peer.within(ok, "INVITE", body, cseq=2)
        held = await peer.response(200, "INVITE")
        direction = "recvonly" if how != "inactive" else "inactive"
        assert (b"a=" + direction.encode() in held.body) or (how == "0.0.0.0" and b"a=sendrecv" not in held.body)
        peer.acknowledge(held)
        await asyncio.sleep(0.1)
        assert call.held
        sound.receive()
        await asyncio.sleep(1)
        assert not sound.receive()
        position = playback.position
        peer.within(ok, "INVITE", sdp(version=3), cseq=3)
        resumed = await peer.response(200, "INVITE")
        assert b"a=sendrecv" in resumed.body
        peer.acknowledge(resumed)
        await playback
        assert not call.held
        assert playback.position == pytest.approx(1.0) and position < 0.8
        peer.within(ok, "BYE", cseq=4)
        names = [type(event).__name__ async for event in call.events()]
        assert [name for name in names if name in ("Held", "Resumed")] == ["Held", "Resumed"]
        await settle(phone)
        sound.close()

    World().run_with_peer(story)


def test_a_re_invite_without_an_offer_gets_ours() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        one, two = peer.sound(7000), peer.sound(7100)
        ok = await peer.call()
        await asyncio.sleep(0.1)
        peer.within(ok, "INVITE", cseq=2)
        offered = await peer.response(200, "INVITE")
        assert b"m=audio" in offered.body and b"a=sendrecv" in offered.body
        peer.acknowledge(offered, sdp(7100, version=2))
        await asyncio.sleep(0.3)
        one.receive()
        await asyncio.sleep(0.2)
        assert two.receive() and not one.receive()
        assert calls[0].end is None
        peer.within(ok, "BYE", cseq=3)
        await settle(phone)
        one.close()
        two.close()

    World().run_with_peer(story)


def test_a_change_that_we_cannot_take_leaves_the_call_as_it_was() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        sound = peer.sound()
        ok = await peer.call()
        await asyncio.sleep(0.1)
        peer.within(ok, "INVITE", sdp(7100, formats="9", version=2), cseq=2, branch="z9hG4bKchange")
        refusal = await peer.response(488, "INVITE")
        peer.within(refusal, "ACK", cseq=2, branch="z9hG4bKchange")
        await asyncio.sleep(0.1)
        sound.receive()
        await asyncio.sleep(0.2)
        assert sound.receive()
        assert calls[0].end is None
        peer.within(ok, "BYE", cseq=3)
        await settle(phone)
        sound.close()

    World().run_with_peer(story)


def test_hold_that_crosses_the_other_sides_hold_is_tried_again_and_both_hold() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        ok = await peer.call()
        await asyncio.sleep(0.1)
        holding = asyncio.create_task(calls[0].hold())
        ours = await peer.request("INVITE")
        peer.within(ok, "INVITE", sdp(direction="sendonly", version=2), cseq=2, branch="z9hG4bKglare")
        glare = await peer.response(491, "INVITE")
        peer.within(glare, "ACK", cseq=2, branch="z9hG4bKglare")
        peer.answer(ours, 491)
        await peer.request("ACK")
        peer.within(ok, "INVITE", sdp(direction="sendonly", version=2), cseq=3)
        peer.acknowledge(await peer.response(200, "INVITE"))
        again = await peer.request("INVITE")
        assert again.cseq.number > ours.cseq.number
        assert b"a=sendonly" in again.body
        peer.answer(again, 200, sdp(direction="inactive", version=3))
        await holding
        await peer.request("ACK")
        assert calls[0].held
        resuming = asyncio.create_task(calls[0].resume())
        invite = await peer.request("INVITE")
        peer.answer(invite, 200, sdp(direction="sendonly", version=4))
        await resuming
        await peer.request("ACK")
        assert calls[0].held
        peer.within(ok, "BYE", cseq=4)
        await settle(phone)

    World().run_with_peer(story)


def test_a_hold_whose_wait_is_cancelled_still_counts_when_it_is_answered() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        ok = await peer.call()
        await asyncio.sleep(0.1)
        call = calls[0]
        holding = asyncio.create_task(call.hold())
        invite = await peer.request("INVITE")
        holding.cancel()
        await asyncio.wait((holding,))
        assert holding.cancelled()
        resuming = asyncio.create_task(call.resume())
        await asyncio.sleep(0.2)
        peer.answer(invite, 200, sdp(direction="recvonly", version=2))
        await peer.request("ACK")
        second = await peer.request("INVITE")
        assert b"a=sendrecv" in second.body
        peer.answer(second, 200, sdp(version=3))
        await resuming
        await peer.request("ACK")
        peer.within(ok, "INVITE", sdp(7100, version=4), cseq=2)
        peer.acknowledge(await peer.response(200, "INVITE"))
        peer.within(ok, "BYE", cseq=3)
        await settle(phone)

    World().run_with_peer(story)


def test_a_hold_that_is_refused_leaves_the_call_as_it_was() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        sound = peer.sound()
        ok = await peer.call()
        await asyncio.sleep(0.1)
        holding = asyncio.create_task(calls[0].hold())
        invite = await peer.request("INVITE")
        peer.answer(invite, 488)
        with pytest.raises(Exception, match="488"):
            await holding
        await peer.request("ACK")
        sound.receive()
        await asyncio.sleep(0.2)
        assert sound.receive()
        peer.within(ok, "BYE", cseq=2)
        await settle(phone)
        sound.close()

    World().run_with_peer(story)


def test_the_end_of_the_call_ends_a_hold_in_progress() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        ok = await peer.call()
        await asyncio.sleep(0.1)
        holding = asyncio.create_task(calls[0].hold())
        invite = await peer.request("INVITE")
        peer.within(ok, "BYE", cseq=2)
        with pytest.raises(CallEnded):
            await holding
        peer.answer(invite, 487)
        await peer.request("ACK")
        await settle(phone)

    World().run_with_peer(story)


def test_a_cancel_says_that_somebody_else_took_the_call() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        ends: list[Any] = []

        @phone.on_call
        async def ring(call: Any) -> None:
            await call.ring()
            ends.append(await call.wait_ended())

        peer.ask("INVITE", sdp(), branch="z9hG4bKone")
        await peer.response(180)
        peer.ask("CANCEL", branch="z9hG4bKone", headers=(("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),))
        await peer.response(200, "CANCEL")
        refusal = await peer.response(487, "INVITE")
        peer.within(refusal, "ACK", cseq=1, branch="z9hG4bKone")
        await asyncio.sleep(0.1)
        assert ends[0].answered_elsewhere and (ends[0].by, ends[0].status) == ("remote", 487)
        await settle(phone)

    World().run_with_peer(story)


def test_answer_after_a_cancel_raises_call_ended() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        raised: list[BaseException] = []

        @phone.on_call
        async def slow(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(1)
            try:
                await call.answer()
            except CallEnded as ended:
                raised.append(ended)
                raise

        peer.ask("INVITE", sdp(), branch="z9hG4bKone")
        await peer.response(180)
        peer.ask("CANCEL", branch="z9hG4bKone")
        refusal = await peer.response(487, "INVITE")
        peer.within(refusal, "ACK", cseq=1, branch="z9hG4bKone")
        await asyncio.sleep(2)
        assert len(raised) == 1
        await settle(phone)

    World().run_with_peer(story)


def test_an_invite_that_is_repeated_rings_once() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        invite = peer.ask("INVITE", sdp())
        for _ in range(3):
            peer.send(invite)
        ok = await peer.response(200, "INVITE")
        peer.acknowledge(ok)
        await asyncio.sleep(0.5)
        assert len(calls) == 1
        peer.within(ok, "BYE")
        await settle(phone)

    World().run_with_peer(story)


def test_early_media_is_heard_before_the_answer_and_the_same_description_answers() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        sound = peer.sound()

        @phone.on_call
        async def announce(call: Any) -> None:
            await call.progress()
            await call.play(Tone(440, duration=0.5))
            await call.answer()
            await call.wait_ended()

        peer.ask("INVITE", sdp())
        progress = await peer.response(183)
        assert progress.body
        ok = await peer.response(200, "INVITE")
        assert len(sound.receive()) >= 25
        assert ok.body == progress.body
        peer.acknowledge(ok)
        peer.within(ok, "BYE")
        await settle(phone)
        sound.close()

    World().run_with_peer(story)


def test_strangers_meet_silence_when_there_is_an_account() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        peer.ask("INVITE", sdp(), uri="sip:100@10.0.0.1:5060")
        peer.ask("OPTIONS", uri="sip:100@10.0.0.1:5060", call_id="o")
        peer.ask("REGISTER", uri="sip:10.0.0.1:5060", call_id="r")
        peer.send(b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\r\n\r\n")
        await asyncio.sleep(2)
        assert not peer.seen and not calls
        # Who knows the unguessable user of our Contact was sent by the registrar.
        ok = await peer.call(uri=f"sip:{phone.accounts[0].contact_user}@10.0.0.1:5060", call_id="known")
        assert len(calls) == 1
        peer.within(ok, "BYE")
        await settle(phone)

    World().run_with_peer(story, aor="sip:me@10.0.0.77", register=False)


@pytest.mark.parametrize(("accept_from", "heard"), [("any", True), (("10.0.0.0/24",), True), (("192.168.0.0/16",), False), ((), False)])
def test_accept_from_decides_who_is_heard(accept_from: Any, heard: bool) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        peer.ask("INVITE", sdp())
        await asyncio.sleep(0.5)
        assert bool(calls) is heard and bool(peer.seen) is heard

    World().run_with_peer(story, aor="sip:me@10.0.0.77", register=False, accept_from=accept_from)


def test_more_calls_than_allowed_are_refused_as_busy_and_options_tells_so() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = on_answered(phone)
        peer.ask("OPTIONS", call_id="o1")
        await peer.response(200, "OPTIONS")
        ok = await peer.call()
        peer.ask("INVITE", sdp(), call_id="raw-2", branch="z9hG4bKtwo")
        refusal = await peer.response(486, "INVITE")
        peer.within(refusal, "ACK", cseq=1, branch="z9hG4bKtwo")
        peer.ask("OPTIONS", call_id="o2")
        await peer.response(486, "OPTIONS")
        assert len(calls) == 1
        peer.within(ok, "BYE")
        await settle(phone)

    World().run_with_peer(story, max_calls=1)


def test_a_phone_that_nobody_listens_to_is_unavailable() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        peer.ask("INVITE", sdp(), branch="z9hG4bKone")
        refusal = await peer.response(480, "INVITE")
        peer.within(refusal, "ACK", cseq=1, branch="z9hG4bKone")
        await settle(phone)

    World().run_with_peer(story)


def test_calls_that_wait_for_a_reader_who_has_left_are_refused() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        async def first() -> Any:
            async for call in phone.incoming_calls():
                return call
            return None

        reader = asyncio.create_task(first())
        await asyncio.sleep(0)
        peer.ask("INVITE", sdp(), call_id="one", branch="z9hG4bKone")
        peer.ask("INVITE", sdp(), call_id="two", branch="z9hG4bKtwo")
        call = await reader
        await call.reject(486)
        await peer.response(486, "INVITE")
        await peer.response(480, "INVITE")
        peer.ask("ACK", call_id="one", to_tag="x", branch="z9hG4bKone", cseq=1)
        peer.ask("ACK", call_id="two", to_tag="x", branch="z9hG4bKtwo", cseq=1)
        await settle(phone)

    World().run_with_peer(story)
