"""What strangers and faithless servers try: loops, dialogs of others, slow connections, challenges for others, odd leases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flexosip import AuthenticationError, Busy, CallFailed, Limits, Phone, RegistrationFailed
from flexosip.sip.flow import Flow
from flexosip.sip.message import Request
from tests.network.stage import PEER, RawPeer, World, sdp, settle

AOR = f"sip:me@{PEER}"


def answering(phone: Phone) -> list[Any]:
    calls: list[Any] = []

    @phone.on_call
    async def handle(call: Any) -> None:
        calls.append(call)
        await call.answer()
        await call.wait_ended()

    return calls


# -- D5 -------------------------------------------------------------------------------------------------------------------


def test_the_same_request_by_two_ways_is_482_and_max_forwards_0_is_answered() -> None:
    """D5: a proxy that forks in a circle brings one INVITE twice; nobody rings twice."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        peer.ask("INVITE", sdp(), call_id="loop", branch="z9hG4bKone")
        peer.ask("INVITE", sdp(), call_id="loop", branch="z9hG4bKtwo")
        peer.acknowledge(await peer.response(200, "INVITE"))
        await peer.response(482, "INVITE")
        assert len(calls) == 1
        await calls[0].hangup()

    World().run_with_peer(story, limits=Limits(bound_answers=False))


def test_a_phone_that_calls_itself_ends() -> None:
    """D5: Route and Via lead back to us."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        async with phone.call("sip:flexosip@10.0.0.1"):
            assert len(calls) == 1
        await settle(phone)

    World().run_with_peer(story)


def test_a_redirection_to_itself_without_end_is_left_after_five_and_no_target_comes_twice() -> None:
    """D5: 302 to ever new addresses, and to the one before."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("sip:0@10.0.0.9")
        asked: list[str] = []
        while True:
            try:
                invite = await peer.request("INVITE", timeout=40)
            except AssertionError:
                break
            asked.append(str(invite.uri))
            contacts = (("Contact", f"<{invite.uri}>"), ("Contact", f"<sip:{len(asked)}@10.0.0.9>"))
            peer.answer(invite, 302, headers=contacts, tag=f"t{len(asked)}")
        with pytest.raises(CallFailed):
            await call.wait_answered(1)
        assert len(asked) == len(set(asked)) <= 6
        await settle(phone)

    World().run_with_peer(story)


@pytest.mark.parametrize("what", ["nonce", "realm", "stale", "algorithm"])
def test_challenges_without_end_are_answered_a_few_times_and_then_it_is_an_error(what: str) -> None:
    """D5, AST-2020-002: each request is challenged anew."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("4711")
        for number in range(100):
            try:
                invite = await peer.request("INVITE", timeout=35)
            except AssertionError:
                break
            nonce = number if what != "algorithm" else 0
            realm = f"r{number}" if what == "realm" else PEER
            extra = ", stale=true" if what == "stale" else f", algorithm={('MD5', 'SHA-256')[number % 2]}" if what == "algorithm" else ""
            peer.answer(invite, 401, headers=(("WWW-Authenticate", f'Digest realm="{realm}", nonce="{nonce}", qop="auth"{extra}'),))
        with pytest.raises(AuthenticationError):
            await call.wait_answered(1)
        assert number <= (7 if what == "realm" else 3)
        await settle(phone)

    World().run_with_peer(story, aor=AOR, password="SECRET", register=False)


# -- D7 -------------------------------------------------------------------------------------------------------------------


def test_tags_are_64_random_bits_and_none_comes_twice() -> None:
    """D7."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        tags = [phone.core.stack.new_tag() for _ in range(2000)]
        assert len(set(tags)) == 2000 and all(len(tag) == 16 and int(tag, 16) >= 0 for tag in tags)
        assert all(len({tag[position] for tag in tags}) == 16 for position in range(16))
        call = await phone.dial("sip:a@10.0.0.9")
        assert len((await peer.request("INVITE")).from_.tag or "") >= 16
        await call.hangup()

    World().run_with_peer(story)


