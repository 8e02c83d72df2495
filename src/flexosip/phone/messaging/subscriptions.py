"""Subscriptions of a phone to states elsewhere: a mailbox, a line, somebody's presence, or any event package (RFC 6665).

`Phone.subscribe` makes a `Subscription`; `flexosip.phone.messaging.watching` builds lamps and mailboxes on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from flexosip.errors import ConfigurationError, FlexosipError, RemoteProtocolError, SubscriptionFailed
from flexosip.phone.account import lacks_credentials
from flexosip.phone.messaging.outside import failure, route_to
from flexosip.phone.values import checked_media_type
from flexosip.sip import subscription as machine
from flexosip.sip.dialog_info import DIALOG_INFO, DialogInfo
from flexosip.sip.event_headers import Event
from flexosip.sip.grammar import SipParseError
from flexosip.sip.message_summary import MESSAGE_SUMMARY, MessageSummary
from flexosip.sip.presence import PIDF, Presence
from flexosip.sip.subscription import SubscriptionPhase

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.phone import Phone
    from flexosip.sip.flow import Flow
    from flexosip.sip.headers import Headers
    from flexosip.sip.message import Request
    from flexosip.sip.server_transaction import ServerTransaction
    from flexosip.sip.uri import SipUri

__all__ = ["Notification", "Subscription", "Subscriptions", "parse_state"]

logger = logging.getLogger(__name__)

_KEPT = 256
"""Notifications that wait for a reader; of more the oldest are dropped, as states they are stale."""
_PARSERS: dict[str, Callable[[bytes], Any]] = {
    MESSAGE_SUMMARY: MessageSummary.parse,
    DIALOG_INFO: DialogInfo.parse,
    PIDF: Presence.parse,
}
_USUAL = {"message-summary": (MESSAGE_SUMMARY,), "dialog": (DIALOG_INFO,), "presence": (PIDF,)}


def parse_state(content_type: str | None, body: bytes) -> Any:
    """The value of a body: a `MessageSummary`, `DialogInfo` or `Presence`; None for other types and no body.

    Raises:
        SipParseError: it is malformed.
    """
    parse = _PARSERS.get(content_type or "")
    return parse(body) if parse is not None and body else None


@dataclass(frozen=True, slots=True)
class Notification:
    """A state that was told."""

    event: str
    """The event package."""
    state: str
    """Of the subscription: `active`, `pending` or `terminated`."""
    content_type: str | None
    body: bytes
    parsed: Any
    """A `MessageSummary`, `DialogInfo` or `Presence`; None for other types."""
    reason: str | None = None
    """Why it is terminated (RFC 6665 §4.1.3)."""
    notifier: str = ""
    """Tells notifiers apart, when a proxy has reached several, and a subscription from the one that took its place."""
    headers: Headers | None = None


class Subscription:
    """A subscription, made by `Phone.subscribe`. It starts when it is entered, awaited or read, and is renewed until its `async with`
    block is left, `unsubscribe` is called or the phone is closed.

    `async for notification in subscription` ends when the other side ends it for good, or we do. States that come while nobody
    reads are kept, at most 256.
    """

    def __init__(
        self, phone: Phone, target: str | SipUri, event: Event, accept: tuple[str, ...], expires: int, account: Account | str | None
    ) -> None:
        self.event = event
        self.latest: Notification | None = None
        """The latest that came with a body."""
        self.dropped = 0
        """Notifications that nobody read in time."""
        self._phone = phone
        self._target = target
        self._accept = accept
        self._expires = expires
        self._account = account
        self._machine: machine.Subscription | None = None
        self._waiting: deque[Notification] = deque()
        self._changed: asyncio.Future[None] | None = None
        self._failure: FlexosipError | None = None
        self._told = False
        self.on_notification: Callable[[Notification], None] | None = None
        self.on_phase: Callable[[str], None] | None = None

    def __repr__(self) -> str:
        return f"<Subscription {self.event.package} of {self._target} {self.state}>"

    @property
    def state(self) -> str:
        """`idle`, `subscribing`, `pending`, `active`, `waiting` (for the next try), `ending` or `terminated`."""
        return str(self._machine.phase) if self._machine is not None else "idle"

    @property
    def failure(self) -> FlexosipError | None:
        """Why the latest try has failed; None while it is well."""
        return self._failure

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Subscribe; harmless when it runs.

        Raises:
            ConfigurationError: the target means nothing. InvalidState: the phone is closed.
        """
        if self._machine is not None:
            return
        phone = self._phone
        route = route_to(phone, self._target, self._account)
        account = route.account
        accept = (("Accept", ", ".join(self._accept)),) if self._accept else ()
        self._machine = machine.Subscription(
            phone.core,
            target=route.uri,
            next_hop=route.hop,
            event=self.event,
            from_=route.identity,
            contact=route.contact,
            auth=route.auth,
            expires=self._expires,
            headers=(*phone.standard_headers, *accept),
            routes=(lambda: account.route) if account is not None and route.routes else tuple,
            on_notify=self._on_notify,
            on_change=self._on_change,
        )
        phone.subscriptions.add(self)
        self._machine.start()

    def __await__(self) -> Generator[Any, None, Subscription]:
        return self._establish().__await__()

    async def __aenter__(self) -> Subscription:
        return await self._establish()

    async def __aexit__(self, *exc: object) -> None:
        await self.unsubscribe()

    async def _establish(self) -> Subscription:
        self.start()
        try:
            while not self._told:
                if self._failure is not None:
                    raise self._failure
                if self.state == "terminated":
                    raise SubscriptionFailed(f"{self._subject} is over: the phone was closed.")
                await self._change()
        except BaseException:
            self._abandon()
            raise
        return self

    async def unsubscribe(self, timeout: float = 2.0) -> None:
        """End it; returns with the last notification, or after `timeout` seconds, while the rest goes on by itself."""
        if self._machine is None:
            return
        self._machine.stop()
        try:
            async with asyncio.timeout(timeout):
                while self.state != "terminated":
                    await self._change()
        except TimeoutError:
            logger.info("%s: no last notification within %g s", self._subject, timeout)

    def refresh(self) -> None:
        """Ask for the present state; it comes as a notification."""
        if self._machine is not None:
            self._machine.refresh()

    def _abandon(self) -> None:
        if self._machine is not None and self._phone.running:
            self._machine.stop()

    # -- reading ------------------------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Notification]:
        return self

    async def __anext__(self) -> Notification:
        self.start()
        while not self._waiting:
            if self.state == "terminated":
                raise StopAsyncIteration
            await self._change()
        return self._waiting.popleft()

    async def _change(self) -> None:
        if self._changed is None or self._changed.done():
            self._changed = self._phone.loop.create_future()
        # One future for all who wait: cancelling one of them must not cancel the others' wait.
        await asyncio.wait((self._changed,))

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    # -- what the machine tells ---------------------------------------------------------------------------------------

    def _on_notify(self, notify: machine.Notify) -> None:
        request = notify.request
        content_type = request.content_type
        self._told = True
        self._wake()
        if request.body and self._accept and content_type not in self._accept:
            raise SipParseError("A state of a type that was not asked for", status_hint=415)
        notification = Notification(
            notify.event.package,
            notify.state.state,
            content_type,
            request.body,
            parse_state(content_type, request.body),
            notify.state.reason,
            notify.notifier,
            request.headers,
        )
        if request.body:
            self.latest = notification
        if len(self._waiting) >= _KEPT:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(notification)
        if self.on_notification is not None:
            self.on_notification(notification)

    def _on_change(self, change: machine.SubscriptionChange) -> None:
        logger.info("%s: %s %s", self._subject, change.phase, f"{change.status or ''} {change.reason}".strip())
        if change.phase in (SubscriptionPhase.PENDING, SubscriptionPhase.ACTIVE):
            self._failure = None
        elif change.status and change.status != 200:
            answered = change.status != 408 and change.error is None
            self._failure = failure(
                SubscriptionFailed,
                self._subject,
                change.status,
                change.reason,
                answered=answered,
                error=change.error,
                lacks=lacks_credentials(self._phone.find_account(self._account)),
            )
        if change.phase is SubscriptionPhase.TERMINATED:
            self._phone.subscriptions.discard(self)
        if self.on_phase is not None:
            self.on_phase(str(change.phase))
        self._wake()

    @property
    def _subject(self) -> str:
        return f"The subscription to {self.event.package} of {self._target}"

    def drop(self) -> None:
        """The phone is closed."""
        if self._machine is not None:
            self._machine.drop()
        if self.on_phase is not None:
            self.on_phase("terminated")
        self._wake()


