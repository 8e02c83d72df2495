"""Publication: keeps a state of ours at a server that tells it to others, for as long as it is valid.

The server names each stored state with an entity-tag; a refresh, a change and a removal say which one they mean. When the server has
lost it (412), it is published anew. Failures are tried again with growing waits; the latest state counts.

    IDLE --publish--> PUBLISHING --200--> PUBLISHED --refresh, change--> PUBLISHING ...
                          |  ^
                       failure `--back-off-- WAITING
    any --remove--> REMOVING --answer--> IDLE

RFC 3903
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flexosip.sip.back_off import back_off, no_sooner_than, retry_after
from flexosip.sip.grammar import is_token
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Response, new_request, seconds_of
from flexosip.sip.subscription_leg import LONGEST_LEASE
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.sansio import Timer
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.event_headers import Event
    from flexosip.sip.outgoing_request import OutgoingRequest, Result
    from flexosip.sip.uri import SipUri

__all__ = ["Publication", "PublicationChange", "PublicationState"]

logger = logging.getLogger(__name__)

_FOR_GOOD: Final = frozenset({403, 404, 405, 415, 416, 489, 501, 604})
"""Answers that trying again does not change (RFC 3903 §4.1)."""
_MOST_IN_A_ROW: Final = 3
"""412 and 423 in a row that are followed at once; a server that goes on so is waited for."""


class PublicationState(enum.StrEnum):
    """Where a publication stands."""

    IDLE = "idle"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    WAITING = "waiting"
    """The last try failed; the next one is planned."""
    REMOVING = "removing"
    REFUSED = "refused"
    """The server does not take it; only a new state is tried again."""


@dataclass(frozen=True, slots=True)
class PublicationChange:
    """What happened to a publication."""

    state: PublicationState
    status: int = 0
    """Final status; 408 and 503 also stand for our own time-out and network failure."""
    reason: str = ""
    expires: int = 0
    """Seconds that the server grants."""
    retry_in: float | None = None
    error: Exception | None = None
    answered: bool = True
    """False when the status is our own finding."""


class Publication:
    """Publish a state.

    Args:
        core: sends the requests.
        target: the address of record whose state it is.
        next_hop: where to send it.
        event: the event package.
        from_: who publishes, without tag.
        auth: credentials, or None.
        expires: seconds to ask for.
        headers: further headers of each PUBLISH.
        routes: Route, asked at each request.
        on_change: told of each success, failure and end.
    """

    def __init__(
        self,
        core: UserAgentCore,
        *,
        target: SipUri,
        next_hop: SipUri,
        event: Event,
        from_: NameAddr,
        auth: DigestClient | None,
        on_change: Callable[[PublicationChange], None],
        expires: int = 3600,
        headers: tuple[tuple[str, str], ...] = (),
        routes: Callable[[], tuple[NameAddr, ...]] = tuple,
    ) -> None:
        self.state = PublicationState.IDLE
        self.etag: str | None = None
        """The server's name of what it has of ours; None when it has nothing."""
        self._core = core
        self._target = target
        self._next_hop = next_hop
        self._event = event
        self._from = from_
        self._auth = auth
        self._on_change = on_change
        self._expires = expires
        self._headers = headers
        self._routes = routes
        self._body: tuple[bytes, str] = (b"", "")
        self._dirty = False
        self._call_id = core.stack.new_call_id()
        self._from_tag = core.stack.new_tag()
        self._cseq = 0
        self._outgoing: OutgoingRequest | None = None
        self._timer: Timer | None = None
        self._failures = 0
        self._in_a_row = 0
        self._on_done: list[Callable[[], None]] = []

    def publish(self, body: bytes, content_type: str) -> None:
        """Publish a state, or change the published one; while a PUBLISH is on its way the latest state waits for its answer."""
        self._body = (body, content_type)
        self._dirty = True
        self._on_done.clear()
        if self._outgoing is None:
            self._send()
        elif self.state is PublicationState.REMOVING:
            # The removal is under way: what was removed is published again.
            self.state = PublicationState.PUBLISHING

    def remove(self, on_done: Callable[[], None] = lambda: None) -> None:
        """Take the state away (RFC 3903 §4.5); `on_done` is called once when the server has answered or will not."""
        self._cancel_timer()
        self._on_done.append(on_done)
        if self.state is PublicationState.REMOVING:
            return
        if self._outgoing is not None:
            self.state = PublicationState.REMOVING
        elif self.etag is not None:
            self.state = PublicationState.REMOVING
            self._send()
        else:
            self._removed(PublicationChange(PublicationState.IDLE))

    def drop(self) -> None:
        """Forget it without a word on the wire."""
        self._cancel_timer()
        if self._outgoing is not None:
            self._outgoing.stop()
            self._outgoing = None
        self.state = PublicationState.IDLE
        self.etag = None

    # -- requests -----------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """One at a time (RFC 3903 §4): first, changed, refreshed or removed."""
        self._cancel_timer()
        removing = self.state is PublicationState.REMOVING
        if not removing:
            self.state = PublicationState.PUBLISHING
        first = self.etag is None
        body, content_type = (b"", "") if removing or not (first or self._dirty) else self._body
        self._dirty = False
        headers = [("Event", str(self._event)), ("Expires", "0" if removing else str(self._expires)), *self._headers]
        if self.etag is not None:
            headers.append(("SIP-If-Match", self.etag))
        request = new_request(
            "PUBLISH",
            self._target,
            from_=self._from.with_tag(self._from_tag),
            to=NameAddr(self._target),
            call_id=self._call_id,
            cseq=self._next_cseq(),
            routes=self._routes(),
            headers=headers,
            body=body,
            content_type=content_type if body else None,
        )
        self._outgoing = self._core.request(
            request,
            self._next_hop,
            auth=self._auth,
            on_final=lambda result: self._on_final(result, removing),
            next_cseq=self._next_cseq,
        )

    def _next_cseq(self) -> int:
        self._cseq = self._cseq + 1 if self._cseq < 2**31 - 1 else 1
        return self._cseq

    # -- answers ------------------------------------------------------------------------------------------------------

    def _on_final(self, result: Result, removed: bool) -> None:
        self._outgoing = None
        if removed:
            self.etag = None
            if self.state is PublicationState.PUBLISHING:
                self._send()
            else:
                self._removed(PublicationChange(PublicationState.IDLE, result.status, result.reason))
            return
        accepted = isinstance(result, Response) and result.status < 300
        if isinstance(result, Response) and accepted:
            self._take_etag(result)
        if self.state is PublicationState.REMOVING:
            if self.etag is not None:
                self._send()
            else:
                self._removed(PublicationChange(PublicationState.IDLE, result.status, result.reason))
        elif isinstance(result, Response) and accepted:
            self._published(result)
        elif isinstance(result, Response) and result.status == 412 and self.etag is not None and self._follow():
            # §4.1: the server knows nothing of ours any more: all of it again.
            self.etag = None
            self._send()
        elif isinstance(result, Response) and result.status == 423 and self._raise_expires(result) and self._follow():
            self._dirty = True
            self._send()
        else:
            self._failed(result)

    def _follow(self) -> bool:
        self._in_a_row += 1
        return self._in_a_row <= _MOST_IN_A_ROW

    def _take_etag(self, response: Response) -> None:
        etag = response.headers.get("SIP-ETag")
        # A new one with each 2xx; a server that gives none can only be told everything each time.
        self.etag = etag if etag is not None and is_token(etag) else None

    def _published(self, response: Response) -> None:
        told = seconds_of(response.headers.get("Expires"))
        lease = min(told if told else self._expires, LONGEST_LEASE)
        self._failures = self._in_a_row = 0
        self.state = PublicationState.PUBLISHED
        random = self._core.random
        part = random.uniform(0.8, 0.9) if lease >= 120 else random.uniform(0.5, 0.7)
        self._plan(max(part * lease, 2.0))
        self._on_change(PublicationChange(self.state, response.status, response.reason, lease))
        if self._dirty and self._outgoing is None:
            self._send()

    def _raise_expires(self, response: Response) -> bool:
        least = seconds_of(response.headers.get("Min-Expires"))
        if least is None or not self._expires < least <= LONGEST_LEASE:
            return False
        self._expires = least
        return True

    def _failed(self, result: Result) -> None:
        # What the server has now is not known: the next try tells everything.
        self.etag = None
        self._failures += 1
        self._in_a_row = 0
        answered = not isinstance(result, TransactionFailure)
        error = result.error if isinstance(result, TransactionFailure) else None
        if answered and result.status in _FOR_GOOD:
            self.state = PublicationState.REFUSED
            self._on_change(PublicationChange(self.state, result.status, result.reason))
            return
        wait = no_sooner_than(back_off(self._failures, self._core.random), retry_after(result), self._core.random)
        self.state = PublicationState.WAITING
        self._plan(wait)
        logger.info("publication of %s failed (%s %s), next try in %.0f s", self._event.package, result.status, result.reason, wait)
        self._on_change(PublicationChange(self.state, result.status, result.reason, 0, wait, error, answered))

    def _removed(self, change: PublicationChange) -> None:
        self.state = PublicationState.IDLE
        self._cancel_timer()
        self._on_change(change)
        waiting, self._on_done = self._on_done, []
        for on_done in waiting:
            on_done()

    def _plan(self, delay: float) -> None:
        self._cancel_timer()
        self._timer = self._core.scheduler.call_later(delay, self._send)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __repr__(self) -> str:
        return f"<Publication {self._event.package} {self.state}>"
