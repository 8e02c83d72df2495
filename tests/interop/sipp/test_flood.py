"""SIPp floods an answering phone with INVITEs of strangers, far above what it takes and what one core can work on."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest

from flexosip import Call, Phone, Tone
from tests.interop.listening import sip_address
from tests.interop.peers import Sipp

pytestmark = pytest.mark.peer("sipp")

RATE, SECONDS = 2000, 8
"""INVITEs a second: a hundred times what one source may bring, and above what the phone answers with nothing else to do."""
LINGER = 32.0
"""64*T1: as long as transactions stay."""


def resident() -> int:
    """Octets of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_a_running_call_loses_nothing_memory_comes_back_and_the_excess_gets_503_or_silence(tmp_path: Path, transport: str) -> None:
    taken: list[Call] = []
    async with Phone(listen="127.0.0.1:0") as phone, Phone(listen="127.0.0.2:0") as friend:

        @phone.on_call
        async def answer(call: Call) -> None:
            taken.append(call)
            await call.answer()
            await call.play(Tone(440, 0.2), loop=True)

        async with friend.call(f"sip:bell@{sip_address(phone)}") as call:
            call.play(Tone(700, 0.2), loop=True)
            await asyncio.sleep(1)
            gc.collect()
            memory = resident()
            before = [side.statistics() for side in (call, taken[0])]
            started = asyncio.get_running_loop().time()
            options = ("-nr", "-default_behaviors", "-bye,-abortunexp")
            sipp = Sipp(
                tmp_path,
                "uac_flood",
                target=sip_address(phone),
                calls=100 * RATE,
                rate=RATE,
                limit=RATE,
                transport=transport,
                options=options,
            )
            async with sipp:
                await asyncio.sleep(SECONDS)
                assert sipp.running
            lasted = asyncio.get_running_loop().time() - started
            after = [side.statistics() for side in (call, taken[0])]
            flooded = resident()
            counted = phone.statistics()
            assert counted.stack.requests_received + counted.admission.unread >= 0.5 * RATE * SECONDS

            # The call: each side sent every packet, and got every one of the other's.
            for here, there in ((0, 1), (1, 0)):
                sent = after[here].packets_sent - before[here].packets_sent
                assert abs(sent - 50 * lasted) <= 5
                assert abs(after[there].packets_received - before[there].packets_received - sent) <= 5
            assert [side.lost for side in after] == [0, 0]

            # The flood: the rate was let in, about as many were told 503, the rest was not read.
            assert counted.admission.admitted <= 20 * lasted + 45
            assert 0 < counted.stack.refused <= 20 * lasted + 45
            assert counted.admission.unread > 0.7 * (counted.stack.requests_received + counted.admission.unread)
            assert flooded - memory < 50e6

            await asyncio.sleep(LINGER + 8)
            counted = phone.statistics()
            assert (counted.calls, counted.dialogs, counted.stack.server_transactions) == (1, 1, 0)
            gc.collect()
            assert resident() - memory < 15e6
            assert call.end is None and call.statistics().lost == 0
