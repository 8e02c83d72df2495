"""What strangers try with a phone, each by its name in the catalogue of attacks: floods, reflection, scanning, fraud, loops, hijacking."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from flexosip import Callers, Limits, Phone, Tone
from flexosip.sip.message import Response
from tests import corpus
from tests.network.stage import RawPeer, World, left_of, sdp, settle

MINE = "sip:me@10.0.0.77"


def answering(phone: Phone) -> list[Any]:
    """Let the phone answer every call; the calls."""
    calls: list[Any] = []

    @phone.on_call
    async def handle(call: Any) -> None:
        calls.append(call)
        await call.answer()
        await call.wait_ended()

    return calls


def lines_of(message: Any) -> set[str]:
    """Names of the headers of a message."""
    return {name for name, _ in message.headers}


# -- D1 -------------------------------------------------------------------------------------------------------------------


def test_a_flood_from_one_address_is_cut_to_the_rate_and_running_calls_lose_nothing() -> None:
    """D1: 2,000 INVITEs a second; the rate is let in, as many get 503, the rest is not even read; sound goes on without a gap."""

    async def story(caller: Phone, callee: Phone, target: str) -> None:
        calls = answering(callee)
        async with caller.call(target) as call:
            await asyncio.sleep(1)
            flooder = await RawPeer.open(world.network, "10.0.0.66")
            playing = call.play(Tone(440), loop=True)
            calls[0].play(Tone(800), loop=True)
            await asyncio.sleep(0.2)
            start = [(side.statistics().packets_sent, side.statistics().packets_received) for side in (call, calls[0])]
            for step in range(3000):
                for number in range(2):
                    flooder.send(invite(f"f-{step}-{number}", "10.0.0.66"), ("10.0.0.2", 5060))
                await asyncio.sleep(0.001)
            end = [(side.statistics().packets_sent, side.statistics().packets_received) for side in (call, calls[0])]
            for (sent, received), (sent_then, received_then) in zip(end, start, strict=True):
                assert abs(sent - sent_then - 150) <= 2 and abs(received - received_then - 150) <= 2
            assert calls[0].statistics().lost == 0 and call.statistics().lost == 0
            counted = callee.statistics().admission
            assert 80 <= counted.admitted <= 110
            assert counted.over_limit < 200 and counted.unread > 5500
            assert 40 <= flooder.count(503) <= 110
            refusal = next(message for message in flooder.seen if isinstance(message, Response) and message.status == 503)
            assert refusal.headers.get("Retry-After")
            playing.stop()
            flooder.close()
        await settle(callee)
        assert callee.core.stack.statistics().server_transactions == 0

    world = World()
    world.run(story)


def test_a_flood_from_many_addresses_is_cut_too_and_who_is_known_gets_through() -> None:
    """D1: forged sources each below the rate; all together they have one; a caller who was here before is not among them."""

    async def story(caller: Phone, callee: Phone, target: str) -> None:
        answering(callee)
        async with caller.call(target):
            pass
        host = world.network.host("10.0.0.66", *(f"10.1.{net}.{number}" for net in range(4) for number in range(1, 251)))
        sockets = [await host.open_datagram(address, 5060, lambda *_: None) for address in host.addresses if address != "10.0.0.66"]
        for turn in range(5):
            for number, socket in enumerate(sockets):
                socket.send(invite(f"{turn}-{number}", socket.address[0]), ("10.0.0.2", 5060))
            await asyncio.sleep(0.1)
            async with caller.call(target):
                pass
        counted = callee.statistics().admission
        assert counted.admitted < 600 and counted.unread > 3000
        for socket in sockets:
            socket.close()
        await settle(caller, callee)

    world = World()
    world.run(story, callee={"limits": Limits(sources=500)})


def invite(call_id: str, host: str) -> bytes:
    """An INVITE of a host without machines."""
    body = sdp(host=host)
    return (
        f"INVITE sip:x@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bK{call_id};rport\r\nMax-Forwards: 70\r\n"
        f"From: <sip:a@{host}>;tag=1\r\nTo: <sip:x@10.0.0.2>\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{host}>\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def test_dropping_a_datagram_of_a_source_above_its_rate_costs_next_to_nothing() -> None:
    """D1: shedding is dearer than reading nowhere: a dropped datagram costs a tenth of one that is looked at, or less."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        signalling = phone.signalling
        flow = signalling.driver._datagrams.flow_to(("10.0.0.9", 5060))
        data = [invite(str(number), "10.0.0.9") for number in range(400)]

        def cost() -> float:
            begin = time.perf_counter()
            for item in data:
                signalling._receive_datagram(item, flow)
            return (time.perf_counter() - begin) / len(data)

        first = cost()
        before = phone.statistics().admission.unread
        dropped = min(cost() for _ in range(5))
        assert phone.statistics().admission.unread - before == 5 * len(data)
        assert dropped < first / 4
        assert dropped < 20e-6

    World().run_with_peer(story)


