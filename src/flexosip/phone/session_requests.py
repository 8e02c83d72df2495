"""Requests within a call other than INVITE and BYE: who answers which method, and sending one of our own.

`RECEIVED` is the table by method; a room that understands a method more adds its function there and names the method in
`UserAgentCore.extra_methods`. RFC 3261 §12.2
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flexosip.errors import call_failure
from flexosip.phone.media.digits import parse_dtmf, parse_dtmf_relay
from flexosip.phone.messaging.info_packages import package_of, receive_package
from flexosip.phone.session_changes import receive_update

if TYPE_CHECKING:
    import asyncio

    from flexosip.phone.session import CallSession
    from flexosip.sip.message import Request, Response
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["RECEIVED", "receive_request", "send_request"]


def receive_request(session: CallSession, request: Request, transaction: ServerTransaction) -> None:
    """Give a request within the call to who understands its method; 405 for the others."""
    receive = RECEIVED.get(request.method)
    if receive is not None:
        receive(session, request, transaction)
    else:
        transaction.respond(request.create_response(405, headers=(("Allow", session.phone.allow_text),)))


def _receive_info(session: CallSession, request: Request, transaction: ServerTransaction) -> None:
    if _is_digit(request) or not receive_package(session, request, transaction):
        _receive_plain_info(session, request, transaction)


def _is_digit(request: Request) -> bool:
    """The INFOs of RFC 2976 that carry keys, whatever package they name beside."""
    return package_of(request) is None and request.content_type in ("application/dtmf-relay", "application/dtmf", None)


def _receive_message(session: CallSession, request: Request, transaction: ServerTransaction) -> None:
    session.phone.messages.receive_in_call(session, request, transaction)


def _refuse_subscribe(session: CallSession, request: Request, transaction: ServerTransaction) -> None:
    # RFC 6665 §4.5.2: a subscription has a dialog of its own.
    transaction.respond(request.create_response(403, "Subscribe Outside Of The Call"))


def _receive_plain_info(session: CallSession, request: Request, transaction: ServerTransaction) -> None:
    status = _digits_of_info(session, request)
    headers = (("Accept", "application/dtmf-relay, application/dtmf"),) if status == 415 else ()
    transaction.respond(request.create_response(status, headers=headers))


def _digits_of_info(session: CallSession, request: Request) -> int:
    content_type = request.content_type
    duration: float | None = None
    digit: str | None = None
    if content_type == "application/dtmf-relay":
        found = parse_dtmf_relay(request.body)
        if found is not None:
            digit, duration = found
    elif content_type == "application/dtmf":
        digit = parse_dtmf(request.body)
    elif request.body:
        return 415
    if digit is not None:
        session.received_digit(digit, "info", duration)
    # An INFO without a digit that we know is still a well-formed request (RFC 2976 §2.2).
    return 200


RECEIVED: dict[str, Callable[[CallSession, Request, ServerTransaction], None]] = {
    "INFO": _receive_info,
    "MESSAGE": _receive_message,
    "SUBSCRIBE": _refuse_subscribe,
    "UPDATE": receive_update,
}
"""Method -> what answers it: called with the session, the request and its transaction, at once or later within 32 s."""


async def send_request(
    session: CallSession, method: str, body: bytes, content_type: str | None, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """Send a request within the call; its 2xx.

    Raises:
        CallFailed: refused. CallEnded: the call ended before it was answered.
    """
    usage = session.require_usage()
    done: asyncio.Future[Any] = session.loop.create_future()
    usage.request_within(method, body, content_type, headers, lambda result: None if done.done() else done.set_result(result))
    result: Response = await session.until(done)
    if not 200 <= result.status < 300:
        session.check_not_ended()
        raise call_failure(result.status, result.reason)
    return result
