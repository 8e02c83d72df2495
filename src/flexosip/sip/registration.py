"""Registration: keeps our binding at a registrar, for months if need be.

It sends REGISTER, refreshes before the lease of our own Contact runs out, waits as it is told, and backs off with jitter when nothing
works, but never gives up. It owns no socket and no clock.

    IDLE --start--> REGISTERING --200--> REGISTERED --refresh--> REGISTERING ...
                        |  ^                |
                     failure `--back-off-- WAITING
    any --stop--> UNREGISTERING --answer--> IDLE

RFC 3261 §10.2, RFC 3581, RFC 5626 §4.5
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexosip.errors import RemoteProtocolError
from flexosip.sip.back_off import back_off, no_sooner_than, retry_after
from flexosip.sip.failover import has_failed
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Response, new_request, seconds_of
from flexosip.sip.transaction import TransactionFailure
from flexosip.sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flexosip.sansio import Timer
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.message import Request
    from flexosip.sip.outgoing_request import Result
    from flexosip.sip.stack import RandomSource

__all__ = ["Registration", "RegistrationEvent", "RegistrationState"]

logger = logging.getLogger(__name__)

_CREDENTIALS_WAIT = 600.0
"""Refused credentials get right only by a person; trying often locks accounts."""
_FIRST_DOWN = 60.0
"""Seconds for which the first registrar is left alone when it was down and another has taken over."""
_MOST_MOVES = 3
"""Times in a row that a changed public address makes us register again at once; a NAT that changes it each time gets no more."""
_MOST_RAISES = 2
"""Times in a row that a registrar may ask for a longer registration (423) and is asked again at once."""
_LONGEST_LEASE = 7 * 86400
_SHORTEST_REFRESH = 2.0
"""Seconds between refreshes at least, however short the lease: a registrar cannot make us hammer it."""


class RegistrationState(enum.Enum):
    """Where the registration stands."""

    IDLE = "idle"
    REGISTERING = "registering"
    REGISTERED = "registered"
    WAITING = "waiting"
    """The last try failed; the next one is planned."""
    UNREGISTERING = "unregistering"


@dataclass(frozen=True, slots=True)
class RegistrationEvent:
    """What changed."""

    state: RegistrationState
    status: int
    """Final status; 408 and 503 also stand for our own time-out and network failure; 0 when there was none."""
    reason: str
    expires: float = 0.0
    """Seconds that the registrar grants, 0 when not registered."""
    failed: bool = False
    refused_credentials: bool = False
    """The password, or the account, is refused: trying again without change is of little use."""
    timed_out: bool = False
    """No answer at all."""
    error: Exception | None = None
    """What the network reported."""
    retry_in: float | None = None
    """Seconds until the next try after a failure."""
    response: Response | None = None
    lost: bool = False
    """The first failure after a success: from now on calls may not reach us."""
    restored: bool = False
    """The first success after `lost`."""


class Registration:
    """Bind a Contact to an address of record.

    Args:
        core: sends the requests.
        aor: the address of record.
        registrar: the Request-URI: the domain without a user part (RFC 3261 §10.2).
        next_hop: where to send it; by default the registrar.
        fallbacks: further (registrar, next hop) pairs, tried in turn when those before are down.
        routes: pre-loaded Route, for an outbound proxy that wants one (RFC 3261 §8.1.2).
        instance: URN of this device, to ask for RFC 5626; None: not asked for.
        contact: gives our Contact for the flow that is taken.
        auth: credentials, or None.
        expires: seconds to ask for.
        random: for the jitter.
        on_change: told of each success, failure and end.
    """

    def __init__(
        self,
        core: UserAgentCore,
        *,
        aor: SipUri,
        registrar: SipUri,
        contact: Callable[[Flow], NameAddr],
        auth: DigestClient | None,
        random: RandomSource,
        on_change: Callable[[RegistrationEvent], None],
        next_hop: SipUri | None = None,
        expires: float = 3600.0,
        fallbacks: Sequence[tuple[SipUri, SipUri]] = (),
        routes: Sequence[NameAddr] = (),
        instance: str | None = None,
    ) -> None:
        self.aor = aor
        self._servers = [(registrar, next_hop or registrar), *fallbacks]
        self.server_index = 0
        """Which of the registrars is asked, or has our binding."""
        self._first_down_until = 0.0
        self._routes = tuple(routes)
        self._instance = instance
        self.path: tuple[str, ...] = ()
        """The proxies through which the registrar will reach us (RFC 3327), as it tells them."""
        self.flow_timer: int | None = None
        """Seconds in which the server wants to hear from us, if it told (RFC 5626 §4.4)."""
        self.uses_outbound = False
        """True while the registrar works by RFC 5626."""
        self.state = RegistrationState.IDLE
        self.status = 0
        """Final status of the last try."""
        self.reason = ""
        self.expires_at: float | None = None
        """When the registrar forgets us, in the scheduler's time; None when it does not know us."""
        self.flow: Flow | None = None
        """What the last REGISTER went over."""
        self.service_route: tuple[NameAddr, ...] = ()
        """Route of later requests, as the registrar wants it (RFC 3608)."""
        self._core = core
        self._contact = contact
        self._auth = auth
        self._random = random
        self._on_change = on_change
        self._expires = int(expires)
        self._call_id = core.stack.new_call_id()
        self._from_tag = core.stack.new_tag()
        self._cseq = 0
        self._timer: Timer | None = None
        self._in_flight: int | None = None
        """The expires asked for by the REGISTER that waits for its answer; 0 unregisters."""
        self._raised = 0
        self._failures = 0
        self._moves = 0
        self._moved = False
        self._lost = False
        self._bound: NameAddr | None = None
        self._old: NameAddr | None = None
        self._on_done: list[Callable[[], None]] = []

    @property
    def registrar(self) -> SipUri:
        """The Request-URI: a domain without a user part (RFC 3261 §10.2)."""
        uri = self._servers[self.server_index][0]
        return SipUri(uri.scheme, None, uri.host, uri.port)

    @property
    def next_hop(self) -> SipUri:
        """Where REGISTER goes."""
        return self._servers[self.server_index][1]

    # -- what the account does ----------------------------------------------------------------------------------------

    @property
    def registered(self) -> bool:
        """True while the registrar has our binding, also while it is being refreshed."""
        return self.expires_at is not None and self.expires_at > self._core.scheduler.now

    @property
    def public_address(self) -> tuple[str, int] | None:
        """Our address as the registrar sees it, when it differs from the local one (RFC 3581)."""
        return self.flow.advertised if self.flow is not None else None

    @property
    def contact(self) -> NameAddr | None:
        """The Contact that is bound, or was asked to be."""
        return self._bound

    def start(self) -> None:
        """Begin to register; harmless when it runs."""
        if self.state in (RegistrationState.IDLE, RegistrationState.UNREGISTERING):
            self.state = RegistrationState.REGISTERING
            self._stopped()
            if self._in_flight is None:
                self._register()
            # Else the answer to the REGISTER under way comes first (§10.2: one at a time).

    def refresh(self) -> None:
        """Register again now: the network or our address has changed. Harmless while a REGISTER is on its way."""
        if self.state in (RegistrationState.REGISTERED, RegistrationState.WAITING):
            self._failures = 0
            self._register()

    def moved(self) -> None:
        """Our address has changed: register from the new one now, and take the old Contact away."""
        self.flow = None
        self._moves = 0
        if self._in_flight is not None:
            # One REGISTER at a time (§10.2); its answer, or its failure, is followed by the next at once.
            self._moved = True
        else:
            self.refresh()

    def network_gone(self, error: Exception) -> None:
        """There is no way to the registrar at all: say so now instead of at the next refresh, and try again by and by."""
        if self.state is RegistrationState.REGISTERED and self._in_flight is None:
            self._failed(TransactionFailure(503, "No network", error))

    def flow_lost(self, flow: Flow) -> None:
        """The connection is gone that the registrar would send calls over: register over a new one soon (RFC 5626 §4.4.1)."""
        if flow is self.flow and self.state is RegistrationState.REGISTERED:
            self._plan(self._random.uniform(0.0, 1.0))

    def stop(self, on_done: Callable[[], None]) -> None:
        """Take our binding away (RFC 3261 §10.2.2); `on_done` is called once when the registrar has answered or will not."""
        self._cancel_timer()
        self._on_done.append(on_done)
        if self.state is RegistrationState.UNREGISTERING:
            return
        if self._in_flight is not None:
            # Only its answer tells whether there is anything to take away.
            self.state = RegistrationState.UNREGISTERING
        elif self.registered:
            self.state = RegistrationState.UNREGISTERING
            self._send(0)
        else:
            self.state = RegistrationState.IDLE
            self._stopped()

    def _stopped(self) -> None:
        waiting, self._on_done = self._on_done, []
        for on_done in waiting:
            on_done()

    # -- requests -----------------------------------------------------------------------------------------------------

    def _register(self) -> None:
        self._cancel_timer()
        if self._core.scheduler.now >= self._first_down_until:
            self.server_index = 0
        self.state = RegistrationState.REGISTERING
        self._send(self._expires)

    def _send(self, expires: int) -> None:
        core = self._core
        address = NameAddr(self.aor)
        request = new_request(
            "REGISTER",
            self.registrar,
            from_=address.with_tag(self._from_tag),
            to=address,
            call_id=self._call_id,
            cseq=self._next_cseq(),
            routes=self._routes,
            headers=(("Expires", str(expires)), ("Allow", core.allow_value), ("Supported", self._supported())),
        )

        def prepare(message: Request, flow: Flow) -> None:
            self._prepare(message, flow, expires)

        self._in_flight = expires
        flow = self.flow if self.flow is not None and self.flow.alive else None
        if flow is not None and expires and core.servers is not None and not core.servers.is_first(self.next_hop, flow):
            # Back to the server that comes first, if it is there again: between registrations we stay where we are.
            flow = None
        core.request(
            request,
            self.next_hop,
            auth=self._auth,
            on_final=self._on_final,
            prepare=prepare,
            preferred=flow,
            next_cseq=self._next_cseq,
            has_other_server=self.server_index + 1 < len(self._servers),
        )

    def _supported(self) -> str:
        """RFC 3327 §5.1; RFC 5626 §4.2.1."""
        return "path" if self._instance is None else "path, outbound"

    def _next_cseq(self) -> int:
        """One more for each REGISTER with this Call-ID, those with credentials included (RFC 3261 §10.2)."""
        self._cseq = self._cseq + 1 if self._cseq < 2**31 - 1 else 1
        return self._cseq

    def _prepare(self, message: Request, flow: Flow, expires: int) -> None:
        self.flow = flow
        if expires or self._bound is None:
            contact = self._contact(flow)
            if self._bound is not None and self._bound != contact and self.registered:
                self._old = self._bound
            self._bound = contact
        contact = self._bound.with_parameter("expires", str(expires))
        if self._instance is not None:
            contact = contact.with_parameter("+sip.instance", f'"<{self._instance}>"').with_parameter("reg-id", "1")
        message.headers.set("Contact", str(contact))
        if self._old is not None and not self.uses_outbound:
            # Our address has changed: the registrar shall not ring the old one until its lease ends.
            message.headers.add("Contact", str(self._old.with_parameter("expires", "0")))

    # -- answers ------------------------------------------------------------------------------------------------------

    def _on_final(self, result: Result) -> None:
        asked, self._in_flight = self._in_flight, None
        moved, self._moved = self._moved, False
        self.status, self.reason = result.status, result.reason
        accepted = isinstance(result, Response) and result.status < 300
        if asked == 0:
            self._unregistered(result)
        elif moved and self.state is RegistrationState.REGISTERING:
            self._register()
        elif self.state is RegistrationState.UNREGISTERING:
            if accepted or self.registered:
                self._send(0)
            else:
                self._unregistered(result)
        elif isinstance(result, Response) and accepted:
            self._accepted(result)
        elif isinstance(result, Response) and result.status == 423 and self._raise_expires(result):
            self._send(self._expires)
        elif result.status == 439 and self._instance is not None:
            # RFC 5626 §4.2.1: the first proxy does not do it; without it we are still reached as everybody is.
            logger.info("registration of %s: the way to the registrar has no outbound (439), so it is not asked for", self.aor)
            self._instance = None
            self._send(self._expires)
        elif has_failed(result) and self._next_server(result):
            self._send(self._expires)
        else:
            self._failed(result)

    def _next_server(self, result: Result) -> bool:
        """Go on to the next registrar; False if there is none left, and the next try begins with the first again."""
        if self.server_index + 1 >= len(self._servers):
            self.server_index = 0
            self._first_down_until = 0.0
            return False
        if self.server_index == 0:
            self._first_down_until = self._core.scheduler.now + max(_FIRST_DOWN, retry_after(result) or 0.0)
        logger.info("registration of %s: %s fails (%s), the next registrar is asked", self.aor, self.next_hop, result.status)
        self.server_index += 1
        self.flow = None
        return True

    def _unregistered(self, result: Result) -> None:
        self.expires_at = None
        self._old = None
        if self.state is RegistrationState.REGISTERING:
            # Started again meanwhile.
            self._register()
            return
        self.state = RegistrationState.IDLE
        response = result if isinstance(result, Response) else None
        self._on_change(RegistrationEvent(self.state, result.status, result.reason, response=response))
        self._stopped()

    def _accepted(self, response: Response) -> None:
        lease = self._lease(response)
        if lease <= 0:
            # A 200 that binds nothing.
            self._failed(response)
            self.expires_at = None
            return
        core = self._core
        self._raised = 0
        self._failures = 0
        self._old = None
        self.state = RegistrationState.REGISTERED
        self.expires_at = core.scheduler.now + lease
        self.service_route = _service_route(response)
        self.path = tuple(response.headers.get_all("Path"))
        self.uses_outbound = self._instance is not None and "outbound" in [tag.lower() for tag in response.headers.get_all("Require")]
        self.flow_timer = seconds_of(response.headers.get("Flow-Timer"))
        self._plan(self._refresh_delay(lease))
        if self.flow is not None and self._moves < _MOST_MOVES and self._contact(self.flow) != self._bound:
            # The answer has shown our public address: what calls us must use that (RFC 3581, RFC 5626 §4.2).
            self._moves += 1
            self._plan(0.0)
        else:
            self._moves = 0
        restored, self._lost = self._lost, False
        self._on_change(
            RegistrationEvent(self.state, response.status, response.reason, expires=lease, response=response, restored=restored)
        )

    def _lease(self, response: Response) -> float:
        """Seconds until our own binding ends: of our Contact, else Expires, else what we asked for (RFC 3261 §10.2.4).

        The 200 lists all bindings of the user; other phones' leases do not concern us.
        """
        try:
            contacts = response.contacts
            otherwise = response.expires
        except RemoteProtocolError as error:
            logger.info("Contact or Expires of a 200 to REGISTER cannot be read: %s", error)
            contacts, otherwise = [], None
        bound = self._bound
        assert bound is not None
        ours = [contact for contact in contacts if isinstance(contact.uri, SipUri) and contact.uri.matches(bound.uri)]
        if not ours:
            # A gateway on the way may have rewritten the address; the user part is ours alone.
            user = bound.uri.user if isinstance(bound.uri, SipUri) else None
            ours = [contact for contact in contacts if isinstance(contact.uri, SipUri) and user and contact.uri.user == user]
        if not ours and len(contacts) == 1:
            ours = contacts
        for contact in ours:
            lease = seconds_of(contact.parameter("expires"))
            if lease is not None:
                return float(min(lease, _LONGEST_LEASE))
        return float(min(otherwise if otherwise is not None else self._expires, _LONGEST_LEASE))

    def _refresh_delay(self, lease: float) -> float:
        """Well before the end, so that several retransmissions and another try still fit; jitter keeps many phones apart."""
        part = self._random.uniform(0.8, 0.9) if lease >= 120 else self._random.uniform(0.5, 0.7)
        return max(part * lease, _SHORTEST_REFRESH)

    def _raise_expires(self, response: Response) -> bool:
        """423: ask for what the registrar wants at least (RFC 3261 §10.2.8); False if it wants nothing more than we asked."""
        least = seconds_of(response.headers.get("Min-Expires"))
        if least is None or not self._expires < least <= _LONGEST_LEASE or self._raised >= _MOST_RAISES:
            return False
        self._raised += 1
        self._expires = least
        return True

    def _failed(self, result: Result) -> None:
        status = result.status
        response = result if isinstance(result, Response) else None
        refused = response is not None and status in (401, 403, 407)
        self._failures += 1
        self._raised = 0
        wait = self._wait(response, refused)
        lost = not self._lost and self.expires_at is not None
        self._lost = self._lost or lost
        self.state = RegistrationState.WAITING
        self._plan(wait)
        logger.info("registration of %s failed (%s %s), next try in %.0f s", self.aor, status, result.reason, wait)
        self._on_change(
            RegistrationEvent(
                self.state,
                status,
                result.reason,
                failed=True,
                refused_credentials=refused,
                timed_out=isinstance(result, TransactionFailure) and status == 408,
                error=result.error if isinstance(result, TransactionFailure) else None,
                retry_in=wait,
                response=response,
                lost=lost,
            )
        )

    def _wait(self, response: Response | None, refused: bool) -> float:
        """RFC 5626 §4.5: a random time from half of a bound to the bound, which doubles; a Retry-After is kept."""
        wait = back_off(self._failures, self._random, _CREDENTIALS_WAIT if refused else None)
        told = retry_after(response) if response is not None else None
        return no_sooner_than(wait, told, self._random)

    def _plan(self, delay: float) -> None:
        self._cancel_timer()
        self._timer = self._core.scheduler.call_later(delay, self._register)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __repr__(self) -> str:
        return f"<Registration {self.aor!r} {self.state.value}>"


def _service_route(response: Response) -> tuple[NameAddr, ...]:
    try:
        return tuple(NameAddr.parse(value) for value in response.headers.get_all("Service-Route"))
    except RemoteProtocolError as error:
        logger.info("the Service-Route cannot be read: %s", error)
        return ()
