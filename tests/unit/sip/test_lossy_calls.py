"""Two user agents over a line that loses, doubles and reorders: whatever happens, every call ends once and nothing is left."""

from __future__ import annotations

import logging
import random

import pytest

from flexosip.errors import LocalProtocolError
from flexosip.sansio import Scheduler
from flexosip.sip.agent import UserAgentCore
from flexosip.sip.dialog import Dialog
from flexosip.sip.flow import Flow
from flexosip.sip.headers import NameAddr
from flexosip.sip.invite import InviteState, InviteUsage, UsageEnd
from flexosip.sip.message import Request, Response, new_request
from flexosip.sip.server_transaction import ServerTransaction
from flexosip.sip.uri import SipUri

SDP = b"v=0\r\n"


class Line:
    """Two hosts and the bad line between them."""

    def __init__(self, seed: int, loss: float, transport: str = "udp") -> None:
        self.scheduler = Scheduler()
        self.random = random.Random(seed)
        self.loss = loss
        self.flows = {
            "a": Flow(transport, ("10.0.0.1", 5060), ("10.0.0.2", 5060)),
            "b": Flow(transport, ("10.0.0.2", 5060), ("10.0.0.1", 5060)),
        }
        self.cores = {name: self._core(name) for name in "ab"}
        self.started: list[Party] = []
        self.cores["b"].on_invite = self._called

    def _core(self, name: str) -> UserAgentCore:
        other = "b" if name == "a" else "a"

        def transmit(flow: Flow, data: bytes) -> None:
            copies = 0 if self.random.random() < self.loss else 2 if self.random.random() < 0.05 else 1
            for _ in range(copies):
                delay = 0.01 + (self.random.random() * 0.2 if self.random.random() < 0.1 else 0.0)
                self.scheduler.call_later(delay, self.cores[other].receive_datagram, data, self.flows[other])

        flow = self.flows[name]
        core = UserAgentCore(
            self.scheduler, transmit, lambda uri, size, preferred, done: done(flow, None), random=random.Random(self.random.random())
        )
        core.contact_for = lambda flow, request: NameAddr(SipUri("sip", name, flow.local[0], 5060))
        return core

    def call(self, number: int) -> None:
        party = Party(self)
        request = new_request(
            "INVITE",
            SipUri("sip", "b", "10.0.0.2"),
            from_=NameAddr(SipUri("sip", "a", "10.0.0.1"), "", (("tag", f"t{number}"),)),
            to=NameAddr(SipUri("sip", "b", "10.0.0.2")),
            call_id=f"call{number}",
            cseq=1,
        )
        contact_for = self.cores["a"].contact_for
        assert contact_for is not None
        party.usage = self.cores["a"].invite(
            request,
            SipUri("sip", None, "10.0.0.2"),
            auth=None,
            handler=party,
            contact=lambda flow: contact_for(flow, None),
            body=lambda flow: SDP,
        )
        party.live()

    def _called(self, usage: InviteUsage) -> None:
        party = Party(self)
        party.usage = usage
        usage.handler = party
        later = self.scheduler.call_later
        if self.random.random() < 0.8:
            usage.provisional(180)
        later(self.random.random() * 8, party.answer)
        party.live()


class Party:
    """One side of a call: it does something at random times and counts its ends."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.ends: list[str] = []
        self.changes = self.changed = 0
        self.usage: InviteUsage | None = None
        line.started.append(self)

    def live(self) -> None:
        chance = self.line.random.random
        later = self.line.scheduler.call_later
        for _ in range(2):
            later(chance() * 20, self.change)
        later(chance() * 10 if chance() < 0.3 else 20 + chance() * 60, self.hang_up)

    def answer(self) -> None:
        assert self.usage is not None
        try:
            if self.line.random.random() < 0.8:
                self.usage.accept(SDP)
            else:
                self.usage.reject(486)
        except LocalProtocolError:
            assert self.usage.ended

    def hang_up(self) -> None:
        assert self.usage is not None
        self.usage.hangup()

    def change(self) -> None:
        assert self.usage is not None
        if self.usage.state is InviteState.CONFIRMED and self.changes == self.changed:
            self.changes += 1
            self.usage.reinvite(SDP, self._on_changed)

    def _on_changed(self, result: object) -> bytes | None:
        self.changed += 1
        return None

    def on_provisional(self, usage: InviteUsage, response: Response, dialog: Dialog | None) -> None:
        assert not self.ends

    def on_accepted(self, usage: InviteUsage, response: Response) -> bytes | None:
        assert not self.ends
        return None

    def on_rejected(self, usage: InviteUsage, status: int, reason: str, response: Response | None) -> None:
        self.ends.append(f"rejected {status}")

    def on_confirmed(self, usage: InviteUsage, ack: Request) -> None:
        assert not self.ends

    def on_reinvite(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        assert not self.ends
        self.line.scheduler.call_later(self.line.random.random(), usage.answer_reinvite, transaction, 200, SDP)

    def on_request(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        transaction.respond(request.create_response(200))

    def on_ended(self, usage: InviteUsage, end: UsageEnd) -> None:
        self.ends.append(f"{end.by} {end.status}")


@pytest.mark.parametrize(
    ("seed", "loss", "transport"), [(1, 0.0, "udp"), (2, 0.05, "udp"), (3, 0.2, "udp"), (4, 0.5, "udp"), (5, 1.0, "udp"), (6, 0.0, "tcp")]
)
def test_every_call_ends_once_and_leaves_nothing_behind(seed: int, loss: float, transport: str, caplog: pytest.LogCaptureFixture) -> None:
    line = Line(seed, loss, transport)
    for number in range(150):
        line.scheduler.call_at(number * 0.1, line.call, number)
    with caplog.at_level(logging.WARNING):
        while (due := line.scheduler.next_timeout()) is not None:
            assert due < 2000
            line.scheduler.handle_timeout(due)
    assert [record.getMessage() for record in caplog.records] == []
    assert [party for party in line.started if len(party.ends) != 1 or party.changes != party.changed] == []
    for core in line.cores.values():
        statistics = core.statistics()
        assert (statistics.dialogs, statistics.outstanding_requests) == (0, 0)
        assert (statistics.stack.client_transactions, statistics.stack.server_transactions, statistics.stack.pending_requests) == (0, 0, 0)
        assert statistics.stack.malformed == 0
        assert core.stack._merged == {}
    ends = {end for party in line.started for end in party.ends}
    if loss == 0.0:
        assert {"local 200", "remote 200", "rejected 486", "local 486", "rejected 487", "remote 487"} <= ends
        assert not any(end.startswith(("timeout", "error")) for end in ends)
    if loss == 1.0:
        assert ends == {"rejected 408", "rejected 487"}
