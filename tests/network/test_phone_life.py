"""A phone from start to close: closing in every state within two seconds, faults of handlers, who is called how, and what it refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from flexosip import (
    AuthenticationError,
    CallEnded,
    CallFailed,
    ConfigurationError,
    InvalidState,
    NoAnswer,
    Phone,
    Tone,
)
from flexosip.pbx import Pbx
from tests.network.stage import RawPeer, World, left_of, sdp, settle

TARGET = "sip:peer@10.0.0.9"


async def closed_in_time(phone: Phone) -> float:
    """Close; how long it took."""
    started = phone.loop.time()
    await phone.close()
    assert not phone.running and not phone.calls
    return asyncio.get_running_loop().time() - started


async def new(phone: Phone, peer: RawPeer) -> Any:
    return phone.call(TARGET)


async def calling(phone: Phone, peer: RawPeer) -> Any:
    call = await phone.dial(TARGET)
    await peer.request("INVITE")
    return call


async def ringing(phone: Phone, peer: RawPeer) -> Any:
    call = await phone.dial(TARGET)
    peer.answer(await peer.request("INVITE"), 180)
    await call.wait_ringing(5)
    return call


async def early_media(phone: Phone, peer: RawPeer) -> Any:
    call = await phone.dial(TARGET)
    peer.answer(await peer.request("INVITE"), 183, sdp())
    await asyncio.sleep(0.1)
    return call


async def answered(phone: Phone, peer: RawPeer) -> Any:
    call = await phone.dial(TARGET)
    peer.answer(await peer.request("INVITE"), 200, sdp())
    await call.wait_answered(5)
    return call


async def playing(phone: Phone, peer: RawPeer) -> Any:
    call = await answered(phone, peer)
    call.play(Tone(440))
    call.record("/dev/null", side="in")
    return call


async def holding(phone: Phone, peer: RawPeer) -> Any:
    call = await answered(phone, peer)
    task = asyncio.create_task(call.hold())
    task.add_done_callback(lambda task: task.exception())
    await peer.request("INVITE")
    return call


async def hung_up(phone: Phone, peer: RawPeer) -> Any:
    call = await answered(phone, peer)
    await call.hangup()
    return call


async def incoming_new(phone: Phone, peer: RawPeer) -> Any:
    return await incoming(phone, peer, None)


async def incoming_ringing(phone: Phone, peer: RawPeer) -> Any:
    return await incoming(phone, peer, "ring")


async def incoming_early(phone: Phone, peer: RawPeer) -> Any:
    return await incoming(phone, peer, "progress")


async def incoming_without_ack(phone: Phone, peer: RawPeer) -> Any:
    return await incoming(phone, peer, "answer")


async def incoming(phone: Phone, peer: RawPeer, verb: str | None) -> Any:
    calls: list[Any] = []

    @phone.on_call
    async def handle(call: Any) -> None:
        calls.append(call)
        if verb is not None:
            await getattr(call, verb)()
        await call.wait_ended()

    peer.ask("INVITE", sdp())
    await asyncio.sleep(0.2)
    return calls[0]


STATES = [
    new, calling, ringing, early_media, answered, playing, holding, hung_up, incoming_new, incoming_ringing, incoming_early,
    incoming_without_ack,
]  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_a_phone_closes_within_two_seconds_whatever_its_calls_do_and_nobody_answers(state: Callable[..., Any]) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        call = await state(phone, peer)
        assert await closed_in_time(phone) <= 2.05
        assert call.end is None if state is new else call.end is not None
        with pytest.raises((InvalidState, CallEnded)):
            call.play(Tone(440))

    World().run_with_peer(story)


def test_closing_says_bye_cancel_and_a_refusal() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        ends: list[Any] = []

        @b.on_call
        async def handle(call: Any) -> None:
            if len(b.calls) == 1:
                await call.answer()
            else:
                await call.ring()
            ends.append(await call.wait_ended())

        answered_call = await a.call(target)
        ringing_call = await a.dial(target)
        await ringing_call.wait_ringing(5)
        assert await closed_in_time(a) < 0.5
        assert sorted((end.by, end.status) for end in ends) == [("remote", 200), ("remote", 487)]
        assert answered_call.end is not None and ringing_call.end is not None
        assert left_of(b).keys() <= {"server transactions"}

    World().run(story)


def test_closing_while_our_200_waits_for_its_ack_still_says_bye() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        @phone.on_call
        async def handle(call: Any) -> None:
            await call.answer()

        peer.ask("INVITE", sdp())
        ok = await peer.response(200, "INVITE")
        closing = asyncio.create_task(closed_in_time(phone))
        await asyncio.sleep(0.5)
        peer.acknowledge(ok)
        peer.answer(await peer.request("BYE", 1), 200)
        assert await closing < 1

    World().run_with_peer(story)


def test_a_dead_registrar_does_not_keep_a_phone_from_closing() -> None:
    world = World()

    async def story() -> None:
        pbx = Pbx(users={"me": "SECRET"}, listen=("10.0.0.5:5060",), clock=world.clock, network=world.network.host("10.0.0.5"))
        async with pbx:
            phone = world.phone("10.0.0.1", aor="sip:me@10.0.0.5", password="SECRET")
            await phone.start()
            world.network.link("10.0.0.1", "10.0.0.5", loss=1.0)
            assert 1.4 < await closed_in_time(phone) <= 2.05

    world.run_alone(story)


def test_a_handler_may_close_the_phone_itself() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        after: list[str] = []

        @b.on_call
        async def handle(call: Any) -> None:
            await call.answer()
            await b.close()
            after.append("closed")

        async with a.call(target) as call:
            await call.wait_ended()
        await asyncio.sleep(1)
        assert after == ["closed"] and not b.running
        await b.start()

    World().run(story)


def test_two_who_close_at_once_both_wait_until_it_is_done() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        await a.dial("sip:nobody@10.0.0.200")

        async def close() -> None:
            await a.close()
            assert not a.running

        await asyncio.gather(close(), close())

    World().run(story)


@pytest.mark.parametrize("when", ["at once", "after ringing", "after the answer"])
@pytest.mark.parametrize("fault", [RuntimeError("mine"), ValueError("theirs"), ConfigurationError("wrong"), asyncio.CancelledError()])
def test_a_fault_of_a_handler_ends_its_own_call_only(when: str, fault: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        number = 0

        @b.on_call
        async def handle(call: Any) -> None:
            nonlocal number
            number += 1
            if number == 1:
                await call.answer()
                await call.wait_ended()
                return
            if when == "after ringing":
                await call.ring()
            elif when == "after the answer":
                await call.answer()
            raise fault

        async with a.call(target) as good:
            if when == "after the answer":
                async with a.call(target) as bad:
                    assert (await bad.wait_ended()).by == "remote"
            else:
                with pytest.raises(CallFailed) as caught:
                    await a.call(target)
                assert caught.value.status == (480 if isinstance(fault, asyncio.CancelledError) else 500)
            await good.play(Tone(440, duration=0.1))
            assert good.end is None

    with caplog.at_level(logging.CRITICAL):
        World().run(story)


def test_a_handler_that_returns_without_a_word_leaves_the_caller_with_a_refusal() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def handle(call: Any) -> None:
            return

        with pytest.raises(CallFailed) as caught:
            await a.call(target)
        assert caught.value.status == 480

    World().run(story)


def test_faults_of_observers_hurt_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def handle(call: Any) -> None:
            await call.answer()
            await call.wait_ended()

        def fail(*_: Any) -> None:
            raise RuntimeError("an observer's fault")

        for phone in (a, b):
            phone.on_wire(fail)
            phone.on_call_event(fail)
        async with a.call(target) as call:
            await call.play(Tone(440, duration=0.1))

    with caplog.at_level(logging.CRITICAL):
        World().run(story)


def test_events_of_a_call_come_in_order_also_for_a_late_reader() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def handle(call: Any) -> None:
            await call.ring()
            await call.progress()
            await call.answer()
            await call.send_digits("5")
            await call.wait_ended()

        async with a.call(target) as call:
            await call.play(Tone(440, duration=0.1))
            await asyncio.sleep(0.5)
        events = [event async for event in call.events()]
        names = [type(event).__name__ for event in events]
        assert names[0] == "Ringing" and names[-1] == "Ended"
        assert names.index("EarlyMedia") < names.index("Answered") < names.index("PlaybackStarted") < names.index("PlaybackFinished")
        assert names.count("DigitPressed") == 1
        assert [event.at for event in events] == sorted(event.at for event in events)
        assert events[-1].end is call.end

    World().run(story)


@pytest.mark.parametrize(
    ("behaviour", "outcome", "status"),
    [
        ("answer", "answered", 200),
        ("busy", "declined", 486),
        ("decline", "declined", 603),
        ("ring", "rang_out", 487),
        ("leave", "rang_out", 480),
    ],
)
def test_a_ring_tells_what_became_of_it(behaviour: str, outcome: str, status: int) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        ended: list[Any] = []

        @b.on_call
        async def handle(call: Any) -> None:
            await call.ring()
            await asyncio.sleep(1)
            if behaviour == "answer":
                await call.answer()
            elif behaviour in ("busy", "decline"):
                await call.reject(486 if behaviour == "busy" else 603)
            if behaviour != "leave":
                ended.append(await call.wait_ended())

        result = await a.ring(target, duration=3)
        assert (result.outcome, result.status) == (outcome, status)
        assert result.seconds == pytest.approx(3 if behaviour == "ring" else 1, abs=0.2)
        await asyncio.sleep(0.5)
        assert behaviour == "leave" or ended

    World().run(story)


def test_a_ring_that_reaches_nobody_is_an_error_and_no_ringing_out() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        with pytest.raises(CallFailed):
            await a.ring(target)
        with pytest.raises(ConnectionError):
            await a.ring("sip:x@10.0.0.200", duration=40)
        with pytest.raises(ConnectionError):
            await a.ring("sip:x@no-such-host.test")

    World().run(story)


def test_a_caller_is_sent_elsewhere() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def handle(call: Any) -> None:
            await call.redirect("sip:other@10.0.0.77;transport=tcp")

        with pytest.raises(CallFailed) as caught:
            await a.call(target)
        assert caught.value.status == 302
        assert caught.value.headers.get("Contact") == "<sip:other@10.0.0.77;transport=tcp>"

    World().run(story, follow_redirects=False)


@pytest.mark.parametrize(("transport", "ipv6"), [("udp", True), ("tcp", False), ("tcp", True)])
def test_calls_over_other_transports_and_families_carry_sound_and_keys(transport: str, ipv6: bool) -> None:
    world = World()

    async def story() -> None:
        hosts = ("fd00::1", "fd00::2") if ipv6 else ("10.0.0.1", "10.0.0.2")
        a, b = (world.phone(host, transport=transport) for host in hosts)
        pressed: list[str] = []

        @b.on_call
        async def handle(call: Any) -> None:
            await call.answer()
            pressed.append(await call.wait_digit(5))
            await call.hold()
            await call.resume()
            await call.wait_ended()

        async with a, b:
            async with a.call(f"sip:b@[{hosts[1]}]" if ipv6 else f"sip:b@{hosts[1]}") as call:
                await call.send_digits("7")
                await call.play(Tone(440, duration=1))
                assert call.statistics().packets_received > 20
            await asyncio.sleep(0.2)
            assert pressed == ["7"]
            await settle(a, b)

    world.run_alone(story)


def test_several_accounts_at_one_phone_call_and_are_called_each_as_itself() -> None:
    world = World()

    async def story() -> None:
        users = {"one": "SECRET-1", "two": "SECRET-2", "other": "SECRET-3"}
        pbx = Pbx(users=users, listen=("10.0.0.5:5060",), clock=world.clock, network=world.network.host("10.0.0.5"))
        async with pbx:
            phone = world.phone("10.0.0.1", aor="sip:one@10.0.0.5", password="SECRET-1")
            phone.add_account("sip:two@10.0.0.5", password="SECRET-2", display_name="Number Two")
            other = world.phone("10.0.0.2", aor="sip:other@10.0.0.5", password="SECRET-3")
            seen: list[Any] = []
            called: list[Any] = []

            @other.on_call
            async def handle(call: Any) -> None:
                seen.append((call.remote.uri.user, call.remote.display_name))
                await call.reject(486)

            @phone.on_call
            async def called_as(call: Any) -> None:
                called.append(call.account.aor.user)
                await call.reject(603)

            async with phone, other:
                for account in (None, "two", "sip:two@10.0.0.5", phone.accounts[0]):
                    with pytest.raises(CallFailed):
                        await phone.call("other", account=account)
                assert seen == [("one", ""), ("two", "Number Two"), ("two", "Number Two"), ("one", "")]
                for user in ("one", "two"):
                    with pytest.raises(CallFailed):
                        await other.call(user)
                assert called == ["one", "two"]
                with pytest.raises(ConfigurationError):
                    phone.call("other", account="three")
                with pytest.raises(ConfigurationError):
                    phone.add_account("sip:two@10.0.0.5")

    world.run_alone(story)


def test_all_who_wait_for_the_registration_learn_of_it() -> None:
    world = World()

    async def story() -> None:
        pbx = Pbx(users={"me": "SECRET"}, listen=("10.0.0.5:5060",), clock=world.clock, network=world.network.host("10.0.0.5"))
        async with pbx:
            phone = world.phone("10.0.0.1", aor="sip:me@10.0.0.5", password="SECRET")
            await phone.start(wait_registered=False)
            waiters = [asyncio.create_task(phone.wait_registered(5)) for _ in range(3)]
            await asyncio.sleep(0)
            waiters[1].cancel()
            await asyncio.gather(*waiters, return_exceptions=True)
            assert waiters[0].result().registered and waiters[2].result().registered
            await phone.close()
            wrong = world.phone("10.0.0.3", aor="sip:me@10.0.0.5", password="WRONG")
            with pytest.raises(AuthenticationError) as caught:
                await wrong.start()
            assert "WRONG" not in caught.value.explain() and not wrong.running

    world.run_alone(story)


def test_no_more_calls_than_allowed_are_dialled() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        await a.dial("sip:nobody@10.0.0.200")
        with pytest.raises(InvalidState):
            await a.dial(target)
        with pytest.raises(InvalidState):
            await a.call(target)
        assert len(a.calls) == 1

    World().run(story, max_calls=1)


def test_a_ring_timeout_leaves_no_call_and_is_no_answer() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        with pytest.raises(NoAnswer) as caught:
            await a.call("sip:nobody@10.0.0.200", ring_timeout=3)
        assert "3 seconds" in str(caught.value)
        with pytest.raises(ConfigurationError):
            a.call(target, ring_timeout=0)

    World().run(story)


BAD = "a\r\nX-Forged: yes"


@pytest.mark.parametrize(
    "make",
    [
        lambda phone: phone.call(BAD),
        lambda phone: phone.call("sip:b\n@10.0.0.2"),
        lambda phone: phone.call("sip:b@10.0.0.2", subject=BAD),
        lambda phone: phone.call("sip:b@10.0.0.2", headers={"X-Mine": BAD}),
        lambda phone: phone.call("sip:b@10.0.0.2", headers={BAD: "1"}),
        lambda phone: phone.call("sip:b@10.0.0.2", headers={"Via": "SIP/2.0/UDP x"}),
        lambda phone: phone.call("sip:b@10.0.0.2", headers={"Contact": "<sip:x@y>"}),
        lambda phone: phone.call("sip:b@10.0.0.2", account=BAD),
        lambda phone: phone.add_account(f"sip:{BAD}@x"),
        lambda phone: phone.add_account("sip:x@y", password=BAD),
        lambda phone: phone.add_account("sip:x@y", display_name=BAD),
        lambda phone: phone.add_account("sip:x@y", auth_user=BAD),
        lambda phone: phone.add_account("sip:x@y", realm=BAD),
        lambda phone: phone.add_account("sip:x@y", registrar=BAD),
        lambda phone: phone.add_account("sip:x@y", proxy=BAD),
        lambda phone: phone.add_account("sip:x@y", transport=BAD),
        lambda phone: Phone(display_name=BAD),
        lambda phone: Phone(user_agent=BAD),
        lambda phone: Phone(codecs=(BAD,)),
        lambda phone: Phone(transport=BAD),
        lambda phone: Phone(proxy=BAD),
        lambda phone: Phone(accept_from=BAD),
    ],
)
def test_a_control_character_in_what_a_phone_is_told_is_a_value_error(make: Callable[[Phone], Any]) -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        with pytest.raises(ValueError) as caught:
            make(a)
        assert "\n" not in str(caught.value) and "\r" not in str(caught.value)

    World().run(story)


def test_a_control_character_in_what_a_call_is_told_is_a_value_error_and_the_call_goes_on() -> None:
    async def story(a: Phone, b: Phone, target: str) -> None:
        @b.on_call
        async def handle(call: Any) -> None:
            for verb in (
                lambda: call.ring(headers={"X": BAD}),
                lambda: call.progress(headers={"X": BAD}),
                lambda: call.answer(headers={"X": BAD}),
                lambda: call.reject(486, BAD),
                lambda: call.reject(486, headers={"X": BAD}),
                lambda: call.redirect(BAD),
            ):
                with pytest.raises(ValueError):
                    await verb()
                assert call.end is None
            await call.answer()
            await call.wait_ended()

        async with a.call(target) as call:
            for wrong in (
                lambda: call.play(BAD + "\0"),
                lambda: call.record("r\0.wav"),
                lambda: call.tone(BAD),
            ):
                with pytest.raises(ValueError):
                    wrong()
            for request in (
                lambda: call.request("IN\r\nFO"),
                lambda: call.request("INFO", b"x", BAD),
                lambda: call.request("INFO", headers={"X": BAD}),
                lambda: call.send_digits(BAD),
            ):
                with pytest.raises(ValueError):
                    await request()
            await call.play(Tone(440, duration=0.1))
            assert call.end is None

    World().run(story)
