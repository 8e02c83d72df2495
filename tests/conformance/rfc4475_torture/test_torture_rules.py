"""RFC 4475: what each torture message is about, told in small messages of our own."""

from __future__ import annotations

import pytest

from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import SipParseError, check_message, parse_message
from flexosip.sip.uri import OtherUri, SipUri

REQUEST_LINE = "OPTIONS sip:bell@example.org SIP/2.0"
HEADERS = {
    "Via": "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK-torture;rport",
    "Max-Forwards": "70",
    "From": '"Tester" <sip:tester@example.net>;tag=f1',
    "To": "<sip:bell@example.org>",
    "Call-ID": "torture.1@192.0.2.9",
    "CSeq": "17 OPTIONS",
    "Content-Length": "0",
}


def wire(start: str = REQUEST_LINE, *extra: str, body: bytes = b"", **changes: str | None) -> bytes:
    """A correct OPTIONS with a few things changed; a header is named with `_` for `-`, None takes it away."""
    headers = dict(HEADERS)
    for name, value in changes.items():
        key = name.replace("_", "-")
        if value is None:
            headers.pop(key)
        else:
            headers[key] = value
    lines = [start, *(f"{name}: {value}" for name, value in headers.items()), *extra]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def accepted(data: bytes) -> Request:
    message = parse_message(data)
    check_message(message)
    assert isinstance(message, Request)
    return message


def refused(data: bytes) -> SipParseError:
    with pytest.raises(SipParseError) as caught:
        check_message(parse_message(data))
    return caught.value


@pytest.mark.parametrize(
    ("status", "data"),
    [
        pytest.param(400, wire(Via="SIP/2.0/UDP 192.0.2.15;;,;,,"), id="3.1.2.1 extraneous header field separators"),
        pytest.param(400, wire(Content_Length="9999"), id="3.1.2.2 Content-Length larger than the message"),
        pytest.param(400, wire(Content_Length="-999"), id="3.1.2.3 negative Content-Length"),
        pytest.param(400, wire(CSeq="36893488147419103232 OPTIONS"), id="3.1.2.4 CSeq out of range"),
        pytest.param(400, wire(CSeq="2147483648 OPTIONS"), id="3.1.2.4 CSeq of 2**31"),
        pytest.param(400, wire(Max_Forwards="300"), id="3.1.2.4 Max-Forwards out of range"),
        pytest.param(400, wire(REQUEST_LINE, "Expires: 1E30"), id="3.1.2.4 Expires that is no number"),
        pytest.param(400, wire(To='"Mr. Bell <sip:bell@example.org>'), id="3.1.2.6 unterminated quoted string in a display name"),
        pytest.param(400, wire("OPTIONS <sip:bell@example.org> SIP/2.0"), id="3.1.2.7 angle brackets around the Request-URI"),
        pytest.param(400, wire("OPTIONS sip:bell@example.org; lr SIP/2.0"), id="3.1.2.8 white space within the Request-URI"),
        pytest.param(400, wire("OPTIONS  sip:bell@example.org  SIP/2.0"), id="3.1.2.9 several spaces within the start line"),
        pytest.param(400, wire(REQUEST_LINE + "  "), id="3.1.2.10 spaces at the end of the start line"),
        pytest.param(400, wire("OPTIONS sip:bell@example.org?Route=%3Csip:x.org%3E SIP/2.0"), id="3.1.2.11 headers in the Request-URI"),
        pytest.param(400, wire(REQUEST_LINE, "Date: Fri, 01 Jan 2010 16:00:00 EST"), id="3.1.2.12 time zone other than GMT in Date"),
        pytest.param(
            400, wire(REQUEST_LINE, "Contact: sip:bell@example.org?Route=%3Csip:x.org%3E"), id="3.1.2.13 name-addr without brackets"
        ),
        pytest.param(400, wire(To='"Bell" < sip:bell@example.org >'), id="3.1.2.14 spaces within addr-spec"),
        pytest.param(400, wire(To="Bell, Alexander <sip:bell@example.org>"), id="3.1.2.15 non-token characters in a display name"),
        pytest.param(505, wire("OPTIONS sip:bell@example.org SIP/7.0"), id="3.1.2.16 unknown protocol version"),
        pytest.param(400, wire(CSeq="17 INVITE"), id="3.1.2.17 start line and CSeq method mismatch"),
        pytest.param(501, wire("NEWMETHOD sip:bell@example.org SIP/2.0"), id="3.1.2.18 unknown method with CSeq method mismatch"),
        pytest.param(400, wire(Call_ID=None), id="3.3.1 missing Call-ID"),
        pytest.param(400, wire(From=None), id="3.3.1 missing From"),
        pytest.param(400, wire(To=None), id="3.3.1 missing To"),
        pytest.param(416, wire("OPTIONS nobodyKnows:opaque SIP/2.0"), id="3.3.2 Request-URI with unknown scheme"),
        pytest.param(416, wire("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0"), id="3.3.3 Request-URI with known but other scheme"),
        pytest.param(400, wire(REQUEST_LINE, "CSeq: 18 OPTIONS"), id="3.3.8 CSeq twice"),
        pytest.param(400, wire(REQUEST_LINE, "Call-ID: other@192.0.2.9"), id="3.3.8 Call-ID twice"),
        pytest.param(400, wire(REQUEST_LINE, "From: <sip:other@example.org>;tag=2"), id="3.3.8 From twice"),
        pytest.param(400, wire(REQUEST_LINE, "t: <sip:other@example.org>"), id="3.3.8 To twice, once by its compact name"),
        pytest.param(400, wire(REQUEST_LINE, "Max-Forwards: 5"), id="3.3.8 Max-Forwards twice"),
        pytest.param(400, wire(REQUEST_LINE, "l: 5", body=b"abcde"), id="3.3.9 two different Content-Length"),
    ],
)
def test_invalid_request_gets_its_status_and_can_be_answered(status: int, data: bytes) -> None:
    error = refused(data)
    assert error.status_hint == status
    assert error.message is not None
    response = error.message.create_response(error.status_hint, error.reason, to_tag="t")
    assert bytes(response).startswith(f"SIP/2.0 {status} {error.reason}\r\nVia: SIP/".encode())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"SIP/2.0 4294967301 better not break\r\n", id="3.1.2.19 overlarge response code"),
        pytest.param(b"SIP/2.0 099 low\r\n", id="response code below 100"),
        pytest.param(b"SIP/2.0 700 high\r\n", id="response code above 699"),
        pytest.param(b"SIP/2.0 2000 long\r\n", id="response code of four digits"),
    ],
)
def test_response_with_impossible_code_is_dropped(data: bytes) -> None:
    error = refused(data + wire().split(b"\r\n", 1)[1])
    assert error.message is None


