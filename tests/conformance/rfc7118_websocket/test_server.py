"""RFC 7118 §4 and §5, RFC 6455: what a WebSocket server for SIP takes, and how it refuses the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from flexosip.net.websocket import LARGEST_MESSAGE
from flexosip.pbx import Pbx
from tests.conformance.rfc7118_websocket.raw_websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawWebSocket, frame
from tests.network.company import PBX, Company

OPTIONS = (
    b"OPTIONS sip:10.0.0.1:80;transport=ws SIP/2.0\r\n"
    b"Via: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks;rport\r\n"
    b"From: <sip:a@example.org>;tag=1\r\nTo: <sip:10.0.0.1>\r\nCall-ID: asidkj3ss\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\r\n"
)
"""Without Content-Length: a frame has a length of its own (RFC 7118 §5.3)."""

Story = Callable[[RawWebSocket, Pbx], Awaitable[None]]


def run(company: Company, story: Story, *, port: int = 80) -> None:
    async def main() -> None:
        async with company.pbx() as pbx:
            client = RawWebSocket(await company.host("10.0.0.9").connect(PBX, port))
            await story(client, pbx)
            client.connection.abort()
            await asyncio.sleep(1)

    company.run(main())


def opened(company: Company, story: Story) -> None:
    async def after_opening(client: RawWebSocket, pbx: Pbx) -> None:
        assert await client.open() == "HTTP/1.1 101 Switching Protocols"
        await story(client, pbx)

    run(company, after_opening)


def is_answered(client: RawWebSocket) -> bool:
    return any(opcode in (TEXT, BINARY) and payload.startswith(b"SIP/2.0 200") for opcode, payload in client.frames)


# -- opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered", ["sip", "SIP2, sip", "chat,sip"])
@pytest.mark.parametrize("target", ["/", "/ws", "/a/b?c=d"])
def test_the_sub_protocol_sip_is_agreed_to_on_any_path(company: Company, offered: str, target: str) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        assert await client.open([f"Sec-WebSocket-Protocol: {offered}"], target=target) == "HTTP/1.1 101 Switching Protocols"
        assert "Sec-WebSocket-Protocol: sip" in client.answer
        assert "Sec-WebSocket-Extensions" not in client.answer

    run(company, story)


@pytest.mark.parametrize("headers", [[], ["Sec-WebSocket-Protocol: chat"], ["Sec-WebSocket-Protocol: sipx, xsip"]])
def test_without_the_sub_protocol_the_answer_is_400_and_the_connection_ends(company: Company, headers: list[str]) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        assert (await client.open(headers)).startswith("HTTP/1.1 400")
        assert client.lost == [None]

    run(company, story)


def test_a_browser_page_is_told_that_it_needs_a_websocket(company: Company) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
        await asyncio.sleep(1)
        assert client.heard.startswith(b"HTTP/1.1 426")
        assert client.lost == [None]

    run(company, story)


@pytest.mark.parametrize(
    "garbage",
    [b"\0" * 100, OPTIONS, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01" + bytes(200), b"POST / HTTP/1.1\r\n\r\n"],
    ids=["zeros", "SIP", "half a line", "TLS", "POST"],
)
def test_what_is_no_request_for_a_websocket_ends_the_connection(company: Company, garbage: bytes) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(garbage + b"\r\n\r\n")
        await asyncio.sleep(1)
        assert client.lost

    run(company, story)


@pytest.mark.parametrize("octets", [b"", b"GET / HTTP/1.1\r\nHost: example.org\r\n"])
def test_an_opening_that_does_not_end_is_given_up_after_ten_seconds(company: Company, octets: bytes) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        for _ in range(9):
            client.send(octets)
            octets_left = b"X-More: 1\r\n" if octets else b""
            client.send(octets_left)
            await asyncio.sleep(1)
        assert not client.lost or octets
        await asyncio.sleep(2)
        assert client.lost

    run(company, story)


def test_an_opening_without_end_is_bounded(company: Company) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200_000)
        await asyncio.sleep(1)
        assert client.lost

    run(company, story)


# -- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_comes_in_a_text_or_binary_frame_and_is_answered_in_one(company: Company, opcode: int) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(frame(opcode, OPTIONS))
        await asyncio.sleep(1)
        assert [opcode for opcode, _ in client.frames] == [TEXT]
        answer = client.frames[0][1].decode()
        assert answer.startswith("SIP/2.0 200")
        assert "Via: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks;rport=" in answer
        assert ";received=10.0.0.9" in answer

    opened(company, story)


def test_a_message_may_be_fragmented_and_pings_may_come_between(company: Company) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(
            frame(TEXT, OPTIONS[:10], final=False),
            frame(PING, b"hi"),
            frame(CONTINUATION, OPTIONS[10:90], final=False),
            frame(CONTINUATION, OPTIONS[90:]),
        )
        await asyncio.sleep(1)
        assert client.frames[0] == (PONG, b"hi")
        assert is_answered(client)

    opened(company, story)


def test_octet_by_octet_it_is_the_same(company: Company) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        for octet in frame(TEXT, OPTIONS):
            client.send(bytes([octet]))
        await asyncio.sleep(1)
        assert is_answered(client)

    opened(company, story)


def test_each_frame_is_one_message_and_what_follows_it_is_not_another(company: Company) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        length = OPTIONS.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")
        client.send(frame(TEXT, length + length.replace(b"z9hG4bK56sdasks", b"z9hG4bKsecond").replace(b"asidkj3ss", b"second")))
        await asyncio.sleep(1)
        assert b"z9hG4bKsecond" not in client.heard

    opened(company, story)


def test_a_message_that_is_no_sip_is_passed_over_and_the_next_is_taken(company: Company) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(frame(TEXT, b"hello"), frame(BINARY, b"\0\1\2"), frame(TEXT, b""), frame(TEXT, OPTIONS))
        await asyncio.sleep(1)
        assert is_answered(client)
        assert not client.lost

    opened(company, story)


def test_line_breaks_keep_alive_as_on_tcp(company: Company) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(frame(TEXT, b"\r\n\r\n"), frame(TEXT, b"\r\n"), frame(BINARY, b"\r\n\r\n"))
        await asyncio.sleep(1)
        assert [payload for _, payload in client.frames] == [b"\r\n", b"\r\n"]

    opened(company, story)


# -- what breaks the rules (RFC 6455 §7.4.1) --------------------------------------------------------------------------


BROKEN = {
    "unmasked": (frame(TEXT, OPTIONS, masked=False), 1002),
    "reserved bit": (frame(TEXT, OPTIONS, reserved=4), 1002),
    "reserved opcode": (frame(3, OPTIONS), 1002),
    "reserved control opcode": (frame(11, b""), 1002),
    "continuation of nothing": (frame(CONTINUATION, OPTIONS), 1002),
    "a message within a message": (frame(TEXT, b"SIP", final=False) + frame(TEXT, OPTIONS), 1002),
    "a fragmented ping": (frame(PING, b"", final=False), 1002),
    "a long ping": (frame(PING, bytes(126)), 1002),
    "a close frame of one octet": (frame(CLOSE, b"\x03"), 1002),
    "a forbidden close code": (frame(CLOSE, b"\x03\xed"), 1002),
    "too large": (frame(TEXT, b"", length=LARGEST_MESSAGE + 1), 1009),
    "as large as can be": (frame(BINARY, b"", length=2**63 - 1), 1009),
    "larger than a signed number": (frame(BINARY, b"", length=2**64 - 1), 1009),
    "text that is not UTF-8": (frame(TEXT, OPTIONS.replace(b"sip:a@", b"sip:\xff@")), 1007),
    "a letter cut in two": (frame(TEXT, "ä".encode()[:1], final=False) + frame(CONTINUATION, b"x"), 1007),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_answered_with_its_close_code_and_the_connection_ends(company: Company, name: str) -> None:
    octets, code = BROKEN[name]

    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(octets, frame(TEXT, OPTIONS))
        await asyncio.sleep(1)
        assert client.close_code == code
        assert client.lost == [None]
        assert not is_answered(client)
        assert pbx._driver is not None
        assert pbx._driver.statistics().connections == 0

    opened(company, story)


def test_text_is_utf_8_over_the_borders_of_fragments(company: Company) -> None:
    message = OPTIONS.replace(b"From: <", 'From: "Jörg" <'.encode())
    cut = message.index(b"\xc3") + 1

    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(frame(TEXT, message[:cut], final=False), frame(CONTINUATION, message[cut:]))
        await asyncio.sleep(1)
        assert is_answered(client)

    opened(company, story)


def test_fragments_without_end_are_bounded_in_size(company: Company) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(frame(TEXT, b"x" * 60_000, final=False))
        for _ in range(5):
            client.send(frame(CONTINUATION, b"x" * 60_000, final=False))
        await asyncio.sleep(1)
        assert client.close_code == 1009
        assert client.lost

    opened(company, story)


@pytest.mark.parametrize("piece", [frame(CONTINUATION, b"x", final=False), frame(CONTINUATION, b"", final=False), frame(PING, b"")])
def test_fragments_without_end_are_bounded_in_time(company: Company, piece: bytes) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(frame(TEXT, b"S", final=False))
        for _ in range(12):
            client.send(piece)
            await asyncio.sleep(1)
        assert client.lost

    opened(company, story)


def test_a_close_frame_is_answered_and_the_connection_ends(company: Company) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(frame(CLOSE, (1000).to_bytes(2, "big") + b"bye"), frame(TEXT, OPTIONS))
        await asyncio.sleep(1)
        assert client.close_code == 1000
        assert client.lost == [None]
        assert not is_answered(client)

    opened(company, story)


# -- keep-alive and limits --------------------------------------------------------------------------------------------


def test_a_quiet_client_is_pinged_and_stays_as_long_as_it_answers(company: Company) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        client.send(frame(TEXT, OPTIONS))
        await asyncio.sleep(1)
        for count in (1, 2, 3):
            for _ in range(32):
                await asyncio.sleep(1)
                if len([1 for opcode, _ in client.frames if opcode == PING]) >= count:
                    client.send(frame(PONG, client.frames[-1][1]))
                    break
            assert not client.lost
        await asyncio.sleep(45)
        assert client.lost, "the last ping had no answer"

    opened(company, story)


def test_a_client_that_brings_no_message_is_let_go_after_half_a_minute(company: Company) -> None:
    async def story(client: RawWebSocket, pbx: Pbx) -> None:
        for _ in range(28):
            client.send(frame(PING, b""))
            await asyncio.sleep(1)
        assert not client.lost
        await asyncio.sleep(3)
        assert client.lost

    opened(company, story)


def test_when_the_server_stops_it_says_that_it_is_going_away(company: Company) -> None:
    async def main() -> None:
        async with company.pbx():
            client = RawWebSocket(await company.host("10.0.0.9").connect(PBX, 80))
            await client.open()
        await asyncio.sleep(1)
        assert client.close_code == 1001
        assert client.lost

    company.run(main())
