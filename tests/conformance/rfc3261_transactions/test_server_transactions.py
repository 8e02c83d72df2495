"""RFC 3261 §17.2, §18.2 and §8.2.7: server transactions, matching, and the way of responses."""

from __future__ import annotations

import pytest

from flexosip.sip.flow import Flow
from flexosip.sip.message import Request
from flexosip.sip.server_transaction import ServerTransaction
from flexosip.sip.stack import SipStack
from flexosip.sip.transaction import TransactionFailure, TransactionState
from tests.sip_wire import Wire, request, tcp_flow, udp_flow


class Server:
    """A stack that receives."""

    def __init__(self, flow: Flow | None = None, **settings: int) -> None:
        self.wire = Wire()
        self.stack = SipStack(self.wire.scheduler, self.wire.transmit, random=self.wire.random, **settings)
        self.flow = flow or udp_flow()
        self.transactions: list[ServerTransaction] = []
        self.acks: list[Request] = []
        self.stack.on_request = lambda request, transaction: self.transactions.append(transaction)
        self.stack.on_ack = lambda request, flow: self.acks.append(request)

    def receive(self, data: bytes) -> None:
        self.stack.receive_datagram(data, self.flow)

    def respond(self, status: int, index: int = -1) -> bool:
        transaction = self.transactions[index]
        return transaction.respond(transaction.request.create_response(status))


# -- INVITE ---------------------------------------------------------------------------------------------------------------


def test_an_invite_without_an_immediate_answer_gets_100_which_has_no_to_tag() -> None:
    server = Server()
    server.receive(request("INVITE"))
    assert server.wire.take_response(100).to.tag is None


def test_no_100_is_sent_when_the_user_answers_at_once() -> None:
    server = Server()
    server.stack.on_request = lambda request, transaction: transaction.respond(request.create_response(180)) and None
    server.receive(request("INVITE"))
    assert server.wire.lines() == ["180"]


def test_a_repeated_invite_gets_the_last_provisional_response_again() -> None:
    server = Server()
    server.receive(request("INVITE"))
    server.respond(180)
    server.receive(request("INVITE"))
    assert server.wire.lines() == ["100", "180", "180"]
    assert len(server.transactions) == 1


def test_timer_g_repeats_a_failure_response_up_to_t2_and_timer_h_gives_up_after_64_t1() -> None:
    server = Server()
    failures: list[TransactionFailure] = []
    server.receive(request("INVITE"))
    server.transactions[0].on_failure = failures.append
    server.respond(486)
    server.wire.advance_to(31.9)
    assert server.wire.times("SIP/2.0 486") == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert failures == []
    server.wire.advance_to(32)
    assert [failure.status for failure in failures] == [408]
    assert server.stack.statistics().server_transactions == 0


def test_a_failure_response_is_sent_once_over_a_reliable_transport_and_timer_h_still_runs() -> None:
    server = Server(tcp_flow())
    server.receive(request("INVITE", transport="TCP"))
    server.respond(486)
    server.wire.advance_to(31.9)
    assert server.wire.times("SIP/2.0 486") == [0]
    assert server.stack.statistics().server_transactions == 1
    server.wire.advance_to(32)
    assert server.stack.statistics().server_transactions == 0


def test_a_repeated_invite_in_completed_gets_the_failure_response_again() -> None:
    server = Server()
    server.receive(request("INVITE"))
    server.respond(486)
    server.wire.take()
    server.receive(request("INVITE"))
    assert server.wire.lines() == ["486"]


def test_the_ack_stops_timer_g_and_timer_i_absorbs_for_t4() -> None:
    server = Server()
    server.receive(request("INVITE"))
    server.respond(486)
    tag = server.transactions[0].to_tag
    server.wire.advance_to(0.6)
    server.receive(request("ACK", to_tag=tag))
    assert server.transactions[0].state is TransactionState.CONFIRMED
    server.receive(request("ACK", to_tag=tag))
    server.receive(request("INVITE"))
    server.wire.advance_to(5.5)
    assert server.stack.statistics().server_transactions == 1
    server.wire.advance_to(5.6)
    assert server.stack.statistics().server_transactions == 0
    assert server.wire.times("SIP/2.0 486") == [0, 0.5]
    assert server.acks == []


