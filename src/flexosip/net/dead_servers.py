"""Servers that failed lately, each with the time until which others are tried before it (RFC 3263 §4.3)."""

from __future__ import annotations

from collections.abc import Callable

from flexosip.net.address import Address

__all__ = ["DeadServers"]

_LIFE = 30.0
"""Seconds; Timer B or F, as RFC 3263 §4.3 proposes."""
_LONGEST = 3600.0
"""Seconds that a server may send us away for: a damaged Retry-After must not cost its service for days."""
_REMEMBERED = 1024


class DeadServers:
    """A bounded memory of addresses.

    Args:
        time: the clock, seconds.
    """

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._until: dict[Address, float] = {}

    def add(self, remote: Address, seconds: float = _LIFE) -> None:
        """Remember `remote` for some time; never for a shorter one than before."""
        if len(self._until) >= _REMEMBERED:
            self._until.clear()
        self._until[remote] = max(self._until.get(remote, 0.0), self._time() + min(seconds, _LONGEST))

    def discard(self, remote: Address) -> None:
        """It has answered."""
        self._until.pop(remote, None)

    def clear(self) -> None:
        """Forget all of them."""
        self._until.clear()

    def __contains__(self, remote: Address) -> bool:
        return self._until.get(remote, 0.0) > self._time()
