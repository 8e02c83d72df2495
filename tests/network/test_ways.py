"""Which way a phone's messages take: own address by the route, UDP or TCP by size, proxy before domain, connections that are lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import Phone
from flexosip.observe.trace import WireMessage
from flexosip.pbx import Pbx
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import parse_message
from tests.network.stage import RawPeer, World, sdp, settle

LARGE = {f"X-Large-{number}": "x" * 500 for number in range(3)}


def wire_of(phone: Phone) -> list[WireMessage]:
    """All SIP messages of a phone, from now on."""
    seen: list[WireMessage] = []
    phone.on_wire(seen.append)
    return seen


def sent(seen: list[WireMessage], method: str) -> list[tuple[WireMessage, Request]]:
    """The requests of that method that went out."""
    parsed = [(one, parse_message(one.data)) for one in seen if one.direction == "out"]
    return [(one, message) for one, message in parsed if isinstance(message, Request) and message.method == method]


def lose_connection(phone: Phone, host: str) -> None:
    """Reset the phone's connection to that host, as a router does that has forgotten it."""
    [connection] = [known for known in phone.signalling.driver._streams._connections.values() if known.flow.remote[0] == host]
    connection._connection.abort()


@pytest.mark.parametrize("who_ends", ["caller", "callee"])
def test_a_call_above_1300_octets_goes_by_tcp_and_stays_a_call(who_ends: str) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        seen, back = wire_of(a), wire_of(b)

        @b.on_call
        async def handle(call: Any) -> None:
            assert call.headers.get("X-Large-2") == "x" * 500
            await call.answer()
            if who_ends == "callee":
                await asyncio.sleep(0.2)
                await call.hangup()
            await call.wait_ended()

        async with a.call(target, headers=LARGE) as call:
            if who_ends == "callee":
                assert (await call.wait_ended()).by == "remote"
        [(one, invite)] = sent(seen, "INVITE")
        assert one.transport == "tcp" and len(one.data) > 1300
        assert invite.via.transport == "TCP"
        assert invite.contact is not None and str(invite.contact.uri) == "sip:flexosip@10.0.0.1:5060;transport=tcp"
        # What belongs to the call goes to the Contact of the other side, and that says TCP.
        assert sent(seen, "ACK")[0][0].transport == "tcp"
        assert sent(seen if who_ends == "caller" else back, "BYE")[0][0].transport == "tcp"

    World().run(story)


def test_a_call_that_grows_too_large_by_its_credentials_changes_to_tcp() -> None:
    world = World()

    async def story() -> None:
        pbx = Pbx({"me": "SECRET", "you": "other"}, listen=("10.0.0.5:5060",), clock=world.clock, network=world.network.host("10.0.0.5"))
        async with pbx, world.phone("10.0.0.1", aor="sip:me@10.0.0.5", password="SECRET") as phone:
            you = world.phone("10.0.0.2", aor="sip:you@10.0.0.5", password="other")

            @you.on_call
            async def handle(call: Any) -> None:
                await call.answer()
                await call.wait_ended()

            async with you:
                seen = wire_of(phone)
                async with phone.call("you", headers={"X-Fill": "x" * 400}):
                    pass
                first, second = sent(seen, "INVITE")
                assert (first[0].transport, second[0].transport) == ("udp", "tcp")
                assert second[1].via.transport == "TCP" and "Proxy-Authorization" in second[1].headers
                await settle(phone, you)

    world.run_alone(story)


def test_where_no_tcp_is_to_be_had_a_large_call_goes_by_udp() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("sip:peer@10.0.0.9", headers=LARGE)
        invite = await peer.request("INVITE")
        assert len(bytes(invite)) > 1300 and invite.via.transport == "UDP"
        assert invite.contact is not None and "transport" not in str(invite.contact.uri)
        peer.answer(invite, 486)
        await call.wait_ended()
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize("listen", ["0.0.0.0:5060", "0.0.0.0:0"])
def test_each_call_names_the_own_address_of_the_route_it_takes(listen: str) -> None:
    world = World()

    async def story() -> None:
        phone = Phone(clock=world.clock, network=world.network.host("10.0.0.1", "192.168.7.1"), listen=(listen,))
        async with phone:
            port = int(phone.addresses[0].rpartition(":")[2])
            for own, other in (("10.0.0.1", "10.0.0.9"), ("192.168.7.1", "192.168.7.9")):
                peer = await RawPeer.open(world.network, other)
                call = await phone.dial(f"sip:peer@{other}")
                invite = await peer.request("INVITE")
                assert invite.via.sent_by == f"{own}:{port}"
                assert invite.contact is not None and str(invite.contact.uri) == f"sip:flexosip@{own}:{port}"
                assert f"c=IN IP4 {own}".encode() in invite.body and f"IN IP4 {own}\r\ns=".encode() in invite.body
                assert str(invite.from_.uri) == f"sip:flexosip@{own}:{port}"
                peer.send(bytes(invite.create_response(486, to_tag="x")), (own, port))
                await call.wait_ended()
                await peer.request("ACK")
                await settle(phone)
                peer.close()

    world.run_alone(story)


