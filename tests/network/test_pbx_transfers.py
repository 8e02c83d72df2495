"""Transfers among phones of the embedded PBX, which only forwards: REFER and NOTIFY pass it like everything within a call."""

from __future__ import annotations

from typing import Any

import pytest

from flexosip import Busy, Call, CallReplaced, Phone
from tests.network.stage import settle
from tests.network.test_pbx import House
from tests.network.transfer_stage import answering, soon

WAYS = [("udp", "udp", "udp"), ("tcp", "tcp", "tcp"), ("udp", "tcp", "udp"), ("tcp", "udp", "tcp")]


def run(story: Any, ways: tuple[str, str, str] = WAYS[0]) -> None:
    """Run `story(bell, kitchen, attic)`, three phones of the PBX that may be transferred."""
    house = House()

    async def main() -> None:
        phones = [
            house.phone(user, transport=way, accept_transfers=True) for user, way in zip(("bell", "kitchen", "attic"), ways, strict=True)
        ]
        async with phones[0], phones[1], phones[2]:
            await story(*phones)
            await settle(*phones)

    house.run(main)


@pytest.mark.parametrize("ways", WAYS, ids="-".join)
def test_a_blind_transfer_among_three_phones_of_the_pbx(ways: tuple[str, str, str]) -> None:
    async def story(bell: Phone, kitchen: Phone, attic: Phone) -> None:
        at_kitchen, at_attic = answering(kitchen), answering(attic)
        call = await bell.call("kitchen")
        result = await call.transfer("attic")
        assert result.confirmed and result.target == "sip:attic@10.0.0.1"
        assert call.end is not None
        assert at_attic[0].referred_by.uri.user == "bell" and at_attic[0].remote.uri.user == "kitchen"
        await at_kitchen[0].transferred_to.hangup()

    run(story, ways)


@pytest.mark.parametrize("ways", WAYS, ids="-".join)
def test_an_attended_transfer_among_three_phones_of_the_pbx(ways: tuple[str, str, str]) -> None:
    async def story(bell: Phone, kitchen: Phone, attic: Phone) -> None:
        at_kitchen, at_attic = answering(kitchen), answering(attic)
        to_kitchen, to_attic = await bell.call("kitchen"), await bell.call("attic")
        assert (await to_kitchen.transfer(to_attic)).confirmed
        assert to_kitchen.end is not None and to_attic.end is not None
        old, new = at_attic
        assert new.replaces == old and new.state == "answered"
        await at_kitchen[0].transferred_to.hangup()

    run(story, ways)


def test_the_called_side_transfers_the_caller() -> None:
    async def story(bell: Phone, kitchen: Phone, attic: Phone) -> None:
        bell_calls, at_attic = [], answering(attic)

        @kitchen.on_call
        async def switchboard(call: Call) -> None:
            await call.answer()
            assert (await call.transfer("attic")).confirmed

        call = await bell.call("kitchen")
        bell_calls.append(call)
        end = await call.wait_ended()
        assert end.status == 200 and end.by == "remote"
        assert call.transferred_to.state == "answered" and at_attic[0].state == "answered"
        await call.transferred_to.hangup()

    run(story)


def test_a_target_that_is_busy_leaves_both_where_they_were() -> None:
    async def story(bell: Phone, kitchen: Phone, attic: Phone) -> None:
        answering(kitchen)

        @attic.on_call
        async def busy(call: Call) -> None:
            await call.reject(486)

        call = await bell.call("kitchen")
        with pytest.raises(Busy):
            await call.transfer("attic")
        assert call.state == "answered"

    run(story)


def test_a_call_that_rings_in_the_kitchen_is_picked_up_in_the_attic() -> None:
    async def story(bell: Phone, kitchen: Phone, attic: Phone) -> None:
        rings: list[Call] = []

        @kitchen.on_call
        async def ring(call: Call) -> None:
            rings.append(call)
            await call.ring()
            await call.wait_ended()

        at_bell = answering(bell)
        ringing = await bell.dial("kitchen")
        await ringing.wait_ringing()
        await soon()
        dialog = rings[0]._session.usage.dialog

        class Watched:
            call_id, local_tag, remote_tag = dialog.call_id, dialog.local_tag, dialog.remote_tag
            remote_uri, remote_target, ringing = str(dialog.remote.uri), None, True

        picked = await attic.pickup(Watched())
        with pytest.raises(CallReplaced) as caught:
            await ringing.wait_answered(5)
        assert caught.value.call is at_bell[0] and picked.state == "answered"
        await rings[0].wait_ended()
        await picked.hangup()

    run(story)
