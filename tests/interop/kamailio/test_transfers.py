"""Transfers among three phones through Kamailio, which challenges REFER-made calls like any other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flexosip import Busy, Call, Phone
from tests.interop.kamailio.test_secure import Lab
from tests.interop.peers import DOMAIN
from tests.interop.process import wait_until

pytestmark = pytest.mark.peer("kamailio")

USERS = {name: f"secret-{name}" for name in ("alice", "bob", "carol")}
TRANSPORTS = [
    "udp",
    "tcp",
    pytest.param("tls", marks=pytest.mark.peer("kamailio-tls")),
    pytest.param("ws", marks=pytest.mark.peer("kamailio-websocket")),
    pytest.param("wss", marks=[pytest.mark.peer("kamailio-tls"), pytest.mark.peer("kamailio-websocket")]),
]


def answering(phone: Phone) -> list[Call]:
    """Let it answer everything; the calls, in order."""
    calls: list[Call] = []

    @phone.on_call
    async def answer(call: Call) -> None:
        calls.append(call)
        await call.ring()
        await asyncio.sleep(0.1)
        await call.answer()
        await call.wait_ended()

    return calls


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_blind_transfer(tmp_path: Path, transport: str) -> None:
    async with (
        Lab(tmp_path, users=USERS) as kamailio,
        kamailio.phone(transport, "alice", accept_transfers=True) as alice,
        kamailio.phone(transport, "bob", accept_transfers=True) as bob,
        kamailio.phone(transport, "carol", accept_transfers=True) as carol,
    ):
        at_bob, at_carol = answering(bob), answering(carol)
        call = await alice.call("bob", ring_timeout=10)
        result = await asyncio.wait_for(call.transfer("carol"), 10)
        assert result.confirmed and call.end is not None
        assert str(at_carol[0].referred_by.uri) == f"sip:alice@{DOMAIN}"  # type: ignore[union-attr]
        new = at_bob[0].transferred_to
        assert new is not None and new.state == "answered"
        await new.hangup()
        await wait_until(lambda: not carol.calls, 3, "carol's call ends")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_attended_transfer(tmp_path: Path, transport: str) -> None:
    async with (
        Lab(tmp_path, users=USERS) as kamailio,
        kamailio.phone(transport, "alice", accept_transfers=True) as alice,
        kamailio.phone(transport, "bob", accept_transfers=True) as bob,
        kamailio.phone(transport, "carol", accept_transfers=True) as carol,
    ):
        at_bob, at_carol = answering(bob), answering(carol)
        to_bob, to_carol = await alice.call("bob", ring_timeout=10), await alice.call("carol", ring_timeout=10)
        result = await asyncio.wait_for(to_bob.transfer(to_carol), 10)
        assert result.confirmed and to_bob.end is not None and to_carol.end is not None
        old, new = at_carol
        assert new.replaces is old and new.state == "answered" and old.end is not None
        transferred = at_bob[0].transferred_to
        assert transferred is not None
        await transferred.hangup()
        await wait_until(lambda: not carol.calls, 3, "carol's call ends")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_busy_target_leaves_the_call(tmp_path: Path, transport: str) -> None:
    async with (
        Lab(tmp_path, users=USERS) as kamailio,
        kamailio.phone(transport, "alice", accept_transfers=True) as alice,
        kamailio.phone(transport, "bob", accept_transfers=True) as bob,
        kamailio.phone(transport, "carol", accept_transfers=True) as carol,
    ):
        at_bob = answering(bob)

        @carol.on_call
        async def busy(call: Call) -> None:
            await call.reject(486)

        call = await alice.call("bob", ring_timeout=10)
        with pytest.raises(Busy):
            await asyncio.wait_for(call.transfer("carol", hold=True), 10)
        assert call.state == "answered" and not at_bob[0].held
        await call.hangup()