def test_timer_i_is_zero_over_a_reliable_transport() -> None:
    server = Server(tcp_flow())
    server.receive(request("INVITE", transport="TCP"))
    server.respond(486)
    server.receive(request("ACK", transport="TCP", to_tag=server.transactions[0].to_tag))
    assert server.stack.statistics().server_transactions == 0


def test_a_second_final_response_is_not_sent() -> None:
    server = Server()
    server.receive(request("INVITE"))
    assert server.respond(486)
    transaction = server.transactions[0]
    assert not transaction.respond(parse_invite().create_response(200))
    assert server.wire.lines() == ["100", "486"]


def parse_invite() -> Request:
    from flexosip.sip.parser import parse_message

    parsed = parse_message(request("INVITE"))
    assert isinstance(parsed, Request)
    return parsed


# -- other requests -------------------------------------------------------------------------------------------------------


def test_a_repeated_request_is_ignored_before_and_answered_again_after_the_final_response_until_timer_j() -> None:
    server = Server()
    bye = request("OPTIONS")
    server.receive(bye)
    server.receive(bye)
    assert server.wire.lines() == []
    server.respond(200)
    server.receive(bye)
    assert server.wire.lines() == ["200", "200"]
    server.wire.advance_to(31.9)
    server.receive(bye)
    assert server.wire.lines() == ["200"] and len(server.transactions) == 1
    server.wire.advance_to(32)
    server.receive(bye)
    assert len(server.transactions) == 2


def test_timer_j_is_zero_over_a_reliable_transport() -> None:
    server = Server(tcp_flow())
    server.receive(request("OPTIONS", transport="TCP"))
    server.respond(200)
    assert server.stack.statistics().server_transactions == 0


# -- To-tags --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [180, 200, 404, 603])
def test_every_response_but_100_has_a_to_tag_and_all_of_one_transaction_the_same(status: int) -> None:
    server = Server()
    server.receive(request("INVITE"))
    server.respond(183)
    server.respond(status)
    _, first, second = server.wire.take()
    assert first.to.tag and first.to.tag == second.to.tag and len(first.to.tag) >= 16


def test_a_to_tag_of_the_request_is_kept() -> None:
    server = Server()
    server.receive(request("INFO", to_tag="known"))
    server.respond(200)
    assert server.wire.take_response(200).to.tag == "known"


def test_a_display_name_with_tag_in_it_is_no_tag() -> None:
    server = Server()
    server.receive(request("OPTIONS").replace(b"To: <", b'To: "x;tag=1" <'))
    server.respond(200)
    assert server.wire.take_response(200).to.tag not in (None, "1")


def test_a_to_with_a_quoted_control_character_is_sent_back_as_it_came() -> None:
    server = Server()
    server.receive(request("OPTIONS").replace(b"To: <", b'To: "a\\\x00b" <'))
    server.respond(200)
    assert b'To: "a\\\x00b" <sip:us@192.0.2.1>;tag=' in server.wire.sent[0][2]


# -- matching -------------------------------------------------------------------------------------------------------------


def test_the_same_branch_from_another_sent_by_is_another_transaction() -> None:
    server = Server()
    server.receive(request("OPTIONS"))
    server.receive(request("OPTIONS", via="SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKpeer1;rport"))
    assert len(server.transactions) == 2


def test_the_same_branch_with_another_method_is_another_transaction() -> None:
    server = Server()
    server.receive(request("INVITE"))
    server.receive(request("CANCEL"))
    assert len(server.transactions) == 2


def test_a_peer_of_rfc_2543_is_matched_by_its_headers() -> None:
    server = Server()
    old = {"via": "SIP/2.0/UDP 192.0.2.2:5060"}
    server.receive(request("INVITE", **old))
    server.receive(request("INVITE", **old))
    assert len(server.transactions) == 1
    server.receive(request("INVITE", call_id="other", **old))
    assert len(server.transactions) == 2
    server.respond(486, 0)
    server.receive(request("ACK", to_tag=server.transactions[0].to_tag, **old))
    assert server.transactions[0].state is TransactionState.CONFIRMED


def test_a_branch_of_the_cookie_alone_identifies_nothing() -> None:
    server = Server()
    via = "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK"
    server.receive(request("OPTIONS", via=via))
    server.receive(request("OPTIONS", via=via, call_id="other"))
    assert len(server.transactions) == 2


