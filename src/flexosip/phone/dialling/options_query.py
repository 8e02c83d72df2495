"""Whether somebody is there, and what it can do: OPTIONS of ours, once or again and again (qualify).

RFC 3261 §11
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flexosip.errors import ConfigurationError, FlexosipError, InvalidState, OptionsFailed, ServerUnreachable
from flexosip.phone.messaging.outside import new_outside_request, result_failure, route_to, send
from flexosip.phone.values import header_pairs
from flexosip.sip.message import Response

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.dialling.endings import HeaderArgument
    from flexosip.phone.phone import Phone
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import Headers, NameAddr
    from flexosip.sip.message import Request
    from flexosip.sip.uri import SipUri

__all__ = ["OptionsResult", "PeerState", "PeerWatch", "PeerWatches", "query_options"]

logger = logging.getLogger(__name__)

_THERE_BUT_BUSY = frozenset({486, 600, 603})
"""What a phone that is there says of calls that it would refuse (RFC 3261 §11.2); 480 too, if it tells what it can do with it."""
_NOT_REACHED = frozenset({408, 480, 502, 503, 504})
"""What a proxy says when what is behind it did not answer."""
_SHORTEST = 1.0
_LONGEST = 86_400.0
_AGAIN = 10.0
"""Seconds after which one that did not answer is asked again, if that is sooner."""
_MOST_PEERS = 1000
"""Watches of one phone."""
_KEPT = 64
"""Changes that a reader may be behind; the oldest are dropped."""
_UNDERSTOOD = (("Accept", "application/sdp"), ("Accept-Encoding", "identity"), ("Accept-Language", "en"))


@dataclass(frozen=True, slots=True)
class OptionsResult:
    """What the other side says of itself (RFC 3261 §11.2)."""

    status: int
    """2xx: a call would get through now; 480, 486, 600 or 603: it is there, but would refuse one."""
    reason: str
    round_trip: float
    """Seconds from the last request, after challenges and dead servers, to its answer; with repetitions when packets were lost."""
    allow: tuple[str, ...] = ()
    """Methods that it knows; empty when it does not say."""
    supported: tuple[str, ...] = ()
    """Option tags that it knows: `100rel`, `timer`, `replaces`..."""
    accept: tuple[str, ...] = ()
    """Media types that it understands."""
    accept_encoding: tuple[str, ...] = ()
    accept_language: tuple[str, ...] = ()
    server: str | None = None
    """What it calls itself: Server or User-Agent."""
    contact: tuple[NameAddr, ...] = ()
    """Where it is reached."""
    headers: Headers | None = None
    body: bytes = b""
    """The sound it could receive, where it tells (SDP)."""

    @property
    def available(self) -> bool:
        """True if a call would get through now."""
        return self.status < 300


@dataclass(frozen=True, slots=True)
class PeerState:
    """Whether a peer answered when it was last asked."""

    reachable: bool
    """True for any answer of the peer itself, refusals included. False: none within the time, or a proxy got none (408, 480, 502-504)."""
    round_trip: float | None = None
    """Seconds; None when there was no answer."""
    status: int | None = None
    reason: str = ""
    error: FlexosipError | None = None
    """Why it is not reachable."""

    def __str__(self) -> str:
        return "reachable" if self.reachable else "unreachable"


async def query_options(
    phone: Phone, target: str | SipUri, timeout: float | None, headers: HeaderArgument, account: Account | str | None
) -> OptionsResult:
    """See `Phone.options`."""
    response, round_trip = await _ask(phone, target, timeout, headers, account)
    if response.status >= 300 and not _refuses_calls(response):
        raise result_failure(OptionsFailed, f"OPTIONS to {target}", response)
    return _result(response, round_trip)


async def _ask(
    phone: Phone, target: str | SipUri, timeout: float | None, headers: HeaderArgument, account: Account | str | None
) -> tuple[Response, float]:
    """The final response, whatever it is, and the seconds it took.

    Raises:
        ServerUnreachable, NetworkError: there is none.
    """
    if timeout is not None:
        _checked(timeout, "timeout", 0.0)
    route = route_to(phone, target, account)
    # We tell what we can do, too: whoever answers strangers with no more octets than they sent then has room for the same.
    told = (*phone.core.capability_headers(), *_UNDERSTOOD, *header_pairs(headers))
    request = new_outside_request(phone, "OPTIONS", route, told, b"", None)
    sent = phone.loop.time()

    def prepare(request: Request, flow: Flow) -> None:
        nonlocal sent
        sent = phone.loop.time()
        if "Contact" not in request.headers:
            request.headers.add("Contact", str(route.contact(flow)))

    try:
        async with asyncio.timeout(timeout):
            result = await send(phone, request, route, prepare)
    except TimeoutError as error:
        if isinstance(error, FlexosipError):
            raise
        raise ServerUnreachable(f"OPTIONS to {route.uri} got no answer within {timeout:g} seconds.") from None
    if not isinstance(result, Response):
        raise result_failure(OptionsFailed, f"OPTIONS to {route.uri}", result)
    return result, phone.loop.time() - sent


def _refuses_calls(response: Response) -> bool:
    """True for a phone that is there; a proxy's 480 says nothing of what it can do."""
    return response.status in _THERE_BUT_BUSY or (response.status == 480 and "Allow" in response.headers)


