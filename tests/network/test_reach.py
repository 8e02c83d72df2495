"""What a phone tells of where it is: an advertised address, the listening port over TCP, outbound proxies; and fall-back registrars."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flexosip import Phone
from flexosip.errors import RegistrationFailed
from flexosip.phone.connectivity.reach import Reach
from flexosip.sip.message import Request
from tests.network.stage import World, settle
from tests.network.test_failover import Server

SERVER, OTHER = "10.0.1.1", "10.0.1.2"


def run(story: Callable[..., Awaitable[None]], *ips: str, **line: Any) -> None:
    """Run `story(world, *servers)`."""
    world = World(**line)

    async def main() -> None:
        servers = []
        for ip in ips:
            server = await Server.open(world.network, ip)
            assert isinstance(server, Server)
            server.domain = ip
            servers.append(server)
        try:
            await story(world, *servers)
        finally:
            for server in servers:
                server.close()

    world.run_alone(main)


# -- advertised address (row 12) ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("advertise", "host_port"), [("203.0.113.9", "203.0.113.9:5060"), ("pbx.example.net:15060", "pbx.example.net:15060")]
)
def test_an_advertised_address_is_in_contact_via_and_sdp(advertise: str, host_port: str) -> None:
    async def story(world: World, server: Server) -> None:
        phone = world.phone("10.0.0.1", aor=f"sip:bell@{SERVER}", reach=Reach(advertise=advertise))
        async with phone:
            register = server.requests("REGISTER")[0]
            assert register.via.sent_by == host_port
            assert f"@{host_port}>" in register.headers.get_all("Contact")[0]
            async with phone.call(f"sip:1@{SERVER}"):
                invite = server.requests("INVITE")[0]
                assert f"@{host_port}>" in invite.headers.get_all("Contact")[0]
                host = advertise.partition(":")[0]
                assert b"c=IN IP4 " + host.encode() + b"\r\n" in invite.body
            await settle(phone)
        assert len(server.requests("BYE")) == 1

    run(story, SERVER)


def test_without_one_the_own_address_is_told() -> None:
    async def story(world: World, server: Server) -> None:
        async with world.phone("10.0.0.1", aor=f"sip:bell@{SERVER}"):
            assert server.requests("REGISTER")[0].via.sent_by == "10.0.0.1:5060"

    run(story, SERVER)


def test_over_tcp_the_via_tells_the_port_at_which_we_listen() -> None:
    world = World()

    async def main() -> None:
        a, b = world.phone("10.0.0.1"), world.phone("10.0.0.2")
        vias: list[str] = []
        b.on_wire(
            lambda message: vias.append(message.data.split(b"Via: ")[1].split(b";")[0].decode()) if message.direction == "in" else None
        )

        @b.on_call
        async def answer(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        async with a, b:
            async with a.call("sip:b@10.0.0.2;transport=tcp"):
                await asyncio.sleep(0.1)
            await settle(a, b)
        assert "SIP/2.0/TCP 10.0.0.1:5060" in vias
        assert all(via.endswith(":5060") for via in vias)

    world.run_alone(main)


# -- outbound proxies (row 8) ---------------------------------------------------------------------------------------------------


def test_a_proxy_with_lr_is_in_the_route_of_what_goes_out_and_one_without_is_only_the_next_hop() -> None:
    async def story(world: World, proxy: Server) -> None:
        for written, route in ((f"sip:{SERVER};lr", [f"<sip:{SERVER};lr>"]), (SERVER, [])):
            proxy.seen.clear()
            phone = world.phone(f"10.0.0.{10 + len(route)}", aor="sip:bell@provider.test", proxy=written)
            async with phone:
                register = proxy.requests("REGISTER")[0]
                assert str(register.uri) == "sip:provider.test"
                assert register.headers.get_all("Route") == route
                async with phone.call("sip:1@elsewhere.test"):
                    invite = proxy.requests("INVITE")[0]
                    assert invite.headers.get_all("Route") == route
                    assert str(invite.uri) == "sip:1@elsewhere.test"
                await settle(phone)

    run(story, SERVER)


class Moved(Server):
    """Sends the first call elsewhere."""

    def _respond(self, request: Request, status: int, remote: tuple[str, int], body: str = "", headers: Any = ()) -> None:
        if request.method == "INVITE" and str(request.uri) == "sip:1@elsewhere.test":
            super()._respond(request, 302, remote, headers=(("Contact", "<sip:2@elsewhere.test>"),))
        else:
            super()._respond(request, status, remote, body, headers)


def test_a_proxy_with_lr_is_in_the_route_of_redirected_calls_subscriptions_and_presence_too() -> None:
    async def story(world: World, proxy: Server) -> None:
        proxy.__class__ = Moved
        async with world.phone("10.0.0.1", aor="sip:bell@provider.test", proxy=f"sip:{SERVER};lr") as phone:
            async with phone.call("sip:1@elsewhere.test"):
                first, second = proxy.requests("INVITE")
                assert str(second.uri) == "sip:2@elsewhere.test"
            presence = await phone.publish_presence(True)
            subscription = phone.subscribe("sip:1@elsewhere.test", "presence")
            waiting = asyncio.ensure_future(subscription.__aenter__())
            await asyncio.sleep(1)
            (subscribe,) = proxy.requests("SUBSCRIBE")
            for request in (first, second, proxy.requests("PUBLISH")[0], subscribe):
                assert request.headers.get_all("Route") == [f"<sip:{SERVER};lr>"], request.method
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await presence.remove()
            await settle(phone)

    run(story, SERVER)


# -- fall-back registrars (row 19) --------------------------------------------------------------------------------------------


def account(world: World, **settings: Any) -> Phone:
    return world.phone("10.0.0.1", aor="sip:bell@provider.test", password="secret", registrar=f"{SERVER}, {OTHER}", **settings)


def test_the_first_registrar_is_taken_while_it_works() -> None:
    async def story(world: World, first: Server, second: Server) -> None:
        async with account(world):
            assert str(first.requests("REGISTER")[0].uri) == f"sip:{SERVER}"
        assert second.seen == []

    run(story, SERVER, OTHER)


@pytest.mark.parametrize(("how", "longest"), [("503", 0.5), ("icmp", 0.5), ("silent", 4.5)])
def test_when_the_first_is_down_the_next_one_registers_us_and_takes_our_calls(how: str, longest: float) -> None:
    async def story(world: World, first: Server, second: Server) -> None:
        first.refuses, first.silent = how == "503", how == "silent"
        if how == "icmp":
            first.close()
        async with account(world) as phone:
            assert world.clock.time() <= longest
            assert str(second.requests("REGISTER")[0].uri) == f"sip:{OTHER}"
            async with phone.call("1"):
                assert len(second.requests("INVITE")) == 1
            await settle(phone)
        assert len(second.requests("REGISTER")) == 2  # and taken away there

    run(story, SERVER, OTHER, icmp=how == "icmp")


def test_it_returns_to_the_first_with_a_later_registration() -> None:
    async def story(world: World, first: Server, second: Server) -> None:
        first.refuses = True
        async with account(world) as phone:
            first.refuses = False
            await asyncio.sleep(3600)
            assert len(first.requests("REGISTER")) == 2
            assert phone.accounts[0].registered and str(phone.accounts[0].registrar) == f"sip:{SERVER}"

    run(story, SERVER, OTHER)


def test_a_refusal_of_the_account_is_no_reason_to_ask_another() -> None:
    class Refusing(Server):
        def _respond(self, request: Any, status: int, *rest: Any, **more: Any) -> None:
            super()._respond(request, 404 if request.method == "REGISTER" else status, *rest, **more)

    async def story(world: World, second: Server) -> None:
        first = await Refusing.open(world.network, SERVER)
        with pytest.raises(RegistrationFailed):
            await account(world).start()
        assert second.seen == []
        first.close()

    run(story, OTHER)


def test_when_all_are_down_it_waits_and_begins_with_the_first_again() -> None:
    async def story(world: World, first: Server, second: Server) -> None:
        first.refuses = second.refuses = True
        phone = account(world)
        await phone.start(wait_registered=False)
        await asyncio.sleep(600)
        tries = len(first.requests("REGISTER"))
        assert 3 <= tries <= 12
        assert len(second.requests("REGISTER")) == tries
        first.refuses = False
        await asyncio.sleep(310)
        assert phone.accounts[0].registered
        await phone.close()

    run(story, SERVER, OTHER)


def test_a_call_from_a_server_that_took_over_is_let_in() -> None:
    async def story(world: World, first: Server, second: Server) -> None:
        first.refuses = True
        async with account(world) as phone:

            @phone.on_call
            async def answer(call: Any) -> None:
                await call.reject(486)

            second.ask("INVITE", uri="sip:bell@10.0.0.1:5060")
            assert (await second.response(486)).status == 486

    run(story, SERVER, OTHER)
