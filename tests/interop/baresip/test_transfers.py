"""Transfers with baresip 1.0: it is transferred by a Phone, and transfers one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flexosip import Busy, Call, Phone
from tests.interop.listening import sip_address
from tests.interop.peers import Baresip
from tests.interop.process import wait_until

pytestmark = pytest.mark.peer("baresip")

LISTEN = "127.0.0.1:0"


def answering(phone: Phone, *, busy: bool = False) -> list[Call]:
    """Let it answer, or refuse, everything; the calls, in order."""
    calls: list[Call] = []

    @phone.on_call
    async def answer(call: Call) -> None:
        calls.append(call)
        if busy:
            await call.reject(486)
        await call.answer()
        await call.wait_ended()

    return calls


async def test_baresip_is_transferred(tmp_path: Path) -> None:
    async with Baresip(tmp_path / "baresip") as baresip, Phone(listen=LISTEN) as phone, Phone(listen=LISTEN) as third:
        at_third = answering(third)
        call = await phone.call(baresip.uri, ring_timeout=10)
        result = await asyncio.wait_for(call.transfer(f"sip:third@{sip_address(third)}"), 15)
        assert result.confirmed and result.status == 200
        assert call.end is not None
        assert at_third[0].state == "answered"
        await at_third[0].hangup()


async def test_baresip_is_not_transferred_to_who_is_busy(tmp_path: Path) -> None:
    async with Baresip(tmp_path / "baresip") as baresip, Phone(listen=LISTEN) as phone, Phone(listen=LISTEN) as third:
        answering(third, busy=True)
        call = await phone.call(baresip.uri, ring_timeout=10)
        with pytest.raises(Busy):
            await asyncio.wait_for(call.transfer(f"sip:third@{sip_address(third)}"), 15)
        assert call.state == "answered"
        await call.hangup()


async def test_baresip_transfers_us(tmp_path: Path) -> None:
    async with (
        Baresip(tmp_path / "baresip") as baresip,
        Phone(listen=LISTEN, accept_transfers=True) as phone,
        Phone(listen=LISTEN) as third,
    ):
        at_third = answering(third)
        call = await phone.call(baresip.uri, ring_timeout=10)
        await baresip.wait_event("CALL_ESTABLISHED")
        await baresip.command("transfer", f"sip:third@{sip_address(third)}")
        end = await asyncio.wait_for(call.wait_ended(), 15)
        assert end.status == 200
        new = call.transferred_to
        assert new is not None and new.state == "answered" and len(at_third) == 1
        await new.hangup()
        await wait_until(lambda: not third.calls, 3, "the third phone forgets the call")
