"""Calls that change, last, and fall silent: hold both ways, refreshes, collisions of requests, the longest duration."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import ConfigurationError, Phone
from flexosip.audio.sources import Tone
from flexosip.errors import CallEnded, CallFailed
from flexosip.pbx import Pbx
from flexosip.phone.events import Held, Resumed
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import parse_message
from tests.network.stage import RawPeer, World, sdp, settle

MINE = "sip:peer@10.0.0.9"
TALKS = (("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK"), ("Supported", "timer, 100rel"))


async def calling(phone: Phone, peer: RawPeer, *, headers: tuple[tuple[str, str], ...] = TALKS, **options: Any) -> tuple[Any, Request]:
    """An answered call of the phone to the peer, and its INVITE."""
    call = await phone.dial(MINE, **options)
    invite = await peer.request("INVITE")
    peer.answer(invite, 200, sdp(7000), headers=headers)
    await peer.request("ACK")
    await call.wait_answered(1)
    return call, invite


async def hung_up(phone: Phone, peer: RawPeer, call: Any) -> None:
    task = asyncio.create_task(call.hangup())
    peer.answer(await peer.request("BYE"), 200)
    await task
    await settle(phone)


def answering(phone: Phone) -> list[Any]:
    """Have `phone` answer; its calls."""
    calls: list[Any] = []

    @phone.on_call
    async def handle(call: Any) -> None:
        calls.append(call)
        await call.answer()
        call.play(Tone(300), loop=True)
        await call.wait_ended()

    return calls


def version(body: bytes) -> int:
    """The version of the o= line."""
    return int(body.split(b"o=")[1].split()[2])


# -- hold -----------------------------------------------------------------------------------------------------------------


def test_both_sides_hold_each_other_and_each_takes_only_its_own_hold_back() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        calls = answering(b)
        async with a.call(target) as call:
            other = calls[0]
            await call.hold()
            await other.hold()
            await asyncio.sleep(0.1)
            assert call.held and other.held
            agreement = call._session.media.negotiation.agreement
            assert agreement.direction == "inactive"
            await call.resume()
            await asyncio.sleep(0.1)
            assert call.held and not other.held
            await other.resume()
            await asyncio.sleep(0.1)
            assert not call.held and not other.held
            assert call._session.media.negotiation.agreement.direction == "sendrecv"
            events = [other._session.event(index) for index in range(other._session.event_count)]
            assert [type(event) for event in events if isinstance(event, (Held, Resumed))] == [Held, Resumed]

    World().run(story)


def test_hold_without_any_sound_is_inactive() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await calling(phone, peer)
        for verb, direction in ((call.hold(inactive=True), b"inactive"), (call.hold(), b"sendonly"), (call.resume(), b"sendrecv")):
            changing = asyncio.create_task(verb)
            invite = await peer.request("INVITE")
            assert b"a=" + direction in invite.body
            peer.answer(invite, 200, sdp(7000, direction="recvonly" if direction == b"sendonly" else direction.decode()))
            await changing
        await hung_up(phone, peer, call)

    World().run_with_peer(story)


@pytest.mark.parametrize("status", [488, 606, 603])
def test_a_resume_that_is_refused_leaves_the_call_on_hold_and_can_be_tried_again(status: int) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await calling(phone, peer)
        changing = asyncio.create_task(call.hold())
        peer.answer(await peer.request("INVITE"), 200, sdp(7000, direction="recvonly"))
        await changing
        changing = asyncio.create_task(call.resume())
        peer.answer(await peer.request("INVITE"), status)
        with pytest.raises(CallFailed) as caught:
            await changing
        assert caught.value.status == status and call._session.changes.on_hold_by_us
        changing = asyncio.create_task(call.resume())
        peer.answer(await peer.request("INVITE"), 200, sdp(7000))
        await changing
        assert not call._session.changes.on_hold_by_us
        await hung_up(phone, peer, call)

    World().run_with_peer(story)


@pytest.mark.parametrize("status", [481, 408])
def test_a_hold_that_finds_no_call_any_more_ends_it(status: int) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await calling(phone, peer)
        changing = asyncio.create_task(call.hold())
        peer.answer(await peer.request("INVITE"), status)
        with pytest.raises(CallEnded):
            await changing
        peer.answer(await peer.request("BYE"), 481)
        await settle(phone)

    World().run_with_peer(story)


def test_a_hold_while_the_peer_is_busy_with_a_change_of_its_own_is_made_when_it_says() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await calling(phone, peer)
        changing = asyncio.create_task(call.hold())
        first = await peer.request("INVITE")
        peer.answer(first, 500, headers=(("Retry-After", "4"),))
        started = phone.loop.time()
        second = await peer.request("INVITE", 10)
        assert 3.9 <= phone.loop.time() - started <= 4.2
        # The offer that was refused with the first is off: a new one, of the same content.
        assert b"a=sendonly" in second.body
        peer.answer(second, 200, sdp(7000, direction="recvonly"))
        await changing
        await hung_up(phone, peer, call)

    World().run_with_peer(story)


def test_a_reinvite_that_meets_an_offer_of_ours_in_an_update_gets_491() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        headers = (("Require", "100rel"), ("RSeq", "9"), *TALKS[:1])
        peer.answer(invite, 183, sdp(7000), headers=headers)
        peer.answer(await peer.request("PRACK"), 200)
        holding = asyncio.create_task(call.hold())
        update = await peer.request("UPDATE")
        # UPDATE glare: theirs crosses ours.
        peer.within(invite, "UPDATE", sdp(7002, version=2), cseq=1)
        await peer.response(491, "UPDATE")
        peer.answer(invite, 200)
        await peer.request("ACK")
        for body in (sdp(7002, version=3), ""):
            peer.within(invite, "INVITE", body, cseq=2 if body else 3)
            refusal = await peer.response(491, "INVITE")
            peer.within(invite, "ACK", cseq=refusal.cseq.number, branch=f"z9hG4bKraw{peer.sent}")
        peer.answer(update, 200, sdp(7000, direction="recvonly", version=2))
        await holding
        peer.within(invite, "INVITE", sdp(7004, version=4), cseq=4)
        accepted = await peer.response(200, "INVITE")
        peer.within(invite, "ACK", cseq=4)
        assert b"a=sendonly" in accepted.body
        await asyncio.sleep(0.1)
        await hung_up(phone, peer, call)

    World().run_with_peer(story)


def test_two_holds_asked_for_at_once_come_one_after_the_other() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await calling(phone, peer)
        holding, resuming = asyncio.create_task(call.hold()), asyncio.create_task(call.resume())
        first = await peer.request("INVITE")
        await asyncio.sleep(1)
        assert peer.count("INVITE") >= 2 and b"a=sendonly" in first.body
        peer.answer(first, 200, sdp(7000, direction="recvonly"))
        second = await peer.request("INVITE")
        while b"a=sendonly" in second.body:
            second = await peer.request("INVITE")
        assert b"a=sendrecv" in second.body
        peer.answer(second, 200, sdp(7000))
        await asyncio.gather(holding, resuming)
        await hung_up(phone, peer, call)

    World().run_with_peer(story)


# -- UPDATE by the other side ---------------------------------------------------------------------------------------------


def test_an_update_moves_the_sound_holds_and_resumes() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, invite = await calling(phone, peer)
        peer.within(invite, "UPDATE", sdp(7002, direction="sendonly", version=2), cseq=1)
        assert b"a=recvonly" in (await peer.response(200, "UPDATE")).body
        assert call.held and call._session.media.negotiation.agreement.remote_port == 7002
        peer.within(invite, "UPDATE", sdp(7002, version=3), cseq=2)
        await peer.response(200, "UPDATE")
        assert not call.held
        peer.within(invite, "UPDATE", sdp(7004, formats="9", version=4), cseq=3)
        await peer.response(488, "UPDATE")
        assert call._session.media.negotiation.agreement.remote_port == 7002
        peer.within(invite, "UPDATE", cseq=4)
        assert not (await peer.response(200, "UPDATE")).body
        await hung_up(phone, peer, call)

    World().run_with_peer(story)


# -- session timers -------------------------------------------------------------------------------------------------------


def test_a_refresh_by_reinvite_repeats_the_description_version_included() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        headers = (("Session-Expires", "90;refresher=uac"), ("Allow", "INVITE, ACK, BYE"))
        call, invite = await calling(phone, peer, headers=headers)
        offer = invite.body
        for _ in range(3):
            refresh = await peer.request("INVITE", 50)
            assert refresh.body == offer and refresh.headers.get("Session-Expires") == "90;refresher=uac"
            peer.answer(refresh, 200, sdp(7000), headers=headers)
            await peer.request("ACK")
        await hung_up(phone, peer, call)

    World().run_with_peer(story, media_timeout=None)


def test_a_refresh_while_the_other_side_holds_us_changes_nothing_either() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        headers = (("Session-Expires", "90;refresher=uac"), ("Allow", "INVITE, ACK, BYE"))
        call, invite = await calling(phone, peer, headers=headers)
        peer.within(invite, "INVITE", sdp(7000, direction="sendonly", version=2), cseq=1, headers=(("Supported", "timer"), headers[0]))
        answer = await peer.response(200, "INVITE")
        peer.within(invite, "ACK", cseq=1)
        # Their re-INVITE said that its sender, the peer, refreshes from now on; one of ours without it takes that back.
        assert answer.headers.get("Session-Expires") == "90;refresher=uac"
        changes = call._session.changes
        changes.refresh(call._session.usage)
        refresh = await peer.request("INVITE")
        assert refresh.body == answer.body
        peer.answer(refresh, 200, sdp(7000, direction="sendonly", version=2), headers=headers)
        await peer.request("ACK")
        await asyncio.sleep(0.1)
        assert call.held and version(refresh.body) == version(answer.body)
        await hung_up(phone, peer, call)

    World().run_with_peer(story, media_timeout=None)


@pytest.mark.parametrize("answerer", ["caller", "callee"])
def test_two_of_our_phones_keep_a_call_by_refreshes_of_one_side_only(answerer: str) -> None:
    seen: list[tuple[str, str]] = []

    async def story(a: Phone, b: Phone, target: str) -> None:
        answering(b)
        for name, phone in (("caller", a), ("callee", b)):

            def watch(message: Any, name: str = name) -> None:
                parsed = parse_message(message.data)
                if message.direction == "out" and isinstance(parsed, Request) and parsed.method in ("UPDATE", "INVITE") and parsed.to.tag:
                    seen.append((name, parsed.method))

            phone.on_wire(watch)
        async with a.call(target) as call:
            call.play(Tone(440), loop=True)
            await asyncio.sleep(200)
            assert call.end is None

    # Whoever asks for the timer, the callee refreshes: it depends on nobody then.
    World().run(story, session_expires=90 if answerer == "callee" else None, callee={"session_expires": 90})
    assert seen == [("callee", "UPDATE")] * 4


def test_a_phone_whose_peer_vanished_with_its_sound_on_hold_is_freed_by_the_session_timer() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        headers = (("Session-Expires", "90;refresher=uac"), *TALKS)
        call, _ = await calling(phone, peer, headers=headers)
        changing = asyncio.create_task(call.hold(inactive=True))
        peer.answer(await peer.request("INVITE"), 200, sdp(7000, direction="inactive"), headers=headers)
        await changing
        peer.close()
        started = phone.loop.time()
        end = await call.wait_ended()
        assert end.by == "timeout" and phone.loop.time() - started <= 45 + 32 + 1
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize(
    "settings", [{"session_expires": 60}, {"min_se": 10}, {"min_se": 3000}, {"reliable_provisional": "yes"}, {"max_duration": 0}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Phone(**settings)


# -- the longest duration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("of_phone", "of_call", "seconds"), [(5.0, None, 5.0), (5.0, 2.0, 2.0), (None, 3.0, 3.0)])
def test_a_call_of_ours_is_ended_after_its_longest_duration(of_phone: float | None, of_call: float | None, seconds: float) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await calling(phone, peer, max_duration=of_call)
        peer.answer(await peer.request("BYE", 10), 200)
        end = await call.wait_ended()
        assert end.by == "local" and f"{seconds:g} seconds" in end.reason
        assert seconds <= call.duration <= seconds + 0.1
        await settle(phone)

    World().run_with_peer(story, max_duration=of_phone)


def test_a_call_to_us_is_ended_after_the_longest_duration_too_and_the_time_of_ringing_does_not_count() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def handle(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(10)
            await call.answer()
            await call.wait_ended()

        peer.ask("INVITE", sdp())
        accepted = await peer.response(200, "INVITE", 20)
        peer.acknowledge(accepted)
        started = phone.loop.time()
        peer.answer(await peer.request("BYE", 10), 200)
        assert 3.9 <= phone.loop.time() - started <= 4.2
        await settle(phone)

    World().run_with_peer(story, max_duration=4)


def test_a_call_that_ends_before_its_longest_duration_leaves_no_timer() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        answering(b)
        async with a.call(target) as call:
            await asyncio.sleep(0.1)
        assert call._session._limit is not None and call._session._limit.cancelled()

    World().run(story, max_duration=3600)


# -- requests that cross or are lost --------------------------------------------------------------------------------------


def test_eleven_lost_acks_cost_nothing_but_the_wait() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        answering(phone)
        peer.ask("INVITE", sdp())
        response: Response | None = None
        for _ in range(11):
            response = await peer.response(200, "INVITE", 10)
        assert response is not None
        peer.acknowledge(response)
        await asyncio.sleep(6)
        assert peer.count(200) == 11 and len(phone.calls) == 1 and phone.calls[0].end is None
        peer.within(response, "BYE", cseq=2)
        await peer.response(200, "BYE")
        await settle(phone)

    World().run_with_peer(story)


def test_a_prack_that_is_lost_is_repeated_and_rings_once() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(MINE)
        invite = await peer.request("INVITE")
        headers = (("Require", "100rel"), ("RSeq", "1"))
        data = peer.answer(invite, 180, headers=headers)
        await peer.request("PRACK")  # lost on its way
        peer.send(data)
        prack = await peer.request("PRACK")
        assert prack.headers.get("RAck") == f"1 {invite.cseq.number} INVITE"
        peer.answer(prack, 200)
        session = call._session
        assert [type(session.event(index)).__name__ for index in range(session.event_count)] == ["Ringing"]
        await asyncio.sleep(10)
        assert peer.count("PRACK") == 2
        peer.answer(invite, 486)
        await call.wait_ended()
        await settle(phone)

    World().run_with_peer(story)


def test_a_request_out_of_order_gets_500_and_changes_nothing() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, invite = await calling(phone, peer)
        peer.within(invite, "UPDATE", cseq=10)
        await peer.response(200, "UPDATE")
        peer.within(invite, "INVITE", sdp(7002, version=2), cseq=9)
        refused = await peer.response(500, "INVITE")
        peer.within(invite, "ACK", cseq=refused.cseq.number, branch=f"z9hG4bKraw{peer.sent}")
        assert call._session.media.negotiation.agreement.remote_port == 7000
        await hung_up(phone, peer, call)

    World().run_with_peer(story)


# -- silence --------------------------------------------------------------------------------------------------------------


def test_a_peer_that_falls_silent_before_its_ack_is_given_up_after_64_t1() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        answering(phone)
        peer.ask("INVITE", sdp())
        await peer.response(200, "INVITE")
        call = phone.calls[0]
        peer.close()
        started = phone.loop.time()
        end = await call.wait_ended()
        assert end.by == "timeout" and phone.loop.time() - started <= 32.1
        await settle(phone)

    World().run_with_peer(story, media_timeout=None)


def test_a_peer_that_falls_silent_in_the_call_is_given_up_by_the_missing_sound() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await calling(phone, peer)
        peer.close()
        started = phone.loop.time()
        end = await call.wait_ended()
        assert end.by == "timeout" and 9 <= phone.loop.time() - started <= 12
        await settle(phone)

    World().run_with_peer(story, media_timeout=10.0)


def test_a_peer_that_falls_silent_without_media_timeout_is_given_up_by_the_session_timer() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call, _ = await calling(phone, peer, headers=(("Session-Expires", "120;refresher=uas"), *TALKS))
        peer.close()
        started = phone.loop.time()
        end = await call.wait_ended()
        assert end.by == "timeout" and phone.loop.time() - started == pytest.approx(88, abs=0.5)
        await settle(phone)

    World().run_with_peer(story, media_timeout=None)


# -- through a PBX --------------------------------------------------------------------------------------------------------


def test_reliable_ringing_updates_and_session_timers_pass_a_proxy() -> None:
    world = World()
    seen: list[str] = []

    async def story() -> None:
        pbx = Pbx({"me": "a", "you": "b"}, listen=("10.0.0.5:5060",), clock=world.clock, network=world.network.host("10.0.0.5"))
        me = world.phone("10.0.0.1", aor="sip:me@10.0.0.5", password="a", session_expires=90)
        you = world.phone("10.0.0.2", aor="sip:you@10.0.0.5", password="b", reliable_provisional="required")
        async with pbx, me, you:
            for phone in (me, you):
                phone.on_wire(lambda message: seen.append(message.data.split(b" ", 1)[0].decode()) if message.direction == "out" else None)
            calls = answering(you)
            async with me.call("you") as call:
                call.play(Tone(440), loop=True)
                await asyncio.sleep(100)
                assert call.end is None and calls[0].end is None
            await settle(me, you)

    world.run_alone(story)
    assert seen.count("UPDATE") == 2


def test_a_phone_behind_a_proxy_rings_reliably_and_early_changes_reach_it() -> None:
    world = World()

    async def story() -> None:
        pbx = Pbx({"me": "a", "you": "b"}, listen=("10.0.0.5:5060",), clock=world.clock, network=world.network.host("10.0.0.5"))
        me = world.phone("10.0.0.1", aor="sip:me@10.0.0.5", password="a")
        you = world.phone("10.0.0.2", aor="sip:you@10.0.0.5", password="b", reliable_provisional="supported")
        async with pbx, me, you:

            @you.on_call
            async def handle(call: Any) -> None:
                await call.progress()
                await asyncio.sleep(2)
                await call.answer()
                await call.wait_ended()

            call = await me.dial("you")
            await call.wait_ringing(1)
            await asyncio.sleep(0.2)
            await call.hold()
            await call.wait_answered(5)
            other = you.calls[0]
            assert call._session.changes.on_hold_by_us and other.held
            await call.resume()
            assert not other.held
            await call.hangup()
            await settle(me, you)

    world.run_alone(story)
