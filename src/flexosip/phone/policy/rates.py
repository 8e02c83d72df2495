"""Token buckets: how many new requests a source may bring, and when its messages are not even read."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

__all__ = ["SourceRate", "SourceRates", "TokenBucket", "source_key"]


class TokenBucket:
    """Tokens that come at a steady rate up to a burst.

    Args:
        rate: tokens a second.
        burst: the most there can be, and how many there are at the start.
        now: seconds of the caller's clock.
    """

    __slots__ = ("burst", "rate", "tokens", "updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = float(burst)
        self.updated = now

    def take(self, now: float, count: float = 1.0) -> bool:
        """Take `count` tokens; False, and none taken, if there are fewer."""
        if now > self.updated:
            self.tokens = min(self.burst, self.tokens + (now - self.updated) * self.rate)
            self.updated = now
        if self.tokens < count:
            return False
        self.tokens -= count
        return True

    def drain(self, count: float) -> None:
        """Take `count` tokens whether they are there or not: at worst so many have to come before there is one again."""
        self.tokens = max(-count, self.tokens - count)

    def give(self, count: float) -> None:
        """Put tokens back."""
        self.tokens = min(self.burst, self.tokens + count)

    def full_at(self, count: float = 1.0) -> float:
        """When there will be `count` tokens."""
        return self.updated + max(0.0, count - self.tokens) / self.rate


class SourceRate:
    """The rates of one source, or of all together: what is let in, what is refused with an answer, and what is not read.

    A message is read only while one of the first two has room, so that under a flood a source costs what its rate allows.
    """

    __slots__ = ("admitted", "closed_until", "refused", "within")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self.admitted = TokenBucket(rate, burst, now)
        self.refused = TokenBucket(rate, burst, now)
        self.within = TokenBucket(10 * rate, 10 * burst, now)
        """for what belongs to calls: ACK, BYE and the like, by a source whose new requests are not read"""
        self.closed_until = now
        """until then new requests of it are dropped unread"""

    def admit(self, now: float) -> bool:
        """One more new request; False if it is one too many."""
        return self.admitted.take(now)

    def refuse(self, now: float, aloud: bool) -> bool:
        """One was too many: whether it is answered. When it is not, nothing more is read until there is room again."""
        if aloud and self.refused.take(now):
            return True
        self.closed_until = self.admitted.full_at()
        return False


class SourceRates:
    """The rates of the latest sources; those that have been quiet longest are forgotten."""

    def __init__(self, rate: float, burst: int, most: int) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._sources: OrderedDict[str, SourceRate] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sources)

    def find(self, host: str) -> SourceRate | None:
        """The rates of a source that is known."""
        return self._sources.get(source_key(host) if ":" in host else host)

    def get(self, host: str, now: float) -> SourceRate:
        """The rates of a source."""
        key = source_key(host) if ":" in host else host
        known = self._sources.get(key)
        if known is None:
            known = self._sources[key] = SourceRate(self._rate, self._burst, now)
            if len(self._sources) > self._most:
                self._sources.popitem(last=False)
        else:
            self._sources.move_to_end(key)
        return known


def source_key(host: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 of an IPv6 address, which one subscriber owns as a whole."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
    return host
