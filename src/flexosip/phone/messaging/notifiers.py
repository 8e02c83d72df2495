"""States of this phone that others may subscribe to (RFC 6665 §4.2): off until the program names an event package and who may know.

`Phone.on_subscribe` gives each subscription to the program; `Phone.notifier` tells one state to all: the phone's own calls
(`dialog`, RFC 4235), a mailbox (`message-summary`, RFC 3842) or presence (`presence`, RFC 3856).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from flexosip.errors import ConfigurationError, InvalidState
from flexosip.phone.values import checked_media_type
from flexosip.sip.dialog_info import DIALOG_INFO
from flexosip.sip.event_headers import Event, allow_events_value
from flexosip.sip.grammar import is_token
from flexosip.sip.message_summary import MESSAGE_SUMMARY, MessageSummary
from flexosip.sip.presence import PIDF, Presence
from flexosip.sip.subscription_notifier import NotifierSubscription

if TYPE_CHECKING:
    from flexosip.phone.phone import Phone
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.headers import Headers, NameAddr
    from flexosip.sip.message import Request
    from flexosip.sip.server_transaction import ServerTransaction
    from flexosip.sip.uri import Uri

__all__ = ["Allow", "IncomingSubscription", "Notifier", "Notifiers", "SubscribeHandler"]

logger = logging.getLogger(__name__)

_MOST: Final = 500
"""Subscriptions at once; more are answered 503."""
_DECISION: Final = 1.0
"""Seconds after which a handler that has not decided makes the subscription pending: the answer must not wait (RFC 6665 §4.2.1.2)."""
_OWN_TYPES: Final = {"dialog": DIALOG_INFO, "message-summary": MESSAGE_SUMMARY, "presence": PIDF}


class IncomingSubscription:
    """Somebody wants to know a state of ours."""

    def __init__(self, machine: NotifierSubscription, loop: asyncio.AbstractEventLoop) -> None:
        self._machine = machine
        self._loop = loop
        self._ended: asyncio.Future[str] = loop.create_future()
        self._on_over: Callable[[IncomingSubscription], None] | None = None
        machine.on_over = self._over

    def __repr__(self) -> str:
        return f"<IncomingSubscription {self.event.package} from {self.from_.uri} {self.state}>"

    @property
    def event(self) -> Event:
        """The event package, its id and parameters."""
        return self._machine.event

    @property
    def from_(self) -> NameAddr:
        """Who says to subscribe."""
        return self._machine.request.from_

    @property
    def target(self) -> Uri:
        """The Request-URI: whose state is wanted."""
        return self._machine.request.uri

    @property
    def headers(self) -> Headers:
        """Of the SUBSCRIBE."""
        return self._machine.request.headers

    @property
    def body(self) -> bytes:
        """Of the SUBSCRIBE: a filter, if the package has one."""
        return self._machine.request.body

    @property
    def source(self) -> str:
        """The address that the SUBSCRIBE came from."""
        return self._machine.source

    @property
    def state(self) -> str:
        """`new`, `pending`, `active` or `terminated`."""
        machine = self._machine
        return "terminated" if machine.over else machine.state if machine.accepted else "new"

    @property
    def over(self) -> bool:
        """True when nothing can be told any more."""
        return self._machine.over

    def accept(self, *, pending: bool = False) -> None:
        """Accept it without a state yet; `pending`: whether it may know is not decided yet. Harmless when decided."""
        self._machine.accept(pending=pending)

    def notify(self, body: bytes | str = b"", content_type: str | None = None, *, replace: bool = True) -> None:
        """Tell the state; the first time this accepts the subscription.

        Args:
            replace: states that still wait for their turn are left out. False for packages that tell changes.

        Raises:
            InvalidState: it is over.
        """
        if self.over:
            raise InvalidState("notify(): the subscription is over.")
        data = body.encode() if isinstance(body, str) else body
        if data and content_type is None:
            raise ConfigurationError("notify(): a body needs its content_type.")
        if content_type is not None:
            checked_media_type(content_type)
        self._machine.activate()
        self._machine.notify(data, content_type, replace=replace)

    def reject(self, status: int = 403) -> None:
        """Refuse it with a status from 300 to 699; one that is pending ends with the reason `rejected`. Harmless when it is over."""
        if not 300 <= status <= 699:
            raise ConfigurationError(f"reject(status={status}): a refusal is a status from 300 to 699, for example 403.")
        self._machine.reject(status)

    def terminate(self, reason: str = "noresource", *, retry_after: int | None = None) -> None:
        """End it, telling why: `deactivated`, `probation`, `rejected`, `timeout`, `giveup`, `noresource` or `invariant`."""
        if not is_token(reason) or (retry_after is not None and not 0 <= retry_after < 2**32):
            raise ConfigurationError(f"terminate({reason!r}, retry_after={retry_after}): a reason is one word, a time is seconds.")
        self._machine.terminate(reason, retry_after=retry_after)

    async def wait_ended(self) -> str:
        """Wait until it is over; the reason, or `refused` when the subscriber is gone."""
        return await asyncio.shield(self._ended)

    def _over(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)
        if self._on_over is not None:
            self._on_over(self)


SubscribeHandler = Callable[[IncomingSubscription], "Awaitable[Any] | Any"]
Allow = Callable[[IncomingSubscription], bool]


class Notifier:
    """One state, told to all who subscribe to it; made by `Phone.notifier`.

    Args:
        package: the event package. content_type: of its state.
        allow: decides who may know.
        build: the state for one subscriber and the number of the document, where each gets one of its own.
    """

    def __init__(
        self, package: str, content_type: str | None, allow: Allow | None, build: Callable[[IncomingSubscription, int], bytes] | None = None
    ) -> None:
        self.package = package
        self._allow = allow
        self._build = build
        self._body = b""
        self._content_type = content_type
        self._subscribers: dict[IncomingSubscription, int] = {}

    @property
    def subscribers(self) -> tuple[IncomingSubscription, ...]:
        """Who is told now."""
        return tuple(self._subscribers)

    def update(self, state: MessageSummary | Presence | bytes | str, content_type: str | None = None) -> None:
        """A new state: all subscribers are told.

        Args:
            state: a value of the package, or a body of your own with its `content_type`.

        Raises:
            ConfigurationError: the state does not fit the package.
        """
        if self._build is not None:
            raise ConfigurationError(f"The state of {self.package!r} is told by the phone itself.")
        known = {"message-summary": MessageSummary, "presence": Presence}.get(self.package)
        if isinstance(state, (MessageSummary, Presence)):
            if known is None or not isinstance(state, known):
                raise ConfigurationError(f"A {type(state).__name__} is no state of {self.package!r}.")
        elif content_type is None and self._content_type is None:
            raise ConfigurationError("update(): a body needs its content_type.")
        if content_type is not None:
            self._content_type = checked_media_type(content_type)
        self._body = state.encode() if isinstance(state, str) else bytes(state)
        self.tell()

    def tell(self) -> None:
        """Tell all subscribers the present state."""
        for subscription in list(self._subscribers):
            self._tell(subscription)

    def receive(self, subscription: IncomingSubscription) -> None:
        """A new subscription."""
        if self._allow is not None and not self._allow(subscription):
            subscription.reject(403)
            return
        accepted = {value.partition(";")[0].strip().lower() for value in subscription.headers.get_all("Accept")}
        if "Accept" in subscription.headers and not accepted & {self._content_type, "application/*", "*/*"}:
            subscription.reject(406)
            return
        self._subscribers[subscription] = 0
        subscription._on_over = self._forget
        subscription._machine.on_refresh = lambda: self._tell(subscription)
        self._tell(subscription)

    def _tell(self, subscription: IncomingSubscription) -> None:
        if subscription.over:
            return
        number = self._subscribers.get(subscription, 0)
        self._subscribers[subscription] = number + 1
        body = self._build(subscription, number) if self._build is not None else self._body
        # It may be over with that: it was fetched, or asked for too short a time.
        subscription.notify(body, self._content_type if body else None)

    def _forget(self, subscription: IncomingSubscription) -> None:
        self._subscribers.pop(subscription, None)


class Notifiers:
    """Who answers SUBSCRIBE at one phone, by event package."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._handlers: dict[str, SubscribeHandler] = {}
        self._all: set[IncomingSubscription] = set()

    def __len__(self) -> int:
        return len(self._all)

    def handle(self, package: str, handler: SubscribeHandler) -> None:
        """Give subscriptions to `package` to `handler`.

        Raises:
            ConfigurationError: it is no name of a package.
        """
        if not is_token(package):
            raise ConfigurationError(f"{package!r} is no name of an event package.")
        self._handlers[package] = handler
        self._phone.requests.handle("SUBSCRIBE", self.receive)
        if self._phone.running:
            self.configure(self._phone.core)

    def configure(self, core: UserAgentCore) -> None:
        """Serve the core of a phone that starts."""
        core.allow_events = frozenset(self._handlers)

    def own_type(self, package: str) -> str | None:
        """The media type of the states of a package that is known."""
        return _OWN_TYPES.get(package)

    def receive(self, request: Request, transaction: ServerTransaction) -> None:
        """A SUBSCRIBE outside of any dialog."""
        event = Event.of(request.headers)
        handler = self._handlers.get(event.package) if event is not None else None
        if event is None or handler is None:
            headers = (("Allow-Events", allow_events_value(self._handlers)),)
            transaction.respond(request.create_response(489, headers=headers))
            return
        if len(self._all) >= _MOST:
            transaction.respond(request.create_response(503, headers=(("Retry-After", "60"),)))
            return
        phone = self._phone
        account = phone.account_called(request, transaction.flow)
        auth = account.digest if account is not None and account.trusts(transaction.flow) else None
        machine = NotifierSubscription(phone.core, request, transaction, event, auth=auth)
        subscription = IncomingSubscription(machine, phone.loop)
        self._all.add(subscription)
        subscription._ended.add_done_callback(lambda _: self._all.discard(subscription))
        self._decide(handler, subscription)

    def _decide(self, handler: SubscribeHandler, subscription: IncomingSubscription) -> None:
        try:
            result = handler(subscription)
        except Exception:
            logger.exception("the on_subscribe handler failed")
            subscription.reject(500)
            return
        if inspect.isawaitable(result):
            # The answer must not wait for the handler, however long it takes.
            later = self._phone.loop.call_later(_DECISION, subscription._machine.accept_pending)
            self._phone.signalling.run(self._work(result, subscription, later))
        else:
            subscription.accept()

    @staticmethod
    async def _work(result: Awaitable[Any], subscription: IncomingSubscription, later: asyncio.TimerHandle) -> None:
        try:
            await result
        except Exception:
            logger.exception("the on_subscribe handler failed")
            subscription.reject(500)
        finally:
            later.cancel()
        if subscription.state == "new":
            subscription.accept()

    def stop_all(self) -> None:
        """The phone closes: subscribers are told to come back later."""
        for subscription in list(self._all):
            subscription.terminate("probation", retry_after=60)

    def drop_all(self) -> None:
        """The phone is closed."""
        for subscription in list(self._all):
            subscription._machine.drop()
            subscription._over("probation")
        self._all.clear()