def _result(response: Response, round_trip: float) -> OptionsResult:
    headers = response.headers
    return OptionsResult(
        response.status,
        response.reason,
        round_trip,
        tuple(headers.get_all("Allow")),
        tuple(headers.get_all("Supported")),
        tuple(headers.get_all("Accept")),
        tuple(headers.get_all("Accept-Encoding")),
        tuple(headers.get_all("Accept-Language")),
        headers.get("Server") or headers.get("User-Agent"),
        tuple(response.contacts),
        headers,
        response.body,
    )


def _checked(value: float, name: str, above: float) -> float:
    if not math.isfinite(value) or not above < value <= _LONGEST:
        raise ConfigurationError(f"{name}={value!r}: seconds above {above:g} and at most {_LONGEST:g}.")
    return value


class PeerWatch:
    """Whether a peer answers, made by `Phone.qualify`: `async for state in watch` gives a `PeerState` at each change.

    Entered or awaited it has the first answer, or knows that there is none. It ends with the phone.
    """

    def __init__(self, phone: Phone, target: str | SipUri, every: float, timeout: float, account: Account | str | None) -> None:
        self.target = target
        self.every = _checked(every, "every", _SHORTEST - 1e-9)
        self._timeout = min(_checked(timeout, "timeout", 0.0), self.every)
        self._phone, self._account = phone, account
        self._latest: PeerState | None = None
        self._changes: deque[PeerState] = deque(maxlen=_KEPT)
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._failure: FlexosipError | None = None
        self._over = False

    def __repr__(self) -> str:
        return f"<PeerWatch {self.target} {self._latest or 'unknown'}>"

    @property
    def latest(self) -> PeerState | None:
        """What came of the latest question; None before the first."""
        return self._latest

    @property
    def reachable(self) -> bool:
        """True if it answered when it was last asked."""
        return self._latest is not None and self._latest.reachable

    @property
    def round_trip(self) -> float | None:
        """Seconds that the latest answer took; None without one."""
        return self._latest.round_trip if self._latest is not None else None

    def start(self) -> None:
        """Begin to ask; harmless twice.

        Raises:
            ConfigurationError: the target means nothing, or the phone watches too many already. InvalidState: the phone does not run.
        """
        if self._task is None and not self._over:
            route_to(self._phone, self.target, self._account)
            self._phone.peers.add(self)
            self._task = self._phone.loop.create_task(self._watch())

    async def _watch(self) -> None:
        try:
            while True:
                asked = self._phone.loop.time()
                state = await self._ask()
                changed = self._latest is None or self._latest.reachable != state.reachable
                self._latest = state
                if changed:
                    self._tell(state)
                pause = self.every if state.reachable else min(self.every, _AGAIN)
                await asyncio.sleep(max(0.0, asked + pause - self._phone.loop.time()))
        except FlexosipError as error:
            self._failure = error
        finally:
            self._over = True
            self._phone.peers.discard(self)
            self._wake()

    async def _ask(self) -> PeerState:
        try:
            response, round_trip = await _ask(self._phone, self.target, self._timeout, None, self._account)
        except (ConfigurationError, InvalidState):
            raise  # asking again would change nothing
        except FlexosipError as error:
            return PeerState(False, error=error)
        if response.status in _NOT_REACHED and not _refuses_calls(response):
            why = result_failure(OptionsFailed, f"OPTIONS to {self.target}", response)
            return PeerState(False, None, response.status, response.reason, why)
        return PeerState(True, round_trip, response.status, response.reason)

    def _tell(self, state: PeerState) -> None:
        milliseconds = f" ({state.round_trip * 1000:.0f} ms)" if state.round_trip is not None else ""
        logger.info("%s is %s%s", self.target, state, milliseconds)
        self._changes.append(state)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _change(self) -> None:
        if self._waiter is None or self._waiter.done():
            self._waiter = self._phone.loop.create_future()
        await asyncio.wait((self._waiter,))

    async def _first(self) -> PeerWatch:
        self.start()
        while self._latest is None and not self._over:
            await self._change()
        if self._failure is not None:
            raise self._failure
        return self

    def __await__(self) -> Generator[Any, None, PeerWatch]:
        return self._first().__await__()

    async def __aenter__(self) -> PeerWatch:
        try:
            return await self._first()
        except BaseException:
            self.stop()
            raise

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[PeerState]:
        return self

    async def __anext__(self) -> PeerState:
        self.start()
        while not self._changes:
            if self._failure is not None:
                raise self._failure
            if self._over:
                raise StopAsyncIteration
            await self._change()
        return self._changes.popleft()

    def stop(self) -> None:
        """Ask no more; who iterates comes to the end."""
        self._over = True
        if self._task is not None:
            self._task.cancel()
        self._wake()

    async def close(self) -> None:
        """Ask no more, and forget the question that is on its way; harmless twice."""
        self.stop()
        if self._task is not None:
            await asyncio.wait((self._task,))


class PeerWatches:
    """The peer watches of one phone."""

    def __init__(self) -> None:
        self._all: set[PeerWatch] = set()

    def add(self, watch: PeerWatch) -> None:
        """One begins."""
        if len(self._all) >= _MOST_PEERS:
            raise ConfigurationError(f"This phone watches {_MOST_PEERS} peers already.", advice="Close those that you do not need.")
        self._all.add(watch)

    def discard(self, watch: PeerWatch) -> None:
        """One has ended."""
        self._all.discard(watch)

    def stop_all(self) -> None:
        """The phone closes."""
        for watch in list(self._all):
            watch.stop()
