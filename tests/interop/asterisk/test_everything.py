"""Asterisk 22: TLS, transfers, Replaces, lamps, messages, session timers, reliable provisional responses."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from flexosip import Busy, Call, CertificateError, Phone, Tone
from flexosip.observe.trace import WireMessage
from tests.interop.asterisk.peer import DOMAIN, Asterisk, Servers
from tests.interop.listening import assert_tone
from tests.interop.process import wait_until

pytestmark = pytest.mark.peer("asterisk")

LISTEN = "127.0.0.1:0"


def account(server: Asterisk, user: str = "alice", **settings: Any) -> Phone:
    """A phone with an account of that server."""
    return Phone(f"sip:{user}@{DOMAIN}", password=f"secret-{user}", proxy=server.address, listen=LISTEN, **settings)


def answering(phone: Phone, heard: Path | None = None) -> list[Call]:
    """The phone takes each call, sends a tone and may record; its calls."""
    calls: list[Call] = []

    @phone.on_call
    async def answer(call: Call) -> None:
        calls.append(call)
        await call.ring()
        await call.answer()
        if heard is not None:
            call.record(heard, side="in")
        call.play(Tone(1000))
        await call.wait_ended()

    return calls


def watching(phone: Phone) -> list[WireMessage]:
    """All messages of the phone from now on."""
    seen: list[WireMessage] = []
    phone.on_wire(seen.append)
    return seen


def count(seen: list[WireMessage], direction: str, start: bytes) -> int:
    return sum(1 for message in seen if message.direction == direction and message.data.startswith(start))


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_registration_and_a_call_by_tls_with_its_own_certificate_trusted(
    asterisk_by: Servers, tmp_path: Path, algorithm: str
) -> None:
    server = asterisk_by(algorithm)
    certificate = tmp_path / "its.pem"
    certificate.write_text(ssl.get_server_certificate(("127.0.0.1", server.tls_port)))
    settings = {"password": "secret-alice", "proxy": server.tls_address, "transport": "tls", "listen": LISTEN, "tls_ca": certificate}
    # It names the address, not the domain: whoever is called by the address is content, who has the domain is not.
    with pytest.raises(CertificateError, match=r"lab\.test"):
        async with Phone(f"sip:alice@{DOMAIN}", **settings):
            pass
    async with Phone("sip:alice@127.0.0.1", **settings) as phone:
        assert phone.accounts[0].registered
        async with phone.call("600") as call:
            call.play(Tone(440))
            call.record(tmp_path / "heard.wav", side="in")
            await asyncio.sleep(1.5)
    assert_tone(tmp_path / "heard.wav", 440, seconds=1)


async def test_blind_transfer(server: Asterisk, tmp_path: Path) -> None:
    async with account(server) as alice, account(server, "bob") as bob:
        calls = answering(bob, tmp_path / "heard.wav")
        call = await alice.call("bob")
        await asyncio.sleep(0.5)
        result = await call.transfer("605")
        assert result.status in (0, 200)
        assert (await asyncio.wait_for(call.wait_ended(), 5)).status == 200
        await asyncio.sleep(1.5)
        assert calls[0].state == "answered"
        await calls[0].hangup()
    assert_tone(tmp_path / "heard.wav", 1004, seconds=1)


async def test_attended_transfer(server: Asterisk, tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    async with account(server) as alice, account(server, "bob") as bob, account(server, "carol") as carol:
        at_bob, at_carol = answering(bob, heard), answering(carol)
        to_bob, to_carol = await alice.call("bob"), await alice.call("carol")
        result = await to_bob.transfer(to_carol)
        assert result.status in (0, 200)
        await asyncio.wait_for(to_bob.wait_ended(), 5)
        await asyncio.wait_for(to_carol.wait_ended(), 5)
        await asyncio.sleep(1.5)
        assert (at_bob[0].state, at_carol[0].state) == ("answered", "answered")
        await at_bob[0].hangup()
        await asyncio.wait_for(at_carol[0].wait_ended(), 5)
    assert_tone(heard, 1000, seconds=1)


async def test_a_call_is_picked_up_by_an_invite_with_replaces(server: Asterisk, tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    async with account(server) as alice, account(server, "bob") as bob, account(server, "carol") as carol:
        calls = answering(bob)
        call = await alice.call("bob")
        call.play(Tone(440))
        await wait_until(lambda: calls and calls[0].state == "answered", 5, "bob has the call")
        async with carol.call("bob", replaces=calls[0]) as taken:
            taken.record(heard, side="in")
            end = await asyncio.wait_for(calls[0].wait_ended(), 5)
            assert end.by == "remote"
            await asyncio.sleep(1.5)
            assert call.state == "answered"
    assert_tone(heard, 440, seconds=1)


async def test_the_lamp_of_a_line_follows_its_calls(server: Asterisk) -> None:
    async with account(server) as alice, account(server, "bob") as bob:
        states: list[str] = []

        @bob.on_call
        async def answer(call: Call) -> None:
            await call.ring()
            await asyncio.sleep(1)
            await call.answer()
            await call.wait_ended()

        async with alice.watch("bob") as lamp:

            async def follow() -> None:
                async for state in lamp:
                    states.append(str(state.state))

            task = asyncio.create_task(follow())
            await wait_until(lambda: states, 5, "the first state")
            async with alice.call("bob"):
                await asyncio.sleep(0.5)
            await wait_until(lambda: states.index("confirmed") < len(states) - 1, 5, "the lamp goes out")
            task.cancel()
        assert "early" in states and states.index("early") < states.index("confirmed") < len(states) - 1


async def test_the_lamp_of_a_mailbox_goes_on_with_a_message(server: Asterisk) -> None:
    async with account(server) as alice:
        async with alice.message_waiting() as box:

            async def wanted(waiting: bool) -> Any:
                async for summary in box:
                    if summary.waiting is waiting:
                        return summary
                raise AssertionError("the subscription ended")

            await asyncio.wait_for(wanted(False), 5)
            async with alice.call("615") as call:
                await asyncio.sleep(1)
                await call.play(Tone(440, duration=3))
            summary = await asyncio.wait_for(wanted(True), 15)
            assert summary.voice_new == 1


async def test_a_text_message_to_it_comes_back(server: Asterisk) -> None:
    async with account(server) as alice:
        came: list[str] = []
        alice.on_message(lambda message: came.append(message.text))
        await alice.message("reflect", "Grüße aus dem Keller")
        await wait_until(lambda: came, 5, "the message comes back")
        assert came == ["heard-Grüße aus dem Keller"]


@pytest.mark.slow
async def test_the_session_is_refreshed_by_each_side(server: Asterisk) -> None:
    async def refreshed_by(refresher: str, session_expires: float | None) -> None:
        async with account(server, "timer1", session_expires=session_expires) as phone:
            seen = watching(phone)
            async with phone.call("600") as call:
                call.play(Tone(440))
                direction = "out" if refresher == "us" else "in"

                def refreshes() -> int:
                    within = [m for m in seen if m.direction == direction and m.data.startswith((b"UPDATE ", b"INVITE "))]
                    return len(
                        [m for m in within if b"Session-Expires" in m.data and b";tag=" in m.data.split(b"\nTo:")[1].split(b"\n")[0]]
                    )

                await wait_until(refreshes, 60, f"{refresher} refreshes the session")
                await asyncio.sleep(0.5)
                assert call.state == "answered"

    # Half of the shortest interval that the RFC allows.
    async with server.edited("pjsip.conf", "timers_sess_expires=120", "timers_sess_expires=90"):
        await asyncio.gather(refreshed_by("us", 90), refreshed_by("asterisk", None))


async def test_what_it_says_before_the_answer_is_acknowledged_by_prack(server: Asterisk) -> None:
    async with account(server, "rel1") as phone:
        seen = watching(phone)
        with pytest.raises(Busy):
            async with phone.call("609"):
                pass
        assert count(seen, "out", b"PRACK ") >= 1
        assert count(seen, "in", b"SIP/2.0 183") >= 1


async def test_it_acknowledges_ours_by_prack(server: Asterisk) -> None:
    async with account(server) as alice, account(server, "rel1") as callee:
        calls = answering(callee)
        seen = watching(callee)
        async with alice.call("rel1"):
            await asyncio.sleep(0.3)
            assert calls
        assert count(seen, "in", b"PRACK ") >= 1
