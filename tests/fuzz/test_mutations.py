"""Damaged messages at a phone that does all it can do: it never breaks, no message costs it more than 50 ms, and nothing of them stays.

They come from a seed, so a message that broke something can be had again. Half of them come within the calls and subscriptions of a peer
that the phone knows. Time is virtual, so that what a message leaves behind (a transaction, a call that rings) ends as it would in the
minutes after.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from pathlib import Path

import pytest

from flexosip import Call, FlexosipError, Limits, Phone
from flexosip.sip.flow import Flow
from flexosip.sip.framing import StreamFramer
from flexosip.sip.grammar import SipParseError
from flexosip.sip.presence import Presence
from tests.fuzz.acquaintance import Acquaintance
from tests.fuzz.mutations import mutations
from tests.network.stage import World, left_of

COUNT = 100_000
"""For each of the two ways, datagrams and streams."""
WARM_UP = 8_000
BATCH = 200
LONGEST = 0.05
"""Seconds of processor time for one message."""
GROWTH = 6 * 1024 * 1024
PEER = ("10.0.0.9", 5060)


def resident() -> int:
    """Octets of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Desk:
    """Takes every third call and transfers it, lets the others ring for a while; and counts."""

    def __init__(self) -> None:
        self.calls = self.answered = self.messages = 0
        self.takes_all = False

    async def take(self, call: Call) -> None:
        self.calls += 1
        if self.takes_all or self.calls % 3 == 1:
            self.answered += 1
            await call.answer()  # of most nobody acknowledges it: they end by themselves
            if not self.takes_all:
                await self.transfer(call)
            return
        await call.ring()
        await asyncio.sleep(5)
        await call.reject(486)

    async def transfer(self, call: Call) -> None:
        with contextlib.suppress(FlexosipError):
            await call.transfer("sip:c@10.0.0.9", timeout=30)
        await call.wait_ended()

    def read(self, message: object) -> None:
        self.messages += 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_phone_survives_them_all(transport: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    broken: list[object] = []
    slowest, slowest_data = 0.0, b""
    memory: list[int] = []
    desk = Desk()
    # Without rates: at the door most of them would be turned away unread.
    limits = Limits(source_rate=None, total_rate=None)
    settings = {"accept_transfers": True, "accept_replaces": True, "reliable_provisional": "supported"}

    async def main() -> None:
        nonlocal slowest, slowest_data
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: broken.append(context))
        peer = await Acquaintance.open(world.network, PEER[0])
        async with world.phone("10.0.0.1", accept_from="any", limits=limits, **settings) as phone:
            phone.on_call(desk.take)
            phone.on_message(desk.read)
            phone.notifier("dialog")
            presence = phone.notifier("presence")
            presence.update(Presence.simple("sip:b@10.0.0.1", True))
            watched = phone.subscribe("sip:peer@10.0.0.9", "presence")
            watched.start()
            for number, data in enumerate(mutations(COUNT, seed=20261123)):
                if number % BATCH == 0:
                    peer.meet()
                    await asyncio.sleep(1)
                filled = peer.fill(data)
                started = time.thread_time()
                feed(phone, filled, transport)
                spent = time.thread_time() - started
                if spent > LONGEST:
                    spent = again(phone, filled, transport)
                if spent > slowest:
                    slowest, slowest_data = spent, filled
                if number % 20 == 19:
                    await asyncio.sleep(0.1)
                if number % BATCH == BATCH - 1:
                    peer.part()
                    await asyncio.sleep(70)  # longer than 64*T1: what was there is over
                if number % WARM_UP == WARM_UP - 1:
                    gc.collect()
                    memory.append(resident())
            await watched.unsubscribe()
            phone.notifiers.stop_all()
            await asyncio.sleep(400)
            assert left_of(phone) == {}
            desk.takes_all = True
            async with world.phone("10.0.0.2") as other, other.call("sip:bob@10.0.0.1") as call:
                assert call.codec
        peer.close()

    world = World()
    # What else this process holds, thousands of tests, is not the phone's to go through when garbage is collected.
    gc.collect()
    gc.freeze()
    try:
        world._run(main())
    finally:
        gc.unfreeze()
    assert desk.calls > COUNT // 200 and desk.answered > COUNT // 2000, "most of them must not be refused by the parser already"
    assert desk.messages > COUNT // 200
    assert not broken, broken[:3]
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert slowest <= LONGEST, (slowest, slowest_data[:2000])
    assert memory[-1] - memory[0] <= GROWTH, memory


def again(phone: Phone, data: bytes, transport: str) -> float:
    """The least that the message costs in three more tries: one that costs time by itself costs it each time."""
    costs = []
    for _ in range(3):
        started = time.thread_time()
        feed(phone, data, transport)
        costs.append(time.thread_time() - started)
    return min(costs)


def feed(phone: Phone, data: bytes, transport: str) -> None:
    """One message as a datagram, or as what a connection brings in two pieces."""
    signalling = phone.signalling
    if transport == "udp":
        signalling._receive_datagram(data, Flow("udp", ("10.0.0.1", 5060), PEER))
        return
    flow = Flow("tcp", ("10.0.0.1", 5060), PEER)
    framer = StreamFramer()
    try:
        for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
            for message in framer.receive(piece):
                signalling._receive_message(message, flow)
    except SipParseError as error:
        phone.core.receive_malformed(error, flow)