def test_a_cancel_finds_its_invite() -> None:
    server = Server()
    server.receive(request("INVITE"))
    server.receive(request("CANCEL"))
    assert server.stack.find_cancelled(server.transactions[1].request) is server.transactions[0]
    server.receive(request("CANCEL", branch="z9hG4bKother"))
    assert server.stack.find_cancelled(server.transactions[2].request) is None


def test_an_ack_that_matches_nothing_is_passed_up_for_its_dialog_and_never_answered() -> None:
    server = Server()
    server.receive(request("ACK", branch="z9hG4bKnew", to_tag="x"))
    assert len(server.acks) == 1 and server.wire.sent == []


# -- the way of responses (§18.2.2, RFC 3581) -----------------------------------------------------------------------------


def answered_to(via: str, remote: tuple[str, int] = ("198.51.100.5", 1234)) -> tuple[Wire, tuple[str, int]]:
    server = Server(udp_flow(remote))
    server.receive(request("OPTIONS", via=via))
    server.respond(200)
    return server.wire, server.wire.sent[0][1].remote


def test_with_rport_the_answer_goes_to_the_source_address_and_port() -> None:
    wire, remote = answered_to("SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bK1")
    assert remote == ("198.51.100.5", 1234)
    via = wire.take_response(200).via
    assert (via.received, via.rport) == ("198.51.100.5", 1234)


def test_without_rport_the_answer_goes_to_the_source_address_and_the_port_of_sent_by() -> None:
    wire, remote = answered_to("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1")
    assert remote == ("198.51.100.5", 5070)
    assert wire.take_response(200).via.received == "198.51.100.5"


def test_without_rport_and_port_the_answer_goes_to_5060() -> None:
    assert answered_to("SIP/2.0/UDP host.example.com;branch=z9hG4bK1")[1] == ("198.51.100.5", 5060)


def test_received_is_not_added_when_sent_by_is_the_source_and_no_rport_was_asked() -> None:
    wire, _ = answered_to("SIP/2.0/UDP 198.51.100.5:1234;branch=z9hG4bK1")
    assert wire.take_response(200).via.received is None


def test_a_bogus_received_and_rport_of_the_sender_are_replaced_by_what_was_seen() -> None:
    wire, remote = answered_to("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=203.0.113.9;rport=99")
    assert remote == ("198.51.100.5", 1234)
    via = wire.take_response(200).via
    assert (via.received, via.rport) == ("198.51.100.5", 1234)
    assert str(via).count("received") == 1


def test_maddr_is_where_the_answer_goes() -> None:
    assert answered_to("SIP/2.0/UDP 10.0.0.1:5070;maddr=192.0.2.77;branch=z9hG4bK1")[1] == ("192.0.2.77", 5070)


def test_a_maddr_that_is_no_address_gets_no_answer() -> None:
    server = Server()
    server.receive(request("OPTIONS", via="SIP/2.0/UDP 10.0.0.1;maddr=evil.example.com;branch=z9hG4bK1"))
    assert server.transactions == [] and server.wire.sent == []
    assert server.stack.statistics().malformed == 1


def test_over_a_connection_the_answer_takes_the_same_connection() -> None:
    server = Server(tcp_flow())
    server.receive(request("OPTIONS", via="SIP/2.0/TCP 10.0.0.1:5070;maddr=192.0.2.77;branch=z9hG4bK1"))
    server.respond(200)
    assert server.wire.sent[0][1] is server.flow


def test_only_the_top_via_is_touched() -> None:
    server = Server(udp_flow(("198.51.100.5", 1234)))
    server.receive(request("OPTIONS", via="SIP/2.0/UDP a.example.com;rport;branch=z9hG4bK1, SIP/2.0/TCP b.example.com;branch=z9hG4bK2"))
    server.respond(200)
    vias = server.wire.take_response(200).vias
    assert [via.host for via in vias] == ["a.example.com", "b.example.com"]
    assert vias[0].rport == 1234 and vias[1].received is None


# -- limits, policy, bad input --------------------------------------------------------------------------------------------


