"""A stack that has been closed: its sockets may bring a little more until they are closed too."""

from __future__ import annotations

import random

from flexosip.sansio import Scheduler
from flexosip.sip.flow import Flow
from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Request
from flexosip.sip.server_transaction import ServerTransaction
from flexosip.sip.stack import SipStack

OPTIONS = (
    b"OPTIONS sip:b@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@10.0.0.9>;tag=1\r\n"
    b"To: <sip:b@10.0.0.1>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
FLOW = Flow("udp", ("10.0.0.1", 5060), ("10.0.0.9", 5060))


def test_what_comes_after_the_closing_begins_nothing_and_gets_no_answer() -> None:
    scheduler, sent, asked = Scheduler(0.0), [], []

    def work(request: Request, transaction: ServerTransaction) -> None:
        asked.append(request)
        transaction.respond(request.create_response(200))

    stack = SipStack(scheduler, lambda flow, data: sent.append(data), random=random.Random(1))
    stack.on_request = work
    stack.receive_datagram(OPTIONS, FLOW)
    assert len(asked) == len(sent) == 1
    stack.close()
    stack.receive_datagram(OPTIONS.replace(b"z9hG4bK1", b"z9hG4bK2"), FLOW)
    stack.receive_malformed(SipParseError("no message"), FLOW)
    assert len(asked) == len(sent) == 1
    assert stack.statistics().server_transactions == 0
    assert scheduler.next_timeout() is None
