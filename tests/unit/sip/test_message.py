from __future__ import annotations

import pytest

from flexosip.sip.flow import Flow
from flexosip.sip.grammar import SipParseError
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request, Response, new_request, reason_phrase
from flexosip.sip.parser import check_message, parse_message
from flexosip.sip.uri import SipUri

BELL = NameAddr(SipUri("sip", "bell", "example.org"), "Bell")
HOUSE = NameAddr(SipUri("sip", "house", "example.org"), parameters=(("tag", "h1"),))


def invite(**changes: object) -> Request:
    arguments: dict[str, object] = {"from_": HOUSE, "to": BELL, "call_id": "c1@h", "cseq": 7, **changes}
    request = new_request("INVITE", SipUri("sip", "bell", "example.org"), **arguments)  # type: ignore[arg-type]
    request.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport")
    return request


def test_new_request_has_what_every_request_needs() -> None:
    route = NameAddr(SipUri("sip", None, "proxy", parameters=(("lr", None),)))
    request = invite(routes=[route], contact=BELL, headers=[("Subject", "Door")], body=b"v=0", content_type="application/sdp")
    assert bytes(request) == (
        b"INVITE sip:bell@example.org SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport\r\n"
        b"Max-Forwards: 70\r\n"
        b"Route: <sip:proxy;lr>\r\n"
        b"From: <sip:house@example.org>;tag=h1\r\n"
        b'To: "Bell" <sip:bell@example.org>\r\n'
        b"Call-ID: c1@h\r\n"
        b"CSeq: 7 INVITE\r\n"
        b'Contact: "Bell" <sip:bell@example.org>\r\n'
        b"Subject: Door\r\n"
        b"Content-Type: application/sdp\r\n"
        b"Content-Length: 3\r\n\r\nv=0"
    )
    check_message(parse_message(bytes(request)))


def test_response_copies_what_identifies_the_request() -> None:
    request = invite()
    request.headers.add("Record-Route", "<sip:p2;lr>, <sip:p1;lr>")
    request.headers.add("Via", "SIP/2.0/TCP 192.0.2.2;branch=z9hG4bK0")
    response = request.create_response(180, to_tag="b1", headers=[("Contact", "<sip:b@h>")])
    assert response.headers.get_lines("Via") == request.headers.get_lines("Via")
    assert response.headers.get_all("Record-Route") == ["<sip:p2;lr>", "<sip:p1;lr>"]
    assert (response.from_, response.call_id, response.cseq) == (request.from_, request.call_id, request.cseq)
    assert response.to.tag == "b1"
    assert response.contact is not None and response.contact.uri == SipUri("sip", "b", "h")


def test_trying_has_no_tag_and_no_route_but_the_timestamp() -> None:
    request = invite(headers=[("Record-Route", "<sip:p1;lr>"), ("Timestamp", "54")])
    response = request.create_response(100, to_tag="b1")
    assert response.to.tag is None
    assert "Record-Route" not in response.headers
    assert response.headers.get("Timestamp") == "54"


def test_error_response_carries_no_route() -> None:
    assert "Record-Route" not in invite(headers=[("Record-Route", "<sip:p1;lr>")]).create_response(486, to_tag="x").headers


def test_tag_of_the_request_is_kept() -> None:
    assert invite(to=BELL.with_tag("old")).create_response(200, to_tag="new").to.tag == "old"


def test_response_to_a_malformed_to_sends_it_back() -> None:
    request = invite()
    request.headers.set("To", '"broken <sip:a@b>')
    assert request.create_response(400, to_tag="x").headers.get("To") == '"broken <sip:a@b>'


def test_content_length_is_always_right() -> None:
    response = Response(200, headers=[("Content-Length", "99")], body=b"abc")
    assert bytes(response) == b"SIP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize("text", ["x\r\nEvil: 1", "x\ny", "x\x00"])
def test_line_break_from_the_api_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="control"):
        Response(200, text)
    with pytest.raises(ValueError, match="control"):
        invite(call_id=text)
    with pytest.raises(ValueError, match="control"):
        invite(headers=[("Subject", text)])
    with pytest.raises(ValueError, match="control"):
        invite(content_type=text)
    with pytest.raises(ValueError, match="control"):
        invite().create_response(200, text)
    with pytest.raises(ValueError, match="token"):
        invite().create_response(200, to_tag=text)
    with pytest.raises(ValueError, match="token"):
        Request(text, SipUri("sip", None, "a"))


@pytest.mark.parametrize("status", [0, 99, 700, -1])
def test_impossible_status_is_a_value_error(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        Response(status)


def test_typed_values_follow_the_headers() -> None:
    request = invite()
    assert request.via.host == "192.0.2.1"
    request.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK2")
    assert request.via.host == "192.0.2.9"
    request.headers.set("CSeq", "8 INVITE")
    assert request.cseq.number == 8


def test_lists_of_options_and_methods() -> None:
    request = invite(headers=[("Supported", "Timer, 100rel"), ("k", "path"), ("Require", "X"), ("Allow", "invite,BYE"), ("Expires", "60")])
    assert request.supported == {"timer", "100rel", "path"}
    assert (request.require, request.allow, request.expires, request.max_forwards) == ({"x"}, {"INVITE", "BYE"}, 60, 70)


def test_content_type_is_given_without_parameters() -> None:
    assert invite(content_type="Application / SDP ;charset=utf-8").content_type == "application/sdp"
    assert invite().content_type is None


def test_contact_star_is_no_address() -> None:
    request = invite(headers=[("Contact", "*")])
    assert request.contact_star
    assert request.contact is None and request.contacts == []


def test_missing_and_malformed_headers_are_parse_errors() -> None:
    empty = Response(200)
    for name in ("via", "from_", "to", "call_id", "cseq"):
        with pytest.raises(SipParseError):
            getattr(empty, name)
    assert empty.contact is None and empty.routes == [] and empty.expires is None


def test_copy_is_independent() -> None:
    request = invite()
    copy = request.copy()
    copy.headers.set("CSeq", "8 INVITE")
    assert (request.cseq.number, copy.cseq.number) == (7, 8)
    assert bytes(request.create_response(200).copy()) == bytes(request.create_response(200))


def test_octets_that_are_not_utf8_survive() -> None:
    data = b"OPTIONS sip:a@b SIP/2.0\r\nSubject: T\xfcr\r\nContent-Length: 0\r\n\r\n"
    assert bytes(parse_message(data)) == data


def test_headers_are_not_shown() -> None:
    assert "Digest" not in repr(invite(headers=[("Authorization", "Digest secret")]))


def test_unknown_status_has_the_phrase_of_its_class() -> None:
    assert [reason_phrase(status) for status in (180, 299, 499, 599, 699)] == [
        "Ringing",
        "OK",
        "Bad Request",
        "Server Internal Error",
        "Busy Everywhere",
    ]


def test_flow_tells_its_addresses() -> None:
    flow = Flow("TCP", ("2001:db8::1", 5060), ("2001:db8::2", 5062))
    assert (flow.transport, flow.reliable, flow.is_ipv6, flow.sent_by) == ("tcp", True, True, "[2001:db8::1]:5060")
    assert flow.alive and flow.advertised is None
    other = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.2", 5060))
    assert (other.reliable, other.is_ipv6, other.sent_by) == (False, False, "192.0.2.1:5060")
    assert other != Flow("udp", ("192.0.2.1", 5060), ("192.0.2.2", 5060))