@pytest.mark.parametrize("method", ["BYE", "INVITE", "REFER", "INFO", "UPDATE", "NOTIFY", "MESSAGE", "PRACK"])
@pytest.mark.parametrize("wrong", ["ours", "theirs", "call"])
def test_who_does_not_know_all_three_parts_of_a_dialog_gets_481_and_changes_nothing(method: str, wrong: str) -> None:
    """D7: guessed tags, from the same address and from another."""
    world = World()

    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        ok = await peer.call()
        stranger = await RawPeer.open(world.network, "10.0.0.66")
        for asker in (peer, stranger):
            asker.ask(
                method,
                sdp(version=2) if method == "INVITE" else "",
                to_tag="0" * 16 if wrong == "ours" else ok.to.tag,
                from_tag="guess" if wrong == "theirs" else "peer",
                call_id="other" if wrong == "call" else ok.call_id,
                cseq=900,
                headers=(("Refer-To", "<sip:fraud@10.0.0.66>"), ("Event", "refer"), ("RAck", "1 1 INVITE"), ("Subject", "x" * 200)),
            )
            await asker.response(481, method)
        assert calls[0].end is None and not calls[0].held
        stranger.close()
        peer.within(ok, "BYE", cseq=901)
        await settle(phone)

    world.run_with_peer(story)


@pytest.mark.parametrize(
    ("established", "came", "may"),
    [
        ("udp", ("udp", "10.0.0.9", 5060), True),
        ("udp", ("udp", "10.0.0.66", 999), True),
        ("tcp", ("tcp", "10.0.0.66", 999), True),
        ("tls", ("tls", "10.0.0.9", 5061), True),
        ("tls", ("tls", "10.0.0.9", 40000), True),
        ("tls", ("wss", "10.0.0.9", 40000), True),
        ("tls", ("tls", "10.0.0.66", 5061), False),
        ("tls", ("tcp", "10.0.0.9", 5060), False),
        ("tls", ("udp", "10.0.0.9", 5060), False),
        ("wss", ("ws", "10.0.0.9", 5060), False),
    ],
)
@pytest.mark.parametrize("server", [False, True])
def test_within_a_dialog_over_tls_only_the_way_it_was_made_by_counts(
    established: str, came: tuple[str, str, int], may: bool, server: bool
) -> None:
    """D7: over our connection to our server only that server's connections; nobody behind the same NAT, nothing in clear."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        first = Flow(established, ("10.0.0.1", 5061), (PEER, 5061))
        other = Flow(came[0], ("10.0.0.1", 5061), came[1:])
        if server:
            phone.accounts[0].note_server(first)
        same_way = phone.core.same_way
        assert same_way is not None and same_way(first, first)
        expected = may and not (server and established == "tls")
        assert same_way(first, other) is expected
        if server and established == "tls" and other.transport in ("tls", "wss"):
            # A second connection of ours to the server.
            phone.accounts[0].note_server(other)
            assert same_way(first, other)

    World().run_with_peer(story, aor=AOR, register=False)


@pytest.mark.parametrize("method", ["BYE", "INVITE", "REFER", "INFO"])
def test_a_request_in_clear_with_the_right_tags_gets_481_in_a_dialog_over_tls(method: str) -> None:
    """D7."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        ok = await peer.call()
        usage = calls[0]._session.usage
        usage.flow = Flow("tls", ("10.0.0.1", 5061), (PEER, 5061))
        peer.within(ok, method, sdp(version=2) if method == "INVITE" else "", headers=(("Refer-To", "<sip:x@10.0.0.66>"),))
        await peer.response(481, method)
        assert calls[0].end is None and not calls[0].held

    World().run_with_peer(story)


