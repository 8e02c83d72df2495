"""RFC 3665: the messages of the basic call flows survive parsing and writing."""

from __future__ import annotations

import pytest

from flexosip.sip.message import Request, Response
from flexosip.sip.parser import check_message, parse_message
from tests.corpus import Entry, parameters


@pytest.mark.parametrize("entry", parameters("sip", "rfc3665/"))
def test_flow_message_is_written_as_it_was_read(entry: Entry) -> None:
    first = parse_message(entry.data)
    check_message(first)
    second = parse_message(bytes(first))
    check_message(second)
    assert bytes(second) == bytes(first)
    assert second.start_line == first.start_line
    assert second.headers.items() == [*(f for f in first.headers if f[0] != "Content-Length"), ("Content-Length", str(len(first.body)))]
    assert second.body == first.body


@pytest.mark.parametrize("entry", parameters("sip", "rfc3665/"))
def test_typed_values_are_written_as_they_were_read(entry: Entry) -> None:
    message = parse_message(entry.data)
    for via, value in zip(message.vias, message.headers.get_all("Via"), strict=True):
        assert type(via).parse(str(via)) == via
        assert str(via) == value.replace(" ;", ";")
    for address in (message.from_, message.to, *message.contacts, *message.routes, *message.record_routes):
        assert type(address).parse(str(address)) == address
    assert str(message.cseq) == message.headers.get("CSeq")


@pytest.mark.parametrize("entry", parameters("sip", "rfc3665/"))
def test_response_to_a_flow_request_matches_it(entry: Entry) -> None:
    request = parse_message(entry.data)
    if isinstance(request, Response):
        return
    assert isinstance(request, Request)
    response = parse_message(bytes(request.create_response(200, to_tag="ours")))
    check_message(response)
    assert response.vias == request.vias
    assert response.from_ == request.from_
    assert response.to.tag == (request.to.tag or "ours")
    assert (response.call_id, response.cseq) == (request.call_id, request.cseq)
