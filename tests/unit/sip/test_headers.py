from __future__ import annotations

import pytest

from flexosip.sip.grammar import SipParseError
from flexosip.sip.headers import CSeq, Headers, NameAddr, Via
from flexosip.sip.uri import SipUri

INJECTIONS = ["x\r\nEvil: 1", "x\nEvil: 1", "x\rEvil: 1", "x\x00", "x\x1b[31m", "x\x7f"]


def test_names_are_equal_in_any_case_and_compact() -> None:
    headers = Headers([("v", "SIP/2.0/UDP a"), ("CALL-ID", "1"), ("x-Door", "front")])
    assert headers.items() == [("Via", "SIP/2.0/UDP a"), ("Call-ID", "1"), ("x-Door", "front")]
    assert headers.get("VIA") == headers.get("v") == headers.get("Via") == "SIP/2.0/UDP a"
    assert headers.get("i") == "1"
    assert "X-DOOR" in headers
    assert "Contact" not in headers and 5 not in headers


def test_list_headers_are_split_at_their_commas_only() -> None:
    headers = Headers([("Contact", '"Bell, A" <sip:a,b@h>;q=1 , <sip:c@h>,'), ("Contact", "<sip:d@h>"), ("Date", "Sat, 13 Nov 2010")])
    assert headers.get_all("Contact") == ['"Bell, A" <sip:a,b@h>;q=1', "<sip:c@h>", "<sip:d@h>"]
    assert headers.get("Contact") == '"Bell, A" <sip:a,b@h>;q=1'
    assert headers.get_all("Date") == ["Sat, 13 Nov 2010"]
    assert len(headers.get_lines("m")) == 2


def test_authentication_headers_are_not_split() -> None:
    value = 'Digest realm="a", nonce="b"'
    assert Headers([("WWW-Authenticate", value), ("Authorization", value)]).get_all("www-authenticate") == [value]


def test_empty_list_header_has_no_values() -> None:
    headers = Headers([("Supported", "")])
    assert headers.get_all("Supported") == []
    assert headers.get("Supported") == ""
    assert headers.get("Require") is None


def test_unterminated_quote_in_a_list_is_a_parse_error() -> None:
    with pytest.raises(SipParseError):
        Headers([("Contact", '"a <sip:a@h>, <sip:b@h>')]).get_all("Contact")


def test_set_replaces_all_at_the_place_of_the_first() -> None:
    headers = Headers([("X-A", "1"), ("X-B", "2"), ("x-a", "3")])
    headers.set("x-a", "4")
    assert headers.items() == [("x-a", "4"), ("X-B", "2")]
    headers.set("c", "5")
    assert headers.items()[-1] == ("Content-Type", "5")


def test_top_via_is_put_on_and_taken_off() -> None:
    headers = Headers([("To", "<sip:a@b>"), ("Via", "SIP/2.0/UDP b, SIP/2.0/UDP c"), ("Via", "SIP/2.0/UDP d")])
    headers.prepend("Via", "SIP/2.0/UDP a")
    assert headers.items()[0] == ("Via", "SIP/2.0/UDP a")
    assert [headers.remove_first_value("Via") for _ in range(5)] == [
        "SIP/2.0/UDP a",
        "SIP/2.0/UDP b",
        "SIP/2.0/UDP c",
        "SIP/2.0/UDP d",
        None,
    ]
    assert headers.items() == [("To", "<sip:a@b>")]


def test_top_via_is_replaced_in_its_place() -> None:
    headers = Headers([("Via", "SIP/2.0/UDP a, SIP/2.0/UDP b"), ("To", "x")])
    headers.replace_first_value("Via", "SIP/2.0/UDP a;received=1.2.3.4")
    assert headers.get_all("Via") == ["SIP/2.0/UDP a;received=1.2.3.4", "SIP/2.0/UDP b"]


def test_changes_are_seen_at_once() -> None:
    headers = Headers([("A", "1")])
    assert headers.get("a") == "1"
    headers.remove("A")
    assert headers.get("a") is None
    headers.add("A", "2")
    copy = headers.copy()
    copy.add("A", "3")
    assert headers.get_lines("a") == ["2"] and copy.get_lines("a") == ["2", "3"]


@pytest.mark.parametrize("value", INJECTIONS)
def test_line_break_or_control_in_a_value_is_a_value_error(value: str) -> None:
    headers = Headers()
    for change in (headers.add, headers.set, headers.prepend):
        with pytest.raises(ValueError, match="control"):
            change("Subject", value)
    with pytest.raises(ValueError, match="control"):
        Headers([("Subject", value)])
    assert len(headers) == 0


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "ä"])
def test_header_name_that_is_no_token_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match="header name"):
        Headers().add(name, "x")


def test_values_are_not_shown() -> None:
    assert "geheim" not in repr(Headers([("Authorization", "geheim")]))


