"""Calls between a Phone and baresip 1.0, in both directions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flexosip import Call, Phone, Tone
from tests.interop.listening import assert_tone, sip_address
from tests.interop.peers import Baresip
from tests.interop.process import wait_until

pytestmark = pytest.mark.peer("baresip")

LISTEN = "127.0.0.1:0"


async def collect_digits(call: Call, digits: list[str]) -> None:
    async for digit in call.digits():
        digits.append(digit)


async def test_we_call_sound_and_digits_go_both_ways_and_we_hang_up(tmp_path: Path) -> None:
    heard, pressed = tmp_path / "heard.wav", list[str]()
    async with Baresip(tmp_path / "baresip", hz=1000) as baresip, Phone(listen=LISTEN) as phone:
        async with phone.call(baresip.uri, ring_timeout=10) as call, asyncio.TaskGroup() as tasks:
            await baresip.wait_event("CALL_ESTABLISHED")
            listener = tasks.create_task(collect_digits(call, pressed))
            call.record(heard, side="in")
            playback = call.play(Tone(440))
            await asyncio.sleep(2)
            await baresip.press("47#*")
            playback.stop()
            await call.send_digits("0159#*")
            await asyncio.sleep(0.5)
            statistics = call.statistics()
            await call.hangup()
            listener.cancel()
        await baresip.wait_event("CALL_CLOSED")
        assert call.end is not None
        assert call.end.by == "local"
        assert pressed == list("47#*")
        assert baresip.digits == "0159#*"
        assert statistics is not None
        assert statistics.packets_received > 100
        assert statistics.packets_sent > 100
        assert phone.calls == []
    assert_tone(baresip.heard, 440, seconds=1.8)
    assert_tone(heard, 1000, seconds=2.0)


async def test_baresip_calls_us_and_hangs_up(tmp_path: Path) -> None:
    heard, pressed = tmp_path / "heard.wav", list[str]()
    calls: list[Call] = []
    async with Baresip(tmp_path / "baresip", hz=1000) as baresip, Phone(listen=LISTEN) as phone:

        @phone.on_call
        async def answer(call: Call) -> None:
            calls.append(call)
            await call.ring()
            await asyncio.sleep(0.2)
            await call.answer()
            call.record(heard, side="in")
            call.play(Tone(440))
            await collect_digits(call, pressed)

        await baresip.command("dial", f"sip:bell@{sip_address(phone)}")
        await baresip.wait_event("CALL_RINGING")
        await baresip.wait_event("CALL_ESTABLISHED")
        await asyncio.sleep(1.5)
        await baresip.press("19#")
        await asyncio.sleep(0.3)
        await baresip.command("hangup")
        end = await asyncio.wait_for(calls[0].wait_ended(), 5)
        assert (end.by, end.status) == ("remote", 200)
        assert pressed == list("19#")
        await wait_until(lambda: not phone.calls, 3, "the phone forgets the call")
    assert_tone(baresip.heard, 440, seconds=1.5)
    assert_tone(heard, 1000, seconds=1.5)


async def test_we_hang_up_a_call_of_baresip(tmp_path: Path) -> None:
    async with Baresip(tmp_path / "baresip") as baresip, Phone(listen=LISTEN) as phone:

        @phone.on_call
        async def answer(call: Call) -> None:
            await call.answer()
            await asyncio.sleep(0.5)
            await call.hangup()

        await baresip.command("dial", f"sip:bell@{sip_address(phone)}")
        await baresip.wait_event("CALL_ESTABLISHED")
        await baresip.wait_event("CALL_CLOSED", 5)


async def test_baresip_hangs_up_a_call_of_ours(tmp_path: Path) -> None:
    async with Baresip(tmp_path / "baresip") as baresip, Phone(listen=LISTEN) as phone:
        call = await phone.dial(baresip.uri)
        await call.wait_answered(10)
        await asyncio.sleep(0.5)
        await baresip.command("hangup")
        end = await asyncio.wait_for(call.wait_ended(), 5)
        assert end.by == "remote"


async def test_baresip_holds_and_resumes(tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    async with Baresip(tmp_path / "baresip", hz=1000) as baresip, Phone(listen=LISTEN) as phone:
        async with phone.call(baresip.uri, ring_timeout=10) as call:
            call.play(Tone(440))
            await asyncio.sleep(1)
            await baresip.command("hold")
            await wait_until(lambda: call.held, 3, "we are held")
            await asyncio.sleep(0.2)
            before = call.statistics()
            await asyncio.sleep(1)
            after = call.statistics()
            assert before is not None
            assert after is not None
            assert after.packets_sent - before.packets_sent <= 2, "we must not send sound to who holds us"
            await baresip.command("resume")
            await wait_until(lambda: not call.held, 3, "we are resumed")
            call.record(heard, side="in")
            await asyncio.sleep(1.5)
            resumed = call.statistics()
            assert resumed is not None
            assert resumed.packets_sent - after.packets_sent > 50
    assert_tone(heard, 1000, seconds=1.2)
    assert_tone(baresip.heard, 440, seconds=0.8)


async def test_we_hold_and_resume_baresip(tmp_path: Path) -> None:
    async with Baresip(tmp_path / "baresip") as baresip, Phone(listen=LISTEN) as phone:
        async with phone.call(baresip.uri, ring_timeout=10) as call:
            call.play(Tone(440))
            await asyncio.sleep(0.8)
            await call.hold()
            assert not call.held
            await asyncio.sleep(0.5)
            await call.resume()
            await asyncio.sleep(0.8)
        await baresip.wait_event("CALL_CLOSED")
    assert_tone(baresip.heard, 440, seconds=0.6)


async def test_a_call_that_rings_is_given_up(tmp_path: Path) -> None:
    async with Baresip(tmp_path / "baresip", answer="manual") as baresip, Phone(listen=LISTEN) as phone:
        result = await phone.ring(baresip.uri, duration=1.5)
        assert result.outcome == "rang_out"
        closed = await baresip.wait_event("CALL_CLOSED", 5)
        assert "established" not in str(closed).lower()


async def test_baresip_tells_what_it_can_do_and_that_it_is_there(tmp_path: Path) -> None:
    async with Phone(listen=LISTEN) as phone:
        async with Baresip(tmp_path / "baresip") as baresip:
            result = await phone.options(baresip.uri)
            assert result.available and {"INVITE", "BYE", "OPTIONS"} <= set(result.allow)
            assert result.server is None or "baresip" in result.server.lower()
            assert 0 < result.round_trip < 1
            peer = phone.qualify(baresip.uri, every=1)
            assert (await anext(peer)).reachable
        assert not (await anext(peer)).reachable
        await peer.close()