def test_response_with_overlarge_scalars_is_dropped() -> None:
    error = refused(wire("SIP/2.0 503 Service Unavailable", CSeq="9292394834772304023312 OPTIONS"))
    assert error.message is None


def test_short_tortuous_invite_is_understood() -> None:
    data = (
        b"INVITE sip:bell@chair.example.com;unknownparam SIP/2.0\r\n"
        b"TO :\r\n sip:bell@chair.example.com ;   tag    = 1918181833n\r\n"
        b'from   : "J Rosenberg \\\\\\""       <sip:jd@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n'
        b"MaX-fOrWaRdS: 0068\r\n"
        b"Call-ID: wsinv.1@192.0.2.1\r\n"
        b"Content-Length   : 3\r\n"
        b"cseq: 0009\r\n  INVITE\r\n"
        b"Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n"
        b"s :\r\n"
        b"NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n"
        b"UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n"
        b"Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n"
        b"v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
        b" SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n"
        b'm:"Quoted string \\"\\"" <sip:jd@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n'
        b"\r\nabc"
    )
    request = accepted(data)
    assert request.to.tag == "1918181833n"
    assert request.from_.display_name == 'J Rosenberg \\"'
    assert request.from_.tag == "98asjd8"
    assert request.max_forwards == 68
    assert (request.cseq.number, request.cseq.method) == (9, "INVITE")
    assert [(via.transport, via.host, via.branch) for via in request.vias] == [
        ("UDP", "192.0.2.2", "390skdjuw"),
        ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", "z9hG4bK30239"),
    ]
    assert request.contact == NameAddr(
        SipUri("sip", "jd", "example.com"), 'Quoted string ""', (("newparam", "newvalue"), ("secondparam", None), ("q", "0.33"))
    )
    assert request.headers.get("Subject") == ""
    assert request.headers.get("newfangledheader") == "newfangled value continued newfangled value"
    assert request.body == b"abc"


def test_wide_range_of_legal_characters_is_understood() -> None:
    method = "!interesting-Method0123456789_*+`.%indeed'~"
    uri = "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com"
    request = accepted(
        wire(
            f"{method} {uri} SIP/2.0",
            "extensionHeader-!.%*+_`'~: \ufeff大停電",
            CSeq=f"139122385 {method}",
            To='"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:x@example.com>',
            From="token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"работающий\";tag=_token~1'+`*%!-.",
            Call_ID="intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{",
        )
    )
    assert request.method == method
    assert isinstance(request.uri, SipUri)
    assert request.uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert request.uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert request.from_.parameter("fromParam''~+*_!.-%") == "работающий"
    assert request.to.display_name == "BEL:\ufffd NUL:\ufffd DEL:\ufffd"
    assert uri.encode() in bytes(request)