def test_an_ack_from_elsewhere_with_the_right_tags_proves_nothing_in_a_dialog_over_tls() -> None:
    """D7: the 200 goes on being repeated until the ACK comes by the call's own way."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        peer.ask("INVITE", sdp())
        ok = await peer.response(200, "INVITE")
        usage = calls[0]._session.usage
        ours = usage.flow
        usage.flow = Flow("tls", ("10.0.0.1", 5061), (PEER, 5061))
        peer.acknowledge(ok)
        repeated = peer.count(200)
        await asyncio.sleep(3)
        assert peer.count(200) > repeated
        usage.flow = ours
        peer.acknowledge(ok)
        await asyncio.sleep(0.1)
        repeated = peer.count(200)
        await asyncio.sleep(8)
        assert peer.count(200) == repeated and calls[0].end is None

    World().run_with_peer(story)


def test_a_subscription_over_tls_is_neither_renewed_nor_ended_from_elsewhere() -> None:
    """D7: NOTIFY to what we follow, SUBSCRIBE to what we tell."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        phone.notifier("weather").update(b"sun", "text/plain")
        peer.ask("SUBSCRIBE", call_id="s1", headers=(("Event", "weather"), ("Expires", "600"), ("Contact", f"<sip:peer@{PEER}>")))
        ok = await peer.response(200, "SUBSCRIBE")
        peer.answer(await peer.request("NOTIFY"), 200)
        (usage,) = phone.core.dialogs.values()
        usage._flow = Flow("tls", ("10.0.0.1", 5061), (PEER, 5061))  # type: ignore[attr-defined]
        peer.within(ok, "SUBSCRIBE", cseq=50, headers=(("Event", "weather"), ("Expires", "0")))
        await peer.response(481, "SUBSCRIBE")
        assert list(phone.core.dialogs.values()) == [usage]
        usage.drop()

        lamp = phone.subscribe(f"sip:peer@{PEER}", "weather", accept="text/plain")
        entering = asyncio.create_task(lamp.__aenter__())
        request = await peer.request("SUBSCRIBE")
        state = (("Event", "weather"), ("Subscription-State", "active;expires=600"), ("Contact", f"<sip:peer@{PEER}>"))
        peer.answer(request, 200, headers=(("Expires", "600"), ("Contact", f"<sip:peer@{PEER}>")))
        await asyncio.sleep(0.1)
        leg = next(iter(phone.core.dialogs.values()))
        leg.flow = Flow("tls", ("10.0.0.1", 5061), (PEER, 5061))  # type: ignore[attr-defined]
        peer.within(request, "NOTIFY", headers=state)
        await peer.response(481, "NOTIFY")
        assert lamp.latest is None and not entering.done()
        entering.cancel()
        await asyncio.wait((entering,))
        leg.drop()

    World().run_with_peer(story)


def test_what_is_told_of_a_refer_after_its_call_comes_the_way_of_that_call() -> None:
    """D7: the subscription of a REFER outlives a call over TLS; a NOTIFY in clear ends no transfer."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        ok = await peer.call()
        await asyncio.sleep(0.1)
        transfer = asyncio.create_task(calls[0].transfer("sip:c@10.0.0.9"))
        peer.answer(await peer.request("REFER"), 202)
        peer.within(ok, "BYE")
        await peer.response(200, "BYE")
        calls[0]._session.usage.flow = Flow("tls", ("10.0.0.1", 5061), (PEER, 5061))
        headers = (("Event", "refer"), ("Subscription-State", "terminated;reason=noresource"))
        peer.within(ok, "NOTIFY", "SIP/2.0 603 Declined\r\n", cseq=101, headers=headers, content_type="message/sipfrag")
        await peer.response(481)
        assert (await transfer).status == 202

    World().run_with_peer(story)


def test_a_call_of_a_stranger_whose_183_was_lent_can_still_be_refused() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def refuse(call: Any) -> None:
            await call.progress()
            await asyncio.sleep(1)
            await call.reject(486)

        started = a.loop.time()
        with pytest.raises(Busy):
            await a.call(target, ring_timeout=5)
        assert a.loop.time() - started < 2 and b.statistics().admission.withheld <= 1

    World().run(story)


def test_out_of_thin_air_comes_nothing() -> None:
    """D7: NOTIFY, UPDATE and INFO of no dialog, MESSAGE and SUBSCRIBE of strangers."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        for number, method in enumerate(("NOTIFY", "UPDATE", "INFO", "PRACK", "BYE", "REFER", "MESSAGE", "SUBSCRIBE", "PUBLISH")):
            peer.ask(
                method, "hello", content_type="text/plain", call_id=f"n{number}", headers=(("Event", "refer"), ("Refer-To", "<sip:x@y>"))
            )
        await asyncio.sleep(40)
        assert not peer.seen and not phone.calls

    World().run_with_peer(story, aor="sip:me@10.0.0.77", register=False)


# -- D9 -------------------------------------------------------------------------------------------------------------------


def test_slow_connections_by_the_hundred_keep_nobody_out() -> None:
    """D9, AST-2016-005: half a header each, an octet every ten seconds, from one source and from many."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        hosts = [world.network.host(f"10.2.0.{number}") for number in range(1, 30)]
        connections = [await host.connect("10.0.0.1", 5060) for host in hosts for _ in range(14)]
        for _ in range(6):
            for connection in connections:
                connection.write(b"I")
            await asyncio.sleep(10)
            assert phone.statistics().network.connections <= 40
        async with world.phone("10.0.0.5") as friend, friend.call("sip:me@10.0.0.1;transport=tcp"):
            assert len(calls) == 1
        for connection in connections:
            connection.abort()
        await settle(phone)

    world = World()
    world.run_with_peer(story, limits=Limits(connections=40, source_connections=10, first_message=30, message=10))


# -- D11 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("realm", [PEER, "other"])
def test_credentials_answer_the_configured_realm_alone(realm: str) -> None:
    """D11: the server itself asks for another realm."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await phone.dial("4711")
        peer.answer(await peer.request("INVITE"), 401, headers=(("WWW-Authenticate", f'Digest realm="{realm}", nonce="n", qop="auth"'),))
        if realm == PEER:
            peer.answer(await peer.request("INVITE"), 486)
            await call.wait_ended()
        else:
            with pytest.raises(AuthenticationError):
                await call.wait_answered(5)
        sent = [message for message in peer.seen if isinstance(message, Request) and "Authorization" in message.headers]
        assert any(message.method == "INVITE" for message in sent) is (realm == PEER)
        await settle(phone)

    World().run_with_peer(story, aor=AOR, password="SECRET", realm=PEER, register=False)


