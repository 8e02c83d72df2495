"""Subscriptions under loss, cancelled and closed at any moment: nothing is left, nothing crashes (seeded, so that it repeats)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Any

import pytest

from flexosip import FlexosipError, Phone
from flexosip.phone.messaging.notifiers import IncomingSubscription
from flexosip.sip.presence import Presence
from tests.network.stage import World


@pytest.mark.parametrize("seed", range(25))
def test_who_leaves_at_any_moment_leaves_nothing(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)

    async def follow(phone: Phone, target: str) -> None:
        async with phone.subscribe(target, "presence", expires=chance.choice((0, 60, 100, 600))) as subscription:
            async for _ in subscription:
                if chance.random() < 0.2:
                    return

    async def story(a: Phone, b: Phone, target: str) -> None:
        presence = b.notifier("presence")
        presence.update(Presence.simple("sip:b@10.0.0.2", True))

        @b.on_subscribe("odd")
        async def odd(subscription: IncomingSubscription) -> None:
            for _ in range(3):
                await asyncio.sleep(chance.uniform(0, 2))
                with contextlib.suppress(FlexosipError):
                    subscription.notify("x", "text/plain")
                if chance.random() < 0.3:
                    chance.choice((subscription.terminate, subscription.reject))()

        tasks: list[asyncio.Task[Any]] = [asyncio.ensure_future(follow(a, target)) for _ in range(5)]
        tasks += [asyncio.ensure_future(a.subscribe(target, "odd")._establish()) for _ in range(3)]
        for task in tasks:
            await asyncio.sleep(chance.uniform(0, 1.0))
            if chance.random() < 0.5:
                task.cancel()
            if chance.random() < 0.5:
                presence.update(Presence.simple("sip:b@10.0.0.2", chance.random() < 0.5))
        if chance.random() < 0.5:
            await asyncio.sleep(chance.uniform(0, 500))
        await chance.choice((a, b)).close()
        await a.close()
        await b.close()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        odd_ones = [result for result in results if isinstance(result, Exception) and not isinstance(result, FlexosipError)]
        assert not odd_ones

    with caplog.at_level(logging.ERROR):
        World(seed=seed, loss=0.2).run(story)
    assert not caplog.records
