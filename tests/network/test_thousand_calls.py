"""A thousand calls over a line that loses every twentieth packet: each is set up or fails cleanly, and nothing is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from flexosip import CallEnded, FlexosipError, Limits, Phone, Tone
from flexosip.simulation import VirtualClock, VirtualNetwork

CALLS = 1000
AT_ONCE = 50


@pytest.mark.timeout(240)
def test_a_thousand_calls_at_five_percent_loss_leave_nothing_behind() -> None:
    clock = VirtualClock()
    network = VirtualNetwork(clock, seed=5, loss=0.05)
    outcomes: Counter[str] = Counter()
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
                await call.wait_ended()
            finally:
                ends[call.end.by if call.end is not None else "open"] += 1

        async def one() -> None:
            async with free:
                try:
                    async with caller.call("sip:b@10.0.0.2", ring_timeout=40) as call:
                        await call.play(Tone(440, duration=0.1))
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
    assert outcomes["set up"] >= 999, outcomes
    assert ends["open"] == 0
    assert not network.open_sockets
