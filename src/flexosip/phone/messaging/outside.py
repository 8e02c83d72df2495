"""Requests of ours outside of any call, other than INVITE and REGISTER: who they are from, which way they take, how they fail.

RFC 3261 §8.1
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from flexosip.errors import FlexosipError, InvalidState, NetworkError, RequestFailed, ServerUnreachable, authentication_failure
from flexosip.phone.dialling.calling import next_hop
from flexosip.sip.headers import NameAddr
from flexosip.sip.message import Request, new_request
from flexosip.sip.transaction import TransactionFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexosip.phone.account import Account
    from flexosip.phone.phone import Phone
    from flexosip.sip.digest import DigestClient
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import Headers
    from flexosip.sip.outgoing_request import Result
    from flexosip.sip.uri import SipUri

__all__ = ["Route", "failure", "new_outside_request", "result_failure", "route_to", "send"]

F = TypeVar("F", bound=RequestFailed)

_UNRELIABLE = (None, "udp")


@dataclass(frozen=True, slots=True)
class Route:
    """The way of a request to a target, and who it is from."""

    uri: SipUri
    """The Request-URI."""
    hop: SipUri
    """Where it is sent."""
    identity: NameAddr
    """The From, without tag."""
    auth: DigestClient | None
    """Credentials for challenges; None where nobody may see them."""
    routes: tuple[NameAddr, ...]
    contact: Callable[[Flow], NameAddr]
    account: Account | None

    @property
    def reliable(self) -> bool:
        """True if it certainly takes a transport that carries messages of any size."""
        return self.hop.transport not in _UNRELIABLE or self.hop.scheme == "sips"


def route_to(phone: Phone, target: str | SipUri, account: Account | str | None) -> Route:
    """The way to `target` for one of the phone's accounts.

    Raises:
        ConfigurationError: there is no such account, or the target means nothing. InvalidState: the phone is closed.
    """
    if phone._closing is not None:
        raise InvalidState("The phone is being closed.")
    chosen = phone.find_account(account)
    uri = phone.target_uri(target, chosen).without_parameters("method")
    hop, ours = next_hop(phone, uri, chosen)
    return Route(
        uri,
        hop,
        chosen.identity if chosen is not None else phone.identity_towards(uri),
        chosen.digest if chosen is not None and ours else None,
        chosen.route if chosen is not None and ours else (),
        chosen.contact if chosen is not None else phone.contact,
        chosen,
    )


def new_outside_request(
    phone: Phone, method: str, route: Route, headers: tuple[tuple[str, str], ...], body: bytes, content_type: str | None
) -> Request:
    """A request along `route`, complete but for what depends on the flow."""
    stack = phone.core.stack
    return new_request(
        method,
        route.uri,
        from_=route.identity.with_tag(stack.new_tag()),
        to=NameAddr(route.uri),
        call_id=stack.new_call_id(),
        cseq=1,
        routes=route.routes,
        headers=(*phone.standard_headers, *headers),
        body=body,
        content_type=content_type if body else None,
    )


async def send(phone: Phone, request: Request, route: Route, prepare: Callable[[Request, Flow], None] | None = None) -> Result:
    """Send it, with credentials when they are asked for; the final response or failure. Cancelling the wait forgets it.

    Args:
        prepare: called before each try, when its flow is known; it completes what depends on that.

    Raises:
        InvalidState: the phone is closed meanwhile.
    """
    done: asyncio.Future[Result] = phone.loop.create_future()

    def on_final(result: Result) -> None:
        if not done.done():
            done.set_result(result)

    waiting = phone.signalling.waiting
    waiting.add(done)
    outgoing = phone.core.request(request, route.hop, auth=route.auth, on_final=on_final, prepare=prepare)
    try:
        return await done
    finally:
        waiting.discard(done)
        if not done.done() or done.cancelled() or done.exception() is not None:
            outgoing.stop()
            if outgoing.transaction is not None:
                outgoing.transaction.terminate()


def failure(
    kind: type[F],
    what: str,
    status: int,
    reason: str,
    *,
    answered: bool,
    headers: Headers | None = None,
    error: Exception | None = None,
    lacks: str | None = None,
) -> FlexosipError:
    """The error that fits a final status, our own time-out (408) or network failure (503) of a request.

    Args:
        kind: for refusals. what: the subject of the sentence: "The message to sip:b@host".
        answered: False when 408 or 503 is our own finding. headers: of the response. error: what the network reported.
        lacks: as for `authentication_failure`.
    """
    if isinstance(error, FlexosipError):
        return error
    if not answered and status == 408:
        return ServerUnreachable(f"{what} got no answer.")
    if not answered and status == 503:
        return NetworkError(f"{what} cannot get through: {str(error or reason).rstrip('.')}.")
    if status in (401, 407):
        return authentication_failure(what, status, reason, lacks=lacks)
    return kind(f"{what} failed: {status} {reason}".rstrip() + ".", status=status, reason=reason, headers=headers)


def result_failure(kind: type[F], what: str, result: Result, *, lacks: str | None = None) -> FlexosipError:
    """The error for a final result that is no 2xx; `lacks` as for `authentication_failure`."""
    if isinstance(result, TransactionFailure):
        return failure(kind, what, result.status, result.reason, answered=False, error=result.error)
    return failure(kind, what, result.status, result.reason, answered=True, headers=result.headers, lacks=lacks)
