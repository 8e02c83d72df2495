"""No secret gets into a log line, a repr, an exception, a trace or a pcap file, at any level (B8)."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import traceback
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from flexosip import AuthenticationError, Callers, ConfigurationError, Credentials, FlexosipError, Phone
from flexosip.observe import Ladder, Trace, write_pcap
from flexosip.observe.masking import mask
from flexosip.pbx import Pbx
from flexosip.sip.bearer import BearerClient
from flexosip.sip.grammar import SipParseError
from flexosip.sip.parser import parse_message
from tests.network.stage import RawPeer, World, sdp

PASSWORD = "S3cr3t-of-the-account"
CALLER_PASSWORD = "S3cr3t-of-the-caller"
URI_PASSWORD = "S3cr3t-in-a-uri"
HA1 = "0123456789abcdef0123456789abcdef"
TOKEN = "eyJ0b2tlbi5TM2NyM3Q"
NONCE = "N0nce-of-the-server"
OPAQUE = "0paque-of-the-server"
SDES = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
ICE = "1cePassw0rd0fThePeer0000"
CHALLENGE = f'Digest realm="10.0.0.9", nonce="{NONCE}", opaque="{OPAQUE}", qop="auth", algorithm=SHA-256'
FIXED = (PASSWORD, CALLER_PASSWORD, URI_PASSWORD, HA1, TOKEN, NONCE, OPAQUE, SDES, ICE)
_COMPUTED = re.compile(rb'(?i)\b(?:response|cnonce|nonce|nextnonce|rspauth)="([^"]{8,})"')


def ladder(trace: Trace) -> str:
    """The trace as people see it."""
    drawn = Ladder()
    return "\n".join(drawn.line(message) or "" for message in trace.signalling)


class Watch:
    """All texts that a run gave away, and all secrets that went over its wire."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.caplog = caplog
        self.texts: list[str] = []
        self.computed: set[str] = set()
        self.trace = Trace()

    def phone(self, phone: Any) -> None:
        """Look at what a phone or PBX sends and gets."""

        @phone.on_wire
        def look(message: Any) -> None:
            self.trace.record(message)
            self.computed.update(value.decode() for value in _COMPUTED.findall(message.data))
            self.see(message)
            if message.kind == "sip":
                try:
                    self.see(parse_message(message.data))
                except SipParseError as error:
                    self.error(error)

    def see(self, *things: Any) -> None:
        """Whatever people print of an object."""
        for thing in things:
            self.texts += [repr(thing), str(thing)] if not hasattr(thing, "headers") else [repr(thing)]

    def error(self, error: BaseException) -> None:
        """Whatever people print of an error."""
        self.see(error, *error.args)
        self.texts += traceback.format_exception(error)
        if isinstance(error, FlexosipError):
            self.texts.append(error.explain())

    def objects(self, root: Any, depth: int = 4, seen: set[int] | None = None) -> None:
        """The repr of everything of ours that can be reached from an object."""
        seen = set() if seen is None else seen
        if id(root) in seen or depth < 0:
            return
        seen.add(id(root))
        if type(root).__module__.startswith("flexosip"):
            self.texts.append(repr(root))
        for child in _children(root):
            if type(child).__module__.startswith("flexosip") or isinstance(child, (list, tuple, dict, set)):
                self.objects(child, depth - 1, seen)

    def check(self) -> None:
        """None of it tells a secret."""
        pcap = io.BytesIO()
        write_pcap(pcap, self.trace)
        texts = [
            *self.texts,
            self.caplog.text,
            *(str(record.args) for record in self.caplog.records),
            ladder(self.trace),
            pcap.getvalue().decode("latin-1"),
        ]
        assert len(self.trace) > 0 and self.caplog.records
        for secret in (*FIXED, *self.computed):
            leaks = [text[max(0, text.find(secret) - 200) : text.find(secret) + 60] for text in texts if secret in text]
            assert not leaks, (secret, leaks[0])


