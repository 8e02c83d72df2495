"""Addresses of names, remembered: each name is asked for once at a time, and the last good addresses serve while nobody answers."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flexosip.errors import NetworkError
from flexosip.net.address import canonical_ip

if TYPE_CHECKING:
    from flexosip.net.network import Network

__all__ = ["Names"]

logger = logging.getLogger(__name__)

_LIFE = 30.0
"""Seconds for which an address is believed: the system does not tell how long it is good."""
_STALE_LIFE = 86400.0
_REMEMBERED = 1024
_MOST_ADDRESSES = 20


@dataclass(slots=True)
class _Known:
    addresses: list[str]
    until: float
    good_at: float


class Names:
    """The addresses of names.

    Args:
        network: asks the system.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._known: dict[str, _Known] = {}
        self._lookups: dict[str, asyncio.Task[list[str]]] = {}

    def addresses_now(self, host: str) -> list[str] | None:
        """The addresses if nobody has to be asked."""
        if canonical_ip(host) is not None:
            return [host]
        known = self._known.get(host)
        return known.addresses if known is not None and known.until > self._network.time() else None

    def remembered(self, host: str) -> list[str] | None:
        """The latest addresses, however old; None if there never were any."""
        if canonical_ip(host) is not None:
            return [host]
        known = self._known.get(host)
        return known.addresses if known is not None else None

    async def addresses(self, host: str) -> list[str]:
        """The numeric addresses of `host`, the system's best first.

        Raises:
            NetworkError: the name is unknown, or no name server answers and none ever did.
        """
        known = self.addresses_now(host)
        if known is not None:
            return known
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = self._lookups[host] = asyncio.get_running_loop().create_task(self._look_up(host))
            lookup.add_done_callback(lambda done: self._done(host, done))
        return await asyncio.shield(lookup)

    def forget(self) -> None:
        """Ask again from now on: the network has changed. What was good stays known in case that nobody answers."""
        for known in self._known.values():
            known.until = 0.0

    @property
    def tasks(self) -> tuple[asyncio.Task[Any], ...]:
        """Look-ups under way."""
        return tuple(self._lookups.values())

    def _done(self, host: str, task: asyncio.Task[list[str]]) -> None:
        self._lookups.pop(host, None)
        if not task.cancelled():
            task.exception()  # those who wait for it get it; if all of them were cancelled, nobody needs it

    async def _look_up(self, host: str) -> list[str]:
        try:
            addresses = await self._network.resolve(host)
        except NetworkError as error:
            now, known = self._network.time(), self._known.get(host)
            if known is None or now - known.good_at > _STALE_LIFE:
                raise
            # One answer that a name does not exist is no proof that its servers have gone: resolvers fail in that way too.
            logger.warning("%s The last good addresses of it are used.", error)
            known.until = now + _LIFE
            return known.addresses
        now, known = self._network.time(), self._known.get(host)
        addresses = addresses[:_MOST_ADDRESSES]
        if known is not None and set(known.addresses) == set(addresses):
            addresses = known.addresses  # name servers that turn the order must not make us wander
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[host] = _Known(addresses, now + _LIFE, now)
        return addresses
