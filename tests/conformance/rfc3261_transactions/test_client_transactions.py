"""RFC 3261 §17.1: client transactions, timer by timer."""

from __future__ import annotations

import pytest

from flexosip.sip.client_transaction import ClientTransaction
from flexosip.sip.flow import Flow
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request, Response, new_request
from flexosip.sip.stack import SipStack
from flexosip.sip.transaction import TransactionFailure, TransactionState
from flexosip.sip.uri import SipUri
from tests.sip_wire import Wire, answer, tcp_flow, udp_flow


class Client:
    """A stack with one request on its way."""

    def __init__(self, method: str, flow: Flow | None = None, routes: tuple[str, ...] = ()) -> None:
        self.wire = Wire()
        self.stack = SipStack(self.wire.scheduler, self.wire.transmit, random=self.wire.random)
        self.flow = flow or udp_flow()
        self.responses: list[int] = []
        self.failures: list[TransactionFailure] = []
        self.request = new_request(
            method,
            SipUri.parse("sip:peer@192.0.2.2"),
            from_=NameAddr.parse("<sip:us@192.0.2.1>;tag=ours"),
            to=NameAddr.parse("<sip:peer@192.0.2.2>"),
            call_id="c1",
            cseq=7,
            routes=[NameAddr.parse(route) for route in routes],
        )
        self.transaction: ClientTransaction = self.stack.send_request(
            self.request, self.flow, on_response=self.on_response, on_failure=self.failures.append
        )

    def on_response(self, response: Response) -> None:
        self.responses.append(response.status)

    def receive(self, status: int, tag: str = "remote") -> None:
        self.stack.receive_message(answer(self.request, status, tag=tag), self.flow)


# -- INVITE ---------------------------------------------------------------------------------------------------------------


def test_timer_a_doubles_and_timer_b_ends_an_unanswered_invite_after_64_t1() -> None:
    client = Client("INVITE")
    client.wire.advance_to(31.999)
    assert client.wire.times("INVITE") == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert client.failures == []
    client.wire.advance_to(32)
    assert [failure.status for failure in client.failures] == [408]
    client.wire.advance_to(100)
    assert len(client.wire.sent) == 7
    assert client.stack.statistics().client_transactions == 0


def test_over_a_reliable_transport_an_invite_is_sent_once_and_timer_b_still_runs() -> None:
    client = Client("INVITE", tcp_flow())
    client.wire.advance_to(32)
    assert client.wire.times("INVITE") == [0]
    assert [failure.status for failure in client.failures] == [408]


def test_a_provisional_response_stops_timers_a_and_b() -> None:
    client = Client("INVITE")
    client.wire.advance_to(0.6)
    client.receive(180)
    client.wire.advance_to(1000)
    assert client.wire.times("INVITE") == [0, 0.5]
    assert client.responses == [180] and client.failures == []
    assert client.transaction.state is TransactionState.PROCEEDING


def test_a_failure_response_is_acknowledged_with_the_branch_the_request_uri_and_the_route_of_the_invite() -> None:
    client = Client("INVITE", routes=("<sip:proxy.example.com;lr>", "<sip:second.example.com;lr>"))
    client.wire.take()
    client.receive(486, tag="busy")
    ack = client.wire.take_request("ACK")
    assert ack.via.branch == client.request.via.branch
    assert len(ack.vias) == 1
    assert str(ack.uri) == "sip:peer@192.0.2.2"
    assert [str(route) for route in ack.routes] == ["<sip:proxy.example.com;lr>", "<sip:second.example.com;lr>"]
    assert ack.to.tag == "busy" and ack.from_.tag == "ours"
    assert (ack.cseq.number, ack.cseq.method, ack.call_id) == (7, "ACK", "c1")
    assert client.responses == [486]


def test_timer_d_absorbs_repeated_failure_responses_for_32_s_and_acknowledges_each() -> None:
    client = Client("INVITE")
    client.receive(486)
    for when in (1, 5, 31.9):
        client.wire.advance_to(when)
        client.receive(486)
    assert client.wire.times("ACK") == [0, 1, 5, 31.9]
    assert client.responses == [486]
    client.wire.advance_to(32.2)
    assert client.stack.statistics().client_transactions == 0


def test_timer_d_is_zero_over_a_reliable_transport() -> None:
    client = Client("INVITE", tcp_flow())
    client.receive(603)
    assert client.wire.times("ACK") == [0]
    assert client.stack.statistics().client_transactions == 0


def test_a_to_with_a_quoted_control_character_gets_its_ack_as_it_came() -> None:
    client = Client("INVITE")
    client.stack.receive_message(answer(client.request, 486).replace(b"To: ", b'To: "a\\\x00b" '), client.flow)
    assert client.responses == [486]
    assert b'To: "a\\\x00b" <sip:peer@192.0.2.2>;tag=remote' in client.wire.sent[-1][2]


def test_a_user_that_raises_at_a_response_does_not_end_the_loop_over_messages(caplog: pytest.LogCaptureFixture) -> None:
    client = Client("OPTIONS")

    def broken(response: Response) -> None:
        raise RuntimeError("a bug above")

    client.transaction._on_response = broken
    client.receive(200)
    assert "could not be processed" in caplog.text
    client.wire.advance_to(5)
    assert client.stack.statistics().client_transactions == 0


def test_a_provisional_response_after_the_final_one_is_ignored() -> None:
    client = Client("INVITE")
    client.receive(486)
    client.receive(180)
    assert client.responses == [486]


# -- other requests -------------------------------------------------------------------------------------------------------


