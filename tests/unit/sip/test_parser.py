from __future__ import annotations

import pytest

from flexosip.sip.message import Request, Response
from flexosip.sip.parser import SipParseError, check_message, parse_message

START = b"OPTIONS sip:bell@example.org SIP/2.0\r\n"
FIELDS = (
    b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK-1\r\nFrom: <sip:t@example.net>;tag=1\r\nTo: <sip:bell@example.org>\r\n"
    b"Call-ID: 1@h\r\nCSeq: 1 OPTIONS\r\n"
)


def refused(data: bytes) -> SipParseError:
    with pytest.raises(SipParseError) as caught:
        check_message(parse_message(data))
    return caught.value


def accepted(data: bytes) -> Request | Response:
    message = parse_message(data)
    check_message(message)
    return message


def test_octets_are_kept_as_received() -> None:
    data = START + FIELDS + b"Content-Length: 2\r\n\r\nok surplus"
    message = accepted(data)
    assert (message.raw, message.body) == (data, b"ok")


def test_datagram_without_content_length_has_the_rest_as_body() -> None:
    assert accepted(START + FIELDS + b"\r\nbody").body == b"body"


def test_line_breaks_before_the_start_line_are_ignored() -> None:
    assert accepted(b"\r\n\r\n" + START + FIELDS + b"\r\n").headers.get("Call-ID") == "1@h"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\r\n",
        b"\x00",
        b"\x00\x00\x00\x00",
        b"jaK",
        b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"x" * 12,
        b"\x16\xfe\xfd",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"SIP/2.0\r\n\r\n",
        b"SIP/2.0 \r\n\r\n",
        b"SIP/3.0 200 OK\r\n\r\n",
        b" \r\n\r\n",
        b"OPTIONS\r\n\r\n",
        b"OP@IONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n\r\n",
        bytes(range(256)),
        b"\xff" * 1000,
    ],
)
def test_what_is_no_sip_message_has_no_answer(data: bytes) -> None:
    assert refused(data).message is None


@pytest.mark.parametrize(
    "field",
    [
        b"X-A: a\rb",
        b"X-A: a\nb",
        b"X-A: a\x00b",
        b"X-A: \x1b[2J",
        b"X\x00: a",
        b"X",
        b": a",
        b"X Y: a",
        b'X: "\\\r"',
        b"Subject: \x7f",
        b"\xff: a",
        b'X: "a\x00"',
    ],
)
def test_broken_line_or_control_character_is_a_400(field: bytes) -> None:
    error = refused(START + FIELDS + field + b"\r\n\r\n")
    assert error.status_hint == 400
    assert error.message is not None


def test_name_with_space_before_the_colon_is_the_same_header() -> None:
    # Otherwise a second From could hide behind it (CVE-2020-28361).
    assert refused(START + FIELDS + b"From : <sip:other@h>\r\n\r\n").status_hint == 400
    assert refused(START + FIELDS + b"f\t: <sip:other@h>\r\n\r\n").status_hint == 400
    assert refused(START + FIELDS + b"Call-ID\r\n : 2\r\n\r\n").status_hint == 400


def test_datagram_shorter_than_its_content_length_is_a_400() -> None:
    assert refused(START + FIELDS + b"Content-Length: 5\r\n\r\nbody").status_hint == 400


@pytest.mark.parametrize("value", [b"-1", b"+5", b"0x10", b"1e2", b"", b"5 ", b"99999999999999999999", b"9" * 5000, b"1,1", "٣".encode()])
def test_content_length_is_a_plain_number(value: bytes) -> None:
    data = START + FIELDS + b"Content-Length: " + value + b"\r\n\r\nbody!"
    if value == b"5 ":
        assert accepted(data).body == b"body!"
    else:
        assert refused(data).status_hint == 400


