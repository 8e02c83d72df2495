"""TLS and secure WebSocket on real sockets: phones and PBX, the commands, and what breaks in between."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flexosip import Call, CertificateError, ConfigurationError, Phone, TlsSettings, Tone, sync
from flexosip.pbx import Pbx
from tests.certificates import Authority

ROOT = Path(__file__).parents[2]
LISTEN = ("127.0.0.1:0", "tls:127.0.0.1:0", "ws:127.0.0.1:0", "wss:127.0.0.1:0")
DOMAIN = "example.org"


class Lab:
    """A PBX for example.org on loopback, and phones that trust its authority."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.pbx: Pbx

    def exchange(self, tls: TlsSettings | None = None) -> Pbx:
        self.pbx = Pbx({"alice": "secret-a", "bob": "secret-b"}, listen=LISTEN, tls=tls or self.authority.server(DOMAIN))
        return self.pbx

    def address(self, transport: str) -> str:
        return next(text.partition(":")[2] for text in self.pbx.addresses if text.startswith(f"{transport}:"))

    def settings(self, user: str, transport: str) -> dict[str, Any]:
        return {
            "aor": f"sip:{user}@{DOMAIN}",
            "password": f"secret-{user[0]}",
            "proxy": self.address(transport),
            "transport": transport,
            "tls_ca": self.authority.certificate,
        }

    def phone(self, user: str, transport: str, **settings: Any) -> Phone:
        return Phone(**{**self.settings(user, transport), **settings})


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.mark.parametrize(("one", "other"), [("tls", "wss"), ("ws", "tls")])
async def test_a_call_by_tls_and_websocket_with_sound(lab: Lab, one: str, other: str, tmp_path: Path) -> None:
    async with lab.exchange(), lab.phone("alice", one) as alice, lab.phone("bob", other) as bob:

        @bob.on_call
        async def answer(call: Call) -> None:
            await call.answer()
            await call.play(Tone(440, duration=0.4))

        async with alice.call("bob", ring_timeout=10) as call:
            call.record(tmp_path / "heard.wav", side="in")
            await call.wait_ended()
        assert call.end is not None
        assert call.end.by == "remote"
    assert (tmp_path / "heard.wav").stat().st_size > 3000


async def test_two_phones_call_each_other_directly_by_tls(lab: Lab) -> None:
    tls = lab.authority.server(addresses=["127.0.0.1"])
    async with Phone(listen="tls:127.0.0.1:0", tls=tls) as one, Phone(transport="tls", tls_ca=lab.authority.certificate) as other:

        @one.on_call
        async def answer(call: Call) -> None:
            await call.answer()
            await call.hold()
            await call.hangup()

        port = one.addresses[0].rpartition(":")[2]
        async with other.call(f"sips:bob@127.0.0.1:{port}", ring_timeout=10) as call:
            await call.wait_ended()
        assert call.end is not None
        assert call.end.by == "remote"


def test_the_blocking_phone_takes_the_same_settings(lab: Lab) -> None:
    async def story() -> None:
        async with lab.exchange():
            await asyncio.to_thread(use)

    def use() -> None:
        with sync.Phone(**lab.settings("alice", "tls")):
            assert len(lab.pbx.bindings("alice")) == 1

    asyncio.run(story())


async def test_a_large_message_and_many_small_ones_pass(lab: Lab) -> None:
    async with lab.exchange(), lab.phone("alice", "tls") as alice, lab.phone("bob", "wss") as bob:
        seen: list[str] = []

        @bob.on_call
        async def answer(call: Call) -> None:
            seen.append(call.headers.get("X-Long") or "")
            await call.reject(486)

        for size in (10, 7_000):
            with pytest.raises(Exception, match="486"):
                await alice.call("bob", headers={"X-Long": "x" * size})
        assert [len(text) for text in seen] == [10, 7_000]