@pytest.mark.parametrize(
    ("text", "display_name", "uri", "tag"),
    [
        ('"A. G. Bell" <sip:agb@bell.com> ;tag=a48s', "A. G. Bell", "sip:agb@bell.com", "a48s"),
        ("Anonymous <sip:c8@example.com>;TAG=hyh8", "Anonymous", "sip:c8@example.com", "hyh8"),
        ("sip:+12125551212@phone.net;tag=887s", "", "sip:+12125551212@phone.net", "887s"),
        ("<sip:a@b;tag=uri>", "", "sip:a@b;tag=uri", None),
        ('"Say \\"hi\\" \\\\" <sip:a@b>', 'Say "hi" \\', "sip:a@b", None),
        ('Müller / Tür 2 <sip:a@b>;tag=1;x="a;b,c"', "Müller / Tür 2", "sip:a@b", "1"),
        ('"<sip:fake@x>" <sip:real@b>', "<sip:fake@x>", "sip:real@b", None),
    ],
)
def test_address_is_read(text: str, display_name: str, uri: str, tag: str | None) -> None:
    address = NameAddr.parse(text)
    assert (address.display_name, str(address.uri), address.tag) == (display_name, uri, tag)
    assert NameAddr.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<sip:a@b",
        '"a <sip:a@b>',
        '"a" sip:a@b',
        "a, b <sip:a@b>",
        "<sip:a@b>x",
        "<sip:a@b>;;",
        "<sip:a@b>;=1",
        "<>",
        "sip:a@b?x=y",
        "sip:a,b@c",
        "<a@b>",
        '<sip:a@b>;x="y',
        '"a"b <sip:a@b>',
    ],
)
def test_malformed_address_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        NameAddr.parse(text)


@pytest.mark.parametrize("text", INJECTIONS)
def test_line_break_in_a_display_name_or_parameter_is_a_value_error(text: str) -> None:
    uri = SipUri("sip", "a", "b")
    with pytest.raises(ValueError, match="control"):
        NameAddr(uri, text)
    with pytest.raises(ValueError, match="parameter"):
        NameAddr(uri).with_parameter("x", text)
    with pytest.raises(ValueError, match="parameter"):
        NameAddr(uri).with_tag(text)


def test_address_is_changed() -> None:
    address = NameAddr(SipUri("sip", "a", "b"), parameters=(("tag", "1"), ("expires", "60")))
    assert str(address.with_tag("2")) == "<sip:a@b>;expires=60;tag=2"
    assert address.parameter("Expires") == "60"
    assert str(address.without_parameters()) == "<sip:a@b>"
    assert NameAddr.parse('<sip:a@b>;+sip.instance="<urn:uuid:1>"').parameter("+sip.instance") == "<urn:uuid:1>"


def test_via_is_read_and_written() -> None:
    via = Via.parse("SIP/2.0/UDP First.Example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1;rport=5082;received=1.2.3.4")
    assert (via.transport, via.host, via.port, via.sent_by) == ("UDP", "first.example.com", 4000, "first.example.com:4000")
    assert (via.branch, via.maddr, via.rport, via.received) == ("z9hG4bKa7c6a8dlze.1", "224.2.0.1", 5082, "1.2.3.4")
    assert via.is_rfc3261
    assert Via.parse(str(via)) == via


@pytest.mark.parametrize(
    ("text", "port"), [("rport", None), ("rport=", None), ("rport=0", None), ("rport=x", None), ("rport=70000", None), ("rport=9", 9)]
)
def test_bogus_rport_is_no_port(text: str, port: int | None) -> None:
    via = Via.parse(f"SIP/2.0/UDP a;{text}")
    assert via.has_rport
    assert via.rport == port


def test_via_parameter_is_filled_in_where_it_stood() -> None:
    via = Via.parse("SIP/2.0/UDP a;rport;branch=z9hG4bK1")
    assert (
        str(via.with_parameter("rport", "5060").with_parameter("received", "::1"))
        == "SIP/2.0/UDP a;rport=5060;branch=z9hG4bK1;received=::1"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 UDP a",
        "UDP a",
        "SIP/2.0/UDP a b",
        "SIP/2.0/UDP a:0",
        "SIP/2.0/UDP a:70000",
        "SIP/2.0/UDP 1.2.3.999",
        "SIP/2.0/UDP [::1",
        "SIP/2.0/UDP a;=x",
    ],
)
def test_malformed_via_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        Via.parse(text)


@pytest.mark.parametrize("text", INJECTIONS)
def test_line_break_in_a_via_is_a_value_error(text: str) -> None:
    for build in (lambda: Via(text, "a"), lambda: Via("UDP", text), lambda: Via("UDP", "a", 1, (("branch", text),))):
        with pytest.raises(ValueError, match="Via"):
            build()


def test_cseq_is_read_within_its_range() -> None:
    assert CSeq.parse("2147483647  INVITE") == CSeq(2**31 - 1, "INVITE")
    assert CSeq.parse("0009 ACK") == CSeq(9, "ACK")


@pytest.mark.parametrize(
    "text", ["", "1", "INVITE", "1INVITE", "-1 INVITE", "+1 INVITE", "2147483648 INVITE", "1 IN VITE", "1 " + "\x00", "٣ ACK"]
)
def test_malformed_cseq_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        CSeq.parse(text)


def test_huge_cseq_is_refused_before_it_becomes_a_number() -> None:
    with pytest.raises(SipParseError):
        CSeq.parse("1" * 10000 + " INVITE")


def test_extend_leaves_a_received_value_as_it_came() -> None:
    headers = Headers.from_wire([("To", '"\\\x00" <sip:a@b>'), ("To", "second")])
    headers.extend("t", ";tag=1")
    assert headers.get_lines("To") == ['"\\\x00" <sip:a@b>;tag=1', "second"]


def test_extend_takes_no_control_characters_and_needs_the_header() -> None:
    headers = Headers([("To", "<sip:a@b>")])
    with pytest.raises(ValueError, match="control"):
        headers.extend("To", ";tag=\r\n")
    with pytest.raises(ValueError, match="From"):
        headers.extend("From", ";tag=1")