def test_beyond_the_limit_a_request_gets_503_with_retry_after_and_no_transaction() -> None:
    server = Server(max_transactions=8)
    for number in range(8):
        server.receive(request("INVITE", branch=f"z9hG4bK{number}", call_id=f"c{number}"))
    server.wire.take()
    server.receive(request("INVITE", branch="z9hG4bKlate", call_id="late"))
    refusal = server.wire.take_response(503)
    assert refusal.headers.get("Retry-After") == "10" and refusal.to.tag
    assert len(server.transactions) == 8
    assert server.stack.statistics().refused == 1


def test_beyond_the_limit_a_bye_still_gets_through() -> None:
    server = Server(max_pending=8)
    for number in range(8):
        server.receive(request("INVITE", branch=f"z9hG4bK{number}", call_id=f"c{number}"))
    server.receive(request("BYE", branch="z9hG4bKbye", to_tag="x"))
    assert len(server.transactions) == 9


def test_a_stateless_refusal_has_the_same_to_tag_each_time() -> None:
    server = Server(max_transactions=0)
    server.receive(request("OPTIONS"))
    server.receive(request("OPTIONS"))
    server.receive(request("OPTIONS", call_id="other"))
    first, second, third = (message.to.tag for message in server.wire.take())
    assert first == second != third


def test_silence_by_policy_is_silence_and_counted() -> None:
    server = Server()
    server.stack.accept = lambda request, flow: False
    server.receive(request("INVITE"))
    server.receive(request("INVITE", branch="z9hG4bK2").replace(b"CSeq: 1 INVITE", b"CSeq: 1 OPTIONS"))
    server.wire.advance_to(60)
    assert server.wire.sent == [] and server.transactions == []
    assert server.stack.statistics().ignored == 2


def test_a_malformed_request_is_answered_400_and_a_malformed_response_dropped() -> None:
    server = Server()
    server.receive(request("OPTIONS", cseq_method="INVITE"))
    assert server.wire.take_response(400).to.tag
    server.receive(request("OPTIONS").replace(b"OPTIONS sip:us@192.0.2.1:5060 SIP/2.0", b"SIP/2.0 999 No").replace(b"CSeq: 1", b"CSeq: x"))
    server.receive(request("ACK", cseq_method="INVITE"))
    assert server.wire.sent[1:] == []
    assert server.stack.statistics().malformed == 3
    assert server.transactions == []


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0\0\0\0", b"\r\n"])
def test_keep_alives_are_counted_and_not_answered(data: bytes) -> None:
    server = Server()
    server.receive(data)
    statistics = server.stack.statistics()
    assert (statistics.keep_alives, statistics.malformed, server.wire.sent) == (1, 0, [])


def test_a_user_that_raises_costs_only_that_request() -> None:
    server = Server()

    def broken(request: Request, transaction: ServerTransaction) -> None:
        raise RuntimeError("a bug above")

    server.stack.on_request = broken
    server.receive(request("OPTIONS"))
    assert server.wire.take_response(500)
    assert server.stack.statistics().pending_requests == 0


def test_a_lost_connection_tells_the_user_of_a_pending_invite() -> None:
    server = Server(tcp_flow())
    failures: list[TransactionFailure] = []
    server.receive(request("INVITE", transport="TCP"))
    server.transactions[0].on_failure = failures.append
    server.stack.flow_failed(server.flow, ConnectionResetError())
    server.wire.settle()
    assert [failure.status for failure in failures] == [503]
    assert server.stack.statistics().server_transactions == 0


def test_merged_requests_are_recognised_by_call_id_from_tag_and_cseq() -> None:
    server = Server()
    server.receive(request("INVITE"))
    server.receive(request("INVITE", branch="z9hG4bKother"))
    server.receive(request("INVITE", branch="z9hG4bKthird", cseq=2))
    merged = [server.stack.is_merged(transaction.request, transaction) for transaction in server.transactions]
    assert merged == [False, True, False]


def test_closing_ends_everything() -> None:
    server = Server()
    server.receive(request("INVITE"))
    server.receive(request("OPTIONS", branch="z9hG4bKo"))
    server.stack.close()
    server.wire.advance_to(100)
    statistics = server.stack.statistics()
    assert (statistics.server_transactions, statistics.pending_requests) == (0, 0)
    assert server.wire.lines() == ["100"]
