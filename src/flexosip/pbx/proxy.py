"""A forking proxy: one incoming request, any number of branches, the best answer back.

    INVITE --> [branch, branch, ...] --first 2xx--> back at once; the others get CANCEL (Reason: answered elsewhere)
                                     --all failed-> the best failure back
    CANCEL --> every branch that still rings

Record-Route holds two hops of ours, one for each side, each with the way to its phone signed into the user part: so requests
within the call find connections behind NAT, and pass between UDP, TCP, TLS and WebSocket, IPv4 and IPv6.

RFC 3261 §16, RFC 6026 §8, RFC 5658 (double Record-Route), RFC 5630 §5.3 (sips)
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flexosip.pbx.identity import remove_assertions
from flexosip.sip.client_transaction import InviteClientTransaction
from flexosip.sip.flow import Flow
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request, Response
from flexosip.sip.next_hop import WEB_TRANSPORTS
from flexosip.sip.outgoing_request import estimated_size
from flexosip.sip.response_routing import response_flow
from flexosip.sip.server_transaction import InviteServerTransaction, ServerTransaction
from flexosip.sip.stack import SipStack
from flexosip.sip.status import response_rank
from flexosip.sip.transaction import TransactionFailure
from flexosip.sip.uri import SipUri

__all__ = ["ForkingProxy", "Target"]

logger = logging.getLogger(__name__)

Locate = Callable[[SipUri, int, Flow | None, Callable[[Flow | None, Exception | None], None]], None]

TIMER_C = 180.0
"""Seconds that a branch may ring without a new provisional response (RFC 3261 §16.6 step 11)."""
_ELSEWHERE = (("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),)
_FINAL_FOR_ALL = 600
_OWN_HEADERS = 180
"""Octets of our two Record-Route values."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a branch goes: the Request-URI, and the path if it is known."""

    uri: SipUri
    flow: Flow | None = None
    route: tuple[str, ...] = ()
    """Route values on the way (RFC 3327 §5.3); the first of them is at the other end of `flow`."""


@dataclass(eq=False, slots=True)
class _Branch:
    target: Target
    transaction: Any = None
    provisional: bool = False
    final: bool = False
    cancelled: bool = False
    cancel_headers: tuple[tuple[str, str], ...] = ()
    cancel_sent: bool = False
    timer: Any = None


@dataclass(eq=False, slots=True)
class _Context:
    """The response context of one INVITE or other request (RFC 3261 §16)."""

    request: Request
    server: ServerTransaction
    answer_flow: Flow
    branches: list[_Branch] = field(default_factory=list)
    best: Response | None = None
    finished: bool = False
    cancelled: bool = False
    on_result: Callable[[int], None] | None = None
    on_answer: Callable[[Target, Response | None], None] | None = None