def test_silence_is_an_option_for_what_is_too_much() -> None:
    """D1: nobody who floods gets a word above the rate."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        for number in range(300):
            peer.ask("OPTIONS", call_id=f"o-{number}")
        await asyncio.sleep(0.05)
        assert peer.count(503) == 0 and peer.count(200) == 40
        assert phone.statistics().admission.over_limit == 1

    World().run_with_peer(story, limits=Limits(excess="silence"))


def test_repeating_an_invite_over_tcp_without_end_is_cut_to_the_rate() -> None:
    """D1, CVE-2020-28327: ever new INVITEs on one connection."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        answering(phone)
        connection = await peer.host.connect("10.0.0.1", 5060)
        received: list[bytes] = []
        connection.on_data = received.append
        for number in range(2000):
            connection.write(invite(f"t-{number}", "10.0.0.9").replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
        await asyncio.sleep(1)
        counted = phone.statistics().admission
        assert counted.admitted == 40 and counted.unread > 1800 and len(phone.calls) == 40
        assert b"".join(received).count(b"SIP/2.0 503") == 40
        connection.abort()
        await settle(phone)

    World().run_with_peer(story)


def test_dialogs_are_bounded_and_ending_calls_makes_room() -> None:
    """D1: more calls than the phone may hold are answered 503."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        answering(phone)
        ok = [await peer.call(call_id=f"c-{number}") for number in range(3)]
        peer.ask("INVITE", sdp(), call_id="one-more")
        await peer.response(503, "INVITE")
        peer.within(ok[0], "BYE")
        await peer.response(200, "BYE")
        ok.append(await peer.call(call_id="another"))
        for answer in ok[1:]:
            peer.within(answer, "BYE")
        await settle(phone)

    World().run_with_peer(story, limits=Limits(dialogs=3))


# -- D2 -------------------------------------------------------------------------------------------------------------------


class Wire:
    """Octets that a peer sent and got."""

    def __init__(self, peer: RawPeer) -> None:
        self.out = self.back = 0
        peer.endpoint.close()
        self.peer = peer

    async def open(self, ip: str) -> None:
        self.endpoint = await self.peer.host.open_datagram(ip, 5060, self._got)

    def _got(self, data: bytes, *_: Any) -> None:
        self.back += len(data)

    def send(self, data: bytes) -> None:
        self.out += len(data)
        self.endpoint.send(data, ("10.0.0.1", 5060))


REQUESTS = [entry for entry in corpus.entries("sip") if entry.data[:8] != b"SIP/2.0 "]


@pytest.mark.skipif(not REQUESTS, reason="the corpus ../shared/corpus is absent")
@pytest.mark.parametrize("account", [False, True])
def test_nothing_in_the_corpus_makes_a_phone_send_more_than_came(account: bool) -> None:
    """D2, B7: every request of the corpus from an address that was never heard of; with an account not a single octet comes back."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        wire = Wire(peer)
        await wire.open("10.0.0.9")
        worst = 0.0
        assert len(REQUESTS) > 300
        for entry in REQUESTS:
            before_out, before_back = wire.out, wire.back
            phone.signalling.driver._datagrams._sockets[0].flows.clear()
            wire.send(entry.data)
            await asyncio.sleep(40)
            worst = max(worst, (wire.back - before_back) / (wire.out - before_out))
        assert worst <= 1.0
        assert (wire.back == 0) is account
        wire.endpoint.close()

    settings: dict[str, Any] = {"aor": MINE, "password": "SECRET", "register": False} if account else {}
    World().run_with_peer(story, **settings)


def test_repeating_requests_from_a_forged_address_never_sends_more_than_came() -> None:
    """D2: small OPTIONS, unknown methods and INVITEs that nobody wants, 20 a second for a minute, none ever acknowledged."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        wire = Wire(peer)
        await wire.open("10.0.0.9")
        for number in range(1200):
            method = ("OPTIONS", "INVITE", "FOO", "REGISTER", "BYE")[number % 5]
            wire.send(
                f"{method} sip:a@10.0.0.1 SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK{number};rport\r\nf: <sip:a@h>;tag=1\r\n"
                f"t: <sip:a@h>\r\ni: {number}\r\nCSeq: 1 {method}\r\nMax-Forwards: 9\r\nl: 0\r\n\r\n".encode()
            )
            await asyncio.sleep(0.05)
        await asyncio.sleep(64)
        assert wire.back <= wire.out
        assert phone.statistics().admission.withheld > 0
        wire.endpoint.close()

    World().run_with_peer(story)


def test_an_answering_phone_lends_a_forged_address_a_few_answers_and_no_more() -> None:
    """D2: 2xx are repeated, or calls over bad lines would be lost; what that may cost is bounded for an address and for all."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        answering(phone)
        wire = Wire(peer)
        await wire.open("10.0.0.9")
        for number in range(50):
            wire.send(invite(f"l-{number}", "10.0.0.9"))
            await asyncio.sleep(0.1)
        await asyncio.sleep(80)
        assert wire.back <= wire.out + Limits().source_loan
        wire.endpoint.close()
        await settle(phone)

    World().run_with_peer(story)


def test_the_contact_of_a_forged_call_is_not_told_bye() -> None:
    """D2: nobody acknowledged the 200; the Contact names somebody who has nothing to do with it."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        answering(phone)
        victim = await RawPeer.open(world.network, "10.0.0.50")
        peer.send(invite("forged", "10.0.0.9").replace(b"<sip:a@10.0.0.9>\r\nContent-T", b"<sip:a@10.0.0.50>\r\nContent-T"))
        await asyncio.sleep(120)
        assert peer.count(200) and not victim.seen
        assert left_of(phone) == {}
        victim.close()

    world = World()
    world.run_with_peer(story)


@pytest.mark.parametrize("victim", ["10.0.0.9", "10.0.0.66"])
def test_states_that_a_forged_address_subscribes_to_are_lent_and_no_more(victim: str) -> None:
    """D2: SUBSCRIBEs without end in the name of somebody who never answers a NOTIFY: in the source address, or in the Contact only."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        phone.notifier("presence").update(b"x" * 400, "text/plain")
        other = await RawPeer.open(world.network, "10.0.0.66")
        peer.remote = ("10.0.0.1", 5060)
        came = 0
        for number in range(60):
            headers = (("Event", "presence"), ("Contact", f"<sip:victim@{victim}>"))
            came += len(peer.ask("SUBSCRIBE", call_id=f"s-{number}", from_tag=f"t{number}", headers=headers))
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        sent = [message for one in (peer, other) for message in one.seen if not isinstance(message, Response)]
        assert sent and sum(len(bytes(message)) for message in sent) <= came + Limits().source_loan
        other.close()

    world = World()
    world.run_with_peer(story)


def test_answers_do_not_go_where_a_via_of_a_stranger_points_more_than_came() -> None:
    """D2: maddr of the Via names a third host."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        answering(phone)
        victim = await RawPeer.open(world.network, "10.0.0.50")
        wire = Wire(victim)
        await wire.open("10.0.0.50")
        data = invite("maddr", "10.0.0.9").replace(b";rport", b";maddr=10.0.0.50")
        peer.send(data)
        await asyncio.sleep(120)
        assert wire.back <= len(data) + Limits().source_loan
        wire.endpoint.close()
        await settle(phone)

    world = World()
    world.run_with_peer(story)


def test_a_call_that_is_acknowledged_has_cost_hardly_more_than_it_brought() -> None:
    """D2: our own INVITE is about as short as they get, and our 200 has its length; from the ACK on everything is sent in full."""

    async def story(caller: Phone, callee: Phone, target: str) -> None:
        sizes = {"in": 0, "out": 0}
        proven: list[bool] = []

        @callee.on_wire
        def count(message: Any) -> None:
            if message.data.startswith(b"ACK"):
                proven.append(True)
            if not proven:
                sizes[message.direction] += len(message.data)

        answering(callee)
        async with caller.call(target):
            await asyncio.sleep(1)
        assert proven and sizes["out"] <= 1.1 * sizes["in"]

    World().run(story)


def test_a_flow_that_proved_itself_gets_everything() -> None:
    """D2: after one call the same address gets whole answers to OPTIONS; a stranger gets the bare 200."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        answering(phone)
        peer.ask("OPTIONS", call_id="o1")
        bare = await peer.response(200, "OPTIONS")
        assert not lines_of(bare) & {"Allow", "Supported", "Accept"}
        ok = await peer.call()
        peer.within(ok, "BYE")
        await peer.response(200, "BYE")
        peer.ask("OPTIONS", call_id="o2")
        full = await peer.response(200, "OPTIONS")
        assert {"Allow", "Accept"} <= lines_of(full)
        await settle(phone)

    World().run_with_peer(story)


# -- D3, D4 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["100", "admin", "me", "flexosip"])
@pytest.mark.parametrize("method", ["OPTIONS", "REGISTER", "INVITE", "MESSAGE", "SUBSCRIBE", "FOO", "CANCEL", "BYE"])
def test_a_scanner_learns_nothing_from_a_phone_with_an_account(method: str, user: str) -> None:
    """D3: known or unknown user, whatever the method: silence."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        answering(phone)
        agent = (("User-Agent", "friendly-scanner"),)
        peer.ask(method, uri=f"sip:{user}@10.0.0.1", headers=agent)
        peer.ask(method, uri=f"sip:{user}@10.0.0.1", headers=agent, to_tag="guess", call_id="second")
        await asyncio.sleep(40)
        assert not peer.seen and left_of(phone) == {}

    World().run_with_peer(story, aor=MINE, register=False)


def test_a_phone_without_account_answers_every_user_the_same_way_at_the_same_time() -> None:
    """D3: no user can be told from another, by code, by headers or by time."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        answers = set()
        for number, user in enumerate(("flexosip", "100", "nobody", "admin")):
            asked = asyncio.get_running_loop().time()
            peer.ask("INVITE", sdp(), uri=f"sip:{user}@10.0.0.1", call_id=f"u{number}")
            response = await peer.response(480, "INVITE")
            answers.add((response.reason, frozenset(lines_of(response)), round(asyncio.get_running_loop().time() - asked, 6)))
        assert len(answers) == 1
        assert not any("Server" in headers or "User-Agent" in headers for _, headers, _ in answers)

    World().run_with_peer(story)


@pytest.mark.parametrize("accept_from", ["auto", "registrar", ("registrar", "192.168.0.0/16")])
def test_a_call_from_nowhere_never_rings(accept_from: Any) -> None:
    """D4: an INVITE straight to the port; the random user of our Contact is the only way in for who is not the server."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        for number, uri in enumerate(("sip:me@10.0.0.1", "sip:10.0.0.1", "sip:me@10.0.0.77", f"sip:{'0' * 24}@10.0.0.1", "tel:+49301234")):
            peer.ask("INVITE", sdp(), uri=uri, call_id=f"g{number}", branch=f"z9hG4bKg{number}")
        await asyncio.sleep(40)
        assert not calls and not peer.seen and not phone.calls
        ok = await peer.call(uri=f"sip:{phone.accounts[0].contact_user}@10.0.0.1", call_id="server")
        assert len(calls) == 1
        peer.within(ok, "BYE")
        await settle(phone)

    World().run_with_peer(story, aor=MINE, register=False, accept_from=accept_from)


def test_a_neighbour_of_the_server_behind_the_same_address_is_no_server() -> None:
    """D4: same address, another port."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        call = await phone.dial("4711")
        peer.answer(await peer.request("INVITE"), 486)
        await call.wait_ended()
        await peer.request("ACK")
        seen = len(peer.seen)
        neighbour = await peer.host.open_datagram("10.0.0.9", 5999, lambda data, *_: heard.append(data))
        heard: list[bytes] = []
        neighbour.send(invite("n", "10.0.0.9").replace(b"10.0.0.9;branch", b"10.0.0.9:5999;branch"), ("10.0.0.1", 5060))
        await asyncio.sleep(5)
        assert not calls and not heard and len(peer.seen) == seen
        ok = await peer.call(uri="sip:whatever@10.0.0.1", call_id="from-the-server")
        assert len(calls) == 1
        peer.within(ok, "BYE")
        await settle(phone)
        neighbour.close()

    World().run_with_peer(story, aor="sip:me@10.0.0.9", register=False)


def test_host_names_are_looked_up_again_and_only_their_addresses_get_in() -> None:
    """D4: `accept_from` with a name whose address changes; and one that nobody knows lets nobody in."""

    async def story() -> None:
        world.network.name("door.example", "10.0.0.50")
        phone = world.phone("10.0.0.1", accept_from=("door.example", "nobody.example"))
        async with phone:
            answering(phone)
            peer = await RawPeer.open(world.network, "10.0.0.9")
            peer.ask("OPTIONS", call_id="1")
            await asyncio.sleep(1)
            assert not peer.seen
            world.network.name("door.example", "10.0.0.9")
            await asyncio.sleep(301)
            peer.ask("OPTIONS", call_id="2")
            await peer.response(200, "OPTIONS")
            peer.close()

    world = World()
    world.run_alone(story)


def test_callers_that_are_denied_get_403_and_nothing_rings() -> None:
    """D4: the deny-list, among those that may call at all."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        peer.ask("INVITE", sdp())
        await peer.response(403, "INVITE")
        assert not calls and phone.statistics().admission.denied == 1

    World().run_with_peer(story, callers=Callers(deny=("pe?r@10.0.0.*",)))
