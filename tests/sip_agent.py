"""A user agent core on a `Wire`, with a handler that keeps what it is told: for tests of calls, written from the peer's side."""

from __future__ import annotations

from collections.abc import Callable

from flexosip.sip.agent import UserAgentCore
from flexosip.sip.dialog import Dialog
from flexosip.sip.digest import DigestClient
from flexosip.sip.flow import Flow
from flexosip.sip.headers import NameAddr
from flexosip.sip.invite import InviteUsage, UsageEnd
from flexosip.sip.invite_client import OutgoingInvite
from flexosip.sip.message import Request, Response, new_request
from flexosip.sip.server_transaction import ServerTransaction
from flexosip.sip.uri import SipUri
from tests.sip_wire import Wire, answer, request, udp_flow

OFFER = b"v=0\r\no=us offer\r\n"
ANSWER = b"v=0\r\no=them answer\r\n"


class Handler:
    """Keeps every callback as (name, detail); `do` maps a name to what is done in it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.do: dict[str, Callable[..., object]] = {}
        self.reinvites: list[tuple[Request, ServerTransaction]] = []
        self.ack_body: bytes | None = None
        self.prack_body: bytes | None = None
        """Of our PRACK."""
        self.prack_answer: tuple[int, bytes | None] = (200, None)
        """Our answer to a PRACK."""
        self.update_answer: tuple[int, bytes | None] = (200, None)

    def _note(self, name: str, detail: object, *arguments: object) -> object:
        self.calls.append((name, detail))
        return self.do[name](*arguments) if name in self.do else None

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    @property
    def end(self) -> UsageEnd:
        ends = [detail for name, detail in self.calls if name == "ended"]
        assert len(ends) == 1 and isinstance(ends[0], UsageEnd)
        return ends[0]

    @property
    def rejection(self) -> object:
        found = [detail for name, detail in self.calls if name == "rejected"]
        assert len(found) == 1
        return found[0]

    def on_provisional(self, usage: InviteUsage, response: Response, dialog: Dialog | None) -> bytes | None:
        self._note("provisional", (response.status, dialog.remote_tag if dialog is not None else None), usage)
        return self.prack_body

    def on_accepted(self, usage: InviteUsage, response: Response) -> bytes | None:
        self._note("accepted", response.body, usage)
        return self.ack_body

    def on_rejected(self, usage: InviteUsage, status: int, reason: str, response: Response | None) -> None:
        self._note("rejected", (status, response.status if response is not None else None), usage)

    def on_confirmed(self, usage: InviteUsage, ack: Request) -> None:
        self._note("confirmed", ack.body, usage)

    def on_reinvite(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        self.reinvites.append((request, transaction))
        self._note("reinvite", request.body, usage, transaction)

    def on_request(self, usage: InviteUsage, request: Request, transaction: ServerTransaction) -> None:
        self._note("request", request.method, usage)
        if request.method == "UPDATE":
            status, body = self.update_answer
            if status:
                usage.answer_update(transaction, status, body)
            return
        transaction.respond(request.create_response(200))

    def on_prack(self, usage: InviteUsage, prack: Request) -> tuple[int, bytes | None]:
        self._note("prack", prack.body, usage)
        return self.prack_answer

    def on_refresh(self, usage: InviteUsage) -> None:
        self._note("refresh", None, usage)

    def on_ended(self, usage: InviteUsage, end: UsageEnd) -> None:
        self._note("ended", end, usage)


class Agent:
    """A core whose next hops are all the peer 192.0.2.2.

    Args:
        flow: between us and the peer.
    """

    def __init__(self, flow: Flow | None = None) -> None:
        self.wire = Wire()
        self.flow = flow or udp_flow()
        self.located: list[tuple[str, int]] = []
        self.deferred: list[Callable[[Flow | None, Exception | None], None]] | None = None
        """A list here makes `locate` wait."""
        self.unreachable: Exception | None = None
        self.core = UserAgentCore(self.wire.scheduler, self.wire.transmit, self.locate, random=self.wire.random)
        self.core.contact_for = lambda flow, request: self.contact(flow)
        self.core.on_invite = self._on_invite
        self.handler = Handler()
        self.usages: list[InviteUsage] = []

    def locate(self, uri: SipUri, size: int, preferred: Flow | None, done: Callable[[Flow | None, Exception | None], None]) -> None:
        self.located.append((str(uri), size))
        if self.deferred is not None:
            self.deferred.append(done)
        elif self.unreachable is not None:
            done(None, self.unreachable)
        else:
            done(self.flow, None)

    def contact(self, flow: Flow) -> NameAddr:
        return NameAddr(SipUri("sip", "us", flow.local[0], flow.local[1]))

    def _on_invite(self, usage: InviteUsage) -> None:
        usage.handler = self.handler
        self.usages.append(usage)

    # -- the peer's side ----------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        self.core.receive_datagram(data, self.flow)

    def reply(self, to: Request, status: int, **options: object) -> None:
        self.receive(answer(to, status, **options))  # type: ignore[arg-type]

    # -- outgoing calls -----------------------------------------------------------------------------------------------

    def call(self, *, body: bytes | None = OFFER, auth: DigestClient | None = None) -> OutgoingInvite:
        """Call the peer; the INVITE is left to be taken from the wire."""
        invite = new_request(
            "INVITE",
            SipUri.parse("sip:peer@example.com"),
            from_=NameAddr.parse("<sip:us@192.0.2.1>;tag=ours"),
            to=NameAddr.parse("<sip:peer@example.com>"),
            call_id="c1",
            cseq=10,
        )
        return self.core.invite(
            invite, SipUri.parse("sip:192.0.2.2"), auth=auth, handler=self.handler, contact=self.contact, body=lambda flow: body
        )

    def answered_call(self, *, headers: tuple[tuple[str, str], ...] = ()) -> OutgoingInvite:
        """An outgoing call that is confirmed, the wire read."""
        usage = self.call()
        invite = self.wire.take_request("INVITE")
        self.reply(invite, 200, body=ANSWER, headers=headers)
        self.wire.take_request("ACK")
        return usage

    def in_dialog(self, usage: InviteUsage, method: str, cseq: int = 1, *, branch: str | None = None, **options: object) -> bytes:
        """A request of the peer in the dialog of `usage`."""
        dialog = usage.dialog
        assert dialog is not None
        return request(
            method,
            from_tag=dialog.remote_tag,
            to_tag=dialog.local_tag,
            call_id=dialog.call_id,
            cseq=cseq,
            branch=branch or f"z9hG4bKd{method}{cseq}",
            **options,  # type: ignore[arg-type]
        )

    # -- incoming calls -----------------------------------------------------------------------------------------------

    def called(self, **options: object) -> InviteUsage:
        """The peer calls; the 100 is taken from the wire."""
        self.receive(request("INVITE", **{"body": OFFER.decode(), **options}))  # type: ignore[arg-type]
        self.wire.take_response(100)
        return self.usages[-1]

    def answered(self, **options: object) -> InviteUsage:
        """An incoming call, accepted and acknowledged, the wire read."""
        usage = self.called(**options)
        usage.accept(ANSWER)
        self.wire.take_response(200)
        self.receive(self.in_dialog(usage, "ACK"))
        return usage

    def left_behind(self) -> tuple[int, int, int]:
        """(dialogs, client transactions, server transactions) after all timers."""
        self.wire.advance(200)
        statistics = self.core.statistics()
        return statistics.dialogs, statistics.stack.client_transactions, statistics.stack.server_transactions
