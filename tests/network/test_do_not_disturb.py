"""When a call may ring: do-not-disturb, call waiting, lines of the phone and of an account, and the end of ringing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import Availability, Busy, Call, ConfigurationError, InvalidState, Phone
from tests.network.stage import PEER, RawPeer, World, sdp, settle


def patient(phone: Phone) -> list[Call]:
    """The phone rings; nobody answers."""
    calls: list[Call] = []

    @phone.on_call
    async def ring(call: Call) -> None:
        calls.append(call)
        await call.ring()
        await call.wait_ended()

    return calls


@pytest.mark.parametrize(("value", "status"), [(True, 480), (480, 480), (486, 486), (600, 600), (603, 603)])
def test_nothing_rings_while_it_is_set(value: bool | int, status: int) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = patient(phone)
        phone.do_not_disturb = value
        assert phone.do_not_disturb == value
        peer.ask("INVITE", sdp())
        refusal = await peer.response(status)
        assert refusal.reason == "Do Not Disturb"
        peer.within(refusal, "ACK", cseq=1)
        peer.ask("OPTIONS", call_id="o")
        await peer.response(status)
        phone.do_not_disturb = False
        peer.ask("INVITE", sdp(), call_id="2")
        await peer.response(180)
        assert len(calls) == 1
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize("value", [404, "yes", 2, None])
def test_it_is_a_switch_or_a_status(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="do_not_disturb"):
        Availability(do_not_disturb=value)
    phone = Phone()
    with pytest.raises(ConfigurationError, match="do_not_disturb"):
        phone.do_not_disturb = value
    assert phone.do_not_disturb is False


def test_calls_of_our_own_go_out_while_it_is_set() -> None:
    async def story(caller: Phone, callee: Phone, target: str) -> None:
        callee_calls = patient(callee)
        call = await caller.dial(target)
        await call.wait_ringing(5)
        assert len(callee_calls) == 1

    World().run(story, availability=Availability(do_not_disturb=True))


def test_without_call_waiting_a_second_caller_hears_busy() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = patient(phone)
        peer.ask("INVITE", sdp())
        await peer.response(180)
        peer.ask("INVITE", sdp(), call_id="2")
        refusal = await peer.response(486)
        assert refusal.reason == "In a call"
        peer.within(refusal, "ACK", cseq=1)
        await calls[0].reject(603)
        peer.within(await peer.response(603), "ACK", cseq=1)
        peer.ask("INVITE", sdp(), call_id="3")
        await peer.response(180)
        await settle(phone)

    World().run_with_peer(story, availability=Availability(call_waiting=False, busy_reason="In a call"))


def test_an_account_has_lines_of_its_own_in_both_directions() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        patient(phone)
        account = phone.add_account(f"sip:me@{PEER}", register=False, max_calls=1)
        out = await phone.dial("1")
        peer.answer(await peer.request("INVITE"), 180)
        with pytest.raises(InvalidState, match="lines of sip:me"):
            await phone.dial("2")
        peer.ask("INVITE", sdp(), uri=f"sip:{account.contact_user}@10.0.0.1", call_id="in")
        peer.within(await peer.response(486), "ACK", cseq=1)
        hangup = asyncio.create_task(out.hangup())
        peer.answer(await peer.request("CANCEL"), 200)
        invite = next(message for message in peer.seen if message.start_line.startswith("INVITE"))
        peer.answer(invite, 487)  # type: ignore[arg-type]
        await hangup
        peer.ask("INVITE", sdp(), uri=f"sip:{account.contact_user}@10.0.0.1", call_id="in2")
        await peer.response(180)
        await settle(phone)

    World().run_with_peer(story)


def test_a_call_that_nobody_takes_rings_out() -> None:
    """A caller that has crashed sends no CANCEL, and a handler may forget a call."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = patient(phone)
        peer.ask("INVITE", sdp())
        await asyncio.sleep(28)
        assert phone.calls
        refusal = await peer.response(480, timeout=5)
        peer.within(refusal, "ACK", cseq=1)
        end = calls[0].end
        assert end is not None and (end.by, end.status) == ("timeout", 480)
        await settle(phone)

    World().run_with_peer(story, availability=Availability(ring_timeout=30))


def test_a_call_that_is_answered_does_not_ring_out() -> None:
    async def story(caller: Phone, callee: Phone, target: str) -> None:
        @callee.on_call
        async def take(call: Call) -> None:
            await call.answer()
            await call.wait_ended()

        async with caller.call(target) as call:
            await asyncio.sleep(10)
            assert call.end is None

    World().run(story, callee={"availability": Availability(ring_timeout=5), "media_timeout": None}, media_timeout=None)


@pytest.mark.parametrize("value", [0, -1, 1e9])
def test_a_time_to_ring_is_from_one_second_to_a_day(value: float) -> None:
    with pytest.raises(ConfigurationError, match="ring_timeout"):
        Availability(ring_timeout=value)


def test_the_caller_of_a_phone_with_do_not_disturb_learns_why() -> None:
    async def story(caller: Phone, callee: Phone, target: str) -> None:
        patient(callee)
        with pytest.raises(Busy) as caught:
            await caller.call(target)
        assert caught.value.reason == "Do Not Disturb"

    World().run(story, callee={"availability": Availability(do_not_disturb=486)})