def test_the_proxy_is_the_next_hop_whatever_the_domain_resolves_to() -> None:
    world = World()
    world.network.name("home.test", "10.0.0.66")
    world.network.name("elsewhere.test", "10.0.0.66")

    async def story() -> None:
        proxy, wrong = await RawPeer.open(world.network, "10.0.0.9"), await RawPeer.open(world.network, "10.0.0.66")
        phone = world.phone("10.0.0.1", aor="sip:me@home.test", password="SECRET", proxy="10.0.0.9:5060")
        starting = asyncio.create_task(phone.start())
        register = await proxy.request("REGISTER")
        assert str(register.uri) == "sip:home.test"
        proxy.answer(register, 200, headers=(("Contact", str(register.contact)),))
        await starting
        for target, uri in (("4711", "sip:4711@home.test"), ("sip:her@elsewhere.test", "sip:her@elsewhere.test")):
            call = await phone.dial(target)
            invite = await proxy.request("INVITE")
            assert str(invite.uri) == uri
            # Both are the account's own server: a challenge is answered.
            challenge = f'Digest realm="home.test", nonce="{invite.call_id}", qop="auth"'
            proxy.answer(invite, 407, headers=(("Proxy-Authenticate", challenge),))
            invite = await proxy.request("INVITE")
            assert "Proxy-Authorization" in invite.headers
            proxy.answer(invite, 486)
            await call.wait_ended()
        closing = asyncio.create_task(phone.close())
        register = await proxy.request("REGISTER")
        assert register.headers.get_all("Contact")[0].endswith("expires=0")
        proxy.answer(register, 200)
        await closing
        assert not wrong.seen
        proxy.close()
        wrong.close()

    world.run_alone(story)


def test_a_connection_that_is_lost_during_a_call_does_not_end_it() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        heard: list[Any] = []

        @b.on_call
        async def handle(call: Any) -> None:
            await call.answer()
            heard.append(await call.wait_ended())

        async with a.call(target) as call:
            lose_connection(a, "10.0.0.2")
            await asyncio.sleep(1)
            assert call.end is None and not heard
        await asyncio.sleep(0.1)
        assert [end.by for end in heard] == ["remote"]

    World().run(story, transport="tcp")


def test_a_call_whose_ack_got_lost_with_its_connection_is_ended_over_a_new_one() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        ends: list[Any] = []

        @b.on_call
        async def handle(call: Any) -> None:
            try:
                await call.answer()
            finally:
                ends.append(call.end)

        def cut(message: WireMessage) -> None:
            if message.direction == "in" and message.data.startswith(b"SIP/2.0 200") and not cuts:
                cuts.append(message)
                lose_connection(a, "10.0.0.2")

        cuts: list[WireMessage] = []
        a.on_wire(cut)
        call = await a.call(target)
        end = await call.wait_ended()
        assert cuts and end.by == "remote" and (ends[0].by, ends[0].reason) == ("timeout", "No ACK")
        assert a.loop.time() == pytest.approx(32, abs=1)

    World().run(story, transport="tcp")


def test_an_incoming_call_whose_connection_is_lost_while_it_rings_is_over() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        ends: list[Any] = []

        @phone.on_call
        async def handle(call: Any) -> None:
            await call.ring()
            ends.append(await call.wait_ended())

        answers: list[bytes] = []
        connection = await peer.host.connect("10.0.0.1", 5060)
        connection.on_lost = lambda error: None
        connection.on_data = answers.append
        body = sdp()
        head = (
            "INVITE sip:x@10.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.9:5099;branch=z9hG4bKlost\r\nMax-Forwards: 70\r\n"
            "From: <sip:peer@10.0.0.9>;tag=t\r\nTo: <sip:x@10.0.0.1>\r\nCall-ID: lost\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <sip:peer@10.0.0.9:5099;transport=tcp>\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.write((head + body).encode())
        await asyncio.sleep(0.2)
        assert any(isinstance(parse_message(one), Response) for one in answers)
        connection.abort()
        await asyncio.sleep(0.2)
        assert [(end.by, end.status) for end in ends] == [("error", 503)]
        await settle(phone)

    World().run_with_peer(story)


def test_a_phone_whose_server_is_dead_by_tcp_closes_within_two_seconds() -> None:
    world = World()

    async def story() -> None:
        pbx = Pbx({"me": "SECRET"}, listen=("10.0.0.5:5060",), clock=world.clock, network=world.network.host("10.0.0.5"))
        async with pbx:
            phone = world.phone("10.0.0.1", aor="sip:me@10.0.0.5", password="SECRET", transport="tcp")
            await phone.start()
            await phone.dial("**9")
            world.network.link("10.0.0.1", "10.0.0.5", loss=1.0)
            started = phone.loop.time()
            await phone.close()
            assert asyncio.get_running_loop().time() - started <= 2.05
            world.network.link("10.0.0.1", "10.0.0.5", loss=0.0)
            await asyncio.sleep(40)

    world.run_alone(story)
