"""F20: cancelled anywhere, who transfers a call, watches somebody or sends a message leaves nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import Phone
from flexosip.sip.presence import Presence
from tests.network.stage import World, settle
from tests.network.test_cancelling import MODES, CancelledAt, Mode, cancelled_at_every_await, quietly
from tests.network.transfer_stage import B, C, Trio, answering


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["blind", "attended"])
def test_who_transfers_leaves_nothing_wherever_he_is_cancelled(kind: str, mode: Mode) -> None:
    def once(number: int) -> bool:
        reached = False

        async def story(a: Phone, b: Phone, c: Phone) -> None:
            nonlocal reached
            answering(b)
            answering(c)

            async def transferring() -> None:
                async with a.call(B) as call:
                    if kind == "blind":
                        await call.transfer(C)
                    else:
                        async with a.call(C) as other:
                            await call.transfer(other)

            work = CancelledAt(transferring(), number, mode)
            await quietly(work)
            # A transfer that was asked for is not taken back; it gets its time.
            await asyncio.sleep(3)
            assert not a.calls
            await settle(b, c)
            reached = work.reached

        Trio().run(story)
        return reached

    cancelled_at_every_await(once)


@pytest.mark.parametrize("mode", MODES)
def test_who_watches_and_writes_leaves_nothing_wherever_he_is_cancelled(mode: Mode) -> None:
    def once(number: int) -> Any:
        async def story(a: Phone, b: Phone, target: str) -> bool:
            b.notifier("dialog")
            b.notifier("presence").update(Presence.simple("sip:b@10.0.0.2", True))

            @b.on_message
            async def take(message: Any) -> None:
                await asyncio.sleep(0.05)

            async def watching() -> None:
                await a.message(target, "hello")
                async with a.subscribe(target, "presence") as subscription:
                    async for _ in subscription:
                        break
                async with a.watch(target) as lamp:
                    async for _ in lamp:
                        break

            work = CancelledAt(watching(), number, mode)
            await quietly(work)
            await settle(a, b)
            return work.reached

        return World().run(story)

    cancelled_at_every_await(once)
