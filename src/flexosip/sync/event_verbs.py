"""The verbs beside calls for threads: those of `flexosip.phone.event_verbs` without `await`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, overload

from flexosip.phone.messages import Message
from flexosip.sync.call import HeaderArgument

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.phone import Phone as AsyncPhone
    from flexosip.sip.message import Response
    from flexosip.sip.uri import SipUri
    from flexosip.sync.portal import Portal

__all__ = ["EventVerbs"]

MessageHandler = Callable[[Message], Any]


class EventVerbs:
    """Messages and events of a phone for threads."""

    if TYPE_CHECKING:
        _phone: AsyncPhone

        @property
        def _portal(self) -> Portal: ...

    @property
    def info_packages(self) -> frozenset[str]:
        """Names of the INFO packages that calls may bring (RFC 6086); see `Call.on_info`. Set it before calling."""
        return self._phone.info_packages

    @info_packages.setter
    def info_packages(self, packages: Iterable[str]) -> None:
        self._phone.info_packages = packages

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
