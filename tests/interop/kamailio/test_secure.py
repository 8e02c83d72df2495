"""TLS and WebSocket between a Phone and Kamailio: registrations, calls, certificates, and a server that comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flexosip import Call, CertificateError, NetworkError, Phone, TlsSettings, Tone
from flexosip.net.real import RealNetwork
from tests.certificates import Authority
from tests.interop.kamailio.test_registration import LISTEN, run_command
from tests.interop.listening import assert_tone
from tests.interop.peers import DOMAIN, Kamailio
from tests.interop.process import wait_until

pytestmark = [pytest.mark.peer(name) for name in ("kamailio", "kamailio-tls", "kamailio-websocket")]

WAYS = ("tls", "ws", "wss")


class Lab(Kamailio):
    """Kamailio with a certificate of an authority that the phones trust; `issued` are the options of `Authority.issue`."""

    def __init__(self, folder: Path, *, names: Sequence[str] = (DOMAIN,), issued: dict[str, Any] | None = None, **settings: Any) -> None:
        self.authority = Authority(folder / "authority")
        super().__init__(folder / "kamailio", certificate=self.authority.issue(*names, **(issued or {})), **settings)

    def phone(self, way: str, user: str = "alice", **settings: Any) -> Phone:
        transport = way if way in ("udp", "tcp", "tls") else None
        given = {"password": self.users[user], "proxy": self.ways[way], "transport": transport, "listen": LISTEN}
        if "tls" not in settings:
            given["tls_ca"] = self.authority.certificate
        return Phone(f"sip:{user}@{DOMAIN}", network=Names(), **{**given, **settings})


class Names(RealNetwork):
    """The real network, where the lab's domain is this machine."""

    async def resolve(self, host: str) -> list[str]:
        return ["127.0.0.1"] if host == DOMAIN else await super().resolve(host)


@pytest.mark.parametrize("way", WAYS)
async def test_registers_and_unregisters(tmp_path: Path, way: str) -> None:
    async with Lab(tmp_path) as kamailio:
        async with kamailio.phone(way):
            (contact,) = kamailio.contacts()
            assert f"transport={'tls' if way == 'tls' else 'ws'}" in contact
            assert (".invalid" in contact) == (way != "tls")
        assert kamailio.contacts() == []


@pytest.mark.parametrize(("one", "other"), [("tls", "tls"), ("tls", "udp"), ("ws", "wss"), ("tcp", "ws"), ("wss", "tls")])
async def test_calls_pass_between_transports_both_ways(tmp_path: Path, one: str, other: str) -> None:
    heard = tmp_path / "heard.wav"
    async with Lab(tmp_path) as kamailio, kamailio.phone(one) as alice, kamailio.phone(other, "bob") as bob:

        async def take(call: Call) -> None:
            await call.answer()
            call.play(Tone(600))
            await call.hold()
            await call.resume()
            await call.wait_ended()

        for phone in (alice, bob):
            phone.on_call(take)
        for caller, called in ((alice, "bob"), (bob, "alice")):
            async with caller.call(called, ring_timeout=10) as call:
                call.record(heard, side="in")
                await asyncio.sleep(1.5)
            assert call.end is not None
            assert call.end.by == "local"
            assert_tone(heard, 600, seconds=0.9)
        await wait_until(lambda: not alice.calls and not bob.calls, 5, "both sides have ended")


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        (["other.test"], {}, "is for other.test, you connect to interop.test"),
        ([DOMAIN], {"starts": -20, "ends": -10}, "has expired on 20"),
        ([DOMAIN], {"starts": 10}, "is not valid before 20"),
        ([DOMAIN], {"self_signed": True, "common_name": DOMAIN}, "is self-signed"),
    ],
    ids=["wrong name", "expired", "too early", "self-signed"],
)
async def test_a_bad_certificate_is_refused_with_the_reason(tmp_path: Path, names: list[str], options: Any, words: str) -> None:
    async with Lab(tmp_path, names=names, issued=options) as kamailio:
        with pytest.raises(CertificateError) as caught:
            await kamailio.phone("tls").start()
        assert words in str(caught.value)
        assert kamailio.contacts() == []


async def test_an_authority_that_is_not_trusted_is_refused_and_the_command_says_6(tmp_path: Path) -> None:
    async with Lab(tmp_path) as kamailio:
        with pytest.raises(CertificateError, match="authority that is not trusted"):
            await kamailio.phone("tls", tls_ca=None).start()
        words = ["register", "--once", "--account", f"sip:alice@{DOMAIN}", "--proxy", kamailio.ways["tls"], "--transport", "tls"]
        status, output = await run_command(tmp_path, *words, "--listen", LISTEN, password=kamailio.users["alice"])
        assert status == 6, output
        assert "--tls-ca FILE" in output
        words += ["--tls-ca", str(kamailio.authority.certificate)]
        status, output = await run_command(tmp_path, *words, "--listen", LISTEN, password=kamailio.users["alice"])
        assert status == 0, output


async def test_a_server_that_wants_a_certificate_of_ours(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "clients", "authority of clients")
    async with Lab(tmp_path, authority=authority.certificate) as kamailio:
        with pytest.raises(CertificateError, match="wants a certificate"):
            await kamailio.phone("tls").start()
        own = authority.issue("phone.interop.test")
        async with kamailio.phone("tls", tls=TlsSettings(kamailio.authority.certificate, own.certificate, own.key)):
            assert len(kamailio.contacts()) == 1


async def test_a_websocket_at_the_wrong_path_is_told(tmp_path: Path) -> None:
    async with Lab(tmp_path) as kamailio:
        with pytest.raises(NetworkError, match="404 Not Found"):
            await kamailio.phone("ws", proxy=kamailio.ways["ws"].removesuffix("/ws")).start()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["tcp", "tls", "wss"])
async def test_a_server_that_is_killed_and_comes_back_finds_the_phones_and_the_call_again(tmp_path: Path, way: str) -> None:
    heard = tmp_path / "heard.wav"
    async with Lab(tmp_path) as kamailio, kamailio.phone(way) as alice, kamailio.phone(way, "bob") as bob:

        @bob.on_call
        async def take(call: Call) -> None:
            await call.answer()
            call.play(Tone(600, duration=60))
            await call.wait_ended()

        async with alice.call("bob", ring_timeout=10) as call:
            await asyncio.sleep(1)
            await kamailio.restart(pause=1)
            call.record(heard, side="in")
            await asyncio.sleep(2)
            assert call.end is None
        assert_tone(heard, 600, seconds=1.5)
        await wait_until(lambda: len(kamailio.contacts()) == 2, 60, "both are registered again")
        await wait_until(lambda: not bob.calls, 60, "the call has ended at the other side too")
        async with alice.call("bob", ring_timeout=10) as call:
            await asyncio.sleep(0.5)
        assert call.end is not None