async def test_mutual_tls_tells_the_names_of_the_client(lab: Lab) -> None:
    issued = lab.authority.issue(DOMAIN)
    demanding = TlsSettings(lab.authority.certificate, issued.certificate, issued.key, verify_client="required")
    async with lab.exchange(demanding) as pbx:
        with pytest.raises(CertificateError, match="wants a certificate"):
            await lab.phone("alice", "tls").start()
        own = lab.authority.issue("phone-7.example.org")
        async with lab.phone("alice", "tls", tls_certificate=own.certificate, tls_key=own.key):
            assert pbx.bindings("alice")[0].flow.peer_names == ("phone-7.example.org",)


async def test_a_certificate_that_is_renewed_on_disk_serves_the_next_connection(lab: Lab) -> None:
    issued = lab.authority.issue("other.test")
    async with lab.exchange(TlsSettings(certificate=issued.certificate, key=issued.key)):
        with pytest.raises(CertificateError, match=r"is for other\.test, you connect to example\.org"):
            await lab.phone("alice", "tls").start()
        lab.authority.issue(DOMAIN, place=issued)
        async with lab.phone("alice", "tls"):
            pass


async def test_a_client_that_vanishes_within_the_handshake_leaves_nothing(lab: Lab) -> None:
    async with lab.exchange() as pbx:
        host, _, port = lab.address("tls").rpartition(":")
        for octets in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", os.urandom(300)):
            with socket.create_connection((host, int(port))) as client:
                client.sendall(octets)
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        assert pbx._driver is not None
        assert pbx._driver.statistics().connections == 0
        async with lab.phone("alice", "tls"):
            assert len(pbx.bindings("alice")) == 1


