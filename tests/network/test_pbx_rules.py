"""The embedded PBX where it is hard: mixed transports, several phones a user, restarts, forgeries, loops, faults of observers."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from flexosip import Busy, CallFailed, Phone
from flexosip.sip.digest import NONCE_LIFETIME
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request
from flexosip.sip.parser import parse_message
from tests.network.stage import RawPeer, settle
from tests.network.test_pbx import USERS, House, answering, ringing

SERVER = "10.0.0.1"


def inside(phone: Phone, call: Any) -> dict[str, str]:
    """Call-ID and tags of a call, as somebody who has overheard them would write them into a request of the caller's."""
    dialog = call._session.usage.dialog
    return {"call_id": call.id, "from_tag": dialog.local_tag, "to_tag": dialog.remote_tag}


@pytest.mark.parametrize("ends", ["caller", "callee"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_ring_all_reaches_udp_and_tcp_phones_of_both_families_at_once(transport: str, ends: str) -> None:
    house = House()
    log: list[str] = []

    async def story() -> None:
        bell = house.phone("bell", transport=transport)
        kitchen, attic, second = house.phone("kitchen", transport="tcp"), house.phone("attic"), house.phone("attic", ipv6=True)
        ringing(attic, log, "attic")
        ringing(second, log, "second")

        @kitchen.on_call
        async def answer(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(1)
            await call.answer()
            if ends == "callee":
                await asyncio.sleep(1)
                await call.hangup()
            log.append(f"kitchen {(await call.wait_ended()).by}")

        async with bell, kitchen, attic, second:
            call = await bell.call("**9", ring_timeout=10)
            if ends == "caller":
                await asyncio.sleep(1)
                await call.hangup()
            end = await call.wait_ended()
            assert end.by == ("local" if ends == "caller" else "remote")
            await asyncio.sleep(0.5)
            await settle(bell, kitchen, attic, second)

    house.run(story)
    other = "remote" if ends == "caller" else "local"
    assert sorted(log) == ["attic elsewhere", "attic rings", f"kitchen {other}", "second elsewhere", "second rings"]


def test_all_phones_of_a_user_ring_and_the_first_wins() -> None:
    house = House()
    log: list[str] = []

    async def story() -> None:
        bell = house.phone("bell")
        upstairs, downstairs = house.phone("kitchen"), house.phone("kitchen", transport="tcp")
        ringing(upstairs, log, "upstairs")

        @downstairs.on_call
        async def answer(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(1)
            await call.answer()
            await call.wait_ended()

        async with bell, upstairs:
            async with downstairs:
                assert len(house.pbx.bindings("kitchen")) == 2
                async with bell.call("kitchen", ring_timeout=5):
                    await asyncio.sleep(0.5)
                assert log == ["upstairs rings", "upstairs elsewhere"]
            # One of them has left: the other alone is called.
            assert len(house.pbx.bindings("kitchen")) == 1
            result = await bell.ring("kitchen", duration=1)
            assert result.outcome == "rang_out" and log[2:] == ["upstairs rings", "upstairs 487"]

    house.run(story)


def test_a_phone_that_crashes_again_and_again_is_never_kept_out_by_what_it_left() -> None:
    """Each start brings a new Contact; the oldest make room."""
    house = House()

    async def story() -> None:
        host = house.network.host("10.0.0.50")
        for _ in range(14):
            phone = Phone(f"sip:kitchen@{SERVER}", password=USERS["kitchen"], listen=("10.0.0.50:5060",), network=host, clock=house.clock)
            await phone.start()
            contact = phone.accounts[0].contact_user
            host.plugged = False  # it crashes: nothing is taken back
            await phone.close()
            host.plugged = True
        bindings = house.pbx.bindings("kitchen")
        assert len(bindings) == 10 and bindings[0].uri.user == contact

    house.run(story)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_phones_survive_a_restart_of_the_pbx(transport: str) -> None:
    """By TCP at once, since the connection tells; by UDP with the next refresh. Calls out work at once by either."""
    house = House()
    log: list[str] = []

    async def story() -> None:
        bell = house.phone("bell", transport=transport, expires=60)
        kitchen = house.phone("kitchen", transport=transport, expires=60)
        answering(kitchen, log, "kitchen")
        async with bell, kitchen:
            async with bell.call("kitchen", ring_timeout=5):
                await asyncio.sleep(0.2)
            await house.pbx.close()
            await asyncio.sleep(1)
            await house.pbx.start()
            house.pbx.locations._bindings.clear()  # a restart of the process, which remembers nothing
            assert not house.pbx.bindings("kitchen")
            with pytest.raises(CallFailed) as caught:
                await bell.call("kitchen", ring_timeout=5)
            assert caught.value.status == 480  # and no refusal of its credentials
            await asyncio.sleep(15 if transport == "tcp" else 60)
            assert len(house.pbx.bindings("kitchen")) == len(house.pbx.bindings("bell")) == 1
            async with bell.call("kitchen", ring_timeout=5):
                await asyncio.sleep(0.2)

    house.run(story)
    assert log.count("kitchen answered") == 2


def test_a_nonce_that_has_grown_old_is_replaced_without_a_word_to_anybody() -> None:
    house = House()
    log: list[str] = []
    kinds: list[str] = []
    house.pbx.on_event(lambda event: kinds.append(event.kind))
    stale: list[bytes] = []
    house.pbx.on_wire(lambda message: stale.append(message.data) if b"stale=true" in message.data else None)

    async def story() -> None:
        bell, kitchen = house.phone("bell"), house.phone("kitchen")
        answering(kitchen, log, "kitchen")
        async with bell, kitchen:
            for _ in range(2):
                async with bell.call("kitchen", ring_timeout=5):
                    await asyncio.sleep(0.2)
                await asyncio.sleep(NONCE_LIFETIME + 10)
            assert len(stale) == 1 and stale[0].startswith(b"SIP/2.0 407")
            # No nonce comes twice.
            await asyncio.sleep(3600)

    house.run(story)
    assert log.count("kitchen answered") == 2 and "refused" not in kinds


@pytest.mark.parametrize("route", ["none", "forged", "address only"])
@pytest.mark.parametrize("method", ["BYE", "INFO", "INVITE", "ACK"])
def test_what_a_stranger_forges_within_a_call_goes_nowhere(method: str, route: str) -> None:
    """Call-ID and tags overheard are not enough: only ways that the PBX itself has signed lead to its phones."""
    house = House()

    async def story() -> None:
        bell, kitchen = house.phone("bell"), house.phone("kitchen")
        log: list[str] = []
        answering(kitchen, log, "kitchen")
        got: list[Request] = []

        def note(message: Any) -> None:
            parsed = parse_message(message.data)
            if message.direction == "in" and isinstance(parsed, Request):
                got.append(parsed)

        async with bell, kitchen:
            call = await bell.call("kitchen", ring_timeout=5)
            await asyncio.sleep(0.2)
            kitchen.on_wire(note)
            contact = kitchen.accounts[0].contact_user
            stranger = await RawPeer.open(house.network, "10.0.0.9")
            way = {"none": "", "forged": "udp-0a000003-5060-0123456789abcdef@", "address only": "udp-0a000003-5060@"}[route]
            headers = (("Route", f"<sip:{way}{SERVER}:5060;lr>"),) if route != "none" else ()
            address = kitchen.addresses[0].split(":")[1]
            stranger.ask(method, uri=f"sip:{contact}@{address}:5060", cseq=77, headers=headers, **inside(bell, call))
            if method != "ACK":
                await stranger.response(481, method)
            else:
                await asyncio.sleep(1)
                assert not stranger.seen
            assert not got and call.end is None
            # Nor does a request without To-tag, which would be a call, get in without a password.
            stranger.ask("INVITE", uri=f"sip:kitchen@{SERVER}", call_id="new")
            await stranger.response(407)
            stranger.ask("MESSAGE", "hello", uri=f"sip:kitchen@{SERVER}", call_id="text", content_type="text/plain")
            await stranger.response(407)
            assert not got
            stranger.close()
            await call.hangup()

    house.run(story)


@pytest.mark.parametrize(("hops", "status"), [("0", 483), ("1", 407), ("70", 407)])
def test_max_forwards_0_goes_no_further(hops: str, status: int) -> None:
    house = House()

    async def story() -> None:
        stranger = await RawPeer.open(house.network, "10.0.0.9")
        head = [
            f"OPTIONS sip:kitchen@{SERVER} SIP/2.0",
            "Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKhops;rport",
            f"Max-Forwards: {hops}",
            "From: <sip:bell@10.0.0.1>;tag=1",
            "To: <sip:kitchen@10.0.0.1>",
            "Call-ID: hops",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
        ]
        stranger.send(("\r\n".join(head) + "\r\n\r\n").encode())
        await stranger.response(status)
        # For the PBX itself it has come far enough.
        stranger.send(("\r\n".join([f"OPTIONS sip:{SERVER} SIP/2.0", *head[1:]]) + "\r\n\r\n").replace("hops;", "own;").encode())
        await stranger.response(200)
        stranger.close()

    house.run(story)


def test_each_hop_takes_one_off_max_forwards() -> None:
    house = House()
    hops: list[int | None] = []

    async def story() -> None:
        bell, kitchen = house.phone("bell"), house.phone("kitchen")

        @kitchen.on_call
        async def refuse(call: Any) -> None:
            hops.append(call._session.usage.request.max_forwards)
            await call.reject(486)

        async with bell, kitchen:
            with pytest.raises(Busy):
                await bell.call("kitchen")

    house.run(story)
    assert hops == [69]


def test_a_phone_that_sends_its_calls_back_makes_no_loop() -> None:
    """It hands each INVITE back to the PBX as a bad proxy would: merged, or without credentials, and never around again."""
    house = House()
    rounds: list[int] = []

    async def story() -> None:
        bell = house.phone("bell")
        mirror = house.phone("kitchen")

        async with bell, mirror:
            binding = house.pbx.bindings("kitchen")[0]

            def reflect(message: Any) -> None:
                if message.direction == "in" and message.data.startswith(b"INVITE"):
                    request = parse_message(message.data)
                    assert isinstance(request, Request)
                    rounds.append(request.max_forwards or 0)
                    again = Request("INVITE", bell.target_uri("kitchen", bell.accounts[0]), request.headers.copy(), request.body)
                    again.headers.remove("Route")
                    again.headers.prepend("Via", f"SIP/2.0/UDP {binding.uri.host}:5060;branch=z9hG4bKmirror{len(rounds)};rport")
                    mirror.signalling.driver.transmit(mirror.signalling.driver._datagrams.flow_to((SERVER, 5060)), bytes(again))

            mirror.on_wire(reflect)
            with pytest.raises(CallFailed):
                await bell.call("kitchen", ring_timeout=5)
            await asyncio.sleep(1)

    house.run(story)
    assert rounds == [69]


def test_a_binding_that_names_the_pbx_itself_makes_no_loop() -> None:
    house = House()

    async def story() -> None:
        # What it says of itself does not matter: it is called where it registered from.
        bell, kitchen = house.phone("bell"), house.phone("kitchen")
        got: list[bytes] = []
        async with bell, kitchen:
            account = kitchen.accounts[0]
            account.registration._contact = lambda flow: NameAddr.parse(f"<sip:kitchen@{SERVER}:5060>")  # type: ignore[union-attr]
            account.registration.refresh()  # type: ignore[union-attr]
            await asyncio.sleep(0.5)
            assert any(binding.uri.host == SERVER for binding in house.pbx.bindings("kitchen"))
            kitchen.on_wire(lambda message: got.append(message.data) if message.direction == "in" else None)
            with pytest.raises(CallFailed):
                await bell.call("kitchen", ring_timeout=5)
            assert sum(data.startswith(b"INVITE") for data in got) <= 2

    house.run(story)


def test_phones_that_know_the_pbx_by_name_call_each_other() -> None:
    """A telephone on a LAN is told `pbx.lan`, of which the PBX knows nothing."""
    house = House()
    house.network.name("pbx.lan", SERVER)
    house.network.name("other.lan", "10.0.0.99")
    log: list[str] = []

    async def story() -> None:
        def named(user: str, ip: str) -> Phone:
            host = house.network.host(ip)
            return Phone(f"sip:{user}@pbx.lan", password=USERS[user], listen=(f"{ip}:5060",), network=host, clock=house.clock)

        bell, kitchen = named("bell", "10.0.0.61"), named("kitchen", "10.0.0.62")
        answering(kitchen, log, "kitchen")
        async with bell, kitchen:
            for target in ("kitchen", "**9"):
                async with bell.call(target, ring_timeout=5):
                    await asyncio.sleep(0.2)
                await asyncio.sleep(0.2)
            # Somebody else's domain is none of ours, also for who has a password.
            elsewhere = Phone(
                f"sip:attic@{SERVER}",
                password=USERS["attic"],
                proxy=SERVER,
                listen=("10.0.0.63:5060",),
                network=house.network.host("10.0.0.63"),
                clock=house.clock,
            )
            async with elsewhere:
                with pytest.raises(CallFailed) as caught:
                    await elsewhere.call("sip:kitchen@other.lan")
                assert caught.value.status == 404

    house.run(story)
    assert log.count("kitchen answered") == 2


def test_an_observer_that_raises_costs_nobody_anything(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    log: list[str] = []

    def fault(event: Any) -> None:
        raise RuntimeError("mine")

    house.pbx.on_event(fault)
    house.pbx.on_wire(fault)

    async def story() -> None:
        bell, kitchen = house.phone("bell"), house.phone("kitchen")
        answering(kitchen, log, "kitchen")
        async with bell, kitchen:
            async with bell.call("kitchen", ring_timeout=5):
                await asyncio.sleep(0.2)
            await asyncio.sleep(0.2)
            assert house.pbx._proxy.active == 0

    with caplog.at_level(logging.CRITICAL):
        house.run(story)
    assert log == ["kitchen answered", "kitchen remote"]


def test_a_phone_whose_connection_is_lost_while_it_rings_leaves_the_call_to_the_others() -> None:
    house = House()
    log: list[str] = []

    async def story() -> None:
        bell, kitchen = house.phone("bell"), house.phone("kitchen", transport="tcp")
        ringing(kitchen, log, "kitchen")
        async with bell, kitchen:
            call = await bell.dial("kitchen")
            await call.wait_ringing(5)
            [connection] = kitchen.signalling.driver._streams._connections.values()
            connection._connection.abort()
            with pytest.raises(CallFailed):
                await call.wait_answered(5)
            await asyncio.sleep(0.2)
            assert log == ["kitchen rings", "kitchen 503"]
            await asyncio.sleep(5)
            # It is back by itself.
            await bell.ring("kitchen", duration=1)
            assert log[2:] == ["kitchen rings", "kitchen 487"]

    house.run(story)


def test_what_is_answered_when_the_caller_has_lost_his_connection_is_taken_back() -> None:
    """The caller's TCP connection dies while the other phone rings: nobody is left ringing."""
    house = House()
    log: list[str] = []

    async def story() -> None:
        bell, kitchen = house.phone("bell", transport="tcp"), house.phone("kitchen")
        ringing(kitchen, log, "kitchen")
        async with bell, kitchen:
            call = await bell.dial("kitchen")
            await call.wait_ringing(5)
            [connection] = bell.signalling.driver._streams._connections.values()
            connection._connection.abort()
            with pytest.raises(ConnectionError):
                await call.wait_answered(5)
            await asyncio.sleep(0.2)
            assert log == ["kitchen rings", "kitchen 487"]
            assert house.pbx._proxy.active == 0

    house.run(story)


def test_a_pbx_that_is_closed_leaves_no_phone_ringing() -> None:
    house = House()
    log: list[str] = []

    async def story() -> None:
        bell, kitchen, attic = house.phone("bell"), house.phone("kitchen", transport="tcp"), house.phone("attic")
        ringing(kitchen, log, "kitchen")
        ringing(attic, log, "attic")
        async with bell, kitchen, attic:
            call = await bell.dial("**9")
            await call.wait_ringing(5)
            await asyncio.sleep(0.2)
            await house.pbx.close()
            with pytest.raises(CallFailed) as caught:
                await call.wait_answered(1)
            assert caught.value.status == 503
            await asyncio.sleep(0.2)
            assert sorted(log) == ["attic 487", "attic rings", "kitchen 487", "kitchen rings"]

    house.run(story)
