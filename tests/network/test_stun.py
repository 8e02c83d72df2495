"""A phone behind a NAT that asks a STUN server for its public addresses: of the SIP socket and of the sound's own sockets (row 39)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from flexosip import Phone, Reach, Tone
from flexosip.net.stun import answer_to
from tests.network.stage import World
from tests.network.test_failover import Server

SERVER, STUN, NAT, INSIDE = "198.51.100.7", "198.51.100.8", "203.0.113.1", "192.168.1.2"


class StunServer:
    """Answers Binding requests; `asked` are the sources."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.silent = False

    async def open(self, world: World) -> None:
        self.endpoint = await world.network.host(STUN).open_datagram(STUN, 3478, self._on_datagram)
        world.network.name("stun.example.net", STUN)

    def _on_datagram(self, data: bytes, remote: tuple[str, int], local_host: str) -> None:
        self.asked.append(remote)
        answer = answer_to(data, remote)
        assert answer is not None
        if not self.silent:
            self.endpoint.send(answer, remote)


def run(story: Callable[..., Awaitable[None]], **reach: Any) -> None:
    world = World()

    async def main() -> None:
        stun, server = StunServer(), await Server.open(world.network, SERVER)
        await stun.open(world)
        assert isinstance(server, Server)
        server.domain = SERVER
        # Cone NAT: who knows the mapping gets in.
        nat = world.network.nat(NAT, lifetime=120, filtering=False)
        host = world.network.host(INSIDE, nat=nat)
        settings = Reach(**{"stun_server": "stun.example.net", **reach})
        phone = Phone(f"sip:bell@{SERVER}", clock=world.clock, network=host, listen=("0.0.0.0:5060",), reach=settings, media_timeout=None)
        try:
            await story(world, phone, server, stun)
        finally:
            await phone.close()
            server.close()
            stun.endpoint.close()

    world.run_alone(main)


async def over(phone: Phone) -> None:
    """Wait until the calls are over; the pair that is kept ready for the next one is all that is left."""
    await asyncio.sleep(10)
    assert phone.calls == [] and phone.signalling.engine.statistics().streams == 0
    assert phone.signalling.ports.in_use <= 1


def sound_address(body: bytes) -> tuple[str, int, int]:
    """Host, RTP port and RTCP port of a session description."""
    host = re.search(rb"c=IN IP4 (\S+)", body)
    port = re.search(rb"m=audio (\d+)", body)
    rtcp = re.search(rb"a=rtcp:(\d+)", body)
    assert host is not None and port is not None
    return host[1].decode(), int(port[1]), int(rtcp[1]) if rtcp is not None else int(port[1]) + 1


def test_contact_and_sdp_tell_the_addresses_that_the_stun_server_sees_and_sound_arrives_there() -> None:
    async def story(world: World, phone: Phone, server: Server, stun: StunServer) -> None:
        await phone.start()
        first = server.requests("REGISTER")[0]
        assert f"@{NAT}:{stun.asked[0][1]}>" in first.headers.get_all("Contact")[0]
        await asyncio.sleep(1)
        async with phone.call(f"sip:1@{SERVER}") as call:
            call.play(Tone(440), loop=True)
            host, rtp, rtcp = sound_address(server.requests("INVITE")[0].body)
            assert host == NAT
            assert (NAT, rtp) in stun.asked and (NAT, rtcp) in stun.asked
            sound = server.sound(7000)
            await sound.play((host, rtp), bytes(320 * 50))
            assert call.statistics().packets_received == 50
            assert sound.receive()
            sound.close()
        await over(phone)

    run(story)


def test_the_next_call_gets_a_pair_of_its_own() -> None:
    async def story(world: World, phone: Phone, server: Server, stun: StunServer) -> None:
        await phone.start()
        told = []
        for _ in range(3):
            await asyncio.sleep(30)
            async with phone.call(f"sip:1@{SERVER}"):
                told.append(sound_address(server.requests("INVITE")[-1].body))
        await over(phone)
        assert len({address[1] for address in told}) == 3
        assert all((NAT, address[1]) in stun.asked for address in told)

    run(story)


def test_a_pair_that_waits_is_asked_about_again_before_the_nat_forgets_it() -> None:
    async def story(world: World, phone: Phone, server: Server, stun: StunServer) -> None:
        await phone.start()
        await asyncio.sleep(600)
        async with phone.call(f"sip:1@{SERVER}"):
            host, rtp, _ = sound_address(server.requests("INVITE")[0].body)
            sound = server.sound(7000)
            await sound.play((host, rtp), bytes(320 * 5))
            assert phone.calls[0].statistics().packets_received == 5
            sound.close()
        await over(phone)

    run(story)


def test_without_an_answer_the_phone_starts_all_the_same() -> None:
    async def story(world: World, phone: Phone, server: Server, stun: StunServer) -> None:
        stun.silent = True
        await phone.start()
        assert world.clock.time() < 4
        async with phone.call(f"sip:1@{SERVER}"):
            assert sound_address(server.requests("INVITE")[0].body)[0] == INSIDE
        await over(phone)

    run(story)


def test_an_unknown_server_is_a_warning() -> None:
    async def story(world: World, phone: Phone, server: Server, stun: StunServer) -> None:
        await phone.start()
        assert phone.accounts[0].registered

    run(story, stun_server="nowhere.example.net")


def test_in_the_house_nothing_public_is_told() -> None:
    world = World()

    async def main() -> None:
        stun, box = StunServer(), await Server.open(world.network, "192.168.1.1")
        await stun.open(world)
        assert isinstance(box, Server)
        box.domain = "192.168.1.1"
        phone = Phone(
            "sip:bell@192.168.1.1",
            clock=world.clock,
            network=world.network.host(INSIDE),
            reach=Reach(stun_server=STUN),
            listen=("0.0.0.0:5060",),
        )
        async with phone:
            await asyncio.sleep(5)
            async with phone.call("1"):
                assert sound_address(box.requests("INVITE")[0].body)[0] == INSIDE
                assert f"@{INSIDE}:5060" in box.requests("INVITE")[0].headers.get_all("Contact")[0]
            await over(phone)
        box.close()
        stun.endpoint.close()

    world.run_alone(main)
