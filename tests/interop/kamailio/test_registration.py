"""Registrations of a Phone at Kamailio, and calls through it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from flexosip import AuthenticationError, Call, OptionsFailed, Phone, Tone
from tests.interop.listening import assert_tone
from tests.interop.peers import DOMAIN, Kamailio
from tests.interop.process import Process, wait_until

pytestmark = pytest.mark.peer("kamailio")

LISTEN = "127.0.0.1:0"
SOURCE = Path(__file__).parents[3] / "src"


def account(kamailio: Kamailio, user: str = "alice", **settings: object) -> Phone:
    given = {"password": kamailio.users[user], "proxy": kamailio.address, "listen": LISTEN, **settings}
    return Phone(f"sip:{user}@{DOMAIN}", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_registers_and_unregisters(tmp_path: Path, algorithm: str, transport: str) -> None:
    async with Kamailio(tmp_path, algorithm=algorithm) as kamailio:
        async with account(kamailio, transport=transport) as phone:
            registration = await phone.wait_registered()
            assert registration.registered
            assert len(kamailio.contacts()) == 1
            assert ("transport=tcp" in kamailio.contacts()[0].lower()) == (transport == "tcp")
        assert kamailio.contacts() == []


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_a_wrong_password_is_an_error_that_does_not_repeat_it(tmp_path: Path, algorithm: str) -> None:
    async with Kamailio(tmp_path, algorithm=algorithm) as kamailio:
        phone = account(kamailio, password="not-the-secret")
        with pytest.raises(AuthenticationError) as caught:
            await phone.start()
        assert "not-the-secret" not in caught.value.explain()
        assert "alice" in caught.value.explain()


async def run_command(folder: Path, *arguments: str, password: str) -> tuple[int, str]:
    """Exit status and output of `flexosip ARGUMENTS`."""
    environment = {"PYTHONPATH": str(SOURCE), "FLEXOSIP_PASSWORD": password, "HOME": str(folder), "PATH": os.environ["PATH"]}
    async with Process([sys.executable, "-m", "flexosip", *arguments], folder, "flexosip", environment) as command:
        return await command.exit_status(30), command.output


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_the_command_registers_once(tmp_path: Path, algorithm: str, transport: str) -> None:
    async with Kamailio(tmp_path / "kamailio", algorithm=algorithm) as kamailio:
        arguments = [
            "register",
            "--once",
            "--json",
            "--account",
            f"sip:alice@{DOMAIN}",
            "--proxy",
            kamailio.address,
            "--transport",
            transport,
        ]
        status, output = await run_command(tmp_path, *arguments, "--listen", LISTEN, password="secret-alice")
        events = [json.loads(line)["event"] for line in output.splitlines() if line.startswith("{")]
        assert status == 0, output
        assert events.index("registered") < events.index("unregistered")
        assert kamailio.contacts() == []


async def test_the_command_says_what_is_wrong_with_a_password(tmp_path: Path) -> None:
    async with Kamailio(tmp_path / "kamailio") as kamailio:
        arguments = ["register", "--once", "--account", f"sip:alice@{DOMAIN}", "--proxy", kamailio.address, "--listen", LISTEN]
        status, output = await run_command(tmp_path, *arguments, password="not-the-secret")
        assert status == 5, output
        assert "not-the-secret" not in output
        assert "password" in output
        assert "Traceback" not in output


async def test_a_registration_that_is_too_brief_is_made_longer(tmp_path: Path) -> None:
    async with Kamailio(tmp_path, min_expires=90) as kamailio, account(kamailio, expires=60):
        assert len(kamailio.contacts()) == 1


@pytest.mark.slow
async def test_the_registration_is_refreshed_with_stale_nonces_too(tmp_path: Path) -> None:
    async with Kamailio(tmp_path, max_expires=16, nonce_seconds=3) as kamailio, account(kamailio, transport="udp") as phone:
        first = kamailio.contacts()
        for _ in range(26):
            await asyncio.sleep(1)
            assert kamailio.contacts() == first, "the binding must never lapse"
        assert (await phone.wait_registered()).registered


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_restart_of_the_registrar_is_survived(tmp_path: Path, transport: str) -> None:
    async with Kamailio(tmp_path, max_expires=8) as kamailio, account(kamailio, transport=transport):
        await kamailio.restart(pause=1)
        await wait_until(lambda: len(kamailio.contacts()) == 1, 30, "it is registered again")


async def test_two_phones_call_each_other_through_the_proxy(tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    async with (
        Kamailio(tmp_path / "kamailio", algorithm="SHA-256") as kamailio,
        account(kamailio, "alice") as alice,
        account(kamailio, "bob", transport="tcp") as bob,
    ):

        @bob.on_call
        async def answer(call: Call) -> None:
            await call.answer()
            call.play(Tone(600))
            assert await call.gather(max_digits=2, timeout=5) == "12"
            await call.hangup()

        async with alice.call("bob", ring_timeout=10) as call:
            call.record(heard, side="in")
            await asyncio.sleep(1)
            await call.send_digits("12")
            await asyncio.wait_for(call.wait_ended(), 5)
        # the other side may hang up before the last packets of the last digit are out: then the block ends in send_digits
        assert call.end is not None
        assert call.end.by == "remote"
    assert_tone(heard, 600, seconds=0.9)


async def test_the_server_itself_and_a_phone_behind_it_answer_options(tmp_path: Path) -> None:
    async with Kamailio(tmp_path) as kamailio, account(kamailio) as alice, account(kamailio, "bob") as bob:
        server = await alice.options(f"sip:{kamailio.address}")
        assert server.available and "kamailio" in (server.server or "").lower()
        behind = await alice.options("bob")
        assert behind.available and "INVITE" in behind.allow
        await bob.unregister()
        with pytest.raises(OptionsFailed) as failure:
            await alice.options("bob")
        assert failure.value.status in (404, 480)
