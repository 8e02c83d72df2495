"""RFC 4320: what requests other than INVITE are not answered with."""

from __future__ import annotations

import pytest

from flexosip.errors import LocalProtocolError
from tests.conformance.rfc3261_transactions.test_server_transactions import Server
from tests.sip_wire import request, tcp_flow


@pytest.mark.parametrize("status", [180, 183, 199, 408])
def test_no_provisional_response_but_100_and_never_408(status: int) -> None:
    server = Server()
    server.receive(request("OPTIONS"))
    with pytest.raises(LocalProtocolError):
        server.respond(status)
    assert server.wire.sent == []


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_100_is_sent_when_timer_e_of_the_client_has_reached_t2_and_not_before(transport: str) -> None:
    server = Server(tcp_flow() if transport == "TCP" else None)
    server.receive(request("OPTIONS", transport=transport))
    server.wire.advance_to(60)
    assert server.wire.times("SIP/2.0") == [3.5]
    assert server.wire.take_response(100)


def test_a_user_that_never_answers_leaves_nothing_behind_and_sends_no_408() -> None:
    server = Server()
    server.receive(request("OPTIONS"))
    server.wire.advance_to(32)
    assert server.stack.statistics().server_transactions == 0
    assert server.stack.statistics().pending_requests == 0
    assert not server.wire.times("SIP/2.0 4")


def test_an_answer_after_the_client_has_given_up_is_not_sent() -> None:
    server = Server()
    server.receive(request("OPTIONS"))
    original = server.transactions[0].request
    server.wire.advance_to(33)
    assert not server.transactions[0].respond(original.create_response(200))
    assert server.wire.times("SIP/2.0 200") == []


def test_an_answer_after_the_100_is_sent_and_ends_it() -> None:
    server = Server()
    server.receive(request("OPTIONS"))
    server.wire.advance_to(5)
    server.respond(200)
    assert server.wire.lines() == ["100", "200"]
