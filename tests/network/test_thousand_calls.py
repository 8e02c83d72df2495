"""A thousand calls over lines that lose packets: each is set up or fails cleanly, no key comes twice, and nothing is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from flexosip import CallEnded, FlexosipError, Limits, Phone
from flexosip.simulation import VirtualClock, VirtualNetwork

CALLS = 1000
AT_ONCE = 50


KEYS = "159#"


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("loss", "at_least"), [(0.01, 1000), (0.05, 999), (0.20, 999)])
def test_a_thousand_calls_over_a_line_that_loses_packets_leave_nothing_behind(loss: float, at_least: int) -> None:
    clock = VirtualClock()
    network = VirtualNetwork(clock, seed=5, loss=loss)
    outcomes: Counter[str] = Counter()
    keys: Counter[str] = Counter()
    ends: Counter[str] = Counter()

    async def main() -> None:
        caller = Phone(clock=clock, network=network.host("10.0.0.1"), listen=("10.0.0.1:5060",))
        callee = Phone(
            clock=clock, network=network.host("10.0.0.2"), listen=("10.0.0.2:5060",), limits=Limits(source_rate=None, total_rate=None)
        )
        free = asyncio.Semaphore(AT_ONCE)

        @callee.on_call
        async def answer(call: Any) -> None:
            try:
                await call.answer()
                pressed = ""
                try:
                    async for key in call.digits():
                        pressed += key
                finally:
                    keys[pressed] += 1
            finally:
                ends[call.end.by if call.end is not None else "open"] += 1

        async def one() -> None:
            async with free:
                try:
                    async with caller.call("sip:b@10.0.0.2", ring_timeout=40) as call:
                        await call.send_digits(f"{KEYS}w")  # a key whose three ends are lost ends a moment later
                    outcomes["set up"] += 1
                except CallEnded:
                    outcomes["ended early"] += 1
                except FlexosipError as error:
                    outcomes[type(error).__name__] += 1

        async with caller, callee:
            await asyncio.gather(*(one() for _ in range(CALLS)))
            # 64*T1 is the longest that a lost BYE or ACK may keep the other side waiting.
            async with asyncio.timeout(70):
                while callee.calls or caller.calls:
                    await asyncio.sleep(1)
            await asyncio.sleep(40)
            for phone in (caller, callee):
                statistics = phone.core.statistics()
                assert statistics.dialogs == 0
                assert statistics.stack.client_transactions == 0
                assert statistics.stack.server_transactions == 0

    clock.run(main())
    assert sum(outcomes.values()) == CALLS
    assert outcomes["set up"] >= at_least, outcomes
    # Where the ACK was lost so often that the BYE came first, nobody listened to the keys.
    assert keys.total() >= 900
    assert sum(len(pressed) * count for pressed, count in keys.items()) >= 0.999 * len(KEYS) * keys.total(), keys
    assert all(is_part(pressed) for pressed in keys), f"a key came twice or in the wrong place: {keys}"
    assert ends["open"] == 0
    assert not network.open_sockets


def is_part(pressed: str) -> bool:
    """True if `pressed` is the keys that were sent, perhaps without some."""
    rest = iter(KEYS)
    return all(key in rest for key in pressed)
