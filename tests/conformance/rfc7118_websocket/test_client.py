"""RFC 7118 §4 to §6 and §10: a phone that reaches its server by WebSocket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flexosip import ConfigurationError, MissingExtra, NetworkError, Phone, extras
from flexosip.simulation.stream import VirtualConnection
from flexosip.sip.message import Request
from flexosip.sip.parser import parse_message
from tests.conformance.rfc7118_websocket.raw_websocket import CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from tests.network.company import PBX, Company

ACCEPTED = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # for another key
Story = Callable[["Server", Phone], Awaitable[None]]


class Server:
    """A WebSocket server whose answers a test chooses; it answers every REGISTER with 200."""

    early = b""
    """what follows the opening in the same piece"""

    def __init__(self, connection: VirtualConnection, answer: str | None = None) -> None:
        self.connection = connection
        self.heard = bytearray()
        self.request = ""
        self.messages: list[Request] = []
        self.frames: list[tuple[int, bytes]] = []
        self.lost: list[object] = []
        self._answer = answer
        connection.on_data = self._on_data
        connection.on_lost = self.lost.append

    def _on_data(self, data: bytes) -> None:
        self.heard += data
        if not self.request:
            head, end, rest = bytes(self.heard).partition(b"\r\n\r\n")
            if not end:
                return
            self.request, self.heard[:] = head.decode(), rest
            self.connection.write(self._opening().encode() + self.early)
        while self._frame():
            pass

    def _opening(self) -> str:
        if self._answer is not None:
            return self._answer
        import base64
        import hashlib

        key = re.search(r"Sec-WebSocket-Key: (\S+)", self.request)
        assert key is not None
        digest = hashlib.sha1((key[1] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        return (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
        )

    def _frame(self) -> bool:
        data = bytes(self.heard)
        if len(data) < 6:
            return False
        assert data[1] & 128, "a client's frame is masked"
        length, start = data[1] & 127, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        if len(data) < start + 4 + length:
            return False
        mask = data[start : start + 4]
        payload = bytes(octet ^ mask[index % 4] for index, octet in enumerate(data[start + 4 : start + 4 + length]))
        del self.heard[: start + 4 + length]
        self.frames.append((data[0] & 15, payload))
        if data[0] & 15 == TEXT:
            message = parse_message(payload)
            if not isinstance(message, Request):
                return True
            self.messages.append(message)
            if message.method == "REGISTER":
                contacts = tuple(("Contact", value) for value in message.headers.get_all("Contact"))
                self.send(frame(TEXT, bytes(message.create_response(200, to_tag="x", headers=contacts)), masked=False))
        return True

    def send(self, *frames: bytes) -> None:
        for octets in frames:
            self.connection.write(octets)


def run(company: Company, story: Story, *, answer: str | None = None, **settings: Any) -> list[Server]:
    """Run `story` with a started phone and its server; the servers, one for each connection."""
    servers: list[Server] = []

    async def main() -> None:
        listener = await company.host(PBX).open_listener(PBX, 80, lambda connection: servers.append(Server(connection, answer)))
        try:
            async with company.phone("alice", settings.pop("transport", "ws"), **settings) as phone:
                await story(servers[0], phone)
        finally:
            listener.close()
            await asyncio.sleep(1)

    company.run(main())
    return servers


async def nothing(server: Server, phone: Phone) -> None:
    """Registered is enough."""


def test_the_opening_asks_for_sip_at_the_path_of_the_url(company: Company) -> None:
    (server,) = run(company, nothing, transport=None, proxy="ws://example.org/ws?token=1")
    lines = server.request.split("\r\n")
    assert lines[0] == "GET /ws?token=1 HTTP/1.1"
    assert "Host: example.org" in lines
    assert "Sec-WebSocket-Protocol: sip" in lines
    assert "Sec-WebSocket-Version: 13" in lines
    assert not [line for line in lines if line.startswith("Sec-WebSocket-Extensions")]


def test_without_a_url_the_path_is_the_root_and_the_port_that_of_the_web(company: Company) -> None:
    (server,) = run(company, nothing)
    assert server.request.startswith("GET / HTTP/1.1\r\nHost: example.org\r\n")


def test_via_and_contact_name_nobody(company: Company) -> None:
    (server,) = run(company, nothing)
    register = server.messages[0]
    assert re.fullmatch(r"[0-9a-f]{12}\.invalid", register.via.host)
    assert register.via.transport == "WS"
    contact = register.contacts[0].uri
    assert str(contact).endswith(f"@{register.via.host};transport=ws")


def test_the_extra_that_is_missing_is_named(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(extra: str, module: str, purpose: str) -> Any:
        raise MissingExtra(extra, purpose)

    monkeypatch.setattr(extras, "require", missing)

    async def story() -> None:
        with pytest.raises(MissingExtra, match="SIP over WebSocket needs the optional part 'web'"):
            await company.phone("alice", "ws").start()
        with pytest.raises(MissingExtra):
            await company.pbx().start()

    company.run(story())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nNo!", "it answered 404 Not Found"),
        ("HTTP/1.1 301 Moved\r\nLocation: /ws\r\nContent-Length: 0\r\n\r\n", "it answered 301 Moved"),
        ("SIP/2.0 400 Bad Request\r\n\r\n", "its answer makes no sense"),
        (
            f"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPTED}\r\n\r\n",
            "Sec-WebSocket-Accept",
        ),
    ],
    ids=["404", "301", "SIP", "wrong key"],
)
def test_a_server_that_does_not_open_a_websocket_is_told_with_its_answer(company: Company, answer: str, words: str) -> None:
    with pytest.raises(NetworkError, match="does not open a WebSocket for SIP") as caught:
        run(company, nothing, answer=answer)
    assert words in str(caught.value)
    assert "/ws" in caught.value.explain()


def test_a_server_that_does_not_agree_to_sip_is_left(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Server._opening
    monkeypatch.setattr(Server, "_opening", lambda server: plain(server).replace("Sec-WebSocket-Protocol: sip\r\n", ""))
    with pytest.raises(NetworkError, match="did not agree to the sub-protocol 'sip'"):
        run(company, nothing)


def test_a_server_that_says_nothing_is_given_up_after_ten_seconds(company: Company) -> None:
    with pytest.raises(NetworkError, match="did not open the WebSocket in 10 s"):
        run(company, nothing, answer="")


def test_what_comes_together_with_the_opening_is_not_lost(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "OPTIONS sip:alice@x.invalid;transport=ws SIP/2.0", "Via: SIP/2.0/WS 10.0.0.1;branch=z9hG4bKfirst", "Max-Forwards: 70",
        "From: <sip:p@example.org>;tag=1", "To: <sip:alice@example.org>", "Call-ID: first", "CSeq: 1 OPTIONS", "", "",
    )  # fmt: skip
    monkeypatch.setattr(Server, "early", frame(TEXT, "\r\n".join(lines).encode(), masked=False))
    answers: list[bytes] = []

    async def story(server: Server, phone: Phone) -> None:
        await asyncio.sleep(1)
        answers.extend(payload for _, payload in server.frames if payload.startswith(b"SIP/2.0 200"))

    run(company, story, accept_from="any")
    assert len(answers) == 1


def test_fragments_of_the_server_are_put_together(company: Company) -> None:
    async def story(server: Server, phone: Phone) -> None:
        request = b"OPTIONS sip:a@b SIP/2.0\r\n"
        server.send(frame(TEXT, request, final=False, masked=False), frame(PING, b"between", masked=False))
        server.send(frame(CONTINUATION, b"garbage: yes\r\n\r\n", masked=False))
        await asyncio.sleep(1)
        assert (PONG, b"between") in server.frames
        assert not server.lost

    run(company, story)


def test_a_masked_frame_of_a_server_is_an_error_of_the_protocol(company: Company) -> None:
    async def story(server: Server, phone: Phone) -> None:
        server.send(frame(TEXT, b"x"))
        await asyncio.sleep(1)
        codes = [int.from_bytes(payload[:2], "big") for opcode, payload in server.frames if opcode == CLOSE]
        assert codes == [1002]
        assert server.lost

    run(company, story)


def test_a_server_that_does_not_answer_pings_has_gone_and_the_phone_registers_again(company: Company) -> None:
    async def story(server: Server, phone: Phone) -> None:
        await asyncio.sleep(38)
        assert (PING, b"flexosip") in server.frames
        assert not server.lost
        await asyncio.sleep(5)
        assert server.lost
        await asyncio.sleep(60)
        assert phone.accounts[0].registered

    assert len(run(company, story)) > 1


def test_after_the_servers_goodbye_the_phone_comes_back(company: Company) -> None:
    async def story(server: Server, phone: Phone) -> None:
        server.send(frame(CLOSE, (1001).to_bytes(2, "big"), masked=False))
        await asyncio.sleep(1)
        assert (CLOSE, (1001).to_bytes(2, "big")) in server.frames
        assert server.lost
        await asyncio.sleep(60)
        assert phone.accounts[0].registered

    assert len(run(company, story)) > 1


def test_a_phone_that_closes_says_goodbye(company: Company) -> None:
    (server,) = run(company, nothing)
    assert server.messages[-1].method == "REGISTER"
    assert server.frames[-1] == (CLOSE, (1001).to_bytes(2, "big"))


@pytest.mark.parametrize(
    "url", ["ws://", "wss://user@host/", "ws://host:0x50/", "ws://host/a b", "wss://host/#top", "ws://host;x=y/", "ws://host/\r\nX: y"]
)
def test_what_is_no_url_of_a_websocket_is_a_mistake(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Phone("sip:alice@example.org", proxy=url)
