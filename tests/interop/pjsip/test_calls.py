"""Calls between a Phone and pjsip 2.15, in both directions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flexosip import Call, Phone, Tone
from tests.interop.listening import assert_tone, sip_address
from tests.interop.pjsip.peer import Pjsip
from tests.interop.process import wait_until

pytestmark = pytest.mark.peer("pjsip")

LISTEN = "127.0.0.1:0"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_we_call_sound_and_keys_go_both_ways_and_we_hold_it(tmp_path: Path, transport: str) -> None:
    heard = tmp_path / "heard.wav"
    async with Pjsip(tmp_path / "pjsip", transport=transport) as pjsip, Phone(listen=LISTEN) as phone:
        async with phone.call(pjsip.uri, ring_timeout=10) as call:
            call.record(heard, side="in")
            call.play(Tone(440))
            await asyncio.sleep(1)
            pjsip.do("keys", digits="47#")
            assert await call.gather(max_digits=3, timeout=5, terminator="") == "47#"
            await call.send_digits("015*")
            await call.hold()
            await pjsip.wait_event("media", status="remote hold")
            await call.resume()
            await asyncio.sleep(1)
        await pjsip.wait_state("DISCONNECTED")
        assert pjsip.keys == "015*"
    assert_tone(heard, 1000, seconds=1.5)
    assert_tone(pjsip.heard, 440, seconds=1.5)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_it_calls_us_holds_resumes_and_hangs_up(tmp_path: Path, transport: str) -> None:
    heard = tmp_path / "heard.wav"
    calls: list[Call] = []
    async with Pjsip(tmp_path / "pjsip", transport=transport) as pjsip, Phone(listen=LISTEN) as phone:

        @phone.on_call
        async def answer(call: Call) -> None:
            calls.append(call)
            await call.ring()
            await call.answer()
            call.record(heard, side="in")
            call.play(Tone(440))
            await call.wait_ended()

        parameter = "" if transport == "udp" else f";transport={transport}"
        pjsip.do("call", uri=f"sip:bell@{sip_address(phone)}{parameter}")
        await pjsip.wait_state("EARLY")
        await pjsip.wait_state("CONFIRMED")
        await asyncio.sleep(1)
        pjsip.do("hold")
        await pjsip.wait_event("media", status="local hold")
        await wait_until(lambda: calls[0].held, 3, "we are held")
        await asyncio.sleep(0.3)  # it sends a second re-INVITE, to settle on one codec
        pjsip.do("resume")
        await wait_until(lambda: not calls[0].held, 3, "we are resumed")
        await asyncio.sleep(1)
        pjsip.do("hangup")
        end = await asyncio.wait_for(calls[0].wait_ended(), 5)
        assert (end.by, end.status) == ("remote", 200)
    assert_tone(heard, 1000, seconds=1.5)
    assert_tone(pjsip.heard, 440, seconds=1.5)
