"""Secrets never leave by way of a log, a ladder or a capture file."""

from __future__ import annotations

import time

import pytest

from flexosip.observe import WireMessage, mask, mask_keys
from tests.unit.observe import scene

HEAD = b"INVITE sip:b@example.com SIP/2.0\r\nCSeq: 1 INVITE\r\n"


def masked(header: bytes, body: bytes = b"") -> bytes:
    data = HEAD + header + b"\r\n\r\n" + body
    result = mask(data)
    assert len(result) == len(data)
    return result


def test_response_nonce_and_cnonce_are_masked_and_the_rest_stays() -> None:
    text = mask(scene.request("REGISTER", "sip:home.test", "a", 1, extra=scene.CREDENTIALS)).decode()
    assert 'username="bell", realm="home"' in text
    assert "nc=00000001, qop=auth" in text
    for secret in ("0123456789abcdef", "abc123nonce", "c0ffee"):
        assert secret not in text


@pytest.mark.parametrize(
    "header",
    [
        b'Proxy-Authorization: Digest response="SECRET"',
        b'AUTHORIZATION :\tDigest\r\n username="u",\r\n\tresponse="SECRET"',
        b"authorization: Digest response=SECRET, uri=x",
        b'Authorization: Digest username="a\\"b", response = "SECRET"',
        b"Authorization: Basic SECRET",
        b"Authorization: Bearer SECRET",
        b"Authorization: SECRET",
        b'WWW-Authenticate: Digest realm="x", nonce="SECRET"',
        b'Proxy-Authenticate: Digest nonce="SECRET", realm="x"',
        b'Authentication-Info: nextnonce="SECRET", rspauth="SECRET"',
        b'Authorization: Digest response="SECRET',
        b"Contact: <sip:bell:SECRET@192.0.2.1>",
        b"To: sips:bell:SECRET@host",
    ],
)
def test_no_form_of_a_header_lets_a_secret_through(header: bytes) -> None:
    assert b"SECRET" in HEAD + header
    assert b"SECRET" not in masked(header)


@pytest.mark.parametrize(
    "line",
    [
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRET|2^20|1:32",
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x|2^20;inline:SECRET|1:32",
        b"k=clear:SECRET",
        b"a=ice-pwd:SECRET",
    ],
)
def test_keys_in_sdp_are_masked(line: bytes) -> None:
    result = masked(b"Content-Type: application/sdp", b"v=0\r\n" + line + b"\r\na=rtpmap:8 PCMA/8000\r\n")
    assert b"SECRET" not in result
    assert result.endswith(b"a=rtpmap:8 PCMA/8000\r\n")


def test_a_message_without_secrets_is_untouched() -> None:
    data = scene.request("INVITE", "sip:bell@home.test:5060;transport=udp", "a", 1, body=scene.SDP)
    assert mask(data) == data


def test_rtp_is_untouched() -> None:
    packet = scene.rtp(0.0, scene.PHONE_RTP, scene.BELL_RTP, 1)
    assert packet.masked is packet.data


def test_masking_takes_linear_time() -> None:
    def seconds(size: int) -> float:
        data = (
            HEAD
            + b"Authorization: Digest "
            + b'response="\\' * size
            + b"\r\n"
            + b"sip:" * size
            + b"\r\n\r\nk="
            + b"a=crypto: inline:" * size
        )
        start = time.perf_counter()
        mask(data)
        return time.perf_counter() - start

    small = min(seconds(500) for _ in range(3))
    large = min(seconds(4000) for _ in range(3))
    assert large < small * 8 * 6 + 0.05


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", "Signal=*\r\nDuration=160\r\n"),
        ("Application/DTMF-Relay", "signal = 11\r\n", "signal = **\r\n"),
        ("application/dtmf", "5", "*"),
        ("application/dtmf", "d=5\r\n", "d=*\r\n"),
        ("text/plain", "Signal=5\r\n", "Signal=5\r\n"),
    ],
)
def test_keys_told_by_info_can_be_hidden(content_type: str, body: str, expected: str) -> None:
    head = f"INFO sip:b@c SIP/2.0\r\nContent-Type: {content_type}\r\n\r\n"
    assert mask_keys((head + body).encode()) == (head + expected).encode()


def test_neither_repr_nor_str_of_a_message_shows_a_secret() -> None:
    data = scene.request("REGISTER", "sip:home.test", "a", 1, extra=scene.CREDENTIALS)
    message = WireMessage(0.0, "out", "udp", scene.PHONE, scene.PBX, data)
    assert "0123456789abcdef" not in repr(message)
    assert "0123456789abcdef" not in str(message)
    assert str(message).startswith("sent to 192.0.2.1:5060 by udp:\nREGISTER sip:home.test SIP/2.0\n")


def test_control_characters_of_a_stranger_do_not_reach_the_terminal() -> None:
    message = WireMessage(0.0, "in", "udp", scene.PHONE, scene.PBX, b"OPTIONS sip:a SIP/2.0\r\nSubject: \x1b[2J\x9b\r\n\r\n")
    assert "\x1b" not in str(message)
    assert "\x9b" not in str(message)
