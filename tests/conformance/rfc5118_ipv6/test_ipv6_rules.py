"""RFC 5118: IPv6 addresses in SIP, told in small pieces of our own."""

from __future__ import annotations

import pytest

from flexosip.sdp import AudioFormat, Negotiation, plain_address
from flexosip.sip.grammar import SipParseError, is_ipv6
from flexosip.sip.headers import Via
from flexosip.sip.uri import SipUri, parse_uri


def test_ipv6_reference_in_a_request_uri_is_understood() -> None:
    uri = SipUri.parse("sip:[2001:db8::10]")
    assert (uri.host, uri.port, str(uri)) == ("2001:db8::10", None, "sip:[2001:db8::10]")


def test_ipv6_address_without_brackets_is_refused() -> None:
    with pytest.raises(SipParseError):
        parse_uri("sip:2001:db8::10")


def test_port_inside_the_brackets_is_part_of_the_address() -> None:
    uri = SipUri.parse("sip:[2001:db8::10:5070]")
    assert (uri.host, uri.port) == ("2001:db8::10:5070", None)


def test_port_behind_the_brackets_is_the_port() -> None:
    assert SipUri.parse("sip:[2001:db8::10]:5070").port == 5070


@pytest.mark.parametrize("value", ["2001:db8::9:255", "[2001:db8::9:255]"])
def test_received_is_understood_with_and_without_brackets(value: str) -> None:
    via = Via.parse(f"SIP/2.0/UDP [2001:db8::9:1]:6050;received={value};branch=z9hG4bKas3-111")
    assert (via.host, via.port, via.received) == ("2001:db8::9:1", 6050, "2001:db8::9:255")


def test_ipv4_mapped_address_is_understood() -> None:
    assert SipUri.parse("sip:user@[::ffff:192.0.2.2]:5060").host == "::ffff:192.0.2.2"


def test_two_colons_before_an_ipv4_part_are_understood() -> None:
    assert SipUri.parse("sip:user@[2001:db8::192.0.2.1]").host == "2001:db8::192.0.2.1"


def test_three_colons_of_the_abnf_bug_are_read_as_two() -> None:
    assert SipUri.parse("sip:user@[2001:db8:::192.0.2.1]").host == "2001:db8::192.0.2.1"


@pytest.mark.parametrize(
    "address", ["::", "::1", "1::", "fe80::1", "2001:db8:0:0:0:0:0:1", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:192.0.2.1"]
)
def test_address_is_valid(address: str) -> None:
    assert is_ipv6(address)


@pytest.mark.parametrize(
    "address",
    ["", ":", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", ":::1", "::12345", "g::", "1:2:3:4:5:6:7:8::", "::1.2.3", "::256.1.1.1",
     "1.2.3.4::", "::1.2.3.4:1", ":1:2:3:4:5:6:7", "fe80::1%eth0"],
)  # fmt: skip
def test_address_is_invalid(address: str) -> None:
    assert not is_ipv6(address)


@pytest.mark.parametrize("address", ["::ffff:192.0.2.2", "0:0:0:0:0:FFFF:c000:202"])
def test_sound_for_an_ipv4_mapped_address_goes_to_the_ipv4_address(address: str) -> None:
    negotiation = Negotiation((AudioFormat(8, "PCMA", 8000),), address="192.0.2.1", port=4000, session_id=1)
    offer = f"v=0\r\no=- 1 1 IN IP6 {address}\r\ns=-\r\nc=IN IP6 {address}\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\n"
    negotiation.receive_offer(offer.encode())
    assert negotiation.agreement is not None
    assert (negotiation.agreement.remote_address, negotiation.agreement.remote_rtcp) == ("192.0.2.2", ("192.0.2.2", 6001))


@pytest.mark.parametrize("address", ["2001:db8::20", "::192.0.2.2", "192.0.2.2", "media.example.org"])
def test_any_other_media_address_stays_as_it_is(address: str) -> None:
    assert plain_address(address) == address
