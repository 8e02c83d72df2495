"""F24: a phone that stays registered for a month misses no refresh, is asked for its password anew each time, and does not grow."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any

from flexosip import Phone
from tests.network.test_pbx import House

DAY = 86400.0


def test_a_month_of_registrations_and_a_call_a_day_misses_nothing_and_takes_no_more_memory() -> None:
    house = House()
    stale = 0
    sizes: list[tuple[int, int]] = []

    def look(message: Any) -> None:
        nonlocal stale
        stale += b"stale=true" in message.data

    async def story() -> None:
        house.pbx.on_wire(look)
        bell, kitchen = house.phone("bell"), house.phone("kitchen")
        failed: list[Any] = []
        for phone in (bell, kitchen):
            phone.on_registration(lambda account, event: failed.append(event) if event.failed else None)

        @kitchen.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        async with bell, kitchen:
            for day in range(30):
                await live(bell)
                if day in (9, 29):
                    gc.collect()
                    sizes.append((sys.getallocatedblocks(), len(gc.get_objects())))
        assert not failed

    async def live(bell: Phone) -> None:
        for _ in range(24):
            await asyncio.sleep(DAY / 24)
            assert len(house.pbx.bindings("bell")) == len(house.pbx.bindings("kitchen")) == 1
        async with bell.call("kitchen", ring_timeout=5):
            await asyncio.sleep(0.1)
        await asyncio.sleep(40)

    house.run(story)
    # Each refresh comes long after the life of a nonce.
    assert stale > 1000
    (early, few), (late, many) = sizes
    # Ended dialogs and parsed addresses are remembered up to a bound; one block for each of the 1000 refreshes would be a leak.
    assert late - early < 900, sizes
    assert many - few < 100, sizes
