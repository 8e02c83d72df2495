"""The other servers of a next hop, as the user agent core asks for them, and as the accounts learn of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flexosip.phone.signalling import Signalling
    from flexosip.sip.flow import Flow
    from flexosip.sip.uri import SipUri

__all__ = ["AccountServers"]


class AccountServers:
    """What `flexosip.sip.failover.OtherServers` asks for: the driver, but an account learns that its server has moved.

    Args:
        signalling: the phone's machinery.
    """

    def __init__(self, signalling: Signalling) -> None:
        self._signalling = signalling

    def has_other(self, uri: SipUri, tried: Collection[Flow]) -> bool:
        """Whether there seems to be another server."""
        return self._signalling.driver.has_other(uri, tried)

    def is_first(self, uri: SipUri, flow: Flow) -> bool:
        """Whether `flow` leads to the server that comes first."""
        return self._signalling.driver.is_first(uri, flow)

    def locate_next(self, uri: SipUri, size: int, tried: Collection[Flow], done: Callable[[Flow | None, Exception | None], None]) -> None:
        """Find the flow to another server; calls from there are trusted as those of the first are."""
        self._signalling.driver.locate_next(uri, size, tried, self._signalling.noting(uri, done))

    def server_failed(self, flow: Flow, seconds: float | None = None) -> None:
        """Try that server last for some time."""
        self._signalling.driver.server_failed(flow, seconds)
