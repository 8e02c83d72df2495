"""Requests from outside of any dialog, by method: each room of the phone that answers some has its line in one table.

INVITE, OPTIONS and CANCEL are the core's own; what stands in the table goes through the same checks (RFC 3261 §8.2) and is announced
in Allow. The table outlives the core, which is made anew at each start of the phone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flexosip.sip.agent import UserAgentCore
    from flexosip.sip.message import Request
    from flexosip.sip.server_transaction import ServerTransaction

__all__ = ["RequestHandler", "RequestTable"]

RequestHandler = Callable[["Request", "ServerTransaction"], None]
"""Answers a request, at once or within 32 s."""


class RequestTable:
    """Who answers which method outside of dialogs."""

    def __init__(self) -> None:
        self._handlers: dict[str, RequestHandler] = {}
        self._core: UserAgentCore | None = None

    def attach(self, core: UserAgentCore) -> None:
        """Serve `core` from now on; what was added before and what will be added counts."""
        self._core = core
        core.on_other = self.dispatch
        for method in self._handlers:
            self._announce(core, method)

    def handle(self, method: str, handler: RequestHandler) -> None:
        """Let `handler` answer `method`; it replaces an earlier one. From now on Allow has the method, within dialogs too."""
        self._handlers[method] = handler
        if self._core is not None:
            self._announce(self._core, method)

    def _announce(self, core: UserAgentCore, method: str) -> None:
        if method == "MESSAGE":
            # The core looks at the type of its body first (415).
            core.on_message = self._handlers[method]
        else:
            core.extra_methods |= {method}

    def dispatch(self, request: Request, transaction: ServerTransaction) -> bool:
        """Hand `request` to its handler; False if there is none."""
        handler = self._handlers.get(request.method)
        if handler is None:
            return False
        handler(request, transaction)
        return True
