"""`flexosip answer` as the other side of messages, lamps and transfers, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from flexosip import Phone
from tests.unit.cli.conftest import OURS, PEER, Bench

US = f"sip:us@{OURS}"


def asking(story: Any) -> Any:
    """A phone at PEER and one at 10.0.0.3 that answers and listens; `story(phone, third)` runs beside the command."""

    @contextlib.asynccontextmanager
    async def peer(bench: Bench) -> AsyncIterator[None]:
        phone = Phone(clock=bench.clock, network=bench.host(PEER), listen=(f"{PEER}:5060",))
        third = Phone(clock=bench.clock, network=bench.host("10.0.0.3"), listen=("10.0.0.3:5060",))

        @third.on_call
        async def talk(call: Any) -> None:
            await call.answer()
            await asyncio.sleep(3)

        async def later() -> None:
            await asyncio.sleep(0.5)
            await story(phone, third)

        async with phone, third:
            task = asyncio.create_task(later())
            yield
            await task

    return peer


def test_a_message_is_told(bench: Bench) -> None:
    async def story(phone: Phone, third: Phone) -> None:
        await phone.message(US, "Somebody is at the\ndoor")
        async with phone.call(US) as call:
            await call.message("and in a call")

    assert bench.run("answer", "--messages", "--calls", "1", "--json", peer=asking(story)) == 0
    first, second = bench.told("message")
    assert (first["text"], first["content_type"], first["call_id"]) == ("Somebody is at the\ndoor", "text/plain", None)
    assert first["from"].startswith("sip:") and second["text"] == "and in a call" and second["call_id"]
    assert bench.run("answer", "--messages", "--calls", "1", peer=asking(story)) == 0
    # one line for people, whatever the sender wrote
    assert "Message from sip:flexosip@10.0.0.2:5060: Somebody is at the\\ndoor\n" in bench.out


def test_the_lamp_of_the_line_is_told(bench: Bench) -> None:
    states = []

    async def story(phone: Phone, third: Phone) -> None:
        async with third.watch(US) as lamp:
            states.append(lamp.state)
            async with phone.call(US):
                await asyncio.sleep(1)
                states.append(lamp.state)

    assert bench.run("answer", "--tell-state", "--calls", "1", "--json", peer=asking(story)) == 0
    assert states == ["idle", "confirmed"]


def test_a_transfer_is_followed_and_belongs_to_the_call(bench: Bench) -> None:
    async def story(phone: Phone, third: Phone) -> None:
        async with phone.call(US) as call:
            result = await call.transfer("sip:third@10.0.0.3")
            assert result.confirmed

    assert bench.run("answer", "--accept-transfers", "--calls", "1", "--json", peer=asking(story)) == 0
    assert [event["target"] for event in bench.told("transfer_requested")] == ["sip:third@10.0.0.3"]
    first, second = bench.told("ended")
    assert second["call_id"] == bench.told("transfer_requested")[0]["new_call_id"] != first["call_id"]
    assert 2.9 < second["duration"] < 3.2 and second["by"] == "remote"


def test_a_transfer_to_nobody_is_no_failure_of_the_command(bench: Bench) -> None:
    async def story(phone: Phone, third: Phone) -> None:
        async with phone.call(US) as call:
            with contextlib.suppress(Exception):
                await call.transfer("sip:nobody@10.0.0.3:5999")

    assert bench.run("answer", "--accept-transfers", "--calls", "1", "--json", peer=asking(story)) == 0
    assert len(bench.told("ended")) == 2


def test_without_the_flags_all_of_it_is_refused(bench: Bench) -> None:
    statuses = []

    async def story(phone: Phone, third: Phone) -> None:
        for attempt in (phone.message(US, "hello"), phone.watch(US).__aenter__()):
            try:
                await attempt
            except Exception as error:
                statuses.append(getattr(error, "status", error))
        async with phone.call(US) as call:
            try:
                await call.transfer("sip:third@10.0.0.3")
            except Exception as error:
                statuses.append(getattr(error, "status", error))

    assert bench.run("answer", "--calls", "1", "--json", peer=asking(story)) == 0
    assert statuses == [405, 405, 405]
