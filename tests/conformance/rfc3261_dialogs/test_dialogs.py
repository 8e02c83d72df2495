"""RFC 3261 §12: dialogs from both sides, with strict and loose routes."""

from __future__ import annotations

import pytest

from flexosip.errors import RemoteProtocolError
from flexosip.sip.dialog import Dialog, dialog_id_of
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request, Response, new_request
from flexosip.sip.parser import parse_message
from flexosip.sip.uri import SipUri
from tests.sip_wire import answer, request


def invite() -> Request:
    made = new_request(
        "INVITE",
        SipUri.parse("sip:peer@example.com"),
        from_=NameAddr.parse("<sip:us@192.0.2.1>;tag=ours"),
        to=NameAddr.parse("<sip:peer@example.com>"),
        call_id="c1",
        cseq=314,
    )
    made.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
    return made


def response(status: int = 200, *headers: tuple[str, str]) -> Response:
    parsed = parse_message(answer(invite(), status, tag="theirs", headers=headers))
    assert isinstance(parsed, Response)
    return parsed


def received(*headers: tuple[str, str], **options: object) -> Request:
    parsed = parse_message(request("INVITE", headers=headers, **options))  # type: ignore[arg-type]
    assert isinstance(parsed, Request)
    return parsed


def test_the_caller_s_dialog_takes_tags_target_and_reversed_record_route_from_the_response() -> None:
    dialog = Dialog.from_response(invite(), response(180, ("Record-Route", "<sip:p2;lr>, <sip:p1;lr>")))
    assert dialog.id == ("c1", "ours", "theirs")
    assert (dialog.early, dialog.local_cseq, dialog.remote_cseq) == (True, 314, None)
    assert str(dialog.remote_target) == "sip:peer@192.0.2.2:5060"
    assert [str(route) for route in dialog.route_set] == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert str(dialog.next_hop) == "sip:p1;lr"


def test_the_callee_s_dialog_takes_them_from_the_request_in_order() -> None:
    dialog = Dialog.from_request(received(("Record-Route", "<sip:p1;lr>"), ("Record-Route", "<sip:p2;lr>"), cseq=7), "mine")
    assert dialog.id == ("call-1", "mine", "peertag")
    assert (dialog.local_cseq, dialog.remote_cseq) == (0, 7)
    assert [str(route) for route in dialog.route_set] == ["<sip:p1;lr>", "<sip:p2;lr>"]


def test_requests_have_rising_cseq_the_tags_and_the_spelling_of_the_peer() -> None:
    dialog = Dialog.from_request(received(), "mine")
    first, second = dialog.create_request("INFO"), dialog.create_request("BYE")
    assert (str(first.cseq), str(second.cseq)) == ("1 INFO", "2 BYE")
    assert (second.from_.tag, second.to.tag) == ("mine", "peertag")
    assert second.headers.get("To") == "<sip:peer@192.0.2.2>;tag=peertag"
    assert str(second.uri) == "sip:peer@192.0.2.2:5060" and second.max_forwards == 70


def test_loose_routes_keep_the_target_as_request_uri() -> None:
    dialog = Dialog.from_response(invite(), response(200, ("Record-Route", "<sip:p2;lr>, <sip:p1;lr;x=y>")))
    bye = dialog.create_request("BYE")
    assert str(bye.uri) == "sip:peer@192.0.2.2:5060"
    assert [str(route) for route in bye.routes] == ["<sip:p1;lr;x=y>", "<sip:p2;lr>"]


def test_a_strict_route_becomes_the_request_uri_and_the_target_the_last_route() -> None:
    dialog = Dialog.from_response(invite(), response(200, ("Record-Route", "<sip:p2;lr>, <sip:p1;method=INVITE?a=b>")))
    bye = dialog.create_request("BYE")
    assert str(bye.uri) == "sip:p1"
    assert [str(route) for route in bye.routes] == ["<sip:p2;lr>", "<sip:peer@192.0.2.2:5060>"]
    assert dialog.next_hop.host == "p1"


def test_without_routes_the_target_is_the_next_hop() -> None:
    dialog = Dialog.from_response(invite(), response())
    assert dialog.next_hop == dialog.remote_target
    assert dialog.create_request("BYE").routes == []


def test_a_target_refresh_replaces_the_target_and_not_the_route_set() -> None:
    dialog = Dialog.from_response(invite(), response(200, ("Record-Route", "<sip:p1;lr>")))
    dialog.update_target(received(("Contact", "<sip:new@192.0.2.50>"), ("Record-Route", "<sip:else;lr>")))
    assert str(dialog.remote_target) == "sip:new@192.0.2.50"
    assert [str(route) for route in dialog.route_set] == ["<sip:p1;lr>"]


def test_the_2xx_recomputes_the_route_set_of_an_early_dialog() -> None:
    dialog = Dialog.from_response(invite(), response(180, ("Record-Route", "<sip:p1;lr>")))
    dialog.confirm(response(200, ("Record-Route", "<sip:p9;lr>"), ("Contact", "<sip:other@192.0.2.9>")))
    assert not dialog.early and str(dialog.next_hop) == "sip:p9;lr"
    assert str(dialog.remote_target) == "sip:other@192.0.2.9"


def test_the_peer_s_cseq_must_rise() -> None:
    dialog = Dialog.from_request(received(cseq=5), "mine")
    assert [dialog.receive_request(received(cseq=number)) for number in (6, 6, 4, 9)] == [True, False, False, True]
    caller = Dialog.from_response(invite(), response())
    assert caller.receive_request(received(cseq=0))


def test_the_ack_has_the_cseq_of_its_invite_and_uses_up_none() -> None:
    dialog = Dialog.from_response(invite(), response())
    assert str(dialog.create_request("ACK", cseq=314).cseq) == "314 ACK"
    assert str(dialog.create_request("BYE").cseq) == "315 BYE"


def test_a_peer_without_tags_has_a_dialog_too() -> None:
    dialog = Dialog.from_request(received(from_tag=None), "mine")
    assert dialog.id == ("call-1", "mine", "")
    later = parse_message(request("BYE", from_tag=None, to_tag="mine"))
    assert isinstance(later, Request) and dialog_id_of(later) == dialog.id


def test_a_caller_of_rfc_2543_without_contact_is_reached_at_its_from() -> None:
    old = parse_message(request("BYE").replace(b"BYE", b"INVITE"))
    assert isinstance(old, Request) and old.contact is None
    assert str(Dialog.from_request(old, "mine").remote_target) == "sip:peer@192.0.2.2"


def test_an_invite_without_a_sip_uri_to_answer_to_makes_no_dialog() -> None:
    nowhere = parse_message(request("BYE").replace(b"BYE", b"INVITE").replace(b"<sip:peer@192.0.2.2>", b"<tel:+4930>"))
    assert isinstance(nowhere, Request)
    with pytest.raises(RemoteProtocolError):
        Dialog.from_request(nowhere, "mine")


def test_headers_of_the_caller_are_checked() -> None:
    dialog = Dialog.from_request(received(), "mine")
    with pytest.raises(ValueError, match="line break"):
        dialog.create_request("INFO", headers=(("X", "a\r\nb"),))
