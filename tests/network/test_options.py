"""OPTIONS of ours: once, and again and again (qualify), in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import FrozenInstanceError

import pytest

from flexosip import AuthenticationError, ConfigurationError, InvalidState, NetworkError, OptionsFailed, Phone, ServerUnreachable
from flexosip.pbx import Pbx
from flexosip.phone.dialling.options_query import PeerState
from tests.network.stage import RawPeer, World

PBX = "10.0.0.100"
PEER_URI = "sip:peer@10.0.0.9"


def test_it_tells_what_the_other_side_can_do_and_how_long_it_took() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        result = await a.options(target)
        assert (result.status, result.reason, result.available) == (200, "OK", True)
        assert result.round_trip == pytest.approx(0.08, abs=0.001)
        assert {"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS"} <= set(result.allow)
        assert {"100rel", "timer", "replaces"} <= set(result.supported)
        assert result.accept == ("application/sdp",) and result.accept_language == ("en",)
        assert [contact.uri.host for contact in result.contact] == ["10.0.0.2"]
        with pytest.raises(FrozenInstanceError):
            result.status = 1  # type: ignore[misc]

    World(delay=0.04).run(story, callee={"user_agent": "door/1"})


def test_one_that_is_busy_is_there_but_not_available() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        for setting, status in ((486, 486), (True, 480)):
            b.do_not_disturb = setting
            result = await a.options(target)
            assert (result.status, result.available) == (status, False)
            assert "INVITE" in result.allow

    World().run(story)


def test_the_request_is_that_of_a_phone() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        asking = asyncio.create_task(phone.options(PEER_URI, headers={"X-Own": "1"}))
        request = await peer.request("OPTIONS")
        assert str(request.uri) == PEER_URI and request.body == b""
        assert request.headers.get_all("Accept") == ["application/sdp"]
        assert request.headers.get("Max-Forwards") == "70" and request.headers.get("X-Own") == "1"
        assert "10.0.0.1" in (request.headers.get("Contact") or "")
        sdp = b"v=0\r\n"
        extra = (("Server", "box/2"), ("Allow", "INVITE, ACK"), ("Allow", "BYE"), ("Contact", "<sip:x@10.0.0.9>, <sip:y@10.0.0.9>"))
        peer.send(bytes(request.create_response(200, headers=extra, body=sdp, content_type="application/sdp")))
        result = await asking
        assert (result.server, result.allow, result.body) == ("box/2", ("INVITE", "ACK", "BYE"), sdp)
        assert [str(contact.uri) for contact in result.contact] == ["sip:x@10.0.0.9", "sip:y@10.0.0.9"]

    World().run_with_peer(story)


@pytest.mark.parametrize(("status", "kind"), [(404, OptionsFailed), (405, OptionsFailed), (302, OptionsFailed), (401, AuthenticationError)])
def test_other_answers_are_errors_that_tell_the_status(status: int, kind: type[Exception]) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        asking = asyncio.create_task(phone.options(PEER_URI))
        peer.send(bytes((await peer.request("OPTIONS")).create_response(status)))
        with pytest.raises(kind) as failure:
            await asking
        assert failure.value.status == status  # type: ignore[attr-defined]

    World().run_with_peer(story)


def test_silence_is_told_in_time_and_nothing_is_repeated_after_it() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        started = phone.loop.time()
        with pytest.raises(ServerUnreachable, match="2 seconds"):
            await phone.options(PEER_URI, timeout=2)
        assert phone.loop.time() - started == pytest.approx(2)
        await asyncio.sleep(0.1)
        sent = peer.count("OPTIONS")
        await asyncio.sleep(29.9)
        assert sent > 1 and peer.count("OPTIONS") == sent
        with pytest.raises(ServerUnreachable):
            await phone.options(PEER_URI, timeout=None)
        assert phone.loop.time() - started == pytest.approx(64)

    World().run_with_peer(story)


@pytest.mark.parametrize("settings", [{"timeout": 0}, {"timeout": float("nan")}, {"headers": {"X": "a\r\nb"}}, {"account": "nobody"}])
def test_settings_that_mean_nothing_are_told(settings: dict[str, object]) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        with pytest.raises(ConfigurationError):
            await a.options(target, **settings)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            await a.options("no-host")

    World().run(story)


def test_a_phone_that_closes_ends_the_question() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        asking = asyncio.create_task(phone.options(PEER_URI, timeout=None))
        await peer.request("OPTIONS")
        loop = phone.loop
        started = loop.time()
        await phone.close()
        with pytest.raises(InvalidState):
            await asking
        assert loop.time() - started <= 2

    World().run_with_peer(story)


def test_with_an_account_it_answers_the_servers_challenge_and_goes_to_the_phone_behind_it() -> None:
    world = World()

    async def story() -> None:
        host = world.network.host(PBX)
        async with Pbx({"a": "sa", "b": "sb"}, listen=(f"{PBX}:5060",), clock=world.clock, network=host):
            a = world.phone("10.0.0.1", aor=f"sip:a@{PBX}", password="sa")
            b = world.phone("10.0.0.2", aor=f"sip:b@{PBX}", password="sb")
            async with a, b:
                result = await a.options("b")
                assert result.available and "INVITE" in result.allow
                await b.unregister()
                with pytest.raises(OptionsFailed) as failure:
                    await a.options("b")
                assert failure.value.status in (404, 480)

    world.run_alone(story)


# -- qualify --------------------------------------------------------------------------------------------------------


def test_a_peer_is_watched_and_changes_are_told() -> None:
    world = World(delay=0.02)

    async def story() -> None:
        states: list[PeerState] = []
        async with world.phone("10.0.0.1") as a:
            b = world.phone("10.0.0.2")
            await b.start()
            async with a.qualify("sip:b@10.0.0.2", every=20) as peer:
                assert peer.reachable and peer.round_trip == pytest.approx(0.04, abs=0.001)

                async def read() -> None:
                    async for state in peer:
                        states.append(state)

                reading = asyncio.create_task(read())
                await asyncio.sleep(100)
                assert [state.reachable for state in states] == [True]
                await b.close()
                await asyncio.sleep(25)
                assert [state.reachable for state in states] == [True, False]
                assert isinstance(states[1].error, NetworkError) and states[1].round_trip is None and not peer.reachable
                await b.start()
                await asyncio.sleep(14)
                assert [state.reachable for state in states] == [True, False, True]
                await b.close()
            await reading

    world.run_alone(story)


def test_any_answer_is_a_sign_of_life_but_that_of_a_proxy_for_who_did_not_answer_is_none() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        async with asyncio.timeout(60):
            watch = phone.qualify(PEER_URI, every=5)
            watch.start()
            for status, reachable in ((404, True), (503, False), (486, True), (408, False), (405, True), (480, False)):
                peer.send(bytes((await peer.request("OPTIONS")).create_response(status)))
                state = await anext(watch)
                assert (state.reachable, state.status) == (reachable, status)
            await watch.close()
            await watch.close()
            with pytest.raises(StopAsyncIteration):
                await anext(watch)
        asked = peer.count("OPTIONS")
        await asyncio.sleep(30)
        assert peer.count("OPTIONS") == asked

    World().run_with_peer(story)


def test_one_that_is_silent_is_asked_again_sooner_but_never_twice_at_once() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        async with phone.qualify(PEER_URI, every=60, timeout=3) as watch:
            assert not watch.reachable
            await asyncio.sleep(58)
            assert len({request.call_id for request in peer.seen if getattr(request, "method", "") == "OPTIONS"}) == 7
            assert watch.latest is not None and isinstance(watch.latest.error, ServerUnreachable)

    World().run_with_peer(story)


def test_it_ends_with_the_phone() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        watch = phone.qualify(PEER_URI, every=1)
        watch.start()
        peer.send(bytes((await peer.request("OPTIONS")).create_response(200)))
        assert (await anext(watch)).reachable
        await peer.request("OPTIONS")
        loop = phone.loop
        started = loop.time()
        closing = asyncio.create_task(phone.close())
        with pytest.raises(StopAsyncIteration):
            await anext(watch)
        await closing
        assert loop.time() - started < 0.5
        with pytest.raises(InvalidState):
            phone.qualify(PEER_URI).start()

    World().run_with_peer(story)


@pytest.mark.parametrize("settings", [{"every": 0.5}, {"every": float("inf")}, {"timeout": 0}])
def test_a_watch_never_asks_too_often(settings: dict[str, float]) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        with pytest.raises(ConfigurationError):
            a.qualify(target, **settings)
        with pytest.raises(ConfigurationError):
            async with a.qualify("no-host"):
                pass

    World().run(story)
