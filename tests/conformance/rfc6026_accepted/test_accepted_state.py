"""RFC 6026: a 2xx to INVITE leads to the Accepted state on both sides."""

from __future__ import annotations

from flexosip.sip.client_transaction import InviteClientTransaction
from flexosip.sip.server_transaction import InviteServerTransaction, ServerTransaction
from flexosip.sip.stack import SipStack
from flexosip.sip.transaction import TransactionState
from tests.conformance.rfc3261_transactions.test_client_transactions import Client
from tests.sip_wire import Wire, request, tcp_flow, udp_flow


def test_every_2xx_within_64_t1_is_passed_up_and_none_is_acknowledged_by_the_transaction() -> None:
    client = Client("INVITE")
    client.receive(200)
    client.wire.advance_to(3)
    client.receive(200, tag="fork")
    client.wire.advance_to(31.9)
    client.receive(200)
    assert client.responses == [200, 200, 200]
    assert client.wire.times("ACK") == []
    client.wire.advance_to(32)
    assert client.stack.statistics().client_transactions == 0


def test_timer_m_runs_on_reliable_transports_too() -> None:
    client = Client("INVITE", tcp_flow())
    client.receive(200)
    client.wire.advance_to(31.9)
    assert client.transaction.state is TransactionState.ACCEPTED
    client.wire.advance_to(32)
    assert client.transaction.state is TransactionState.TERMINATED


def test_a_known_ack_is_sent_again_for_each_repeated_2xx() -> None:
    client = Client("INVITE")
    client.receive(200)
    transaction = client.transaction
    assert isinstance(transaction, InviteClientTransaction)
    transaction.set_ack("remote", client.flow, b"ACK sip:peer@192.0.2.2 SIP/2.0\r\n\r\n")
    for when in (0.5, 1.5, 31.5):
        client.wire.advance_to(when)
        client.receive(200)
    assert client.wire.times("ACK") == [0.5, 1.5, 31.5]
    assert client.responses == [200]


def test_in_accepted_provisional_and_failure_responses_are_not_passed_up() -> None:
    client = Client("INVITE")
    client.receive(200)
    client.receive(180)
    client.receive(486)
    assert client.responses == [200]


class Server:
    def __init__(self, transport: str = "udp") -> None:
        self.wire = Wire()
        self.stack = SipStack(self.wire.scheduler, self.wire.transmit, random=self.wire.random)
        self.flow = udp_flow() if transport == "udp" else tcp_flow()
        self.transactions: list[ServerTransaction] = []
        self.acks = 0
        self.stack.on_request = lambda request, transaction: self.transactions.append(transaction)
        self.stack.on_ack = lambda request, flow: setattr(self, "acks", self.acks + 1)
        self.invite = request("INVITE", transport=transport.upper())
        self.stack.receive_message(self.invite, self.flow)

    @property
    def transaction(self) -> InviteServerTransaction:
        transaction = self.transactions[0]
        assert isinstance(transaction, InviteServerTransaction)
        return transaction


def test_a_repeated_invite_in_accepted_is_absorbed_without_an_answer() -> None:
    server = Server()
    server.transaction.respond(server.transaction.request.create_response(200))
    server.wire.take()
    server.stack.receive_message(server.invite, server.flow)
    assert server.wire.take() == [] and len(server.transactions) == 1


def test_timer_l_ends_accepted_after_64_t1_on_every_transport() -> None:
    for transport in ("udp", "tcp"):
        server = Server(transport)
        server.transaction.respond(server.transaction.request.create_response(200))
        server.wire.advance_to(31.9)
        assert server.transaction.state is TransactionState.ACCEPTED
        server.wire.advance_to(32)
        assert server.transaction.state is TransactionState.TERMINATED
        assert server.stack.statistics().server_transactions == 0


def test_an_ack_with_the_branch_of_the_invite_is_passed_up_in_accepted() -> None:
    server = Server()
    server.transaction.respond(server.transaction.request.create_response(200))
    server.stack.receive_message(request("ACK", to_tag=server.transaction.to_tag), server.flow)
    assert server.acks == 1


def test_the_transaction_itself_never_repeats_a_2xx() -> None:
    server = Server()
    server.transaction.respond(server.transaction.request.create_response(200))
    server.wire.advance_to(60)
    assert server.wire.times("SIP/2.0 200") == [0]
