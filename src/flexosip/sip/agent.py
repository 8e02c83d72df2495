"""The user agent core: what a phone does with requests and responses, apart from sound.

It owns the transactions (`SipStack`) and the table of dialogs, checks incoming requests in the order of the RFC, makes an
`InviteUsage` of each call, and sends requests with credentials. It owns no socket, no clock and no SDP.

RFC 3261 §8, §9.2, §11, §12.2.2
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from flexosip.sip.dialog import DialogId, dialog_id_of
from flexosip.sip.grammar import SipParseError
from flexosip.sip.invite_client import OutgoingInvite
from flexosip.sip.invite_server import IncomingInvite
from flexosip.sip.multipart import unwrap
from flexosip.sip.outgoing_request import OutgoingRequest, Result, estimated_size
from flexosip.sip.session_timer import too_small
from flexosip.sip.stack import RandomSource, SipStack, StackStatistics
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Scheduler, Timer
    from flexosip.sip.client_transaction import InviteClientTransaction
    from flexosip.sip.dialog import Dialog
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.failover import OtherServers
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import NameAddr
    from flexosip.sip.invite import InviteHandler, InviteUsage
    from flexosip.sip.message import Request, Response
    from flexosip.sip.server_transaction import InviteServerTransaction, ServerTransaction
    from flexosip.sip.session_timer import SessionTimerSettings
    from flexosip.sip.timers import Timers

__all__ = ["AgentStatistics", "DialogUsage", "HalfDialog", "Locate", "UserAgentCore"]

logger = logging.getLogger(__name__)

Locate = "Callable[[SipUri, int, Flow | None, Callable[[Flow | None, Exception | None], None]], None]"
"""(next hop, octets of the message, preferred flow, done): calls `done(flow, None)` or `done(None, error)`, at once or later."""

_OWN_METHODS = frozenset({"ACK", "BYE", "CANCEL", "INFO", "INVITE", "OPTIONS", "PRACK", "UPDATE"})
_KNOWN_METHODS = _OWN_METHODS | {"MESSAGE", "NOTIFY", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE"}
_WITHIN_DIALOGS_ONLY = frozenset({"BYE", "INFO", "UPDATE", "PRACK"})
_WITH_SDP = frozenset({"INVITE", "UPDATE", "PRACK"})
_RING_REFRESH = 50.0
"""Seconds after which an unanswered call's last 1xx is repeated; the RFC wants one at every minute (§13.3.1.1)."""
_RING_SWEEP = 5.0
SDP = "application/sdp"


class DialogUsage(Protocol):
    """What lives in a dialog and gets its requests."""

    def receive_request(self, request: Request, transaction: ServerTransaction) -> None:
        """A request in the dialog other than ACK and CANCEL, allowed and in order."""

    def receive_ack(self, request: Request, flow: Flow) -> None:
        """An ACK for a 2xx."""

    def find_dialog(self, remote_tag: str) -> Dialog | None:
        """The dialog with that remote tag."""

    def drop(self) -> None:
        """Stop all timers; nobody is told."""


class HalfDialog(Protocol):
    """A SUBSCRIBE or REFER of ours: whoever it has reached may send the first NOTIFY before any response."""

    def adopt(self, request: Request) -> DialogUsage | None:
        """The usage, in the core's table from now on, of the dialog that this NOTIFY makes; None if it belongs to none."""


@dataclass(frozen=True, slots=True)
class AgentStatistics:
    """What is there now."""

    dialogs: int
    outstanding_requests: int
    stack: StackStatistics


