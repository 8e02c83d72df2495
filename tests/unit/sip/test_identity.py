"""One view of all that a message says of its sender."""

from __future__ import annotations

import pytest

from flexosip.sip.headers import NameAddr
from flexosip.sip.identity import Identity, number_of, parse_privacy, read_history, read_identity
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import parse_message
from flexosip.sip.uri import parse_uri
from tests import corpus


def invite(*headers: str, from_: str = '"Mum" <sip:+4930123456@provider.example>;tag=1', to: str = "<sip:620@home.example>") -> Request:
    lines = [
        "INVITE sip:abc@10.0.0.1 SIP/2.0", "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx", f"From: {from_}", f"To: {to}",
        "Call-ID: 1", "CSeq: 1 INVITE", *headers, "Content-Length: 0",
    ]  # fmt: skip
    message = parse_message(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert isinstance(message, Request)
    return message


def of(*headers: str, trusted: bool = True, **lines: str) -> Identity:
    return read_identity(invite(*headers, **lines), trusted=trusted)


PAI = "P-Asserted-Identity: <sip:+4989999@provider.example>"
RPID = '"Desk" <sip:77@pbx.example>;party=calling'
HIDDEN = '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'


def test_a_plain_call_is_who_its_from_says() -> None:
    identity = of()
    assert (identity.number, identity.display_name, identity.source) == ("+4930123456", "Mum", "From")
    assert identity.asserted is None and identity.claimed is not None and not identity.anonymous and identity.called == "620"
    assert str(identity) == "Mum (+4930123456)"


@pytest.mark.parametrize(
    ("headers", "trusted", "number", "source"),
    [
        ((PAI,), True, "+4989999", "P-Asserted-Identity"),
        ((PAI,), False, "+4930123456", "From"),
        ((f"Remote-Party-ID: {RPID}",), True, "77", "Remote-Party-ID"),
        ((f"Remote-Party-ID: {RPID}",), False, "+4930123456", "From"),
        ((f"Remote-Party-ID: {RPID};screen=yes", PAI), True, "+4989999", "P-Asserted-Identity"),
        (("P-Preferred-Identity: <sip:55@x.example>",), True, "+4930123456", "From"),
        (("Remote-Party-ID: <sip:9@x.example>;party=called",), True, "+4930123456", "From"),
        (("Remote-Party-ID: <sip:9@x.example>;id-type=term",), True, "+4930123456", "From"),
    ],
)
def test_the_best_header_that_may_be_believed_counts(headers: tuple[str, ...], trusted: bool, number: str, source: str) -> None:
    identity = of(*headers, trusted=trusted)
    assert (identity.number, identity.source, identity.trusted) == (number, source, trusted)


def test_remote_party_id_vouches_only_when_it_was_screened() -> None:
    assert of(f"Remote-Party-ID: {RPID};screen=no").asserted is None
    screened = of(f"Remote-Party-ID: {RPID};screen=yes").asserted
    assert screened is not None and number_of(screened.uri) == "77"


def test_all_that_was_said_is_there_to_be_looked_at() -> None:
    identity = of(PAI, f"Remote-Party-ID: {RPID}", "P-Preferred-Identity: <sip:5@x.example>", trusted=False)
    assert [claim.source for claim in identity.claims] == ["P-Asserted-Identity", "Remote-Party-ID", "From", "P-Preferred-Identity"]
    assert [claim.number for claim in identity.claims] == ["+4989999", "77", "+4930123456", "5"]


def test_a_name_is_taken_from_the_header_with_the_same_number_only() -> None:
    assert of("P-Asserted-Identity: <tel:+49-30-123456>").display_name == "Mum"
    assert of(PAI).display_name == ""


@pytest.mark.parametrize("from_", [HIDDEN, "<sip:anonymous@fritz.box>;tag=1", "<sip:restricted@provider.example>;tag=2"])
def test_an_anonymous_from_is_anonymous_whatever_else_is_known(from_: str) -> None:
    identity = of(PAI, from_=from_)
    assert identity.anonymous and (identity.number, identity.display_name, identity.uri) == ("", "", None)
    assert identity.asserted is not None and number_of(identity.asserted.uri) == "+4989999"
    assert str(identity) == "anonymous"


def test_the_claim_of_an_anonymous_stranger_is_what_he_says_elsewhere() -> None:
    identity = of("P-Preferred-Identity: <sip:5@x.example>", from_=HIDDEN, trusted=False)
    assert identity.claimed is not None and number_of(identity.claimed.uri) == "5" and identity.anonymous
    assert of(from_=HIDDEN).claimed is None


@pytest.mark.parametrize(
    ("privacy", "anonymous"),
    [("Privacy: id", True), ("Privacy: header;user", True), ("Privacy: none", False), ("Privacy: critical,ID", True),
     ("Privacy: session", False)],
)  # fmt: skip
def test_privacy_hides_the_number(privacy: str, anonymous: bool) -> None:
    identity = of(privacy, PAI)
    assert identity.anonymous is anonymous and (identity.number == "") is anonymous
    assert identity.asserted is not None


@pytest.mark.parametrize(("value", "anonymous"), [("full", True), ("off", False), ("name-uri", True), ("uri", True), ("network", False)])
def test_the_privacy_of_remote_party_id_hides_the_number(value: str, anonymous: bool) -> None:
    assert of(f"Remote-Party-ID: {RPID};privacy={value}").anonymous is anonymous


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("sip:%2A%2A620@fritz.box", "**620"),
        ("sip:**9@fritz.box", "**9"),
        ("sip:+49(30)123-45@x.example;user=phone", "+493012345"),
        ("sip:+4930;phone-context=x@x.example", "+4930"),
        ("tel:+49-30-123", "+4930123"),
        ("sip:anna.meier@x.example", "anna.meier"),
        ("sip:x.example", ""),
        ("urn:service:sos", "service:sos"),
    ],
)
def test_the_number_of_a_uri(uri: str, number: str) -> None:
    assert number_of(parse_uri(uri)) == number


