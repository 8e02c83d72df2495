"""Two phones on the virtual network: what the verbs of a call do, in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from flexosip import Busy, CallEnded, CallFailed, NoAnswer, Phone, Tone
from tests.hearing import hear
from tests.network.stage import World


def test_a_call_is_answered_played_to_and_hung_up(tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"

    async def story(a: Phone, b: Phone, target: str) -> None:
        ends = []

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            call.record(heard, side="in")
            await call.wait_ended()
            ends.append(call.end)

        async with a.call(target) as call:
            assert call.codec == "PCMA"
            playback = await call.play(Tone(440, duration=1.0))
            assert playback.completed
            assert playback.position == pytest.approx(1.0, abs=0.021)
        assert call.end is not None and call.end.by == "local"
        await asyncio.sleep(1)
        assert ends and ends[0].by == "remote"

    World().run(story)
    sound = hear(heard)
    assert sound.tone(440, 0.1, 0.9) > -18
    assert sound.tone(1000, 0.1, 0.9) < -50


def test_digits_arrive_once_each_in_order() -> None:
    async def story(a: Phone, b: Phone, target: str) -> str:
        pressed: list[str] = []

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            async for digit in call.digits():
                pressed.append(digit)

        async with a.call(target) as call:
            await call.send_digits("12#w3")
            await call.send_digits("45", via="info")
            await asyncio.sleep(0.5)
        await asyncio.sleep(0.5)
        return "".join(pressed)

    assert World().run(story) == "12#345"


def test_nobody_answers_within_the_ring_timeout() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        ends = []

        @b.on_call
        async def ring(call: Any) -> None:
            await call.ring()
            ends.append(await call.wait_ended())

        started = a.loop.time()
        with pytest.raises(NoAnswer):
            await a.call(target, ring_timeout=5)
        assert a.loop.time() - started == pytest.approx(5, abs=0.5)
        await asyncio.sleep(1)
        assert ends[0].status == 487

    World().run(story)


def test_a_busy_line_raises_busy() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def refuse(call: Any) -> None:
            await call.reject(486)

        with pytest.raises(Busy) as caught:
            await a.call(target)
        assert "busy" in caught.value.explain().lower()

    World().run(story)


def test_a_verb_in_progress_raises_call_ended_when_the_other_side_hangs_up() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        outcome: list[str] = []

        @b.on_call
        async def hang_up(call: Any) -> None:
            await call.answer()
            await asyncio.sleep(0.5)

        async with a.call(target) as call:
            try:
                await call.play(Tone(440, duration=10))
            except CallEnded as ended:
                outcome.append(ended.end.by)
                raise
        assert outcome == ["remote"]

    World().run(story)


def test_a_handler_that_raises_ends_its_own_call_only() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def fail(call: Any) -> None:
            raise RuntimeError("a fault of the program")

        with pytest.raises(CallFailed) as caught:
            await a.call(target)
        assert caught.value.status == 500

    World().run(story)


def test_hold_and_resume_are_seen_by_the_other_side() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        seen: list[str] = []

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            async for event in call.events():
                seen.append(type(event).__name__)

        async with a.call(target) as call:
            await call.hold()
            await asyncio.sleep(0.2)
            await call.resume()
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.2)
        assert seen.index("Held") < seen.index("Resumed")

    World().run(story)


def test_a_phone_that_closes_while_an_ack_is_missing_leaves_nothing() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()

        call = await a.dial(target)
        network = a.signalling.network.network
        network.filters.append(lambda packet: packet.data.startswith(b"ACK"))
        await call.wait_answered()
        await asyncio.sleep(0.3)
        started = a.loop.time()
        await b.close()
        assert a.loop.time() - started <= 2.0

    World().run(story)
