"""Text messages, one request each: sending them and who gets those that come, outside of calls and within.

RFC 3428
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flexosip.errors import CallFailed, ConfigurationError, MessageFailed
from flexosip.phone.account import lacks_credentials
from flexosip.phone.messaging.outside import new_outside_request, result_failure, route_to, send
from flexosip.phone.session_requests import send_request
from flexosip.phone.values import checked_media_type, header_pairs
from flexosip.sip.grammar import SipParseError, parse_parameters, unquote
from flexosip.sip.message import Response
from flexosip.sip.outgoing_request import estimated_size

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.call import Call
    from flexosip.phone.phone import Phone
    from flexosip.phone.session import CallSession
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.headers import Headers, NameAddr
    from flexosip.sip.message import Request
    from flexosip.sip.server_transaction import ServerTransaction
    from flexosip.sip.uri import SipUri

__all__ = ["Message", "MessageHandler", "Messages", "decoded", "send_in_call", "send_message"]

logger = logging.getLogger(__name__)

_LARGEST = 1300
"""Octets of a whole MESSAGE that may take a way we do not know (RFC 3428 §8)."""
_MOST_AT_WORK = 100
"""Messages that asynchronous handlers work on at once; more are answered 503."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that has come."""

    from_: NameAddr
    """Who says to have sent it: `.uri`, `.display_name`."""
    to: NameAddr
    text: str
    """The body as text; "" when its type is no text."""
    content_type: str
    """Media type in lower case without parameters; "" without a body."""
    body: bytes
    headers: Headers
    account: Account | None = None
    """The account it is meant for."""
    call: Call | None = None
    """The call it came in; None outside of calls."""


MessageHandler = Callable[[Message], "Awaitable[Any] | Any"]


class Messages:
    """Who gets the messages of a phone."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._handler: MessageHandler | None = None
        self._at_work = 0
        self.types: tuple[str, ...] = ("text/plain",)

    def configure(self, core: UserAgentCore) -> None:
        """Serve the core of a phone that starts."""
        core.message_types = frozenset(self.types)

    def set_handler(self, handler: MessageHandler, types: Iterable[str]) -> None:
        """Give the messages of those media types to `handler`.

        Raises:
            ConfigurationError: a type is none.
        """
        self.types = tuple(checked_media_type(name).lower() for name in ((types,) if isinstance(types, str) else types))
        self._handler = handler
        self._phone.requests.handle("MESSAGE", self.receive)
        if self._phone.running:
            self.configure(self._phone.core)

    def receive(self, request: Request, transaction: ServerTransaction) -> None:
        """A MESSAGE outside of calls, of a type that is understood."""
        account = self._phone.account_called(request, transaction.flow)
        self._deliver(request, transaction, account, None)

    def receive_in_call(self, session: CallSession, request: Request, transaction: ServerTransaction) -> None:
        """A MESSAGE within a call."""
        core = self._phone.core
        if self._handler is None:
            transaction.respond(request.create_response(405, headers=(("Allow", core.allow_value),)))
        elif not core.refuse_content(request, transaction):
            self._deliver(request, transaction, session.account, session.call)

    def _deliver(self, request: Request, transaction: ServerTransaction, account: Account | None, call: Call | None) -> None:
        handler = self._handler
        assert handler is not None
        if self._at_work >= _MOST_AT_WORK:
            transaction.respond(request.create_response(503, headers=(("Retry-After", "5"),)))
            return
        content_type = request.content_type or ""
        message = Message(
            request.from_,
            request.to,
            decoded(request.body, request.headers.get("Content-Type") or ""),
            content_type,
            request.body,
            request.headers,
            account,
            call,
        )
        try:
            result = handler(message)
        except Exception:
            logger.exception("the on_message handler failed")
            transaction.respond(request.create_response(500))
            return
        if inspect.isawaitable(result):
            # Delivered: how long the handler works on it does not concern the sender, who would repeat it meanwhile.
            self._at_work += 1
            self._phone.signalling.run(self._work(result))
            result = None
        status = result if isinstance(result, int) and not isinstance(result, bool) and 200 <= result <= 699 else 200
        transaction.respond(request.create_response(status))

    async def _work(self, result: Awaitable[Any]) -> None:
        try:
            await result
        except Exception:
            logger.exception("the on_message handler failed")
        finally:
            self._at_work -= 1


async def send_message(
    phone: Phone,
    target: str | SipUri,
    text: str | bytes,
    *,
    content_type: str = "text/plain",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    account: Account | str | None = None,
) -> Response:
    """Send a message outside of calls; the 2xx: 202 when it is stored for later delivery (RFC 3428 §7).

    Raises:
        MessageFailed, AuthenticationError, NetworkError: it was not delivered, and why. ConfigurationError: it is too long.
    """
    route = route_to(phone, target, account)
    body, media_type = _encoded(text, content_type)
    request = new_outside_request(phone, "MESSAGE", route, header_pairs(headers), body, media_type)
    size = estimated_size(request)
    if size > _LARGEST and not route.reliable:
        raise ConfigurationError(
            f"The message is too long: {size} octets with its headers, where {_LARGEST} may be sent over UDP.",
            advice="Send it in parts, or use an account with transport='tcp'.",
        )
    result = await send(phone, request, route)
    if isinstance(result, Response) and 200 <= result.status < 300:
        return result
    raise result_failure(MessageFailed, f"The message to {route.uri}", result, lacks=lacks_credentials(route.account))


async def send_in_call(session: CallSession, text: str | bytes, content_type: str, headers: tuple[tuple[str, str], ...]) -> Response:
    """Send a message within a call.

    Raises:
        MessageFailed: it was refused. CallEnded: the call ended before it was answered.
    """
    body, media_type = _encoded(text, content_type)
    try:
        return await send_request(session, "MESSAGE", body, media_type, headers)
    except CallFailed as error:
        raise MessageFailed(
            f"The message failed: {error.status} {error.reason}.", status=error.status, reason=error.reason, headers=error.headers
        ) from error


def _encoded(text: str | bytes, content_type: str) -> tuple[bytes, str]:
    checked_media_type(content_type)
    if isinstance(text, bytes):
        return text, content_type
    try:
        body = text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError("The message holds half of a surrogate pair, which is no character.") from error
    if ";" not in content_type and not text.isascii():
        content_type += ";charset=UTF-8"
    return body, content_type


def decoded(body: bytes, content_type: str) -> str:
    """The text of a body in its charset, UTF-8 unless told; "" when its type is no text. What cannot be read becomes U+FFFD."""
    media_type, semicolon, rest = content_type.partition(";")
    media_type = media_type.strip().lower()
    if not media_type.startswith("text/") and not media_type.endswith(("json", "xml")):
        return ""
    charset = "utf-8"
    try:
        for name, value in parse_parameters(semicolon + rest):
            if name.lower() == "charset" and value:
                charset = unquote(value)
    except SipParseError:
        logger.debug("the parameters of a Content-Type cannot be read")
    if charset.lower().replace("_", "-") not in ("utf-8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "iso-8859-15", "windows-1252"):
        charset = "utf-8"
    return body.decode(charset, "replace")