async def test_sni_is_the_accounts_domain_also_with_a_numeric_proxy(lab: Lab) -> None:
    asked: list[str | None] = []
    issued = lab.authority.issue(DOMAIN)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.certificate, issued.key)
    context.sni_callback = lambda connection, name, used: asked.append(name)  # type: ignore[assignment]
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        phone = Phone(f"sip:alice@{DOMAIN}", proxy=f"127.0.0.1:{port}", transport="tls", tls_ca=lab.authority.certificate)
        with pytest.raises(Exception, match="closed the connection"):
            await phone.start()
    assert asked[0] == DOMAIN


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listen": "tls:127.0.0.1:0"}, "needs a certificate"),
        ({"tls_ca": "nowhere.pem"}, "nowhere.pem' cannot be used: no such file"),
        ({"tls_key": "key.pem"}, "without its certificate"),
        ({"tls_certificate": "nowhere.pem"}, "nowhere.pem cannot be used: no such file"),
        ({"tls_ca": __file__}, "it is no PEM file of certificates"),
        ({"tls": TlsSettings(), "tls_ca": "x"}, "not both"),
    ],
)
async def test_files_that_cannot_be_used_are_told_at_the_start(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await Phone(**settings).start()
    assert words in str(caught.value)


async def test_a_key_of_another_certificate_and_an_encrypted_one_are_told(lab: Lab) -> None:
    one, other = lab.authority.issue(DOMAIN), lab.authority.issue(DOMAIN)
    with pytest.raises(ConfigurationError, match="the key does not belong to the certificate"):
        await Phone(tls_certificate=one.certificate, tls_key=other.key).start()
    locked = lab.authority.folder / "locked.key"
    subprocess.run(["openssl", "pkey", "-in", one.key, "-aes256", "-passout", "pass:geheim", "-out", locked], check=True)
    with pytest.raises(ConfigurationError, match="encrypted"):
        await Phone(tls_certificate=one.certificate, tls_key=locked).start()
    async with Phone(tls=TlsSettings(certificate=one.certificate, key=locked, key_password="geheim"), listen="tls:127.0.0.1:0"):
        pass
    assert "geheim" not in repr(TlsSettings(certificate=one.certificate, key_password="geheim"))


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "XDG_CONFIG_HOME": str(folder), "FLEXOSIP_PASSWORD": "secret-a"}
    return subprocess.run(
        [sys.executable, "-m", "flexosip", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


async def test_the_command_registers_by_tls_and_says_6_for_a_certificate_and_2_for_a_file(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "flexosip").mkdir()
    async with lab.exchange():
        config = (
            f'[account.home]\naor = "sip:alice@{DOMAIN}"\ntransport = "tls"\nproxy = "{lab.address("tls")}"\ntls_ca = "../authority.pem"\n'
        )
        (tmp_path / "flexosip" / "config.toml").write_text(config)
        home = ("register", "--once", "--account", "home", "--listen", "127.0.0.1:0")
        done = await asyncio.to_thread(command, tmp_path, *home)
        assert done.returncode == 0, done.stderr
        other = (*home[:3], "sip:alice@other.test", *home[4:], "--proxy", lab.address("tls"), "--transport", "tls")
        wrong = await asyncio.to_thread(command, tmp_path, *other, "--tls-ca", "authority.pem", "--json")
        assert wrong.returncode == 6
        assert "is for example.org, you connect to other.test" in json.loads(wrong.stdout.splitlines()[-1])["message"]
        missing = await asyncio.to_thread(command, tmp_path, *home, "--tls-ca", "nowhere.pem")
        assert missing.returncode == 2
        assert "nowhere.pem" in missing.stderr


def test_the_pbx_command_listens_by_tls(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue(DOMAIN)
    words = ("pbx", "--listen", "tls:127.0.0.1:0", "--listen", "wss:127.0.0.1:0", "--user", "alice:secret-a")
    refused = command(tmp_path, *words)
    assert refused.returncode == 2
    assert "--tls-cert" in refused.stderr
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    arguments = [sys.executable, "-m", "flexosip", *words, "--tls-cert", str(issued.certificate), "--tls-key", str(issued.key), "--json"]
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as pbx:
        try:
            assert pbx.stdout is not None
            told = [json.loads(pbx.stdout.readline()) for _ in range(2)]
            assert [(event["event"], event["transport"]) for event in told] == [("listening", "tls"), ("listening", "wss")]
            context = ssl.create_default_context(cafile=tmp_path / "authority.pem")
            host, _, port = told[0]["address"].rpartition(":")
            with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain, server_hostname=DOMAIN) as secure:
                assert secure.version() in ("TLSv1.2", "TLSv1.3")
        finally:
            pbx.terminate()
            pbx.wait(20)


async def test_the_nine_steps_over_tls(lab: Lab) -> None:
    from flexosip.classic import FlexoSIP

    async with lab.exchange(), lab.phone("bob", "tls") as bob:
        taken: list[str] = []

        @bob.on_call
        async def take(call: Call) -> None:
            assert call.identity is not None
            taken.append(call.identity.number)
            await call.answer()
            await call.wait_ended()

        def steps() -> list[str]:
            happened: list[str] = []

            class Steps(FlexoSIP):
                def event_answered(self, call: Any) -> None:
                    happened.append("answered")
                    self.quit()

            phone = Steps()
            certificate = lab.authority.server("alice.example.org")
            phone.listen("tls", 0, "127.0.0.1", tls=TlsSettings(lab.authority.certificate, certificate.certificate, certificate.key))
            assert phone._phone is not None
            happened.extend({text.partition(":")[0] for text in phone._phone.addresses})
            phone.register(f"sip:alice@{DOMAIN}", f"sip:{lab.address('tls')}", "alice", "secret-a")
            phone.wait_registered()
            phone.call(None, "bob")
            for _ in range(500):
                if not phone.running:
                    break
                phone.handle_event(0.02)
            phone.quit()
            return happened

        assert await asyncio.to_thread(steps) == ["tls", "answered"]
        assert taken == ["alice"]


def test_the_nine_steps_say_which_tls_file_is_missing(tmp_path: Path) -> None:
    from flexosip.classic import FlexoSIP

    with pytest.raises(ConfigurationError, match=r"missing\.pem"):
        FlexoSIP().listen("tls", 0, "127.0.0.1", tls_ca=str(tmp_path / "missing.pem"))