class ForkingProxy:
    """Forwards requests over a `SipStack`.

    Args:
        stack: the transactions.
        locate: finds the flow to a next hop.
        secret: signs the ways in Record-Route.
        connection_from: the flow of the living connection with a remote address, by transport.
        listening_port: the port at which others reach us over the flow's transport.
    """

    def __init__(
        self,
        stack: SipStack,
        locate: Locate,
        *,
        secret: bytes,
        connection_from: Callable[[str, tuple[str, int]], Flow | None] = lambda transport, remote: None,
        listening_port: Callable[[Flow], int] = lambda flow: flow.local[1],
    ) -> None:
        self._stack = stack
        self._locate = locate
        self._secret = secret
        self._connection_from = connection_from
        self._listening_port = listening_port
        self._contexts: dict[ServerTransaction, _Context] = {}

    @property
    def active(self) -> int:
        """Requests whose final answer is not forwarded yet."""
        return sum(1 for context in self._contexts.values() if not context.finished)

    # -- ways in Record-Route -----------------------------------------------------------------------------------------

    def _signature(self, way: str) -> str:
        return hmac.new(self._secret, way.encode("ascii"), hashlib.sha256).hexdigest()[:16]

    def way_user(self, flow: Flow) -> str:
        """The way to the remote end of `flow` as the user part of a Record-Route URI."""
        way = f"{flow.transport}-{ipaddress.ip_address(flow.remote[0].split('%')[0]).packed.hex()}-{flow.remote[1]}"
        return f"{way}-{self._signature(way)}"

    def way_uri(self, user: str | None) -> SipUri | None:
        """The next hop that `way_user` wrote, None when it was not written by us."""
        parts = (user or "").split("-")
        if len(parts) != 4 or not hmac.compare_digest(self._signature("-".join(parts[:3])), parts[3]):
            return None
        address = ipaddress.ip_address(bytes.fromhex(parts[1]))
        uri = SipUri("sip", None, str(address), int(parts[2]))
        return uri if parts[0] == "udp" else uri.with_parameter("transport", parts[0])

    def _record_route(self, flow: Flow, *, secure: bool) -> str:
        """The hop of ours on the side of `flow`; a sips address where one was called (RFC 3261 §16.6 step 4)."""
        uri = SipUri("sips" if secure else "sip", self.way_user(flow), flow.local[0], self._listening_port(flow))
        if flow.transport in WEB_TRANSPORTS:
            uri = uri.with_parameter("transport", "ws")
        elif flow.transport != "udp" and not (secure and flow.transport == "tls"):
            uri = uri.with_parameter("transport", flow.transport)
        return str(NameAddr(uri.with_parameter("lr")))

    # -- forwarding ---------------------------------------------------------------------------------------------------

    def forward(
        self,
        request: Request,
        server: ServerTransaction,
        targets: Sequence[Target],
        *,
        on_result: Callable[[int], None] | None = None,
        on_answer: Callable[[Target, Response | None], None] | None = None,
    ) -> None:
        """Fork a request to `targets`; the answers go back through `server`.

        Args:
            on_result: called once with the status that was sent back.
            on_answer: called with each response of each of them but 100; None: there will be none.
        """
        context = _Context(request, server, response_flow(request.via, server.flow), on_result=on_result, on_answer=on_answer)
        self._contexts[server] = context
        server.on_failure = lambda failure: self._forget(context)
        if isinstance(server, InviteServerTransaction):
            server.on_cancel = lambda cancel: self._cancelled(context, cancel)
        for target in targets:
            context.branches.append(_Branch(target))
        for branch in context.branches:
            self._locate_branch(context, branch)

    def _locate_branch(self, context: _Context, branch: _Branch) -> None:
        def found(flow: Flow | None, error: Exception | None) -> None:
            if context.finished or branch.final:
                return
            if flow is None:
                logger.info("no way to %s: %s", branch.target.uri, error)
                self._branch_failed(context, branch, 503)
            else:
                self._send_branch(context, branch, flow)

        known = branch.target.flow
        if known is not None and known.alive:
            found(known, None)
        else:
            self._locate(branch.target.uri, estimated_size(context.request) + _OWN_HEADERS, None, found)

    def _send_branch(self, context: _Context, branch: _Branch, flow: Flow) -> None:
        request = self._copy(context.request, branch.target.uri)
        for value in reversed(branch.target.route):
            request.headers.prepend("Route", value)
        if context.request.method in ("INVITE", "SUBSCRIBE", "REFER") and not context.request.to.tag:
            secure = request.uri.scheme == "sips"
            request.headers.prepend("Record-Route", self._record_route(context.server.flow, secure=secure))
            request.headers.prepend("Record-Route", self._record_route(flow, secure=secure))
        branch.transaction = self._stack.send_request(
            request,
            flow,
            on_response=lambda response: self._on_response(context, branch, response),
            on_failure=lambda failure: self._on_failure(context, branch, failure),
        )
        if request.method == "INVITE":
            self._arm_timer_c(context, branch)

    @staticmethod
    def _copy(request: Request, uri: SipUri) -> Request:
        copy = Request(request.method, uri, request.headers.copy(), request.body)
        hops = request.max_forwards
        copy.headers.set("Max-Forwards", str((70 if hops is None else hops) - 1))
        return copy

    def _arm_timer_c(self, context: _Context, branch: _Branch) -> None:
        if branch.timer is not None:
            branch.timer.cancel()
        branch.timer = self._stack.scheduler.call_later(TIMER_C, self._timer_c, context, branch)

    def _timer_c(self, context: _Context, branch: _Branch) -> None:
        if not branch.final:
            self._cancel_branch(branch, ())

    # -- answers ------------------------------------------------------------------------------------------------------

    def _on_response(self, context: _Context, branch: _Branch, response: Response) -> None:
        if response.status == 100:
            branch.provisional = True
            self._cancel_if_wanted(branch)
            return
        response.headers.remove_first_value("Via")
        remove_assertions(response.headers)
        response.raw = None
        if context.on_answer is not None and not context.finished:
            context.on_answer(branch.target, response)
        if response.status < 200:
            branch.provisional = True
            if not branch.cancelled:
                self._arm_timer_c(context, branch)
            self._cancel_if_wanted(branch)
            if not context.finished and not branch.cancelled and context.request.method == "INVITE":
                context.server.respond(response)
            return
        first = not branch.final
        self._settle_branch(branch)
        if response.status < 300:
            self._accepted(context, branch, response)
        elif first and response.status == 408 and context.request.method != "INVITE":
            # RFC 4320 §4.2: a late 408 only adds load; the client's own timer tells it as much.
            self._branch_failed(context, branch, 408)
        elif first:
            self._refused(context, branch, response)

    def _accepted(self, context: _Context, branch: _Branch, response: Response) -> None:
        if context.finished:
            # Repeated 2xx and those of further forks pass as well (RFC 6026 §8.9, RFC 3261 §16.7 step 5).
            self._stack.transmit(context.answer_flow, bytes(response))
            return
        self._finish(context, response)
        for other in context.branches:
            if other is not branch:
                self._cancel_branch(other, _ELSEWHERE)

    def _refused(self, context: _Context, branch: _Branch, response: Response) -> None:
        best = context.best
        if best is None or response_rank(response.status) < response_rank(best.status):
            context.best = response
        if response.status >= _FINAL_FOR_ALL and not context.finished:
            for other in context.branches:
                self._cancel_branch(other, ())
        self._finish_if_all_failed(context)

    def _on_failure(self, context: _Context, branch: _Branch, failure: TransactionFailure) -> None:
        self._branch_failed(context, branch, failure.status)

    def _branch_failed(self, context: _Context, branch: _Branch, status: int) -> None:
        if branch.final:
            return
        self._settle_branch(branch)
        if context.on_answer is not None and not context.finished:
            context.on_answer(branch.target, None)
        if context.best is None:
            # RFC 4320 §4.2: no 408 for other requests than INVITE; RFC 3261 §16.7: a 503 of ours is told as 500 or 480.
            told = 480 if status == 408 or context.request.method != "INVITE" else 500 if status != 503 else 480
            context.best = context.request.create_response(told, to_tag=context.server.to_tag)
        self._finish_if_all_failed(context)

    def _settle_branch(self, branch: _Branch) -> None:
        branch.final = True
        if branch.timer is not None:
            branch.timer.cancel()
            branch.timer = None

    def _finish_if_all_failed(self, context: _Context) -> None:
        if not context.finished and all(branch.final for branch in context.branches):
            if context.cancelled:
                self._finish(context, context.request.create_response(487, to_tag=context.server.to_tag))
                return
            assert context.best is not None
            self._finish(context, context.best)

    def _finish(self, context: _Context, response: Response) -> None:
        context.finished = True
        context.server.respond(response)
        if context.on_result is not None:
            context.on_result(response.status)
            context.on_result = None
        self._contexts.pop(context.server, None)

    def _forget(self, context: _Context) -> None:
        self._contexts.pop(context.server, None)
        for branch in context.branches:
            self._cancel_branch(branch, ())

    def close(self) -> None:
        """Give up what rings: the callers get 503, their phones CANCEL; nobody's answer is waited for."""
        for context in list(self._contexts.values()):
            for branch in context.branches:
                self._cancel_branch(branch, ())
                self._settle_branch(branch)
            context.server.on_failure = None
            self._finish(context, context.request.create_response(503, to_tag=context.server.to_tag))

    # -- CANCEL -------------------------------------------------------------------------------------------------------

    def _cancelled(self, context: _Context, cancel: Request) -> None:
        context.cancelled = True
        reasons = tuple(("Reason", line) for line in cancel.headers.get_lines("Reason"))
        for branch in context.branches:
            self._cancel_branch(branch, reasons)
        self._finish_if_all_failed(context)

    def _cancel_branch(self, branch: _Branch, headers: tuple[tuple[str, str], ...]) -> None:
        if branch.final or branch.cancelled:
            return
        branch.cancelled = True
        branch.cancel_headers = headers
        if branch.transaction is None:
            # Not sent yet: its way is still being looked for.
            branch.final = True
        elif branch.provisional:
            self._send_cancel(branch)
        # Else it waits for a provisional response (RFC 3261 §9.1).

    def _cancel_if_wanted(self, branch: _Branch) -> None:
        if branch.cancelled and not branch.final:
            self._send_cancel(branch)

    def _send_cancel(self, branch: _Branch) -> None:
        transaction = branch.transaction
        if isinstance(transaction, InviteClientTransaction) and transaction.is_pending and not branch.cancel_sent:
            branch.cancel_sent = True
            self._stack.send_cancel(transaction, branch.cancel_headers, on_final=lambda result: None)
            if branch.timer is not None:
                branch.timer.cancel()
            # §9.1: a phone that answers the CANCEL but not the INVITE is given up after 64*T1.
            failure = TransactionFailure(408, "No final response after CANCEL")
            branch.timer = self._stack.scheduler.call_later(self._stack.timers.long, transaction.fail, failure)

    # -- within a call ------------------------------------------------------------------------------------------------

    def take_routes(self, request: Request, is_ours: Callable[[SipUri], bool]) -> SipUri | None:
        """Take our hops off the Route; the next hop they name, None when there is none of ours (RFC 3261 §16.4)."""
        hop: SipUri | None = None
        while True:
            routes = request.routes
            if not routes or not isinstance(routes[0].uri, SipUri) or not is_ours(routes[0].uri):
                return hop
            request.headers.remove_first_value("Route")
            # Two hops of ours stand together; the later one knows the way onwards.
            hop = self.way_uri(routes[0].uri.user) or hop

    def next_hop(self, request: Request, way: SipUri | None) -> SipUri | None:
        """Where a request within a call goes: a further Route, the way of ours, or the Request-URI."""
        routes = request.routes
        if routes and isinstance(routes[0].uri, SipUri):
            return routes[0].uri
        if way is not None:
            return way
        return request.uri if isinstance(request.uri, SipUri) else None

    def _find(self, hop: SipUri, way: SipUri | None, size: int, found: Callable[[Flow | None, Exception | None], None]) -> None:
        """The flow to `hop`. A way that we signed names the very connection over which its phone came."""
        if way is hop and hop.transport is not None and hop.port is not None:
            flow = self._connection_from(hop.transport, (hop.host, hop.port))
            if flow is not None:
                found(flow, None)
                return
        self._locate(hop, size, None, found)

    def forward_within(
        self,
        request: Request,
        server: ServerTransaction,
        hop: SipUri,
        way: SipUri | None,
        on_result: Callable[[int], None] | None = None,
    ) -> None:
        """Forward a request within a call to `hop`, which may be the `way` that we signed; Request-URI unchanged."""
        assert isinstance(request.uri, SipUri)
        uri = request.uri
        remove_assertions(request.headers)

        def found(flow: Flow | None, error: Exception | None) -> None:
            if flow is None:
                server.respond(request.create_response(480))
            else:
                self.forward(request, server, (Target(uri, flow),), on_result=on_result)

        self._find(hop, way, estimated_size(request), found)

    def forward_ack(self, request: Request, hop: SipUri, way: SipUri | None) -> None:
        """Forward the ACK of a 2xx; it has no transaction and no answer (RFC 3261 §16.11)."""
        uri = request.uri

        def found(flow: Flow | None, error: Exception | None) -> None:
            if flow is not None and isinstance(uri, SipUri):
                self._stack.send(self._copy(request, uri), flow)

        self._find(hop, way, estimated_size(request), found)
