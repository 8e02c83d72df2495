"""Calls through outages, bursts, reordering, duplicates, narrow links and drifting clocks: what is heard, and that it ends in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flexosip import Tone
from flexosip.testing import Stage, TestCall


def in_a_call(story: Callable[[Stage, TestCall, TestCall], Awaitable[Any]], **line: Any) -> Stage:
    """Run `story(stage, caller's call, callee's call)` of two phones without account, at 10.0.0.1 and 10.0.0.2."""
    stage = Stage(**line)

    async def main() -> None:
        a, b = await stage.phone(), await stage.phone()
        b.answers()
        call = a.call("sip:10.0.0.2", ring_timeout=40)
        async with call:
            await story(stage, call, await b.wait_call(within=40))  # type: ignore[arg-type]

    stage.play(main())
    return stage


@pytest.mark.parametrize("seconds", [0.5, 2.0, 10.0])
def test_after_an_outage_the_call_is_up_and_the_sound_back_within_a_tenth_of_a_second(seconds: float) -> None:
    async def story(stage: Stage, call: TestCall, other: TestCall) -> None:
        other.play(Tone(440))
        await asyncio.sleep(2)
        stage.network.outage(seconds)
        back = stage.clock.now + seconds
        await asyncio.sleep(seconds + 0.5)
        assert call.end is None
        # The burst itself is silence, but for what conceals its begin.
        assert call.ear.sounds(back - seconds + 0.3, back) == []
        sounds = call.ear.sounds(back)
        assert sounds[0].start - back <= 0.1
        await call.assert_level(-14, -12, seconds=1.0)

    in_a_call(story)


def test_a_bye_into_an_outage_is_delivered_after_it() -> None:
    ends: list[Any] = []

    async def story(stage: Stage, call: TestCall, other: TestCall) -> None:
        stage.network.outage(10.0)
        await call.hangup()
        assert (await other.wait_ended()).by == "remote"
        ends.append(stage.clock.now)

    in_a_call(story)
    assert ends[0] < 16


def test_in_a_network_that_stays_divided_both_sides_end_clean() -> None:
    async def story(stage: Stage, call: TestCall, other: TestCall) -> None:
        stage.network.partition(["10.0.0.1"], ["10.0.0.2"])
        ended = await asyncio.gather(call.wait_ended(), other.wait_ended())
        assert {end.by for end in ended} == {"timeout"}
        assert stage.clock.now < 100

    in_a_call(story)


def test_losses_in_bursts_of_200_ms_double_no_key_and_lose_no_call() -> None:
    async def story(stage: Stage, call: TestCall, other: TestCall) -> None:
        for key in "1234567890":
            await call.send_digits(key)
            await asyncio.sleep(0.4)
        pressed = "".join(event.digit for event in other.pressed)
        assert len(pressed) >= 6 and list(pressed) == sorted(set(pressed), key="1234567890".index)

    in_a_call(story, burst=0.004, burst_length=10.0, seed=4)


@pytest.mark.parametrize("line", [{"reorder": 0.1, "jitter": 0.08}, {"duplicate": 0.3}], ids=str)
def test_reordering_jitter_and_duplicates_double_no_ring_no_key_and_no_answer(line: dict[str, float]) -> None:
    told: list[Any] = []

    async def story(stage: Stage, call: TestCall, other: TestCall) -> None:
        for one in (call, other):
            told.extend(event for number in range(one._session.event_count) if (event := one._session.event(number)) is not None)
            one._session.phone.on_call_event(lambda _, event: told.append(event))
        await call.send_digits("1122#")
        await other.heard_digits("1122#")
        await other.assert_silence(20.0)
        assert len(other.pressed) == 5
        statistics = call.statistics()
        assert statistics is not None and statistics.late <= 0.01 * statistics.packets_received
        kinds = [type(event).__name__ for event in told if event.at <= stage.clock.now]
        assert kinds.count("Answered") == 2 and kinds.count("DigitPressed") == 5

    in_a_call(story, **line)


def test_a_link_that_is_too_narrow_for_sound_both_ways_loses_it_and_not_the_call() -> None:
    async def story(stage: Stage, call: TestCall, other: TestCall) -> None:
        other.play(Tone(440))
        await asyncio.sleep(5)
        figures = call.statistics()
        assert figures is not None and figures.fraction_lost > 0.2
        assert call.end is None

    # PCMA takes 80 kbit/s with IP and UDP headers.
    in_a_call(story, bandwidth=50_000.0, queue=0.1)


@pytest.mark.parametrize("drift", [200e-6, -200e-6])
def test_a_sender_whose_clock_drifts_is_heard_without_a_gap_for_two_minutes(drift: float) -> None:
    async def story(stage: Stage, call: TestCall, other: TestCall) -> None:
        stage.network.hosts[1].drift = drift
        other.play(Tone(440))
        await asyncio.sleep(120)
        sounds = call.ear.sounds(stage.clock.now - 115, joined=0.04)
        assert len(sounds) == 1

    in_a_call(story)
