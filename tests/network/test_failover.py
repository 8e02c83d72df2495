"""A provider with two servers, one of which refuses, says 503, or says nothing at all (F10, F11)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from flexosip import Phone
from flexosip.errors import CallFailed, FlexosipError
from flexosip.sip.message import Request, Response
from tests.network.stage import RawPeer, World, sdp, settle

FIRST, SECOND = "10.0.1.1", "10.0.1.2"
AOR = "sip:bell@provider.test"


class Server(RawPeer):
    """A registrar and answering machine by UDP; `refuses` makes it say 503 to everything."""

    domain = "provider.test"
    refuses = False
    retry_after: int | None = None
    silent = False

    def _on_datagram(self, data: bytes, remote: tuple[str, int], local_host: str) -> None:
        super()._on_datagram(data, remote, local_host)
        message = self.seen[-1]
        if isinstance(message, Response) or message.method == "ACK" or self.silent:
            return
        if self.refuses:
            headers = (("Retry-After", str(self.retry_after)),) if self.retry_after is not None else ()
            self._respond(message, 503, remote, headers=headers)
        elif message.method == "REGISTER":
            contacts = tuple(("Contact", value) for value in message.headers.get_all("Contact"))
            self._respond(message, 200, remote, headers=(*contacts, ("Expires", "3600")))
        elif message.method == "INVITE":
            contact = ("Contact", f"<sip:peer@{self.domain}>")
            self._respond(message, 200, remote, sdp(host=self.ip), headers=(contact,))
        else:
            self._respond(message, 200, remote)

    def _respond(self, request: Request, status: int, remote: tuple[str, int], body: str = "", headers: Any = ()) -> None:
        content_type = "application/sdp" if body else None
        response = request.create_response(status, to_tag="server", headers=headers, body=body.encode(), content_type=content_type)
        self.send(bytes(response), remote)

    def requests(self, method: str) -> list[Request]:
        """What came, repetitions once."""
        found = [message for message in self.seen if isinstance(message, Request) and message.method == method]
        return list({message.via.branch: message for message in found}.values())


@contextlib.asynccontextmanager
async def provider(world: World, *ips: str) -> AsyncIterator[list[Server]]:
    """Servers of provider.test, in the order of their priority."""
    servers = []
    for number, ip in enumerate(ips):
        name = f"s{number}.provider.test"
        world.network.dns.srv("_sip._udp.provider.test", 10 * (number + 1), 1, 5060, name)
        world.network.name(name, ip)
        server = await Server.open(world.network, ip)
        assert isinstance(server, Server)
        servers.append(server)
    try:
        yield servers
    finally:
        for server in servers:
            server.close()


def run(story: Callable[[World, list[Server]], Awaitable[None]], **line: Any) -> None:
    world = World(**line)

    async def main() -> None:
        async with provider(world, FIRST, SECOND) as servers:
            await story(world, servers)

    world.run_alone(main)


def phone(world: World, **settings: Any) -> Phone:
    return world.phone("10.0.0.1", aor=AOR, password="secret", **settings)


def test_registration_takes_the_server_of_the_lowest_priority() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        async with phone(world):
            pass
        assert len(servers[0].requests("REGISTER")) == 2  # and its end
        assert servers[1].seen == []

    run(story)


def test_a_server_that_says_503_is_left_within_half_a_second() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        servers[0].refuses = True
        async with phone(world):
            assert world.clock.time() < 0.5
        assert len(servers[0].requests("REGISTER")) == 1
        assert len(servers[1].requests("REGISTER")) == 2

    run(story)


def test_a_server_that_refuses_by_icmp_is_left_within_half_a_second() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        servers[0].close()
        async with phone(world):
            assert world.clock.time() < 0.5
        assert len(servers[1].requests("REGISTER")) == 2

    run(story, icmp=True)


def test_a_silent_server_is_left_after_four_seconds_and_not_asked_again_at_once() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        servers[0].silent = True
        async with phone(world) as bell:
            assert world.clock.time() == pytest.approx(4.0, abs=0.1)
            count = servers[0].count("REGISTER")
            assert count == 4
            async with bell.call("sip:1@provider.test"):
                pass
            await settle(bell)
            assert servers[0].count("INVITE") == 0
            assert servers[0].count("REGISTER") == count

    run(story)


def test_the_next_server_gets_the_same_request_with_a_new_branch() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        async with phone(world) as bell:
            servers[0].refuses = True
            async with bell.call("sip:1@provider.test"):
                pass
            await settle(bell)
        (first,), (second,) = servers[0].requests("INVITE"), servers[1].requests("INVITE")
        assert first.via.branch != second.via.branch
        assert len(second.headers.get_all("Via")) == 1
        for name in ("Call-ID", "From", "To", "CSeq", "Contact"):
            assert first.headers.get(name) == second.headers.get(name)
        assert first.body == second.body

    run(story)


def test_an_invite_to_a_silent_server_goes_to_the_next_after_four_seconds() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        async with phone(world) as bell:
            servers[0].silent = True
            before = world.clock.time()
            async with bell.call("sip:1@provider.test"):
                assert world.clock.time() - before == pytest.approx(4.0, abs=0.1)
            await settle(bell)

    run(story)


@pytest.mark.parametrize("status", [180, 200])
def test_what_a_slow_server_makes_of_the_call_after_all_is_ended(status: int) -> None:
    async def story(world: World, servers: list[Server]) -> None:
        async with phone(world) as bell:
            slow = servers[0]
            slow.silent = True
            async with bell.call("sip:1@provider.test"):
                late = slow.requests("INVITE")[0]
                contact = (("Contact", f"<sip:late@{FIRST}>"),)
                slow.send(bytes(late.create_response(status, to_tag="late", headers=contact)))
                if status == 180:
                    cancel = await slow.request("CANCEL")
                    assert cancel.via.branch == late.via.branch
                    slow.answer(cancel, 200)
                    slow.answer(late, 487, tag="late")
                    await slow.request("ACK")
                else:
                    await slow.request("ACK")
                    slow.answer(await slow.request("BYE"), 200)
            await settle(bell)

    run(story)


def test_a_call_that_is_given_up_while_a_server_is_silent_goes_to_no_other() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        async with phone(world) as bell:
            servers[0].silent = True
            call = await bell.dial("sip:1@provider.test")
            await asyncio.sleep(2)
            await call.hangup()
            await settle(bell)
        assert servers[1].requests("INVITE") == []

    run(story)


def test_a_request_within_a_call_goes_to_the_next_server_and_those_after_it_directly() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        async with phone(world, media_timeout=None) as bell:
            async with bell.call("sip:1@provider.test") as call:
                servers[0].silent = True
                before = world.clock.time()
                await call.send_digits("1", via="info")
                assert 4.0 < world.clock.time() - before < 4.6
                await asyncio.sleep(40)
                before = world.clock.time()
                await call.send_digits("2", via="info")
                assert world.clock.time() - before < 0.6
            await settle(bell)
        assert [len(server.requests("INFO")) for server in servers] == [1, 2]
        assert len(servers[1].requests("BYE")) == 1

    run(story)


def test_calls_stay_at_the_server_that_took_over_until_the_next_registration() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        servers[0].refuses = True
        async with phone(world) as bell:
            servers[0].refuses = False
            await asyncio.sleep(60)
            async with bell.call("sip:1@provider.test"):
                pass
            assert servers[0].requests("INVITE") == []
            await asyncio.sleep(3600)
            async with bell.call("sip:1@provider.test"):
                pass
            await settle(bell)
            assert len(servers[0].requests("INVITE")) == 1
            assert len(servers[1].requests("INVITE")) == 1
        assert len(servers[0].requests("REGISTER")) >= 2

    run(story)


def test_a_server_that_says_retry_after_is_left_alone_that_long() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        servers[0].refuses, servers[0].retry_after = True, 3000
        async with phone(world):
            servers[0].refuses = False
            await asyncio.sleep(2900)
            assert len(servers[0].requests("REGISTER")) == 1
            await asyncio.sleep(1000)
            assert len(servers[0].requests("REGISTER")) >= 2

    run(story)


def test_when_no_server_is_left_the_failure_of_the_last_one_is_told() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        async with phone(world) as bell:
            servers[0].refuses = servers[1].refuses = True
            with pytest.raises(CallFailed) as failure:
                await bell.call("sip:1@provider.test")
            assert failure.value.status == 503
            await settle(bell)
            servers[0].refuses = servers[1].refuses = False

    run(story)


def test_a_refusal_that_is_an_answer_goes_to_no_other_server() -> None:
    async def story(world: World, servers: list[Server]) -> None:
        async with phone(world) as bell:
            servers[0].silent = True
            call = await bell.dial("sip:1@provider.test")
            servers[0].answer(await servers[0].request("INVITE"), 486)
            with pytest.raises(FlexosipError):
                await call
            await settle(bell)
            servers[0].silent = False
        assert servers[1].requests("INVITE") == []

    run(story)


def test_a_single_silent_server_gets_all_the_time_of_the_rfc() -> None:
    async def story() -> None:
        world.network.name("provider.test", FIRST)
        server = await Server.open(world.network, FIRST)
        async with phone(world) as bell:
            assert isinstance(server, Server)
            server.silent = True
            before = world.clock.time()
            with pytest.raises(FlexosipError):
                await bell.call("sip:1@provider.test")
            assert world.clock.time() - before == pytest.approx(32, abs=0.1)
            server.silent = False
            await settle(bell)
        server.close()

    world = World()
    world.run_alone(story)


def test_a_broken_ipv6_of_the_server_is_left_for_ipv4() -> None:
    async def story() -> None:
        world.network.name("provider.test", "fd00::9", FIRST)
        server = await Server.open(world.network, FIRST)
        bell = Phone(AOR, clock=world.clock, network=world.network.host("10.0.0.1", "fd00::1"))
        async with bell:
            assert world.clock.time() == pytest.approx(4.0, abs=0.1)
        server.close()

    world = World()
    world.run_alone(story)
