"""What a phone places, and what its call policy stops before an INVITE leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import CallBarred, CallPolicy, Phone
from tests.network.stage import RawPeer, World, sdp, settle


@pytest.mark.parametrize("verb", ["call", "dial", "ring"])
def test_a_barred_call_sends_nothing_and_leaves_nothing(verb: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        with pytest.raises(CallBarred):
            await getattr(phone, verb)("sip:+49900123@10.0.0.9")
        with pytest.raises(CallBarred):
            await getattr(phone, verb)("sip:112@10.0.0.9")
        await asyncio.sleep(1)
        assert not peer.seen and not phone.calls

    World().run_with_peer(story, call_policy=CallPolicy(denied_prefixes=("+49900",)))


def test_a_phone_that_was_told_nothing_calls_everybody_but_the_emergency_numbers() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        with pytest.raises(CallBarred, match="112"):
            await phone.dial("sip:112@10.0.0.9")
        call = await phone.dial("sip:+49900123@10.0.0.9")
        peer.answer(await peer.request("INVITE"), 486)
        await call.wait_ended()
        await settle(phone)

    World().run_with_peer(story)


def test_the_fuse_blows_after_so_many_calls_and_mends_after_an_hour() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        for turn in range(2):
            for _ in range(3):
                call = await phone.dial("sip:peer@10.0.0.9")
                peer.answer(await peer.request("INVITE"), 486)
                await call.wait_ended()
            for _ in range(5):
                with pytest.raises(CallBarred, match="an hour"):
                    await phone.dial("sip:peer@10.0.0.9")
            await settle(phone)
            assert peer.count("INVITE") == 3 * (turn + 1)
            await asyncio.sleep(3600)

    World().run_with_peer(story, call_policy=CallPolicy(max_calls_per_hour=3))


@pytest.mark.parametrize("rings_for", [0.5, 7.0, 25.0])
def test_a_call_is_ended_at_its_longest_duration_from_the_answer_on(rings_for: float) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("sip:peer@10.0.0.9")
        invite = await peer.request("INVITE")
        peer.answer(invite, 180)
        await asyncio.sleep(rings_for)
        peer.answer(invite, 200, sdp())
        await call.wait_answered()
        answered = asyncio.get_running_loop().time()
        bye = await peer.request("BYE", timeout=30)
        assert asyncio.get_running_loop().time() - answered == pytest.approx(10, abs=0.1)
        peer.answer(bye, 200)
        await settle(phone)

    World().run_with_peer(story, call_policy=CallPolicy(max_duration=10), media_timeout=None)


def test_the_longest_duration_is_forgotten_with_a_call_that_ended_before_and_does_not_bind_who_calls_us() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def handle(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        call = await phone.dial("sip:peer@10.0.0.9")
        peer.answer(await peer.request("INVITE"), 200, sdp())
        await call.wait_answered()
        peer.within((await peer.request("ACK")), "BYE", tag="peer")
        await call.wait_ended()
        assert not phone._fuse._limits
        ok = await peer.call()
        await asyncio.sleep(60)
        assert len(phone.calls) == 1
        peer.within(ok, "BYE")
        await settle(phone)

    World().run_with_peer(story, call_policy=CallPolicy(max_duration=10), media_timeout=None)


def test_a_transfer_to_a_barred_number_is_refused_and_the_call_goes_on() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("sip:peer@10.0.0.9")
        peer.answer(await peer.request("INVITE"), 200, sdp())
        await call.wait_answered()
        ack = await peer.request("ACK")
        peer.within(ack, "REFER", tag="peer", headers=(("Refer-To", "<sip:+49900123@10.0.0.9>"),))
        told = []
        while not told or "100" in told[-1]:
            notify = await peer.request("NOTIFY")
            told.append(notify.body.decode())
            peer.answer(notify, 200)
        assert "403" in told[-1]
        assert peer.count("INVITE") == 1 and len(phone.calls) == 1
        hanging = asyncio.create_task(call.hangup())
        peer.answer(await peer.request("BYE"), 200)
        await hanging
        await settle(phone)

    World().run_with_peer(story, call_policy=CallPolicy(denied_prefixes=("+49900",)), accept_transfers=True, media_timeout=None)
