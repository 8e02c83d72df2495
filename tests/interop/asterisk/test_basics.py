"""Asterisk 22: registration, keep-alive questions, calls, keys, hold."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from flexosip import Phone, Tone
from flexosip.observe.trace import WireMessage
from tests.interop.asterisk.peer import DOMAIN, Asterisk, Servers
from tests.interop.listening import assert_tone

pytestmark = pytest.mark.peer("asterisk")

LISTEN = "127.0.0.1:0"


def account(server: Asterisk, user: str = "alice", transport: str = "udp") -> Phone:
    """A phone with an account of that server."""
    return Phone(f"sip:{user}@{DOMAIN}", password=f"secret-{user}", proxy=server.address, transport=transport, listen=LISTEN)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_it_registers_us_and_takes_the_binding_away_again(asterisk_by: Servers, algorithm: str, transport: str) -> None:
    server = asterisk_by(algorithm)
    async with account(server, transport=transport) as phone:
        assert phone.accounts[0].registered
        assert "sip:" in await server.command("pjsip show contacts")
    assert "No objects found" in await server.command("pjsip show contacts")


async def test_its_options_keep_us_in_its_list_of_reachable_phones(server: Asterisk) -> None:
    async with server.edited("pjsip.conf", "qualify_frequency=0", "qualify_frequency=1"):
        async with account(server):
            await server.wait_command("pjsip show contacts", "Avail")


async def test_its_echo_gives_our_tone_back_and_it_agrees_to_hold_and_resume(server: Asterisk, tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    async with account(server) as phone:
        directions: list[tuple[str, str]] = []

        @phone.on_wire
        def look(message: WireMessage) -> None:
            found = re.search(rb"\na=(sendrecv|sendonly|recvonly|inactive)", message.data)
            if found:
                directions.append((message.direction, found[1].decode()))

        async with phone.call("600") as call:
            call.play(Tone(440))
            await asyncio.sleep(0.5)
            directions.clear()
            await call.hold()
            await call.resume()
            assert directions == [("out", "sendonly"), ("in", "recvonly"), ("out", "sendrecv"), ("in", "sendrecv")]
            call.record(heard, side="in")
            await asyncio.sleep(2)
    assert_tone(heard, 440, seconds=1.5)


async def test_it_reads_our_keys_and_we_read_its(server: Asterisk) -> None:
    async with account(server) as phone:
        async with phone.call("603") as call:
            await asyncio.sleep(0.5)
            await call.send_digits("159#")
            await server.wait_log("LAB read 159")
        async with phone.call("614") as call:
            assert await call.gather(max_digits=4, timeout=8, terminator="") == "123#"


async def test_it_connects_two_of_our_phones(server: Asterisk, tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    async with account(server) as alice, account(server, "bob") as bob:

        @bob.on_call
        async def answer(call: object) -> None:
            await call.ring()  # type: ignore[attr-defined]
            await call.answer()  # type: ignore[attr-defined]
            await call.play(Tone(1000, duration=2))  # type: ignore[attr-defined]

        async with alice.call("bob") as call:
            call.record(heard, side="in")
            await call.wait_ended()
    assert_tone(heard, 1000, seconds=1.5)
