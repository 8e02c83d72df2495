from __future__ import annotations

import pytest

from flexosip.sip.grammar import SipParseError
from flexosip.sip.uri import OtherUri, SipUri, TelUri, parse_uri


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@atlanta.com",
        "sips:alice@atlanta.com:5061",
        "sip:alice:secretword@atlanta.com;transport=tcp",
        "sip:+1-212-555-1212:1234@gateway.com;user=phone",
        "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
        "sip:alice;day=tuesday@atlanta.com",
        "sip:**610@fritz.box",
        "sip:%23123@fritz.box;lr",
        "sip:[2001:db8::1]:5070;lr;maddr=[2001:db8::2]",
        "sip:@192.0.2.1",
        "tel:+49-30-123;phone-context=example.com",
        "tel:*21#",
        "urn:service:sos",
        "http://example.com/a?b=c",
    ],
)
def test_uri_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_uri(text)) == text


def test_parts_of_a_sip_uri() -> None:
    uri = SipUri.parse("SIP:Alice:pw@Atlanta.COM:5070;Transport=TCP;lr?subject=x&priority=urgent")
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port) == ("sip", "Alice", "pw", "atlanta.com", 5070)
    assert uri.parameters == (("Transport", "TCP"), ("lr", None))
    assert uri.transport == "tcp"
    assert uri.has_parameter("LR") and uri.parameter("lr") is None
    assert uri.headers == "subject=x&priority=urgent"
    assert uri.host_port == "atlanta.com:5070"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip",
        "sip:",
        "sip:;lr",
        "sip:a@",
        "sip:a@b@c",
        "sip:a b@c",
        "sip:a@b c",
        "sip:a@b:0",
        "sip:a@b:65536",
        "sip:a@b:99999999",
        "sip:a@b:x",
        "sip:a@b\r\nEvil: 1",
        "sip:a@b\x00",
        "sip:a\x00@b",
        "sip:<a@b>",
        "sip:a@[::1",
        "sip:a@::1",
        "sip:a@[fe80::1%eth0]",
        "sip:a@[1.2.3.4]",
        "sip:a@256.1.1.1",
        "sip:a@b;=x",
        "tel:",
        "tel:abc xyz",
        "nocolon",
        "1:x",
        "soap beep:x",
        " sip:a@b",
        "sip:a@b ",
    ],
)
def test_malformed_uri_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        parse_uri(text)


def test_raw_number_sign_of_a_peer_is_accepted() -> None:
    assert SipUri.parse("sip:**9#@fritz.box").unescaped_user == "**9#"


def test_user_part_is_escaped_for_the_wire() -> None:
    assert str(SipUri.for_user("**9#", "Fritz.Box")) == "sip:**9%23@fritz.box"
    assert str(SipUri.for_user("a@b ü", "h", 5070)) == "sip:a%40b%20%C3%BC@h:5070"
    assert str(SipUri.for_user("+4930", "[2001:DB8::1]", parameters=(("user", "phone"),))) == "sip:+4930@[2001:db8::1];user=phone"
    assert SipUri.for_user("a@b ü", "h").unescaped_user == "a@b ü"


@pytest.mark.parametrize("user", ["a\r\nEvil: 1", "a\x00", "a\nb"])
def test_control_character_in_a_user_is_a_value_error(user: str) -> None:
    with pytest.raises(ValueError, match="control"):
        SipUri.for_user(user, "host")


@pytest.mark.parametrize(
    "arguments",
    [
        {"scheme": "tel"},
        {"user": "a\r\nb"},
        {"user": "a b"},
        {"user": "a@b"},
        {"host": ""},
        {"host": "a\r\nb"},
        {"host": "a b"},
        {"port": 0},
        {"port": 70000},
        {"parameters": (("a", "b\r\nc"),)},
        {"parameters": (("a", "b;c"),)},
        {"headers": "a b"},
        {"password": "x\n"},
    ],
)
def test_parts_that_could_not_be_sent_are_a_value_error(arguments: dict[str, object]) -> None:
    with pytest.raises((ValueError, SipParseError)):
        uri = SipUri(**{"scheme": "sip", "user": "a", "host": "b", **arguments})  # type: ignore[arg-type]
        SipUri.parse(str(uri))


def test_parameters_are_set_and_taken_away() -> None:
    uri = SipUri.parse("sip:a@b;transport=udp;lr")
    assert str(uri.with_parameter("Transport", "tcp")) == "sip:a@b;lr;Transport=tcp"
    assert str(uri.without_parameters("TRANSPORT")) == "sip:a@b;lr"
    assert str(uri.without_parameters()) == "sip:a@b"


@pytest.mark.parametrize(("text", "numeric"), [("sip:1.2.3.4", True), ("sip:[::1]", True), ("sip:a.b", False), ("sip:1.2.3.4.b", False)])
def test_numeric_host_is_told_from_a_name(text: str, numeric: bool) -> None:
    assert SipUri.parse(text).is_numeric_host is numeric


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        ("sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x"),
    ],
)
def test_uris_are_equal_by_the_examples_of_rfc3261_19_1_4(left: str, right: str) -> None:
    assert SipUri.parse(left).matches(SipUri.parse(right))
    assert SipUri.parse(right).matches(SipUri.parse(left))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=off", "sip:carol@chicago.com;security=on"),
        ("sip:alice@atlanta.com", "sips:alice@atlanta.com"),
        ("sip:a%3Bb@c", "sip:a;b@c"),
        ("sip:alice@atlanta.com", "sip:atlanta.com"),
    ],
)
def test_uris_differ_by_the_examples_of_rfc3261_19_1_4(left: str, right: str) -> None:
    assert not SipUri.parse(left).matches(SipUri.parse(right))
    assert not SipUri.parse(right).matches(SipUri.parse(left))


def test_other_kind_of_uri_never_matches() -> None:
    assert not SipUri.parse("sip:a@b").matches(parse_uri("tel:1"))


def test_tel_number_without_separators() -> None:
    uri = TelUri.parse("tel:+49-(30)-12.3;ext=5")
    assert (uri.digits, uri.parameter("EXT")) == ("+4930123", "5")


def test_password_is_not_shown() -> None:
    assert "secret" not in repr(SipUri.parse("sip:a:secret@b"))


def test_unknown_scheme_is_kept() -> None:
    assert parse_uri("Soap.Beep://h:3002") == OtherUri("soap.beep", "//h:3002")