def test_escapes_are_not_resolved_before_the_uri_is_split() -> None:
    uri = accepted(wire("OPTIONS sip:sips%3Auser%40example.com@example.net SIP/2.0")).uri
    assert isinstance(uri, SipUri)
    assert (uri.scheme, uri.user, uri.host) == ("sip", "sips%3Auser%40example.com", "example.net")
    assert uri.unescaped_user == "sips:user@example.com"


def test_escaped_nul_does_not_cut_a_user() -> None:
    to = accepted(wire(To="<sip:null-%00-null@example.com>")).to
    assert isinstance(to.uri, SipUri)
    assert to.uri.unescaped_user == "null-\x00-null"


def test_percent_in_a_method_name_is_no_escape() -> None:
    assert accepted(wire("RE%47IST%45R sip:example.com SIP/2.0", CSeq="1 RE%47IST%45R")).method == "RE%47IST%45R"


def test_display_name_may_stand_directly_before_the_bracket() -> None:
    assert accepted(wire(From="caller<sip:caller@example.com>;tag=323")).from_.display_name == "caller"


def test_semicolons_in_a_user_part_belong_to_the_user() -> None:
    uri = accepted(wire("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0")).uri
    assert isinstance(uri, SipUri)
    assert (uri.unescaped_user, uri.host, uri.parameters) == ("user;par=u@example.net", "example.com", ())


def test_unknown_transports_in_via_are_no_error() -> None:
    via = "SIP/2.0/UDP t1.example.com;branch=z9hG4bKa, SIP/2.0/SCTP t2.example.com, SIP/2.0/UNKNOWN t4.example.com"
    assert [hop.transport for hop in accepted(wire(Via=via)).vias] == ["UDP", "SCTP", "UNKNOWN"]


def test_octets_behind_the_body_are_ignored() -> None:
    request = accepted(wire(Content_Length="2", body=b"ok" + wire("INVITE sip:second@example.org SIP/2.0")))
    assert request.body == b"ok"


def test_binary_body_with_nul_and_line_breaks_is_kept() -> None:
    body = bytes(range(256)) + b"\r\n\r\n\x00"
    assert accepted(wire(Content_Length=str(len(body)), body=body)).body == body


def test_status_line_may_have_an_empty_or_a_utf8_reason() -> None:
    empty = parse_message(wire("SIP/2.0 100 "))
    russian = parse_message(wire("SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое"))
    assert isinstance(empty, Response) and isinstance(russian, Response)
    check_message(empty)
    check_message(russian)
    assert (empty.status, empty.reason) == (100, "")
    assert russian.reason.endswith("простое")


def test_branch_of_the_cookie_only_is_no_transaction_id() -> None:
    via = accepted(wire(Via="SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK")).via
    assert via.branch == "z9hG4bK"
    assert not via.is_rfc3261


def test_rfc2543_request_without_tags_branch_and_max_forwards_is_accepted() -> None:
    request = accepted(wire(Via="SIP/2.0/UDP iftgw.example.com", From="<sip:+13035551111@example.net;user=phone>", Max_Forwards=None))
    assert request.via.branch is None
    assert request.from_.tag is None


def test_other_schemes_in_to_from_and_contact_are_kept() -> None:
    request = accepted(wire(REQUEST_LINE, "Contact: <name:John_Smith>", To="isbn:2983792873", From="<http://www.example.com>;tag=3234233"))
    assert request.to.uri == OtherUri("isbn", "2983792873")
    assert request.from_.uri == OtherUri("http", "//www.example.com")
    assert request.from_.tag == "3234233"
    assert request.contact is not None and request.contact.uri == OtherUri("name", "John_Smith")


def test_max_forwards_zero_is_understood() -> None:
    assert accepted(wire(Max_Forwards="0")).max_forwards == 0


def test_long_values_are_not_cut() -> None:
    name, branch = "extreme" * 60, "z9hG4bK" + "verylong" * 60
    request = accepted(wire(To=f'"{name}"<sip:user@example.com:6000>', Via=f"SIP/2.0/TCP host;received=192.0.2.5;branch={branch}"))
    assert request.to.display_name == name
    assert request.via.branch == branch


def test_equal_content_length_and_type_twice_are_tolerated() -> None:
    # A trunk of Twilio sends both twice.
    request = accepted(
        wire(REQUEST_LINE, "Content-Length: 2", "Content-Type: text/plain", "Content-Type: text/plain", Content_Length="2", body=b"ok")
    )
    assert (request.body, request.content_type) == (b"ok", "text/plain")
