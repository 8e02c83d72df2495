"""A TCP connection is reset while a call rings, or in the middle of one (RFC 3261 §18.2.2, F12)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import Tone
from flexosip.sip.framing import StreamFramer
from flexosip.sip.message import Message, Response
from flexosip.sip.parser import parse_message
from tests.network.stage import World, sdp, settle

PEER = "10.0.0.9"


class StreamPeer:
    """A caller by TCP that listens at its port 5060, whatever its calls leave from."""

    def __init__(self, world: World) -> None:
        self.host = world.network.host(PEER)
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.accepted = 0

    async def open(self) -> None:
        self.listener = await self.host.open_listener(PEER, 5060, self._accept)

    def _accept(self, connection: Any) -> None:
        self.accepted += 1
        self._read(connection)

    def _read(self, connection: Any) -> None:
        framer = StreamFramer()

        def received(data: bytes) -> None:
            for message in framer.receive(data):
                self.inbox.put_nowait(parse_message(message))

        self.connection = connection
        connection.on_data = received

    async def connect(self) -> None:
        self._read(await self.host.connect("10.0.0.1", 5060))

    def send(self, first: str, to_tag: str = "", body: str = "", cseq: int = 1) -> None:
        method = first.split()[0]
        lines = (
            first,
            f"Via: SIP/2.0/TCP {PEER}:5060;branch=z9hG4bK{method}{cseq}",
            "Max-Forwards: 70",
            f"From: <sip:peer@{PEER}>;tag=peer",
            "To: <sip:flexosip@10.0.0.1>" + (f";tag={to_tag}" if to_tag else ""),
            "Call-ID: stream-1",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:peer@{PEER};transport=tcp>",
            *(("Content-Type: application/sdp",) if body else ()),
            f"Content-Length: {len(body)}",
            "",
            body,
        )
        self.connection.write("\r\n".join(lines).encode())

    async def response(self, status: int) -> Response:
        async with asyncio.timeout(10):
            while True:
                message = await self.inbox.get()
                if isinstance(message, Response) and message.status == status:
                    return message

    def close(self) -> None:
        self.listener.close()
        self.connection.abort()


@pytest.mark.parametrize("answered", [True, False])
def test_a_2xx_whose_connection_is_lost_takes_a_new_one_to_the_port_of_its_via_and_a_ringing_call_ends(answered: bool) -> None:
    world = World()

    async def main() -> None:
        peer = StreamPeer(world)
        phone = world.phone("10.0.0.1", media_timeout=None)
        ends: list[Any] = []

        @phone.on_call
        async def answer(call: Any) -> None:
            try:
                await call.ring()
                if answered:
                    await call.answer()
                await call.wait_ended()
            finally:
                ends.append(call.end)

        async with phone:
            await peer.open()
            await peer.connect()
            peer.send("INVITE sip:flexosip@10.0.0.1 SIP/2.0", body=sdp())
            await peer.response(200 if answered else 180)
            peer.connection.abort()
            if answered:
                again = await peer.response(200)
                assert peer.accepted == 1
                tag = again.to.tag or ""
                peer.send("ACK sip:flexosip@10.0.0.1 SIP/2.0", tag)
                await asyncio.sleep(1)
                assert len(phone.calls) == 1
                peer.send("BYE sip:flexosip@10.0.0.1 SIP/2.0", tag, cseq=2)
                await peer.response(200)
                await asyncio.sleep(0.1)
                assert ends[0].by == "remote"
            else:
                await asyncio.sleep(1)
                assert phone.calls == [], "a caller that is gone must not go on ringing"
            await settle(phone)
            peer.close()

    world.run_alone(main)


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_a_reset_in_the_middle_of_a_call_costs_no_sound_and_the_end_takes_a_new_connection(who: str) -> None:
    world = World()

    async def main() -> None:
        a, b = world.phone("10.0.0.1", media_timeout=None), world.phone("10.0.0.2", media_timeout=None)
        taken: asyncio.Queue[Any] = asyncio.Queue()

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            call.play(Tone(440), loop=True)
            taken.put_nowait(call)
            await call.wait_ended()

        async with a, b, a.call("sip:b@10.0.0.2;transport=tcp") as call:
            other = await taken.get()
            await asyncio.sleep(1)
            before = call.statistics().packets_received
            world.network.reset_streams()
            await asyncio.sleep(2)
            assert call.statistics().packets_received - before >= 99
            assert call.end is None and other.end is None
            mine, theirs = (call, other) if who == "caller" else (other, call)
            await mine.hangup()
            await asyncio.sleep(1)
            assert theirs.end.by == "remote"
            await settle(a, b)

    world.run_alone(main)


def test_a_wall_clock_that_jumps_moves_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """F14, D14: registrations and calls go by the monotonic clock."""
    import time

    from flexosip.sip.message import Request
    from tests.network.test_failover import Server

    world = World()
    offset = 0.0
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + offset)

    async def main() -> None:
        nonlocal offset
        server = await Server.open(world.network, "10.0.1.1")
        async with world.phone("10.0.0.1", aor="sip:bell@10.0.1.1", expires=600):
            times: list[float] = []
            for jump in (3600.0, -3600.0, 86400.0, -86400.0):
                offset = jump
                await asyncio.sleep(600)
                times.append(world.clock.time())
            registers = [message for message in server.seen if isinstance(message, Request)]
            # One at first, then each 480 to 540 s of true time.
            assert 5 <= len(registers) <= 6
        server.close()

    world.run_alone(main)
