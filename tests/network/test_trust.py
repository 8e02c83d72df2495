"""Who gets what: credentials for the configured server alone, silence for strangers, an end to floods."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import AuthenticationError, Limits, Phone
from flexosip.pbx import Pbx
from flexosip.sip.digest import DigestServer, Verified
from flexosip.sip.message import Request
from tests.network.stage import PEER, RawPeer, World, left_of, sdp, settle

SERVER = "10.0.0.8"
MINE = f"sip:me@{SERVER}"
CHALLENGES = [
    (401, "WWW-Authenticate", 'Digest realm="10.0.0.8", nonce="n1", qop="auth", algorithm=SHA-256'),
    (407, "Proxy-Authenticate", 'Digest realm="10.0.0.8", nonce="n1", qop="auth"'),
    (401, "WWW-Authenticate", 'Digest realm="10.0.0.8", nonce="n1"'),
]


def no_credentials(*peers: RawPeer) -> None:
    """None of these ever got any."""
    for peer in peers:
        assert peer.seen
        for message in peer.seen:
            assert not {"Authorization", "Proxy-Authorization"} & {name for name, _ in message.headers}, message.start_line


@pytest.mark.parametrize(("status", "header", "challenge"), CHALLENGES)
def test_who_is_called_directly_challenges_in_vain(status: int, header: str, challenge: str) -> None:
    """Neither INVITE nor anything within the call, though the realm is that of our own server."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        extra = ((header, challenge),)
        call = await phone.dial("sip:peer@10.0.0.9")
        peer.answer(await peer.request("INVITE"), status, headers=extra)
        with pytest.raises(AuthenticationError):
            await call.wait_answered(5)

        call = await phone.dial("sip:peer@10.0.0.9")
        peer.answer(await peer.request("INVITE"), 200, sdp())
        await call.wait_answered(5)
        digits = asyncio.create_task(call.send_digits("1", via="info"))
        peer.answer(await peer.request("INFO"), status, headers=extra)
        with pytest.raises(AuthenticationError):
            await digits
        hold = asyncio.create_task(call.hold())
        peer.answer(await peer.request("INVITE"), status, headers=extra)
        with pytest.raises(AuthenticationError):
            await hold
        await call.hangup()
        peer.answer(await peer.request("BYE"), status, headers=extra)
        await settle(phone)
        no_credentials(peer)
        assert peer.count("BYE") == 1 and peer.count("INFO") == 1 and peer.count("INVITE") == 3

    World().run_with_peer(story, aor=MINE, password="SECRET", register=False)


@pytest.mark.parametrize(
    ("contact", "address"), [(f"sip:peer@{SERVER};maddr=10.0.0.66", ("10.0.0.66", 5060)), (f"sip:peer@{SERVER}:7777", (SERVER, 7777))]
)
def test_nobody_becomes_our_server_by_its_name_in_a_contact(contact: str, address: tuple[str, int]) -> None:
    """The other side of a call names our server, and a way elsewhere: our BYE goes there, but what comes from there stays a stranger's."""
    world = World()

    async def story() -> None:
        server = await RawPeer.open(world.network, SERVER)
        host = server.host if address[0] == SERVER else world.network.host(address[0])
        stranger = await RawPeer.open(host, address[0], port=address[1])
        async with world.phone("10.0.0.1", aor=MINE, password="SECRET", register=False) as phone:
            call = await phone.dial("4711")
            server.answer(await server.request("INVITE"), 200, sdp(host=SERVER), headers=(("Contact", f"<{contact}>"),))
            await call.wait_answered(5)
            await stranger.request("ACK")
            await call.hangup()
            stranger.answer(await stranger.request("BYE"), 200)
            stranger.ask("INVITE", sdp(), uri="sip:me@10.0.0.1")
            await stranger.expect_nothing()
            assert phone.accounts[0].server_addresses == {SERVER}
            await settle(phone)
        server.close()
        stranger.close()

    world.run_alone(story)


