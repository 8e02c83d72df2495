"""The transaction layer: bytes in and out on flows, requests and responses to the user above it.

`SipStack` finds the transaction of every message, makes server transactions for new requests, answers malformed ones, and
notes where requests came from. It decides nothing about calls: that is `flexosip.sip.agent`. It owns no socket and no clock.

RFC 3261 §17, §18; RFC 3581; RFC 6026
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from flexosip.errors import RemoteProtocolError
from flexosip.sip.client_transaction import ClientTransaction, InviteClientTransaction, NonInviteClientTransaction
from flexosip.sip.grammar import SipParseError
from flexosip.sip.headers import BRANCH_COOKIE, Headers
from flexosip.sip.message import Request, Response
from flexosip.sip.parser import check_message, parse_message
from flexosip.sip.response_routing import record_source, response_address, response_flow
from flexosip.sip.server_transaction import InviteServerTransaction, NonInviteServerTransaction, ServerKey, ServerTransaction
from flexosip.sip.timers import Timers
from flexosip.sip.transaction import LingerQueue, TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Scheduler
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import Via

__all__ = ["RandomSource", "SipStack", "StackStatistics"]

logger = logging.getLogger(__name__)

_SHORTEST_MESSAGE = 16
"""Octets: what is shorter is a keep-alive (RFC 5626 §3.5.1, and the zeros some phones send)."""
_RETRY_AFTER = "10"


class RandomSource(Protocol):
    """What the machines need of `random.Random` or `random.SystemRandom`."""

    def getrandbits(self, k: int, /) -> int:
        """An integer of `k` random bits."""

    def uniform(self, a: float, b: float) -> float:
        """A number from `a` to `b`."""


@dataclass(frozen=True, slots=True)
class StackStatistics:
    """Counters since the start, and what is there now."""

    requests_received: int
    responses_received: int
    retransmissions_received: int
    malformed: int
    """Messages that could not be parsed or broke a rule."""
    keep_alives: int
    ignored: int
    """Requests that the policy answers with silence."""
    refused: int
    """Requests answered 503 because a limit was reached."""
    stray_responses: int
    """Responses that belong to no transaction."""
    client_transactions: int
    server_transactions: int
    pending_requests: int
    """Received and not finally answered yet."""


class SipStack:
    """The transactions of one user agent.

    Args:
        scheduler: gives the time and fires timers.
        transmit: sends bytes over a flow; it reports a failure by calling `flow_failed`.
        random: a source of branches and tags; `random.SystemRandom()` outside tests.
        timers: other than the RFC's for tests only.
        max_transactions: how many may exist, absorbing ones included.
        max_pending: how many received requests may be without a final answer.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        transmit: Callable[[Flow, bytes], None],
        *,
        random: RandomSource,
        timers: Timers | None = None,
        max_transactions: int = 120_000,
        max_pending: int = 5_000,
    ) -> None:
        self.scheduler = scheduler
        self.transmit = transmit
        self.random = random
        self.timers = timers = timers or Timers()
        self.max_transactions = max_transactions
        self.max_pending = max_pending
        self.linger_long = LingerQueue(scheduler, timers.long, timers.linger_resolution)
        self.linger_completed = LingerQueue(scheduler, timers.d, timers.linger_resolution)
        self.linger_short = LingerQueue(scheduler, timers.t4, timers.linger_resolution)
        self.on_request: Callable[[Request, ServerTransaction], None] | None = None
        """A new request other than ACK."""
        self.on_ack: Callable[[Request, Flow], None] | None = None
        """An ACK that belongs to no failure response: it is for a 2xx."""
        self.on_stray_response: Callable[[Response, Flow], None] | None = None
        """A response that belongs to no transaction."""
        self.on_idle: Callable[[], None] | None = None
        """Called when the last request of ours was finally answered or failed."""
        self.accept: Callable[[Request, Flow], bool] | None = None
        """Asked before a new request gets any answer; False means silence, or that `refuse` has answered it. Malformed requests may
        lack any header but Via."""
        self.on_proven: Callable[[Flow], None] | None = None
        """Called when the other end of a flow has shown for the first time that it gets what we send."""
        self.works_on: Callable[[str], bool] | None = None
        """Tells whether requests of a method are worked on; others are not refused for a header that only the work would need."""
        self.reopen: Callable[[Flow, tuple[str, int], Callable[[Flow | None, Exception | None], None]], None] | None = None
        """(lost flow, address, done): connects again for the response to an INVITE; None: it fails with its connection."""
        self._client: dict[tuple[str, str], ClientTransaction] = {}
        self._server: dict[ServerKey, ServerTransaction] = {}
        self._merged: dict[tuple[str, str, str], ServerTransaction] = {}
        self._pending = 0
        self.outstanding = 0
        """Number of our requests that wait for a final response."""
        self._secret = random.getrandbits(128).to_bytes(16, "big")
        self._closed = False
        self._requests = self._responses = self._retransmissions = self._malformed_count = 0
        self._keep_alives = self._ignored = self._refused = self._strays = 0

    # -- identifiers --------------------------------------------------------------------------------------------------

    def new_branch(self) -> str:
        """A branch that no other request has (RFC 3261 §8.1.1.7)."""
        return f"{BRANCH_COOKIE}{self.random.getrandbits(80):020x}"

    def new_tag(self) -> str:
        """A tag of 64 random bits (RFC 3261 §19.3)."""
        return f"{self.random.getrandbits(64):016x}"

    def new_call_id(self) -> str:
        """A Call-ID of 128 random bits; it tells nothing about this host (RFC 3261 §8.1.1.4)."""
        return f"{self.random.getrandbits(128):032x}"

    def stateless_tag(self, request: Request) -> str:
        """The To-tag of a stateless answer: the same whenever the request is repeated (RFC 3261 §8.2.7)."""
        headers = request.headers
        values = (headers.get(name) or "" for name in ("Via", "From", "Call-ID", "CSeq"))
        identity = "\0".join(values)
        return hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=8, key=self._secret).hexdigest()

    # -- received -----------------------------------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, flow: Flow) -> None:
        """A datagram came over `flow`. Never raises for what the peer sent."""
        if len(data) < _SHORTEST_MESSAGE:
            self._keep_alives += 1
            return
        self.receive_message(data, flow)

    def receive_message(self, data: bytes, flow: Flow) -> None:
        """One whole message, cut out of a stream or a datagram. Never raises for what the peer sent."""
        if self._closed:
            return
        try:
            message = parse_message(data)
            if isinstance(message, Request):
                self._requests += 1
                check_message(message, self.works_on)
                self._receive_request(message, flow)
            else:
                self._responses += 1
                check_message(message)
                self._receive_response(message, flow)
        except RemoteProtocolError as error:
            self._malformed(error, flow)
        except Exception:
            # A fault of ours or of the user above is told loudly, but must not end the driver's loop over everybody's messages.
            logger.exception("a message from %s:%s could not be processed", flow.remote[0], flow.remote[1])

    def receive_malformed(self, error: SipParseError, flow: Flow) -> None:
        """A stream brought something that could not be framed; it is answered if it was understood far enough."""
        if not self._closed:
            self._malformed(error, flow)

    def _malformed(self, error: RemoteProtocolError, flow: Flow) -> None:
        self._malformed_count += 1
        request = error.message if isinstance(error, SipParseError) else None
        logger.info("malformed message from %s:%s: %s", flow.remote[0], flow.remote[1], error)
        if request is None or request.method == "ACK" or "Via" not in request.headers:
            return
        try:
            record_source(request, flow)
            if not self._accepts(request, flow):
                return
            assert isinstance(error, SipParseError)
            self.respond_statelessly(request, error.status_hint, error.reason, flow)
        except RemoteProtocolError as second:
            # Not even the way back can be read.
            logger.debug("not answered: %s", second)

    def _receive_request(self, request: Request, flow: Flow) -> None:
        via = request.via
        key = _server_key(request, via)
        transaction = self._server.get(key)
        if transaction is not None:
            self._receive_again(request, transaction, flow)
            return
        if request.method == "ACK":
            if self.on_ack is not None:
                self.on_ack(request, flow)
            return
        if not self._accepts(request, flow):
            return
        record_source(request, flow)
        if len(self._server) >= self.max_transactions or self._pending >= self.max_pending:
            # What belongs to a call still gets through up to a quarter above the limits: ending calls is what makes room.
            within = request.to.tag is not None or request.method == "CANCEL"
            if not within or 4 * len(self._server) >= 5 * self.max_transactions or 4 * self._pending >= 5 * self.max_pending:
                self._refused += 1
                self.respond_statelessly(request, 503, None, flow, headers=(("Retry-After", _RETRY_AFTER),))
                return
        self._begin(request, flow, key, response_flow(via, flow))

    def _accepts(self, request: Request, flow: Flow) -> bool:
        if self.accept is None:
            return True
        refused = self._refused
        if self.accept(request, flow):
            return True
        self._ignored += self._refused == refused
        return False

    def refuse(self, request: Request, flow: Flow, status: int, *, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Answer a request that is not let in, without a transaction; for `accept`, which then returns False.

        Raises:
            RemoteProtocolError: its Via does not tell the way back.
        """
        self._refused += 1
        record_source(request, flow)
        self.respond_statelessly(request, status, None, flow, headers=headers)

    def prove(self, flow: Flow) -> None:
        """The other end of `flow` has repeated what only we could have told it, so it is where it says it is."""
        if not flow.proven:
            flow.proven = True
            if self.on_proven is not None:
                self.on_proven(flow)

    def _begin(self, request: Request, flow: Flow, key: ServerKey, answer_flow: Flow) -> None:
        make = InviteServerTransaction if request.method == "INVITE" else NonInviteServerTransaction
        transaction = make(self, request, flow, answer_flow, key)
        self._server[key] = transaction
        self._pending += 1
        if self.on_request is None:
            transaction.respond(request.create_response(503))
            return
        try:
            self.on_request(request, transaction)
        except RemoteProtocolError as error:
            # Found broken only while it was worked on.
            self._malformed_count += 1
            transaction.respond(request.create_response(error.status_hint, error.reason if isinstance(error, SipParseError) else None))
        except Exception:
            # A fault of the user above must not cost other calls anything; the peer gets its answer.
            logger.exception("a %s could not be processed", request.method)
            transaction.respond(request.create_response(500))
        if isinstance(transaction, InviteServerTransaction):
            transaction.send_trying()
        else:
            transaction.defer()

    def _receive_again(self, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        if request.method != "ACK":
            self._retransmissions += 1
            transaction.receive_retransmission()
        elif isinstance(transaction, InviteServerTransaction):
            if not flow.proven and transaction.has_tag(request.to.tag):
                self.prove(flow)
            if not transaction.receive_ack() and self.on_ack is not None:
                # An element that re-uses the INVITE's branch for the ACK of a 2xx.
                self.on_ack(request, flow)

    def _receive_response(self, response: Response, flow: Flow) -> None:
        via = response.via
        transaction = self._client.get((via.branch or "", response.cseq.method))
        # §18.1.2: a response whose sent-by is not ours is not for us.
        if transaction is None or via.sent_by != transaction.flow.sent_by:
            self._strays += 1
            if transaction is None and self.on_stray_response is not None:
                self.on_stray_response(response, flow)
            return
        _learn_public_address(via, transaction.flow)
        if not flow.proven:
            # The branch is 80 random bits of ours.
            self.prove(flow)
        transaction.receive_response(response)

    # -- sent ---------------------------------------------------------------------------------------------------------

    def send_request(
        self,
        request: Request,
        flow: Flow,
        *,
        on_response: Callable[[Response], None],
        on_failure: Callable[[TransactionFailure], None],
        branch: str | None = None,
    ) -> ClientTransaction:
        """Start a client transaction; a Via with a fresh branch is put on top of `request`, which must not be changed afterwards.

        Args:
            request: complete but for the Via; no ACK.
            flow: where it goes.
            on_response: called with each provisional response and the final one (INVITE: with each 2xx).
            on_failure: called once instead of a final response; never from within this call.
            branch: that of the INVITE, for CANCEL only.
        """
        branch = branch or self.new_branch()
        self.add_via(request, flow, branch)
        key = (branch, request.method)
        make = InviteClientTransaction if request.method == "INVITE" else NonInviteClientTransaction
        transaction = make(
            self,
            request,
            flow,
            key,
            bytes(request),
            on_response=on_response,
            on_failure=on_failure,
        )
        self._client[key] = transaction
        self.outstanding += 1
        transaction.start()
        if not flow.alive:
            self.scheduler.call_later(0.0, self._fail, transaction, flow.failure or ConnectionError("The connection is gone."))
        return transaction

    def send_cancel(
        self,
        invite: InviteClientTransaction,
        headers: tuple[tuple[str, str], ...] = (),
        *,
        on_final: Callable[[Response | TransactionFailure], None],
    ) -> ClientTransaction:
        """Cancel a pending INVITE that has had a provisional response (RFC 3261 §9.1).

        Raises:
            ValueError: a control character is in a header.
        """
        original = invite.request
        assert original is not None
        fields = [("Max-Forwards", "70")]
        # A proxy cancels with what its caller wrote; it has been checked, and may hold escaped controls that none of ours may.
        fields += [(name, line) for name in ("Route", "From", "To", "Call-ID") for line in original.headers.get_lines(name)]
        fields.append(("CSeq", f"{original.cseq.number} CANCEL"))
        cancel = Request("CANCEL", original.uri, Headers.from_wire(fields))
        for name, value in headers:
            cancel.headers.add(name, value)

        def on_response(response: Response) -> None:
            if response.status >= 200:
                on_final(response)

        return self.send_request(cancel, invite.flow, on_response=on_response, on_failure=on_final, branch=invite.key[0])

    def send(self, message: Request, flow: Flow) -> bytes:
        """Send a request without a transaction, that is the ACK for a 2xx; the bytes are returned for sending it again."""
        self.add_via(message, flow, self.new_branch())
        data = bytes(message)
        self.transmit(flow, data)
        return data

    def add_via(self, request: Request, flow: Flow, branch: str) -> None:
        """Put our hop on top (RFC 3261 §18.1.1); rport is always asked for (RFC 3581 §3)."""
        request.headers.prepend("Via", f"SIP/2.0/{flow.transport.upper()} {flow.sent_by};branch={branch};rport")

    def respond_statelessly(
        self, request: Request, status: int, reason: str | None, flow: Flow, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Answer without a transaction (RFC 3261 §8.2.7). The Via must hold the source already."""
        response = request.create_response(status, reason, to_tag=self.stateless_tag(request), headers=headers)
        self.transmit(response_flow(request.via, flow), bytes(response))

    # -- transactions -------------------------------------------------------------------------------------------------

    def find_cancelled(self, cancel: Request) -> InviteServerTransaction | None:
        """The INVITE transaction that a CANCEL is for, or None (RFC 3261 §9.2)."""
        transaction = self._server.get(_server_key(cancel, cancel.via, "INVITE"))
        return transaction if isinstance(transaction, InviteServerTransaction) else None

    def is_merged(self, request: Request, transaction: ServerTransaction) -> bool:
        """True if the same request came here another way before (RFC 3261 §8.2.2.2); else it is remembered. Only without a To-tag."""
        key = (request.call_id, request.from_.tag or "", request.headers.get("CSeq") or "")
        known = self._merged.get(key)
        if known is not None:
            return known is not transaction
        self._merged[key] = transaction
        transaction.merge_key = key
        return False

    def flow_failed(self, flow: Flow, error: Exception) -> None:
        """The driver could not send over `flow`, or its connection is lost. The transactions concerned fail with 503, a little later."""
        if flow.reliable:
            flow.alive = False
        self.scheduler.call_later(0.0, self._fail_flow, flow, error)

    def _fail_flow(self, flow: Flow, error: Exception) -> None:
        def concerned(other: Flow) -> bool:
            # A datagram's error names an address, and every flow to it is the same path.
            return other is flow or (not flow.reliable and not other.reliable and (other.local, other.remote) == (flow.local, flow.remote))

        for client in [known for known in self._client.values() if known.is_pending and concerned(known.flow)]:
            self._fail(client, error)
        if flow.reliable:
            # Over UDP an ICMP error of one response says nothing about the next repetition; a connection does not come back.
            failure = TransactionFailure(503, "Transport Error", error)
            for server in [known for known in self._server.values() if known.flow is flow]:
                address = response_address(server)
                if self.reopen is None or address is None:
                    server.fail(failure)
                else:
                    self._answer_anew(server, address, failure)

    def _answer_anew(self, server: ServerTransaction, address: tuple[str, int], failure: TransactionFailure) -> None:
        """The connection of an INVITE that was answered is lost: its 2xx takes a new one (RFC 3261 §18.2.2)."""
        assert self.reopen is not None

        def opened(flow: Flow | None, error: Exception | None) -> None:
            if flow is None:
                server.fail(failure)
            else:
                server.answer_over(flow)

        self.reopen(server.flow, address, opened)

    def _fail(self, transaction: ClientTransaction, error: Exception) -> None:
        transaction.fail(TransactionFailure(503, "Transport Error", error))

    def client_settled(self) -> None:
        """One of our requests waits for nothing final any more."""
        self.outstanding -= 1
        if not self.outstanding and self.on_idle is not None:
            # Later: whoever gets the response may send the next request at once, such as one with credentials.
            self.scheduler.call_later(0.0, self._report_idle)

    def _report_idle(self) -> None:
        if not self.outstanding and self.on_idle is not None:
            self.on_idle()

    def server_settled(self) -> None:
        """A received request has its final response."""
        self._pending -= 1

    def remove_client(self, key: tuple[str, str]) -> None:
        """A client transaction has ended."""
        self._client.pop(key, None)

    def remove_server(self, transaction: ServerTransaction) -> None:
        """A server transaction has ended."""
        self._server.pop(transaction.key, None)
        self.forget_merged(transaction)

    def forget_merged(self, transaction: ServerTransaction) -> None:
        """A late copy of its request is not looked for any longer: the call has been set up long since."""
        key = transaction.merge_key
        if key is not None:
            transaction.merge_key = None
            self._merged.pop(key, None)

    def close(self) -> None:
        """End all transactions without a word; nothing is called back, and what still comes in begins nothing."""
        self._closed = True
        for client in list(self._client.values()):
            client.terminate()
        for server in list(self._server.values()):
            server.terminate()
        for queue in (self.linger_long, self.linger_completed, self.linger_short):
            queue.close()

    def statistics(self) -> StackStatistics:
        """Counters and the present size."""
        return StackStatistics(
            requests_received=self._requests,
            responses_received=self._responses,
            retransmissions_received=self._retransmissions,
            malformed=self._malformed_count,
            keep_alives=self._keep_alives,
            ignored=self._ignored,
            refused=self._refused,
            stray_responses=self._strays,
            client_transactions=len(self._client),
            server_transactions=len(self._server),
            pending_requests=self._pending,
        )


def _server_key(request: Request, via: Via, method: str | None = None) -> ServerKey:
    """What RFC 3261 §17.2.3 matches: branch, sent-by and method; for a peer of RFC 2543 the headers it repeats unchanged."""
    if method is None:
        method = request.method if request.method != "ACK" else "INVITE"
    branch = via.branch or ""
    if branch.startswith(BRANCH_COOKIE) and len(branch) > len(BRANCH_COOKIE):
        return (branch, via.sent_by, method)
    return (branch, via.sent_by, method, str(request.uri), request.call_id, request.from_.tag or "", str(request.cseq.number))


def _learn_public_address(via: Via, flow: Flow) -> None:
    """A response tells in received and rport where our request seemed to come from (RFC 3581 §3)."""
    if len(via.parameters) < 2:
        return
    host, port = via.received, via.rport
    if host is None and port is None:
        return
    # A WebSocket client's own Via names nobody (RFC 7118 §5.2.1).
    seen = (host or (via.host if flow.host_name is None and flow.via_address is None else flow.local[0]), port or flow.local[1])
    flow.advertised = None if seen == (flow.local[0], flow.local[1]) else seen