@pytest.mark.parametrize("number", [b"2147483648", b"4294967296", b"9" * 4000, b"-1", b"x"])
def test_cseq_out_of_range_is_a_400_or_dropped(number: bytes) -> None:
    fields = FIELDS.replace(b"CSeq: 1", b"CSeq: " + number)
    assert refused(START + fields + b"\r\n").message is not None
    assert refused(b"SIP/2.0 200 OK\r\n" + fields + b"\r\n").message is None


@pytest.mark.parametrize("status", [b"4294967301", b"099", b"200000", b"20", b"2x0", b"-20", b"700", "٢٠٠".encode()])
def test_impossible_status_is_dropped(status: bytes) -> None:
    assert refused(b"SIP/2.0 " + status + b" x\r\n" + FIELDS + b"\r\n").message is None


@pytest.mark.parametrize("start", [b"SIP/2.0 200", b"SIP/2.0 200 ", b"sip/2.0 200 OK"])
def test_status_line_may_lack_its_reason(start: bytes) -> None:
    response = accepted(start + b"\r\n" + FIELDS + b"\r\n")
    assert isinstance(response, Response) and response.status == 200


def test_limits_of_size_and_number() -> None:
    many = b"X-A: 1\r\n" * 300
    assert refused(START + FIELDS + many + b"\r\n").status_hint == 400
    assert refused(START + FIELDS + b"X-A: " + b"a" * 9000 + b"\r\n\r\n").status_hint == 513
    assert refused(START + FIELDS + b"X-A: a\r\n" + b" a\r\n" * 5000 + b"\r\n").status_hint == 513
    assert refused(START + FIELDS + b"X-A: a\r\n" * 20000 + b"\r\n").status_hint == 513
    vias = b"Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
    assert refused(START + FIELDS + vias * 70 + b"\r\n").status_hint == 400
    assert refused(START + FIELDS + b"v: " + b"SIP/2.0/UDP h," * 100 + b"\r\n\r\n").status_hint == 400
    accepted(START + FIELDS + vias * 69 + b"\r\n")
    accepted(START + FIELDS + b"X-A: 1\r\n" * 200 + b"\r\n")


@pytest.mark.parametrize(
    "uri",
    [
        b"sip:a@b@c",
        b"sip:a@[::1%25eth0]",
        b"sip:a@b:0",
        b"sip:a@b:65536",
        b"sip:a@999.1.1.1",
        b"sip:",
        b"<sip:a@b>",
        b"sip:a@b%0d%0a ",
        b"nocolon",
    ],
)
def test_uri_trap_in_the_request_line_is_a_400(uri: bytes) -> None:
    assert refused(START.replace(b"sip:bell@example.org", uri) + FIELDS + b"\r\n").status_hint == 400


def test_reason_of_an_answer_never_repeats_the_peer() -> None:
    error = refused(START + FIELDS.replace(b"1 OPTIONS", b"1 EVIL-WORD") + b"\r\n")
    assert "EVIL" not in error.reason + str(error)


def test_malformed_contact_of_another_device_does_not_hide_our_registration() -> None:
    fields = FIELDS.replace(b"OPTIONS", b"REGISTER") + b"Contact: <sip:us@h>;expires=60, <broken\r\n\r\n"
    accepted(b"SIP/2.0 200 OK\r\n" + fields)
    assert refused(b"SIP/2.0 200 OK\r\n" + fields.replace(b"REGISTER", b"INVITE")).message is None


@pytest.mark.parametrize("missing", [b"Via", b"From", b"To", b"Call-ID", b"CSeq"])
def test_mandatory_header_is_asked_for(missing: bytes) -> None:
    fields = b"".join(line for line in FIELDS.splitlines(keepends=True) if not line.startswith(missing))
    error = refused(START + fields + b"\r\n")
    assert error.status_hint == 400
    assert (error.message is None) is (missing == b"Via")


def test_every_beginning_of_a_message_is_refused_or_accepted_but_never_crashes() -> None:
    data = START + FIELDS + b"Content-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody"
    for cut in range(len(data)):
        refused(data[:cut])
    accepted(data)
