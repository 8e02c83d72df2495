"""SIPp is transferred by a Phone, and transfers one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from flexosip import Busy, Call, Phone
from flexosip.phone.events import TransferProgress
from tests.interop.listening import sip_address
from tests.interop.peers import Sipp
from tests.interop.process import wait_until

pytestmark = [
    pytest.mark.peer("sipp"),
    pytest.mark.skipif(os.geteuid() != 0, reason="SIPp plays captures through raw sockets, which needs root"),
]

LISTEN = "127.0.0.1:0"


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_sipp_is_transferred_and_tells_how_it_goes(tmp_path: Path, transport: str) -> None:
    async with Sipp(tmp_path, "uas_referred", transport=transport, words={"STATUS": "200 OK"}) as sipp, Phone(listen=LISTEN) as phone:
        call = await phone.call(f"sip:bob@{sipp.address}" + (";transport=tcp" if transport == "t1" else ""))
        result = await call.transfer("sip:third@192.0.2.3")
        assert result.confirmed and call.end is not None
        events = [event async for event in call.events()]
        assert [event.status for event in events if isinstance(event, TransferProgress)] == [100]
        await sipp.done()


async def test_a_transfer_that_fails_at_sipp_leaves_the_call(tmp_path: Path) -> None:
    async with Sipp(tmp_path, "uas_referred", words={"STATUS": "486 Busy Here"}) as sipp, Phone(listen=LISTEN) as phone:
        call = await phone.call(f"sip:bob@{sipp.address}")
        with pytest.raises(Busy):
            await call.transfer("sip:third@192.0.2.3")
        assert call.state == "answered"
        await call.hangup()
        await sipp.done()


@pytest.mark.parametrize(("answers", "final"), [(True, "200 OK"), (False, "486 Busy Here")])
@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_sipp_transfers_us(tmp_path: Path, transport: str, answers: bool, final: str) -> None:
    calls: list[Call] = []
    async with Phone(listen=LISTEN, accept_transfers=True) as phone, Phone(listen=LISTEN) as third:

        @phone.on_call
        async def answer(call: Call) -> None:
            calls.append(call)
            await call.answer()
            await call.wait_ended()

        @third.on_call
        async def target(call: Call) -> None:
            await call.ring()
            await asyncio.sleep(0.2)
            if not answers:
                await call.reject(486)
            await call.answer()
            await call.wait_ended()

        keys = {"refer_to": f"sip:third@{sip_address(third)}"}
        async with Sipp(tmp_path, "uac_refer", target=sip_address(phone), transport=transport, keys=keys) as sipp:
            await sipp.done()
            told = [text.splitlines()[-1] for way, text in sipp.messages if way == "received" and text.startswith("NOTIFY")]
        assert told == ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", f"SIP/2.0 {final}"]
        assert calls[0].end is not None and calls[0].end.by == "remote"
        new = calls[0].transferred_to
        assert new is not None and (new.state == "answered") == answers
        await new.hangup()
        await wait_until(lambda: not third.calls, 3, "the third phone forgets the call")