def test_of_several_challenges_the_strongest_is_answered_with_a_fresh_cnonce_of_128_bits() -> None:
    """D11: in whatever order they come; MD5 without a name, and algorithms that nobody knows."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        seen = set()
        for number, order in enumerate(((0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1))):
            offers = (', algorithm="SHA-256"', "", ", algorithm=SHA-512-256", ", algorithm=SHA-1024")
            call = await phone.dial("4711")
            invite = await peer.request("INVITE")
            if number == 0:
                values = [f'Digest realm="{PEER}", nonce="n{number}", qop="auth"{offers[index]}' for index in order]
                peer.answer(invite, 401, headers=tuple(("WWW-Authenticate", value) for value in values))
                invite = await peer.request("INVITE")
            used = invite.headers.get("Authorization") or ""
            assert "algorithm=SHA-512-256" in used
            cnonce = used.partition('cnonce="')[2].partition('"')[0]
            assert len(cnonce) == 32
            seen.add(cnonce)
            peer.answer(invite, 486)
            await call.wait_ended()
        assert len(seen) == 3
        await settle(phone)

    World().run_with_peer(story, aor=AOR, password="SECRET", register=False)


# -- D13 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expires", "within", "least", "most"),
    [("1", 60, 10, 31), ("10", 60, 6, 13), ("60", 600, 12, 25), ("1000000000", 86400, 0, 2), ("99999999999999999999", 86400, 20, 32)],
)
def test_odd_leases_neither_hammer_the_registrar_nor_are_believed_for_ever(expires: str, within: float, least: int, most: int) -> None:
    """D13: a lease shorter than a minute is kept alive, but never by more than one REGISTER in two seconds."""
    count = _registers(expires, within, own=True)
    assert least <= count - 1 <= most


@pytest.mark.parametrize(("expires", "own"), [("0", True), ("0", False)])
def test_a_200_without_a_living_binding_of_ours_is_no_registration(expires: str, own: bool) -> None:
    """D13: Expires 0, and bindings of others that end."""
    with pytest.raises(RegistrationFailed):
        _registers(expires, 60, own=own)


def _registers(expires: str, seconds: float, *, own: bool) -> int:
    """How many REGISTERs a registrar gets that grants `expires`."""
    world = World()

    async def story() -> int:
        registrar = await RawPeer.open(world.network, PEER)
        phone = world.phone("10.0.0.1", aor=AOR)

        async def serve() -> None:
            while True:
                register = await registrar.request("REGISTER", timeout=1e9)
                contact = str(register.contact.uri) if register.contact is not None and own else "sip:other@10.0.0.50"
                registrar.answer(register, 200, headers=(("Contact", f"<{contact}>;expires={expires}"),))

        serving = asyncio.create_task(serve())
        try:
            async with phone:
                await asyncio.sleep(seconds)
                return registrar.count("REGISTER")
        finally:
            serving.cancel()
            registrar.close()

    result: int = world.run_alone(story)
    return result


def test_423_with_ever_longer_times_makes_no_loop() -> None:
    """D13: the registrar raises its shortest time with each try."""
    world = World()

    async def story() -> None:
        registrar = await RawPeer.open(world.network, PEER)
        phone = world.phone("10.0.0.1", aor=AOR)

        async def serve() -> None:
            number = 4000
            while True:
                register = await registrar.request("REGISTER", timeout=1e9)
                number += 1000
                registrar.answer(register, 423, headers=(("Min-Expires", str(number)),))

        serving = asyncio.create_task(serve())
        with pytest.raises(RegistrationFailed):
            await phone.start()
        assert registrar.count("REGISTER") <= 5
        serving.cancel()
        registrar.close()

    world.run_alone(story)