def _children(root: Any) -> Iterator[Any]:
    if isinstance(root, dict):
        yield from root.keys()
        yield from root.values()
    elif isinstance(root, (list, tuple, set, frozenset)):
        yield from root
    else:
        if is_dataclass(root):
            yield from (getattr(root, field.name) for field in fields(root))
        yield from getattr(root, "__dict__", {}).values()
        for kind in type(root).__mro__:
            for name in getattr(kind, "__slots__", ()):
                if hasattr(root, name) and name != "__weakref__":
                    yield getattr(root, name)


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    caplog.set_level(logging.DEBUG)
    return Watch(caplog)


def test_registering_calling_and_being_called_tell_no_secret(watch: Watch) -> None:
    """A registrar that is a PBX of ours, calls both ways, a wrong password, keys."""
    world = World()

    async def story() -> None:
        pbx = Pbx(
            {"me": PASSWORD, "you": CALLER_PASSWORD}, listen=("10.0.0.8:5060",), clock=world.clock, network=world.network.host("10.0.0.8")
        )
        me = world.phone("10.0.0.1", aor="sip:me@10.0.0.8", password=PASSWORD)
        you = world.phone("10.0.0.2", aor="sip:you@10.0.0.8", password=Credentials(CALLER_PASSWORD))
        wrong = world.phone("10.0.0.3", aor="sip:you@10.0.0.8", password=HA1)
        for phone in (pbx, me, you, wrong):
            watch.phone(phone)

        @you.on_call
        async def handle(call: Any) -> None:
            await call.answer()
            watch.objects(call)
            await call.wait_ended()

        async with pbx, me, you:
            watch.objects(pbx)
            async with me.call("you") as call:
                watch.objects(me)
                watch.see(*me.accounts, me.accounts[0].digest, me.core, me.signalling, me.statistics(), call.remote, call.identity)
                await call.send_digits("73", via="info")
            try:
                await wrong.start()
            except AuthenticationError as error:
                watch.error(error)
            watch.objects(wrong)
            await wrong.close()
            watch.objects(you)

    world.run_alone(story)
    assert any(b"application/dtmf" in message.data for message in watch.trace)
    # A ladder and a trace are asked for to see the keys; a log is not.
    assert "Signal" not in watch.caplog.text
    watch.check()


