"""SIPp calls a Phone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from flexosip import Call, Limits, Phone, Tone
from tests.interop.listening import PacketCounter, assert_tone, sip_address
from tests.interop.peers import Sipp
from tests.interop.process import wait_until

pytestmark = [
    pytest.mark.peer("sipp"),
    pytest.mark.skipif(os.geteuid() != 0, reason="SIPp plays captures through raw sockets, which needs root"),
]

LISTEN = "127.0.0.1:0"


def answering(phone: Phone, calls: list[Call], pressed: list[str] | None = None, record: Path | None = None) -> None:
    """Make a phone that answers, sends 440 Hz and notes the keys."""

    @phone.on_call
    async def answer(call: Call) -> None:
        calls.append(call)
        await call.ring()
        await asyncio.sleep(0.1)
        await call.answer()
        if record is not None:
            call.record(record, side="in")
        call.play(Tone(440))
        async for digit in call.digits():
            if pressed is not None:
                pressed.append(digit)


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_sound_and_digits_by_rfc_4733(tmp_path: Path, transport: str) -> None:
    calls: list[Call] = []
    pressed: list[str] = []
    heard = tmp_path / "heard.wav"
    async with Phone(listen=LISTEN) as phone:
        answering(phone, calls, pressed, heard)
        caller = Sipp(
            tmp_path,
            "uac_call",
            target=sip_address(phone),
            transport=transport,
            audio={"hz": 700, "digits": "0123456789*#11", "seconds": 2},
            seconds=5.5,
        )
        with PacketCounter(caller.media_port) as counter:
            async with caller as sipp:
                await sipp.done()
        assert "".join(pressed) == "0123456789*#11"
        assert calls[0].end is not None
        assert calls[0].end.by == "remote"
        statistics = calls[0].statistics()
        assert statistics is not None
        assert statistics.packets_received >= 250
        assert abs(counter.packets - statistics.packets_sent) <= 5
        assert counter.packets >= 250
        await wait_until(lambda: not phone.calls, 3, "the phone forgets the call")
    assert_tone(heard, 700, seconds=1.8)


async def test_digits_by_info(tmp_path: Path) -> None:
    calls: list[Call] = []
    pressed: list[str] = []
    async with Phone(listen=LISTEN) as phone:
        answering(phone, calls, pressed)
        async with Sipp(tmp_path, "uac_info", target=sip_address(phone)) as sipp:
            await sipp.done()
    assert "".join(pressed) == "12#5"


async def test_we_hang_up(tmp_path: Path) -> None:
    async with Phone(listen=LISTEN) as phone:

        @phone.on_call
        async def answer(call: Call) -> None:
            await call.answer()
            await asyncio.sleep(0.5)

        async with Sipp(tmp_path, "uac_call_wait_bye", target=sip_address(phone)) as sipp:
            await sipp.done()


async def test_cancel_before_the_answer(tmp_path: Path) -> None:
    calls: list[Call] = []
    async with Phone(listen=LISTEN) as phone:

        @phone.on_call
        async def ring(call: Call) -> None:
            calls.append(call)
            await call.ring()
            await call.wait_ended()

        async with Sipp(tmp_path, "uac_cancel", target=sip_address(phone)) as sipp:
            await sipp.done()
        end = await asyncio.wait_for(calls[0].wait_ended(), 2)
        assert end.status == 487
        assert end.answered_elsewhere


async def test_cancel_after_the_answer_has_no_effect(tmp_path: Path) -> None:
    calls: list[Call] = []
    async with Phone(listen=LISTEN) as phone:
        answering(phone, calls)
        async with Sipp(tmp_path, "uac_cancel_late", target=sip_address(phone)) as sipp:
            await sipp.done()
        assert calls[0].end is not None
        assert (calls[0].end.by, calls[0].end.status) == ("remote", 200)


async def test_the_200_is_repeated_until_its_ack(tmp_path: Path) -> None:
    calls: list[Call] = []
    async with Phone(listen=LISTEN) as phone:
        answering(phone, calls)
        async with Sipp(tmp_path, "uac_lost_ack", target=sip_address(phone), options=("-nr",)) as sipp:
            await sipp.done()
        assert sipp.count("received", "SIP/2.0 200") == 4  # three for the INVITE, one for the BYE


@pytest.mark.slow
async def test_a_call_without_ack_is_ended_after_32_seconds(tmp_path: Path) -> None:
    async with Phone(listen=LISTEN) as phone:
        answering(phone, [])
        async with Sipp(tmp_path, "uac_never_ack", target=sip_address(phone), options=("-nr",)) as sipp:
            await sipp.done(50)
        assert sipp.count("received", "SIP/2.0 200") >= 10
        await wait_until(lambda: not phone.calls, 3, "the phone forgets the call")


async def test_hold_and_resume_new_and_old_style(tmp_path: Path) -> None:
    calls: list[Call] = []
    seen: list[str] = []
    async with Phone(listen=LISTEN) as phone:

        @phone.on_call
        async def answer(call: Call) -> None:
            calls.append(call)
            await call.answer()
            call.play(Tone(440))
            async for event in call.events():
                seen.append(type(event).__name__)

        async with Sipp(tmp_path, "uac_hold", target=sip_address(phone), audio={"seconds": 4}) as sipp:
            await sipp.done()
    assert [name for name in seen if name in ("Held", "Resumed")] == ["Held", "Resumed", "Held", "Resumed"]


async def test_an_invite_without_offer(tmp_path: Path) -> None:
    calls: list[Call] = []
    heard = tmp_path / "heard.wav"
    async with Phone(listen=LISTEN) as phone:
        answering(phone, calls, record=heard)
        async with Sipp(tmp_path, "uac_delayed_offer", target=sip_address(phone), audio={"hz": 700, "seconds": 2}) as sipp:
            await sipp.done()
    assert_tone(heard, 700, seconds=1.5)


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_options_are_answered(tmp_path: Path, transport: str) -> None:
    # Whole: strangers by UDP get no more octets than they sent, and SIPp's question is short.
    async with (
        Phone(listen=LISTEN, limits=Limits(bound_answers=False)) as phone,
        Sipp(tmp_path, "uac_options", target=sip_address(phone), transport=transport) as sipp,
    ):
        await sipp.done()


async def test_no_common_codec_is_488(tmp_path: Path) -> None:
    async with Phone(listen=LISTEN) as phone:
        answering(phone, [])
        async with Sipp(tmp_path, "uac_no_codec", target=sip_address(phone)) as sipp:
            await sipp.done()


async def test_a_declined_call_is_486(tmp_path: Path) -> None:
    async with Phone(listen=LISTEN) as phone:

        @phone.on_call
        async def decline(call: Call) -> None:
            await call.reject()

        async with Sipp(tmp_path, "uac_expect", target=sip_address(phone)) as sipp:
            await sipp.done()


@pytest.mark.slow
async def test_a_hundred_calls_with_sound_both_ways_for_30_seconds(tmp_path: Path) -> None:
    calls: list[Call] = []
    async with Phone(listen=LISTEN) as phone:

        @phone.on_call
        async def answer(call: Call) -> None:
            calls.append(call)
            await call.answer()
            call.play(Tone(440))
            await call.wait_ended()

        caller = Sipp(
            tmp_path, "uac_call", target=sip_address(phone), calls=100, limit=100, rate=25, seconds=30, audio={"hz": 700, "seconds": 29.5}
        )
        with PacketCounter(caller.media_port) as counter:
            async with caller as sipp:
                await sipp.done(90)
        await wait_until(lambda: not phone.calls, 5, "the phone forgets the calls")
        assert len(calls) == 100
        ends = [call.end for call in calls]
        assert all(end is not None and (end.by, end.status) == ("remote", 200) for end in ends)
        statistics = [call.statistics() for call in calls]
        received = [entry.packets_received for entry in statistics if entry is not None]
        sent = [entry.packets_sent for entry in statistics if entry is not None]
        assert len(received) == 100
        assert min(received) >= 1470, sorted(received)[:10]  # 29.5 s are 1475 packets
        # where other programs take the machine away for long, the engine gives packet times up rather than sending bursts
        assert min(sent) >= 1350, sorted(sent)[:10]
        assert abs(counter.packets - sum(sent)) <= 100
