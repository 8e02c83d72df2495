"""The verbs beside calls for threads: those of `flexosip.phone.messaging.event_verbs` without `await`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, overload

from flexosip.phone.messaging.messages import Message
from flexosip.phone.messaging.notifiers import Allow
from flexosip.phone.messaging.notifiers import IncomingSubscription as AsyncIncomingSubscription
from flexosip.sync.call import HeaderArgument
from flexosip.sync.subscriptions import IncomingSubscription, MessageWaiting, Notifier, PeerWatch, PresencePublication, Subscription, Watch

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.dialling.options_query import OptionsResult
    from flexosip.phone.dialling.options_query import PeerWatch as AsyncPeerWatch
    from flexosip.phone.messaging.subscriptions import Subscription as AsyncSubscription
    from flexosip.phone.messaging.watching import MessageWaiting as AsyncMessageWaiting
    from flexosip.phone.messaging.watching import Watch as AsyncWatch
    from flexosip.phone.phone import Phone as AsyncPhone
    from flexosip.sip.message import Response
    from flexosip.sip.presence import Presence
    from flexosip.sip.uri import SipUri
    from flexosip.sync.portal import Portal

__all__ = ["EventVerbs"]

MessageHandler = Callable[[Message], Any]
SubscribeHandler = Callable[[IncomingSubscription], Any]


class EventVerbs:
    """Messages and events of a phone for threads."""

    if TYPE_CHECKING:
        _phone: AsyncPhone
        _portal_or_none: Portal | None

        @property
        def _portal(self) -> Portal: ...

    @property
    def info_packages(self) -> frozenset[str]:
        """Names of the INFO packages that calls may bring (RFC 6086); see `Call.on_info`. Set it before calling."""
        return self._phone.info_packages

    @info_packages.setter
    def info_packages(self, packages: Iterable[str]) -> None:
        self._phone.info_packages = packages

    def options(
        self,
        target: str | SipUri,
        *,
        timeout: float | None = 10.0,
        headers: HeaderArgument = None,
        account: Account | str | None = None,
    ) -> OptionsResult:
        """Ask `target` whether it is there and what it can do (OPTIONS, RFC 3261 §11); nothing rings.

        Raises:
            ServerUnreachable, NetworkError: no answer. AuthenticationError: the credentials are wrong. OptionsFailed: any other answer.
        """
        return self._portal.run(self._phone.options(target, timeout=timeout, headers=headers, account=account))

    def qualify(
        self, target: str | SipUri, every: float = 30.0, *, timeout: float = 3.0, account: Account | str | None = None
    ) -> PeerWatch:
        """Ask `target` again and again whether it is there, and wait for the first answer; iterate over it for the changes."""

        async def work() -> AsyncPeerWatch:
            return await self._phone.qualify(target, every, timeout=timeout, account=account)

        return PeerWatch(self._portal, self._portal.run(work()))

    def message(
        self,
        target: str | SipUri,
        text: str | bytes,
        *,
        content_type: str = "text/plain",
        headers: HeaderArgument = None,
        account: Account | str | None = None,
    ) -> Response:
        """Send a text message (RFC 3428) and wait until it is delivered; the 2xx.

        Raises:
            MessageFailed, AuthenticationError, NetworkError: it was not delivered, and why. ConfigurationError: it is too long.
        """
        return self._portal.run(self._phone.message(target, text, content_type=content_type, headers=headers, account=account))

    @overload
    def on_message(self, handler: MessageHandler) -> MessageHandler: ...

    @overload
    def on_message(self, *, types: Iterable[str] = ("text/plain",)) -> Callable[[MessageHandler], MessageHandler]: ...

    def on_message(self, handler: MessageHandler | None = None, *, types: Iterable[str] = ("text/plain",)) -> Any:
        """Decorator: `handler(message)` runs in a thread of its own for each text message, which is answered 200 at once."""

        def register(handler: MessageHandler) -> MessageHandler:
            async def run(message: Message) -> None:
                await self._portal.in_thread(handler, message)

            self._phone.on_message(types=types)(run)
            return handler

        return register if handler is None else register(handler)

    # -- states elsewhere ---------------------------------------------------------------------------------------------

    def subscribe(
        self,
        target: str | SipUri,
        event: str = "message-summary",
        *,
        accept: str | tuple[str, ...] | None = None,
        expires: float = 3600,
        account: Account | str | None = None,
    ) -> Subscription:
        """Follow a state of `target` and wait for the first notification; then iterate over the `Subscription`.

        Raises:
            SubscriptionFailed, AuthenticationError, NetworkError: it is refused, and why.
        """

        async def work() -> AsyncSubscription:
            return await self._phone.subscribe(target, event, accept=accept, expires=expires, account=account)

        return Subscription(self._portal, self._portal.run(work()))

    def watch(self, target: str | SipUri, *, expires: float = 3600, account: Account | str | None = None) -> Watch:
        """A lamp for a line (busy lamp field, RFC 4235); iterate over it for the changes.

        Raises:
            SubscriptionFailed, AuthenticationError, NetworkError: it is refused, and why.
        """

        async def work() -> AsyncWatch:
            return await self._phone.watch(target, expires=expires, account=account)

        return Watch(self._portal, self._portal.run(work()))

    def message_waiting(
        self, target: str | SipUri | None = None, *, expires: float = 3600, account: Account | str | None = None
    ) -> MessageWaiting:
        """A lamp for a mailbox (RFC 3842); iterate over it for the changes.

        Raises:
            SubscriptionFailed, AuthenticationError, NetworkError: it is refused, and why.
        """

        async def work() -> AsyncMessageWaiting:
            return await self._phone.message_waiting(target, expires=expires, account=account)

        return MessageWaiting(self._portal, self._portal.run(work()))

    # -- states of our own --------------------------------------------------------------------------------------------

    def on_subscribe(self, event: str) -> Callable[[SubscribeHandler], SubscribeHandler]:
        """Decorator: `handler(subscription)` runs in a thread of its own for each `IncomingSubscription` to that event package."""

        def register(handler: SubscribeHandler) -> SubscribeHandler:
            async def run(subscription: AsyncIncomingSubscription) -> None:
                await self._portal.in_thread(handler, IncomingSubscription(self._portal, subscription))

            self._phone.on_subscribe(event)(run)
            return handler

        return register

    def notifier(self, event: str, *, allow: Allow | None = None) -> Notifier:
        """Tell a state to all who subscribe to it; `allow` is asked in the phone's thread and must not block."""
        portal = self._portal_or_none
        make = self._phone.notifier
        native = make(event, allow=allow) if portal is None else portal.call(make, event, allow=allow)
        return Notifier(lambda: self._portal_or_none, native)

    def publish_presence(
        self,
        state: bool | Presence,
        *,
        note: str | None = None,
        activity: str | None = None,
        expires: float = 3600,
        account: Account | str | None = None,
    ) -> PresencePublication:
        """Publish the presence of an account at its server (RFC 3903) and wait until it is there.

        Raises:
            PublicationFailed, AuthenticationError, NetworkError: the server does not take it, and why.
        """
        work = self._phone.publish_presence(state, note=note, activity=activity, expires=expires, account=account)
        return PresencePublication(self._portal, self._portal.run(work))
