"""A first test: a door bell rings two phones on a bad line, without a network and without waiting.

python -m pytest examples/test_doorbell.py
"""

import pytest

from flexosip import Tone


@pytest.mark.sip_network(loss=0.05, jitter=0.02, seed=7)
async def test_who_answers_first_hears_the_door(phone):
    door, kitchen, attic = await phone("door"), await phone("kitchen"), await phone("attic")
    kitchen.answers(after=2)
    attic.answers(after=10)
    async with door.call(["kitchen", "attic"]) as call:
        call.play(Tone(440, duration=3))
        heard = next(iter(kitchen.calls))
        await heard.heard_tone(440, within=1)
        assert not attic.calls


async def test_a_busy_house_is_told(phone):
    door, house = await phone("door"), await phone("house")
    house.refuses(486)
    result = await door.ring("house", duration=20)
    assert result.outcome == "declined"