def test_what_a_peer_sends_is_told_without_its_secrets(watch: Watch) -> None:
    """Challenges, keys of SDES and ICE, passwords in URIs, malformed messages with all of these."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        watch.phone(phone)

        @phone.on_call
        async def handle(call: Any) -> None:
            watch.objects(call)
            await call.answer()

        call = await phone.dial("4711")
        peer.answer(await peer.request("INVITE"), 401, headers=(("WWW-Authenticate", CHALLENGE),))
        invite = await peer.request("INVITE")
        watch.objects(phone)
        peer.answer(invite, 401, headers=(("WWW-Authenticate", CHALLENGE.replace("SHA-256", "MD5")),))
        try:
            await call.wait_answered(10)
        except FlexosipError as error:
            watch.error(error)
        body = sdp() + f"k=clear:{SDES}\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{SDES}|2^20|1:32\r\na=ice-pwd:{ICE}\r\n"
        broken = body.replace("m=audio", "m=audio x")
        uri = f"sip:a:{URI_PASSWORD}@10.0.0.1"
        to_us = f"sip:{phone.accounts[0].contact_user}@10.0.0.1"
        for number, (method, text) in enumerate((("INVITE", body), ("INVITE", broken), ("OPTIONS", ""), ("INVITE", "v=0"))):
            headers = (
                ("Authorization", f'Digest username="x", nonce="{NONCE}", response="{HA1}"'),
                ("Refer-To", f"<{uri}>"),
                ("Reply-To", f"<{uri}>"),
            )
            peer.ask(method, text, uri=to_us, call_id=f"c{number}", headers=headers)
            await asyncio.sleep(0.5)
        via = "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK"
        for data in (
            f"INVITE {uri} SIP/2.0\r\n{via}x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
            f"INVITE {uri} SIP/3.0\r\n{via}y\r\nFrom: <{uri}\r\nTo: <{uri}>;tag=1\r\nSubject: \x01\r\nCall-ID: 1\r\nCSeq: x\r\n\r\n",
            f"X {uri}\r\nAuthorization: Digest nonce={NONCE}\r\n\r\n",
            f"OPTIONS sip:a@10.0.0.1 SIP/2.0\r\nVia: x\r\nFrom: <{uri}>;tag=1\r\nTo: <{uri}>\r\nCall-ID: 2\r\nCSeq: 1 OPTIONS\r\n\r\n",
        ):
            phone.signalling._receive_datagram(data.encode(), phone.signalling.driver._datagrams.flow_to(("10.0.0.9", 5060)))
        await asyncio.sleep(40)
        watch.objects(phone)

    World().run_with_peer(story, aor="sip:me@10.0.0.9", password=PASSWORD, register=False)
    watch.check()


def test_what_users_hand_in_is_not_repeated_to_them(watch: Watch) -> None:
    """Settings that are refused, and values that hold secrets."""
    settings: list[Any] = [
        lambda: Phone("sip:me@h", password=f"{PASSWORD}\n"),
        lambda: Phone(password=PASSWORD),
        lambda: Phone(f"sip:me:{URI_PASSWORD}@h:99999", password=PASSWORD),
        lambda: Phone(f"sip:me:{URI_PASSWORD}@h", registrar=f"sip:x:{URI_PASSWORD}@h h"),
        lambda: Credentials(ha1=f"{HA1}0"),
        lambda: Credentials(PASSWORD, HA1),
        lambda: Credentials(token=f"{TOKEN} x"),
        lambda: Phone("sip:me@h", password=Credentials(token=TOKEN)),
        lambda: Callers(require_auth={"a": CALLER_PASSWORD}, algorithms=("SHA1",)),
        lambda: Phone("sip:me@h").target_uri(f"sip:a:{URI_PASSWORD}@h h", None),
    ]
    for number, make in enumerate(settings):
        with pytest.raises(ConfigurationError) as caught:
            make()
        watch.error(caught.value)
        watch.texts.append(f"setting {number}")
    from random import Random

    watch.see(
        Credentials(PASSWORD), Credentials(ha1=HA1), Credentials(token=TOKEN), BearerClient(TOKEN, random=Random(1)),
        Callers(require_auth={"a": CALLER_PASSWORD}), Phone("sip:me@h", password=PASSWORD), Phone(f"sip:me:{URI_PASSWORD}@h").accounts,
    )  # fmt: skip
    leaks = [(text, secret) for text in watch.texts for secret in FIXED if secret in text]
    assert not leaks, leaks[0]


@pytest.mark.parametrize(
    "line",
    [
        f"Authorization: Bearer {TOKEN}",
        f"Proxy-Authorization:Bearer  {TOKEN}",
        f"AUTHORIZATION : bearer {TOKEN}",
        f"Authorization:\r\n Bearer {TOKEN}",
        f"Authorization: Basic {TOKEN}",
        f'Authorization: Digest nonce = "{NONCE}" , response = {HA1}',
        f'WWW-Authenticate: Digest nonce="{NONCE}", Digest nonce={NONCE}',
        f'Authentication-Info: nextnonce="{NONCE}", rspauth="{HA1}"',
        f'Contact: <sip:a:{URI_PASSWORD}@h>, "b" <sips:b:{URI_PASSWORD}@h>',
        f"Refer-To: <sip:a:{URI_PASSWORD}@h?Replaces=1>",
    ],
)
def test_every_way_to_write_a_secret_is_masked(line: str) -> None:
    data = f"OPTIONS sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n{line}\r\nContent-Length: 0\r\n\r\n".encode()
    masked = mask(data)
    assert len(masked) == len(data)
    assert not [secret for secret in FIXED if secret.encode() in masked]
