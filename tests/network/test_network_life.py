"""Phones whose network changes, goes away and comes back: the registration and the running calls go along (F7, F8, F12, F18, D14)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flexosip import Phone, Tone
from flexosip.simulation import VirtualHost
from flexosip.sip.message import Request
from tests.network.stage import World, settle
from tests.network.test_failover import Server

SERVER = "10.0.1.1"
AOR = f"sip:bell@{SERVER}"
OLD, NEW = "10.0.0.1", "10.0.5.5"


def on_host(world: World, host: VirtualHost, **settings: Any) -> Phone:
    return Phone(clock=world.clock, network=host, **{"listen": ("0.0.0.0:5060",), "media_timeout": None, **settings})


def run(story: Callable[[World, VirtualHost, Server], Awaitable[None]], **line: Any) -> None:
    """Run `story` with a machine that may move and a server."""
    world = World(**line)

    async def main() -> None:
        server = await Server.open(world.network, SERVER)
        assert isinstance(server, Server)
        server.domain = SERVER
        try:
            await story(world, world.network.host(OLD), server)
        finally:
            server.close()

    world.run_alone(main)


def contacts(request: Request) -> list[str]:
    return request.headers.get_all("Contact")


def test_a_new_address_is_registered_within_two_seconds_and_the_old_binding_taken_away() -> None:
    async def story(world: World, host: VirtualHost, server: Server) -> None:
        async with on_host(world, host, aor=AOR, password="secret"):
            await asyncio.sleep(10)
            before = world.clock.time()
            host.move(NEW)
            await asyncio.sleep(2)
            registers = server.requests("REGISTER")
            assert len(registers) == 2
            new, old = contacts(registers[1])
            assert f"@{NEW}:5060>;expires=3600" in new
            assert f"@{OLD}:5060>;expires=0" in old
            assert registers[1].via.host == NEW
            assert registers[1].call_id == registers[0].call_id
            assert world.clock.time() - before <= 2

    run(story)


def test_a_change_that_does_not_concern_the_way_to_the_server_sends_nothing() -> None:
    async def story(world: World, host: VirtualHost, server: Server) -> None:
        async with on_host(world, host, aor=AOR, password="secret"):
            for number in range(20):
                host.move(OLD, f"172.17.0.{number + 1}")
                await asyncio.sleep(3)
            assert len(server.requests("REGISTER")) == 1

    run(story)


def test_an_address_that_changes_all_the_time_makes_no_storm() -> None:
    async def story(world: World, host: VirtualHost, server: Server) -> None:
        async with on_host(world, host, aor=AOR, password="secret"):
            started = world.clock.time()
            for number in range(100):
                host.move(f"10.0.6.{number + 1}")
                await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            assert len(server.requests("REGISTER")) - 1 <= world.clock.time() - started

    run(story)


@pytest.mark.parametrize("minutes", [1, 60])
def test_after_a_pulled_cable_it_is_registered_within_five_seconds(minutes: int) -> None:
    async def story(world: World, host: VirtualHost, server: Server) -> None:
        events = []
        async with on_host(world, host, aor=AOR, password="secret", expires=60) as bell:
            bell.on_registration(lambda account, event: events.append(event))
            await asyncio.sleep(5)
            host.plugged = False
            tried = server.count("REGISTER")
            await asyncio.sleep(60 * minutes + 50)
            assert server.count("REGISTER") == tried
            assert not bell.accounts[0].registered
            before = world.clock.time()
            host.plugged = True
            while not bell.accounts[0].registered:
                await asyncio.sleep(0.1)
            assert world.clock.time() - before <= 5
        assert sum(event.lost for event in events) == 1
        assert sum(event.restored for event in events) == 1

    run(story)


def test_without_any_way_to_the_server_the_loss_is_told_at_once_and_the_return_too() -> None:
    async def story(world: World, host: VirtualHost, server: Server) -> None:
        events = []
        async with on_host(world, host, aor=AOR, password="secret") as bell:
            bell.on_registration(lambda account, event: events.append((event.lost, event.restored)))
            await asyncio.sleep(5)
            host.move("fd00::1")  # no IPv4 any more
            await asyncio.sleep(1)
            assert events == [(True, False)]
            await asyncio.sleep(30)
            host.move(NEW)
            await asyncio.sleep(2)
            assert events[-1] == (False, True)

    run(story)


def test_after_sleep_it_registers_at_once() -> None:
    async def story(world: World, host: VirtualHost, server: Server) -> None:
        async with on_host(world, host, aor=AOR, password="secret"):
            await asyncio.sleep(10)
            host.sleep()
            await asyncio.sleep(1)
            assert len(server.requests("REGISTER")) == 2

    run(story)


# -- calls ------------------------------------------------------------------------------------------------------------------


async def heard(call: Any, seconds: float = 0.5) -> int:
    """Packets that arrive from now on in that time."""
    before = call.statistics().packets_received
    await asyncio.sleep(seconds)
    return int(call.statistics().packets_received - before)


def two_phones(story: Callable[[World, VirtualHost, Any, Any], Awaitable[None]], *, calls: str) -> None:
    """Run `story(world, host, own call, their call)`: who calls is on the machine that moves, or the other."""
    world = World()

    async def main() -> None:
        host = world.network.host(OLD)
        mover = on_host(world, host)
        other = world.phone("10.0.0.2", media_timeout=None)
        taken: asyncio.Queue[Any] = asyncio.Queue()
        caller, callee, target = (mover, other, "sip:b@10.0.0.2") if calls == "mover" else (other, mover, f"sip:b@{OLD}")

        @callee.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            call.play(Tone(440), loop=True)
            taken.put_nowait(call)
            await call.wait_ended()

        async with mover, other, caller.call(target) as call:
            call.play(Tone(440), loop=True)
            answered = await taken.get()
            own, theirs = (call, answered) if calls == "mover" else (answered, call)
            await asyncio.sleep(1)
            await story(world, host, own, theirs)
            await call.hangup()
            await settle(mover, other)

    world.run_alone(main)


@pytest.mark.parametrize("calls", ["mover", "other"])
def test_a_running_call_goes_along_to_the_new_address_within_three_seconds(calls: str) -> None:
    async def story(world: World, host: VirtualHost, own: Any, theirs: Any) -> None:
        assert await heard(own) > 20 and await heard(theirs) > 20
        host.move(NEW)
        await asyncio.sleep(2)
        assert await heard(own) > 20 and await heard(theirs) > 20
        assert theirs._session.usage.dialog.remote_target.host == NEW
        assert not own.ended_at

    two_phones(story, calls=calls)


def test_a_call_goes_along_again_and_again_and_ends_in_good_order() -> None:
    async def story(world: World, host: VirtualHost, own: Any, theirs: Any) -> None:
        for number in range(5):
            host.move(f"10.0.7.{number + 1}")
            await asyncio.sleep(4)
            assert await heard(own) > 20 and await heard(theirs) > 20
        await theirs.hangup()
        await asyncio.sleep(0.5)
        assert own.end.by == "remote"

    two_phones(story, calls="mover")


def test_a_held_call_stays_held_when_it_goes_along() -> None:
    async def story(world: World, host: VirtualHost, own: Any, theirs: Any) -> None:
        await own.hold()
        host.move(NEW)
        await asyncio.sleep(3)
        await own.resume()
        assert await heard(own) > 20 and await heard(theirs) > 20

    two_phones(story, calls="mover")


def test_a_call_that_rings_while_the_address_changes_goes_along_once_it_is_answered() -> None:
    world = World()

    async def main() -> None:
        host = world.network.host(OLD)
        mover, other = on_host(world, host), world.phone("10.0.0.2", media_timeout=None)
        taken: asyncio.Queue[Any] = asyncio.Queue()

        @other.on_call
        async def answer(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(5)
            await call.answer()
            call.play(Tone(440), loop=True)
            taken.put_nowait(call)
            await call.wait_ended()

        async with mover, other:
            call = await mover.dial("sip:b@10.0.0.2")
            await call.wait_ringing()
            host.move(OLD, NEW)  # the old address still serves
            await asyncio.sleep(1)
            host.move(NEW, OLD)
            await call.wait_answered()
            await taken.get()
            await asyncio.sleep(3)
            assert await heard(call) > 20
            await call.hangup()
            await settle(mover, other)

    world.run_alone(main)


def test_a_call_of_an_account_is_taken_along_after_its_registration() -> None:
    async def story(world: World, host: VirtualHost, server: Server) -> None:
        async with on_host(world, host, aor=AOR, password="secret") as bell:
            async with bell.call(f"sip:1@{SERVER}"):
                await asyncio.sleep(1)
                host.move(NEW)
                await asyncio.sleep(3)
                order = [message.method for message in server.seen if isinstance(message, Request)]
                assert order == ["REGISTER", "INVITE", "ACK", "REGISTER", "INVITE", "ACK"]
                again = server.requests("INVITE")[1]
                assert again.to.tag == "server"
                assert f"@{NEW}:5060" in contacts(again)[0]
                assert f"c=IN IP4 {NEW}".encode() in again.body
            await settle(bell)

    run(story)


# -- NAT ---------------------------------------------------------------------------------------------------------------------


class NatServer(Server):
    """A registrar that shows where requests come from (RFC 3581)."""

    def _respond(self, request: Request, status: int, remote: tuple[str, int], body: str = "", headers: Any = ()) -> None:
        from flexosip.sip.flow import Flow
        from flexosip.sip.response_routing import record_source

        record_source(request, Flow("udp", (self.ip, 5060), remote))
        super()._respond(request, status, remote, body, headers)


def test_after_a_nat_has_forgotten_us_the_next_registration_moves_contact_and_calls() -> None:
    world = World()

    async def main() -> None:
        server = await NatServer.open(world.network, SERVER)
        assert isinstance(server, NatServer)
        server.domain = SERVER
        nat = world.network.nat("203.0.113.1", lifetime=7200)
        host = world.network.host("192.168.1.2", nat=nat)
        async with on_host(world, host, aor=AOR, password="secret", expires=60) as bell:
            await asyncio.sleep(1)
            first = contacts(server.requests("REGISTER")[-1])[0]
            assert "@203.0.113.1:" in first
            async with bell.call(f"sip:1@{SERVER}"):
                assert b"c=IN IP4 203.0.113.1" in server.requests("INVITE")[0].body
                nat.rebind()
                await asyncio.sleep(60)
                registers = server.requests("REGISTER")
                assert contacts(registers[-1])[0] != first
                assert any("expires=0" in value for value in contacts(registers[-1])[1:])
                assert len(server.requests("INVITE")) == 2
                assert contacts(server.requests("INVITE")[1])[0].split("@")[1] == contacts(registers[-1])[0].split("@")[1].split(";")[0]
            await settle(bell)
        server.close()

    world.run_alone(main)
