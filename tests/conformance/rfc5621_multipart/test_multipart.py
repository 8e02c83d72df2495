"""Bodies of several parts (RFC 5621, RFC 2046 §5.1)."""

from __future__ import annotations

import time

import pytest

from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Request
from flexosip.sip.multipart import parse_multipart, unwrap
from flexosip.sip.uri import SipUri

TYPE = 'multipart/mixed;boundary="b1"'
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n"


def body(*parts: bytes, boundary: bytes = b"b1", preamble: bytes = b"", end: bytes = b"--\r\n") -> bytes:
    text = preamble
    for part in parts:
        text += b"--" + boundary + b"\r\n" + part + b"\r\n"
    return text + b"--" + boundary + end


SDP_PART = b"Content-Type: application/sdp\r\n\r\n" + SDP
ISUP_PART = b"Content-Type: application/ISUP; version=itu\r\nContent-Disposition: signal; handling=optional\r\n\r\n\x01\x00\r\n--b\xff"


def invite(content: bytes, content_type: str = TYPE) -> Request:
    return Request("INVITE", SipUri.parse("sip:a@b"), [("Content-Type", content_type)], content)


def test_parts_have_headers_and_bodies_of_any_octets() -> None:
    parts = parse_multipart(body(SDP_PART, ISUP_PART, preamble=b"for old programs\r\n"), TYPE)
    assert [part.content_type for part in parts] == ["application/sdp", "application/isup"]
    assert parts[0].body == SDP
    assert parts[1].body == b"\x01\x00\r\n--b\xff"
    assert [part.optional for part in parts] == [False, True]


def test_a_part_without_headers_is_plain_text() -> None:
    (part,) = parse_multipart(body(b"\r\nhello"), "multipart/mixed;boundary=b1")
    assert (part.content_type, part.body) == ("text/plain", b"hello")


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (body(SDP_PART), "multipart/mixed"),
        (body(SDP_PART), "multipart/mixed;boundary"),
        (body(SDP_PART, boundary=b""), 'multipart/mixed;boundary=""'),
        (body(SDP_PART, boundary=b"x" * 10000), f"multipart/mixed;boundary={'x' * 10000}"),
        (body(SDP_PART, boundary=b"b "), 'multipart/mixed;boundary="b "'),
        (body(SDP_PART, end=b""), TYPE),
        (b"", TYPE),
        (b"--b1--\r\n", TYPE),
        (b"nothing", TYPE),
        (body(*[SDP_PART] * 17), TYPE),
        (body(b"no header\r\n\r\nx"), TYPE),
        (body(b"Bad Name: x\r\n\r\nx"), TYPE),
        (body(b"X: \x00\r\n\r\nx"), TYPE),
        (body(b"".join(b"X%d: y\r\n" % n for n in range(40)) + b"\r\nx"), TYPE),
        (b"--b1x\r\n\r\nhello\r\n--b1--", TYPE),
    ],
)
def test_a_malformed_multipart_body_is_refused(content: bytes, content_type: str) -> None:
    with pytest.raises(SipParseError):
        parse_multipart(content, content_type)


@pytest.mark.parametrize("content", [b"\r\n--b1" * 10000, b"--b1\r\n" * 10000, b"\r\n--b" * 15000, b"\r\n-" * 20000])
def test_a_hostile_body_costs_no_more_than_its_length(content: bytes) -> None:
    started = time.perf_counter()
    with pytest.raises(SipParseError):
        parse_multipart(content, TYPE)
    assert time.perf_counter() - started < 0.2


def test_the_session_description_takes_the_place_of_the_whole() -> None:
    request = invite(body(ISUP_PART, SDP_PART))
    unwrap(request, "application/sdp")
    assert request.body == SDP
    assert request.content_type == "application/sdp"


def test_a_body_without_the_wanted_part_or_of_one_part_stays_as_it_is() -> None:
    for request in (invite(body(ISUP_PART)), invite(SDP, "application/sdp"), invite(b"", TYPE)):
        before = request.body
        unwrap(request, "application/sdp")
        assert request.body == before


def test_a_nested_multipart_is_not_opened() -> None:
    nested = b"Content-Type: multipart/mixed;boundary=b2\r\n\r\n" + body(SDP_PART, boundary=b"b2")
    request = invite(body(nested))
    unwrap(request, "application/sdp")
    assert request.content_type == "multipart/mixed"


def test_a_part_that_is_required_and_not_understood_is_415() -> None:
    strange = b"Content-Type: application/strange\r\nContent-Disposition: x;handling=required\r\n\r\nx"
    with pytest.raises(SipParseError) as failure:
        unwrap(invite(body(strange, SDP_PART)), "application/sdp")
    assert failure.value.status_hint == 415
