"""Keys end to end: RFC 4733, INFO in two dialects and in-band, both ways, merged to one event a press; gather and menu on a line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import CallEnded, ConfigurationError, InvalidState, MediaError, Phone, Tone
from flexosip.audio.levels import tone_level
from flexosip.audio.tones import DTMF_PAIRS
from flexosip.phone.events import DigitHeld, DigitPressed
from tests.network.stage import RawPeer, World, sdp, settle

TARGET = "sip:peer@10.0.0.9"


def collecting(phone: Phone) -> list[DigitPressed]:
    """Let the phone answer; every press is told in the list."""
    presses: list[DigitPressed] = []

    @phone.on_call
    async def answer(call: Any) -> None:
        await call.answer()
        async for event in call.events():
            if isinstance(event, DigitPressed):
                presses.append(event)

    return presses


async def digits_of(phone: Phone, peer: RawPeer, send: Any, formats: str = "8 101") -> list[DigitPressed]:
    """What the phone understood of what `send(peer, ok, sound, where)` sent in a call of the peer."""
    presses = collecting(phone)
    sound = peer.sound()
    ok = await peer.call(sdp(formats=formats))
    where = ("10.0.0.1", int(ok.body.split(b"m=audio ")[1].split()[0]))
    await asyncio.sleep(0.1)
    await send(ok, sound, where)
    await asyncio.sleep(1.5)
    peer.within(ok, "BYE", cseq=1000)
    await settle(phone)
    sound.close()
    return presses


async def press(
    sound: Any, where: Any, event: int, *, held: float = 0.1, ends: int = 3, payload_type: int = 101, marker: bool = True
) -> None:
    """One key as events."""
    begin = sound.timestamp
    packets = max(1, round(held / 0.02))
    for number in range(1, packets + 1):
        sound.timestamp = begin
        payload = bytes((event, 10)) + (number * 160).to_bytes(2, "big")
        sound.send(where, payload, payload_type=payload_type, marker=marker and number == 1, ticks=0)
        await asyncio.sleep(0.02)
    for _ in range(ends):
        sound.send(where, bytes((event, 0x8A)) + (packets * 160).to_bytes(2, "big"), payload_type=payload_type, ticks=0)
    sound.timestamp = begin + packets * 160 + 800


@pytest.mark.parametrize("via", ["auto", "rfc4733", "info", "info-dtmf"])
def test_keys_reach_the_other_phone_once_each_both_ways_at_once(via: str) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        told: dict[str, str] = {"a": "", "b": ""}

        async def listen(call: Any, name: str) -> None:
            async for digit in call.digits():
                told[name] += digit

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            async with asyncio.TaskGroup() as group:
                group.create_task(listen(call, "b"))
                group.create_task(call.send_digits("0011*", via=via))

        async with a.call(target) as call:
            listening = asyncio.create_task(listen(call, "a"))
            await call.send_digits("123#99AD", via=via)
            await asyncio.sleep(1)
        await listening
        assert told == {"a": "0011*", "b": "123#99AD"}

    World().run(story)


def test_duration_and_gap_are_those_that_were_asked_for() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        sound = peer.sound()
        call = await phone.dial(TARGET)
        peer.answer(await peer.request("INVITE"), 200, sdp())
        await call.wait_answered(5)
        started = phone.loop.time()
        await call.send_digits("11", duration=0.24, gap=0.5)
        assert phone.loop.time() - started == pytest.approx(0.24 + 0.5 + 0.24, abs=0.6)
        events = [packet for packet in sound.receive() if packet.payload_type == 101]
        ends = [packet for packet in events if packet.payload[1] & 0x80]
        assert {int.from_bytes(packet.payload[2:], "big") for packet in ends} == {1920}
        starts = sorted({packet.timestamp for packet in events})
        assert len(starts) == 2 and starts[1] - starts[0] == pytest.approx((0.24 + 0.5) * 8000, abs=161)
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)
        sound.close()

    World().run_with_peer(story)


def test_in_band_keys_are_heard_as_their_two_tones() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        heard: list[bytes] = []

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            async for frame in call.audio(8000):
                heard.append(frame)

        async with a.call(target) as call:
            await call.send_digits("5", via="inband", duration=0.4)
            await asyncio.sleep(0.2)
        sound = b"".join(heard)
        loud = max(range(0, len(sound) - 3200, 320), key=lambda at: tone_level(sound[at : at + 3200], 8000, DTMF_PAIRS["5"][0]))
        for hz in DTMF_PAIRS["5"]:
            assert tone_level(sound[loud : loud + 3200], 8000, hz) > -20
        assert tone_level(sound[loud : loud + 3200], 8000, DTMF_PAIRS["1"][0]) < -35

    World().run(story)


def test_a_side_that_takes_no_events_gets_info_by_itself_and_rfc4733_is_refused() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial(TARGET)
        peer.answer(await peer.request("INVITE"), 200, sdp(formats="8"))
        await call.wait_answered(5)
        with pytest.raises(MediaError):
            await call.send_digits("1", via="rfc4733")
        sending = asyncio.create_task(call.send_digits("1"))
        info = await peer.request("INFO")
        assert info.content_type == "application/dtmf-relay"
        assert info.body == b"Signal=1\r\nDuration=100\r\n"
        peer.answer(info, 200)
        await sending
        sending = asyncio.create_task(call.send_digits("#", via="info-dtmf"))
        info = await peer.request("INFO")
        assert (info.content_type, info.body) == ("application/dtmf", b"#")
        peer.answer(info, 200)
        await sending
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize(("allow", "way"), [((), "info"), (("INVITE, ACK, BYE, INFO",), "info"), (("INVITE, ACK, BYE",), "inband")])
def test_without_telephone_event_the_way_follows_what_the_other_side_allows_and_is_told_at_set_up(
    allow: tuple[str, ...], way: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        sound = peer.sound()
        call = await phone.dial(TARGET)
        peer.answer(await peer.request("INVITE"), 200, sdp(formats="8"), headers=tuple(("Allow", value) for value in allow))
        await call.wait_answered(5)
        (warning,) = [record for record in caplog.records if "telephone-event" in record.getMessage()]
        assert ("go by INFO" if way == "info" else "go by tones") in warning.getMessage()
        sending = asyncio.create_task(call.send_digits("5"))
        if way == "info":
            peer.answer(await peer.request("INFO"), 200)
        await sending
        await asyncio.sleep(0.3)
        assert peer.count("INFO") == (way == "info")
        loud = [packet for packet in sound.receive() if len(set(packet.payload)) > 20]
        assert bool(loud) == (way == "inband")
        await call.hangup()
        peer.answer(await peer.request("BYE"), 200)
        await settle(phone)
        sound.close()

    World().run_with_peer(story)


def test_with_telephone_event_nothing_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        collecting(b)
        async with a.call(target):
            await asyncio.sleep(0.1)

    World().run(story)
    assert not [record for record in caplog.records if "telephone-event" in record.getMessage()]


@pytest.mark.parametrize("via", ["rfc4733", "info", "info-dtmf"])
def test_a_hook_flash_and_the_keys_a_to_d_arrive(via: str) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        presses = collecting(b)
        async with a.call(target) as call:
            await call.send_digits("A!bC,dw!", via=via)
            await asyncio.sleep(0.5)
            with pytest.raises(MediaError):
                await call.send_digits("!", via="inband")
        assert "".join(press.digit for press in presses) == "A!BCD!"

    World().run(story)


def test_a_key_is_told_when_it_goes_down_and_when_it_is_let_go_with_its_duration() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        told: list[Any] = []

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            async for event in call.events():
                if isinstance(event, (DigitHeld, DigitPressed)):
                    told.append(event)

        async with a.call(target) as call:
            await call.send_digits("7", duration=1.0)
            await call.send_digits("77", duration=0.2)
            await asyncio.sleep(0.5)
        assert [(type(event), event.digit) for event in told] == [(DigitHeld, "7"), (DigitPressed, "7")] * 3
        durations = [event.duration for event in told if isinstance(event, DigitPressed)]
        assert durations == pytest.approx([1.0, 0.2, 0.2], abs=0.021)
        assert told[1].at - told[0].at == pytest.approx(1.0, abs=0.06)

    World().run(story)


def test_of_a_key_whose_begin_was_lost_only_the_end_is_told() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        told: list[Any] = []
        phone.on_call_event(lambda call, event: told.append(event) if isinstance(event, DigitHeld) else None)

        async def send(ok: Any, sound: Any, where: Any) -> None:
            sound.send(where, bytes((7, 0x8A, 3, 32)), payload_type=101, ticks=0)

        assert [press.digit for press in await digits_of(phone, peer, send)] == ["7"]
        assert not told

    World().run_with_peer(story)


def test_cancelling_stops_the_keys_that_have_not_begun_and_later_ones_are_sent_in_full() -> None:
    async def story(a: Phone, b: Phone, target: str) -> str:
        presses = collecting(b)
        async with a.call(target) as call:
            sending = asyncio.create_task(call.send_digits("1234567890"))
            await asyncio.sleep(0.25)
            sending.cancel()
            await asyncio.wait((sending,))
            await call.send_digits("ABCD")
            started = a.loop.time()
            await call.send_digits("#")
            assert a.loop.time() - started > 0.1
            await asyncio.sleep(0.3)
        return "".join(event.digit for event in presses)

    told = World().run(story)
    assert told.endswith("ABCD#") and told[:2] == "12" and len(told) <= 8


@pytest.mark.parametrize(
    ("body", "content_type", "digit"),
    [
        ("Signal=5\r\nDuration=160\r\n", "application/dtmf-relay", "5"),
        ("Signal= 5\r\nDuration= 160\r\n", "application/dtmf-relay", "5"),
        ("Signal=10\nDuration=160", "application/dtmf-relay", "*"),
        ("Signal=11\r\n", "application/dtmf-relay", "#"),
        ("Signal=*\r\nDuration=99999\r\n", "application/DTMF-Relay", "*"),
        ("7", "application/dtmf", "7"),
        ("#\r\n", "application/dtmf", "#"),
        ("d=3", "application/dtmf", "3"),
    ],
)
def test_info_in_every_dialect_is_one_press_and_answered_200(body: str, content_type: str, digit: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        async def send(ok: Any, sound: Any, where: Any) -> None:
            data = peer.within(ok, "INFO", body, cseq=2, content_type=content_type)
            await peer.response(200, "INFO")
            peer.send(data)  # its 200 was lost
            await peer.response(200, "INFO")

        presses = await digits_of(phone, peer, send)
        assert [(event.digit, event.via) for event in presses] == [(digit, "info")]

    World().run_with_peer(story)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("Signal=Q\r\n", "application/dtmf-relay", 200),
        ("", "", 200),
        ("<x/>", "application/media_control+xml", 415),
        ("Signal=" + "5" * 5000, "application/dtmf-relay", 200),
    ],
)
def test_info_without_a_key_is_answered_and_presses_nothing(body: str, content_type: str, status: int) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        async def send(ok: Any, sound: Any, where: Any) -> None:
            peer.within(ok, "INFO", body, cseq=2, content_type=content_type)
            answer = await peer.response(status, "INFO")
            assert status != 415 or "application/dtmf-relay" in (answer.headers.get("Accept") or "")

        assert await digits_of(phone, peer, send) == []

    World().run_with_peer(story)


@pytest.mark.parametrize("held", [0.06, 0.1, 1.5])
@pytest.mark.parametrize("when", ["at the press", "at the release"])
def test_a_key_told_by_rtp_and_info_is_one_press_however_long_it_is_held(held: float, when: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        async def send(ok: Any, sound: Any, where: Any) -> None:
            body = f"Signal=5\r\nDuration={held * 1000:.0f}\r\n" if when == "at the release" else "Signal=5\r\n"
            if when == "at the press":
                peer.within(ok, "INFO", body, cseq=2, content_type="application/dtmf-relay")
            await press(sound, where, 5, held=held)
            if when == "at the release":
                peer.within(ok, "INFO", body, cseq=2, content_type="application/dtmf-relay")

        presses = await digits_of(phone, peer, send)
        assert [event.digit for event in presses] == ["5"]

    World().run_with_peer(story)


def test_the_same_key_pressed_quickly_by_both_ways_counts_as_often_as_it_was_pressed() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        async def send(ok: Any, sound: Any, where: Any) -> None:
            for number in range(4):
                await press(sound, where, 5, held=0.06)
                peer.within(ok, "INFO", "Signal=5\r\nDuration=60\r\n", cseq=2 + number, content_type="application/dtmf-relay")
                await asyncio.sleep(0.06)

        presses = await digits_of(phone, peer, send)
        assert [event.digit for event in presses] == ["5"] * 4

    World().run_with_peer(story)


@pytest.mark.parametrize("fault", ["no marker", "no end", "only the end", "another payload type"])
def test_keys_that_arrive_damaged_are_one_press_each(fault: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        async def send(ok: Any, sound: Any, where: Any) -> None:
            for event in (1, 1, 2):
                if fault == "only the end":
                    sound.send(where, bytes((event, 0x8A)) + (800).to_bytes(2, "big"), payload_type=101, ticks=1600)
                else:
                    await press(
                        sound,
                        where,
                        event,
                        ends=0 if fault == "no end" else 3,
                        marker=fault != "no marker",
                        payload_type=100 if fault == "another payload type" else 101,
                    )
                await asyncio.sleep(0.5)

        presses = await digits_of(phone, peer, send)
        assert [event.digit for event in presses] == ["1", "1", "2"]

    World().run_with_peer(story)


def test_only_one_consumer_waits_for_keys_and_a_loop_that_was_left_is_none() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.send_digits("123456")
            await call.wait_ended()

        async with a.call(target) as call:
            gathering = asyncio.create_task(call.gather(max_digits=3, timeout=5))
            await asyncio.sleep(0)
            with pytest.raises(InvalidState):
                await call.wait_digit()
            with pytest.raises(InvalidState):
                async for _ in call.digits():
                    pass
            assert await gathering == "123"
            async for digit in call.digits():
                assert digit == "4"
                break
            assert await call.gather(max_digits=2, timeout=5) == "56"
            with pytest.raises(TimeoutError):
                await call.wait_digit(0.2)

    World().run(story)


def test_keys_typed_ahead_are_kept_and_read_after_the_call_is_over() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.send_digits("12")

        async with a.call(target) as call:
            await call.wait_ended()
            assert await call.wait_digit() == "1"
            assert [digit async for digit in call.digits()] == ["2"]
            with pytest.raises(CallEnded):
                await call.wait_digit()

    World().run(story)


def test_gather_is_cut_short_by_a_key_and_times_out_in_silence() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            started = b.loop.time()
            digits = await call.gather(Tone(440, duration=10), max_digits=4, timeout=2)
            assert (digits, digits.reason) == ("42", "terminator")
            assert b.loop.time() - started < 2
            started = b.loop.time()
            digits = await call.gather(Tone(440, duration=0.5), max_digits=1, timeout=1, tries=2)
            assert (digits, digits.reason) == ("", "timeout")
            assert b.loop.time() - started == pytest.approx(3.0, abs=0.15)

        async with a.call(target) as call:
            await asyncio.sleep(0.5)
            await call.send_digits("42#")
            assert (await call.wait_ended()).by == "remote"

    World().run(story)


def test_a_menu_is_walked_on_a_line_that_loses_packets() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        results: list[Any] = []

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            results.append(
                await call.menu(
                    {
                        "prompt": Tone(440, duration=5),
                        "1": Tone(600, duration=5),
                        "2": {"prompt": Tone(800, duration=5), "7": lambda: "seven"},
                    }
                )
            )

        async with a.call(target) as call:
            await asyncio.sleep(0.5)
            for key in "1927":
                await call.send_digits(key)
                await asyncio.sleep(0.5)
            await call.wait_ended()
        assert results == ["seven"]

    World(loss=0.05).run(story)


@pytest.mark.parametrize("digits", ["12x", "1\n2", "1\r\nSignal=9", "½", "?"])
def test_what_is_no_key_is_refused_before_anything_is_sent(digits: str) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        presses = collecting(b)
        async with a.call(target) as call:
            with pytest.raises(ConfigurationError):
                await call.send_digits(digits)
            for options in ({"duration": 0.01}, {"gap": 0.0}, {"via": "smoke"}):
                with pytest.raises(ConfigurationError):
                    await call.send_digits("1", **options)
            await asyncio.sleep(0.3)
        assert not presses

    World().run(story)
