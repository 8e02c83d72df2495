"""The verbs of a phone beside calls: text messages, subscriptions, states that it tells, presence.

`Phone` has them by inheritance; the work is done in the rooms named in the imports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from flexosip.phone.info_packages import checked_packages
from flexosip.phone.messages import MessageHandler, Messages, send_message

if TYPE_CHECKING:
    from flexosip.phone.account import Account
    from flexosip.phone.phone import Phone
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.message import Response
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
