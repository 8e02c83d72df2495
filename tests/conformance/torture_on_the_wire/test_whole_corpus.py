"""The whole shared corpus, every file of it, thrown at a phone and a PBX: they live, answer at once, and keep nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from typing import Any

import pytest

from flexosip import Phone
from flexosip.net.real import RealNetwork
from flexosip.pbx import Pbx
from flexosip.simulation import VirtualClock, VirtualNetwork
from flexosip.sip.stack import SipStack
from tests.conformance.torture_on_the_wire.torture import ROLES, TRANSPORTS, Sender, address_of, make
from tests.corpus import entries

KINDS = ("sip", "sip-stream", "sdp", "rtp", "rtcp", "srtp", "stun")
LIMIT = 0.1
"""Seconds for the answer to an OPTIONS behind anything."""

pytestmark = pytest.mark.skipif(not entries("sip"), reason="the corpus ../shared/corpus is absent")


def corpus() -> list[tuple[str, bytes]]:
    """Everything: what is no SIP must do no harm either."""
    return [(entry.name, entry.data) for kind in KINDS for entry in entries(kind)]


def stack_of(server: Phone | Pbx) -> SipStack:
    """The transactions."""
    return server.core.stack if isinstance(server, Phone) else server._stack


async def throw(sender: Sender, data: bytes, *, pieces: int = 0) -> None:
    """Send one file, as one piece or in several."""
    if not pieces:
        sender.send(data)
    for start in range(0, len(data) if pieces else 0, pieces or 1):
        sender.write(data[start : start + pieces])
        await asyncio.sleep(0)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("role", ROLES)
async def test_options_is_answered_within_a_tenth_of_a_second_after_every_file(
    role: str, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    broken: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: broken.append(context))
    network = RealNetwork()
    server = make(role, network, transport=transport)
    if isinstance(server, Phone):
        server.on_call(_decline)  # who answers would send sound to addresses of the corpus
    files = corpus()
    async with server, Sender(network, transport, address_of(server, transport)) as control:

        async def seconds_after(data: bytes) -> float:
            if transport == "udp":
                await throw(control, data)
            else:
                async with Sender(network, transport, address_of(server, transport)) as other:
                    await throw(other, data)
            return await control.probe()

        slow = [(name, data) for name, data in files if await seconds_after(data) > LIMIT]
        # The machine may be busy with something else; a message that costs time costs it each time.
        for _ in range(3):
            slow = [(name, data) for name, data in slow if await seconds_after(data) > LIMIT]
        assert not [name for name, _ in slow]
        # One transaction for each request at the most, the probes of a datagram socket included.
        assert stack_of(server).statistics().server_transactions <= 2 * len(files) + 8
        assert stack_of(server).statistics().client_transactions == 0
    assert not broken
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def _decline(call: Any) -> None:
    await call.reject(486)


@pytest.mark.parametrize("pieces", [1, 7, 1460])
async def test_a_stream_of_many_messages_gets_as_many_answers_in_whatever_pieces_it_comes(pieces: int) -> None:
    [(_, data)] = [(entry.name, entry.data) for entry in entries("sip-stream")]
    answers: list[int] = []
    network = RealNetwork()
    for size in (len(data), pieces):
        async with make("phone", network) as phone, Sender(network, "tcp", address_of(phone)) as sender:
            await throw(sender, data, pieces=size)
            async with Sender(network, "tcp", address_of(phone)) as control:
                await control.probe()
            answers.append(len(sender.finals()))
    assert answers[0] == answers[1] > 0


@pytest.mark.parametrize("role", ROLES)
def test_an_hour_later_nothing_is_left(role: str, caplog: pytest.LogCaptureFixture) -> None:
    # The phone answers every call; nobody acknowledges, nobody can be reached for the BYE.
    caplog.set_level(logging.ERROR)
    clock = VirtualClock()
    network = VirtualNetwork(clock, seed=4475)

    answered = 0

    async def answer(call: Any) -> None:
        nonlocal answered
        answered += 1
        await call.answer()
        await call.wait_ended()

    async def main() -> None:
        here = network.host("10.0.0.2")
        async with make(role, network.host("10.0.0.1"), host="10.0.0.1", clock=clock) as server:
            if isinstance(server, Phone):
                server.on_call(answer)
            for transport in ("udp", "tcp"):
                await _everything(server, here, transport)
            stack = stack_of(server)
            assert stack.statistics().requests_received > 500
            await asyncio.sleep(3600)
            statistics = stack.statistics()
            assert (statistics.server_transactions, statistics.client_transactions, statistics.pending_requests) == (0, 0, 0)
            assert not stack._merged
            if isinstance(server, Phone):
                assert not server.calls
                assert not server.core.dialogs

    clock.run(main())
    assert answered > 50 or role == "registrar"
    assert not network.open_sockets
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("role", ROLES)
def test_memory_does_not_grow_with_the_number_of_messages(role: str) -> None:
    clock = VirtualClock()
    network = VirtualNetwork(clock, seed=4475)

    async def main() -> list[int]:
        here = network.host("10.0.0.2")
        server = make(role, network.host("10.0.0.1"), host="10.0.0.1", clock=clock)
        if isinstance(server, Phone):
            server.on_call(_decline)
        sizes = []
        async with server:
            for _ in range(3):
                await _everything(server, here, "udp")
                await asyncio.sleep(300)
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
        return sizes

    tracemalloc.start()
    try:
        sizes = clock.run(main())
    finally:
        tracemalloc.stop()
    # The first round fills caches.
    assert sizes[2] - sizes[1] < 100_000


async def _everything(server: Phone | Pbx, here: Any, transport: str) -> None:
    sender = None
    for _, data in corpus():
        if sender is None or transport == "tcp":
            if sender is not None:
                await sender.close()
            sender = Sender(here, transport, address_of(server), host="10.0.0.2")
            await sender.open()
        await throw(sender, data)
        await asyncio.sleep(0.05)
    assert sender is not None
    await sender.close()
