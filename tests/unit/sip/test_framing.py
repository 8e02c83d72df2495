from __future__ import annotations

import pytest

from flexosip.sip.framing import StreamFramer
from flexosip.sip.grammar import SipParseError
from tests.corpus import path

HEAD = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n"
ONE = (HEAD + "Content-Length: 4\r\n\r\nbody").encode()
TWO = (HEAD + "L :\r\n 0\r\n\r\n").encode()


def feed(data: bytes, size: int) -> tuple[list[bytes], StreamFramer]:
    framer = StreamFramer()
    messages: list[bytes] = []
    for start in range(0, len(data), size):
        messages += framer.receive(data[start : start + size])
    return messages, framer


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1460, 10**6])
def test_messages_do_not_depend_on_where_the_stream_is_cut(size: int) -> None:
    messages, framer = feed(b"\r\n" + ONE + TWO + b"\r\n\r\n" + ONE + b"\r\n\r\n" + ONE[:-1], size)
    assert messages == [ONE, TWO, ONE]
    assert framer.pings == 2
    assert framer.pending == len(ONE) - 1


def test_ping_is_counted_and_the_answer_to_our_own_is_none() -> None:
    framer = StreamFramer()
    framer.pongs_due = 2
    framer.receive(b"\r\n")
    framer.receive(b"\r\n")
    assert (framer.pings, framer.pongs, framer.pongs_due) == (0, 2, 0)
    framer.receive(b"\r\n")
    framer.receive(b"\r\n")
    assert framer.pings == 1


@pytest.mark.parametrize("cut", range(len(ONE)))
def test_message_cut_anywhere_is_waited_for(cut: int) -> None:
    framer = StreamFramer()
    assert framer.receive(ONE[:cut]) == []
    assert framer.receive(ONE[cut:]) == [ONE]
    assert framer.pending == 0


@pytest.mark.parametrize(
    ("status", "length"),
    [
        (400, "Content-Length: -1\r\n"),
        (400, "Content-Length: +5\r\n"),
        (400, "Content-Length: 0x10\r\n"),
        (400, "Content-Length: \r\n"),
        (400, "Content-Length: 99999999999999999999\r\n"),
        (400, "Content-Length: 1\r\nl: 2\r\n"),
        (400, ""),
        (400, "Content-Length: 1 2\r\n"),
        (413, "Content-Length: 262145\r\n"),
        (413, "Content-Length: 9999999999\r\n"),
    ],
)
def test_unusable_content_length_is_answered_and_fatal(status: int, length: str) -> None:
    framer = StreamFramer()
    with pytest.raises(SipParseError) as caught:
        framer.receive((HEAD + length + "\r\n").encode())
    assert caught.value.status_hint == status
    assert caught.value.message is not None and caught.value.message.via.host == "h"
    assert framer.pending == 0
    with pytest.raises(SipParseError):
        framer.receive(ONE)


def test_complete_messages_before_an_error_are_not_lost() -> None:
    framer = StreamFramer()
    assert framer.receive(ONE + b"\x16\x03\x01 hello") == [ONE]
    assert framer.error is not None
    with pytest.raises(SipParseError):
        framer.receive(b"")


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01", b"\x00", b"<xml", b"\rX", b" ", b"\n\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x80abc"]
)
def test_other_protocols_are_refused(data: bytes) -> None:
    with pytest.raises(SipParseError):
        StreamFramer().receive(data)


def test_endless_head_is_refused_without_keeping_it() -> None:
    framer = StreamFramer()
    with pytest.raises(SipParseError) as caught:
        for _ in range(100):
            framer.receive(b"A" * 1000)
    assert caught.value.status_hint == 513
    assert framer.pending == 0


def test_memory_follows_what_arrived_and_not_what_was_announced() -> None:
    framer = StreamFramer()
    framer.receive((HEAD + "Content-Length: 262144\r\n\r\n").encode())
    assert framer.pending < 200


@pytest.mark.parametrize("size", [1, 7, 1460, 10**7])
def test_real_stream_of_many_messages_is_cut_into_the_same_messages(size: int) -> None:
    data = path("rtckit/stream-lioneagle-sipparser.txt").read_bytes()
    whole = feed_until_error(data, 10**9)
    assert len(whole) > 10
    assert feed_until_error(data, size) == whole


def feed_until_error(data: bytes, size: int) -> list[bytes]:
    framer = StreamFramer()
    messages: list[bytes] = []
    try:
        for start in range(0, len(data), size):
            messages += framer.receive(data[start : start + size])
    except SipParseError:
        pass
    return messages
