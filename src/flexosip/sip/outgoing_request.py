"""One request of ours from the search for its next hop to its final response, with credentials when they are asked for.

It is several client transactions one after the other: a 401 or 407 is followed by a new one with the next CSeq, and a server that fails
by one to the next server (`flexosip.sip.failover`). Redirections (3xx) are not followed: they are the user's decision.

RFC 3261 §8.1, §22; RFC 3263 §4.3
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flexosip.sip.back_off import retry_after
from flexosip.sip.client_transaction import InviteClientTransaction
from flexosip.sip.failover import SupersededInvite, has_failed
from flexosip.sip.grammar import SipParseError
from flexosip.sip.message import Request, Response
from flexosip.sip.multipart import unwrap
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.client_transaction import ClientTransaction
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.uri import SipUri

__all__ = ["OutgoingRequest", "Result", "estimated_size"]

Result = Response | TransactionFailure
"""How a request ends."""

logger = logging.getLogger(__name__)

_WITH_SDP = frozenset({"INVITE", "UPDATE", "PRACK"})
_LARGEST_DATAGRAM = 1300
"""Octets: what is larger goes over a congestion-controlled transport (RFC 3261 §18.1.1)."""
_VIA_SIZE = 120
_SILENCE = 8.0
"""In units of T1, 4 s: how long a server may say nothing where there is another one; enough for four datagrams."""
_MOST_SERVERS = 20


class OutgoingRequest:
    """Send `request` and get its final response.

    Args:
        core: the user agent.
        request: without Via.
        next_hop: where to send it.
        auth: credentials for challenges, or None.
        on_final: called with the final response or the failure; for an INVITE with each 2xx.
        on_provisional: called with each 1xx.
        prepare: called when the flow is known, before sending, again if the flow changes: it completes what depends on our address.
        preferred: a flow to use if it leads to the next hop.
        trusted: the host that may see the credentials; None: whatever the next hop turns out to be.
        next_cseq: the CSeq number for a retry; by default one more.
        has_other_server: True if the caller knows another server to try when this next hop is silent.
    """

    __slots__ = (
        "_auth", "_core", "_finished", "_large", "_next_cseq", "_next_hop", "_on_final", "_on_provisional", "_prepare",
        "_stays", "_tried", "_trusted", "flow", "has_other_server", "moved", "request", "transaction",
    )  # fmt: skip

    def __init__(
        self,
        core: UserAgentCore,
        request: Request,
        next_hop: SipUri,
        *,
        auth: DigestClient | None,
        on_final: Callable[[Result], None],
        on_provisional: Callable[[Response], None] | None = None,
        prepare: Callable[[Request, Flow], None] | None = None,
        preferred: Flow | None = None,
        trusted: str | None = None,
        next_cseq: Callable[[], int] | None = None,
        has_other_server: bool = False,
    ) -> None:
        self._core = core
        self.request = request
        self.flow = preferred
        """Where it goes; before that is known, what was preferred."""
        self.transaction: ClientTransaction | None = None
        """The transaction of the latest try; None until it is sent."""
        self._next_hop = next_hop
        self._auth = auth
        self._on_final = on_final
        self._on_provisional = on_provisional
        self._prepare = prepare
        self._trusted = trusted
        self._next_cseq = next_cseq
        self.has_other_server = has_other_server
        self.moved = False
        """True once a server has failed and the request went to another."""
        self._tried: list[Flow] = []
        self._stays = False
        self._large = False
        self._finished = False

    def start(self) -> None:
        """Look for the next hop and send."""
        size = estimated_size(self.request)
        self._large = size > _LARGEST_DATAGRAM
        self._core.locate(self._next_hop, size, self.flow, self._located)

    def stop(self) -> None:
        """Forget about it: nothing more is called, nothing more is tried."""
        self._finished = True
        self._stop_impatience()
        if self.transaction is not None:
            self.transaction.abandon()

    def stop_retrying(self) -> None:
        """Report the next final response whatever it is, also a challenge, and ask no other server."""
        self._auth = None
        self._stays = True
        self._stop_impatience()

    @property
    def invite_transaction(self) -> InviteClientTransaction | None:
        """The transaction of an INVITE that was sent."""
        transaction = self.transaction
        return transaction if isinstance(transaction, InviteClientTransaction) else None

    def _located(self, flow: Flow | None, error: Exception | None) -> None:
        if self._finished:
            return
        if flow is None:
            self._finish(TransactionFailure(503, str(error) or "No way to the next hop", error))
            return
        if self._prepare is not None:
            self._prepare(self.request, flow)
        if self._auth is not None and self._trusts(flow):
            self._auth.authorize(self.request)
        if not self._large and not flow.reliable and estimated_size(self.request) > _LARGEST_DATAGRAM:
            # Only now, with body and credentials, it has become too large for a datagram.
            self._large = True
            self._core.locate(self._next_hop, estimated_size(self.request), flow, self._located)
            return
        self._send(flow)

    def _send(self, flow: Flow) -> None:
        core = self._core
        self.flow = flow
        self.transaction = core.stack.send_request(self.request, flow, on_response=self._on_response, on_failure=self._on_failure)
        servers = core.servers
        if self.has_other_server or (servers is not None and servers.has_other(self._next_hop, (*self._tried, flow))):
            self.transaction.limit_silence(_SILENCE * core.stack.timers.t1, self._silent)

    # -- other servers ------------------------------------------------------------------------------------------------

    def _silent(self) -> None:
        """Nothing at all came for a while, and there is another server."""
        transaction = self.transaction
        if self._finished or self._stays or transaction is None or not transaction.is_pending:
            return
        if isinstance(transaction, InviteClientTransaction):
            transaction.supersede(SupersededInvite(self._core, transaction, self._auth))
        else:
            transaction.terminate()
        self._on_failure(TransactionFailure(408, "Request Timeout"))

    def _on_failure(self, failure: TransactionFailure) -> None:
        if not self._move(failure):
            self._finish(failure)

    def _move(self, result: Result) -> bool:
        """Go on to the next server after a failure of the present one (RFC 3263 §4.3); False if there is none."""
        servers, flow = self._core.servers, self.flow
        self._stop_impatience()
        if servers is None or flow is None or not has_failed(result) or self._finished:
            return False
        servers.server_failed(flow, retry_after(result))
        if flow not in self._tried:
            self._tried.append(flow)
        if self._stays or len(self._tried) >= _MOST_SERVERS or not servers.has_other(self._next_hop, self._tried):
            return False

        def located(other: Flow | None, error: Exception | None) -> None:
            if self._finished:
                return
            if other is None or self._stays:
                self._finish(result)
                return
            if self._trusted is not None and self._trusted == flow.remote[0]:
                # The next hop's own servers are as good as the first of them.
                self._trusted = other.remote[0]
            self.moved = True
            self._repeat()
            self._located(other, None)

        servers.locate_next(self._next_hop, estimated_size(self.request), self._tried, located)
        return True

    def _repeat(self) -> None:
        """The same request once more, for a new transaction. REGISTER gets a new CSeq each time (RFC 3261 §10.2)."""
        request = self.request.copy()
        request.headers.remove_first_value("Via")
        if request.method == "REGISTER" and self._next_cseq is not None:
            request.headers.set("CSeq", f"{self._next_cseq()} REGISTER")
        self.request = request

    def _stop_impatience(self) -> None:
        if self.transaction is not None:
            self.transaction.accept_silence()

    def _trusts(self, flow: Flow) -> bool:
        # Whoever is called directly may challenge too: its realm says nothing, only the place where the request goes does.
        if self._trusted is not None and flow.remote[0] != self._trusted:
            return False
        if self._auth is not None and self._auth.secure_only and flow.transport not in ("tls", "wss"):
            return False
        allowed = self._core.auth_allowed
        return allowed is None or allowed(flow)

    def _on_response(self, response: Response) -> None:
        if self._finished and response.status >= 300:
            return
        self._stop_impatience()
        if response.body and self.request.method in _WITH_SDP:
            self._unwrap(response)
        if response.status < 200:
            if self._on_provisional is not None:
                self._on_provisional(response)
        elif (response.status in (401, 407) and self._retry(response)) or (response.status == 503 and self._move(response)):
            return
        else:
            self._finish(response)

    @staticmethod
    def _unwrap(response: Response) -> None:
        """SDP within a multipart body takes the place of the whole (RFC 5621)."""
        try:
            unwrap(response, "application/sdp")
        except SipParseError as error:
            # Whoever wants the session description will miss it.
            logger.info("the body of a %d cannot be read: %s", response.status, error)

    def _retry(self, response: Response) -> bool:
        """Answer a challenge with a new request: next CSeq, same Call-ID and From tag (RFC 3261 §22.2)."""
        auth, flow = self._auth, self.flow
        if auth is None or flow is None or not self._trusts(flow):
            return False
        if not auth.challenged(response, self.request):
            return False
        request = self.request.copy()
        request.headers.remove_first_value("Via")
        number = self._next_cseq() if self._next_cseq is not None else self.request.cseq.number + 1
        request.headers.set("CSeq", f"{number} {request.method}")
        self.request = request
        if flow.alive:
            self._located(flow, None)
        else:
            self.start()
        return True

    def _finish(self, result: Result) -> None:
        self._finished = True
        self._stop_impatience()
        self._on_final(result)


def estimated_size(request: Request) -> int:
    """Octets that `request` will have, Via included; a little more rather than less."""
    return sum([len(name) + len(value) + 4 for name, value in request.headers]) + len(request.body) + len(str(request.uri)) + 60 + _VIA_SIZE
