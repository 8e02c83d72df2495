"""What `logging.basicConfig(level=logging.INFO)`, and `-v`, tell of a phone."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from flexosip import Phone, Tone
from flexosip.pbx import Pbx
from tests.network.stage import World, settle


def test_the_story_of_a_call_is_logged_in_order_and_without_its_keys(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flexosip")

    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def answer(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(1)
            await call.answer()
            await call.play(Tone(440, duration=0.3))
            await call.wait_ended()

        async with a.call(target) as call:
            await call.send_digits("78")
            await asyncio.sleep(1)
        await asyncio.sleep(1)

    World().run(story)
    lines = [record.getMessage() for record in caplog.records if record.name == "flexosip.phone.observers"]
    told = [line.split(": ", 1)[1] for line in lines]
    # both phones are in one log
    assert told[:4].count("Ringing status=180") == 2
    assert told.count("Answered codec=PCMA") == 2
    assert "PlaybackStarted source=tone 440 Hz" in told
    assert "PlaybackFinished source=tone 440 Hz position=0.3 completed=True" in told
    assert told.count("DigitPressed via=rfc4733 duration=0.1") == 2
    assert {"Ended end=we hung up", "Ended end=the other side hung up"} == set(told[-2:])
    assert len({line.split(": ", 1)[0] for line in lines}) == 1  # the Call-ID binds both sides together
    assert all(line.startswith("call ") for line in lines)


def test_registrations_are_logged_with_their_status(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flexosip")
    world = World()

    async def main() -> None:
        async with Pbx(users={"a": "aa"}, listen=("10.0.0.9:5060",), clock=world.clock, network=world.network.host("10.0.0.9")):
            async with world.phone("10.0.0.1", aor="sip:a@10.0.0.9", password="aa") as phone:
                await settle(phone)

    world.clock.run(main())
    told = [record.getMessage() for record in caplog.records if record.name == "flexosip.phone.observers"]
    assert "sip:a@10.0.0.9: registered (200 OK)" in told
    assert told[-1] == "sip:a@10.0.0.9: not registered (200 OK)"
    assert "aa" not in "".join(told)
