"""Following a 3xx: the call goes on to the addresses that the other side named, one after the other.

At most five, none twice, credentials for our own server only. A refused target leads to the next one; 6xx ends the search.

RFC 3261 §8.1.3.4, §19.1.5, §21.3
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flexosip.errors import CallBarred, ConfigurationError
from flexosip.phone.dialling.targets import target_uri
from flexosip.phone.events import Redirected
from flexosip.sip.grammar import find_parameter
from flexosip.sip.headers import NameAddr
from flexosip.sip.uri import SipUri, TelUri

if TYPE_CHECKING:
    from flexosip.phone.session import CallSession
    from flexosip.sip.message import Response

__all__ = ["MOST_REDIRECTS", "Redirects", "Target"]

logger = logging.getLogger(__name__)

MOST_REDIRECTS = 5
"""INVITEs that one call sends after its first: what goes in circles ends."""
_FOLLOWED = frozenset({300, 301, 302, 305})
"""380 names services, not addresses (RFC 3261 §21.3.5)."""
_MOST_CONTACTS = 20


@dataclass(frozen=True, slots=True)
class Target:
    """Where to call next."""

    uri: SipUri
    """The Request-URI."""
    proxy: SipUri | None
    """The proxy to go through (305), or None."""
    status: int
    """Of the response that named it."""

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two targets the same."""
        uri, proxy = self.uri, self.proxy
        way = (proxy.host.lower(), proxy.port) if proxy is not None else None
        return (uri.scheme, uri.user, uri.host.lower(), uri.port, uri.transport, way)


class Redirects:
    """The targets of one outgoing call.

    Args:
        session: the call.
        first: what was dialled.
        call: sends the INVITE to a target.
    """

    def __init__(self, session: CallSession, first: SipUri, call: Callable[[Target], None]) -> None:
        self._session = session
        self._secure = first.scheme == "sips"
        self._call = call
        self._current = Target(first, None, 0)
        self._seen = {self._current.key}
        self._waiting: list[Target] = []
        self._followed = 0

    def follow(self, status: int, response: Response | None) -> bool:
        """True if the call goes on elsewhere after this final response, or after none (408, 503)."""
        if status in _FOLLOWED and response is not None:
            self._collect(status, response)
        elif status >= 600 or status < 400:
            return False
        while self._waiting and self._followed < MOST_REDIRECTS:
            target = self._waiting.pop(0)
            self._followed += 1
            self._current = target
            session = self._session
            try:
                session.phone.check_outgoing(target.uri, session.account)
            except CallBarred as error:
                # What may not be called may not be called by being sent there either.
                logger.warning("%s: not followed to %s: %s", session.label, target.uri, error)
                continue
            session.emit(Redirected(session.loop.time(), str(target.uri), target.status))
            session.offers.next_target()
            self._call(target)
            return True
        return False

    def _collect(self, status: int, response: Response) -> None:
        found: list[tuple[float, Target]] = []
        for contact in response.contacts[:_MOST_CONTACTS]:
            uri = self._usable(contact)
            if uri is None:
                continue
            # 305: the same address once more, through the proxy that is named.
            target = Target(self._current.uri, uri, status) if status == 305 else Target(uri, None, status)
            if target.key not in self._seen:
                self._seen.add(target.key)
                found.append((_quality(contact), target))
        found.sort(key=lambda item: -item[0])
        # Nearer news first: what the redirected phone names is tried before the rest of an older list.
        self._waiting[:0] = [target for _, target in found]

    def _usable(self, contact: NameAddr) -> SipUri | None:
        uri = contact.uri
        if isinstance(uri, TelUri):
            try:
                uri = target_uri(str(uri), self._session.account)
            except ConfigurationError as error:
                logger.info("%s: not followed to %s: %s", self._session.label, contact.uri, error)
                return None
        if not isinstance(uri, SipUri) or (self._secure and uri.scheme != "sips"):
            # What was to be called over TLS is not called in clear because somebody says so.
            logger.info("%s: not followed to %s", self._session.label, contact.uri)
            return None
        # Headers and a method in a Contact would let a stranger write our INVITE (RFC 3261 §19.1.5).
        return SipUri(uri.scheme, uri.user, uri.host, uri.port, parameters=uri.without_parameters("method").parameters)


def _quality(contact: NameAddr) -> float:
    """q of a Contact, 1 when absent or odd (RFC 3261 §20.10)."""
    value = (find_parameter(contact.parameters, "q") or ("", None))[1]
    try:
        return min(1.0, max(0.0, float(value))) if value is not None and len(value) <= 5 else 1.0
    except ValueError:
        return 1.0