class UserAgentCore:
    """A user agent without network.

    Args:
        scheduler: gives the time and fires timers.
        transmit: sends bytes over a flow.
        locate: finds the flow to a next hop, see `Locate`.
        random: `random.SystemRandom()` outside tests.
        timers: other than the RFC's for tests only.
        stack: a stack made elsewhere, for other limits.
    """

    allow_events: frozenset[str] = frozenset()
    """Event packages that others may subscribe to (RFC 6665 §8.2.2)."""
    info_packages: frozenset[str] = frozenset()
    """INFO packages that are understood above, for Recv-Info (RFC 6086 §5.2)."""

    def __init__(
        self,
        scheduler: Scheduler,
        transmit: Callable[[Flow, bytes], None],
        locate: Callable[[SipUri, int, Flow | None, Callable[[Flow | None, Exception | None], None]], None],
        *,
        random: RandomSource,
        timers: Timers | None = None,
        stack: SipStack | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.random = random
        self.locate = locate
        self.servers: OtherServers | None = None
        """The other servers of a next hop, for when one fails; None: there are none."""
        self.stack = stack = stack or SipStack(scheduler, transmit, random=random, timers=timers)
        stack.on_request = self._receive_request
        stack.on_ack = self._receive_ack
        stack.accept = self._accepts
        stack.works_on = self._works_on
        self.dialogs: dict[DialogId, DialogUsage] = {}
        self.half_dialogs: dict[tuple[str, str], HalfDialog] = {}
        """Requests of ours that NOTIFYs of dialogs not known yet belong to, by (Call-ID, our tag); see RFC 6665 §4.4.1."""
        self.extra_methods: frozenset[str] = frozenset()
        """Methods that `on_other` answers, for the Allow header; MESSAGE belongs to `on_message`."""
        self.supported: frozenset[str] = frozenset()
        """Option tags that are implemented above."""
        self.reliable_provisional = "off"
        """When the 1xx to a caller are reliable, see `flexosip.sip.reliable.POLICIES`."""
        self.session_timer: SessionTimerSettings | None = None
        """Session timers (RFC 4028); None takes no part in them."""
        self.product: str | None = None
        """User-Agent of our requests; None sends none."""
        self.on_invite: Callable[[InviteUsage], None] | None = None
        """A new incoming call; sets `usage.handler`, and may answer at once or later."""
        self.on_message: Callable[[Request, ServerTransaction], None] | None = None
        """A MESSAGE outside of calls; must respond, at once or within 32 s."""
        self.on_other: Callable[[Request, ServerTransaction], bool] | None = None
        """Another request outside of dialogs; True if it will be answered there."""
        self.message_types: frozenset[str] = frozenset({"text/plain"})
        """Media types of MESSAGE bodies that `on_message` understands."""
        self.options_status: Callable[[Request, Flow], int] | None = None
        """What an INVITE would get now (RFC 3261 §11.2): 200, or 486 when busy."""
        self.accept: Callable[[Request, Flow], bool] | None = None
        """Whether a request outside of dialogs is answered at all; False is silence, or that it has been answered."""
        self.same_way: Callable[[Flow, Flow], bool] | None = None
        """(the flow that a dialog was made over, the one that a request within it came over): whether the request may be the peer's."""
        self.unproven: Callable[[Flow], bool] | None = None
        """Whether a flow's remote address may be forged: then nobody is told BYE who has never acknowledged our 2xx."""
        self.is_local_uri: Callable[[object], bool] | None = None
        """Whether a Request-URI is ours, else 404; None: every SIP URI is."""
        self.contact_for: Callable[[Flow, Request | None], NameAddr] | None = None
        """The Contact of our answers over a flow, to that request: it tells which of our addresses is meant."""
        self.auth_allowed: Callable[[Flow], bool] | None = None
        """Whether credentials may be sent over a flow, on top of the rule that they go where the first request went."""
        self._ringing: dict[IncomingInvite, float] = {}
        self._sweep: Timer | None = None
        self._allow_cache: tuple[frozenset[str], bool, str] | None = None

    # -- what the driver calls ----------------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, flow: Flow) -> None:
        """A datagram came over `flow`."""
        self.stack.receive_datagram(data, flow)

    def receive_message(self, data: bytes, flow: Flow) -> None:
        """A message, cut out of a stream, came over `flow`."""
        self.stack.receive_message(data, flow)

    def receive_malformed(self, error: SipParseError, flow: Flow) -> None:
        """A stream could not be framed."""
        self.stack.receive_malformed(error, flow)

    def flow_failed(self, flow: Flow, error: Exception) -> None:
        """The driver could not send over `flow`, or its connection is lost."""
        self.stack.flow_failed(flow, error)

    # -- what we can do -----------------------------------------------------------------------------------------------

    @property
    def allow(self) -> frozenset[str]:
        """Methods that are implemented (RFC 3261 §20.5)."""
        return _OWN_METHODS | self.extra_methods | ({"MESSAGE"} if self.on_message is not None else frozenset())

    @property
    def allow_value(self) -> str:
        """Value of the Allow header."""
        cached = self._allow_cache
        if cached is None or cached[0] is not self.extra_methods or cached[1] is not (self.on_message is not None):
            self._allow_cache = cached = (self.extra_methods, self.on_message is not None, ", ".join(sorted(self.allow)))
        return cached[2]

    def capability_headers(self) -> list[tuple[str, str]]:
        """Allow and, if there is anything to say, Supported: for INVITE, its 2xx and 18x (RFC 3261 §13.2.1)."""
        headers = [("Allow", self.allow_value)]
        if self.supported:
            headers.append(("Supported", ", ".join(sorted(self.supported))))
        if self.info_packages:
            headers.append(("Recv-Info", self.recv_info_value))
        if self.allow_events:
            headers.append(("Allow-Events", ", ".join(sorted(self.allow_events))))
        return headers

    @property
    def recv_info_value(self) -> str:
        """Value of the Recv-Info header; empty when no package is understood (RFC 6086 §5.2.3)."""
        return ", ".join(sorted(self.info_packages))

    def contact_value(self, flow: Flow, request: Request | None = None) -> NameAddr | None:
        """Our Contact over `flow`, in answers to `request`: a sips address if that is what was called (RFC 3261 §12.1.1)."""
        contact = self.contact_for(flow, request) if self.contact_for is not None else None
        if contact is None or request is None or request.uri.scheme != "sips" or not isinstance(contact.uri, SipUri):
            return contact
        return replace(contact, uri=replace(contact.uri, scheme="sips"))

    # -- outgoing -----------------------------------------------------------------------------------------------------

    def request(
        self,
        request: Request,
        next_hop: SipUri,
        *,
        auth: DigestClient | None = None,
        on_final: Callable[[Result], None],
        on_provisional: Callable[[Response], None] | None = None,
        prepare: Callable[[Request, Flow], None] | None = None,
        preferred: Flow | None = None,
        trusted: str | None = None,
        next_cseq: Callable[[], int] | None = None,
        has_other_server: bool = False,
    ) -> OutgoingRequest:
        """Send a request and answer its challenges; see `OutgoingRequest` for the arguments."""
        if self.product is not None and "User-Agent" not in request.headers:
            request.headers.add("User-Agent", self.product)
        outgoing = OutgoingRequest(
            self,
            request,
            next_hop,
            auth=auth,
            on_final=on_final,
            on_provisional=on_provisional,
            prepare=prepare,
            preferred=preferred,
            trusted=trusted,
            next_cseq=next_cseq,
            has_other_server=has_other_server,
        )
        outgoing.start()
        return outgoing

    def invite(
        self,
        request: Request,
        next_hop: SipUri,
        *,
        auth: DigestClient | None,
        handler: InviteHandler,
        contact: Callable[[Flow], NameAddr],
        body: Callable[[Flow], bytes | None],
        preferred: Flow | None = None,
    ) -> OutgoingInvite:
        """Call somebody.

        Args:
            request: the INVITE without Via, Contact and body.
            next_hop: where to send it.
            auth: credentials for challenges, or None.
            handler: is told what happens.
            contact, body: called once the flow is known; a body of None makes the other side offer (RFC 3264 §4).
            preferred: a flow to use if it leads to the next hop.
        """
        usage = OutgoingInvite(self, request, next_hop, auth=auth, handler=handler, contact=contact, body=body, preferred=preferred)
        usage.start()
        return usage

    def send_in_dialog(
        self,
        dialog: Dialog,
        request: Request,
        *,
        auth: DigestClient | None,
        on_final: Callable[[Result], None],
        flow: Flow | None,
        trusted: str | None,
        on_provisional: Callable[[Response], None] | None = None,
    ) -> OutgoingRequest:
        """Send a request made by `dialog.create_request`."""

        def next_cseq() -> int:
            dialog.local_cseq += 1
            return dialog.local_cseq

        return self.request(
            request,
            dialog.next_hop,
            auth=auth,
            on_final=on_final,
            on_provisional=on_provisional,
            preferred=flow,
            trusted=trusted,
            next_cseq=next_cseq,
        )

    def send_ack(
        self,
        dialog: Dialog,
        invite: Request,
        transaction: InviteClientTransaction | None,
        flow: Flow | None,
        body: bytes | None = None,
        then: Callable[[bool], None] | None = None,
    ) -> None:
        """Acknowledge a 2xx: a request of its own to the remote target, through the route set (RFC 3261 §13.2.2.4).

        Args:
            invite: the INVITE; the ACK has its CSeq and its credentials.
            transaction: it repeats the ACK for each repeated 2xx.
            body: the answer to an offer in the 2xx.
            then: called with True when the ACK is out, with False when it cannot be sent.
        """
        ack = dialog.create_request("ACK", cseq=invite.cseq.number, body=body or b"", content_type=SDP)

        def located(found: Flow | None, error: Exception | None) -> None:
            if found is None:
                # The other side repeats its 2xx, and each one brings us here again.
                logger.warning("an ACK could not be sent: %s", error)
            else:
                if flow is not None and found.remote[0] == flow.remote[0]:
                    for name in ("Authorization", "Proxy-Authorization"):
                        for value in invite.headers.get_lines(name):
                            ack.headers.add(name, value)
                data = self.stack.send(ack, found)
                if transaction is not None:
                    transaction.set_ack(dialog.remote_tag, found, data)
            if then is not None:
                then(found is not None)

        self.locate(dialog.next_hop, estimated_size(ack), flow, located)

    # -- incoming -----------------------------------------------------------------------------------------------------

    def _works_on(self, method: str) -> bool:
        return method in self.allow

    def _accepts(self, request: Request, flow: Flow) -> bool:
        if self.accept is None:
            return True
        try:
            if request.method == "CANCEL" and self.stack.find_cancelled(request) is not None:
                return True
            if request.to.tag is not None and (usage := self.dialogs.get(dialog_id_of(request))) is not None:
                if not flow.proven and usage.find_dialog(request.from_.tag or "") is not None:
                    # Our tag is 64 random bits.
                    self.stack.prove(flow)
                return True
            if request.to.tag is not None and self._half_dialog(request) is not None:
                return True
        except SipParseError:
            # Malformed enough that it belongs to nothing of ours.
            logger.debug("a malformed request is treated as one of a stranger")
        return self.accept(request, flow)

    def _receive_request(self, request: Request, transaction: ServerTransaction) -> None:
        if request.method == "CANCEL":
            self._receive_cancel(request, transaction)
        elif request.to.tag is not None:
            self._receive_in_dialog(request, transaction)
        else:
            self._receive_outside(request, transaction)

    def _receive_cancel(self, request: Request, transaction: ServerTransaction) -> None:
        """RFC 3261 §9.2: 481, or 200 with the To-tag of the INVITE's responses, and 487 to a pending INVITE."""
        invite = self.stack.find_cancelled(request)
        if invite is None:
            transaction.respond(request.create_response(481))
            return
        transaction.respond(request.create_response(200, to_tag=invite.to_tag))
        if not invite.is_pending:
            return
        if invite.on_cancel is not None:
            invite.on_cancel(request)
        else:
            invite.respond(invite.request.create_response(487))

    def _receive_in_dialog(self, request: Request, transaction: ServerTransaction) -> None:
        method = request.method
        usage = self.dialogs.get(dialog_id_of(request))
        if usage is None and (half := self._half_dialog(request)) is not None:
            usage = half.adopt(request)
        dialog = usage.find_dialog(request.from_.tag or "") if usage is not None else None
        if usage is None or dialog is None or not self._came_the_same_way(usage, transaction.flow):
            transaction.respond(request.create_response(481))
            return
        if method not in self.allow:
            self._refuse_method(request, transaction)
        elif not dialog.receive_request(request):
            # §12.2.2: out of order. The sender finds its mistake sooner with 500 than with silence.
            transaction.respond(request.create_response(500, "CSeq out of order"))
        elif not self._refuse_extension(request, transaction):
            if method in _WITH_SDP:
                unwrap(request, SDP)
            if method == "OPTIONS":
                self._answer_options(request, transaction, 200)
            else:
                usage.receive_request(request, transaction)

    def _half_dialog(self, request: Request) -> HalfDialog | None:
        if request.method != "NOTIFY" or not self.half_dialogs:
            return None
        return self.half_dialogs.get((request.call_id, request.to.tag or ""))

    def _came_the_same_way(self, usage: DialogUsage, flow: Flow) -> bool:
        """Who knows the tags of a dialog over TLS from elsewhere does not get into it."""
        established: Flow | None = getattr(usage, "flow", None)
        return self.same_way is None or established is None or self.same_way(established, flow)

    def _receive_outside(self, request: Request, transaction: ServerTransaction) -> None:
        """The checks of RFC 3261 §8.2.1 to §8.2.3 in their order, then the work."""
        method = request.method
        if method not in self.allow:
            if self.on_other is None or not self.on_other(request, transaction):
                self._refuse_method(request, transaction)
            return
        if method in _WITHIN_DIALOGS_ONLY:
            # §15.1.2 for BYE; the others make no sense outside of a dialog either.
            transaction.respond(request.create_response(481))
            return
        uri = request.uri
        if not isinstance(uri, SipUri) and (self.is_local_uri is None or not self.is_local_uri(uri)):
            transaction.respond(request.create_response(416))
        elif self.is_local_uri is not None and not self.is_local_uri(uri):
            transaction.respond(request.create_response(404))
        elif self.stack.is_merged(request, transaction):
            transaction.respond(request.create_response(482, "Merged Request"))
        elif not self._refuse_extension(request, transaction) and not self.refuse_content(request, transaction):
            self._work(request, transaction)

    def _work(self, request: Request, transaction: ServerTransaction) -> None:
        method = request.method
        if method == "INVITE":
            self._receive_invite(request, transaction)
        elif method == "OPTIONS":
            status = self.options_status(request, transaction.flow) if self.options_status is not None else 200
            self._answer_options(request, transaction, status)
        elif method == "MESSAGE" and self.on_message is not None:
            self.on_message(request, transaction)
        elif self.on_other is None or not self.on_other(request, transaction):
            self._refuse_method(request, transaction)

    def _receive_invite(self, request: Request, transaction: ServerTransaction) -> None:
        if self.on_invite is None:
            transaction.respond(request.create_response(480))
            return
        if self._refuse_session(request, transaction):
            return
        usage = IncomingInvite(self, request, _as_invite(transaction))
        try:
            self.on_invite(usage)
        except Exception:
            usage.hangup(status=500)
            raise

    def _refuse_session(self, request: Request, transaction: ServerTransaction) -> bool:
        """422 for a session interval that is too small (RFC 4028 §9), 421 for a caller without the PRACK that we want (RFC 3262 §3)."""
        settings = self.session_timer
        if settings is not None and too_small(request, settings.min_se):
            transaction.respond(request.create_response(422, headers=(("Min-SE", str(settings.min_se)),)))
            return True
        if self.reliable_provisional == "required" and not {"100rel"} & (request.supported | request.require):
            transaction.respond(request.create_response(421, headers=(("Require", "100rel"),)))
            return True
        return False

    def _receive_ack(self, request: Request, flow: Flow) -> None:
        usage = self.dialogs.get(dialog_id_of(request))
        if usage is not None and self._came_the_same_way(usage, flow):
            if not flow.proven:
                self.stack.prove(flow)
            unwrap(request, SDP)
            usage.receive_ack(request, flow)

    # -- refusals -----------------------------------------------------------------------------------------------------

    def _refuse_method(self, request: Request, transaction: ServerTransaction) -> None:
        status = 405 if request.method in _KNOWN_METHODS else 501
        transaction.respond(request.create_response(status, headers=(("Allow", self.allow_value),)))

    def _refuse_extension(self, request: Request, transaction: ServerTransaction) -> bool:
        """420 for a Require that we do not support (RFC 3261 §8.2.2.3); 400 for a Replaces that is out of place (RFC 3891 §3)."""
        if request.method != "INVITE" and "Replaces" in request.headers:
            transaction.respond(request.create_response(400, "Replaces belongs to INVITE"))
            return True
        if "Require" not in request.headers:
            return False
        unknown = [tag for tag in request.headers.get_all("Require") if tag.lower() not in self.supported]
        if not unknown:
            return False
        transaction.respond(request.create_response(420, headers=(("Unsupported", ", ".join(unknown)),)))
        return True

    def refuse_content(self, request: Request, transaction: ServerTransaction) -> bool:
        """415 for a body that we do not understand and must, 406 when we could not answer (RFC 3261 §8.2.3, §21.4.7).

        True if that was sent. SDP within a multipart body takes the place of the whole (RFC 5621).
        """
        method = request.method
        if method not in ("INVITE", "OPTIONS", "MESSAGE"):
            return False
        understood = self.message_types if method == "MESSAGE" else frozenset({SDP})
        headers = request.headers
        if request.body and "handling=optional" not in (headers.get("Content-Disposition") or "").lower():
            encodings = [value for value in headers.get_all("Content-Encoding") if value.lower() != "identity"]
            if encodings:
                transaction.respond(request.create_response(415, headers=(("Accept-Encoding", "identity"),)))
                return True
            if method == "INVITE":
                unwrap(request, SDP)
            if request.content_type not in understood and "*/*" not in understood:
                transaction.respond(request.create_response(415, headers=(("Accept", ", ".join(sorted(understood))),)))
                return True
        if method != "MESSAGE" and "Accept" in headers:
            accepted = {value.partition(";")[0].strip().lower() for value in headers.get_all("Accept")}
            # An empty Accept means that nothing is acceptable (§20.1).
            if not accepted & {SDP, "application/*", "*/*"}:
                transaction.respond(request.create_response(406))
                return True
        return False

    def _answer_options(self, request: Request, transaction: ServerTransaction, status: int) -> None:
        """RFC 3261 §11.2: the truth about what we can do."""
        headers = [*self.capability_headers(), ("Accept", SDP), ("Accept-Encoding", "identity"), ("Accept-Language", "en")]
        contact = self.contact_value(transaction.flow, request) if status < 300 else None
        if contact is not None:
            headers.append(("Contact", str(contact)))
        transaction.respond(request.create_response(status, headers=headers))

    # -- unanswered calls ---------------------------------------------------------------------------------------------

    def ringing(self, usage: IncomingInvite) -> None:
        """Note that `usage` has sent a 1xx now; it is asked to repeat it at every minute."""
        self._ringing[usage] = self.scheduler.now
        if self._sweep is None:
            self._sweep = self.scheduler.call_later(_RING_SWEEP, self._sweep_ringing)

    def stopped_ringing(self, usage: IncomingInvite) -> None:
        """Note that `usage` has a final answer."""
        self._ringing.pop(usage, None)

    def _sweep_ringing(self) -> None:
        now = self.scheduler.now
        for usage, sent in list(self._ringing.items()):
            if now - sent >= _RING_REFRESH:
                self._ringing[usage] = now
                usage.repeat_provisional()
        self._sweep = self.scheduler.call_later(_RING_SWEEP, self._sweep_ringing) if self._ringing else None

    # -- the rest -----------------------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """Number of our requests that wait for a final response: 0 when every BYE has been answered."""
        return self.stack.outstanding

    def statistics(self) -> AgentStatistics:
        """What is there now."""
        return AgentStatistics(len(self.dialogs), self.stack.outstanding, self.stack.statistics())

    def close(self) -> None:
        """Drop everything without a word on the wire; for that, hang up and unregister before."""
        self.stack.close()
        for usage in set(self.dialogs.values()):
            usage.drop()
        self.dialogs.clear()
        self.half_dialogs.clear()
        self._ringing.clear()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None


def _as_invite(transaction: ServerTransaction) -> InviteServerTransaction:
    from flexosip.sip.server_transaction import InviteServerTransaction

    assert isinstance(transaction, InviteServerTransaction)
    return transaction