def test_timer_e_doubles_up_to_t2_and_timer_f_ends_after_64_t1() -> None:
    client = Client("OPTIONS")
    client.wire.advance_to(40)
    assert client.wire.times("OPTIONS") == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert [failure.status for failure in client.failures] == [408]


def test_in_proceeding_timer_e_runs_with_t2() -> None:
    client = Client("OPTIONS")
    client.wire.advance_to(0.2)
    client.receive(100)
    client.wire.advance_to(40)
    assert client.wire.times("OPTIONS") == [0, 0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
    assert [failure.status for failure in client.failures] == [408]


def test_over_a_reliable_transport_timer_e_does_not_run_but_timer_f_does() -> None:
    client = Client("OPTIONS", tcp_flow())
    client.wire.advance_to(31.9)
    assert client.failures == []
    client.wire.advance_to(32)
    assert client.wire.times("OPTIONS") == [0]
    assert [failure.status for failure in client.failures] == [408]


def test_timer_k_absorbs_repeated_final_responses_for_t4() -> None:
    client = Client("OPTIONS")
    client.receive(200)
    client.wire.advance_to(4.9)
    client.receive(200)
    assert client.responses == [200]
    assert client.stack.statistics().client_transactions == 1
    client.wire.advance_to(5)
    assert client.stack.statistics().client_transactions == 0


def test_timer_k_is_zero_over_a_reliable_transport() -> None:
    client = Client("OPTIONS", tcp_flow())
    client.receive(200)
    assert client.stack.statistics().client_transactions == 0


def test_a_final_response_stops_the_retransmissions() -> None:
    client = Client("BYE")
    client.wire.advance_to(0.7)
    client.receive(481)
    client.wire.advance_to(100)
    assert client.wire.times("BYE") == [0, 0.5]


# -- transport and matching -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_a_transport_error_is_reported_as_503_not_from_within_the_send(method: str) -> None:
    client = Client(method, tcp_flow())
    error = ConnectionRefusedError("refused")
    client.stack.flow_failed(client.flow, error)
    assert client.failures == []
    client.wire.settle()
    assert [(failure.status, failure.error) for failure in client.failures] == [(503, error)]
    assert client.stack.statistics().client_transactions == 0


def test_a_request_on_a_dead_flow_fails_with_503() -> None:
    flow = tcp_flow()
    flow.alive = False
    client = Client("OPTIONS", flow)
    client.wire.settle()
    assert [failure.status for failure in client.failures] == [503]


def test_an_icmp_error_fails_every_request_to_that_address() -> None:
    client = Client("OPTIONS")
    client.stack.flow_failed(udp_flow(), ConnectionRefusedError())
    client.wire.settle()
    assert [failure.status for failure in client.failures] == [503]


def test_a_response_matches_by_branch_and_cseq_method_only() -> None:
    client = Client("INVITE")
    wrong_method = answer(client.request, 200).replace(b"CSeq: 7 INVITE", b"CSeq: 7 CANCEL")
    client.stack.receive_message(wrong_method, client.flow)
    wrong_branch = answer(client.request, 200).replace(b"z9hG4bK", b"z9hG4bKx")
    client.stack.receive_message(wrong_branch, client.flow)
    assert client.responses == []
    assert client.stack.statistics().stray_responses == 2


def test_a_response_whose_sent_by_is_not_ours_is_discarded() -> None:
    client = Client("OPTIONS")
    client.stack.receive_message(answer(client.request, 200).replace(b"UDP 192.0.2.1:5060", b"UDP 192.0.2.9:5060"), client.flow)
    assert client.responses == []


def test_every_request_has_a_branch_of_its_own_with_the_cookie_and_asks_for_rport() -> None:
    first, second = Client("OPTIONS").request, Client("INVITE").request
    wire = Wire()
    stack = SipStack(wire.scheduler, wire.transmit, random=wire.random)
    branches = {stack.new_branch() for _ in range(1000)}
    assert len(branches) == 1000 and all(branch.startswith("z9hG4bK") for branch in branches)
    assert first.via.has_rport and second.via.has_rport
    assert first.via.sent_by == "192.0.2.1:5060"


def test_received_and_rport_of_a_response_tell_our_public_address() -> None:
    client = Client("OPTIONS")
    data = answer(client.request, 200).replace(b";rport", b";rport=40123;received=198.51.100.7")
    client.stack.receive_message(data, client.flow)
    assert client.responses == [200]
    assert client.flow.advertised == ("198.51.100.7", 40123)


def test_cancel_carries_branch_request_uri_route_and_cseq_number_of_the_invite() -> None:
    client = Client("INVITE", routes=("<sip:proxy.example.com;lr>",))
    client.receive(180)
    client.wire.take()
    finals: list[object] = []
    transaction = client.transaction
    client.stack.send_cancel(transaction, (("Reason", "SIP;cause=200"),), on_final=finals.append)  # type: ignore[arg-type]
    cancel = client.wire.take_request("CANCEL")
    assert isinstance(cancel, Request)
    assert cancel.via.branch == client.request.via.branch and len(cancel.vias) == 1
    assert (str(cancel.uri), cancel.cseq.number, cancel.cseq.method) == ("sip:peer@192.0.2.2", 7, "CANCEL")
    assert cancel.to.tag is None and [str(route) for route in cancel.routes] == ["<sip:proxy.example.com;lr>"]
    assert cancel.headers.get("Reason") == "SIP;cause=200"


def test_on_idle_is_called_when_the_last_request_is_answered() -> None:
    client = Client("OPTIONS")
    idle: list[bool] = []
    client.stack.on_idle = lambda: idle.append(True)
    assert client.stack.outstanding == 1
    client.receive(200)
    client.wire.settle()
    assert idle == [True] and client.stack.outstanding == 0
