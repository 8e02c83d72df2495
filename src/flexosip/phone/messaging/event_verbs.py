"""The verbs of a phone beside calls: text messages, subscriptions, states that it tells, presence, whether others are there.

`Phone` has them by inheritance; the work is done in the rooms named in the imports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, overload

from flexosip.errors import ConfigurationError
from flexosip.phone.dialling.options_query import OptionsResult, PeerWatch, PeerWatches, query_options
from flexosip.phone.events import Answered, EarlyMedia, Ended, Ringing
from flexosip.phone.messaging.info_packages import checked_packages
from flexosip.phone.messaging.messages import MessageHandler, Messages, send_message
from flexosip.phone.messaging.notifiers import Allow, Notifier, Notifiers, SubscribeHandler
from flexosip.phone.messaging.own_dialogs import own_dialogs
from flexosip.phone.messaging.publishing import PresencePublication, Publications
from flexosip.phone.messaging.subscriptions import Subscription, Subscriptions, subscribe
from flexosip.phone.messaging.watching import MessageWaiting, Watch

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.dialling.endings import HeaderArgument
    from flexosip.phone.phone import Phone
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.message import Response
    from flexosip.sip.presence import Presence
    from flexosip.sip.uri import SipUri

__all__ = ["EventVerbs"]


class EventVerbs:
    """Messages and events of a `Phone`."""

    _info_packages: frozenset[str] = frozenset()

    def _phone_itself(self) -> Phone:
        return self  # type: ignore[return-value]

    def configure_events(self, core: UserAgentCore) -> None:
        """Serve the core of a phone that starts."""
        core.info_packages = self._info_packages
        # The table of requests has a line for NOTIFY from the start: servers tell of messages unasked.
        _ = self.subscriptions
        self.notifiers.configure(core)
        self.messages.configure(core)

    @cached_property
    def messages(self) -> Messages:
        """Who gets text messages; for rooms of the library."""
        return Messages(self._phone_itself())

    @property
    def info_packages(self) -> frozenset[str]:
        """Names of the INFO packages that calls may bring (RFC 6086), told as Recv-Info; see `Call.on_info`. Set it before calling."""
        return self._info_packages

    @info_packages.setter
    def info_packages(self, packages: Iterable[str]) -> None:
        self._info_packages = checked_packages(packages)
        phone = self._phone_itself()
        if phone.running:
            phone.core.info_packages = self._info_packages

    @cached_property
    def subscriptions(self) -> Subscriptions:
        """What the phone follows; for rooms of the library."""
        return Subscriptions(self._phone_itself())

    @cached_property
    def notifiers(self) -> Notifiers:
        """What others may follow; for rooms of the library."""
        return Notifiers(self._phone_itself())

    @cached_property
    def publications(self) -> Publications:
        """The presence of the accounts; for rooms of the library."""
        return Publications(self._phone_itself())

    @cached_property
    def peers(self) -> PeerWatches:
        """Whom `qualify` asks; for rooms of the library."""
        return PeerWatches()

    def stop_events(self) -> None:
        """The phone closes: unsubscribe, tell subscribers, take presence away; what is then on its way is waited for by the closing."""
        self.peers.stop_all()
        self.subscriptions.stop_all()
        self.notifiers.stop_all()
        self.publications.stop_all()

    def drop_events(self) -> None:
        """The phone is closed."""
        self.subscriptions.drop_all()
        self.notifiers.drop_all()
        self.publications.drop_all()

    # -- who is there -------------------------------------------------------------------------------------------------

    async def options(
        self,
        target: str | SipUri,
        *,
        timeout: float | None = 10.0,
        headers: HeaderArgument = None,
        account: Account | str | None = None,
    ) -> OptionsResult:
        """Ask `target` whether it is there and what it can do (OPTIONS, RFC 3261 §11); nothing rings.

        Args:
            target: a phone or a server: `sip:HOST[:PORT]` asks the server itself.
            timeout: seconds; None: until SIP gives up, 32 s over UDP.
            headers: headers of your own.

        Returns:
            What it says: `status`, `round_trip` in seconds, `allow`, `supported`, `server`... A phone that is there but would refuse a call
            now (do-not-disturb, busy) is a result too; then `available` is False.

        Raises:
            ServerUnreachable, NetworkError: no answer. AuthenticationError: the credentials are wrong. OptionsFailed: any other answer.
        """
        return await query_options(self._phone_itself(), target, timeout, headers, account)

    def qualify(
        self, target: str | SipUri, every: float = 30.0, *, timeout: float = 3.0, account: Account | str | None = None
    ) -> PeerWatch:
        """Ask `target` again and again whether it is there: enter it, then iterate over the changes, each a `PeerState`.

        Args:
            every: seconds from one question to the next, at least 1; one that did not answer is asked again after 10 s at the latest.
            timeout: seconds without an answer after which it counts as unreachable; at most `every`.
        """
        return PeerWatch(self._phone_itself(), target, every, timeout, account)

    # -- messages -----------------------------------------------------------------------------------------------------

    async def message(
        self,
        target: str | SipUri,
        text: str | bytes,
        *,
        content_type: str = "text/plain",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        account: Account | str | None = None,
    ) -> Response:
        """Send a text message (RFC 3428) and wait until it is delivered; the 2xx, 202 when it is stored for later.

        Args:
            text: the message; bytes for a body of your own, whose type is `content_type`. With its headers at most 1300 octets over UDP.

        Raises:
            MessageFailed, AuthenticationError, NetworkError: it was not delivered, and why. ConfigurationError: it is too long.
        """
        return await send_message(self._phone_itself(), target, text, content_type=content_type, headers=headers, account=account)

    @overload
    def on_message(self, handler: MessageHandler) -> MessageHandler: ...

    @overload
    def on_message(self, *, types: Iterable[str] = ("text/plain",)) -> Callable[[MessageHandler], MessageHandler]: ...

    def on_message(self, handler: MessageHandler | None = None, *, types: Iterable[str] = ("text/plain",)) -> Any:
        """Decorator: `handler(message)` gets each text message, outside of calls and within; it may be `async def`.

        A plain function may return the status of the answer, 202 or 403 for example; the answer is 200 otherwise, and at once for an
        `async def`.

        Args:
            types: media types that it understands, for example `("text/plain", "application/json")`; `"*/*"`: all. Others get 415.
        """

        def register(handler: MessageHandler) -> MessageHandler:
            self.messages.set_handler(handler, types)
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
        """Follow a state of `target` (RFC 6665): enter or await the `Subscription`, then iterate over its `Notification`s.

        Args:
            event: the event package, with an id or parameters if need be: `dialog;id=3`.
            accept: media types of the states that are understood; None: those of `message-summary`, `dialog` and `presence`, any else.
            expires: seconds to ask for; it is renewed in time. 0 fetches the present state once.

        Raises:
            SubscriptionFailed, AuthenticationError, NetworkError: when entered: it is refused, and why. Later failures are tried again.
        """
        return subscribe(self._phone_itself(), target, event, accept, expires, account)

    def watch(self, target: str | SipUri, *, expires: float = 3600, account: Account | str | None = None) -> Watch:
        """A lamp for a line (busy lamp field, RFC 4235): enter it, then iterate over its `LineState`s.

        Raises:
            SubscriptionFailed, AuthenticationError, NetworkError: when entered: it is refused, and why.
        """
        return Watch(self._phone_itself(), subscribe(self._phone_itself(), target, "dialog", None, expires, account))

    def message_waiting(
        self, target: str | SipUri | None = None, *, expires: float = 3600, account: Account | str | None = None
    ) -> MessageWaiting:
        """A lamp for a mailbox (RFC 3842): enter it, then iterate over its `MessageSummary`s.

        Args:
            target: the mailbox; None: that of the account, which may also be told without a subscription.

        Raises:
            SubscriptionFailed, AuthenticationError, NetworkError: when entered: it is refused, and why.
        """
        phone = self._phone_itself()
        chosen = phone.find_account(account)
        if target is None and chosen is None:
            raise ConfigurationError("message_waiting(): name the mailbox, this phone has no account that could have one.")
        box = target if target is not None or chosen is None else chosen.aor
        assert box is not None
        subscription = subscribe(phone, box, "message-summary", None, expires, account)
        return MessageWaiting(phone, subscription, chosen if target is None else None)

    # -- states of our own --------------------------------------------------------------------------------------------

    def on_subscribe(self, event: str) -> Callable[[SubscribeHandler], SubscribeHandler]:
        """Decorator: `handler(subscription)` gets each `IncomingSubscription` to that event package; it may be `async def`.

        It tells states with `notify`, or refuses with `reject`; what it has not decided when it returns is accepted. Without any
        handler or notifier SUBSCRIBE is refused.
        """

        def register(handler: SubscribeHandler) -> SubscribeHandler:
            self.notifiers.handle(event, handler)
            return handler

        return register

    def notifier(self, event: str, *, allow: Allow | None = None) -> Notifier:
        """Tell a state to all who subscribe to it: `dialog` is told by the phone itself, others with `Notifier.update`.

        `dialog` tells with whom this phone speaks, and what taking its calls over needs: think of who may know.

        Args:
            allow: `allow(subscription)` decides who may know; None: everybody whose requests are answered at all (`accept_from`).
        """
        phone = self._phone_itself()
        build = partial(own_dialogs, phone) if event == "dialog" else None
        notifier = Notifier(event, self.notifiers.own_type(event), allow, build)
        self.notifiers.handle(event, notifier.receive)
        if event == "dialog":
            phone.on_call_event(lambda call, happened: notifier.tell() if isinstance(happened, _TOLD) else None)
        return notifier

    async def publish_presence(
        self,
        state: bool | Presence,
        *,
        note: str | None = None,
        activity: str | None = None,
        expires: float = 3600,
        account: Account | str | None = None,
    ) -> PresencePublication:
        """Publish the presence of an account at its server (RFC 3903) and wait until it is there; it is renewed in time.

        Args:
            state: True reachable, False not, or a whole `Presence`.
            note: text for people. activity: a word of RFC 4480 such as `on-the-phone`, `away`, `busy`, `meeting`.

        Raises:
            PublicationFailed, AuthenticationError, NetworkError: the server does not take it, and why.
        """
        return await self.publications.publish(state, note, activity, expires, account)


_TOLD = (Answered, Ended, Ringing, EarlyMedia)
