"""The way between two addresses: delay, jitter, loss, duplicates and reordering, drawn from a seed of its own.

Each direction of each pair of addresses has its own random sequence, so what happens to one pair does not depend on what others send.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["Link", "LinkSettings", "Packet"]

_FIRST_RETRANSMISSION = 0.2
"""Seconds after which a stream sends a lost segment again (Linux's least RTO); doubled each time."""


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What a link does to packets; probabilities from 0 to 1, times in seconds."""

    loss: float = 0.0
    """Probability that a datagram vanishes. 1.0 cuts the link, for streams too."""
    duplicate: float = 0.0
    """Probability that a datagram arrives twice."""
    reorder: float = 0.0
    """Probability that a datagram is held back so that later ones overtake it."""
    delay: float = 0.01
    """Least time of a packet on its way, one way."""
    jitter: float = 0.0
    """Largest further delay, evenly distributed; it does not change the order by itself."""
    reorder_by: float = 0.04
    """How long a held-back datagram stays behind: half to one and a half of this."""
    largest: int = 65507
    """Datagrams of more octets vanish, as behind a firewall that drops fragments."""

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability from 0 to 1, not {getattr(self, name)!r}")
        for name in ("delay", "jitter", "reorder_by"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} is a time in seconds and cannot be negative")


@dataclass(frozen=True, slots=True)
class Packet:
    """A datagram or a piece of a stream on the virtual network, as an observer sees it."""

    at: float
    """when it was sent"""
    transport: str
    """`udp` or `tcp`"""
    source: tuple[str, int]
    destination: tuple[str, int]
    data: bytes
    arrivals: tuple[float, ...]
    """when it arrives: none if it is lost, two if it is duplicated"""


class Link:
    """One direction between two addresses."""

    __slots__ = ("_last", "_plain", "_random", "settings")

    def __init__(self, settings: LinkSettings, seed: str) -> None:
        self._random = random.Random(seed)
        self._last = 0.0
        self.settings = settings
        self._plain = False
        self.change(settings)

    def change(self, settings: LinkSettings) -> None:
        """Go on with other settings."""
        self.settings = settings
        self._plain = not (settings.loss or settings.duplicate or settings.reorder or settings.jitter)

    @property
    def cut(self) -> bool:
        """True if nothing gets through."""
        return self.settings.loss >= 1.0

    def arrivals(self, now: float, size: int) -> tuple[float, ...]:
        """When a datagram of `size` octets sent `now` arrives: never, once or twice."""
        settings = self.settings
        if size > settings.largest:
            return ()
        if self._plain:
            when = now + settings.delay
            if when < self._last:  # the delay was just made smaller: nothing overtakes
                when = self._last
            self._last = when
            return (when,)
        draw = self._random.random
        if settings.loss and draw() < settings.loss:
            return ()
        when = now + settings.delay + (draw() * settings.jitter if settings.jitter else 0.0)
        if settings.reorder and draw() < settings.reorder:
            when += settings.reorder_by * (0.5 + draw())
        else:
            when = self._last = max(self._last, when)
        if settings.duplicate and draw() < settings.duplicate:
            return (when, when + settings.delay * draw())
        return (when,)

    def segment_arrival(self, now: float) -> float | None:
        """When a piece of a stream sent `now` arrives, lost ones sent again; None while the link is cut."""
        settings = self.settings
        if self.cut:
            return None
        draw = self._random.random
        when = now + settings.delay + (draw() * settings.jitter if settings.jitter else 0.0)
        pause = _FIRST_RETRANSMISSION
        while settings.loss and draw() < settings.loss:
            when += pause
            pause = min(pause * 2, 60.0)
        return when
