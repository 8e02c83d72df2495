"""Callers that have to prove who they are, and what our own accounts prove themselves with."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from random import Random
from typing import Any

import pytest

from flexosip import AuthenticationError, Callers, ConfigurationError, Credentials, Limits, Phone
from flexosip.sip.bearer import BearerClient
from flexosip.sip.digest import DigestClient, parse_challenges
from flexosip.sip.message import Request, Response
from tests.network.stage import RawPeer, World, sdp, settle

USERS = {"door": "SECRET"}
REAL = (
    ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER, NOTIFY, MESSAGE"),
    ("User-Agent", "A phone of the usual length/1.2.3.4"),
    ("Subject", "x" * 150),
)
"""Headers that make an INVITE as long as those of real phones: over UDP a stranger gets no more than he sent."""


def answering(phone: Phone) -> list[Any]:
    calls: list[Any] = []

    @phone.on_call
    async def handle(call: Any) -> None:
        calls.append(call)
        await call.answer()
        await call.wait_ended()

    return calls


def authorized(response: Response, method: str = "INVITE", *, uri: str = "sip:flexosip@10.0.0.1:5060", **change: str) -> tuple[str, str]:
    """An Authorization for the challenge in `response`."""
    client = DigestClient(change.pop("user", "door"), change.pop("password", "SECRET"), random=Random(7))
    from flexosip.sip.parser import parse_message

    request = parse_message(
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: x\r\n"
        f"CSeq: 1 {method}\r\n\r\n".encode()
    )
    assert isinstance(request, Request)
    assert client.challenged(response, request)
    client.authorize(request)
    value = request.headers.get("Authorization")
    assert value is not None
    for name, text in change.items():
        value = value.replace(name, text)
    return ("Authorization", value)


@pytest.mark.parametrize(
    ("settings", "asked"), [({}, True), ({"aor": "sip:me@10.0.0.77", "register": False}, True), ({"accept_from": "10.0.0.0/8"}, False)]
)
def test_a_stranger_is_asked_for_the_password_and_whoever_was_named_is_not(settings: dict[str, Any], asked: bool) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        peer.ask("INVITE", sdp(), headers=REAL)
        if not asked:
            await peer.response(200, "INVITE")
            return
        challenge = await peer.response(401, "INVITE")
        assert {item.algorithm for item in parse_challenges(challenge)} == {"SHA-256", "MD5"}
        peer.within(challenge, "ACK", cseq=1, branch="z9hG4bKraw1")
        assert not calls and phone.statistics().stack.server_transactions == 0
        ok = await peer.call(cseq=2, headers=(authorized(challenge), *REAL))
        assert [call.authenticated_as for call in calls] == ["door"]
        peer.within(ok, "BYE")
        await settle(phone)

    World().run_with_peer(story, callers=Callers(require_auth=USERS), **settings)


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE", "REFER", "REGISTER", "FOO"])
def test_every_method_but_ack_and_cancel_is_challenged(method: str) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        padding = (("Subject", "x" * 400),)
        peer.ask("CANCEL", headers=padding, call_id="c")
        peer.ask("ACK", headers=padding, call_id="a")
        await asyncio.sleep(1)
        assert not peer.seen
        peer.ask(method, headers=padding)
        await peer.response(401, method)
        assert phone.statistics().admission.challenged == 1

    World().run_with_peer(story, callers=Callers(require_auth=USERS))


@pytest.mark.parametrize(
    "wrong", [{"password": "WRONG"}, {"user": "nobody"}, {"user": ""}, {"uri=": 'uri="sip:x@y",x='}, {"realm=": 'realm="z",x='}]
)
def test_wrong_credentials_and_unknown_users_get_the_same_challenge(wrong: dict[str, str]) -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        peer.ask("INVITE", sdp(), headers=REAL)
        first = await peer.response(401, "INVITE")
        peer.ask("INVITE", sdp(), cseq=2, headers=(authorized(first, **wrong), *REAL))
        second = await peer.response(401, "INVITE")
        assert [name for name, _ in first.headers] == [name for name, _ in second.headers]
        assert not any(item.stale for item in parse_challenges(second)) and not calls

    World().run_with_peer(story, callers=Callers(require_auth=USERS))


def test_credentials_are_good_once_and_a_repetition_of_them_is_stale() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        calls = answering(phone)
        peer.ask("INVITE", sdp(), headers=REAL)
        header = authorized(await peer.response(401, "INVITE"))
        ok = await peer.call(cseq=2, headers=(header, *REAL))
        peer.ask("INVITE", sdp(), call_id="replayed", headers=(header, *REAL))
        again = await peer.response(401, "INVITE")
        assert all(item.stale for item in parse_challenges(again)) and len(calls) == 1
        peer.within(ok, "BYE")
        await settle(phone)
        peer.ask("INVITE", sdp(), call_id="old", headers=REAL)
        challenge = await peer.response(401, "INVITE")
        await asyncio.sleep(301)
        peer.ask("INVITE", sdp(), call_id="old", cseq=2, headers=(authorized(challenge), *REAL))
        assert all(item.stale for item in parse_challenges(await peer.response(401, "INVITE")))

    World().run_with_peer(story, callers=Callers(require_auth=USERS))


def test_challenging_strangers_takes_no_memory() -> None:
    """D11: nothing is kept of a request that was challenged."""

    async def story(phone: Phone, peer: RawPeer) -> None:
        signalling = phone.signalling
        flow = signalling.driver._datagrams.flow_to(("10.0.0.9", 5060))
        signalling.driver.transmit = lambda *_: None  # type: ignore[method-assign]

        def ask(count: int) -> None:
            for number in range(count):
                signalling._receive_datagram(
                    b"OPTIONS sip:a@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK%d;rport\r\nFrom: <sip:a@h>;tag=%d\r\n"
                    b"To: <sip:a@h>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
                    % (number, number, number),
                    flow,
                )

        tracemalloc.start()
        ask(800)
        before = tracemalloc.get_traced_memory()[0]
        ask(800)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert phone.statistics().admission.challenged == 1600
        assert grown < 60_000
        assert phone.statistics().stack.server_transactions == 0

    World().run_with_peer(story, callers=Callers(require_auth=USERS), limits=Limits(source_rate=None, total_rate=None))


def test_being_challenged_a_hundred_thousand_times_takes_no_memory_and_makes_no_loop() -> None:
    """D5, D11, AST-2020-002: ever new realms, nonces and calls."""
    client = DigestClient("me", "SECRET", random=Random(1))
    request = request_of("INVITE")

    def challenge(count: int, first: int) -> int:
        tries = 0
        for number in range(first, first + count):
            if number % 5 == 0:
                request.headers.set("Call-ID", f"call-{number}")
            request.headers.set("CSeq", f"{number + 1} INVITE")
            tries += client.challenged(refusal(request, value=f'Digest realm="r{number}", nonce="{number:040d}", qop="auth"'), request)
        return tries

    tracemalloc.start()
    challenge(1500, 0)
    before = tracemalloc.get_traced_memory()[0]
    challenge(1500, 1500)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 60_000
    # No call is tried more than a few times, whatever its server makes up.
    assert challenge(97_000, 3000) <= 19_400 * 6


def test_guessing_passwords_is_slow() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        peer.ask("INVITE", sdp(), call_id="first", headers=REAL)
        challenge = await peer.response(401, "INVITE")
        for number in range(600):
            peer.ask("INVITE", sdp(), call_id=f"guess-{number}", headers=(authorized(challenge, password=f"guess{number}"), *REAL))
            await asyncio.sleep(0.05)
        assert 50 <= phone.statistics().admission.challenged <= 80

    World().run_with_peer(story, callers=Callers(require_auth=USERS), limits=Limits(excess="silence"))


def test_a_phone_with_the_password_calls_one_that_asks_for_it() -> None:
    world = World()

    async def story() -> None:
        callee = world.phone("10.0.0.2", callers=Callers(require_auth=USERS.get, realm="house"))
        caller = world.phone("10.0.0.1", aor="sip:door@10.0.0.2", password="SECRET", register=False)
        wrong = world.phone("10.0.0.3", aor="sip:door@10.0.0.2", password="WRONG", register=False)
        async with callee, caller, wrong:
            calls = answering(callee)
            async with caller.call("me"):
                assert calls[0].authenticated_as == "door"
            with pytest.raises(AuthenticationError):
                await wrong.call("me")
            await settle(caller, callee, wrong)

    world.run_alone(story)


# -- what our accounts prove themselves with --------------------------------------------------------------------------------


def ha1(algorithm: str) -> str:
    return hashlib.new(algorithm, b"me:house:SECRET").hexdigest()


@pytest.mark.parametrize(
    ("hashes", "offered", "used"),
    [
        (ha1("md5"), "MD5", "MD5"),
        (ha1("md5"), "SHA-256 MD5", "MD5"),
        (ha1("sha256"), "SHA-256 MD5", "SHA-256"),
        ((ha1("md5"), ha1("sha256")), "MD5 SHA-256", "SHA-256"),
        (f"SHA-512-256:{ha1('sha512_256')}", "SHA-512-256 MD5", "SHA-512-256"),
        (ha1("sha256"), "MD5", None),
    ],
)
def test_the_hash_of_the_password_does_in_its_place(hashes: Any, offered: str, used: str | None) -> None:
    """Row 25: HA1."""
    world = World()

    async def story() -> None:
        callers = Callers(require_auth={"me": "SECRET"}, realm="house", algorithms=tuple(offered.split()))
        callee = world.phone("10.0.0.2", callers=callers)
        caller = world.phone("10.0.0.1", aor="sip:me@10.0.0.2", password=Credentials(ha1=hashes), register=False)
        sent: list[bytes] = []
        caller.on_wire(lambda message: sent.append(message.data) if message.direction == "out" else None)
        async with callee, caller:
            answering(callee)
            if used is None:
                with pytest.raises(AuthenticationError):
                    await caller.call("me")
                assert not any(b"Authorization" in data for data in sent)
            else:
                async with caller.call("me"):
                    pass
                assert any(b"algorithm=%s," % used.encode() in data for data in sent)
            await settle(caller, callee)

    world.run_alone(story)


def test_md5_can_be_refused_by_an_account() -> None:
    """D11: a server that knows nothing better gets no hash that could be broken."""
    world = World()

    async def story() -> None:
        callee = world.phone("10.0.0.2", callers=Callers(require_auth={"me": "SECRET"}, algorithms=("MD5",)))
        password = Credentials("SECRET", algorithms=("SHA-512-256", "SHA-256"))
        caller = world.phone("10.0.0.1", aor="sip:me@10.0.0.2", password=password, register=False)
        async with callee, caller:
            with pytest.raises(AuthenticationError):
                await caller.call("me")

    world.run_alone(story)


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"password": "a", "ha1": "0" * 32}, {"ha1": "xyz"}, {"ha1": "SHA-512-256:" + "0" * 32}, {"ha1": "MD5:" + "0" * 64},
        {"token": "a b"}, {"token": ""}, {"password": "a\nb"}, {"password": "a", "algorithms": ()},
        {"password": "a", "algorithms": ("SHA1",)},
    ],
)  # fmt: skip
def test_credentials_that_cannot_be_are_refused_without_saying_them(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Credentials(**wrong)
    for secret in ("xyz", "a b", "a\nb", "0" * 32):
        assert secret not in caught.value.explain()


def test_a_token_needs_tls() -> None:
    """Row 25, RFC 8898 §2.1."""
    with pytest.raises(ConfigurationError, match="TLS"):
        Phone("sip:me@server.example", password=Credentials(token="abc"))
    Phone("sips:me@server.example", password=Credentials(token="abc"))
    Phone("sip:me@server.example", password=Credentials(token="abc"), transport="tls")


class Tokens:
    """Gives one token after the other."""

    def __init__(self, *tokens: str) -> None:
        self.left = list(tokens)

    def __call__(self) -> str:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def request_of(method: str = "REGISTER") -> Request:
    from flexosip.sip.parser import parse_message

    request = parse_message(
        f"{method} sip:h SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: x\r\n"
        f"CSeq: 1 {method}\r\n\r\n".encode()
    )
    assert isinstance(request, Request)
    return request


def refusal(
    request: Request, header: str = "WWW-Authenticate", value: str = 'Bearer realm="h", authz_server="https://a.example", scope="sip"'
) -> Response:
    return request.create_response(401 if header[0] == "W" else 407, headers=((header, value),))


def test_a_token_is_offered_to_who_asks_for_one_and_never_twice_to_who_refused_it() -> None:
    """Row 25, D11."""
    client = BearerClient(Tokens("one", "two", "two"), realms=frozenset({"h"}), random=Random(1))
    request = request_of()
    client.authorize(request)
    assert "Authorization" not in request.headers
    assert client.challenged(refusal(request), request)
    client.authorize(request)
    assert request.headers.get("Authorization") == "Bearer one"
    assert client.challenged(refusal(request, value='Bearer realm="h", error="invalid_token"'), request)
    client.authorize(request)
    assert request.headers.get("Authorization") == "Bearer two"
    assert not client.challenged(refusal(request), request)
    assert "one" not in repr(client) and "two" not in repr(client)


@pytest.mark.parametrize("value", ['Bearer realm="other"', 'Digest realm="h", nonce="n"', "Basic", 'Bearer realm="h', ""])
def test_other_challenges_get_no_token(value: str) -> None:
    client = BearerClient("one", realms=frozenset({"h"}), random=Random(1))
    request = request_of()
    assert not client.challenged(refusal(request, value=value or "x"), request)
    client.authorize(request)
    assert "Authorization" not in request.headers


def test_a_proxy_gets_its_own_header_and_registers_stay_apart() -> None:
    client = BearerClient("one", random=Random(1))
    invite = request_of("INVITE")
    assert client.challenged(refusal(invite, "Proxy-Authenticate"), invite)
    client.authorize(invite)
    assert invite.headers.get("Proxy-Authorization") == "Bearer one" and "Authorization" not in invite.headers
    register = request_of()
    client.authorize(register)
    assert "Proxy-Authorization" not in register.headers


@pytest.mark.parametrize("source", [lambda: "no tok en", lambda: None, {}.popitem])
def test_a_function_that_gives_no_token_is_told_in_the_log(source: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = BearerClient(source, random=Random(1))
    request = request_of()
    assert not client.challenged(refusal(request), request)
    assert "token" in caplog.text and "no tok en" not in caplog.text
