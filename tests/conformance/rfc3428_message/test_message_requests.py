"""MESSAGE (RFC 3428), told by a peer that writes every line."""

from __future__ import annotations

import pytest

from flexosip import Phone
from flexosip.phone.messaging.messages import Message, decoded
from tests.network.stage import RawPeer, World


def test_a_message_has_no_contact_and_its_answer_neither_contact_nor_body() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        phone.on_message(lambda message: None)
        peer.ask("MESSAGE", "hello", content_type="text/plain")
        response = await peer.response(200, "MESSAGE")
        assert response.contact is None and not response.body and response.to.tag

    World().run_with_peer(story)


def test_a_retransmitted_message_is_delivered_once() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        got: list[Message] = []
        phone.on_message(lambda message: got.append(message))
        data = peer.ask("MESSAGE", "hello", content_type="text/plain")
        await peer.response(200)
        peer.send(data)
        await peer.response(200)
        assert len(got) == 1

    World().run_with_peer(story)


def test_a_message_without_body_and_one_with_a_type_in_other_case_are_delivered() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        got: list[Message] = []
        phone.on_message(lambda message: got.append(message))
        peer.ask("MESSAGE")
        await peer.response(200)
        peer.ask("MESSAGE", "x", content_type="Text/Plain ; charset=iso-8859-1", call_id="raw-2")
        await peer.response(200)
        assert [(message.text, message.content_type) for message in got] == [("", ""), ("x", "text/plain")]

    World().run_with_peer(story)


def test_an_encoded_body_and_an_unknown_extension_are_refused() -> None:
    async def story(phone: Phone, peer: RawPeer) -> None:
        phone.on_message(lambda message: None)
        peer.ask("MESSAGE", "x", content_type="text/plain", headers=(("Content-Encoding", "gzip"),))
        assert (await peer.response(415)).headers.get("Accept-Encoding") == "identity"
        peer.ask("MESSAGE", "x", content_type="text/plain", headers=(("Require", "magic"),), call_id="raw-2")
        assert (await peer.response(420)).headers.get("Unsupported") == "magic"

    World().run_with_peer(story)


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"gr\xc3\xbc\xc3\x9fe", "text/plain", "grüße"),
        (b"gr\xfc\xdfe", "text/plain;charset=iso-8859-1", "grüße"),
        (b"gr\xfc\xdfe", 'text/plain;charset="ISO-8859-1"', "grüße"),
        (b"\xff", "text/plain;charset=utf-8", "\ufffd"),
        (b"x", "text/plain;charset=zlib_codec", "x"),
        (b"x", "text/plain;;;", "x"),
        (b"{}", "application/json", "{}"),
        (b"<x/>", "application/im-iscomposing+xml", "<x/>"),
        (b"x", "image/png", ""),
        (b"", "", ""),
    ],
)
def test_the_text_of_a_body_follows_its_charset(body: bytes, content_type: str, text: str) -> None:
    assert decoded(body, content_type) == text
