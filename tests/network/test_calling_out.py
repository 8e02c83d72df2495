"""Outgoing calls against a scripted peer: forks, early media, races, refusals, whatever its answers look like. RFC 3261 §13.2."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import AuthenticationError, CallEnded, CallFailed, Phone, Tone
from flexosip.audio.levels import tone_level
from flexosip.codecs import create
from tests.network.stage import RawPeer, World, sdp, settle

TARGET = "sip:peer@10.0.0.9"


async def answered(phone: Phone, peer: RawPeer, body: str | None = None) -> tuple[Any, Any]:
    """A call to the peer that is up: (call, INVITE)."""
    call = await phone.dial(TARGET)
    invite = await peer.request("INVITE")
    peer.answer(invite, 200, sdp() if body is None else body)
    await call.wait_answered(5)
    await peer.request("ACK")
    return call, invite


async def refused(phone: Phone, peer: RawPeer, status: int, **options: Any) -> BaseException:
    """Call, let the peer refuse; what was raised."""
    call = await phone.dial(TARGET)
    invite = await peer.request("INVITE")
    peer.answer(invite, status, **options)
    with pytest.raises(Exception) as caught:
        await call.wait_answered(5)
    await peer.request("ACK")
    assert call.end is not None
    await settle(phone)
    return caught.value


def test_of_two_forks_with_early_media_the_one_that_answers_is_heard_and_spoken_to() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        one, two = peer.sound(7000), peer.sound(7100)
        call = await phone.dial(TARGET)
        invite = await peer.request("INVITE")
        peer.answer(invite, 183, sdp(7000), tag="one")
        peer.answer(invite, 183, sdp(7100), tag="two")
        await asyncio.sleep(0.2)
        one.receive()
        assert two.receive()
        peer.answer(invite, 200, sdp(7000), tag="one")
        await call.wait_answered(5)
        ack = await peer.request("ACK")
        assert ack.to.tag == "one"
        call.play(Tone(440))
        await asyncio.sleep(0.3)
        two.receive()
        one.receive()
        await asyncio.sleep(0.5)
        codec = create("PCMA", 8000)
        assert tone_level(b"".join(codec.decode(packet.payload) for packet in one.receive()), 8000, 440) > -20
        assert not two.receive()
        await call.hangup()
        bye = await peer.request("BYE")
        assert bye.to.tag == "one"
        peer.answer(bye, 200)
        await settle(phone)
        one.close()
        two.close()

    World().run_with_peer(story)


def test_an_answer_of_a_second_fork_is_acknowledged_and_ended() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(TARGET)
        invite = await peer.request("INVITE")
        peer.answer(invite, 200, sdp(7000), tag="one")
        peer.answer(invite, 200, sdp(7100), tag="two")
        await call.wait_answered(5)
        acks = {(await peer.request("ACK")).to.tag, (await peer.request("ACK")).to.tag}
        assert acks == {"one", "two"}
        bye = await peer.request("BYE")
        assert bye.to.tag == "two"
        peer.answer(bye, 200)
        await asyncio.sleep(1)
        assert call.end is None
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story)


def test_ringing_after_early_media_is_told_and_the_sound_stays() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        sound = peer.sound()
        call = await phone.dial(TARGET)
        invite = await peer.request("INVITE")
        peer.answer(invite, 183, sdp())
        await asyncio.sleep(0.1)
        peer.answer(invite, 180)
        await asyncio.sleep(0.1)
        assert call.state == "ringing"
        assert call.codec == "PCMA"
        await asyncio.sleep(0.2)
        assert len(sound.receive()) > 5
        peer.answer(invite, 200)
        await call.wait_answered(5)
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        names = [type(event).__name__ async for event in call.events()]
        assert names == ["EarlyMedia", "Ringing", "Answered", "Ended"]
        await settle(phone)
        sound.close()

    World().run_with_peer(story)


@pytest.mark.parametrize(
    ("status", "body", "rings"), [(180, "", True), (183, sdp(), True), (183, "", False), (181, "", False), (182, "", False)]
)
def test_who_waits_for_the_ringing_waits_for_180_or_sound_before_the_answer(status: int, body: str, rings: bool) -> None:
    """Many gateways do not say 180: they ring in the sound of a 183. Being forwarded or queued is no ringing yet."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(TARGET)
        invite = await peer.request("INVITE")
        peer.answer(invite, status, body)
        if rings:
            await call.wait_ringing(1)
        else:
            with pytest.raises(TimeoutError):
                await call.wait_ringing(1)
        assert call.state == ("ringing" if status == 180 else "calling")
        peer.answer(invite, 486)
        await call.wait_ended()
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize("rings", [True, False])
def test_a_bell_that_rang_in_the_sound_of_a_gateway_has_rung_out(rings: bool) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        ringing = asyncio.create_task(phone.ring(TARGET, duration=20))
        invite = await peer.request("INVITE")
        peer.answer(invite, 183, sdp() if rings else "")
        await asyncio.sleep(1)
        peer.answer(invite, 480)
        if rings:
            result = await ringing
            assert (result.outcome, result.status) == ("rang_out", 480)
        else:
            with pytest.raises(CallFailed):
                await ringing
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize(("answer", "seconds"), [(None, 2.0), (100, 2.0), (200, 0.0)])
def test_hanging_up_returns_in_two_seconds_and_its_message_goes_out_all_the_same(answer: int | None, seconds: float) -> None:
    """The peer never answers what hangs up; the wait is over when an answered call has ended, or after two seconds."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(TARGET)
        invite = await peer.request("INVITE")
        if answer is not None:
            peer.answer(invite, answer, sdp() if answer == 200 else "")
            await asyncio.sleep(0.1)
        started = phone.loop.time()
        await call.hangup()
        assert phone.loop.time() - started == pytest.approx(seconds, abs=0.1)
        await call.hangup()
        await asyncio.sleep(0.05)
        assert peer.count("CANCEL") == 0 if answer is None else peer.count("CANCEL" if answer == 100 else "BYE")
        end = await call.wait_ended()
        assert end.by in ("local", "timeout")
        await settle(phone)

    World().run_with_peer(story)


def test_the_answer_of_the_200_counts_where_the_183_said_something_else() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        early, final = peer.sound(7000), peer.sound(7200)
        call = await phone.dial(TARGET)
        invite = await peer.request("INVITE")
        peer.answer(invite, 183, sdp(7000, formats="8 101"))
        await asyncio.sleep(0.1)
        peer.answer(invite, 200, sdp(7200, formats="0 101", version=2))
        await call.wait_answered(5)
        assert call.codec == "PCMU"
        await asyncio.sleep(0.1)
        early.receive()
        await asyncio.sleep(0.5)
        assert not early.receive()
        assert {packet.payload_type for packet in final.receive()} == {0}
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)
        early.close()
        final.close()

    World().run_with_peer(story)


def test_a_cancel_waits_for_a_provisional_response() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(TARGET)
        invite = await peer.request("INVITE")
        task = asyncio.create_task(call.hangup())
        await asyncio.sleep(0.4)
        assert peer.count("CANCEL") == 0
        peer.answer(invite, 180)
        cancel = await peer.request("CANCEL")
        assert cancel.via.branch == invite.via.branch
        peer.answer(cancel, 200)
        peer.answer(invite, 487)
        await peer.request("ACK")
        await task
        assert (call.end.by, call.end.status) == ("local", 487)
        await settle(phone)

    World().run_with_peer(story)


def test_a_200_that_crosses_the_cancel_is_acknowledged_and_ended() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(TARGET)
        invite = await peer.request("INVITE")
        peer.answer(invite, 180)
        await call.wait_ringing(5)
        task = asyncio.create_task(call.hangup())
        cancel = await peer.request("CANCEL")
        peer.answer(invite, 200, sdp())
        peer.answer(cancel, 200)
        await peer.request("ACK")
        peer.answer(await peer.request("BYE"), 200)
        await task
        assert call.answered_at is None
        with pytest.raises((CallEnded, CallFailed)):
            await call.wait_answered()
        await settle(phone)

    World().run_with_peer(story)


def test_a_repeated_200_gets_the_ack_again() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(TARGET)
        invite = await peer.request("INVITE")
        ok = peer.answer(invite, 200, sdp())
        await call.wait_answered(5)
        first = await peer.request("ACK")
        for _ in range(3):
            await asyncio.sleep(0.5)
            peer.send(ok)
            again = await peer.request("ACK")
            assert bytes(again) == bytes(first)
        assert len([event async for event in first_events(call, 1)]) == 1
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        peer.send(ok)
        await peer.request("ACK")
        await settle(phone)

    async def first_events(call: Any, count: int) -> Any:
        seen = 0
        async for event in call.events():
            yield event
            seen += 1
            if seen == count:
                return

    World().run_with_peer(story)


@pytest.mark.parametrize(
    "body", ["", sdp(0), sdp(formats="9"), "v=0\r\nnonsense"], ids=["no answer", "refused sound", "a codec not offered", "garbage"]
)
def test_a_200_whose_answer_cannot_be_used_is_acknowledged_and_ended(body: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(TARGET)
        invite = await peer.request("INVITE")
        peer.answer(invite, 200, body)
        with pytest.raises(CallFailed) as caught:
            await call.wait_answered(5)
        assert caught.value.status == 488
        await peer.request("ACK")
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize(
    ("status", "name"),
    [(302, "CallFailed"), (404, "NotFound"), (480, "Unavailable"), (486, "Busy"), (488, "CallFailed"), (600, "Busy"), (603, "Declined")],
)
def test_a_refusal_is_acknowledged_and_raised_with_its_own_type(status: int, name: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> str:
        error: Any = await refused(phone, peer, status)
        assert error.status == status
        assert error.explain()
        return type(error).__name__

    assert World().run_with_peer(story) == name


def test_a_redirection_that_shall_not_be_followed_tells_where_to() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        error: Any = await refused(phone, peer, 302, headers=(("Contact", "<sip:other@10.0.0.77>"),))
        assert error.headers.get("Contact") == "<sip:other@10.0.0.77>"
        assert peer.count("INVITE") == 1

    World().run_with_peer(story, follow_redirects=False)


@pytest.mark.parametrize(("status", "header"), [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")])
def test_a_server_that_asks_for_credentials_for_ever_is_left_after_one_try(status: int, header: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        task = asyncio.create_task(_call(phone, "4711"))
        tries = 0
        while not task.done():
            try:
                invite = await peer.request("INVITE", 3)
            except AssertionError:
                break
            tries += 1
            peer.answer(invite, status, headers=((header, f'Digest realm="r", nonce="n{tries}", qop="auth", algorithm=MD5'),))
        with pytest.raises(AuthenticationError) as caught:
            await task
        assert "SECRET" not in caught.value.explain()
        assert tries == 2
        await settle(phone)

    World().run_with_peer(story, aor="sip:me@10.0.0.9", password="SECRET", register=False)


async def _call(phone: Phone, target: str) -> None:
    await phone.call(target)


def test_credentials_are_not_given_to_somebody_who_is_called_directly() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        error = await refused(phone, peer, 401, headers=(("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"'),))
        assert isinstance(error, AuthenticationError)
        assert peer.count("INVITE") == 1

    World().run_with_peer(story, aor="sip:me@10.0.0.8", password="SECRET", register=False)


def test_a_bye_that_is_challenged_is_sent_again_with_credentials() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("4711")
        invite = await peer.request("INVITE")
        peer.answer(invite, 200, sdp())
        await call.wait_answered(5)
        await peer.request("ACK")
        await call.hangup()
        bye = await peer.request("BYE")
        peer.answer(bye, 407, headers=(("Proxy-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'),))
        again = await peer.request("BYE")
        assert again.cseq.number == bye.cseq.number + 1
        assert 'username="me"' in (again.headers.get("Proxy-Authorization") or "")
        peer.answer(again, 200)
        await settle(phone)

    World().run_with_peer(story, aor="sip:me@10.0.0.9", password="SECRET", register=False)


def test_a_silent_host_is_given_up_after_the_transaction_timeout_and_named() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        started = phone.loop.time()
        with pytest.raises(ConnectionError) as caught:
            await phone.call("sip:nobody@10.0.0.200")
        assert "10.0.0.200" in str(caught.value)
        assert phone.loop.time() - started == pytest.approx(32, abs=1)
        await settle(phone)

    World().run_with_peer(story)


def test_a_call_that_cannot_get_a_port_fails_at_once_and_leaves_the_others_alone() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await answered(phone, peer)
        started = phone.loop.time()
        with pytest.raises(Exception) as caught:
            await phone.call(TARGET)
        assert "ports" in str(caught.value)
        assert phone.loop.time() - started < 0.5
        assert peer.count("INVITE") == 1
        assert call.end is None
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story, media_ports=(20000, 20001))


def test_the_port_of_a_closed_call_rests() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        ports = []
        for _ in range(3):
            call, invite = await answered(phone, peer)
            ports.append(invite.body.split(b"m=audio ")[1].split()[0])
            await call.hangup()
            peer.answer(await peer.request("BYE"), 200)
            await settle(phone)
        assert len(set(ports)) == 3

    World().run_with_peer(story, media_ports=(20000, 20009))


def test_481_to_a_request_within_the_call_ends_it() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await answered(phone, peer)
        sending = asyncio.create_task(call.send_digits("1", via="info"))
        peer.answer(await peer.request("INFO"), 481)
        with pytest.raises((CallEnded, CallFailed)):
            await sending
        assert call.end is not None and call.end.status == 481
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story)


def test_a_request_without_an_answer_ends_with_the_call() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, invite = await answered(phone, peer)
        sending = asyncio.create_task(call.send_digits("1", via="info"))
        await peer.request("INFO")
        peer.within(invite, "BYE")
        started = phone.loop.time()
        with pytest.raises(CallEnded):
            await sending
        assert phone.loop.time() - started < 0.5
        await peer.response(200, "BYE")
        await settle(phone)

    World().run_with_peer(story)


def test_the_end_tells_cause_and_text_of_the_reason_header() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, invite = await answered(phone, peer)
        peer.within(invite, "BYE", headers=(("Reason", 'Q.850;cause=17;text="User busy"'),))
        end = await call.wait_ended()
        assert (end.by, end.status, end.q850_cause, end.reason, end.answered_elsewhere) == ("remote", 200, 17, "User busy", False)
        await settle(phone)

    World().run_with_peer(story)


def test_our_own_cause_is_in_the_bye() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await answered(phone, peer)
        await call.hangup(cause=16)
        bye = await peer.request("BYE")
        assert bye.headers.get("Reason") == 'Q.850;cause=16;text="Normal call clearing"'
        peer.answer(bye, 200)
        await settle(phone)

    World().run_with_peer(story)


def test_a_media_address_by_name_is_looked_up_and_what_is_played_waits_for_it() -> None:
    world = World()
    world.network.name("media.test", "10.0.0.9")
    world.network.lookup_delay = 0.3

    async def story(phone: Phone, peer: RawPeer) -> None:
        sound = peer.sound()
        call, _ = await answered(phone, peer, sdp().replace("c=IN IP4 10.0.0.9", "c=IN IP4 media.test"))
        playback = call.play(Tone(440, duration=0.5))
        await asyncio.sleep(0.2)
        assert not sound.receive()
        await playback
        await asyncio.sleep(0.1)
        codec = create("PCMA", 8000)
        heard = b"".join(codec.decode(packet.payload) for packet in sound.receive())
        assert tone_level(heard[:8000], 8000, 440) > -20
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)
        sound.close()

    world.run_with_peer(story)
