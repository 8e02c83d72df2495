"""SIPp and a Phone with reliable provisional responses, UPDATE and session timers (RFC 3262, RFC 3311, RFC 4028)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from flexosip import Call, Phone
from flexosip.phone.events import Held, Redirected, Resumed
from tests.interop.listening import sip_address
from tests.interop.peers import Sipp
from tests.interop.process import wait_until

pytestmark = [
    pytest.mark.peer("sipp"),
    pytest.mark.skipif(os.geteuid() != 0, reason="SIPp plays captures through raw sockets, which needs root"),
]

LISTEN = "127.0.0.1:0"


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_we_acknowledge_reliable_provisional_responses(tmp_path: Path, transport: str) -> None:
    async with Sipp(tmp_path, "uas_100rel", transport=transport) as sipp, Phone(listen=LISTEN) as phone:
        target = f"sip:bob@{sipp.address}" + (";transport=tcp" if transport == "t1" else "")
        async with phone.call(target, ring_timeout=5) as call:
            assert call.codec == "PCMA"
        await sipp.done()
        assert sipp.count("received", "PRACK ") == 2


async def test_our_provisional_responses_are_reliable_and_the_200_waits_for_the_prack(tmp_path: Path) -> None:
    async with Phone(listen=LISTEN) as phone:

        @phone.on_call
        async def answer(call: Call) -> None:
            await call.ring()
            await call.progress()
            await call.answer()
            await call.wait_ended()

        async with Sipp(tmp_path, "uac_100rel", target=sip_address(phone)) as sipp:
            await sipp.done()
            # The caller waits 0.7 s with its second PRACK: the 183 came again meanwhile.
            assert sipp.count("received", "SIP/2.0 183") >= 2
        await wait_until(lambda: not phone.calls, 3, "the phone forgets the call")


@pytest.mark.parametrize(("scenario", "method"), [("uas_timer", "UPDATE"), ("uas_timer_reinvite", "INVITE")])
async def test_we_refresh_the_session(tmp_path: Path, scenario: str, method: str) -> None:
    async with Sipp(tmp_path, scenario) as sipp, Phone(listen=LISTEN, media_timeout=None) as phone:
        async with phone.call(f"sip:bob@{sipp.address}", ring_timeout=5) as call:
            end = await asyncio.wait_for(call.wait_ended(), 20)
            assert end.by == "remote"
        await sipp.done()
        assert sipp.count("received", f"{method} ") == 2
        if method == "INVITE":
            first, again = [text.split("\nv=0")[1] for way, text in sipp.messages if way == "received" and text.startswith("INVITE ")]
            # The version in the o= line included: nothing has changed.
            assert again == first


async def test_the_caller_refreshes_the_session_as_a_fritzbox_does(tmp_path: Path) -> None:
    await _serve(tmp_path, "uac_timer")


async def test_a_caller_with_too_small_an_interval_is_told_ours(tmp_path: Path) -> None:
    await _serve(tmp_path, "uac_timer_small", min_se=300)


async def test_the_caller_holds_by_update(tmp_path: Path) -> None:
    calls = await _serve(tmp_path, "uac_update")
    events = [type(event) async for event in calls[0].events()]
    assert [kind for kind in events if kind in (Held, Resumed)] == [Held, Resumed]


async def _serve(tmp_path: Path, scenario: str, **settings: int) -> list[Call]:
    """Be called by a scenario; the calls."""
    calls: list[Call] = []
    async with Phone(listen=LISTEN, **settings) as phone:  # type: ignore[arg-type]

        @phone.on_call
        async def answer(call: Call) -> None:
            calls.append(call)
            await call.answer()
            await call.wait_ended()

        async with Sipp(tmp_path, scenario, target=sip_address(phone)) as sipp:
            await sipp.done()
        await wait_until(lambda: not phone.calls, 3, "the phone forgets the call")
    assert calls[-1].end is not None and calls[-1].end.by == "remote"
    return calls


async def test_a_redirection_is_followed(tmp_path: Path) -> None:
    async with (
        Sipp(tmp_path / "taker", "uas_answer") as taker,
        Sipp(tmp_path / "sender", "uas_redirect", keys={"redirect": f"carol@{taker.address}"}) as sender,
        Phone(listen=LISTEN) as phone,
    ):
        async with phone.call(f"sip:bob@{sender.address}", ring_timeout=5) as call:
            pass
        events = [event async for event in call.events()]
        assert [event.target for event in events if isinstance(event, Redirected)] == [f"sip:carol@{taker.address}"]
        await sender.done()
        await taker.done()