@pytest.mark.parametrize(
    ("patterns", "fits"),
    [
        (("+4930*",), True), (("+49 30 123456",), True), (("**6*",), False), (("**6*", "+4930*"), True), (("*",), True), (("+49",), False),
        (("+4930123456@provider.example",), True), (("+4930*@*",), False), (("sip:+4930123456",), True), (("",), False), ((), False),
    ],
)  # fmt: skip
def test_patterns_of_callers(patterns: tuple[str, ...], fits: bool) -> None:
    assert of().matches(*patterns) is fits


def test_star_at_the_begin_is_a_key_and_at_the_end_any_rest() -> None:
    internal = of(from_="<sip:**620@fritz.box>;tag=1")
    assert internal.matches("**6*") and not internal.matches("*6*") and internal.matches("**620")
    named = of(from_="<sip:Anna.Meier@x.example>;tag=1")
    assert named.matches("anna.meier") and named.matches("anna*") and not named.matches("annameier")


def test_what_is_asserted_decides_over_what_is_claimed_also_for_the_anonymous() -> None:
    assert of(PAI).matches("+4989*") and not of(PAI).matches("+4930*")
    assert of(PAI, "Privacy: id").matches("+4989*")
    assert not of(PAI, trusted=False).matches("+4989*") and of(PAI, trusted=False).matches("+4930*")
    assert not of().matches("*", asserted=True) and of(PAI).matches("+4989*", asserted=True)
    assert not of(from_=HIDDEN).matches("*")


def test_an_answer_says_who_is_connected() -> None:
    request = invite()
    response = request.create_response(200, to_tag="x", headers=[("P-Asserted-Identity", '"Hall" <sip:12@pbx.example>')])
    identity = read_identity(response, trusted=True, party="called", dialled=request.to)
    assert (identity.number, identity.display_name, identity.source) == ("12", "Hall", "P-Asserted-Identity")
    silent = read_identity(request.create_response(200, to_tag="x"), trusted=True, party="called", dialled=request.to)
    assert (silent.number, silent.source, silent.called) == ("620", "To", "")
    shy = request.create_response(200, to_tag="x", headers=[("P-Asserted-Identity", "<sip:12@pbx.example>"), ("Privacy", "id")])
    assert read_identity(shy, trusted=True, party="called", dialled=request.to).number == "620"


@pytest.mark.parametrize(
    "garbage",
    [
        "P-Asserted-Identity: <<<",
        'P-Asserted-Identity: "open <sip:a@b>',
        "P-Asserted-Identity: sip:",
        "Remote-Party-ID: ;;;",
        "Diversion: ,,,",
        "Diversion: <sip:1@x>;counter=99999999999",
        "History-Info: <sip:1@x?Reason=%00>;index=1",
        "History-Info: <sip:1@x>;index=1.1.1.x",
        "Referred-By: <",
        "Privacy: ;;,,",
        "P-Called-Party-ID: ?",
    ],
)
def test_garbage_never_decides_and_never_raises(garbage: str) -> None:
    for trusted in (True, False):
        identity = of(garbage, trusted=trusted)
        assert identity.number == "+4930123456"
        assert identity.asserted is None


def test_a_flood_of_values_is_looked_at_up_to_a_limit() -> None:
    many = ", ".join(f"<sip:{number}@x.example>" for number in range(200))
    identity = of(f"P-Asserted-Identity: {many}", f"Diversion: {many}")
    assert len(identity.diverted_from) == 20 and len(identity.claims) == 21


def test_privacy_values_are_read_in_every_spelling() -> None:
    assert parse_privacy(invite("Privacy: ID; Critical", "Privacy: user").headers) == {"id", "critical", "user"}


def test_a_transferred_caller_tells_by_whom() -> None:
    referred_by = of("b: <sip:boss@x.example>").referred_by
    assert referred_by == NameAddr.parse("<sip:boss@x.example>")


@pytest.mark.parametrize("name", ["twilio-invite-dup-content-headers.sip", "twilio-invite-tls-srtp.sip"])
def test_a_call_of_a_trunk_provider_that_was_diverted(name: str) -> None:
    message = parse_message(corpus.path(f"devices/{name}").read_bytes())
    identity = read_identity(message, trusted=True)
    assert (identity.number, identity.source) == ("+12025550101", "P-Asserted-Identity")
    assert [(station.number, station.reason) for station in identity.diverted_from] == [("+12025550190", "unconditional")]


def test_a_phone_that_prefers_an_identity_only_claims_it() -> None:
    message = parse_message(corpus.path("devices/grandstream-gxp2200-invite-savpf.sip").read_bytes())
    identity = read_identity(message, trusted=True)
    assert (identity.number, identity.display_name, identity.source) == ("250", "User250", "From")
    assert identity.asserted is None and not identity.anonymous
    assert [claim.source for claim in identity.claims] == ["From", "P-Preferred-Identity"]


@pytest.mark.parametrize("entry", corpus.parameters("sip"))
def test_every_message_of_the_corpus_has_an_identity_or_no_addresses(entry: corpus.Entry) -> None:
    from flexosip.errors import RemoteProtocolError

    try:
        message = parse_message(entry.data)
        assert message.from_ is not None and message.to is not None
    except RemoteProtocolError:
        return
    for trusted in (True, False):
        dialled = message.to if isinstance(message, Response) else None
        identity = read_identity(message, trusted=trusted, dialled=dialled)
        assert isinstance(str(identity), str) and isinstance(identity.matches("*", "1", "a@b"), bool)
        read_history(message.headers)