def test_whoever_the_server_connects_us_with_gets_no_credentials_by_asking_himself() -> None:
    """The server takes itself out of the call; the other side, reached directly from then on, challenges the BYE."""
    world = World()

    async def story() -> None:
        server, peer = await RawPeer.open(world.network, SERVER), await RawPeer.open(world.network, PEER)
        async with world.phone("10.0.0.1", aor=MINE, password="SECRET", register=False) as phone:
            call = await phone.dial("4711")
            invite = await server.request("INVITE")
            server.answer(invite, 407, headers=(CHALLENGES[1][1:],))
            invite = await server.request("INVITE")
            assert "Proxy-Authorization" in invite.headers
            ok = invite.create_response(200, to_tag="peer", body=sdp().encode(), content_type="application/sdp")
            ok.headers.add("Contact", f"<sip:peer@{PEER}:5060>")
            server.send(bytes(ok))
            await call.wait_answered(5)
            await peer.request("ACK")
            await call.hangup()
            bye = await peer.request("BYE")
            peer.answer(bye, 407, headers=(CHALLENGES[1][1:],))
            await settle(phone)
            no_credentials(peer)
        server.close()
        peer.close()

    world.run_alone(story)


@pytest.mark.parametrize(("status", "header", "challenge"), CHALLENGES)
@pytest.mark.parametrize("from_server", [True, False])
def test_in_a_call_that_came_in_the_server_alone_is_answered(status: int, header: str, challenge: str, from_server: bool) -> None:
    """A server may challenge what the called side sends, too: digest works with any method, whoever began the call."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        answered = asyncio.Event()

        @phone.on_call
        async def handle(call: Any) -> None:
            await call.answer()
            answered.set()

        await asyncio.sleep(0.1)
        uri = f"sip:{phone.accounts[0].contact_user}@10.0.0.1:5060"
        if from_server:
            # Calling out makes the server known, as registering would.
            call = await phone.dial("4711")
            peer.answer(await peer.request("INVITE"), 486)
            await call.wait_ended()
        await peer.call(uri=uri)
        await answered.wait()
        bye = await peer.request("BYE")
        peer.answer(bye, status, headers=((header, challenge),))
        if from_server:
            again = await peer.request("BYE")
            name = "Proxy-Authorization" if status == 407 else "Authorization"
            assert 'username="me"' in (again.headers.get(name) or "")
            assert again.cseq.number == bye.cseq.number + 1
            peer.answer(again, 200)
        await settle(phone)
        if not from_server:
            no_credentials(peer)
            assert peer.count("BYE") == 1

    aor = f"sip:me@{PEER}" if from_server else MINE
    World().run_with_peer(story, aor=aor, password="SECRET", register=False)


@pytest.mark.parametrize("realm", ["evil", PEER])
def test_a_registered_phone_answers_only_its_registrars_realm_within_a_call_that_came_in(realm: str) -> None:
    """Who calls us through the server could pass a challenge of his own through it, once we hang up."""

    async def story(_: Phone, peer: RawPeer) -> None:
        phone = world.phone("10.0.0.3", aor=f"sip:me@{PEER}", password="SECRET")
        ways: list[tuple[str, int]] = [("10.0.0.3", 5060)]

        @phone.on_call
        async def handle(call: Any) -> None:
            await call.answer()

        def reply(request: Any, status: int, *headers: tuple[str, str]) -> None:
            peer.send(bytes(request.create_response(status, to_tag="s", headers=headers)), ways[0])

        starting = asyncio.create_task(phone.start())
        reply(await peer.request("REGISTER"), 401, ("WWW-Authenticate", f'Digest realm="{PEER}", nonce="1", qop="auth"'))
        register = await peer.request("REGISTER")
        reply(register, 200, ("Contact", str(register.contact)))
        await starting
        send = peer.send
        peer.send = lambda data, remote=ways[0]: send(data, remote)  # type: ignore[method-assign,misc]
        await peer.call(uri=str(register.contact.uri))  # type: ignore[union-attr]
        bye = await peer.request("BYE")
        reply(bye, 407, ("Proxy-Authenticate", f'Digest realm="{realm}", nonce="2", qop="auth"'))
        await asyncio.sleep(1)
        byes = [message for message in peer.seen if isinstance(message, Request) and message.method == "BYE"]
        assert any("Proxy-Authorization" in message.headers for message in byes) is (realm == PEER)
        if realm == PEER:
            reply(byes[-1], 200)
        await phone.close()

    world = World()
    world.run_with_peer(story)


@pytest.mark.parametrize("algorithms", [("SHA-512-256",), ("SHA-512-256", "SHA-256", "MD5"), ("MD5",)])
def test_a_phone_registers_and_calls_by_each_algorithm(algorithms: tuple[str, ...]) -> None:
    world = World()

    async def story() -> None:
        host = world.network.host(SERVER)
        seen: list[bytes] = []
        pbx = Pbx({"me": "SECRET", "you": "SECRET-2"}, listen=(f"{SERVER}:5060",), algorithms=algorithms, clock=world.clock, network=host)
        pbx.on_wire(lambda message: seen.append(message.data))
        you = world.phone("10.0.0.2", aor=f"sip:you@{SERVER}", password="SECRET-2")

        @you.on_call
        async def handle(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        async with pbx, you, world.phone("10.0.0.1", aor=MINE, password="SECRET") as phone, phone.call("you"):
            pass
        # The strongest that is offered is used, and no other.
        used = [line for data in seen for line in data.split(b"\r\n") if line.lower().startswith((b"authorization:", b"proxy-auth"))]
        replies = [line for line in used if b"response=" in line]
        assert replies and all(b"algorithm=" + algorithms[0].encode() in line for line in replies)
        assert not any(b"SECRET" in data for data in seen)

    world.run_alone(story)


def test_a_flood_of_calls_from_strangers_leaves_a_phone_with_an_account_as_it_was() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def handle(call: Any) -> None:
            raise AssertionError("a stranger got through")

        for number in range(2000):
            peer.ask("INVITE", sdp(), uri=f"sip:{number}@10.0.0.1:5060", call_id=f"flood-{number}")
        await asyncio.sleep(1)
        assert not peer.seen and left_of(phone) == {}
        counted = phone.statistics().admission
        # After the burst hardly any is even read.
        assert 40 <= counted.silent < 80 and counted.unread > 1900

    World().run_with_peer(story, aor=MINE, password="SECRET", register=False)


def test_a_flood_of_calls_to_a_phone_without_account_is_bounded_and_calls_go_on() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def handle(call: Any) -> None:
            await call.ring()
            await call.wait_ended()

        limit = phone.core.stack.max_pending
        for number in range(200):
            peer.ask("INVITE", sdp(), call_id=f"flood-{number}")
        await asyncio.sleep(1)
        assert len(phone.calls) == limit and peer.count(503) == 200 - limit
        refusal = next(message for message in peer.seen if message.start_line.startswith("SIP/2.0 503"))
        assert refusal.headers.get("Retry-After")
        await asyncio.gather(*(call.reject(486) for call in phone.calls))
        await asyncio.sleep(1)
        peer.ask("INVITE", sdp(), call_id="after")
        await peer.response(180)
        for call in phone.calls:
            await call.hangup()

    World().run_with_peer(story, limits=Limits(source_rate=None, total_rate=None, pending=50))


def test_credentials_of_auth_int_are_refused_by_our_registrar() -> None:
    """It never offers auth-int; who sends it all the same gets a challenge, also with the right password."""
    from random import Random

    from flexosip.sansio import Scheduler
    from flexosip.sip.digest import digest_response, parse_challenges
    from flexosip.sip.parser import parse_message

    server = DigestServer("r", {"me": "SECRET"}.get, scheduler=Scheduler(0.0), random=Random(1), algorithms=("SHA-256",))
    [offered] = server.challenge()
    assert "auth-int" not in offered
    raw = (
        b"REGISTER sip:r SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\r\nFrom: <sip:me@r>;tag=1\r\nTo: <sip:me@r>\r\n"
        b"Call-ID: x\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
    )
    for qop, good in (("auth-int", False), ("auth", True)):
        request: Any = parse_message(raw)
        response = request.create_response(401, headers=[("WWW-Authenticate", server.challenge()[0])])
        [challenge] = parse_challenges(response)
        answer = digest_response(
            "SHA-256", "me", "r", "SECRET", "REGISTER", "sip:r", challenge.nonce, qop=qop, nc="00000001", cnonce="c", body=b""
        )
        value = (
            f'Digest username="me", realm="r", nonce="{challenge.nonce}", uri="sip:r", response="{answer}", algorithm=SHA-256, '
            f'cnonce="c", qop={qop}, nc=00000001'
        )
        request.headers.add("Authorization", value)
        assert isinstance(server.verify(request), Verified) is good
