"""The timers of transactions and dialogs, in seconds.

RFC 3261 table 4, RFC 6026 §7, RFC 4320 §4
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Timers"]


@dataclass(frozen=True, slots=True)
class Timers:
    """T1, T2, T4 and what follows from them. All in seconds."""

    t1: float = 0.5
    """Estimate of the round trip: first retransmission interval."""
    t2: float = 4.0
    """Longest retransmission interval of requests other than INVITE and of responses to INVITE."""
    t4: float = 5.0
    """How long a message can stay in the network."""
    d: float = 32.0
    """Timer D: how long an INVITE client transaction absorbs repeated failure responses over UDP."""
    linger_resolution: float = 0.1
    """Absorbing states of a busy stack end up to this much late, so that they end in batches."""

    @property
    def long(self) -> float:
        """64*T1: timers B, F, H, J, L, M and the life of an unacknowledged 2xx."""
        return 64 * self.t1

    @property
    def trying_after(self) -> float:
        """When a client's Timer E reaches T2: not before, but then, a 100 answers a request other than INVITE (RFC 4320 §4.1)."""
        total, interval = 0.0, self.t1
        while interval < self.t2:
            total += interval
            interval *= 2
        return total