class Subscriptions:
    """The subscriptions of one phone, and the states that servers tell without being asked."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._all: set[Subscription] = set()
        self.mailboxes: dict[Account, MessageSummary] = {}
        """What servers have told of mailboxes, by account."""
        self._listeners: list[Callable[[Account, MessageSummary], None]] = []
        self.followers: WeakSet[Any] = WeakSet()
        """Lamps, which are told when the phone is closed."""
        phone.requests.handle("NOTIFY", self.receive)

    def __len__(self) -> int:
        return len(self._all)

    def add(self, subscription: Subscription) -> None:
        """It has started."""
        self._all.add(subscription)

    def discard(self, subscription: Subscription) -> None:
        """It is over."""
        self._all.discard(subscription)

    def listen(self, listener: Callable[[Account, MessageSummary], None]) -> Callable[[], None]:
        """Call `listener` with each summary of a mailbox that comes without a subscription; what is returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def receive(self, request: Request, transaction: ServerTransaction) -> None:
        """A NOTIFY outside of any dialog: many a PBX tells of new messages so. Any other comes out of thin air (481).

        Only the account's own server is heard.
        """
        account = next((account for account in self._phone.accounts if account.trusts(transaction.flow)), None)
        event = Event.of(request.headers)
        if event is None or (account is not None and event.package != "message-summary"):
            transaction.respond(request.create_response(489, headers=(("Allow-Events", "message-summary"),)))
            return
        if account is None:
            transaction.respond(request.create_response(481))
            return
        called = self._phone.account_called(request, transaction.flow)
        if called is not None and called.trusts(transaction.flow):
            account = called
        if request.content_type != MESSAGE_SUMMARY:
            transaction.respond(request.create_response(415, headers=(("Accept", MESSAGE_SUMMARY),)))
            return
        summary = MessageSummary.parse(request.body)
        transaction.respond(request.create_response(200))
        self.mailboxes[account] = summary
        for listener in list(self._listeners):
            listener(account, summary)

    def flow_lost(self, flow: Flow) -> None:
        """A connection is gone."""
        for running in self._machines():
            running.flow_lost(flow)

    def network_changed(self, has_left: Callable[[Flow], bool], *, slept: bool) -> None:
        """The network, or our address in it, is another one, or the machine has slept."""
        for running in self._machines():
            running.network_changed(has_left, slept=slept)

    def _machines(self) -> list[machine.Subscription]:
        return [subscription._machine for subscription in self._all if subscription._machine is not None]

    def stop_all(self) -> None:
        """The phone closes: unsubscribe from everything; the last notifications are waited for by whoever closes."""
        for running in self._machines():
            running.stop()

    def drop_all(self) -> None:
        """The phone is closed."""
        for subscription in list(self._all):
            subscription.drop()
        for follower in list(self.followers):
            follower.phone_closed()
        self._all.clear()
        self.mailboxes.clear()


def checked_event(event: str) -> Event:
    """An event package named by the program, with an id or parameters: `dialog;id=3`.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        return Event.parse(event)
    except RemoteProtocolError as error:
        raise ConfigurationError(f"event={event!r}: an event package is a name such as message-summary, dialog or presence.") from error


def subscribe(
    phone: Phone, target: str | SipUri, event: str, accept: str | tuple[str, ...] | None, expires: float, account: Account | str | None
) -> Subscription:
    """See `Phone.subscribe`."""
    if expires < 0 or expires > 2**31:
        raise ConfigurationError(f"expires={expires}: a subscription lasts 0 (fetch the state once) or more seconds.")
    package = checked_event(event)
    types = _USUAL.get(package.package, ()) if accept is None else (accept,) if isinstance(accept, str) else tuple(accept)
    types = tuple(checked_media_type(name).strip().lower() for name in types)
    phone.find_account(account)
    return Subscription(phone, target, package, types, int(expires), account)
